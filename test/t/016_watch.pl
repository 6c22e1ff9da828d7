# Watches: after any interleaving of changes of the source, transactions that stay open, refreshes, kills
# and deployments, the stored scores are those that amad_detect computes, to the last bit.
#
# SEED= repeats a run, ROUNDS= makes it longer.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = $ENV{SEED} // 18;
my $rounds = $ENV{ROUNDS} // 110;
my @kinds = ('plain', 'partitioned');
my $timescaledb = defined extension_version('timescaledb');
my $node = new_node('watch', conf => $timescaledb ? "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\n" : '');

if ($timescaledb)
{
	# it prints a warning
	$node->psql('postgres', 'CREATE EXTENSION timescaledb', on_error_die => 1);
	push @kinds, 'hypertable';
}

use constant DEVICES => 70;

my ($now, @sessions, $partitions, %done, @history);

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

# A statement that may fail: it waits for a lock that another session holds, or the server is restarting
sub try_sql
{
	my ($query, %more) = @_;
	my $stderr = '';

	$node->psql('postgres', "SET lock_timeout = '150ms'; $query", stderr => \$stderr, %more);
	push @history, $query =~ s/VALUES.{200}\K.*//sr . ($stderr ? ' -> ' . $stderr =~ s/\n.*//sr : '');
	return $stderr;
}

# ---- the source: plain, partitioned or a hypertable, with nulls as values of the series column -------------------

sub create_source
{
	my ($kind) = @_;

	sql('DROP TABLE IF EXISTS source CASCADE; DROP TABLE IF EXISTS source_scores CASCADE');
	sql('CREATE TABLE source (device int, ts timestamptz NOT NULL, a float8, b float8, note text) '
		  . ($kind eq 'partitioned' ? 'PARTITION BY RANGE (ts)' : ''));
	if ($kind eq 'partitioned')
	{
		# a partition whose columns have other numbers, and one with partitions of its own
		sql("CREATE TABLE part1 (gone int, note text, b float8, a float8, ts timestamptz NOT NULL, device int); ALTER TABLE part1 DROP COLUMN gone");
		sql("ALTER TABLE source ATTACH PARTITION part1 FOR VALUES FROM ('2024-05-01 00:00+00') TO ('2024-05-01 01:00+00')");
		sql("CREATE TABLE part2 PARTITION OF source FOR VALUES FROM ('2024-05-01 01:00+00') TO ('2024-05-01 02:00+00') PARTITION BY RANGE (ts)");
		sql("CREATE TABLE part21 PARTITION OF part2 FOR VALUES FROM ('2024-05-01 01:00+00') TO ('2024-05-01 01:30+00')");
		sql("CREATE TABLE part22 PARTITION OF part2 FOR VALUES FROM ('2024-05-01 01:30+00') TO ('2024-05-01 02:00+00')");
		sql("CREATE TABLE part3 PARTITION OF source DEFAULT");
	}
	sql("SELECT create_hypertable('source', 'ts', chunk_time_interval => interval '40 minutes')") if $kind eq 'hypertable';
	sql("CREATE INDEX ON source (device, ts)");
	sql("INSERT INTO source SELECT nullif(d, 0), timestamptz '2024-05-01 00:00+00' + i * interval '1 minute', sin(i * 0.2 + d), "
		  . "cos(i * 0.11) + (i * 7919 % 101) / 500.0 FROM generate_series(0, 99) i, generate_series(0, " . (DEVICES - 1) . ') d');
	sql("INSERT INTO source SELECT device, ts, 3, 3 FROM source WHERE device = 5 AND ts < '2024-05-01 00:05+00'"); # duplicates
	return;
}

# ---- the property ---------------------------------------------------------------------------------

my $difference = q(
WITH detected AS (
	SELECT d.model_version, (d.series->>'device')::int AS device, d.* FROM (SELECT DISTINCT model_version AS v FROM source_scores) v,
		LATERAL amad_detect('m', version => v.v) d WHERE status IS DISTINCT FROM 'duplicate_ts')
SELECT (SELECT count(*) FROM (SELECT device, ts FROM source EXCEPT SELECT device, ts FROM source_scores) m) AS missing,
	(SELECT count(*) FROM (SELECT device, ts FROM source_scores EXCEPT SELECT device, ts FROM source) o) AS orphaned,
	(SELECT count(*) FROM source_scores s LEFT JOIN detected d
		ON s.model_version = d.model_version AND s.device IS NOT DISTINCT FROM d.device AND s.ts = d.ts
	 WHERE float8send(s.severity) IS DISTINCT FROM float8send(d.severity) OR s.status IS DISTINCT FROM d.status
		OR d.ts IS NULL OR s.expected IS DISTINCT FROM CASE WHEN d.is_anomaly THEN d.expected_values END
		OR s.contributions IS DISTINCT FROM CASE WHEN d.is_anomaly THEN d.contributions END) AS differing);
