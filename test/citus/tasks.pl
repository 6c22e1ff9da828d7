# Citus: nothing that a task of a distributed statement stores is ever in a place where it is not found.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use CitusTest;
use AmadTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $citus = CitusTest->new;
my $options = options();
my $refused = qr/cannot be called in a query on a shard/;

$citus->create_rows('readings');
$citus->sql(q(
CREATE TABLE reference AS SELECT * FROM readings WHERE device = 1;
SELECT create_reference_table('reference');
CREATE TABLE here AS SELECT * FROM readings WHERE device = 1;
CREATE TABLE known AS SELECT * FROM here;
SELECT citus_add_local_table_to_metadata('known');
CREATE TABLE readings_of_a_device_that_has_a_name_almost_as_long_as_can_be (LIKE readings);
SELECT create_distributed_table('readings_of_a_device_that_has_a_name_almost_as_long_as_can_be', 'device');
INSERT INTO readings_of_a_device_that_has_a_name_almost_as_long_as_can_be SELECT * FROM readings;
CREATE TABLE targets (device int, name text);
INSERT INTO targets SELECT d, 'm' FROM generate_series(1, 8) d;
SELECT create_distributed_table('targets', 'device');
CREATE FUNCTION train_in_function(name text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE result text;
BEGIN
  SELECT amad_train(name, '{"steps": 2}'::jsonb, i, sin(i), cos(i))->>'version' INTO result FROM generate_series(1, 500) i;
  RETURN result;
END $$;
SELECT create_distributed_function('train_in_function(text)');
CREATE FUNCTION train_of_device(device int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  RETURN train_in_function('device ' || device);
END $$;
SELECT create_distributed_function('train_of_device(int)', 'device', colocate_with => 'readings');));

# Models that are stored, on each node: the copies of one table, or one of its own
sub stored
{
	return join ' ', $citus->nodes('SELECT count(*) FROM amad_models');
}

my $none = stored();
my %statements = (
	'amad_train by device' => "SELECT device, amad_train('m' || device, $options, ts, a, b, c) FROM readings GROUP BY device",
	'amad_train of one device' => "SELECT amad_train('m', $options, ts, a, b, c) FROM readings WHERE device = 3",
	'amad_train without options' => "SELECT amad_train('m', ts, a, b, c) FROM readings WHERE device = 3",
	'amad_train in a subquery' =>
	  "SELECT count(*) FROM (SELECT device, amad_train('m' || device, $options, ts, a, b, c) t FROM readings GROUP BY device) s",
	'INSERT ... SELECT amad_train' =>
	  "INSERT INTO targets SELECT device, amad_train('m' || device, $options, ts, a, b, c)->>'version' FROM readings GROUP BY device",
	'amad_train by source' => "SELECT amad_train(name, 'SELECT 1', options => $options) FROM targets",
	'amad_retrain' => 'SELECT amad_retrain(name) FROM targets',
	'amad_deploy' => 'SELECT amad_deploy(name, 1) FROM targets',
	'amad_drop' => 'SELECT amad_drop(name) FROM targets',
	'amad_grant' => "SELECT amad_grant(name, 'public', 'read') FROM targets",
	'amad_revoke' => "SELECT amad_revoke(name, 'public') FROM targets",
	'amad_recalibrate' => 'SELECT amad_recalibrate(name) FROM targets',
	'amad_watch' => q(SELECT amad_watch(name, "every" => '1 min') FROM targets),
	'a function that trains' => q(SELECT train_in_function(name) FROM targets));

sub refuse_all
{
	my ($when) = @_;

	for my $name (sort keys %statements)
	{
		for my $nested ('off', 'on')
		{
			like(
				$citus->error("SET citus.allow_nested_distributed_execution = $nested; $statements{$name}"),
				$refused, "$when: $name is refused, nested execution $nested");
		}
	}
	is(stored(), $none, "$when: nothing was stored");
	return;
}

# ---- a table of models on each node -----------------------------------------------------------

refuse_all('own tables');
like($citus->error($statements{'amad_train by device'}), qr/HINT: .*INSERT INTO .* amad_fit/, 'the hint shows what works');
my @error = $citus->error("SELECT device, ts, amad_score('m', ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) FROM readings");
like($error[0], qr/model "m" does not exist on this node.*amad_distribute/s, 'scoring by name says what is missing');
for my $statement ("SELECT amad_train('m', $options, ts, a, b, c) FROM readings WHERE device = 3",
	q(SELECT train_in_function('m')), q(SELECT amad_train('m', 'SELECT * FROM readings', 'ts')), q(SELECT amad_drop('m')))
{
	like($citus->error($statement, node => $citus->worker), qr/cannot be (changed on a worker of Citus|called in a query on a shard)/, "client of a worker: $statement");
}
is(stored(), $none, 'nothing was stored there');
$citus->sql("SELECT amad_train('a', $options, ts, a, b, c) FROM here");
$citus->sql("SELECT amad_train('b', $options, ts, a, b, c) FROM known");
$citus->sql("SELECT amad_train('c', $options, ts + device * interval '1 year', a, b, c) FROM readings");
$citus->sql("SELECT amad_train('d', $options, ts, a, b, c) FROM (SELECT * FROM reference OFFSET 0) s");
is(stored(), '4 0 0', 'what is not in a task is stored on the coordinator');
$citus->sql(q(SELECT amad_drop(m) FROM unnest('{a,b,c,d}'::text[]) m));

# ---- shards on the coordinator, too -----------------------------------------------------------

$citus->sql(sprintf q(SELECT citus_set_node_property('%s', %d, 'shouldhaveshards', true); SELECT rebalance_table_shards(shard_transfer_mode => 'block_writes')),
	$citus->coordinator->host, $citus->coordinator->port);
my %node_of = map { split /\|/ } split /\n/, $citus->sql(q(SELECT device, (SELECT nodeport FROM citus_shards
	WHERE shardid = get_shard_id_for_distribution_column('readings', device)) FROM generate_series(1, 8) device));
my ($local) = grep { $node_of{$_} == $citus->coordinator->port } sort keys %node_of;
ok(defined $local, 'a shard is on the coordinator');
refuse_all('shards on the coordinator');

# a router query runs in the process of the client, or does not
my $router = "SELECT amad_train('m', $options, ts, a, b, c) FROM readings WHERE device = $local";
for my $execution ('on', 'off')
{
	like($citus->error("SET citus.enable_local_execution = $execution; $router"), $refused, "one local device, local execution $execution");
	like(
		$citus->error("SET citus.enable_local_execution = $execution; " . ($router =~ s/readings/readings_of_a_device_that_has_a_name_almost_as_long_as_can_be/r)),
		$refused, "a long name, local execution $execution");
}
is(stored(), $none, 'nothing was stored');

# a table with the number of a shard at the end of its name
my $number = $citus->sql(q(SELECT min(shardid) FROM pg_dist_shard WHERE logicalrelid = 'readings'::regclass));
$citus->sql("CREATE TABLE other_$number AS SELECT * FROM here; SELECT amad_train('m', $options, ts, a, b, c) FROM other_$number; SELECT amad_drop('m')");

# a function that stores in the client's own transaction may
$citus->sql("INSERT INTO targets VALUES ($local, 'local')");
my $function = "SELECT train_in_function(name) FROM targets WHERE device = $local AND name = 'local'";
is($citus->sql($function), 1, 'a function in a local task stores');
is(stored(), '1 0 0', '… on the coordinator');
like($citus->error("SET citus.enable_local_execution = off; $function"), $refused, '… but not over a connection');
$citus->sql(q(SELECT amad_drop('local')));

# ---- one table of models ----------------------------------------------------------------------

$citus->sql('SELECT amad_distribute()');
refuse_all('amad_distribute()');
for my $execution ('on', 'off')
{
	like($citus->error("SET citus.enable_local_execution = $execution; $router"), $refused, "one local device, local execution $execution");
}
my ($there) = grep { $node_of{$_} == $citus->worker->port } sort keys %node_of;
like(
	$citus->error("SELECT amad_train('m', $options, ts, a, b, c) FROM readings WHERE device = $there", node => $citus->worker),
	$refused, 'a client of a worker, and a device of that worker');
like($citus->error($function), qr/cannot execute a distributed query from a query on a shard/, 'Citus refuses the function');
is($citus->sql("SET citus.allow_nested_distributed_execution = on; $function"), 1, '… unless it is allowed');
is(stored(), '1 1 1', '… and then the model is on all nodes');
like(
	$citus->error("SET citus.allow_nested_distributed_execution = on; SET citus.enable_local_execution = off; $function"),
	$refused, 'but not over a connection');
$citus->sql(q(SELECT amad_drop('local')));

# delegated to the node of the device
my ($remote) = grep { $node_of{$_} != $citus->coordinator->port } sort keys %node_of;
like($citus->error("SELECT train_of_device($remote)"), $refused, 'a function that Citus calls on a worker');

# from each node, and what is read there
for my $server ($citus->coordinator, $citus->worker(0), $citus->worker(1))
{
	my $name = $server->name;

	$server->safe_psql('postgres', "SELECT amad_train('$name', $options, ts + device * interval '1 year', a, b, c) FROM readings");
	is(stored(), '1 1 1', "$name: one model of all rows");
	is($server->safe_psql('postgres', "SELECT amad_drop('$name')"), 1, "$name: dropped");
}

like(
	$citus->error(q(SELECT amad_watch('m', "every" => '1 min')), node => $citus->worker),
	qr/watches are kept on the coordinator/,
	'no watches on workers');

# in one transaction, after Citus has opened connections to the coordinator itself
is( $citus->sql("SET citus.enable_local_execution = off; BEGIN; SELECT count(*) FROM readings; SELECT amad_train('t', 'SELECT * FROM here', 'ts', '{a,b,c}', options => $options)->>'version'; "
		  . "SELECT amad_train('t', 'SELECT * FROM here', 'ts', '{a,b,c}', options => $options)->>'version'; SELECT amad_describe('t')->>'version'; "
		  . "SELECT amad_grant('t', 'public', 'read'); SELECT amad_revoke('t', 'public', 'read'); SELECT version FROM amad_models WHERE deployed; COMMIT"),
	"3200\n1\n2\n\n\nt\n2", 'a transaction sees its versions that are stored over connections');
is(join(' ', $citus->nodes("SELECT count(*), sum(deployed::int) FROM amad_models")), '2|1 2|1 2|1', 'and they are on all nodes');

# ---- what the hint shows ----------------------------------------------------------------------

$citus->both('CREATE TABLE models (device int, model amad_model)');
$citus->sql(q(SELECT create_distributed_table('models', 'device', colocate_with => 'readings')));
my $insert = "INSERT INTO models SELECT device, amad_fit($options, ts, a, b, c) FROM readings GROUP BY device";
ok($citus->pushed_down($insert, 'amad_fit'), 'INSERT ... SELECT amad_fit is pushed down');
is($citus->rows_moved($insert), 0, 'no row is moved');
$citus->sql('TRUNCATE models');
$citus->both($insert);
$citus->same_rows('SELECT device, md5(model::text) FROM models', 'models of devices');
$citus->same_rows(
	'SELECT device, ts, amad_score(model, ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) FROM readings JOIN models USING (device)',
	'scores with them');

done_testing();
