# Citus: nodes that are added, removed and lost; dump, update and removal of the extension.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use CitusTest;
use AmadTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $citus = CitusTest->new(apart => 1);
my $options = options();
my ($coordinator, $first, $second) = ($citus->coordinator, $citus->worker(0), $citus->worker(1));

sub address
{
	my ($node) = @_;

	return sprintf q('%s', %d), $node->host, $node->port;
}

# Name and version of the models that ann sees on a node
sub models
{
	my ($node) = @_;

	return $node->safe_psql('postgres',
		q(SET ROLE ann; SELECT string_agg(model_name || version || CASE WHEN deployed THEN '*' ELSE '' END, ' ' ORDER BY model_name, version) FROM amad_models));
}

sub train_on
{
	my ($node, $name) = @_;

	return "SELECT amad_train('$name', 'SELECT i::bigint AS ts, sin(i) AS a, cos(i * 0.3) AS b FROM generate_series(1, 400) i', 'ts', options => $options)->>'version'";
}

# The copies of amad_models
sub copies
{
	return $citus->sql(q(SELECT count(*) FROM pg_dist_placement JOIN pg_dist_shard USING (shardid) WHERE logicalrelid = 'amad_models'::regclass));
}

# ---- a node that is added later ---------------------------------------------------------------

$citus->create_rows('readings');
$citus->both('CREATE ROLE ann LOGIN');
$citus->sql('SELECT amad_distribute()');
$citus->both('SET ROLE ann;' . train_on($coordinator, 'm'));
is(copies(), 2, 'a copy on two nodes');
$citus->add_node($second);
is($second->safe_psql('postgres', q(SELECT extname FROM pg_extension WHERE extname = 'amad')), 'amad', 'the new node has the extension');
is($second->safe_psql('postgres', q(SELECT typname FROM pg_type WHERE typname = 'amad_model')), 'amad_model', 'and the type');
is(models($second), 'm1*', 'a client of it finds the model');
is($second->safe_psql('postgres', q(SET ROLE ann; SELECT amad_describe('m')->'options'->>'window')), 8, 'by name, too');
my $score = "SELECT device, ts, amad_score('m', extract(epoch FROM ts)::bigint / 300, a, b) OVER (PARTITION BY device ORDER BY ts) FROM readings";
$citus->sql('SELECT amad_distribute()');
is(copies(), 3, 'amad_distribute() copies the models to it');
$citus->sql("SELECT rebalance_table_shards(shard_transfer_mode => 'block_writes')");
is($citus->sql('SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name = \'readings\'::regclass'), 2, 'it has shards');
$citus->same_rows($score, 'scores on all nodes');
is($second->safe_psql('postgres', 'SET ROLE ann;' . train_on($second, 'm')), 2, 'a training there');
is(join(' ', map { models($_) } $coordinator, $first, $second), 'm1 m2* m1 m2* m1 m2*', '… is on all nodes');
$citus->sql(q(SET ROLE ann; SELECT amad_deploy('m', 1)));

# shards that move while rows are scored
my $digest = "SELECT md5(string_agg(concat_ws(' ', device, ts, s), ';' ORDER BY device, ts))%s FROM ($score) r(device, ts, s)";
my $session = $coordinator->background_psql('postgres');
$session->query_safe('CREATE TEMP TABLE digests (digest text); GRANT ALL ON digests TO ann; CREATE TABLE finished (done bool)');
$session->query_until(qr/^begun$/m, "\\echo begun\nDO \$\$ DECLARE d text; BEGIN WHILE NOT EXISTS (SELECT FROM finished) LOOP "
	  . sprintf($digest, ' INTO d') . "; INSERT INTO digests VALUES (d); COMMIT; END LOOP; END \$\$;\n");
for my $move (1 .. 8)
{
	my ($from, $to) = $move % 2 ? ($first, $second) : ($second, $first);
	my $shard = $citus->sql("SELECT shardid FROM citus_shards WHERE table_name = 'readings'::regclass AND nodeport = @{[$from->port]} ORDER BY 1 LIMIT 1");
	$citus->sql("SELECT citus_move_shard_placement($shard, @{[address($from)]}, @{[address($to)]}, shard_transfer_mode => 'block_writes')");
}
$citus->sql('INSERT INTO finished VALUES (true)');
is($session->query_safe('SELECT count(*) > 3, count(DISTINCT digest), min(digest) FROM digests'),
	't|1|' . $citus->plain->safe_psql('postgres', sprintf($digest, '')), 'scores while shards move');
$session->quit;

# ---- a node that is lost ----------------------------------------------------------------------

# before a transaction that has changed models is committed
$session = $coordinator->background_psql('postgres', on_error_stop => 0);
$session->query_safe('SET ROLE ann; BEGIN;' . train_on($coordinator, 'm') . '; SELECT amad_deploy(\'m\', 2)');
$second->stop('immediate');
$session->query('COMMIT');
$session->quit;
is(models($coordinator) . ', ' . models($first), 'm1* m2, m1* m2', 'a worker is down before a commit: nothing was changed');
$second->start;
is(models($second), 'm1* m2', '… nor there');
is($citus->sql(q(SET ROLE ann; SELECT amad_deploy('m', 1))), '', 'no lock is left');