$difference =~ s/SELECT d.model_version, \(/SELECT (/;

my $incidents = 0;

# Incidents that the stored scores do not make, or whose ends, rows and peak differ from theirs
my $other_incidents = q(
WITH anomalies AS (SELECT device, ts, severity, coalesce(ts - lag(ts) OVER w > interval '3 minutes', true) AS begins
		FROM source_scores WHERE severity > 1 AND status IS NULL WINDOW w AS (PARTITION BY device ORDER BY ts)),
	chains AS (SELECT device, min(ts) AS started, max(ts) AS ended, count(*) AS rows, max(severity) AS peak
		FROM (SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY device ORDER BY ts) AS chain FROM anomalies) a GROUP BY device, chain),
	incidents AS (SELECT coalesce(series->>'device', '-') AS device, started, ended, rows, peak_severity AS peak FROM amad_incidents
		WHERE kind = 'anomaly' AND state IN ('open', 'closed'))
SELECT count(*) FROM incidents i FULL JOIN (SELECT *, coalesce(device::text, '-') AS name FROM chains) c
	ON (i.device, i.started, i.ended, i.rows, float8send(i.peak)) = (c.name, c.started, c.ended, c.rows, float8send(c.peak))
WHERE i.device IS NULL OR c.name IS NULL);

# Series whose newest row or last values, as amad_series has them, are not those of the source
my $other_series = q(
WITH rows AS (SELECT DISTINCT ON (device, ts) device, ts, a, b FROM source ORDER BY device, ts, a, b),
	ends AS (SELECT ARRAY[device::text] AS series, max(ts) AS newest, max(ts) FILTER (WHERE a IS NOT NULL) AS a,
		max(ts) FILTER (WHERE b IS NOT NULL) AS b FROM rows GROUP BY device),
	stored AS (SELECT *, CASE WHEN features->'a' ? 'last' THEN (features->'a'->>'last')::bigint ELSE newest_ts END AS a,
		CASE WHEN features->'b' ? 'last' THEN (features->'b'->>'last')::bigint ELSE newest_ts END AS b FROM amad_series)
SELECT count(*) FROM ends e FULL JOIN stored s USING (series)
WHERE (e.newest, coalesce(greatest(e.a, e.b), e.newest)) IS DISTINCT FROM (s.newest, s.heard)
	OR (extract(epoch FROM e.a - '2000-01-01 00:00+00'), extract(epoch FROM e.b - '2000-01-01 00:00+00'))
		IS DISTINCT FROM (s.a / 1000000.0, s.b / 1000000.0));

sub is_exact
{
	my ($when) = @_;

	is(sql($difference), '0|0|0', "$when: no score is missing, orphaned or different")
	  or note(sql('SELECT run, state, as_of, changes, series, rows_scored, model_version, message FROM amad_runs ORDER BY run DESC LIMIT 20')
		  . "\n" . join("\n", @history));
	is(sql($other_incidents), '0', "$when: the incidents are those of the scores");
	is(sql($other_series), '0', "$when: amad_series has the ends of the series and their features")
	  or note(sql("SELECT series, newest, heard, features FROM amad_series ORDER BY series"));
	$incidents += sql("SELECT count(*) FROM amad_incidents WHERE kind = 'anomaly'");
	@history = ();
	return;
}

# Ends open transactions and refreshes all there is; a refresh that is being terminated may hold the lock
sub settle
{
	eval { $_->query('COMMIT'); $_->quit } for splice(@sessions);
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = 'postgres' AND pid <> pg_backend_pid()");
	sql("CALL amad_refresh('m', as_of => 'infinity')");
	is(sql('SELECT state FROM amad_runs ORDER BY run DESC LIMIT 1'), 'done', 'the last refresh is done');
	return;
}

# ---- random operations -----------------------------------------------------------------------------


sub at { return sprintf("timestamptz '2024-05-01 00:00+00' + interval '%d minutes'", $_[0]) }

sub values_of
{
	my ($device, $minute) = @_;

	return sprintf("(%s, %s, %.3f, %s)", $device || 'NULL', at($minute), rand(4) - 2, rand() < 0.1 ? 'NULL' : sprintf('%.3f', rand(3)));
}

# A statement that changes the source; most of them at its end, as data arrive
sub change
{
	my ($kind) = @_;
	my $device = int(rand(DEVICES + 2));
	my $where = $device ? "device = $device" : 'device IS NULL';
	my $from = int(rand($now));
	my $range = sprintf('ts BETWEEN %s AND %s', at($from), at($from + int(rand(6))));
	my $table = 'source';
	my $what = rand();

	if ($what < 0.35)
	{
		$now++;
		return 'INSERT INTO source (device, ts, a, b) VALUES ' . join(', ', map { values_of($_, $now) } grep { rand() < 0.9 } 0 .. DEVICES - 1);
	}
	return 'INSERT INTO source (device, ts, a, b) VALUES ' . values_of($device, $now + int(rand(4))) if $what < 0.5;
	return 'INSERT INTO source (device, ts, a, b) VALUES ' . values_of($device, $from) . ', ' . values_of($device, $from + 1) if $what < 0.6;
	# straight into a partition
	return 'INSERT INTO part3 (device, ts, a, b) VALUES ' . values_of($device, 150 + int(rand(30))) if $what < 0.66 && $kind eq 'partitioned';
	return "UPDATE part21 SET a = a + 1 WHERE $range" if $what < 0.68 && $kind eq 'partitioned';
	return "UPDATE source SET a = b, b = a WHERE $where AND $range" if $what < 0.74;
	return "UPDATE source SET ts = ts + interval '50 minutes' WHERE $where AND $range" if $what < 0.78;
	return "UPDATE source SET device = 3 WHERE $where AND $range" if $what < 0.8;
	return "DELETE FROM source WHERE $where AND $range" if $what < 0.9;
	return "DELETE FROM source WHERE $range" if $what < 0.95;
	return "DELETE FROM source WHERE $where" if $what < 0.97;
	return 'TRUNCATE part22' if $what < 0.98 && $kind eq 'partitioned';
	return "WITH d AS (DELETE FROM source WHERE $where AND $range RETURNING device, ts, a) INSERT INTO source SELECT device, ts, a + 0.5, a FROM d";
}

sub refresh
{
	my $as_of = rand() < 0.3 ? '' : ', as_of => ' . at($now - int(rand(8)));

	return "CALL amad_refresh('m'$as_of)";
}

# A session, and the process that serves it
sub session
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);

	$session->query("SET lock_timeout = '150ms'");
	return ($session, $session->query_safe('SELECT pg_backend_pid()'));
}

