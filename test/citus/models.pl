# Citus: models on all nodes: from each node the same models, versions, owners and grants.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use CitusTest;
use AmadTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $citus = CitusTest->new;
my @servers = ($citus->coordinator, $citus->worker(0), $citus->worker(1));
my $options = options();

$citus->create_rows('readings');
$citus->both(qq(
CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN;
CREATE TABLE one AS SELECT * FROM readings WHERE device = 1;
GRANT SELECT ON one TO PUBLIC;));

# Trains from rows on the node
sub train_on
{
	my ($server, $name, $role, $more) = @_;

	return $server->safe_psql('postgres',
		"CREATE TEMP TABLE one AS SELECT * FROM readings WHERE device = 1; GRANT SELECT ON one TO PUBLIC; SET ROLE $role; "
		  . "SELECT amad_train('$name', " . options($more) . ", ts, a, b, c)->>'version' FROM one");
}

# The result of a statement of a role on each node; one if it is the same
sub everywhere
{
	my ($statement, $role) = @_;
	my @results = $citus->nodes("SET ROLE " . ($role // 'postgres') . "; $statement");
	my %different = map { $_ => 1 } @results;

	return join ' <> ', keys %different;
}

my $versions = q(SELECT string_agg(concat_ws(' ', owner, model_name, version, deployed, created_at, md5(model::text)), ';' ORDER BY model_name, owner, version) FROM amad_models);
my $short = q(SELECT string_agg(concat_ws(' ', model_name, version, deployed), '; ' ORDER BY model_name, owner, version) FROM amad_models);

# ---- the functions ----------------------------------------------------------------------------

like($citus->error('SELECT amad_distribute()', node => $citus->plain), qr/extension citus is not installed/, 'without Citus');
like($citus->error('SELECT amad_undistribute()', node => $citus->plain), qr/extension citus is not installed/, 'undo without Citus');
like($citus->error('SELECT amad_distribute()', node => $citus->worker), qr/must be called on the coordinator/, 'on a worker');
like($citus->error('SELECT amad_distribute()', role => 'ann'), qr/must be owner of table amad_models/, 'not the owner');
like(
	$citus->error('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT amad_distribute()'),
	qr/cannot be called at isolation level repeatable read/,
	'not with an old snapshot');

# models and grants from before
train_on($citus->coordinator, 'early', 'ann');
$citus->both("SET ROLE ann; SELECT amad_train('same', $options, ts, a, b, c) FROM one");
$citus->sql("SET ROLE ann; SELECT amad_grant('early', 'bob', 'read')");
my $lost = qq(INSERT INTO amad_models (model_name, version, options, training, model) SELECT 'lost', 1, '{}', '{}', amad_fit($options, i::bigint, sin(i), cos(i)) FROM generate_series(1, 400) i);
$citus->worker(1)->safe_psql('postgres', "SET amad.max_parallel_workers = 0; $lost");
like($citus->error('SELECT amad_distribute()'), qr/table public.amad_models of worker \S+:\d+ has rows/, 'not while workers have models');
$citus->worker(1)->safe_psql('postgres', 'DELETE FROM amad_models');
$citus->sql('SELECT amad_distribute()');
is($citus->sql('SELECT count(*) FROM pg_dist_partition WHERE logicalrelid IN (\'amad_models\'::regclass, \'amad_grants\'::regclass)'),
	2, 'two reference tables');
$citus->sql('SELECT amad_distribute()');
is(everywhere($short, 'ann'), 'early 1 t; same 1 t', 'the models are on all nodes');
is(everywhere($short, 'bob'), 'early 1 t', 'bob sees the granted one');
is(
	$citus->sql(q(SELECT md5(model::text) FROM amad_models WHERE model_name = 'same')),
	$citus->plain->safe_psql('postgres', q(SELECT md5(model::text) FROM amad_models WHERE model_name = 'same')),
	'the model of one server');

# ---- from each node ---------------------------------------------------------------------------

for my $i (0 .. 2)
{
	is(train_on($servers[$i], 'fleet', 'ann', qq("seed": $i)), $i + 1, "training on node $i: the next version");
	is(everywhere($short, 'ann'), 'early 1 t; ' . join('; ', map { "fleet $_ " . ($_ == $i + 1 ? 't' : 'f') } 1 .. $i + 1) . '; same 1 t',
		"node $i: all nodes see it, and one is deployed");
}
is(everywhere('SELECT md5((' . $versions . ')::text)') !~ / <> / ? 1 : 0, 1, 'the copies are equal');
is(everywhere('SELECT count(*) FROM amad_models WHERE owner_oid IS NULL'), 2, 'workers store no oids');
$citus->sql('SELECT amad_distribute()');
is(everywhere('SELECT count(*) FROM amad_models WHERE owner_oid IS NULL'), 0, 'the coordinator adds them');
for my $i (0 .. 2)
{
	my $version = 3 - $i;
	$servers[$i]->safe_psql('postgres', "SET ROLE ann; SELECT amad_deploy('fleet', $version)");
	is(everywhere("SELECT version FROM amad_models WHERE model_name = 'fleet' AND deployed"), $version, "node $i deploys");
}
is($citus->worker->safe_psql('postgres', "SET ROLE ann; SELECT amad_drop('fleet', 3)"), 1, 'a worker drops a version');
is(everywhere("SELECT count(*) FROM amad_models WHERE model_name = 'fleet'"), 2, '… from all nodes');
is($citus->worker->safe_psql('postgres', "SET ROLE ann; SELECT amad_describe('fleet', 1)->'options'->>'seed'"), 0, 'amad_describe');
is(train_on($citus->worker, 'fleet', 'bob'), 1, 'bob has versions of his own');
is(everywhere($short, 'bob'), 'early 1 t; fleet 1 t', 'and sees no others');
my $copy = 'amad_models_' . $citus->sql(q(SELECT shardid FROM pg_dist_shard WHERE logicalrelid = 'amad_models'::regclass));
is(everywhere("SELECT count(*) FROM $copy", 'bob'), 2, 'nor in the copies');
like(
	$citus->error("SELECT amad_describe('same')", node => $citus->worker, role => 'bob'),
	qr/model "same" does not exist/,
	'nor by name');
$citus->worker->safe_psql('postgres', q(SET ROLE ann; SELECT amad_grant('same', 'public', 'operate')));
is(everywhere($short, 'bob'), 'early 1 t; fleet 1 t; same 1 t', 'a grant from a worker');
$servers[2]->safe_psql('postgres', q(SET ROLE bob; SELECT amad_deploy('same', 1)));
$citus->sql(q(SET ROLE ann; SELECT amad_revoke('same', 'public')));
is(everywhere($short, 'bob'), 'early 1 t; fleet 1 t', 'and its end');
like(
	$citus->error(q(INSERT INTO amad_models SELECT * FROM amad_models), role => 'bob', node => $citus->worker),
	qr/permission denied/,
	'nobody inserts');
$citus->worker->safe_psql('postgres', q(SET ROLE bob; DELETE FROM amad_models));
is(everywhere($short, 'bob'), 'early 1 t', 'bob deletes his own rows only');
is(everywhere('SELECT count(*) FROM amad_models'), 4, '… and no others');
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	like(
		$citus->error("BEGIN ISOLATION LEVEL $level; SELECT amad_deploy('early', 1)", role => 'ann'),
		qr/cannot be changed at isolation level \L$level/,
		"not at isolation level $level");
}

# what is not a function of amad
like(
	$citus->error('INSERT INTO amad_models SELECT * FROM amad_models LIMIT 1', node => $citus->worker),
	qr/duplicate key value violates unique constraint "amad_models_pkey_/,
	'the primary key holds for copies');
like($citus->error("UPDATE $copy SET deployed = true", node => $citus->worker, role => 'ann'), qr/permission denied/, 'nobody writes to a copy');
$citus->sql('REVOKE SELECT ON amad_models FROM PUBLIC');
for my $server (@servers)
{
	like(
		$citus->error("SELECT amad_describe('early')", node => $server, role => 'ann'),
		qr/permission denied for table amad_models/,
		'privileges of ' . $server->name);
}
$citus->sql('GRANT SELECT ON amad_models TO PUBLIC');
is( $citus->sql(q(SET ROLE ann; SET citus.enable_ddl_propagation = off; SELECT amad_deploy('early', 1); SELECT count(*) FROM pg_dist_node)),
	"\n3", 'settings of the session do not matter');

# ---- scoring by name --------------------------------------------------------------------------

my $score = "SELECT device, ts, amad_score('same', ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) FROM readings";
my $explain = "SELECT device, ts, (e).severity, (e).contributions FROM (SELECT device, ts, amad_explain('same', ts, a, b, c) "
  . 'OVER (PARTITION BY device ORDER BY ts) AS e FROM readings) s';

$citus->same_rows($_, $_) for $score, "$score WHERE device = 3", $explain;
ok($citus->pushed_down($score, 'amad_score'), 'amad_score by name is pushed down');
ok($citus->pushed_down($explain, 'amad_explain'), 'amad_explain by name is pushed down');
is($citus->rows_moved("SELECT device, max(severity) FROM ($explain) s GROUP BY device"), 8, 'only the result is moved');
for my $server (@servers)
{
	is($citus->digest($server, "SET ROLE ann; $score"), $citus->digest($citus->plain, $score), 'scored from ' . $server->name);
}
like($citus->error($score, role => 'bob'), qr/model "same" does not exist/, 'not with models of others');
$citus->sql(q(SET ROLE ann; SELECT amad_grant('same', 'bob', 'read')));
is($citus->digest($citus->coordinator, "SET ROLE bob; $score"), $citus->digest($citus->plain, $score), 'with granted ones');

# versions of one name, in a session that has cached the first
my $sum = "SELECT round(sum(s)::numeric, 6) FROM ($score) s(d, t, s)";
my @sums = split /\n/, $citus->sql("SET ROLE ann; $sum; $sum; "
	  . "SELECT '-' FROM amad_train('same', 'SELECT * FROM one', 'ts', '{a,b,c}', options => " . options('"seed": 7') . "); $sum; "
	  . "SELECT '-' FROM amad_deploy('same', 1); $sum");
is($sums[0], $sums[1], 'the same twice');
isnt($sums[0], $sums[3], 'a new version is used at once');
is($sums[0], $sums[5], 'and the old one again');
$citus->sql(q(SET ROLE ann; SELECT amad_drop('same', 2)));

# ---- one transaction --------------------------------------------------------------------------

my $train = "SELECT '-' FROM amad_train('same', 'SELECT * FROM one', 'ts', '{a,b,c}', options => " . options('"seed": 7') . ')';
my $value = "WITH m AS MATERIALIZED (SELECT model FROM amad_models WHERE model_name = 'same' AND deployed) "
  . 'SELECT round(sum(s)::numeric, 6) FROM (SELECT amad_score((SELECT model FROM m), ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) FROM readings) s(s)';
for my $server (@servers)
{
	my $name = $server->name;
	my $own = 'CREATE TEMP TABLE one AS SELECT * FROM readings WHERE device = 1; GRANT SELECT ON one TO ann; SET ROLE ann; BEGIN;';
	like(
		$citus->error("$own $train; $sum", node => $server),
		qr/cannot be looked up by name on a shard after the same transaction has changed models/,
		"$name: not by name after a change in the transaction");
	my @lines = split /\n/, $server->safe_psql('postgres', "$own $train; SELECT version FROM amad_models WHERE model_name = 'same' AND deployed; "
		  . "SELECT amad_describe('same')->'options'->>'seed'; $value; ROLLBACK; $value");
	is_deeply([ @lines[ 0 .. 2 ] ], [ '-', 2, 7 ], "$name: the transaction sees its version");
	is($lines[3], $sums[3], "$name: and scores with its value");
	is($lines[4], $sums[0], "$name: after a rollback with the old one");
}
is(everywhere("SELECT count(*) FROM amad_models WHERE model_name = 'same'"), 1, 'nothing was stored');

# a task in the process of the client sees the change
my $near = $citus->sql("SELECT min(d) FROM generate_series(1, 8) d JOIN citus_shards ON shardid = get_shard_id_for_distribution_column('readings', d) WHERE nodeport = "
	  . $citus->worker->port);
my $near_sum = "SELECT round(sum(s)::numeric, 6) FROM ($score WHERE device = $near) s(d, t, s)";
my $near_value = $value =~ s/FROM readings\)/FROM readings WHERE device = $near)/r;
my @near = split /\n/, $citus->worker->safe_psql('postgres',
	"CREATE TEMP TABLE one AS SELECT * FROM readings WHERE device = 1; GRANT SELECT ON one TO ann; SET ROLE ann; $near_sum; BEGIN; $train; $near_sum; $near_value; ROLLBACK; $near_sum");
