#!/usr/bin/perl
# Checks the includes of src/ (docs/architecture.md).
#
#   tools/check-wings.pl             TAP
#   tools/check-wings.pl --summary   number of files, rooms, wings and levels
#   tools/check-wings.pl --wings     the wings, from the lowest to the highest
#   tools/check-wings.pl --graph     pairs of wings of which the first includes the second, and how often
#
# A wing is a folder of src/, a room is a .c file with the header of its name. A wing includes only headers of
# its own and of wings below it. Rooms do not include each other in a circle. Files are included by their paths
# from src/. The head of a file begins with its path, and its guard is made from it. Files that the documentation
# names exist, and docs/architecture.md names every room.
use strict;
use warnings;

use File::Basename qw(dirname basename);
use File::Find;

# from the lowest to the highest; '.' is src/ itself
my @wings = qw(core core/kernels core/network core/evidence pg model rows measure score learn operate .);
my %height = map { $wings[$_] => $_ } 0 .. $#wings;

chdir dirname($0) . '/../src' or die;
my (%text, %ours, %odd);
find({ no_chdir => 1, wanted => sub { $text{ s/^\.\///r } = read_text($_) if /\.[ch]$/ } }, '.');
my @files = sort keys %text;
my %named = map { basename($_) => $_ } @files;
for my $file (@files)
{
	for my $name ($text{$file} =~ /^\s*#\s*include\s+"([^"]+)"/mg)
	{
		if ($text{$name}) { push @{ $ours{$file} }, $name }
		elsif ($named{ basename($name) } && $name !~ /\//) { $odd{"$file includes \"$name\": write \"$named{$name}\""} = 1 }
	}
}

sub read_text
{
	my ($path) = @_;
	open my $in, '<', $path or die "$path: $!";
	local $/;
	return <$in>;
}

sub wing { return dirname($_[0]) }
sub room { return $_[0] =~ s/\.[ch]$//r }

# The rooms that each room includes
my %below;
for my $file (@files)
{
	$below{ room($file) } //= {};
	$_ ne room($file) and $below{ room($file) }{$_} = 1 for map { room($_) } @{ $ours{$file} };
}

sub wrong_direction
{
	return map { my $file = $_; map { "$file includes $_" } grep { $height{ wing($_) } > $height{ wing($file) } } @{ $ours{$file} } } @files;
}

# Levels of the rooms, and circles, each found once
my (%level, @circles);
sub level
{
	my ($room, @trail) = @_;
	return $level{$room} if $level{$room};
	for my $i (grep { $trail[$_] eq $room } 0 .. $#trail)
	{
		push @circles, join(' -> ', @trail[ $i .. $#trail ], $room);
		return 0;
	}
	my $most = 0;
	for my $other (sort keys %{ $below{$room} })
	{
		my $level = level($other, @trail, $room);
		$most = $level if $level > $most;
	}
	return $level{$room} = $most + 1;
}
level($_) for sort keys %below;

sub heads
{
	my @wrong;
	for my $file (@files)
	{
		my $guard = 'AMAD_' . uc($file =~ s/[^A-Za-z0-9]/_/gr);
		push @wrong, "$file: its head does not begin with its path" if $text{$file} !~ /^\/\*\n \* \Q$file\E\n/;
		push @wrong, "$file: its guard is not $guard" if $text{$file} =~ /^#ifndef \w+_H$/m && $text{$file} !~ /^#ifndef $guard$/m;
	}
	return @wrong;
}

sub documentation
{
	my @wrong;
	my %named;
	for my $page (glob '../*.md ../docs/*.md ../bench/*.md')
	{
		my $page_text = read_text($page);
		# paths from src/ in the map, with src/ elsewhere
		my %paths = map { $_ => 1 } $page_text =~ /`src\/([\w\/]+\.[ch])`/g;
		if ($page =~ /architecture\.md$/)
		{
			$paths{$_} = 1 for grep { !/^src\// } $page_text =~ /`([\w\/]+\/\w+\.[ch])`/g;
			$named{ room($_) } = 1 for keys %paths;
		}
		push @wrong, map { "$page: src/$_ does not exist" } grep { !$text{$_} } sort keys %paths;
	}
	push @wrong, map { "docs/architecture.md does not name src/$_" } grep { !$named{$_} } sort keys %below;
	return @wrong;
}

if (($ARGV[0] // '') eq '--summary')
{
	my ($top) = sort { $level{$b} <=> $level{$a} } keys %level;
	my (%wings_below, %wing_level);
	for my $file (@files) { $wings_below{ wing($file) }{ wing($_) } = 1 for map { wing($_) ne wing($file) ? $_ : () } @{ $ours{$file} } }
	for my $wing (@wings)
	{
		my ($highest) = sort { $b <=> $a } 0, map { $wing_level{$_} } keys %{ $wings_below{$wing} };
		$wing_level{$wing} = $highest + 1;
	}
	printf "%d files, %d rooms on %d levels (%s), %d wings on %d levels\n", scalar @files, scalar keys %below, $level{$top}, $top,
	  scalar @wings, (sort { $b <=> $a } values %wing_level)[0];
	exit;
}
if (($ARGV[0] // '') eq '--wings')
{
	print "$_\n" for @wings;
	exit;
}
if (($ARGV[0] // '') eq '--graph')
{
	my %arrows;
	for my $file (@files) { $arrows{ wing($file) . ' ' . wing($_) }++ for grep { wing($_) ne wing($file) } @{ $ours{$file} } }
	print "$_ $arrows{$_}\n" for sort keys %arrows;
	exit;
}

my @checks = (
	[ 'every folder is a wing', map { "$_: not in a wing" } grep { !defined $height{ wing($_) } } @files ],
	[ 'wings include only wings below them', wrong_direction() ],
	[ 'rooms do not include each other in a circle', @circles ],
	[ 'files are included by their paths', sort keys %odd ],
	[ 'heads and guards have the path of the file', heads() ],
	[ 'the documentation names files that exist, and its map names every room', documentation() ]);
my $failed = 0;
for my $i (0 .. $#checks)
{
	my ($what, @wrong) = @{ $checks[$i] };
	printf "%sok %d - %s\n", @wrong ? 'not ' : '', $i + 1, $what;
	print "# $_\n" for @wrong;
	$failed = 1 if @wrong;
}
printf "1..%d\n", scalar @checks;
exit $failed;
