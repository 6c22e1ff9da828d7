# Citus: unusual tables, privileges and settings under which functions on shards still give the rows of one server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use CitusTest;
use AmadTest;
use Test::More;

my $citus = CitusTest->new(conf => 'enable_partitionwise_aggregate = on');
my @nodes = ($citus->coordinator, $citus->plain);
my $options = q('{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 20, "contamination": 0.01}');

# The same statement on both, apart from those around it: Citus does not accept some in a list.
sub both
{
	my @statements = @_;

	for my $node (@nodes)
	{
		$node->safe_psql('postgres', $_) for @statements;
	}
	return;
}

sub sharded
{
	my ($call, $name, $role) = @_;
	my (undef, undef, $debug) = $citus->coordinator->psql('postgres',
		($role ? "SET ROLE $role; " : '') . "SET client_min_messages = debug1; SELECT count(*) FROM $call");

	like($debug, qr/amad asks the shards/, "$name: on the shards");
	return;
}

$citus->create_rows('readings', rows => 400, devices => 12);
both("UPDATE readings SET a = a + 50 WHERE device IN (2, 7) AND ts BETWEEN '2024-05-02 03:00+00' AND '2024-05-02 04:00+00'");
both("SELECT amad_train('fleet', 'readings', series_cols => '{device}', until => '2024-05-02+00', options => $options)");

# ---- a table that is partitioned by the distribution column: the planner divides GROUP BY and HAVING among partitions
both(
	'CREATE TABLE by_device (device int, ts timestamptz, a float8, b float8, c float8) PARTITION BY RANGE (device)',
	'CREATE TABLE by_device_1 PARTITION OF by_device FOR VALUES FROM (0) TO (25)',
	'CREATE TABLE by_device_2 (c float8, b float8, dropped int, a float8, ts timestamptz, device int)',
	'ALTER TABLE by_device_2 DROP COLUMN dropped',
	'ALTER TABLE by_device ATTACH PARTITION by_device_2 FOR VALUES FROM (25) TO (100)');
$citus->sql("SET citus.shard_count = 2; SELECT create_distributed_table('by_device', 'device')");
both('INSERT INTO by_device SELECT device + 12 * n, ts, a, b, c FROM readings, generate_series(0, 3) n', 'ANALYZE by_device');
$citus->same_rows("SELECT * FROM amad_detect('fleet', source => '$_')", $_) for 'by_device', 'by_device_1', 'by_device_2';
$citus->same_rows("SELECT * FROM amad_drift('fleet', source => 'by_device', since => '2024-05-02+00')", 'drift of a part of it');

# ---- columnar tables, and columnar partitions
SKIP:
{
	$citus->coordinator->psql('postgres', 'CREATE EXTENSION IF NOT EXISTS citus_columnar');
	skip 'no columnar tables', 6 if $citus->sql("SELECT count(*) FROM pg_am WHERE amname = 'columnar'") eq '0';
	$citus->sql('CREATE TABLE packed (device int, ts timestamptz, a float8, b float8, c float8) USING columnar');
	$citus->sql("SELECT create_distributed_table('packed', 'device'); INSERT INTO packed SELECT * FROM readings");
	$citus->plain->safe_psql('postgres', 'CREATE TABLE packed AS TABLE readings');
	$citus->same_rows("SELECT * FROM amad_detect('fleet', source => 'packed')", 'a columnar table');
	sharded("amad_detect('fleet', source => 'packed')", 'it');
	$citus->sql('ALTER TABLE by_device DETACH PARTITION by_device_1');
	$citus->sql("SELECT alter_table_set_access_method('by_device_1', 'columnar')");
	$citus->sql('ALTER TABLE by_device ATTACH PARTITION by_device_1 FOR VALUES FROM (0) TO (25)');
	$citus->same_rows("SELECT * FROM amad_events('fleet', source => 'by_device', silence => '1 hour')", 'a columnar partition');
	sharded("amad_detect('fleet', source => 'by_device')", 'it');
}

# ---- names that the query uses itself
both('CREATE TABLE "Sour ce" AS SELECT device AS source, ts AS shard, a AS k, b, c AS series FROM readings');
$citus->sql(q(SELECT create_distributed_table('"Sour ce"', 'source')));
both(qq(SELECT amad_train('names', '"Sour ce"', 'shard', '{k,b,series}', '{source}', until => '2024-05-02+00', options => $options)));
$citus->same_rows("SELECT * FROM amad_detect('names')", 'names');
sharded("amad_detect('names')", 'names');