is($near[2], $near[3], 'a local task by name is as by value');
isnt($near[2], $near[0], '… with the new version');
is($near[4], $near[0], '… until a rollback');

# ---- at the same time on all nodes ------------------------------------------------------------

my @sessions = map { $_->background_psql('postgres') } @servers;
$_->query_safe('CREATE TEMP TABLE one AS SELECT * FROM readings WHERE device = 1; GRANT SELECT ON one TO ann; SET ROLE ann') for @sessions;
my $loop = "DO \$\$ BEGIN FOR i IN 1..8 LOOP PERFORM amad_train('race', 'SELECT * FROM one', 'ts', '{a,b,c}', options => " . options('"steps": 2')
  . "); COMMIT; PERFORM amad_deploy('race', i); COMMIT; END LOOP; END \$\$;";
$_->query_until(qr/^begun$/m, "\\echo begun\n$loop\n") for @sessions;
$_->query_safe('SELECT 1') for @sessions;
is(everywhere("SELECT concat_ws(' ', count(*), max(version), sum(deployed::int)) FROM amad_models WHERE model_name = 'race'"),
	'24 24 1', 'concurrent trainings get different versions, and one is deployed');
is(everywhere('SELECT md5((' . $versions . ')::text)') !~ / <> / ? 1 : 0, 1, 'the copies are still equal');
$_->quit for @sessions;
$citus->sql("SET ROLE ann; SELECT amad_drop('race')");

