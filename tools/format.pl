#!/usr/bin/perl
# Formats the C files of the tree, or the given ones, in PostgreSQL's style.
#
#   tools/format.pl [FILE ...]           in place
#   tools/format.pl --check [FILE ...]   prints the files that would change; exits with 1 if there are any
#
# clang-format 14 (.clang-format) does most of the work. It does not have two of pgindent's rules, which are added
# here: names in declarations begin 12 columns after the indentation, trailing comments in column 33.
use strict;
use warnings;

use File::Basename qw(dirname);
use IPC::Open2;

use constant TAB => 4;
use constant NAME_COLUMN => 12;      # after the indentation
use constant COMMENT_COLUMN => 32;   # counted from 0
use constant LINE => 100;

my $check = @ARGV && $ARGV[0] eq '--check' && shift @ARGV;
my $clang_format = $ENV{CLANG_FORMAT} || 'clang-format';
my $differing = 0;

chdir dirname($0) . '/..' or die;
my $version = qx($clang_format --version 2>&1) // '';
die "tools/format.pl needs clang-format 14: install the package clang-format of Debian 12, or set CLANG_FORMAT\n"
  unless $version =~ /version 14\./;
my @files = @ARGV ? @ARGV : split /\n/, qx(git ls-files 'src/*.[ch]' 'test/*.[ch]' 'bench/*.c');

# Columns that a text takes when it begins in a column
sub width
{
	my ($text, $column) = @_;
	my $start = $column;

	for my $c (split //, $text) { $column += $c eq "\t" ? TAB - $column % TAB : 1 }
	return $column - $start;
}

# Tabs and blanks from a column to a later one
sub gap
{
	my ($from, $to) = @_;
	my $tabs = int($to / TAB) - int($from / TAB);

	# as pgindent's entab: a tab never takes the place of a single blank
	return ' ' x ($to - $from) if $to - $from <= TAB && $from % TAB == TAB - 1 && $to % TAB != 0;
	return $to - $from == 1 ? ' ' : $tabs == 0 ? ' ' x ($to - $from) : "\t" x $tabs . ' ' x ($to % TAB);
}

# What may follow the type in a declaration: a name, perhaps of a pointer to a function
my $declared = qr/\w+(?:\[[^\]]*\])*(?:;|,| =|\)? :|\()|\(\*\w+\)/;

# "int x = 1;" with the name in its column
sub align_declaration
{
	my ($line) = @_;
	my ($indent, $type, $stars, $rest) = $line =~ /^(\t+|(?=extern |static ))((?:\w+ )*?\w+(?:\(\w+\))?) (\**)($declared.*)$/
	  or return $line;

	return $line if $type =~ /\b(?:return|goto|else|case|typedef|sizeof|do|if|for|while|switch)\b/ || $type =~ /\b(?:struct|enum|union)$/;
	# a call, unless it is the prototype of a function
	return $line if $rest =~ /^\w+\(/ && $indent ne '';
	my $from = width($indent . $type, 0);
	my $to = width($indent, 0) + NAME_COLUMN - length $stars;
	$rest =~ s/^(\(\*\w+\))\(/$1 (/;
	return "$indent$type $stars$rest" if $to <= $from;
	my $aligned = $indent . $type . gap($from, $to) . $stars . $rest;
	return width($aligned, 0) <= LINE ? $aligned : "$indent$type $stars$rest";
}

# "code; /* comment */" with the comment in its column, in a later one after long code, or after a blank if it
# would not fit
sub align_comment
{
	my ($line) = @_;
	my ($code, $comment) = $line =~ m{^(.*?\S)[ \t]+(/\*.*\*/)$} or return $line;

	return $line if $code =~ m{/\*} || $code =~ /\\$/;
	my $from = width($code, 0);
	my $to = $from < COMMENT_COLUMN ? COMMENT_COLUMN : int($from / TAB) * TAB + TAB;
	$to = $from + 1 if $to + length $comment > LINE;
	return $code . gap($from, $to) . $comment;
}

# One pass over a text
sub format_text
{
	my ($text, $file) = @_;
	my $directive = 0;
	my @out;

	my $pid = open2(my $from, my $to, $clang_format, '--style=file', "--assume-filename=$file");
	binmode $_, ':utf8' for $from, $to;
	# clang-format reads all before it writes
	print $to $text;
	close $to;
	while (my $line = <$from>)
	{
		chomp $line;
		# the bodies of macros are left as clang-format makes them
		my $macro = $directive;
		$directive = ($directive || $line =~ /^\s*#/) && $line =~ /\\$/;
		$line = align_declaration($line) unless $macro || $line =~ /^\s*#/;
		$line =~ s/^(typedef .*\(\*\w+\))\(/$1 (/;
		push @out, align_comment($line);
	}
	close $from;
	waitpid $pid, 0;
	die "$clang_format failed on $file\n" if $?;
	return join '', map { "$_\n" } @out;
}

for my $file (@files)
{
	open my $in, '<:utf8', $file or die "$file: $!";
	my $old = do { local $/; <$in> };
	my ($new, $passes) = ($old, 0);
	# until it is stable: what is aligned here can change what clang-format makes of it
	while ((my $next = format_text($new, $file)) ne $new && $passes++ < 5) { $new = $next }
	next if $new eq $old;
	$differing++;
	if ($check) { print "$file\n"; next }
	open my $out, '>:utf8', $file or die "$file: $!";
	print $out $new;
	close $out or die "$file: $!";
}
exit($check && $differing ? 1 : 0);
