# Watches: a full disk during a refresh and during an ingest, an error in the middle of the batches, and a kill and
# an immediate shutdown there. The run is recorded, what it has committed remains, and the next run does the rest.
#
# A disk is full for a process that has reached its RLIMIT_FSIZE: the server ignores SIGXFSZ, so its writes fail.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# three batches, of which two have 64 series; devices 101 and higher, which have the same order as text
use constant DEVICES => 150;

# segments of WAL are smaller than the limits of files
my $node = new_node('faults', extra => ['--wal-segsize=1']);
my $runs = 0;

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

# The state of the watch, its failures, and what the runs since the last call did: the state and the number of series
sub outcome
{
	my $outcome = sql("SELECT (SELECT state || ' ' || failures FROM amad_status) || ': ' || string_agg(state || ' ' || series, ', ' ORDER BY run) FROM amad_runs WHERE run > $runs");

	$runs = sql('SELECT max(run) FROM amad_runs');
	return $outcome;
}

sub is_exact
{
	my ($when) = @_;
	my $stored = 'SELECT device, ts, float8send(severity), status, model_version, expected, contributions FROM source_scores';
	my $detected = q(SELECT (series->>'device')::int, ts, float8send(severity), status, 1,
		CASE WHEN is_anomaly THEN expected_values END, CASE WHEN is_anomaly THEN contributions END FROM amad_detect('m'));

	is( sql("SELECT (SELECT count(*) FROM ($stored EXCEPT $detected) s), (SELECT count(*) FROM ($detected EXCEPT $stored) d), "
			  . '(SELECT count(*) FROM source_scores) - (SELECT count(*) FROM source)'),
		'0|0|0', "$when: the scores are those of amad_detect");
	return;
}

