# Citus: the cluster of these tests works, and what is pushed down gives the bits of one server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use CitusTest;
use AmadTest;
use Test::More;

my $citus = CitusTest->new;

is($citus->sql('SELECT count(*) FROM pg_dist_node WHERE isactive'), 3, 'three nodes');
is(join(' ', $citus->nodes("SELECT extname FROM pg_extension WHERE extname = 'amad'")), 'amad amad amad', 'amad on all');
$citus->create_rows('readings');
my $by_device = 'SELECT device, amad_fit(' . options() . ', ts, a, b, c) AS model FROM readings GROUP BY device';
$citus->same_rows($by_device, 'amad_fit by device');
ok($citus->pushed_down($by_device, 'amad_fit'), 'amad_fit by device is pushed down');
is($citus->rows_moved($by_device), 8, 'only models are moved');
my $whole = 'SELECT amad_fit(' . options() . ", ts + device * interval '1 year', a, b, c) FROM readings WHERE device < 3";
ok(!$citus->pushed_down($whole, 'amad_fit'), 'one model of all devices is not');
is($citus->rows_moved($whole), 800, 'its rows are moved');

done_testing();