# ---- what else reads amad_models --------------------------------------------------------------

my $watch = "SET ROLE ann; CREATE TABLE own AS SELECT * FROM one; "
  . "SELECT amad_train('watched', 'own', 'ts', '{a,b,c}', options => $options); SELECT amad_watch('watched', \"every\" => '1 day'); CALL amad_refresh('watched')";
$citus->both("GRANT CREATE ON SCHEMA public TO ann; $watch");
for my $query ('SELECT state, model_name, model_version, series, flagged_share FROM amad_status',
	q(SELECT m FROM regexp_split_to_table(amad_metrics(), E'\n') m WHERE m !~ 'age|lag|duration'),
	q(SELECT ts, severity, status FROM watched_scores))
{
	$citus->same_rows("SET ROLE ann; $query", "a watch: $query");
}
$citus->both(q(SET ROLE ann; CALL amad_care('watched'); SELECT amad_drop('watched')));
is($citus->sql('SELECT count(*) FROM amad_status'), 0, 'dropped with the model');

# ---- owners and grantees -----------------------------------------------------------------------------------

$citus->sql('ALTER ROLE ann RENAME TO carol');
is($citus->sql("SET ROLE carol; $short"), 'early 1 t; fleet 1 t; fleet 2 f; same 1 t', 'renamed: her models on the coordinator');
$citus->sql('SELECT amad_distribute()');
is(everywhere($short, 'carol'), 'early 1 t; fleet 1 t; fleet 2 f; same 1 t', '… and after amad_distribute() on all nodes');
$citus->sql('CREATE ROLE ann LOGIN');
is(everywhere($short, 'ann'), '', 'not of a new role of the old name');
train_on($citus->coordinator, 'left', 'bob');
$citus->sql('DROP OWNED BY bob; DROP ROLE bob; SELECT amad_distribute(); CREATE ROLE bob');
is(everywhere($short, 'bob'), '', 'nor do models of a dropped role belong to a new one');

