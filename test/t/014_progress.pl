# The view amad_progress shows what trainings, detections and recalibrations of other sessions do, to those who may
# see it, and nothing once they have ended in any way.  Commands of PostgreSQL in the same session are not disturbed.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('progress', conf => "max_worker_processes = 4\nmaintenance_work_mem = '512MB'\nwork_mem = '64MB'");
create_rows($node, 3000);
$node->safe_psql(
	'postgres', q(
CREATE TABLE fleet AS SELECT d AS device, ts, a + d / 10.0 AS a, b, c FROM readings, generate_series(1, 3) d;
ANALYZE fleet;
CREATE ROLE worker LOGIN;
CREATE ROLE colleague LOGIN IN ROLE worker;
CREATE ROLE stranger LOGIN;
CREATE ROLE watcher LOGIN IN ROLE pg_read_all_stats;
GRANT SELECT ON fleet TO PUBLIC;
GRANT CREATE ON SCHEMA public TO PUBLIC;
-- pauses in row n until the advisory lock 1 is free
CREATE FUNCTION pause(row_number bigint, n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF row_number = n THEN
    PERFORM pg_advisory_xact_lock_shared(1);
  END IF;
  RETURN true;
END $$;
CREATE FUNCTION analyzes(row_number bigint, n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF row_number = n THEN
    ANALYZE fleet;
  END IF;
  RETURN true;
END $$;
CREATE FUNCTION fails(row_number bigint, n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF row_number = n THEN
    PERFORM 1 / 0;
  END IF;
  RETURN true;
EXCEPTION WHEN division_by_zero THEN
  RETURN true;
END $$;));
$node->safe_psql('postgres', "SET amad.max_parallel_workers = 0; "
	  . "SELECT amad_train('m', 'fleet', 'ts', '{a,b,c}', '{device}', options => " . options() . ')');

my $count = 'SELECT count(*) FROM amad_progress';
my $columns = 'concat_ws(\'|\', command, phase, share IS NULL, rows_done, rows_total, workers)';

# Waits until a condition on the row of a process holds, or the process is idle
sub seen
{
	my ($pid, $condition) = @_;

	return $node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM amad_progress WHERE pid = $pid AND ($condition)) "
		  . "OR EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state ~ 'idle' AND query ~ 'amad_')")
	  && $node->safe_psql('postgres', "SELECT EXISTS (SELECT FROM amad_progress WHERE pid = $pid)") eq 't';
}

# Runs a command in a session of its own until a condition on its row of amad_progress holds; returns the session
# and its process
sub start_command
{
	my ($statement, $condition, %params) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0, %params);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	$session->query_until(qr/started/, "\\echo started\n$statement;\n\\echo ended\n");
	ok(seen($pid, $condition), "seen: $condition") or diag($session->{stderr});
	return ($session, $pid);
}

sub shown
{
	my ($pid, %params) = @_;

	return $node->safe_psql('postgres', "SELECT $columns FROM amad_progress WHERE pid = $pid", %params);
}

sub cancel
{
	my ($session, $pid) = @_;

	$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	$session->query_until(qr/ended/, '');
	$session->{stderr} = '';
	return;
}

my $endless = options('"steps": 10000000');

# ---- training: phase, share, end, workers
my ($session, $pid) = start_command(
	"SET amad.max_parallel_workers = 0; SELECT amad_train('long', 'fleet', 'ts', '{a,b,c}', '{device}', options => $endless)",
	"command = 'train' AND phase = 'training' AND rows_done > 10000");
is( $node->safe_psql('postgres',
		"SELECT share BETWEEN 0 AND 1 AND eta > now() AND started < now() AND rows_done < rows_total AND workers = 0 "
		  . "AND datname = 'postgres' AND usename = current_user FROM amad_progress WHERE pid = $pid"),
	't', 'a training shows its share and end');
my $before = $node->safe_psql('postgres', "SELECT rows_done FROM amad_progress WHERE pid = $pid");
ok($node->poll_query_until('postgres', "SELECT rows_done > $before FROM amad_progress WHERE pid = $pid"), 'rows are counted');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_progress_vacuum"), 0, "PostgreSQL's own views ignore it");
cancel($session, $pid);
is($node->safe_psql('postgres', $count), 0, 'nothing is left of a cancelled training');
is($session->query_safe($count), 0, 'nor does its session see anything');
$session->quit;

# the estimate at half of the time is not far off
my $timed = options('"steps": 30000');
($session, $pid) = start_command(
	"SET amad.max_parallel_workers = 0; SELECT amad_train('timed', 'fleet', 'ts', '{a,b,c}', '{device}', options => $timed)",
	"share > 0.5");