$second->stop('immediate');
is(models($coordinator), 'm1* m2', 'a worker is down: models are read');
is($coordinator->safe_psql('postgres', q(SET ROLE ann; SELECT amad_describe('m')->'options'->>'window')), 8, '… by name');
like($citus->error('SET ROLE ann;' . train_on($coordinator, 'm')), qr/connection to the remote node/, 'but not changed');
like($citus->error($score), qr/connection to the remote node/, 'its shards are not scored');
my $device = $citus->sql(qq(SELECT min(d) FROM generate_series(1, 8) d JOIN citus_shards ON shardid = get_shard_id_for_distribution_column('readings', d) WHERE nodeport = @{[$first->port]}));
$citus->same_rows("$score WHERE device = $device", 'those of others are');
is(models($first), 'm1* m2', 'nothing was changed on the other worker');
like(
	$citus->error("SELECT citus_disable_node(@{[address($second)]}, synchronous => true)"),
	qr/contains the only shard placement/,
	'a node with shards cannot be disabled');
$second->start;
$citus->same_rows($score, 'the node is back: scores');
is($citus->sql(q(SET ROLE ann; SELECT amad_deploy('m', 1))), '', '… and changes');

# without shards it can be disabled
$citus->sql("SELECT citus_drain_node(@{[address($second)]}, shard_transfer_mode => 'block_writes')");
$second->stop('immediate');
$citus->sql("SELECT citus_disable_node(@{[address($second)]}, synchronous => true)");
is($citus->sql('SET ROLE ann;' . train_on($coordinator, 'm')), 3, 'a node is disabled: models are changed');
is(models($first), 'm1 m2 m3*', '… on the nodes that are left');
$second->start;
$citus->sql("SELECT citus_activate_node(@{[address($second)]})");
is(models($second), 'm1 m2 m3*', 'a node that is activated again has the new models');
$citus->sql('SELECT amad_distribute()');
is(copies(), 3, 'amad_distribute() copies them');
$citus->sql(q(SET ROLE ann; SELECT amad_drop('m', 2); SELECT amad_deploy('m', 1)));
is(join(', ', map { models($_) } $coordinator, $first, $second), 'm1* m3, m1* m3, m1* m3', 'changes are on all nodes');
$citus->same_rows($score, 'and so are scores');

# ---- updates, dumps, removal ------------------------------------------------------------------

# an update that alters one of the two tables, and one that does not
my $folder = qx(pg_config --sharedir) =~ s/\n//r . '/extension';
my $version = extension_version('amad');
append_to_file("$folder/amad--$version--$version.1.sql", "CREATE FUNCTION amad_more() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER TABLE amad_runs ADD COLUMN more int;\n");
append_to_file("$folder/amad--$version.1--$version.2.sql", "ALTER TABLE amad_models ADD COLUMN more int;\n");
$citus->sql("ALTER EXTENSION amad UPDATE TO '$version.1'");
is(join(' ', $citus->nodes('SELECT amad_more()')), '1 1 1', 'an update reaches all nodes');
like($citus->error("ALTER EXTENSION amad UPDATE TO '$version.2'"), qr/column "more" of relation "amad_models" already exists/, 'not one that alters amad_models');
is(join(' ', $citus->nodes(q(SELECT extversion FROM pg_extension WHERE extname = 'amad'))), join(' ', ("$version.1") x 3), 'that changes nothing');
my $dump = "$PostgreSQL::Test::Utils::tmp_check/citus.sql";
$coordinator->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'pg_dump');
my $all = q(SELECT string_agg(concat_ws(' ', owner, model_name, version, deployed, md5(model::text)), ';' ORDER BY model_name, version) FROM amad_models);
my $models = $citus->sql($all);
$citus->sql('SELECT amad_undistribute()');
is(join('|', $citus->nodes($all)), "$models||", 'amad_undistribute(): the models are on the coordinator');
is($citus->sql(q(SELECT count(*) FROM pg_dist_partition WHERE logicalrelid::text ~ 'amad')), 0, 'no table is distributed');
is(join(' ', $citus->nodes(q(SET citus.override_table_visibility = off; SELECT count(*) FROM pg_class WHERE relname ~ '^amad_(models|grants).*[0-9]'))), '0 0 0', 'no copy is left');
is($citus->sql('SET ROLE ann;' . train_on($coordinator, 'm')), 4, 'trainings go on');
$citus->sql(q(SET ROLE ann; SELECT amad_deploy('m', 1); SELECT amad_drop('m', 4)));
$citus->sql("ALTER EXTENSION amad UPDATE TO '$version.2'");
is(join(' ', $citus->nodes('SELECT count(more) FROM amad_models')), '0 0 0', 'the update');
$citus->sql('SELECT amad_distribute()');
is(join('|', $citus->nodes($all)), "$models|$models|$models", 'and the models are on all nodes again');
$citus->sql('SELECT amad_undistribute(); SELECT amad_undistribute(); SELECT amad_distribute(); SELECT amad_distribute()');
is(join('|', $citus->nodes($all)), "$models|$models|$models", 'twice');
unlink "$folder/amad--$version--$version.1.sql", "$folder/amad--$version.1--$version.2.sql";

like($citus->error('DROP EXTENSION amad'), qr/cannot drop extension amad because other objects depend on it/, 'DROP EXTENSION is refused');
$citus->sql('SELECT amad_undistribute(); DROP EXTENSION amad');
is(join(' ', $citus->nodes(q(SET citus.override_table_visibility = off; SELECT count(*) FROM pg_class WHERE relname ~ '^amad'))), '0 0 0', '… not after amad_undistribute()');

# the dump, in another database of the coordinator
$coordinator->safe_psql('postgres', 'CREATE DATABASE restored');
$coordinator->command_ok([ 'psql', '-X', '-q', '-d', 'restored', '-f', $dump ], 'restored');
is($coordinator->safe_psql('restored', $all), $models, 'the dump has the models');

done_testing();
