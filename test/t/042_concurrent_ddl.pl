# Tables, views, functions and schemas that are sources, and the extension itself, dropped, created and
# changed while others train on them and score them (test/fuzz/README.md).
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../fuzz";

use AmadTest;
use FuzzDdl;
use FuzzRun;
use PostgreSQL::Test::Cluster;
use Test::More;

my $node = new_node('concurrent_ddl', conf => "log_min_error_statement = panic\ndeadlock_timeout = 100ms\n");
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;

my $figures = FuzzDdl::run(seconds => 10, seed => 1, sessions => 2, log => $node->logfile,
	report => FuzzRun::report_to(part => 'ddl', seed => 1, say => sub { diag(@_) }));

is(FuzzRun::failures($figures), 0, 'clean errors, or correct rows');
cmp_ok($figures->{changes} // 0, '>=', 50, 'there were changes');
cmp_ok($figures->{done} // 0, '>=', 50, 'and statements that succeeded');
note(join(', ', map { "$_ $figures->{$_}" } grep { !/^state/ } sort keys %$figures));

$node->stop;
done_testing();