my $half = $node->safe_psql('postgres',
	"SELECT extract(epoch FROM eta - started) / extract(epoch FROM clock_timestamp() - started) FROM amad_progress WHERE pid = $pid");
cmp_ok($half || 1.5, '<', 2.5, 'the end is extrapolated from the rows so far');
$session->query_until(qr/ended/, '');
is($node->safe_psql('postgres', $count), 0, 'nothing is left of a training that has ended');
$session->quit;

# with workers
($session, $pid) = start_command(
	'SET amad.max_parallel_workers = 1; ' . "SELECT amad_train('long', 'fleet', 'ts', '{a,b,c}', '{device}', "
	  . 'options => \'{"window": 16, "d_model": 32, "horizons": [2, 4], "steps": 10000000}\')',
	"phase = 'training' AND workers = 1");
is($node->safe_psql('postgres', $count), 1, 'the leader reports, not the worker');
cancel($session, $pid);
is($node->safe_psql('postgres', $count), 0, 'nothing is left of a cancelled parallel training');
$session->quit;

# an aggregate
($session, $pid) = start_command(
	"SET amad.max_parallel_workers = 0; SELECT amad_fit($endless, ts, a, b, c) FROM fleet WHERE device = 1",
	"command = 'train' AND phase = 'training' AND rows_done > 0");
cancel($session, $pid);
$session->quit;

# ---- reading, detection, recalibration; the rows pause
my $lock = $node->background_psql('postgres');
$lock->query_safe('SELECT pg_advisory_lock(1)');
my $paused = "SELECT * FROM (SELECT *, row_number() OVER (ORDER BY device, ts) AS n FROM fleet) f WHERE pause(n, %d)";
my $from = 'source => $q$' . sprintf($paused, 7000) . q($q$, timestamp_col => 'ts');
my %reading = (
	train => "SELECT amad_train('x', \$q\$" . sprintf($paused, 7000) . "\$q\$, 'ts', '{a,b,c}', '{device}', options => " . options() . ')',
	detect => "SELECT count(*) FROM amad_detect_bigint('m', $from)",
	events => "SELECT count(*) FROM amad_events_bigint('m', $from)",
	drift => "SELECT count(*) FROM amad_drift_bigint('m', $from)",
	recalibrate => "SELECT amad_recalibrate_bigint('m', $from)");
foreach my $command (sort keys %reading)
{
	my $phase = $command eq 'train' ? 'reading rows' : 'scoring rows';

	($session, $pid) = start_command("SET amad.max_parallel_workers = 0; $reading{$command}",
		"command = '$command' AND phase = '$phase'");
	$lock->query_safe('SELECT pg_advisory_unlock(1)');
	$session->query_until(qr/ended/, '');
	is($node->safe_psql('postgres', $count), 0, "nothing is left of $command");
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	$session->quit;
}

# many rows: the planner's estimate is the total
($session, $pid) = start_command(
	"SET amad.max_parallel_workers = 0; SELECT count(*) FROM amad_detect_bigint('m', "
	  . 'source => \'SELECT f.device, f.ts + 10000 * g AS ts, a, b, c FROM fleet f, generate_series(1, 1000) g\', '
	  . "timestamp_col => 'ts')",
	'rows_done > 10000 AND rows_total > 100000 AND share BETWEEN 0 AND 1 AND eta > started');
cancel($session, $pid);
$session->quit;

# ---- who sees what
($session, $pid) = start_command(
	"SET amad.max_parallel_workers = 0; SELECT amad_fit($endless, ts, a, b, c) FROM fleet WHERE device = 1",
	"phase = 'training'", extra_params => [ '-U', 'worker' ]);
foreach my $role (qw(worker colleague watcher))
{
	like(shown($pid, extra_params => [ '-U', $role ]), qr/^train\|training/, "$role sees it");
}
is(shown($pid, extra_params => [ '-U', 'stranger' ]), 't', 'a stranger sees no command');
is( $node->safe_psql('postgres', "SELECT usename, num_nulls(command, phase, share, started, eta, rows_done, rows_total, workers) "
		  . "FROM amad_progress WHERE pid = $pid", extra_params => [ '-U', 'stranger' ]),
	'worker|8', 'only that there is one');
cancel($session, $pid);
$session->quit;

