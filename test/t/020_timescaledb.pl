# TimescaleDB: rows in the chunks of a hypertable give the models and scores of a plain table, to the
# bit, and its jobs train.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'TimescaleDB is not installed' unless defined extension_version('timescaledb');

my $node = new_node('timescaledb', conf => q(
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
max_worker_processes = 16
));

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

# TimescaleDB prints a warning when it is created
$node->psql('postgres', 'CREATE EXTENSION timescaledb', on_error_die => 1);
my $license = sql('SHOW timescaledb.license');
note("TimescaleDB $license: " . sql("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"));

create_plain($node);
my $plain = source_digests($node, 'plain');

sub same
{
	my ($relation, $what, $setup) = @_;

	is_deeply(source_digests($node, $relation, $setup), $plain, $what);
	return;
}

# ---- hypertables -------------------------------------------------------------------------------

sql(q(
CREATE TABLE hyper (LIKE plain INCLUDING ALL);
SELECT create_hypertable('hyper', 'ts', chunk_time_interval => interval '97 minutes');
INSERT INTO hyper SELECT * FROM plain;
ANALYZE hyper;

-- by time and device
CREATE TABLE space (LIKE plain INCLUDING ALL);
SELECT create_hypertable('space', 'ts', 'device', 3, chunk_time_interval => interval '3 hours');
INSERT INTO space SELECT * FROM plain;

-- time as a number
CREATE TABLE numbers (ts bigint NOT NULL, a float8, b float8, c float8);
CREATE TABLE hyper_numbers (LIKE numbers);
SELECT create_hypertable('hyper_numbers', 'ts', chunk_time_interval => 150);
INSERT INTO numbers SELECT extract(epoch FROM ts - '2024-05-01 00:00+00') / 60, a, b, c FROM plain WHERE device = 'one';
INSERT INTO hyper_numbers SELECT * FROM numbers;));

cmp_ok(sql("SELECT count(*) FROM show_chunks('hyper')"), '>=', 6, 'a hypertable of several chunks');
same('hyper', 'gives the same models and scores');
like(sql('EXPLAIN (COSTS off) SELECT amad_fit(' . options() . ', ts, a, b, c) FROM hyper'), qr/(_hyper_\d+_\d+_chunk.*){6}/s,
	'all chunks are read');
my $ordered = 'SET enable_seqscan = off; SET enable_sort = off';
same('hyper', 'chunks in order by their indexes', $ordered);
my $parallel = 'SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; '
  . 'SET min_parallel_table_scan_size = 0';
same('hyper', 'chunks read by parallel workers', $parallel);

my $one = q(SELECT ts, amad_score('plain', ts, a, b, c) OVER (ORDER BY ts) AS score FROM %s WHERE device = 'one' ORDER BY ts);
my $append = sql("$ordered; EXPLAIN (COSTS off) " . sprintf($one, 'hyper'));
like($append, qr/WindowAgg.*Custom Scan \(ChunkAppend\)/s, 'ordered by ChunkAppend, without a sort');
unlike($append, qr/^ *(-> *)?(Incremental )?Sort$/m, 'there is no sort node');
is(sql("$ordered; SELECT count(*) FROM (" . sprintf($one, 'hyper') . ') h FULL JOIN (' . sprintf($one, 'plain')
		  . ') p USING (ts) WHERE float8send(h.score) IS DISTINCT FROM float8send(p.score)'), 0, 'scores are the same');

cmp_ok(sql("SELECT count(*) FROM show_chunks('space')"), '>=', 4, 'a hypertable by time and device');
same('space', 'gives the same models and scores');