# Kills a backend, and waits for the restart of the server
sub kill_backend
{
	my ($pid) = @_;
	my $offset = -s $node->logfile;

	if (kill('KILL', $pid))
	{
		for (my $i = 0; $i < 1000 && slurp_file($node->logfile, $offset) !~ /all server processes terminated; reinitializing/; $i++)
		{
			usleep(100_000);
		}
	}
	$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no recovery';
	eval { $_->quit } for @sessions;
	@sessions = ();
	return;
}

# One random operation
sub operate
{
	my ($kind) = @_;
	my $what = rand();

	if ($what < 0.5)
	{
		$done{change}++;
		try_sql(change($kind));
	}
	elsif ($what < 0.58)
	{
		$done{open}++;
		my ($session) = session();
		$session->query('BEGIN');
		for (0 .. rand(3))
		{
			my $change = change($kind);
			push @history, "open: " . $change =~ s/VALUES.{200}\K.*//sr;
			$session->query($change);
		}
		push @sessions, $session;
	}
	elsif ($what < 0.68 && @sessions)
	{
		$done{close}++;
		my $session = splice(@sessions, int(rand(@sessions)), 1);
		$session->query(rand() < 0.8 ? 'COMMIT' : 'ROLLBACK');
		$session->quit;
	}
	elsif ($what < 0.84)
	{
		$done{refresh}++;
		my $refresh = refresh();
		try_sql($refresh);
	}
	elsif ($what < 0.86)
	{
		$done{rolled_back}++;
		try_sql('BEGIN; ' . change($kind) . '; ' . refresh() . '; ' . (rand() < 0.5 ? 'ROLLBACK' : 'COMMIT'));
	}
	elsif ($what < 0.89)
	{
		$done{deploy}++;
		try_sql("SELECT amad_deploy('m', " . (1 + int(rand(3))) . ')');
	}
	elsif ($what < 0.96)
	{
		# two refreshes at once, and the end of one of them
		my $end = rand();
		my ($session, $pid) = session();
		$session->query_until(qr/began/, "\\echo began\nCALL amad_refresh('m', since => " . at(0) . ");\n");
		usleep(int(rand(120_000)));
		my $refresh = refresh();
		if ($end < 0.3) { $done{terminated}++; try_sql("SELECT pg_terminate_backend($pid)"); }
		elsif ($end < 0.6) { $done{cancelled}++; try_sql("SELECT pg_cancel_backend($pid)"); }
		elsif ($end < 0.75) { $done{killed}++; kill_backend($pid); }
		else { $done{twice}++; try_sql($refresh); }
		eval { $session->query('SELECT 1'); $session->quit };
	}
	elsif ($what < 0.98 && $kind eq 'partitioned')
	{
		# a partition that gets rows before it has triggers
		$done{partition}++;
		my $n = ++$partitions;
		try_sql("CREATE TABLE new$n (LIKE source); INSERT INTO new$n (device, ts, a, b) VALUES (4, " . at(1000 + $n * 10) . ", 1, 1), (4, " . at(1001 + $n * 10) . ', 1, 2); '
			  . "ALTER TABLE source ATTACH PARTITION new$n FOR VALUES FROM ('" . sql('SELECT ' . at(1000 + $n * 10)) . "') TO ('" . sql('SELECT ' . at(1010 + $n * 10)) . "'); "
			  . "INSERT INTO new$n (device, ts, a, b) VALUES (4, " . at(1005 + $n * 10) . ', 1, 1)');
	}
	else
	{
		$done{renamed}++;
		# while a column has another name, refreshes fail; changes are still logged
		my $error = try_sql('ALTER TABLE source RENAME device TO other');
		my $change = change($kind) =~ s/device/other/gr;
		try_sql($change);
		try_sql(refresh());
		sql("ALTER TABLE source RENAME other TO device") if $error !~ /ERROR/;
	}
	return;
}