# ---- errors
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query("SELECT amad_train('x', 'SELECT ts, 1 / (2000 - ts) AS a FROM readings', 'ts', options => " . options() . ')');
like($session->{stderr}, qr/division by zero/, 'a training fails');
is($node->safe_psql('postgres', $count), 0, 'nothing is left of it');
$session->{stderr} = '';
is( $session->query_safe("BEGIN; DO \$\$ BEGIN PERFORM amad_train('x', 'SELECT ts, 1 / (2000 - ts) AS a FROM readings', 'ts', options => "
		  . options()
		  . "); EXCEPTION WHEN division_by_zero THEN NULL; END \$\$; SELECT count(*) FROM amad_progress; COMMIT"),
	0, 'nor of one whose error was caught, in the same transaction');
is($session->query_safe(train('x') . "; $count"), "2\n0", 'the session trains as before');
$session->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT * FROM amad_detect_bigint('m'); FETCH 1 FROM c");
is($node->safe_psql('postgres', $count), 0, 'an open cursor on a finished detection is not in progress');
$session->query_safe('ROLLBACK; SET track_activities = off');
is($session->query_safe("SELECT amad_train('x', 'fleet', 'ts', '{a}', '{device}', options => " . options() . ')->>\'version\''),
	3, 'a training without track_activities');
$session->quit;

# ---- commands within commands
# ANALYZE, and an error that is caught, take the place of the outer command, which comes back
foreach my $function (qw(analyzes fails))
{
	my $source = "SELECT * FROM (SELECT *, row_number() OVER (ORDER BY device, ts) AS n FROM fleet) f "
	  . "WHERE pause(n, 3000) AND $function(n, 7000)";

	($session, $pid) = start_command("SET amad.max_parallel_workers = 0; "
		  . "SELECT amad_train('x', \$q\$$source\$q\$, 'ts', '{a,b,c}', '{device}', options => $endless)",
		"command = 'train'");
	$lock->query_safe('SELECT pg_advisory_unlock(1)');
	ok(seen($pid, "phase = 'training'"), "after a row that $function");
	cancel($session, $pid);
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	$session->quit;
}
$lock->query_safe('SELECT pg_advisory_unlock(1)');

# a detection in the source of a training
($session, $pid) = start_command("SET amad.max_parallel_workers = 0; SELECT amad_train('x', "
	  . '$q$SELECT ts, severity FROM amad_detect_bigint(\'m\', series => \'{"device": 1}\')$q$, \'ts\', '
	  . "options => $endless)",
	"command = 'train' AND phase = 'training'");
cancel($session, $pid);
$session->quit;

# COPY is reported as such
$session = $node->background_psql('postgres', on_error_stop => 0);
$pid = $session->query_safe('SELECT pg_backend_pid()');
$session->query_until(qr/started/, "\\echo started\nSET amad.max_parallel_workers = 0;\n"
	  . "COPY (SELECT amad_fit($endless, ts, a, b, c) FROM fleet WHERE device = 1) TO '/dev/null';\n\\echo ended\n");
ok($node->poll_query_until('postgres', "SELECT EXISTS (SELECT FROM pg_stat_progress_copy WHERE pid = $pid)"), 'COPY reports its progress');
$node->safe_psql('postgres', 'SELECT pg_sleep(0.5)');
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM pg_stat_progress_copy), (SELECT count(*) FROM amad_progress)"),
	'1|0', 'and a training in it leaves it its place');
cancel($session, $pid);
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM pg_stat_progress_copy), (SELECT count(*) FROM amad_progress)"),
	'0|0', 'nothing is left');
$session->quit;

# ---- notices by time
$session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe("SET amad.report_progress = on; SET amad.max_parallel_workers = 0; SET statement_timeout = '5.7s'");
$session->query("SELECT amad_fit($endless, ts, a, b, c) FROM fleet WHERE device = 1");
my @notices = $session->{stderr} =~ /(NOTICE:  step \d+ of 10000000: loss)/g;
is(scalar @notices, 1, 'one NOTICE in five seconds');
$session->{stderr} = '';
# rows come one by one, every two milliseconds
$session->query_safe("CREATE INDEX ON readings (ts); ANALYZE readings; SET enable_sort = off; "
	  . "SELECT amad_train('one', 'readings', 'ts', '{a,b,c}', options => " . options() . ')');
$session->query("SELECT count(*) FROM amad_detect_bigint('one', "
	  . "source => 'SELECT ts, a, b, c FROM readings WHERE pg_sleep(0.002) IS NOT NULL', timestamp_col => 'ts')");
@notices = $session->{stderr} =~ /(NOTICE:  scoring rows: \d+ of about \d+ rows)/g;
is(scalar @notices, 1, 'also of a detection');
$session->{stderr} = '';
$session->quit;
$lock->quit;

$node->stop;
done_testing();