my $fit = 'SELECT md5(amad_fit(' . options() . ", ts, a, b, c)::text) FROM %s";
is(sql(sprintf($fit, 'hyper_numbers')), sql(sprintf($fit, 'numbers')), 'time as a number: the same model');
is(sql('SELECT count(*) FROM (SELECT ts, amad_score(m, ts, a, b, c) OVER (ORDER BY ts) AS score FROM hyper_numbers, '
		  . '(SELECT amad_fit(' . options() . ', ts, a, b, c) AS m FROM numbers) m) h FULL JOIN (SELECT ts, amad_score(m, ts, a, b, c) OVER (ORDER BY ts) AS score '
		  . 'FROM numbers, (SELECT amad_fit(' . options() . ', ts, a, b, c) AS m FROM numbers) m) n USING (ts) WHERE float8send(h.score) IS DISTINCT FROM float8send(n.score)'),
	0, 'the same scores');

# ---- detection of the newest rows, of wide and narrow hypertables ------------------------------

sql(q(
CREATE TABLE narrow_plain AS SELECT ts, device, metric, value FROM plain, LATERAL (VALUES ('a', a), ('b', b), ('c', c)) v (metric, value);
CREATE TABLE narrow (LIKE narrow_plain);
SELECT create_hypertable('narrow', 'ts', chunk_time_interval => interval '97 minutes');
INSERT INTO narrow SELECT * FROM narrow_plain;
CREATE INDEX ON hyper (device, ts);
CREATE INDEX ON narrow (device, ts);
ANALYZE hyper, narrow;));
sql("SELECT amad_train('wide', 'plain', 'ts', '{a,b,c}', '{device}', options => " . options() . ')');
sql("SELECT amad_train('narrow', 'narrow', 'ts', '{a,b,c}', '{device}', options => " . options() . ", metric_col => 'metric', value_col => 'value')");
is(sql(q(SELECT count(DISTINCT model::text) FROM amad_models WHERE model_name IN ('wide', 'narrow') AND deployed)), 1,
	'a narrow hypertable gives the same model');

my $detected = q(SELECT md5(string_agg(concat(series, ts, encode(float8send(severity), 'hex'), expected_values, contributions, status), ' '
	ORDER BY series, ts)) || ' ' || count(severity) FROM amad_detect(%s));
foreach my $range ('last_n => 1', 'last_n => 7', q(since => '2024-05-01 09:50+00'), q(since => '2024-05-01 01:15+00', until => '2024-05-01 08:07+00'),
	q(last_n => 3, series => '{"device": "one"}'))
{
	my $wide = sql(sprintf($detected, "'wide', $range"));
	like($wide, qr/ [1-9]\d*$/, "$range: rows have scores");
	is(sql(sprintf($detected, "'wide', $range, source => 'hyper'")), $wide, "$range: the same of a hypertable");
	is(sql(sprintf($detected, "'narrow', $range")), $wide, "$range: the same of a narrow hypertable");
}
like(sql(q(SELECT amad_detect_query('wide', last_n => 1, source => 'hyper'))), qr/LIMIT/, 'rows of a hypertable are read by count');

# ---- views over them ---------------------------------------------------------------------------

sql(q(CREATE VIEW view AS SELECT ts, device, a, b, c FROM hyper WHERE ts > '2000-01-01'));
same('view', 'a view');