# Statements in a session whose server process may write $size bytes to a file; those of $later may write more again
sub on_full_disk
{
	my ($size, $query, $later) = @_;
	my $limit = '\! prlimit --pid $BACKEND --fsize=%s:' . "\n";
	my $stderr;

	$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT pg_backend_pid() AS backend \\gset\n\\setenv BACKEND :backend\n"
		  . sprintf($limit, $size) . "$query\n" . sprintf($limit, 'unlimited') . ($later // ''), stderr => \$stderr, on_error_stop => 0);
	return $stderr;
}

# The size of a table's file, and half a page more: the next page is not written completely
sub full
{
	my ($table) = @_;

	return sql("SELECT pg_relation_size('$table')") + 4096;
}

sql('CREATE TABLE source (device int, ts timestamptz NOT NULL, a float8, b float8); CREATE INDEX ON source (device, ts)');
sql("INSERT INTO source SELECT d, timestamptz '2024-05-01 00:00+00' + i * interval '30 seconds', sin(i * 0.2 + d), "
	  . "cos(i * 0.11) + (i * 7919 % 101) / 500.0 FROM generate_series(0, 149) i, generate_series(101, " . (100 + DEVICES) . ') d');
sql("SELECT amad_train('m', 'source', feature_cols => '{a,b}', series_cols => '{device}', options => " . options() . ')');
sql("SELECT amad_watch('m', target => 'source_scores'); CALL amad_refresh('m')");
is(outcome(), 'ok 0: done ' . DEVICES, 'the first refresh');
is_exact('the first refresh');

# ---- a full disk ---------------------------------------------------------------------------------

SKIP:
{
	skip 'there is no prlimit', 13 if qx(prlimit --version 2>/dev/null) eq '';

	# in a refresh: the scores of some series can be written
	cmp_ok(full('source_scores'), '>', 1024 * 1024, 'the file of scores is larger than a segment of WAL');
	sql('UPDATE source SET a = a + 0.5');
	my $error = on_full_disk(full('source_scores') + 600_000, "CALL amad_refresh('m');");
	my $file = sql("SELECT pg_relation_filepath('source_scores')");
	like($error, qr/^(\S+:)*\d*:? ?ERROR:  \w{5}: could not extend file "$file"/m, 'a refresh on a full disk raises the error');
	my ($sqlstate, $message) = $error =~ /ERROR:  (\w{5}): (.*)/;
	is(sql('SELECT sqlstate, message FROM amad_status'), "$sqlstate|$message", 'it is recorded');
	my $failed = outcome();
	like($failed, qr/^failing 1: failed [1-9]\d*$/, 'the run has failed, after some series');
	is(sql('SELECT count(*) FROM source_scores'), DEVICES * 150, 'the others have the scores that they had');

	# again, with new rows, and in the same session when there is space
	sql("INSERT INTO source SELECT d, '2024-05-01 02:00+00', 0.5, 0.5 FROM generate_series(101, " . (100 + DEVICES) . ') d');
	$error = on_full_disk(full('source_scores'), "CALL amad_refresh('m');", "CALL amad_refresh('m');");
	is(() = $error =~ /ERROR: /g, 1, 'a refresh on a disk that is still full fails, the next one succeeds');
	like(outcome(), qr/^ok 0: failed \d+, done [1-9]\d*$/, 'the watch is ok again');
	is_exact('after a full disk');

	# in an ingest: the log of changes is the table that must grow
	sql("DO \$\$ BEGIN FOR i IN 1 .. 100 LOOP UPDATE source SET b = b + 0.01 WHERE ts = '2024-05-01 02:00+00'; END LOOP; END \$\$");
	sql('VACUUM source; CHECKPOINT');
	cmp_ok(full('amad_changes'), '>', 1024 * 1024, 'the file of changes is larger than a segment of WAL');
	my $before = sql('SELECT count(*) FROM amad_changes');
	$error = on_full_disk(full('amad_changes'),
		"INSERT INTO source SELECT d, '2024-05-01 02:01+00', 1, 1 FROM generate_series(101, " . (100 + DEVICES) . ') d;');
	$file = sql("SELECT pg_relation_filepath('amad_changes')");
	like($error, qr/ERROR:  \w{5}: could not extend file "$file"/, 'an ingest fails if its changes cannot be logged');
	is(sql("SELECT count(*) FROM source WHERE ts = '2024-05-01 02:01+00'") . ' ' . (sql('SELECT count(*) FROM amad_changes') - $before), '0 0', 'none of its rows is there, and no change');
	sql("INSERT INTO source SELECT d, '2024-05-01 02:02+00', 2, 2 FROM generate_series(101, " . (100 + DEVICES) . ') d');
	sql("CALL amad_refresh('m')");
	is(outcome(), 'ok 0: done ' . DEVICES, 'later changes are scored');
	is_exact('after an ingest on a full disk');
}

# ---- an error in the second batch ---------------------------------------------------------------

sql('ALTER TABLE source_scores ADD CHECK (device <> 201) NOT VALID');
sql('UPDATE source SET b = b - 0.25');
like(on_full_disk('unlimited', "CALL amad_refresh('m');"), qr/ERROR:  23514: new row for relation "source_scores" violates check constraint/,
	'an error of the target is raised');
is(sql('SELECT sqlstate FROM amad_status'), '23514', 'it is recorded');
is(outcome(), 'failing 1: failed 64', 'the first batch is committed');
sql('ALTER TABLE source_scores DROP CONSTRAINT source_scores_device_check');
sql("CALL amad_refresh('m')");
is(outcome(), 'ok 0: done ' . (DEVICES - 64), 'the next run scores the other series');
is_exact('after an error');

# ---- the end of the process, or of the server, in the third batch -----------------------------------

# Starts a refresh that waits for a lock on a row of the third batch, and calls the function with its process
sub refresh_until
{
	my ($end) = @_;
	my $blocker = $node->background_psql('postgres', on_error_stop => 0);
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	sql('UPDATE source SET a = a - 0.125');
	$blocker->query_safe('BEGIN; SELECT FROM source_scores WHERE device = ' . (100 + DEVICES) . ' FOR UPDATE');
	$session->query_until(qr/began/, "\\echo began\nCALL amad_refresh('m');\n");
	$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'it does not wait';
	$end->($pid);
	eval { $_->quit } for ($blocker, $session);
	return;
}

sub check_end
{
	my ($how) = @_;

	is(outcome(), 'ok 0: running 128', "$how: the record of the run remains, and two batches");
	is(sql('SELECT pending FROM amad_status'), DEVICES - 128, "$how: the changes of the third are there");
	sql("INSERT INTO source VALUES (101, '2024-05-01 02:30+00', 1, 1)");
	$runs--;
	sql("CALL amad_refresh('m')");
	is(outcome(), 'ok 0: killed 128, done ' . (DEVICES - 128 + 1), "$how: the next run scores the third batch, and new rows");
	is_exact($how);
	sql("DELETE FROM source WHERE ts = '2024-05-01 02:30+00'");
	return;
}

refresh_until(sub {
	my ($pid) = @_;
	my $log = -s $node->logfile;

	kill('KILL', $pid) or die "kill: $!";
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no recovery';
});
check_end('a killed process');

refresh_until(sub { $node->stop('immediate') });
$node->start;
check_end('an immediate shutdown');

$node->stop;
done_testing();
