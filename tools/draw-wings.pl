#!/usr/bin/perl
# Draws the wings of src/ and which of them include which: docs/wings.svg, shown in docs/architecture.md.
#
#   tools/draw-wings.pl            writes the file
#   tools/draw-wings.pl --check    TAP: the file is what would be written
#
# The wings and their includes come from tools/check-wings.pl. They are stacked from the lowest at the bottom to
# the highest at the top, so an arrow always points down.
use strict;
use warnings;

use File::Basename qw(dirname);

my %caption = (
	'.' => 'the module: _PG_init, amad_version',
	'operate' => 'models in use: amad_drift, amad_recalibrate',
	'learn' => 'rows to a model: amad_train, amad_fit, amad_retrain',
	'score' => 'rows to scores: amad_score, amad_detect, amad_events',
	'measure' => 'scores and labels to metrics: amad_evaluate',
	'rows' => 'arguments and sources to rows, series and datasets',
	'model' => 'options, the type amad_model, the table amad_models',
	'pg' => 'helpers around facilities of PostgreSQL',
	'core/evidence' => 'evidence of anomalies beside the network',
	'core/network' => 'the network: training and inference',
	'core/kernels' => 'inner loops for AVX-512, AVX2 and other machines',
	'core' => 'memory, random numbers, sizes');
my @colours = map { "#$_" } qw(4e79a7 f28e2b 59a14f e15759 b07aa1 76b7b2 9c755f d4a017 3b7a57 8a5a83 5b6770 444444);
my ($left, $top, $width, $height, $pitch) = (20, 20, 400, 40, 58);

chdir dirname($0) . '/..' or die;
my @wings = reverse split /\n/, qx(perl tools/check-wings.pl --wings);
my @arrows = map { [ (split / /)[ 0, 1 ] ] } split /\n/, qx(perl tools/check-wings.pl --graph);
die "tools/check-wings.pl failed\n" unless @wings && @arrows;
my %place = map { $wings[$_] => $_ } 0 .. $#wings;
my (%out, %in);

# The height of the i-th of n ends at a box: arrows leave in its lower half and arrive in its upper half
sub end_height
{
	my ($wing, $half, $i, $n) = @_;

	return $top + $place{$wing} * $pitch + $height / 2 * $half + $height / 2 * ($i + 0.5) / $n;
}

# Nearest first where they leave, farthest last where they arrive, so that few of them cross
@arrows = sort { $place{ $a->[0] } <=> $place{ $b->[0] } || $place{ $a->[1] } <=> $place{ $b->[1] } } @arrows;
push @{ $out{ $_->[0] } }, $_->[1] for @arrows;
push @{ $in{ $_->[1] } }, $_->[0] for @arrows;

my $svg = '';
for my $i (0 .. $#wings)
{
	my $wing = $wings[$i];
	my $y = $top + $i * $pitch;
	my $name = $wing eq '.' ? 'src/amad.c' : "src/$wing/";

	$svg .= qq(<rect x="$left" y="$y" width="$width" height="$height" rx="5" fill="#f4f6f8" stroke="$colours[$i % @colours]" stroke-width="1.5"/>\n);
	$svg .= sprintf qq(<text x="%d" y="%d" font-weight="bold">%s</text>\n), $left + 12, $y + 17, $name;
	$svg .= sprintf qq(<text x="%d" y="%d" fill="#555">%s</text>\n), $left + 12, $y + 33, $caption{$wing} // '';
}
for my $arrow (@arrows)
{
	my ($from, $to) = @$arrow;
	my ($i) = grep { $out{$from}[$_] eq $to } 0 .. $#{ $out{$from} };
	my ($j) = grep { $in{$to}[$_] eq $from } 0 .. $#{ $in{$to} };
	my $x = $left + $width;
	my $y1 = end_height($from, 1, $#{ $out{$from} } - $i, scalar @{ $out{$from} });
	my $y2 = end_height($to, 0, $#{ $in{$to} } - $j, scalar @{ $in{$to} });
	my $bend = 30 + 24 * ($place{$to} - $place{$from});
	my $colour = $colours[ $place{$from} % @colours ];

	$svg .= sprintf qq(<path d="M %d %.1f C %d %.1f %d %.1f %d %.1f" fill="none" stroke="%s" stroke-width="1.3"/>\n),
	  $x, $y1, $x + $bend, $y1, $x + $bend, $y2, $x + 7, $y2, $colour;
	$svg .= sprintf qq(<path d="M %d %.1f l 8 -3.2 v 6.4 z" fill="%s"/>\n), $x, $y2, $colour;
}
my $w = $left + $width + 24 * $#wings + 40;
my $h = 2 * $top + $#wings * $pitch + $height;
$svg = qq(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $w $h" width="$w" height="$h" font-family="sans-serif" font-size="13">\n)
  . qq(<title>The wings of src/: an arrow points to a wing that is included</title>\n)
  . qq(<rect width="100%" height="100%" fill="white"/>\n$svg</svg>\n);

if (($ARGV[0] // '') eq '--check')
{
	my $old = '';

	if (open my $file, '<', 'docs/wings.svg') { local $/; $old = <$file> }
	print $old eq $svg ? 'ok' : 'not ok', " 1 - docs/wings.svg is what tools/draw-wings.pl draws\n1..1\n";
	exit($old eq $svg ? 0 : 1);
}
open my $file, '>', 'docs/wings.svg' or die "docs/wings.svg: $!";
print $file $svg;
close $file or die "docs/wings.svg: $!";