for my $kind (@kinds)
{
	for my $more ('', '"lookahead": 2')
	{
		srand($seed);
		$now = 99;
		%done = ();
		$partitions = 0;
		create_source($kind);
		# three versions, of which the third depends on more rows before a row
		for my $options ('"seed": 1', '"seed": 2', '"seed": 3, "horizons": [2, 16]')
		{
			sql("SELECT amad_train('m', 'source', feature_cols => '{a,b}', series_cols => '{device}', options => "
				  . options(join(', ', grep { $_ } $options, $more)) . ')');
		}
		my $name = $kind . ($more ? ' with lookahead' : '');

		sql("SELECT amad_watch('m', target => 'source_scores', delay => '2 minutes', merge_gap => '3 minutes')");
		is(sql("SELECT count(*) FROM _timescaledb_catalog.dimension d JOIN _timescaledb_catalog.hypertable h ON h.id = d.hypertable_id "
				  . "WHERE h.table_name = 'source_scores' AND d.interval_length = 40 * 60 * 1000000::bigint"),
			1, "$name, the target is a hypertable with chunks of the same length") if $kind eq 'hypertable';
		sql("CALL amad_refresh('m')");
		is_exact("$name, the first refresh");
		for my $round (1 .. $rounds)
		{
			operate($kind);
			# in the middle, too, whenever no transaction is open
			if ($round % 25 == 0)
			{
				try_sql("CALL amad_refresh('m', as_of => 'infinity')");
				# the newest rows and values of some series go
				try_sql("DELETE FROM source WHERE device BETWEEN 10 AND 20 AND ts > " . at($now - int(rand(9))));
				try_sql("UPDATE source SET b = NULL WHERE device BETWEEN 15 AND 30 AND ts > " . at($now - int(rand(90))));
				settle();
				is_exact("$name, round $round");
			}
		}
		settle();
		is_exact("$name, seed $seed");
		note(join(', ', map { "$_ $done{$_}" } sort keys %done));
		note(sql('SELECT string_agg(concat_ws(\' \', state, n), \', \') FROM (SELECT state, count(*) AS n FROM amad_runs GROUP BY 1) s'));
		is(sql('SELECT count(*) FROM amad_changes') + sql('SELECT count(*) FROM amad_pending'), 0, "$name: the log is empty");
		sql("SELECT amad_unwatch('m'); SELECT amad_drop('m')");
		is(sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'amad%'"), 0, "$name: no trigger is left");
	}
}

# ---- defined outcomes ------------------------------------------------------------------------------

create_source('partitioned');
sql("SELECT amad_train('m', 'source', feature_cols => '{a,b}', series_cols => '{device}', options => " . options() . ')');
sql("SELECT amad_watch('m', target => 'source_scores', merge_gap => '3 minutes')");
sql("CALL amad_refresh('m')");
sql('UPDATE source SET a = 1 WHERE device = 7');

# a refresh that waits for a lock of another session
my $blocker = $node->background_psql('postgres');
my ($session, $pid) = session();
$blocker->query_safe('BEGIN; LOCK TABLE source_scores');
$session->query_until(qr/began/, "\\echo began\nSET lock_timeout = 0; CALL amad_refresh('m');\n");
$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid") or die 'it does not wait';
my $state = 'SELECT state FROM amad_runs ORDER BY run DESC LIMIT 1';
is(sql($state), 'running', 'the record of a run is there before its work');
like(try_sql("CALL amad_refresh('m')"), qr/NOTICE:  the watch of model "m" is being refreshed/, 'another refresh does not wait');
is(sql($state), 'skipped', 'and is recorded');
like(try_sql("SELECT amad_unwatch('m')"), qr/canceling statement due to lock timeout/, 'the watch cannot be dropped now');
try_sql("SELECT pg_cancel_backend($pid)");
$session->query('SELECT 1');
is(sql("SELECT state || ' ' || sqlstate FROM amad_runs WHERE run = 2"), 'cancelled 57014', 'a cancelled run is recorded');

$session->query_until(qr/again/, "\\echo again\nCALL amad_refresh('m');\n");
$node->poll_query_until('postgres', "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid") or die 'it does not wait';
kill_backend($pid);
eval { $_->quit } for ($session, $blocker);
is(sql($state), 'running', 'the record of a killed run remains');
sql("CALL amad_refresh('m')");
is(sql('SELECT string_agg(state, \' \' ORDER BY run) FROM amad_runs'), 'done cancelled skipped killed done', 'until the next run');
is_exact('after a cancelled and a killed run');
cmp_ok($incidents, '>', 0, 'there were incidents');

# a dump and its restore: changes that are not scored yet, triggers, and changes before the first refresh
sql('ALTER TABLE source DROP COLUMN note; ALTER TABLE source ADD COLUMN c float8'); # column numbers differ after the restore
sql('UPDATE source SET b = 2 WHERE device = 9');
# a verdict on rows that are normal: incidents are still those of the stored scores
sql("SELECT amad_feedback('m', '{\"device\": 9}', " . at(1000000) . ', ' . at(1000010) . ", 'expected', 'a note')");
my $verdicts = 'SELECT string_agg(v::text, E\'\\n\' ORDER BY id) FROM amad_verdicts AS v';
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_dump', '-f', $node->basedir . '/dump.sql', $node->connstr('postgres') ], 'a dump');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/dump.sql', $node->connstr('restored') ], 'is restored');
my $restored = sub { return $node->safe_psql('restored', $_[0]) };
is($restored->('SELECT count(*) FROM amad_changes'), 1, 'changes that are not scored yet are in it');
is($restored->($verdicts), sql($verdicts), 'verdicts are in it');
is($restored->("SELECT amad_feedback('m', NULL, " . at(1000000) . ', ' . at(1000010) . ", 'expected') > max(id) FROM amad_verdicts"), 't',
	'and their identifiers go on');
$restored->('UPDATE part1 SET a = 5 WHERE device = 11; INSERT INTO source (device, ts, a, b) VALUES (12, ' . at(300) . ', 1, 1)');
is($restored->("SELECT string_agg(series::text, ' ' ORDER BY series::text COLLATE \"C\") FROM amad_changes"), '{11} {12} {9}', 'triggers find columns by their names');
$restored->("CALL amad_refresh('m')");
is($restored->($difference), '0|0|0', 'after a restore: no score is missing, orphaned or different');
is($restored->("SELECT count(*) FROM amad_runs WHERE notices IS NOT NULL AND run = (SELECT max(run) FROM amad_runs)"), 0, 'no trigger was created');
$restored->('UPDATE source SET a = 6 WHERE device = 13');
$restored->("CALL amad_refresh('m')");
is($restored->($difference), '0|0|0', 'and later');

# the extension does not go while triggers use it
like(try_sql('DROP EXTENSION amad'), qr/cannot drop extension amad because other objects depend on it/, 'triggers need the extension');

$node->stop;
done_testing();
