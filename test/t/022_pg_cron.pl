# pg_cron: a model retrained on a schedule, in the background, by its owner.
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
plan skip_all => "pg_cron $version has no schedule finer than a minute" if $version =~ /^(\d+)\.(\d+)/ && ($1 <=> 1 || $2 <=> 5) < 0;

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

sql('CREATE EXTENSION pg_cron; CREATE ROLE ann LOGIN; GRANT USAGE ON SCHEMA cron TO ann');
create_rows($node, 500);
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

$node->stop;
done_testing();