# ---- no shard is left to be read
my @none = ('[]', '{"device": []}', '[{"device": []}, {"device": []}]');
for my $node (@nodes)
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM amad_detect('fleet', series => '$_')"), 0, "series $_ on " . $node->name) for @none;
	is($node->safe_psql('postgres', "SELECT count(*) FROM amad_events('fleet', series => '$_', silence => '1 hour')"), 0, "events of $_")
	  for @none;
}

# ---- row-level security, and privileges on columns
both('CREATE ROLE alice LOGIN', 'CREATE ROLE bob LOGIN', 'GRANT CREATE ON SCHEMA public TO alice');
both('CREATE TABLE own AS TABLE readings', 'ALTER TABLE own OWNER TO alice');
$citus->sql("SELECT create_distributed_table('own', 'device')");
both("SET ROLE alice; SELECT amad_train('own', 'own', series_cols => '{device}', until => '2024-05-02+00', options => $options)",
	"SET ROLE alice; SELECT amad_grant('own', 'bob', 'read')", 'GRANT SELECT ON own TO bob', 'ALTER TABLE own ENABLE ROW LEVEL SECURITY');
my %expected = ("device IN (2, 3) AND ts > '2024-05-01 12:00+00'" => 1, "current_user = 'alice'" => 0, 'false' => 0, 'device = 2 AND device = 3' => 0);
for my $policy (sort keys %expected)
{
	my $call = "amad_events('own', source => 'own')";

	both("CREATE POLICY visible ON own FOR SELECT TO bob USING ($policy)");
	is($_->safe_psql('postgres', "SET ROLE bob; SELECT count(*) FROM $call"), $expected{$policy}, "policy $policy on " . $_->name) for @nodes;
	sharded($call, $policy, 'bob');
	both('DROP POLICY visible ON own');
}
$citus->same_rows("SET ROLE bob; SELECT * FROM amad_events('own')", 'the stored source is read as its owner');
both('ALTER TABLE own FORCE ROW LEVEL SECURITY');
is($_->safe_psql('postgres', "SET ROLE bob; SELECT count(*) FROM amad_detect('own')"), 0, 'who has no rows either on ' . $_->name) for @nodes;
both('ALTER TABLE own DISABLE ROW LEVEL SECURITY', 'REVOKE SELECT ON own FROM bob', 'GRANT SELECT (device, ts, a, b, c) ON own TO bob');
$citus->same_rows("SET ROLE bob; SELECT * FROM amad_detect('own', source => 'own')", 'privileges on columns');

# ---- the order of series in the summary of a recalibration is that of their columns
both("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')");
both("CREATE TABLE moods AS SELECT (ARRAY['sad', 'ok', 'happy']::mood[])[device] AS mood, device % 2 * 10 AS site, ts, a, b, c
	FROM readings WHERE device < 4");
$citus->sql("SELECT create_distributed_table('moods', 'mood')");
both("SELECT amad_train('moods', 'SELECT * FROM moods WHERE mood = ''ok''', 'ts', '{a,b,c}', '{mood,site}', options => $options)");
$citus->same_rows(q(SELECT amad_recalibrate('moods', source => 'moods', last_n => 380, series => '{}') - 'seconds'), 'adopted series');
$citus->same_rows(q(SELECT md5(model::text) FROM amad_models WHERE model_name = 'moods'), 'their model');

# ---- settings
$citus->same_rows("SET plan_cache_mode = force_generic_plan; SELECT * FROM amad_detect('fleet', since => '2024-05-02+00')", 'generic plans');
for my $type (["date", "'2026-03-01'::date + device", '02/03/26', 'ISO, DMY'], ['interval', "device * interval '-25 hours'", '-1 1:00:00', 'ISO, MDY'])
{
	my ($name, $value, $series, $style) = @$type;

	both("CREATE TABLE by_$name AS SELECT $value AS k, ts, a, b, c FROM readings");
	$citus->sql("SELECT create_distributed_table('by_$name', 'k')");
	both("SELECT amad_train('$name', 'by_$name', 'ts', '{a,b,c}', '{k}', until => '2024-05-02+00', options => $options)");
	for my $function ('amad_detect', 'amad_drift')
	{
		$citus->same_rows("SET datestyle = '$style'; SET intervalstyle = sql_standard; SELECT * FROM $function('$name', series => '{\"k\": \"$series\"}')",
			"$function by $name");
	}
}

done_testing();
