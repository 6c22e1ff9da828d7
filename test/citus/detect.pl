# Citus: detections, events, drift and refreshes of a distributed source run on its shards, and give the bits of one server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use CitusTest;
use AmadTest;
use Test::More;

my $citus = CitusTest->new;

$citus->create_rows('readings', rows => 1000, devices => 10);
# faults, a series that stops, one that is not in the model, and missing values
$citus->both(q(
UPDATE readings SET a = a + 50 WHERE device IN (2, 7) AND ts BETWEEN '2024-05-03 10:00+00' AND '2024-05-03 11:00+00';
UPDATE readings SET b = NULL WHERE device = 4 AND ts > '2024-05-03 12:00+00';
DELETE FROM readings WHERE device = 5 AND ts > '2024-05-03+00';
DELETE FROM readings WHERE device = 9 AND ts < '2024-05-03+00';
CREATE INDEX ON readings (device, ts);
CREATE TABLE maintenance (device int, since timestamptz, until timestamptz);
INSERT INTO maintenance VALUES (2, '2024-05-03 10:00+00', '2024-05-03 10:30+00'), (NULL, '2024-05-02 10:00+00', '2024-05-02 20:00+00');));
my $options = q('{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 20, "contamination": 0.01}');
$citus->both("SELECT amad_train('fleet', 'readings', series_cols => '{device}', until => '2024-05-03+00', options => $options)");
$citus->same_rows("SELECT md5(model::text) FROM amad_models WHERE model_name = 'fleet'", 'a training');

# ---- every function that reads the source
my @range = ("since => '2024-05-03+00'", "until => '2024-05-03 12:00+00'");
my %calls = (
	'amad_detect' => [ '', "$range[0], $range[1], only_anomalies => true", 'last_n => 30, "explain" => false', q(series => '[{"device": 2}, {"device": 9}]') ],
	'amad_events' => [
		'', "$range[0], k => 2, n => 3, merge_gap => '30 min'", q(silence => '30 min', learning => true),
		q(maintenance => 'SELECT since, until, device FROM maintenance WHERE device IS NOT NULL'), q(maintenance => 'maintenance', silence => '1 hour')
	],
	'amad_drift' => [ '', $range[0], 'last_n => 200' ],
	'amad_compare' => [ "version => 1, other_version => 1, $range[0]" ],
);
for my $function (sort keys %calls)
{
	for my $arguments (@{ $calls{$function} })
	{
		$citus->same_rows("SELECT * FROM $function('fleet'" . ($arguments ? ", $arguments" : '') . ')', "$function($arguments)");
	}
}
# by the time zone of the caller
$_->safe_psql('postgres', "ALTER DATABASE postgres SET timezone = 'Asia/Tokyo'") for $citus->coordinator, $citus->plain;
$citus->both(q(CREATE TABLE local AS SELECT device, (ts AT TIME ZONE 'UTC') AS ts, a, b, c FROM readings));
$citus->sql("SELECT create_distributed_table('local', 'device')");
$citus->same_rows(q(SELECT * FROM amad_detect('fleet', source => 'local', since => '2024-05-03 10:00', until => '2024-05-03 12:00')), 'a column without a time zone');

# a partitioned table: each shard is partitioned
$citus->both(q(CREATE TABLE parts (device int, ts timestamptz, a float8, b float8, c float8) PARTITION BY RANGE (ts);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2024-05-02+00');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2024-05-02+00') TO (MAXVALUE)));
$citus->sql("SELECT create_distributed_table('parts', 'device')");
$citus->both('INSERT INTO parts SELECT * FROM readings');
$citus->same_rows(q(SELECT * FROM amad_detect('fleet', source => 'parts')), 'a partitioned table');
$citus->same_rows(q(SELECT * FROM amad_detect('fleet', source => 'parts_2')), 'a partition of it');

# a table with one shard, a reference table, a query, and a table that is distributed by another column
$citus->both('CREATE TABLE single AS TABLE readings; CREATE TABLE copied AS TABLE readings; CREATE TABLE other AS TABLE readings');
$citus->sql("SELECT create_distributed_table('single', NULL); SELECT create_reference_table('copied'); SELECT create_distributed_table('other', 'ts')");
$citus->same_rows("SELECT * FROM amad_events('fleet', source => '$_')", "events of $_") for 'single', 'copied', 'other', 'SELECT * FROM readings WHERE device < 8';