$citus->sql(q(SET ROLE carol; SELECT amad_grant('early', 'ann', 'read')));
is(everywhere($short, 'ann'), 'early 1 t', 'a grant');
$citus->sql('ALTER ROLE ann RENAME TO dora; CREATE ROLE ann; SELECT amad_distribute()');
is(everywhere($short, 'dora'), 'early 1 t', 'renamed: still hers');
is(everywhere($short, 'ann'), '', 'not of a new role');
$citus->sql(q(DROP ROLE dora; SELECT amad_distribute()));
is(everywhere(q(SELECT count(*) FROM amad_grants WHERE grantee IN ('ann', 'dora'))), 0, 'the grant to a dropped role is removed');

# an owner of the tables that is not a superuser
$citus->sql(q(SELECT amad_undistribute(); CREATE ROLE boss LOGIN; GRANT CREATE ON SCHEMA public TO boss));
for my $server (@servers)
{
	$server->safe_psql('postgres', q(SET citus.enable_ddl_propagation = off;
DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT oid FROM pg_class WHERE relname ~ '^amad_' AND relkind = 'r' LOOP EXECUTE format('ALTER TABLE %s OWNER TO boss', t); END LOOP; END $$));
}
$citus->sql('SET ROLE boss; SELECT amad_distribute(); SELECT amad_distribute()');
train_on($citus->worker, 'last', 'carol');
is(everywhere(q(SELECT version FROM amad_models WHERE model_name = 'last'), 'carol'), 1, 'tables of a role that is not a superuser');
$citus->sql('SET ROLE boss; SELECT amad_undistribute()');
is($citus->sql(q(SET ROLE carol; SELECT version FROM amad_models WHERE model_name = 'last')), 1, '… and back');

done_testing();