# max instead of avg, which depends on the order of the sum
my $buckets = q(SELECT time_bucket('2 minutes', ts) AS ts, device, max(a) AS a, max(b) AS b, max(c) AS c FROM %s GROUP BY 1, 2);
sql('CREATE VIEW plain_buckets AS ' . sprintf($buckets, 'plain') . '; CREATE VIEW buckets AS ' . sprintf($buckets, 'hyper'));
my $plain_buckets = source_digests($node, 'plain_buckets');
is($plain_buckets->{'amad_score by name'} =~ s/.* //r, 2 * (300 - WARMUP), 'a view of buckets has scores');
is_deeply(source_digests($node, 'buckets'), $plain_buckets, 'and the same results as the view of a plain table');

SKIP:
{
	skip 'the Apache edition has no continuous aggregates and no compression', 5 if $license eq 'apache';

	sql('CREATE MATERIALIZED VIEW aggregate WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS '
		  . sprintf($buckets, 'hyper') . ' WITH NO DATA');
	sql(q(CALL refresh_continuous_aggregate('aggregate', NULL, '2024-05-01 05:00+00')));
	is_deeply(source_digests($node, 'aggregate'), $plain_buckets, 'a continuous aggregate, half of it computed in real time');
	sql(q(CALL refresh_continuous_aggregate('aggregate', NULL, NULL)));
	sql('ALTER MATERIALIZED VIEW aggregate SET (timescaledb.materialized_only = true)');
	is_deeply(source_digests($node, 'aggregate'), $plain_buckets, 'a continuous aggregate, all of it materialized');

	sql(q(ALTER TABLE hyper SET (timescaledb.compress, timescaledb.compress_segmentby = 'device', timescaledb.compress_orderby = 'ts');
		SELECT compress_chunk(c) FROM show_chunks('hyper', older_than => '2024-05-01 05:00+00'::timestamptz) c;));
	cmp_ok(sql(q(SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'hyper' AND is_compressed)),
		'>=', 3, 'compressed chunks beside others');
	same('hyper', 'give the same models and scores');
	same('hyper', 'read by parallel workers, too', $parallel);
}

# ---- a watch where deleted rows cannot be seen -----------------------------------------------------

# the columnstore refuses triggers that see deleted rows; elsewhere, a trigger that does not see them is put in place of that one
my $columnstore = q(ALTER TABLE watched SET (timescaledb.compress, timescaledb.compress_segmentby = 'device', timescaledb.compress_orderby = 'ts DESC'));
sql(q(
CREATE TABLE watched (LIKE plain);
SELECT create_hypertable('watched', 'ts', chunk_time_interval => interval '97 minutes');
INSERT INTO watched SELECT * FROM plain;
CREATE INDEX ON watched (device, ts);));
sql("SELECT amad_train('watched', 'watched', 'ts', '{a,b,c}', '{device}', options => " . options() . ')');
if ($license eq 'apache')
{
	sql(q(SELECT amad_watch('watched', target => 'scores')));
	sql(sql(q(SELECT replace(replace(pg_get_triggerdef(oid), 'CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER'), 'REFERENCING OLD TABLE AS amad_old', '')
		FROM pg_trigger WHERE tgrelid = 'watched'::regclass AND tgname LIKE 'amad%delete')));
}
else
{
	sql("$columnstore; SELECT compress_chunk(c) FROM show_chunks('watched', older_than => '2024-05-01 05:00+00'::timestamptz) c");
	like(sql(q(SELECT amad_detect_query('watched', last_n => 1))), qr/LIMIT/, 'rows of compressed chunks are read by count');
	sql(q(SELECT amad_watch('watched', target => 'scores')));
}
sql(q(CALL amad_refresh('watched')));
is(sql(q(SELECT count(*) || ' ' || count(tgoldtable) || ' ' || count(tgnewtable) FROM pg_trigger WHERE tgrelid = 'watched'::regclass AND tgname LIKE 'amad%')),
	'4 1 2', 'only the triggers for INSERT and UPDATE see rows');
my %changes = (
	q(DELETE FROM watched WHERE device = 'one' AND ts BETWEEN '2024-05-01 02:00+00' AND '2024-05-01 02:10+00') => 'all of all',
	q(DELETE FROM watched WHERE device = 'three' AND ts < '2024-05-01 04:00+00') => 'all of all',
	q(UPDATE watched SET a = 1 WHERE device = 'one' AND ts = '2024-05-01 03:00+00') => 'some of {one}',
	q(INSERT INTO watched VALUES ('2024-05-01 00:30:30+00', 'three', 1, 2, 3)) => 'some of {three}');
foreach my $change (sort keys %changes)
{
	sql($change);
	is(sql(q(SELECT CASE WHEN first_ts IS NULL THEN 'all' ELSE 'some' END || ' of ' || coalesce(series::text, 'all') FROM amad_changes)),
		$changes{$change}, "$change: it is logged");
	sql(q(CALL amad_refresh('watched')));
	is(sql(q(SELECT count(*) || ' ' || count(*) FILTER (WHERE s.ts IS NULL OR d.ts IS NULL OR s.status IS DISTINCT FROM d.status
			OR float8send(s.severity) IS DISTINCT FROM float8send(d.severity))
		FROM scores s FULL JOIN amad_detect('watched') d ON s.device = d.series->>'device' AND s.ts = d.ts)),
		sql('SELECT count(*) FROM watched') . ' 0', 'it is scored');
}

SKIP:
{
	skip 'the Apache edition has no compression', 2 if $license eq 'apache';

	# a watch from before the columnstore
	sql(q(SELECT amad_unwatch('watched'); SELECT decompress_chunk(c, true) FROM show_chunks('watched') c;
		ALTER TABLE watched SET (timescaledb.compress = false); SELECT amad_watch('watched', target => 'scores')));
	my $trigger = sql(q(SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = 'watched'::regclass AND tgname LIKE 'amad%delete'));
	my $stderr;
	$node->psql('postgres', $columnstore, stderr => \$stderr);
	like($stderr, qr/DELETE triggers with transition tables not supported/, 'the columnstore refuses the trigger of a watch');
	sql("DROP TRIGGER $trigger ON watched; $columnstore");
	sql(q(DELETE FROM watched WHERE device = 'one' AND ts < '2024-05-01 01:00+00'; CALL amad_refresh('watched')));
	is(sql(q(SELECT tgoldtable IS NULL, (SELECT count(*) FROM scores) - (SELECT count(*) FROM watched) FROM pg_trigger
		WHERE tgrelid = 'watched'::regclass AND tgname LIKE 'amad%delete')), 't|0', 'a refresh replaces one that was dropped for it');
}
sql(q(SELECT amad_unwatch('watched')));

# ---- scores stored in the table ----------------------------------------------------------------

sql(q(UPDATE hyper h SET severity = s.score
	FROM (SELECT ts, device, amad_score('plain', ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) AS score FROM hyper) s
	WHERE h.ts = s.ts AND h.device = s.device));
is( sql(q(SELECT md5(string_agg(device || ts || coalesce(encode(float8send(severity), 'hex'), '-'), ' ' ORDER BY device, ts))
	|| ' ' || count(severity) FROM hyper)),
	$plain->{'amad_score by name'}, 'scores written by UPDATE');

# ---- jobs --------------------------------------------------------------------------------------

SKIP:
{
	sql('CREATE PROCEDURE retrain(job_id int, config jsonb) LANGUAGE plpgsql AS $$ BEGIN '
		  . "PERFORM amad_train(config->>'model_name', " . options() . ", ts, a, b, c) FROM hyper WHERE device = 'one'; END \$\$");
	my ($stdout, $stderr);
	my $ret = $node->psql('postgres', q(SELECT add_job('retrain', '1 second', config => '{"model_name": "plain"}')),
		stdout => \$stdout, stderr => \$stderr);
	skip 'the Apache edition has no jobs of the user', 4
	  if $ret != 0 && $license eq 'apache' && $stderr =~ /not supported under the current "apache" license/;
	is($ret, 0, 'add_job takes a procedure that trains') or note($stderr);
	ok($node->poll_query_until('postgres', "SELECT count(*) > 2 FROM amad_models WHERE model_name = 'plain'"),
		'and runs it time and again');
	sql("SELECT delete_job($stdout)");
	is( sql("SELECT count(DISTINCT model::text) FROM amad_models WHERE model_name = 'plain'"), 1, 'the models are the same as that of the plain table');
	is(sql('SELECT string_agg(DISTINCT version::text, \',\' ORDER BY version::text) FROM amad_models WHERE model_name = \'plain\' AND version <= 3'), '1,2,3', 'versions of one name');
}

$node->stop;
done_testing();
