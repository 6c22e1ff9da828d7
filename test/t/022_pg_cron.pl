# pg_cron: watches refreshed by jobs of amad_schedule; a model retrained every second, in the background, by its owner.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $version = extension_version('pg_cron');
plan skip_all => 'pg_cron is not installed' unless defined $version;
my ($major, $minor) = $version =~ /^(\d+)\.(\d+)/;
my $release = $major * 100 + $minor;
plan skip_all => "pg_cron $version has no jobs of other databases" if $release < 104;

my $node = new_node('cron', conf => q(
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 16
));

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

sql('CREATE EXTENSION pg_cron; CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; GRANT USAGE ON SCHEMA cron TO ann');
create_rows($node, 500);

# ---- watches ----------------------------------------------------------------------------------

# of ann, who may use pg_cron, and of bob, who may not; one name is longer than those of jobs in pg_cron 1.4
my $long = 'x' x 60;
my $options = TINY;
my $start = "timestamptz '2024-05-01'";
sql("GRANT CREATE ON SCHEMA public TO ann, bob; CREATE TABLE timed AS SELECT $start + ts * interval '1 minute' AS ts, a, b FROM readings; "
	  . 'GRANT SELECT, TRIGGER ON timed TO PUBLIC');

sub watch
{
	my ($role, $model, $target) = @_;

	sql("SET ROLE $role; SELECT amad_train(\$\$$model\$\$, 'timed', options => '$options'); "
		  . "SELECT amad_watch(\$\$$model\$\$, \"every\" => '1 min', target => '$target')");
	return;
}

watch('ann', 'fleet', 's1');
watch('ann', $long, 's2');
watch('ann', "o'br%", 's3');
watch('bob', 'fleet', 's4');

my $jobs = q(SELECT string_agg(concat_ws('|', jobname, schedule, command, database, username), E'\n' ORDER BY jobid) FROM cron.job WHERE jobname::text LIKE 'amad_refresh%');
(my $care = $jobs) =~ s/amad_refresh%/amad_care%/;

sub status
{
	my ($role) = @_;

	return sql("SET ROLE $role; SELECT scheduler, job IS NOT NULL, job_state FROM amad_status WHERE model_name = 'fleet'");
}

is(status('ann'), '|f|not scheduled', 'a new watch is not scheduled');
is(sql("SET ROLE ann; SELECT amad_schedule('fleet', '5 min') - '{job,care}'::text[]"),
	q({"command": "CALL public.amad_refresh('fleet')", "schedule": "*/5 * * * *", "scheduler": "pg_cron"}), 'pg_cron has the job');
is(sql($jobs), q(amad_refresh fleet|*/5 * * * *|CALL public.amad_refresh('fleet')|postgres|ann), 'it belongs to the caller');
like(sql($care), qr/^amad_care fleet\|\d+ \* \* \* \*\|CALL public.amad_care\('fleet'\)\|postgres\|ann$/, 'and so does the job for the care');
is(status('ann'), 'pg_cron|t|scheduled', 'amad_status shows it');
sql("SET ROLE ann; SELECT amad_schedule('fleet')");
is(sql($jobs), q(amad_refresh fleet|* * * * *|CALL public.amad_refresh('fleet')|postgres|ann), 'called again, it replaces the job');

