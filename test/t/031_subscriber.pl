# Logical replication of models: the initial copy, versions, deployments and drops arrive, and score the same; owners and grants
# go by name; a subscriber trains models of its own; a conflict, how it is resolved; row-level security; all tables, and a
# subscriber that takes over.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $logical = "wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10\n";
my $publisher = new_node('publisher', conf => $logical);
# a subscription that has failed tries again at once
my $node = new_node('subscriber', conf => "${logical}wal_retrieve_retry_interval = 200ms\n");

sub sql { my ($on, $role, $sql, $db) = @_; return $on->safe_psql($db // 'postgres', $sql, extra_params => [ '-U', $role ]); }
sub super { my ($on, $sql, $db) = @_; return $on->safe_psql($db // 'postgres', $sql); }
# the error of a statement of a role
sub error
{
	my ($on, $role, $sql, $db) = @_;
	my ($ret, $out, $err) = $on->psql($db // 'postgres', $sql, extra_params => [ '-U', $role ], on_error_stop => 1);
	return $err;
}

foreach my $on ($publisher, $node)
{
	create_rows($on, 500);
	super($on, 'CREATE ROLE fleet LOGIN; CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA public TO fleet, ann, bob');
}

# ---- the initial copy ---------------------------------------------------------------------------------

sql($publisher, 'fleet', train('pump', '"seed": 1'));
sql($publisher, 'fleet', train('pump', '"seed": 2'));
sql($publisher, 'fleet', q(SELECT amad_grant('pump', 'bob', 'read')));
sql($publisher, 'ann', train('private'));
super($publisher, q(CREATE PUBLICATION models FOR TABLE amad_models WHERE (owner = 'fleet'), amad_grants WHERE (owner = 'fleet');
CREATE ROLE copier LOGIN REPLICATION));
is(super($publisher, q(SELECT string_agg(relreplident::text, '') FROM pg_class WHERE relname IN ('amad_models', 'amad_grants'))), 'dd', 'the key identifies rows');

sub subscribe
{
	my ($role, $more, $db) = @_;
	my $connection = $publisher->connstr('postgres') . " user=$role" . ($more // '');
	my $name = 's_' . ($db // 'postgres');

	super($node, 'CREATE SUBSCRIPTION ' . $name . ' CONNECTION $$' . $connection . '$$ PUBLICATION models', $db);
	return $name;
}
sub unsubscribe
{
	my ($name, $db) = @_;
	super($node, "DROP SUBSCRIPTION $name", $db);
	return;
}

# Row-level security applies to a role that copies.
super($node, 'CREATE DATABASE blind');
super($node, 'CREATE EXTENSION amad', 'blind');
my $blind = subscribe('copier', undef, 'blind');
$node->wait_for_subscription_sync($publisher, $blind, 'blind');
is(super($node, 'SELECT count(*) FROM amad_models', 'blind'), '0', 'a role that may not see models copies none');
unsubscribe($blind, 'blind');
my $offset = -s $node->logfile;
$blind = subscribe('copier', q( options='-c row_security=off'), 'blind');
$node->wait_for_log(qr/query would be affected by row-level security policy for table "amad_models"/, $offset);
pass('with row_security off that is an error');
unsubscribe($blind, 'blind');
super($publisher, 'GRANT fleet TO copier');

my $subscription = subscribe('copier');
$node->wait_for_subscription_sync($publisher, $subscription);
is(super($node, 'SELECT owner, model_name, version, deployed FROM amad_models ORDER BY version'), "fleet|pump|1|f\nfleet|pump|2|t", 'a member of the owner copies its models');
is(super($node, 'SELECT count(amad_model_error(model)) FROM amad_models'), '0', 'which are intact');
is(super($node, 'SELECT md5(string_agg(model::text, chr(10) ORDER BY version)) FROM amad_models'),
	super($publisher, q(SELECT md5(string_agg(model::text, chr(10) ORDER BY version)) FROM amad_models WHERE owner = 'fleet')), 'to the bit');
is(super($node, 'SELECT count(*) FROM amad_models WHERE owner_cluster = (SELECT system_identifier FROM pg_control_system())'), '0', 'their owner is of another cluster');

# ---- changes arrive ------------------------------------------------------------------------------------

# a session that has models in its cache all the time
my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'fleet' ]);
sub scores_equal
{
	my ($seed, $what) = @_;

	$publisher->wait_for_catchup($subscription);
	is($session->query(q(SELECT amad_describe('pump')->'options'->'seed')), $seed, "$what: version");
	is($session->query(checksum(q('pump'))), sql($publisher, 'fleet', checksum(q('pump'))), "$what: scores");
	return;
}

scores_equal(2, 'the copy');
sql($publisher, 'fleet', train('pump', '"seed": 3'));
scores_equal(3, 'a training');
sql($publisher, 'fleet', q(SELECT amad_deploy('pump', 1)));
scores_equal(1, 'a deployment');
sql($publisher, 'fleet', q(SELECT amad_drop('pump', 3)));
scores_equal(1, 'a drop');
is(super($node, q(SELECT string_agg(version::text, ',' ORDER BY version) FROM amad_models)), '1,2', 'the version is gone');
is(sql($node, 'bob', q(SELECT amad_describe('pump')->'options'->'seed')), '1', 'a grant has arrived');
sql($publisher, 'fleet', q(SELECT amad_revoke('pump', 'bob')));
$publisher->wait_for_catchup($subscription);
like(error($node, 'bob', q(SELECT amad_describe('pump'))), qr/ERROR:  model "pump" does not exist/, 'and goes');
sql($publisher, 'fleet', q(SELECT amad_drop('pump')));
$publisher->wait_for_catchup($subscription);
is(super($node, 'SELECT count(*) FROM amad_models'), '0', 'all versions are dropped');
sql($publisher, 'fleet', train('pump', '"seed": 1') . '; ' . train('pump', '"seed": 2'));
scores_equal(2, 'a model of the same name');

# in binary form
super($node, "ALTER SUBSCRIPTION $subscription SET (binary = true)");
sql($publisher, 'fleet', train('pump', '"seed": 4'));
scores_equal(4, 'in binary form');

# an owner that does not exist there
super($publisher, q(ALTER PUBLICATION models SET TABLE amad_models WHERE (owner = 'fleet' OR owner = 'carl'), amad_grants; CREATE ROLE carl LOGIN));
sql($publisher, 'carl', train('his'));
$publisher->wait_for_catchup($subscription);
is(super($node, q(SELECT count(*) FROM amad_models WHERE owner = 'carl')), '1', 'a model of a role that does not exist there arrives');
super($node, 'CREATE ROLE carl LOGIN');
is(sql($node, 'carl', checksum(q('his'))), sql($publisher, 'carl', checksum(q('his'))), 'and is usable as soon as it does');

# ---- models of the subscriber's own --------------------------------------------------------------------

is(sql($node, 'ann', train('pump', '"seed": 50')), '1', 'another role trains a model of the same name');
is(sql($node, 'ann', q(SELECT amad_describe('pump')->'options'->'seed')), '50', 'and uses its own');
is(sql($node, 'fleet', train('local', '"seed": 60')), '1', 'the owner of the replicated models trains one of another name');
is(super($node, q(SELECT count(*) FROM amad_models WHERE owner = 'fleet' AND owner_cluster <> (SELECT system_identifier FROM pg_control_system()))), '0', 'which binds all models to the role there');
sql($publisher, 'fleet', train('pump', '"seed": 5'));
scores_equal(5, 'replication goes on');
sql($publisher, 'fleet', q(SELECT amad_deploy('pump', 2), amad_drop('pump', 1)));
scores_equal(2, 'also of models that were bound');
is(super($node, q(SELECT string_agg(version::text, ',' ORDER BY version) FROM amad_models WHERE owner = 'fleet' AND model_name = 'pump')), '2,3,4', 'drops find them');

# A version that is deployed there is not undone, until the publisher deploys a higher one.
sql($node, 'fleet', q(SELECT amad_deploy('pump', 3)));
is($session->query(q(SELECT amad_describe('pump')->'options'->'seed')), '4', 'a deployment on the subscriber');
sql($publisher, 'fleet', train('pump', '"seed": 6'));
scores_equal(6, 'ends with the next version');

# ---- a watch of a replicated model ------------------------------------------------------------------------

foreach my $on ($publisher, $node)
{
	sql($on, 'fleet', q(CREATE TABLE rows (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
		INSERT INTO rows SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) FROM generate_series(0, 499) i, generate_series(1, 3) d));
}
my $pca = q(SELECT amad_train('rows', 'rows', 'ts', '{a,b}', '{device}', options => '{"method": "pca", "horizons": [1]}')->'version');
sql($publisher, 'fleet', $pca);
$publisher->wait_for_catchup($subscription);
is(sql($node, 'fleet', q(SELECT amad_watch('rows', care => false)->>'changes')), 'logged by triggers', 'a watch of a replicated model');
sql($node, 'fleet', q(INSERT INTO rows SELECT 2, '2026-05-01 08:20'::timestamptz + i * interval '1 minute', sin(i * 0.2 + 2), 6 FROM generate_series(0, 9) i; CALL amad_refresh('rows', as_of => '2026-05-01 08:30')));
my $stored = q(SELECT count(*), count(*) FILTER (WHERE s.severity IS DISTINCT FROM d.severity), max(model_version) FROM rows_scores s
	FULL JOIN (SELECT (series->>'device')::int AS device, ts, severity FROM amad_detect('rows')) d USING (device, ts));
is(sql($node, 'fleet', $stored), '1510|0|1', 'scores the rows that are there');
is(sql($node, 'fleet', q(SELECT series->>'device', state FROM amad_incidents)), '2|open', 'and finds incidents');
is(sql($publisher, 'fleet', $pca), '2', 'the next version');
$publisher->wait_for_catchup($subscription);
sql($node, 'fleet', q(CALL amad_refresh('rows', since => '2026-05-01', as_of => '2026-05-01 08:31')));
is(sql($node, 'fleet', $stored), '1510|0|2', 'is used by the next refresh');
sql($node, 'fleet', q(SELECT amad_deploy('rows', 1)));
sql($publisher, 'fleet', $pca);
$publisher->wait_for_catchup($subscription);
sql($node, 'fleet', q(CALL amad_refresh('rows', as_of => '2026-05-01 08:31')));
is(sql($node, 'fleet', q(SELECT string_agg(version::text, ',' ORDER BY version) FILTER (WHERE deployed), (SELECT rolled_back FROM amad_status) FROM amad_models WHERE model_name = 'rows')), '1,3|f',
	'of two deployed versions the higher one counts');
like(error($node, 'fleet', q(CALL amad_care('rows', as_of => '2026-05-01 08:31'))), qr/NOTICE:  care is switched off/, 'the model is cared for by the publisher only');

# rows that come by replication, too
super($publisher, 'ALTER PUBLICATION models ADD TABLE rows');
sql($node, 'fleet', q(SELECT amad_unwatch('rows'); DROP TABLE rows_scores CASCADE; TRUNCATE rows));
super($node, "ALTER SUBSCRIPTION $subscription REFRESH PUBLICATION");
super($publisher, 'GRANT SELECT ON rows TO copier');
$node->wait_for_subscription_sync($publisher, $subscription);
like(error($node, 'fleet', q(SELECT amad_watch('rows', care => false))), qr/DETAIL:  Its rows come by logical replication.*\nHINT:  Specify late/, 'statement triggers do not see replicated rows');
sql($node, 'fleet', q(SELECT amad_watch('rows', care => false, late => '1 hour')));
sql($publisher, 'fleet', q(INSERT INTO rows SELECT 2, '2026-05-01 08:20'::timestamptz + i * interval '1 minute', sin(i * 0.2 + 2), 6 FROM generate_series(0, 9) i));
$publisher->wait_for_catchup($subscription);
sql($node, 'fleet', q(CALL amad_refresh('rows', as_of => '2026-05-01 08:30')));
is(sql($node, 'fleet', $stored), '1510|0|3', 'so a watch of them polls');

# ---- a conflict ---------------------------------------------------------------------------------------------

# Both train the next version; the worker fails until the version of the subscriber is gone.
sub conflict
{
	my ($seed) = @_;
	my $from = -s $node->logfile;
	my $local = sql($node, 'fleet', train('pump', '"seed": 77'));

	is(sql($publisher, 'fleet', train('pump', "\"seed\": $seed")), $local, 'both train the same version');
	$node->wait_for_log(qr/ERROR:  .*"amad_models_pkey".*Key \(model_name, owner, version\)=\(pump, fleet, $local\)/s, $from);
	is($session->query(q(SELECT amad_describe('pump')->'options'->'seed')), '77', 'the subscriber goes on with its own');
	ok($node->poll_query_until('postgres', "SELECT apply_error_count > 0 FROM pg_stat_subscription_stats WHERE subname = '$subscription'"), 'errors are counted');
	return $local;
}

my $version = conflict(7);
like(error($node, 'fleet', "SELECT amad_drop('pump', $version)"), qr/ERROR:  version $version of model "pump" is deployed/, 'a deployed version is not dropped');
sql($node, 'fleet', "SELECT amad_deploy('pump', " . ($version - 1) . "), amad_drop('pump', $version)");
scores_equal(7, 'after the drop the version of the publisher arrives');

# or it is given to another role
$version = conflict(8);
super($node, "UPDATE amad_models SET owner = 'bob', owner_oid = NULL WHERE owner = 'fleet' AND model_name = 'pump' AND version = $version");
scores_equal(8, 'the same if it is given away');
is(sql($node, 'bob', q(SELECT amad_describe('pump')->'options'->'seed')), '77', 'and its new owner has it');
is(sql($publisher, 'fleet', train('pump', '"seed": 9')), $version + 1, 'later versions');
scores_equal(9, 'arrive');

# a version that was dropped there is no conflict
sql($publisher, 'fleet', q(SELECT amad_grant('pump', 'bob', 'read')));
$publisher->wait_for_catchup($subscription);
my $grants = q(SELECT count(*) FROM amad_grants WHERE model_name = 'pump');
is(super($node, $grants), '1', 'a grant');
sql($node, 'fleet', q(SELECT amad_drop('pump')));
is(super($node, $grants), '0', 'is dropped there with the last version');
sql($publisher, 'fleet', q(SELECT amad_deploy('pump', 2), amad_drop('pump', 3)));
sql($publisher, 'fleet', train('pump', '"seed": 10'));
$publisher->wait_for_catchup($subscription);
is(super($node, q(SELECT string_agg(version::text, ',') FROM amad_models WHERE owner = 'fleet' AND model_name = 'pump')), $version + 2, 'versions that were dropped on the subscriber only do not come back');
scores_equal(10, 'new ones do');
$session->quit;

# ---- the owner of the subscription -----------------------------------------------------------------------------

SKIP:
{
	skip 'subscriptions have other rules since PostgreSQL 16', 2 if $node->pg_version >= 16;
	super($node, "CREATE ROLE keeper LOGIN SUPERUSER; ALTER SUBSCRIPTION $subscription OWNER TO keeper; ALTER ROLE keeper NOSUPERUSER; GRANT INSERT, UPDATE, DELETE ON amad_models TO keeper");
	my $from = -s $node->logfile;
	sql($publisher, 'fleet', train('pump', '"seed": 11'));
	$node->wait_for_log(qr/user "keeper" cannot replicate into relation with row-level security enabled: "amad_models"/, $from);
	pass('an owner that row-level security applies to cannot apply changes');
	super($node, 'ALTER ROLE keeper BYPASSRLS');
	$publisher->wait_for_catchup($subscription);
	is(sql($node, 'fleet', q(SELECT amad_describe('pump')->'options'->'seed')), '11', 'one that bypasses it can');
	super($node, 'ALTER ROLE keeper SUPERUSER');
}
unsubscribe($subscription);

# ---- all tables, and a subscriber that takes over ----------------------------------------------------------------

super($publisher, 'CREATE DATABASE plant');
super($publisher, 'CREATE EXTENSION amad; GRANT CREATE ON SCHEMA public TO ann', 'plant');
sql($publisher, 'ann', q(CREATE TABLE rows (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
INSERT INTO rows SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) FROM generate_series(0, 499) i, generate_series(1, 3) d;
DO $$ BEGIN PERFORM amad_train('rows', 'rows', 'ts', '{a,b}', '{device}', options => '{"method": "pca", "horizons": [1]}'); PERFORM amad_watch('rows'); END $$;
CALL amad_refresh('rows', as_of => '2026-05-01 08:20');
INSERT INTO rows SELECT 2, '2026-05-01 08:20'::timestamptz + i * interval '1 minute', sin(i * 0.2 + 2), 6 FROM generate_series(0, 9) i), 'plant');
super($publisher, 'CREATE PUBLICATION everything FOR ALL TABLES', 'plant');
my $dump = $node->basedir . '/plant.sql';
$publisher->command_ok([ 'pg_dump', '--schema-only', '--no-publications', '-f', $dump, '-d', $publisher->connstr('plant') ], 'the schema is dumped');
super($node, 'CREATE DATABASE plant TEMPLATE template0');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('plant') ], 'and restored');
super($node, 'CREATE SUBSCRIPTION plant CONNECTION $$' . $publisher->connstr('plant') . '$$ PUBLICATION everything', 'plant');
$node->wait_for_subscription_sync($publisher, 'plant', 'plant');
sql($publisher, 'ann', q(CALL amad_refresh('rows', as_of => '2026-05-01 08:30');
INSERT INTO rows SELECT 3, '2026-05-01 08:20'::timestamptz + i * interval '1 minute', sin(i * 0.2 + 2), 6 FROM generate_series(0, 9) i), 'plant');
$publisher->wait_for_catchup('plant');
is(sql($node, 'ann', q(SELECT state, last_state, open_incidents FROM amad_status), 'plant'), 'ok|done|1', 'a watch, its runs and its incidents are replicated');
is(sql($node, 'ann', q(SELECT count(*) FROM rows_scores), 'plant'), '1510', 'and its scores');

# the publisher ends
$publisher->stop;
super($node, 'ALTER SUBSCRIPTION plant DISABLE; ALTER SUBSCRIPTION plant SET (slot_name = NONE); DROP SUBSCRIPTION plant;', 'plant');
sql($node, 'ann', q(INSERT INTO rows VALUES (1, '2026-05-01 08:20', 0.1, 0.1)), 'plant');
like(error($node, 'ann', q(CALL amad_refresh('rows', as_of => '2026-05-01 08:31')), 'plant'), qr/ERROR:  duplicate key value violates unique constraint "amad_incidents_pkey"/, 'identifiers are not replicated');
super($node, q(SELECT setval('amad_incidents_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM amad_incidents), false), setval('amad_verdicts_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM amad_verdicts), false)), 'plant');
sql($node, 'ann', q(CALL amad_refresh('rows', as_of => '2026-05-01 08:40')), 'plant');
is(sql($node, 'ann', $stored, 'plant'), '1521|0|1', 'all changes are scored, before and after');
is(sql($node, 'ann', q(SELECT string_agg(series->>'device', ',' ORDER BY id) FROM amad_incidents WHERE kind = 'anomaly'), 'plant'), '2,3', 'incidents go on');
is(sql($node, 'ann', q(SELECT amad_retrain('rows')->'version'), 'plant'), '2', 'and versions');
is(sql($node, 'ann', q(SELECT unseen FROM amad_status), 'plant'), '', 'the watch sees all');

done_testing();
