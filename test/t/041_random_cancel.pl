# Cancelling statements, and ending sessions and parallel workers, at random moments of training, scoring,
# detection, events, drift, recalibration and evaluation (test/fuzz/README.md).
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../fuzz";

use AmadTest;
use FuzzCancel;
use FuzzRun;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = new_node('random_cancel', conf => "log_min_error_statement = panic\ndynamic_shared_memory_type = mmap\nmax_worker_processes = 16\n");
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;

my $figures = FuzzCancel::run(seconds => 12, seed => 1, sessions => 3, log => $node->logfile,
	report => FuzzRun::report_to(part => 'cancel', seed => 1, say => sub { diag(@_) }));

is(FuzzRun::failures($figures), 0, 'no failures');
cmp_ok($figures->{cancels} // 0, '>=', 20, 'there were cancels');
cmp_ok($figures->{checks} // 0, '>=', 1, 'and checks of the scores');
note(join(', ', map { "$_ $figures->{$_}" } grep { !/^state/ } sort keys %$figures));

$node->stop;
done_testing();
