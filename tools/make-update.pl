#!/usr/bin/perl
# Writes sql/updates/amad--OLD--NEW.sql, which makes an installation of version OLD equal to one of NEW.
#
#   tools/make-update.pl OLD          after every change of the files that the install script consists of
#
# The script has the statements of the install script of NEW that are not in sql/amad--OLD.sql, in their order. Statements
# before them that drop what was replaced (a function with other arguments, a policy) are kept: write those by hand.
# test/t/013_update.pl compares the result with a fresh installation.
use strict;
use warnings;

my $old = shift or die "usage: tools/make-update.pl OLD\n";

sub slurp
{
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!\n";
	local $/;
	return scalar <$in>;
}

# The statements of a script, without comments between them.
sub statements
{
	my ($text) = @_;
	my @found;
	my $current = '';

	while ($text =~ /\G(?:(--[^\n]*\n)|('(?:[^']|'')*')|("[^"]*")|(\$(\w*)\$.*?\$\5\$)|(;)|(\\[^\n]*\n)|(.))/gs)
	{
		if (defined $6) { $current =~ s/^\s+//; push @found, "$current;"; $current = ''; }
		elsif (defined $1) { $current .= "\n" if $current =~ /\S/; }
		elsif (!defined $7) { $current .= $2 // $3 // $4 // $8; }
	}
	return @found;
}

my ($new) = slurp('amad.control') =~ /^default_version\s*=\s*'(.*)'/m or die "no default_version in amad.control\n";
my ($parts) = slurp('Makefile') =~ /^SQL_PARTS = .*,([\w ]+)\)$/m or die "no SQL_PARTS in the Makefile\n";
my $target = "sql/updates/amad--$old--$new.sql";
my %known = map { $_ => 1 } statements(slurp("sql/amad--$old.sql"));
my @kept;
if (-e $target)
{
	for (statements(slurp($target))) { /^DROP / ? push @kept, $_ : last }
}
# what belongs to a dropped function went with it
my %dropped = map { /^DROP FUNCTION (\w+)/ ? ($1 => 1) : () } @kept;
my @added = grep { !$known{$_} || (/^COMMENT ON FUNCTION (\w+)/ && $dropped{$1}) } statements(join '', map { slurp("sql/$_.sql") } split ' ', $parts);

open my $out, '>', $target or die "$target: $!\n";
print $out "-- amad $old -> $new\n\n", join("\n", @kept), "\n\n", join("\n\n", @added), "\n";
close $out or die "$target: $!\n";
