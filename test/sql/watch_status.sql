-- What amad_status, amad_series and amad_runs say of a watch, and its views.
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
  SELECT '{"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 3, "horizons": [2, 4]}'::jsonb $$;
CREATE TABLE readings (device text, ts timestamptz, a float8, b float8);
-- a row every minute until now
CREATE FUNCTION feed(name text, rows int, until interval) RETURNS void LANGUAGE sql AS $$
  INSERT INTO readings SELECT name, date_trunc('minute', now()) - until - i * interval '1 minute', sin(i * 0.2), cos(i * 0.11) FROM generate_series(0, rows - 1) i $$;
SELECT feed('pump 1', 120, '0'), feed('pump 2', 120, '1 hour'), feed('pump 3', 120, '0');
CREATE INDEX ON readings (device, ts);
SELECT amad_train('m', 'readings', series_cols => '{device}', options => tiny())->'version' AS version;
SELECT feed('a new one', 50, '0'), feed(repeat('long', 2000), 3, '0');

-- ---- series ------------------------------------------------------------------------------

SELECT amad_watch('m') - 'watch' AS watch;
SELECT state, series, learning_series, silent_series, silent_after FROM amad_status;
CALL amad_refresh('m');
SELECT state, series, learning_series, silent_series, silent_after FROM amad_status;
SELECT left(series[1], 10) AS device, now() - newest > interval '20 minutes' AS silent, learning FROM amad_series ORDER BY 1;
-- a longer silence is usual
SELECT amad_watch('m', silence => '2 hours', delay => '1 second')->'target' AS target;
SELECT silent_series, silent_after FROM amad_status;
SELECT amad_watch('m', silence => '0', delay => '0')->'target' AS target;
SELECT amad_watch('m', silence => '-1 s');
-- rows are added, and changed, and a series ends earlier than it did, or is gone
INSERT INTO readings VALUES ('pump 2', now() - interval '1 second', 1, 1);
UPDATE readings SET a = 2 WHERE device = 'pump 1' AND ts < now() - interval '110 minutes';
DELETE FROM readings WHERE device = 'pump 3' AND ts > now() - interval '30 minutes';
DELETE FROM readings WHERE device LIKE 'long%';
CALL amad_refresh('m');
SELECT series[1] AS device, now() - newest > interval '20 minutes' AS silent, learning FROM amad_series ORDER BY 1;
SELECT amad_train('m', 'readings', series_cols => '{device}', options => tiny())->'version' AS version;
CALL amad_refresh('m', since => now() - interval '1 hour');
SELECT learning_series FROM amad_status;
SELECT bool_and(newest = (SELECT max(ts) FROM readings r WHERE r.device = s.series[1])) AS right FROM amad_series s;
-- with retain, a series is forgotten with its last score
SELECT amad_watch('m', retain => '25 min')->'target' AS target;
CALL amad_refresh('m');
SELECT count(DISTINCT device) = (SELECT count(*) FROM amad_series) AS same, count(DISTINCT device) FROM m_scores;
SELECT amad_watch('m', retain => '0')->'target' AS target;

-- ---- runs --------------------------------------------------------------------------------

BEGIN;
CALL amad_refresh('m');
SELECT notices FROM amad_runs ORDER BY started DESC LIMIT 1;
ROLLBACK;

-- ---- views -------------------------------------------------------------------------------