# ---- what is moved
my $query = $citus->sql("SELECT amad_detect_query('fleet', $range[0])");
ok($citus->pushed_down($query, 'amad_detect_on_shard'), 'the detection is pushed down');
like($query, qr/^SELECT r\.\* FROM \(SELECT shard FROM \(SELECT DISTINCT device, /, 'its query');
unlike($citus->sql("SELECT amad_detect_query('fleet', source => '$_')"), qr/on_shard/, "not that of $_") for 'single', 'copied', 'other', 'SELECT * FROM readings';
# EXPLAIN ANALYZE counts the rows that tasks return; those of the model are a plan of their own
my $anomalies = $citus->sql("SELECT count(*) FROM amad_detect('fleet', $range[0], only_anomalies => true)");
(my $filtered = $query) =~ s/false, true, NULL/true, true, NULL/;
is($citus->rows_moved($filtered), $anomalies, 'only anomalies are moved');

# ---- plain SQL
my $sql = $citus->sql("SELECT amad_detect_sql('fleet', $range[0], $range[1])");
ok($citus->pushed_down($sql, 'amad_explain'), 'the query of amad_detect_sql is pushed down');
$citus->same_rows($sql, 'its rows');
$citus->both("ALTER TABLE readings ADD severity float8; UPDATE readings r SET severity = d.severity FROM ($sql) d WHERE d.device = r.device AND d.ts = r.ts");
$citus->same_rows('SELECT device, ts, severity FROM readings WHERE severity IS NOT NULL', 'an update from it');
my $update = "UPDATE readings r SET severity = d.severity FROM d WHERE (d.series->>'device')::int = r.device AND d.ts = r.ts";
$citus->both("WITH d AS MATERIALIZED (SELECT * FROM amad_detect('fleet', $range[0])) $update");
$citus->same_rows('SELECT device, ts, severity FROM readings WHERE severity IS NOT NULL', 'an update from amad_detect, materialized');
like($citus->error("UPDATE readings r SET severity = d.severity FROM amad_detect('fleet', $range[0]) d WHERE (d.series->>'device')::int = r.device AND d.ts = r.ts"),
	qr/amad_detect\(\) cannot be called in a query on a shard.*HINT:  Call it in WITH \.\.\. AS MATERIALIZED/s, 'an update from amad_detect');

# ---- in a transaction
my $changed = q(SET client_min_messages = warning; BEGIN; DELETE FROM readings WHERE device = 3; UPDATE readings SET c = c + 9 WHERE device = 1 AND ts > '2024-05-04+00';
SELECT md5(string_agg(d::text, '|' ORDER BY series, start_ts)) FROM amad_events('fleet') d; ROLLBACK);
is($citus->sql($changed), $citus->plain->safe_psql('postgres', $changed), 'rows that the transaction has changed');

# ---- a watch
like($citus->error("SELECT amad_watch('fleet')"), qr/changes of the source of model "fleet" cannot be logged.*It is a distributed table.*Specify late/s, 'triggers');
my $watch = q(SELECT amad_watch('fleet', target => 'scores', late => '2 hours', silence => '1 hour', cooldown => '0'));
$citus->both($watch);
my ($stdout, $stderr) = ('', '');
$citus->coordinator->psql('postgres', "SELECT amad_unwatch('fleet'); DROP TABLE scores CASCADE; $watch", stderr => \$stderr);
unlike($stderr, qr/WARNING/, 'a watch is created without warnings');
$citus->both(q(CALL amad_refresh('fleet', as_of => '2024-05-03 18:00+00')));
my $scores = 'SELECT device, ts, severity, status, expected, contributions, model_version FROM scores';
my $incidents = q(SELECT kind, state, series, started, last_ts, peak_severity FROM amad_incidents);
$citus->same_rows($scores, 'the first refresh');
$citus->same_rows($incidents, 'its incidents');
$citus->both(q(UPDATE readings SET a = a - 70 WHERE device = 8 AND ts BETWEEN '2024-05-03 17:00+00' AND '2024-05-03 19:00+00'; CALL amad_refresh('fleet', as_of => '2024-05-03 20:00+00')));
$citus->same_rows($scores, 'the second refresh');
$citus->same_rows($incidents, 'its incidents');
$citus->same_rows(q(SELECT kind, state, changes > 0, series, rows_scored, rows_flagged, rows_learning FROM amad_runs), 'the runs');
$citus->both(q(CALL amad_refresh('fleet', since => '2024-05-02+00', as_of => '2024-05-03 20:00+00')));
$citus->same_rows($scores, 'a refresh of a range');
$citus->both(q(CALL amad_care('fleet', as_of => '2024-05-03 20:30+00')));
$citus->same_rows('SELECT version, deployed, md5(model::text) FROM amad_models', 'the models after care');
$citus->same_rows("SELECT series, drift, learning FROM amad_series JOIN amad_watches USING (watch)", 'the series after care')
  if $citus->plain->safe_psql('postgres', "SELECT count(*) FROM pg_attribute WHERE attrelid = 'amad_series'::regclass AND attname = 'drift'");
# ---- what reads the source from here
$citus->same_rows(q(SELECT rows, series, short_series, features, sampled, steps, passes FROM amad_estimate('readings', series_cols => '{device}')), 'amad_estimate');
$citus->same_rows(q(SELECT * FROM amad_tune('fleet', 3)), 'amad_tune');
$citus->both(q(SELECT amad_feedback('fleet', '{"device": 8}', '2024-05-03 17:00+00', '2024-05-03 18:00+00', 'incident')));
$citus->same_rows(q(SELECT * FROM amad_drift('fleet', since => '2024-05-03+00')), 'amad_drift without a confirmed incident');
$citus->same_rows(q(SELECT amad_retrain('fleet', until => '2024-05-03+00') - '{seconds,workers,core}'::text[]), 'amad_retrain');
$citus->same_rows('SELECT version, deployed, md5(model::text) FROM amad_models', 'its model');

# ---- recalibrations: of some series on the shards, of all of them here
my @recalibrations = (
	[ "since => '2024-05-03+00', series => '[{\"device\": 2}, {\"device\": 4}, {\"device\": 7}]'", 1 ],
	[ "last_n => 200, series => '{\"device\": [1, 9, 10]}', options => '{\"trim\": 0}'", 1 ],
	[ "since => '2024-05-03+00', series => '{\"device\": [3, 5]}', options => '{\"threshold_only\": true}'", 1 ],
	[ "since => '2024-05-02+00', options => '{\"contamination\": 0.02}'", 0 ],
);
for my $recalibration (@recalibrations)
{
	my ($arguments, $on_shards) = @$recalibration;

	$citus->same_rows("SELECT amad_recalibrate('fleet', $arguments) - 'seconds'", "amad_recalibrate($arguments)");
	$citus->same_rows('SELECT version, deployed, md5(model::text) FROM amad_models', 'its model');
	my (undef, undef, $debug) = $citus->coordinator->psql('postgres',
		"SET client_min_messages = debug1; BEGIN; SELECT amad_recalibrate('fleet', $arguments); ROLLBACK");
	is($debug =~ /amad asks the shards/ ? 1 : 0, $on_shards, $on_shards ? 'on the shards' : 'not on the shards');
	is($debug =~ /amad reads its source by/ ? 0 : 1, $on_shards, 'its rows');
}
for my $arguments ("since => '2024-05-04 10:00+00', series => '{\"device\": [1, 2]}'", "last_n => 10, series => '{\"device\": 77}'")
{
	my $call = "SELECT amad_recalibrate('fleet', $arguments)";
	my ($here, $there) = map { s/.*(ERROR: .*)/$1/sr =~ s/\nCONTEXT:.*//sr } $citus->error($call), $citus->error($call, node => $citus->plain);

	is($here, $there, "the error of amad_recalibrate($arguments)");
}

# the source is read for the refresh on the shards; only the last values of features that are missing are looked for from here
my (undef, undef, $debug) = $citus->coordinator->psql('postgres', q(SET client_min_messages = debug1; CALL amad_refresh('fleet', since => '2024-05-03 15:00+00', as_of => '2024-05-03 20:00+00')));
like($debug, qr/amad asks the shards of its source by: .*amad_refresh_on_shard/, 'a refresh asks the shards');
unlike($debug, qr/amad reads its source by: .*ORDER BY c1/, 'and does not read the range itself');

# ---- a shard moves while others score
my $digest = $citus->digest($citus->coordinator, "SELECT * FROM amad_detect('fleet')");
my $moves = q(DO $$ DECLARE m record; BEGIN FOR m IN SELECT shardid, nodename, nodeport FROM pg_dist_shard JOIN pg_dist_shard_placement USING (shardid)
	WHERE logicalrelid = 'readings'::regclass ORDER BY shardid LIMIT 4 LOOP
	PERFORM citus_move_shard_placement(m.shardid, m.nodename, m.nodeport, n.nodename, n.nodeport, shard_transfer_mode => 'block_writes')
		FROM pg_dist_node n WHERE groupid > 0 AND nodeport <> m.nodeport; END LOOP; END $$);
my @script = ($citus->coordinator->installed_command('psql'), '-XqAt', '-d', $citus->coordinator->connstr('postgres'));
my ($moved, $error) = ('', '');
my $session = IPC::Run::start([ @script, '-c', $moves ], '<', \undef, '>', \$moved, '2>', \$error);
my ($runs, $wrong) = (0, 0);
while ($session->pumpable && $runs < 200)
{
	my $now = eval { $citus->digest($citus->coordinator, "SELECT * FROM amad_detect('fleet')") } // 'error';
	$wrong++ if $now ne $digest;
	$runs++;
	$session->pump_nb;
}
$session->finish;
is($error, '', 'shards were moved');
cmp_ok($runs, '>', 0, 'detections ran meanwhile');
is($wrong, 0, "all gave the same rows");
is($citus->digest($citus->coordinator, "SELECT * FROM amad_detect('fleet')"), $digest, 'and so does one after it');

done_testing();
