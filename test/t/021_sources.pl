# Models and scores do not depend on the kind of relation that has the rows: they equal those of a plain table, to the
# bit.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('sources');
create_plain($node);

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

my $plain = source_digests($node, 'plain');
is(scalar(grep { defined && /^[0-9a-f]{32}/ } values %$plain), 8, 'a plain table gives eight digests');
is($plain->{'amad_score by name'} =~ s/.* //r, 2 * (600 - WARMUP), 'rows after the warm-up have scores');
my $almost = source_digests($node, q((SELECT ts, device, a + CASE WHEN ts = '2024-05-01 05:00+00' THEN 1e-3 ELSE 0 END AS a, b, c FROM plain) s));
is(scalar(grep { $plain->{$_} ne $almost->{$_} } keys %$plain), 8, 'all of which differ if one value differs');

sub same
{
	my ($relation, $what, $setup) = @_;

	is_deeply(source_digests($node, $relation, $setup), $plain, $what);
	return;
}

# Checks that a query has the plan that the test is about
sub plan_like
{
	my ($query, $pattern, $name) = @_;

	like(sql("EXPLAIN (COSTS off) $query"), $pattern, $name);
	return;
}

my $fit = 'SELECT amad_fit(' . options() . ', ts, a, b, c)';

# ---- partitions --------------------------------------------------------------------------------

sql(q(
CREATE TABLE by_time (LIKE plain INCLUDING ALL) PARTITION BY RANGE (ts);
CREATE TABLE by_time_1 PARTITION OF by_time FOR VALUES FROM (MINVALUE) TO ('2024-05-01 02:30+00');
CREATE TABLE by_time_2 PARTITION OF by_time FOR VALUES FROM ('2024-05-01 02:30+00') TO ('2024-05-01 07:00+00');
-- columns at other places, and one that is gone
CREATE TABLE by_time_3 (c float8, gone int, device text NOT NULL, severity float8, b float8, ts timestamptz NOT NULL, a float8);
ALTER TABLE by_time_3 DROP gone;
ALTER TABLE by_time ATTACH PARTITION by_time_3 FOR VALUES FROM ('2024-05-01 07:00+00') TO ('2024-05-01 09:59+00');
CREATE TABLE by_time_rest PARTITION OF by_time DEFAULT;
CREATE INDEX ON by_time (ts);
INSERT INTO by_time SELECT * FROM plain;

CREATE TABLE by_device (LIKE plain INCLUDING ALL) PARTITION BY LIST (device);
CREATE TABLE by_device_one PARTITION OF by_device FOR VALUES IN ('one');
CREATE TABLE by_device_three PARTITION OF by_device FOR VALUES IN ('three') PARTITION BY HASH (ts);
CREATE TABLE by_device_three_0 PARTITION OF by_device_three FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_device_three_1 PARTITION OF by_device_three FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_device SELECT * FROM plain;
ANALYZE by_time, by_device;));

same('by_time', 'partitions by time');
plan_like("$fit FROM by_time", qr/Append.*by_time_1.*by_time_2.*by_time_3.*by_time_rest/s, 'all partitions are read');
same('by_time', 'partitions by time, each in order by its index', 'SET enable_seqscan = off; SET enable_sort = off');
same('by_device', 'partitions by device, one of them by hash');
my $partitionwise = 'SET enable_partitionwise_aggregate = on';
same('by_device', 'partitions aggregated one by one', $partitionwise);
my @aggregates = sql("$partitionwise; EXPLAIN (COSTS off) SELECT device, amad_fit(ts, a, b, c) FROM by_device GROUP BY device") =~ /Aggregate/g;
is(scalar(@aggregates), 2, 'they are');

my $parallel = 'SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; '
  . 'SET min_parallel_table_scan_size = 0';
same('by_time', 'partitions read by parallel workers', $parallel);
like(sql("$parallel; EXPLAIN (COSTS off) $fit FROM by_time"), qr/Gather.*Append/s, 'they are');

# ---- other relations ---------------------------------------------------------------------------

sql(q(
CREATE VIEW a_view AS SELECT ts, device, a, b, c FROM by_time WHERE device <> 'two';
CREATE VIEW a_union AS SELECT * FROM by_device_one UNION ALL SELECT * FROM by_device_three;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM by_device;
CREATE UNLOGGED TABLE unlogged AS SELECT * FROM plain;
CREATE FUNCTION a_function() RETURNS SETOF plain LANGUAGE sql STABLE AS 'SELECT * FROM plain';

CREATE TABLE parent AS SELECT * FROM plain WHERE ts < '2024-05-01 03:00+00';
CREATE TABLE child (note text DEFAULT 'more') INHERITS (parent);
CREATE TABLE grandchild () INHERITS (child);
INSERT INTO child SELECT * FROM plain WHERE ts >= '2024-05-01 03:00+00' AND device = 'one';
INSERT INTO grandchild SELECT * FROM plain WHERE ts >= '2024-05-01 03:00+00' AND device = 'three';));

same('a_view', 'a view');
same('a_union', 'a view of UNION ALL');
same('a_matview', 'a materialized view');
same('unlogged', 'an unlogged table');
same('temporary', 'a temporary table', 'CREATE TEMP TABLE temporary AS SELECT * FROM by_time');
same('a_function()', 'a function');
same('parent', 'a table and the tables that inherit from it');
is(sql('SELECT count(*) FROM ONLY parent'), 360, 'which hold most of the rows');

SKIP:
{
	skip 'there is no postgres_fdw', 3 unless defined extension_version('postgres_fdw');
	sql('CREATE EXTENSION postgres_fdw; CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host \''
		  . $node->host . '\', port \'' . $node->port . "', dbname 'postgres'); "
		  . 'CREATE USER MAPPING FOR CURRENT_USER SERVER loopback; '
		  . 'CREATE FOREIGN TABLE remote (ts timestamptz, device text, a float8, b float8, c float8) '
		  . "SERVER loopback OPTIONS (table_name 'by_time')");
	same('remote', 'a foreign table');
	plan_like("$fit FROM remote", qr/Foreign Scan on remote/, 'the aggregate is computed locally');

	sql(q(CREATE TABLE mixed (LIKE plain) PARTITION BY LIST (device);
		CREATE TABLE mixed_one PARTITION OF mixed FOR VALUES IN ('one');
		CREATE FOREIGN TABLE mixed_three PARTITION OF mixed FOR VALUES IN ('three')
		  SERVER loopback OPTIONS (table_name 'by_device_three');
		INSERT INTO mixed SELECT * FROM plain WHERE device = 'one';));
	same('mixed', 'a partitioned table with a foreign partition');
}

# ---- scores stored in the table ----------------------------------------------------------------

foreach my $table (qw(by_time by_device parent))
{
	sql("UPDATE $table t SET severity = s.score FROM (SELECT ts, device, amad_score('plain', ts, a, b, c) "
		  . "OVER (PARTITION BY device ORDER BY ts) AS score FROM $table) s WHERE t.ts = s.ts AND t.device = s.device");
	is( sql("SELECT md5(string_agg(device || ts || coalesce(encode(float8send(severity), 'hex'), '-'), ' ' ORDER BY device, ts)) "
			  . "|| ' ' || count(severity) FROM $table"),
		$plain->{'amad_score by name'}, "scores written to $table by UPDATE");
}

$node->stop;
done_testing();
