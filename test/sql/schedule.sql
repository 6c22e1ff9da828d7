-- amad_schedule where neither pg_cron nor TimescaleDB is installed: the line for a crontab.  test/t/022_pg_cron.pl
-- schedules jobs with pg_cron.
\set VERBOSITY terse
CREATE TABLE readings AS
  SELECT timestamptz '2024-05-01' + i * interval '1 minute' AS ts, sin(i * 0.2) AS a, cos(i * 0.11) + (i * 7919 % 101) / 500.0 AS b
  FROM generate_series(1, 120) i;
CREATE FUNCTION watch(name text, period interval) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  PERFORM amad_train(name, 'readings',
    options => '{"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 3, "horizons": [2, 4]}');
  PERFORM amad_watch(name, "every" => period, target => 'scores' || (SELECT count(*) FROM amad_watches)); END $$;
SELECT watch('fleet', '5 min'), watch('a''b%c\%d', '1 hour'), watch(E'two\nlines', NULL);

-- the port and the names of the database and the role differ between installations
CREATE FUNCTION crontab_line(model text, schedule text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
  SELECT regexp_replace(amad_schedule(model, schedule)->>'crontab', 'PGDATABASE=.*? psql -X( -p \d+)? -U .*? -c ', '… ') $$;

SELECT amad_schedule('no model');
SELECT amad_schedule(NULL);
SELECT amad_schedule(E'two\nlines');
SELECT amad_schedule('fleet') - '{crontab,care}'::text[] AS schedule;
SELECT c->>'command' AS command, c->>'schedule' ~ '^\d+ \* \* \* \*$' AS hourly,
  regexp_replace(c->>'crontab', '^\d+ (.*?)PGDATABASE=.*? psql -X( -p \d+)? -U .*? -c ', 'n \1… ') AS crontab FROM (SELECT amad_schedule('fleet')->'care' AS c) s;
SELECT amad_watch('fleet', care => false)->'changes' AS changes, amad_schedule('fleet')->'care' AS care;
SELECT amad_watch('fleet', care => true)->'changes' AS changes;
SELECT crontab_line('fleet');
SELECT amad_schedule('fleet')->>'crontab' ~ '^\*/5 \* \* \* \* PGDATABASE=\S+ psql -X( -p \d+)? -U \S+ -c ''CALL ' AS line;

-- quotes, percent signs, backslashes and line breaks in the name of a model
SELECT amad_schedule('a''b%c\%d')->>'command' AS command, crontab_line('a''b%c\%d');
SELECT amad_schedule(E'two\nlines', '1 hour')->>'command' AS command, crontab_line(E'two\nlines', '1 hour');

-- schedules: crontab's own, and intervals
SELECT s, amad_schedule('fleet', s)->>'schedule' = s AS kept FROM unnest('{*/7 1-5 * * mon-fri, "0,30 8 1 jan *"}'::text[]) s;
SELECT s, amad_schedule('fleet', s)->>'schedule' AS crontab
FROM unnest('{1 min, 30 min, 1 hour, 12:00:00, 1 day, 7 days}'::text[]) s;
SELECT s, amad_schedule('fleet', s)->>'schedule' AS rounded
FROM unnest('{30 seconds, 90 seconds, 7 min, 45 min, 10 hours, 3 days, 1 month}'::text[]) s;
SELECT amad_schedule('fleet', '0');
SELECT amad_schedule('fleet', '-5 min');
SELECT amad_schedule('fleet', '* * * *');
SELECT amad_schedule('fleet', '* * * * * *');
SELECT amad_schedule('fleet', E'* * * * *\n* * * * *');
SELECT amad_schedule('fleet', '* * * * $(id)');

-- there is no job
SELECT model_name, scheduler, job, job_state, job_message FROM amad_status ORDER BY model_name COLLATE "C";
SELECT amad_unschedule('fleet');
SELECT amad_unschedule('no model');

-- objects with the names of pg_cron's are not pg_cron
CREATE SCHEMA cron;
CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'called'; END $$;
CREATE TABLE cron.job (jobid bigint, jobname text, database text, username text, active boolean);
SELECT amad_schedule('fleet')->'scheduler' AS scheduler;
DROP FUNCTION cron.schedule;
DROP TABLE cron.job;
DROP SCHEMA cron;

-- the procedures for jobs of TimescaleDB
SELECT amad_check_job('{"model_name": "fleet"}');
SELECT amad_check_job('{"model_name": "fleet", "procedure": "amad_care"}');
SELECT amad_check_job('{"model_name": "fleet", "procedure": "amad_drop"}');
SELECT amad_check_job('{"model_name": "none"}');
SELECT amad_check_job('{}');
SELECT amad_check_job('[]');
SELECT amad_check_job(NULL);
CALL amad_job(1, NULL);
CALL amad_job(1, '{"model_name": 1}');
CALL amad_job(1, '{"model_name": "fleet"}');
SELECT run, state, rows_scored FROM amad_runs;

-- a role that may not use the watch
CREATE ROLE regress_amad_stranger;
SET ROLE regress_amad_stranger;
SELECT amad_schedule('fleet', '5 min');
SELECT amad_unschedule('fleet');
RESET ROLE;
DROP ROLE regress_amad_stranger;

-- what the test leaves behind
SELECT amad_unwatch('fleet'), amad_unwatch('a''b%c\%d'), amad_unwatch(E'two\nlines');
DROP TABLE readings, scores0, scores1, scores2 CASCADE;
DROP FUNCTION watch, crontab_line;
DELETE FROM amad_models;