sql("SET ROLE ann; SELECT amad_schedule('$long'), amad_schedule('o''br%')");
is(sql(q(SELECT command FROM cron.job WHERE jobname::text = $$amad_refresh o'br%$$)), q(CALL public.amad_refresh('o''br%')), 'a name with a quote');
is(sql(q(SELECT count(*) FROM cron.job JOIN amad_watches ON jobname::text = 'amad_refresh ' || watch WHERE length(model_name) = 60)), 1, 'a long name');

sql("SELECT amad_unschedule('$long')");
is(sql("SELECT r->>'scheduler' FROM amad_schedule('$long') r; SELECT username FROM cron.job WHERE jobname::text LIKE 'amad_refresh %-%'"), "pg_cron\nann",
	'a superuser schedules a job of the watch\'s owner');

# without the privileges: what an administrator can run, and does
my $statement = sql(q(SET ROLE bob; SELECT amad_schedule('fleet')->>'statement'));
is($statement, q(SELECT cron.schedule_in_database('amad_refresh fleet in postgres', '* * * * *', 'CALL public.amad_refresh(''fleet'')', 'postgres', 'bob')),
	'a role without privileges gets a statement for an administrator');
is(status('bob'), '|f|', 'and cannot see jobs');
sql($statement);
is(sql(q(SELECT job_state FROM amad_status WHERE owner = 'bob')), 'scheduled', 'an administrator can see them');

# from another database
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', "CREATE EXTENSION amad; CREATE TABLE timed AS SELECT $start + i * interval '1 minute' AS ts, sin(i * 0.2) AS a "
	  . "FROM generate_series(1, 200) i; SELECT amad_train('fleet', 'timed', options => '$options'); SELECT amad_watch('fleet', \"every\" => '1 min')");
my $user = sql('SELECT current_user');
$statement = $node->safe_psql('elsewhere', q(SELECT amad_schedule('fleet')->>'statement'));
is($statement, q{SELECT cron.schedule_in_database('amad_refresh fleet in elsewhere', '* * * * *', 'CALL public.amad_refresh(''fleet'')', 'elsewhere', } . "'$user')",
	'a statement for a database without pg_cron');
sql($statement);
is($node->safe_psql('elsewhere', 'SELECT scheduler, job_state FROM amad_status'), '|', 'whose jobs cannot be seen there');

# the jobs run
ok($node->poll_query_until('postgres', q(SELECT count(DISTINCT watch) = 4 FROM amad_runs WHERE state = 'done')), 'jobs refresh watches');
ok($node->poll_query_until('elsewhere', q(SELECT count(*) > 0 FROM amad_runs WHERE state = 'done')), 'also those of the other database');
is(sql('SELECT (SELECT count(*) FROM s1), (SELECT count(*) FROM s4)'), '500|500', 'all rows have scores');

# a job that fails
sql('ALTER TABLE timed RENAME TO gone');
ok($node->poll_query_until('postgres', q(SELECT job_state = 'failing' AND job_message IS NOT NULL FROM amad_status WHERE model_name = 'fleet' AND owner = 'ann')),
	'amad_status shows that a job fails');
sql(q(UPDATE cron.job SET active = false WHERE jobname::text = 'amad_refresh fleet'));
is(status('ann'), 'pg_cron|t|inactive', 'or that it is inactive');

# and they are removed
is(sql("SET ROLE ann; SELECT amad_unschedule('fleet'), amad_unschedule('fleet')"), 't|f', 'amad_unschedule removes a job, once');
is(status('ann'), '|f|not scheduled', 'as amad_status shows');
sql("SET ROLE ann; SELECT amad_unwatch('$long'), amad_unwatch('o''br%')");
is(sql(q(SELECT string_agg(jobname::text, ',' ORDER BY jobname::text) FROM cron.job)), 'amad_refresh fleet in elsewhere,amad_refresh fleet in postgres',
	'amad_unwatch removes the job of the watch, and no others');
sql('SELECT cron.unschedule(jobid) FROM cron.job');

# ---- every second ------------------------------------------------------------------------------

SKIP:
{
	skip "pg_cron $version has no schedule finer than a minute", 8 if $release < 105;

	is(sql("SET ROLE ann; SELECT amad_schedule('fleet', '2 seconds')->>'schedule'"), '2 seconds', 'a schedule in seconds');
	sql("SET ROLE ann; SELECT amad_unschedule('fleet')");
	sql('DELETE FROM amad_models');

	my $train = train('m');
	sql("SET ROLE ann; $train");
	my $job = sql("SET ROLE ann; SELECT cron.schedule('retrain', '1 second', \$\$$train\$\$)");
	ok($node->poll_query_until('postgres', "SELECT count(*) >= 3 FROM amad_models WHERE model_name = 'm'"),
		'a schedule of one second trains repeatedly');
	sql("SET ROLE ann; SELECT cron.unschedule('retrain')");
	ok($node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_cron')),
		'after unscheduling no job is running');

	my $count = sql('SELECT count(*) FROM amad_models');
	is(sql("SELECT pg_sleep(2.5); SELECT count(*) FROM amad_models") =~ s/^\n//r, $count, 'and nothing is trained');
	is(sql('SELECT array_agg(version ORDER BY version) = array_agg(n::int ORDER BY n) FROM (SELECT version, row_number() OVER (ORDER BY version) AS n FROM amad_models) s'),
		't', 'versions are consecutive');
	is(sql('SELECT DISTINCT owner FROM amad_models'), 'ann', 'the owner is the role that scheduled the job');
	is(sql('SELECT count(DISTINCT model::text) FROM amad_models'), 1, 'all models are the same');
	is(sql("SELECT DISTINCT status FROM cron.job_run_details WHERE jobid = $job AND status <> 'starting'"), 'succeeded', 'no run failed');
}

$node->stop;
done_testing();