\d m_scores_grafana
\d m_scores_annotations
INSERT INTO readings VALUES ('pump 1', now() + interval '1 minute', 1e6, 1);
CALL amad_refresh('m', as_of => 'infinity');
SELECT metric, text ~ '^pump 1: (a|b)$' AS text, tags, "time" = timeend AS point FROM m_scores_annotations, (SELECT 'pump 1' AS metric) m WHERE "time" > now();
SELECT metric, value > 1 AS high FROM m_scores_grafana WHERE "time" > now();
-- a condition on the time reaches the table
CREATE TABLE ticks AS SELECT i AS number, sin(i) AS a, cos(i * 0.3) AS b FROM generate_series(1, 300) i;
CREATE INDEX ON ticks (number);
SELECT amad_train('t', 'ticks', 'number', options => tiny())->'version' AS version;
CREATE TABLE "Scores_grafana" (x int);
SELECT amad_watch('t', target => '"Scores"')->'target' AS target;
CALL amad_refresh('t');
SET enable_seqscan = off;
DO $$ DECLARE line text; BEGIN
  FOR line IN EXPLAIN (COSTS OFF) SELECT * FROM "Scores_annotations" WHERE "time" > 290 LOOP
    IF line ~ 'Index Cond' THEN RAISE NOTICE '%', btrim(line); END IF;
  END LOOP; END $$;
RESET enable_seqscan;
UPDATE ticks SET a = 1e6 WHERE number = 280;
CALL amad_refresh('t');
SELECT * FROM "Scores_annotations" WHERE "time" = 280;
SELECT silent_series, silent_after, series FROM amad_status WHERE model_name = 't';
-- amad_unwatch keeps them
SELECT amad_unwatch('t');
SELECT count(*) FROM pg_views WHERE viewname = 'Scores_annotations';

-- ---- a role that may read the source only ------------------------------------------------

CREATE ROLE amad_s_reader;
GRANT SELECT ON readings TO amad_s_reader;
CREATE SCHEMA AUTHORIZATION amad_s_reader;
SET ROLE amad_s_reader;
SELECT amad_train('r', 'readings', series_cols => '{device}', options => tiny())->'version' AS version;
\set VERBOSITY default
SELECT amad_watch('r', target => 'amad_s_reader.scores');
\set VERBOSITY terse
SELECT amad_watch('r', target => 'amad_s_reader.scores', late => '1 hour')->'changes' AS changes;
CALL amad_refresh('r');
SELECT count(*) > 100 AS scored FROM amad_s_reader.scores;
SELECT amad_drop('r');
RESET ROLE;
-- a table of scores in a schema in which the role may not create anything
CREATE SCHEMA amad_s_given;
CREATE TABLE amad_s_given.scores (LIKE amad_s_reader.scores INCLUDING ALL);
ALTER TABLE amad_s_given.scores OWNER TO amad_s_reader;
GRANT USAGE ON SCHEMA amad_s_given TO amad_s_reader;
SET ROLE amad_s_reader;
SELECT amad_train('r', 'readings', series_cols => '{device}', options => tiny())->'version' AS version;
SELECT amad_watch('r', target => 'amad_s_given.scores', late => '1 hour')->'changes' AS changes;
CALL amad_refresh('r');
SELECT count(*) > 100 AS scored FROM amad_s_given.scores;
SELECT amad_drop('r');
RESET ROLE;
DROP SCHEMA amad_s_given CASCADE;
DROP OWNED BY amad_s_reader CASCADE;
DROP ROLE amad_s_reader;

-- ---- a source without an index, which a parallel plan would read ----------------------------

CREATE TABLE heap AS SELECT d AS device, timestamptz '2024-05-01' + i * interval '1 minute' AS ts, sin(i) AS a, cos(i) AS b
  FROM generate_series(1, 4500) i, generate_series(1, 2) d;
ANALYZE heap;
SELECT amad_train('h', 'heap', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('h')->'target' AS target;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
CALL amad_refresh('h');
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
SELECT count(*) FROM h_scores;
SELECT amad_drop('h');
DROP TABLE heap, h_scores CASCADE;

-- ---- the model is gone -------------------------------------------------------------------

DELETE FROM amad_models WHERE model_name = 'm';
SELECT model_name, state FROM amad_status;
SELECT amad_unwatch('m');
SELECT count(*) FROM amad_series;
DROP TABLE readings, m_scores, ticks, "Scores", "Scores_grafana" CASCADE;
DELETE FROM amad_models;
DROP FUNCTION tiny, feed;
\set VERBOSITY default
