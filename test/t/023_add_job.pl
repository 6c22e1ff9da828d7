# Jobs of TimescaleDB's Community edition, which packages of Debian do not have: an imitation of the functions and views that
# amad_schedule uses, with their signatures.  It can refuse jobs as the Apache edition does.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'TimescaleDB is installed' if defined extension_version('timescaledb');
my $folder = qx(pg_config --sharedir) =~ s/\n//r . '/extension';
plan skip_all => "cannot write in $folder" unless -w $folder;

my %files = (
	'timescaledb.control' => "default_version = '0'\nrelocatable = false\nschema = jobs\n",
	'timescaledb--0.sql' => q(
CREATE SCHEMA timescaledb_information;
CREATE TABLE timescaledb_information.jobs (job_id serial, proc_schema name, proc_name name, config jsonb, check_name name,
	schedule_interval interval, owner regrole DEFAULT current_user::regrole, scheduled boolean DEFAULT true);
CREATE TABLE timescaledb_information.job_stats (job_id integer, last_run_status text);
GRANT USAGE ON SCHEMA jobs, timescaledb_information TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA timescaledb_information TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA timescaledb_information TO PUBLIC;
CREATE FUNCTION add_job(proc regproc, schedule_interval interval, config jsonb DEFAULT NULL, initial_start timestamptz DEFAULT NULL,
	scheduled boolean DEFAULT true, check_config regproc DEFAULT NULL, fixed_schedule boolean DEFAULT true, timezone text DEFAULT NULL)
	RETURNS integer LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	job integer;
BEGIN
	IF current_setting('test.license', true) = 'apache' THEN
		RAISE feature_not_supported USING MESSAGE = 'function "add_job" is not supported under the current "apache" license';
	ELSIF current_setting('test.license', true) = 'broken' THEN
		RAISE 'no jobs today';
	END IF;
	EXECUTE format('SELECT %s($1)', check_config::text) USING config;
	INSERT INTO timescaledb_information.jobs (proc_schema, proc_name, config, check_name, schedule_interval)
	SELECT pronamespace::regnamespace::name, proname, add_job.config, add_job.check_config::text, add_job.schedule_interval
	FROM pg_proc WHERE oid = add_job.proc RETURNING job_id INTO job;
	RETURN job;
END $$;
CREATE FUNCTION delete_job(job_id integer) RETURNS void LANGUAGE sql AS 'DELETE FROM timescaledb_information.jobs WHERE job_id = $1';
));
foreach my $name (keys %files)
{
	open(my $out, '>', "$folder/$name") or die "$folder/$name: $!";
	print $out $files{$name};
	close($out);
}

END
{
	unlink map { "$folder/$_" } keys %files;
}

my $node = new_node('add_job');

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

my $options = TINY;
create_rows($node, 200);
sql(qq(CREATE SCHEMA jobs; CREATE EXTENSION timescaledb; CREATE ROLE ann; GRANT CREATE ON SCHEMA public TO ann;
	CREATE TABLE timed AS SELECT timestamptz '2024-05-01' + ts * interval '1 minute' AS ts, a, b FROM readings; ALTER TABLE timed OWNER TO ann;
	SET ROLE ann; SELECT amad_train('fleet', 'timed', options => '$options'); SELECT amad_watch('fleet', "every" => '7 min')));

is(sql(q(SET ROLE ann; SELECT amad_schedule('fleet') - 'care')),
	q({"job": 1, "command": "CALL public.amad_refresh('fleet')", "schedule": "00:07:00", "scheduler": "timescaledb"}), 'TimescaleDB has the job, not rounded');
is(sql(q(SELECT concat_ws('|', proc_schema, proc_name, config, check_name, schedule_interval, owner) FROM timescaledb_information.jobs)),
	'public|amad_job|{"model_name": "fleet"}|public.amad_check_job|00:07:00|ann' . "\n"
	  . 'public|amad_job|{"procedure": "amad_care", "model_name": "fleet"}|public.amad_check_job|01:00:00|ann', 'with a configuration and its check, and another one for the care');
sql(q(SET ROLE ann; SELECT amad_schedule('fleet', '30 seconds')));
is(sql('SELECT job_id, schedule_interval FROM timescaledb_information.jobs'), "3|00:00:30\n4|01:00:00", 'called again, it replaces the jobs');

my $status = q(SET ROLE ann; SELECT scheduler, job, job_state FROM amad_status);
is(sql($status), 'timescaledb|3|scheduled', 'amad_status shows it');
sql(q(INSERT INTO timescaledb_information.job_stats VALUES (3, 'Failed'), (4, 'Success')));
is(sql($status), 'timescaledb|3|failing', 'and that it fails');
sql(q(UPDATE timescaledb_information.jobs SET scheduled = false));
is(sql($status), 'timescaledb|3|inactive', 'or does not run');
sql(q(SET ROLE ann; CALL amad_job(2, '{"model_name": "fleet"}')));
is(sql('SELECT count(*) FROM fleet_scores'), 200, 'what a job calls refreshes the watch');
sql(q(SET ROLE ann; CALL amad_job(4, '{"model_name": "fleet", "procedure": "amad_care"}')));
is(sql("SELECT string_agg(kind, ',' ORDER BY kind) FROM amad_runs"), 'recalibrate,refresh', 'or cares for its model');
is(sql(q(SET ROLE ann; SELECT amad_unschedule('fleet'), amad_unschedule('fleet'))), 't|f', 'amad_unschedule removes the job');

# editions without jobs, and other errors
is(sql(q(SET ROLE ann; SET test.license = 'apache'; SELECT r->'scheduler', r->>'schedule' FROM amad_schedule('fleet', '5 min') r)), 'null|*/5 * * * *',
	'without jobs, the line for a crontab');
is(sql(q(SET ROLE ann; SELECT r->'scheduler', r->>'schedule' FROM amad_schedule('fleet', '*/5 * * * *') r)), 'null|*/5 * * * *',
	'TimescaleDB has no schedules of crontab');
my $stderr;
$node->psql('postgres', q(SET ROLE ann; SET test.license = 'broken'; SELECT amad_schedule('fleet')), stderr => \$stderr);
like($stderr, qr/ERROR:  no jobs today/, 'other errors are errors');

sql(q(SET ROLE ann; SELECT amad_schedule('fleet'); SELECT amad_unwatch('fleet')));
is(sql('SELECT count(*) FROM timescaledb_information.jobs'), 0, 'amad_unwatch removes the job');

$node->stop;
done_testing();
