-- Watches: amad_watch, the change log, amad_refresh, amad_runs, amad_status. test/t/016_watch.pl tests
-- that the scores are right whatever happens.
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE FUNCTION tiny(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
  SELECT '{"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 3, "horizons": [2, 4]}'::jsonb || more $$;
CREATE TABLE readings AS
  SELECT d AS device, timestamptz '2024-05-01' + i * interval '1 minute' AS ts, sin(i * 0.2 + d) AS a,
         cos(i * 0.11) + (i * 7919 % 101) / 500.0 AS b
  FROM generate_series(1, 120) i, generate_series(1, 3) d;
CREATE INDEX ON readings (device, ts);
SELECT amad_train('m', 'readings', series_cols => '{device}', options => tiny())->'version' AS version;

-- rows whose stored score is not what amad_detect computes, or that are missing on either side
CREATE FUNCTION wrong() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (
  SELECT count(*) FROM m_scores s
  FULL JOIN (SELECT (series->>'device')::int AS device, * FROM amad_detect('m') WHERE status IS NULL OR status NOT IN ('duplicate_ts', 'invalid_ts')) d
    ON s.device IS NOT DISTINCT FROM d.device AND s.ts = d.ts AND s.model_version = d.model_version
  WHERE s.ts IS NULL OR d.ts IS NULL OR float8send(s.severity) IS DISTINCT FROM float8send(d.severity)
    OR s.status IS DISTINCT FROM d.status); END $$;

-- ---- a watch --------------------------------------------------------------------------

CALL amad_refresh('m');                         -- there is none
SELECT amad_watch('no model');
SELECT amad_watch(NULL);
SELECT amad_watch('m', delay => '-1 minute');
SELECT amad_watch('m', "every" => '5 min') - 'watch' AS watch;
\d m_scores
SELECT tgname ~ '^amad_[0-9a-f]{8}_(insert|update|delete|truncate)$' AS name, tgenabled FROM pg_trigger
WHERE tgrelid = 'readings'::regclass;

-- everything is to be scored first
SELECT series, first_ts, last_ts FROM amad_changes;
CALL amad_refresh('m');
SELECT count(*), count(severity), count(expected), count(DISTINCT device) FROM m_scores;
SELECT run, state, changes, series, rows_scored, model_version FROM amad_runs ORDER BY run;
SELECT wrong();

-- nothing to do
CALL amad_refresh('m');
SELECT run, state, changes, series, rows_scored FROM amad_runs ORDER BY run DESC LIMIT 1;

-- each statement logs the changed range of each series
INSERT INTO readings VALUES (1, '2024-05-01 02:01', 9, 1), (1, '2024-05-01 02:02', 9, 1), (2, '2024-05-01 02:01', 0, 1);
UPDATE readings SET a = 7 WHERE device = 3 AND ts BETWEEN '2024-05-01 01:00' AND '2024-05-01 01:02';
DELETE FROM readings WHERE device = 2 AND ts = '2024-05-01 00:30';
INSERT INTO readings SELECT * FROM readings WHERE false;
SELECT series, timestamp '2000-01-01' + first_ts * interval '1 microsecond' AS first,
       timestamp '2000-01-01' + last_ts * interval '1 microsecond' AS last FROM amad_changes ORDER BY 2, 1;
CALL amad_refresh('m');
SELECT run, state, changes, series FROM amad_runs ORDER BY run DESC LIMIT 1;
SELECT wrong();

-- a new series, a null as the value of a series column, a repeated timestamp, and a row without a time
INSERT INTO readings SELECT NULL, ts, a, b FROM readings WHERE device = 1;
INSERT INTO readings VALUES (9, '2024-05-01 00:01', 1, 1), (9, '2024-05-01 00:01', 2, 2), (9, NULL, 1, 1), (9, 'infinity', 1, 1);
CALL amad_refresh('m');
SELECT wrong();
SELECT device, count(*), min(status), max(status) FROM m_scores WHERE device = 9 OR device IS NULL GROUP BY 1 ORDER BY 1;

-- explanations of anomalies only
SELECT count(*) > 0 AS some, count(*) = count(*) FILTER (WHERE severity > 1) AS anomalies FROM m_scores WHERE expected IS NOT NULL;

-- truncation
BEGIN;
TRUNCATE readings;
CALL amad_refresh('m');
SELECT count(*) FROM m_scores;
ROLLBACK;
SELECT count(*) > 300 AS restored FROM m_scores;

-- rows that are newer than as_of - delay wait
SELECT amad_watch('m', delay => '10 min')->'target' AS target;
INSERT INTO readings SELECT 1, timestamptz '2024-05-01 02:03' + i * interval '1 minute', 1, 1 FROM generate_series(0, 19) i;
CALL amad_refresh('m', as_of => '2024-05-01 02:20');
SELECT max(ts) FROM m_scores WHERE device = 1;
SELECT series, timestamp '2000-01-01' + first_ts * interval '1 microsecond' AS first FROM amad_changes;
CALL amad_refresh('m', as_of => '2024-05-01 03:00');
SELECT wrong();

-- by hand
UPDATE m_scores SET severity = 77 WHERE device = 1;
CALL amad_refresh('m', since => '2024-05-01 01:00');
SELECT count(*) FROM m_scores WHERE severity = 77;
CALL amad_refresh('m', since => '2024-05-01', until => '2024-05-02');
SELECT wrong();
CALL amad_refresh('m', since => '2024-05-02', until => '2024-05-01');

-- another version: scores keep theirs until their rows change
SELECT amad_train('m', 'readings', series_cols => '{device}', options => tiny('{"seed": 2}'))->'version' AS version;
INSERT INTO readings VALUES (2, '2024-05-01 03:00', 1, 1);
CALL amad_refresh('m', as_of => '2024-05-01 04:00');
SELECT model_version, count(*) > 1 AS several FROM m_scores GROUP BY 1 ORDER BY 1;

-- pause
SELECT amad_pause('m');
CALL amad_refresh('m');
SELECT state FROM amad_status;
SELECT amad_resume('m');
SELECT state, failures, changes, pending, overflow, unseen FROM amad_status;

-- retention
SELECT amad_watch('m', retain => '1 hour')->'target' AS target;
CALL amad_refresh('m', as_of => '2024-05-01 03:00');
SELECT min(ts) FROM m_scores;
SELECT amad_watch('m', retain => '0', delay => '0')->'target' AS target;

-- a full log: everything is scored again
SET amad.change_log_limit = 0;
INSERT INTO readings VALUES (2, '2024-05-01 03:01', 1, 1);
INSERT INTO readings VALUES (2, '2024-05-01 03:02', 1, 1);
RESET amad.change_log_limit;
SELECT (SELECT count(*) FROM amad_changes) AS changes, (SELECT count(*) FROM amad_overflow) AS overflow;
CALL amad_refresh('m');
SELECT wrong();
SELECT notices FROM amad_runs ORDER BY run DESC LIMIT 1;
SELECT count(*) FROM amad_overflow;

-- more rows of a series than are inserted at once
INSERT INTO readings SELECT 2, timestamptz '2024-05-01 04:00' + i * interval '1 minute', sin(i), cos(i) FROM generate_series(1, 4500) i;
CALL amad_refresh('m');
SELECT wrong();
DELETE FROM readings WHERE ts > '2024-05-01 04:00' AND device = 2;
CALL amad_refresh('m');
SELECT wrong();

-- ---- failures ----------------------------------------------------------------------------

-- a renamed column: the run fails, changes are still logged by the column's number
ALTER TABLE readings RENAME device TO other;
INSERT INTO readings VALUES (3, '2024-05-01 03:05', 1, 1);
CALL amad_refresh('m');
SELECT state, sqlstate, message FROM amad_runs ORDER BY run DESC LIMIT 1;
SELECT series FROM amad_changes;
SELECT state, failures FROM amad_status;
ALTER TABLE readings RENAME other TO device;
CALL amad_refresh('m');
SELECT wrong();

-- a column of another type: the target must follow
ALTER TABLE readings ALTER a TYPE numeric;
DROP VIEW m_scores_grafana, m_scores_annotations;
ALTER TABLE m_scores ALTER device TYPE text;
CALL amad_refresh('m');
ALTER TABLE m_scores ALTER device TYPE int USING device::int;
CALL amad_refresh('m');
SELECT wrong();

-- a disabled trigger is reported, not enabled
ALTER TABLE readings DISABLE TRIGGER ALL;
CALL amad_refresh('m');
SELECT regexp_replace(unnest(unseen), '_[0-9a-f]{8}_', '_x_') AS unseen FROM amad_status;
ALTER TABLE readings ENABLE TRIGGER ALL;
SELECT regexp_replace(unnest(unseen), '_[0-9a-f]{8}_', '_x_') AS unseen FROM amad_status;

-- in a transaction with one snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL amad_refresh('m');
ROLLBACK;
-- in a function, and in a block with an exception handler
DO $$ BEGIN CALL amad_refresh('m'); EXCEPTION WHEN division_by_zero THEN NULL; END $$;
-- a procedure may commit
DO $$ BEGIN CALL amad_refresh('m'); END $$;
SELECT state, count(*) FROM amad_runs GROUP BY 1 ORDER BY 1;

-- triggers of others are no way into the log
CREATE TABLE foreign_source (ts timestamptz, device int);
DO $$ DECLARE arguments text; BEGIN
  SELECT string_agg(quote_literal(x), ', ') INTO arguments
  FROM (SELECT unnest(ARRAY[(SELECT watch::text FROM amad_watches), 'x', '1:ts', '2:device']) AS x) s;
  EXECUTE format('CREATE TRIGGER t AFTER INSERT ON foreign_source REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION amad_log_change(%s)', arguments);
END $$;
INSERT INTO foreign_source VALUES (now(), 1);
SELECT count(*) FROM amad_changes;
CREATE TRIGGER t2 AFTER INSERT ON foreign_source FOR EACH STATEMENT EXECUTE FUNCTION amad_log_change('x');
INSERT INTO foreign_source VALUES (now(), 1);
DROP TABLE foreign_source;
SELECT amad_log_change();

-- ---- roles -------------------------------------------------------------------------------

CREATE ROLE amad_watch_owner;
CREATE ROLE amad_watch_member IN ROLE amad_watch_owner;
CREATE ROLE amad_watch_writer;
CREATE ROLE amad_watch_stranger;
CREATE SCHEMA w;
GRANT SELECT ON readings TO PUBLIC;
GRANT USAGE, CREATE ON SCHEMA w TO amad_watch_owner;
GRANT USAGE ON SCHEMA w TO amad_watch_writer, amad_watch_stranger;
SET ROLE amad_watch_owner;
CREATE TABLE w.fleet AS SELECT 'a"b,{' || device AS device, ts, a::float8 AS a, b FROM readings WHERE device < 3;
CREATE INDEX ON w.fleet (device, ts);
GRANT INSERT, SELECT, UPDATE ON w.fleet TO amad_watch_writer;
SELECT amad_train('f', 'w.fleet', series_cols => '{device}', options => tiny())->'version' AS version;
SELECT amad_watch('f', target => 'w.scores') - 'watch' AS watch;
-- a writer needs no right on the tables of the extension, also if it cannot see the watch
SET ROLE amad_watch_writer;
INSERT INTO w.fleet VALUES ('a"b,{1', '2024-05-01 05:00', 1, 1);
UPDATE w.fleet SET a = 2 WHERE device = 'a"b,{2' AND ts < '2024-05-01 00:05';
SELECT count(*) FROM amad_changes;
CALL amad_refresh('f');
SELECT amad_unwatch('f');
SET ROLE amad_watch_stranger;
CALL amad_refresh('f');
SELECT (SELECT count(*) FROM amad_watches) + (SELECT count(*) FROM amad_runs) + (SELECT count(*) FROM amad_status) AS visible;
INSERT INTO amad_changes SELECT gen_random_uuid(), NULL, NULL, NULL, now();
-- a member may refresh, but the watch is the owner's
SET ROLE amad_watch_member;
CALL amad_refresh('f');
SELECT state, changes FROM amad_runs;
SELECT amad_watch('f');
SELECT amad_unwatch('f');
SET ROLE amad_watch_owner;
SELECT count(*) FROM w.scores s
FULL JOIN (SELECT series->>'device' AS device, * FROM amad_detect('f')) d USING (device, ts)
WHERE float8send(s.severity) IS DISTINCT FROM float8send(d.severity);
-- code of the source runs with the rights of the owner, in a security-restricted operation, whoever refreshes
CREATE FUNCTION w.me() RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN
  IF current_user <> 'amad_watch_owner' THEN RAISE 'read by %', current_user; END IF;
  IF current_setting('w.probe', true) = 'on' THEN EXECUTE 'RESET ROLE'; END IF;
  RETURN 0;
END $$;
CREATE VIEW w.view AS SELECT device, ts, a + w.me() AS a, b FROM w.fleet;
SELECT amad_train('f', 'w.view', series_cols => '{device}', options => tiny())->'version' AS version;
SELECT amad_watch('f', target => 'w.scores');
SELECT amad_watch('f', target => 'w.scores', late => '1 hour') - 'watch' AS watch;
SET w.probe = 'on';
RESET ROLE;
CALL amad_refresh('f', since => '2024-05-01');
RESET w.probe;
CALL amad_refresh('f', since => '2024-05-01');
SET ROLE amad_watch_owner;
SELECT state FROM amad_runs ORDER BY run DESC LIMIT 2;
SELECT unseen FROM amad_status;
SELECT amad_unwatch('f');
RESET ROLE;

-- ---- other types of columns ----------------------------------------------------------------

-- a source without series, with an integer time column
CREATE TABLE ticks AS SELECT i AS tick, sin(i * 0.2) AS a, cos(i * 0.3) AS b FROM generate_series(1, 100) i;
SELECT amad_train('t', 'ticks', timestamp_col => 'tick', options => tiny())->'version' AS version;
SELECT amad_watch('t', delay => '1 min');
SELECT amad_watch('t') - 'watch' AS watch;
CALL amad_refresh('t');
INSERT INTO ticks VALUES (101, 5, 5), (102, 5, 5);
CALL amad_refresh('t');
CALL amad_refresh('t', since => '2024-01-01');
SELECT count(*), count(*) FILTER (WHERE float8send(s.severity) IS DISTINCT FROM float8send(d.severity)) AS different
FROM t_scores s FULL JOIN amad_detect_bigint('t') d ON s.tick = d.ts;
SELECT amad_unwatch('t');

-- series of a type whose values are not logged: all series of the range
CREATE TYPE pair AS (x int, y text);
CREATE TABLE pairs AS SELECT (device, 'é')::pair AS device, round(device / 3.0, 2) AS part, ts::timestamp AS ts, a, b FROM readings WHERE device < 3;
SELECT amad_train('p', 'pairs', series_cols => '{device,part}', options => tiny())->'version' AS version;
SELECT amad_watch('p') - 'watch' AS watch;
CALL amad_refresh('p');
INSERT INTO pairs VALUES ('(1,é)', 0.33, '2024-05-01 06:00', 1, 1);
SELECT series, first_ts = last_ts AS one FROM amad_changes;
CALL amad_refresh('p');
SELECT count(*) > 200 AS many, count(*) FILTER (WHERE float8send(s.severity) IS DISTINCT FROM float8send(d.severity)) AS different
FROM p_scores s FULL JOIN amad_detect('p') d ON to_jsonb(s.part) = d.series->'part' AND s.device::text = d.series->>'device' AND s.ts = d.ts;
SELECT amad_unwatch('p');

-- every type that is logged
CREATE TYPE color AS ENUM ('red', 'deep blue');
CREATE DOMAIN nine_letters AS varchar(9);
CREATE TABLE typed AS SELECT n % 2 = 0 AS s1, n::int2 AS s2, n::int8 AS s3, n / 3.0::float4 AS s4, n / 7.0::float8 AS s5, n / 7.0 AS s6,
    ('''"' || n)::text AS s7, n::text::nine_letters AS s8, n::text::char(5) AS s9, n::text::name AS s10, md5(n::text)::uuid AS s11,
    date '2024-01-01' + n AS s12, timestamp '2024-01-01' + n * interval '1.5 hours' AS s13, timestamptz '2024-01-01' + n * interval '0.1 s' AS s14,
    (enum_range(NULL::color))[n % 2 + 1] AS s15, n::oid AS s16, date '2024-01-01' + i AS day, sin(i + n) AS a, cos(i * 0.3) AS b
  FROM generate_series(1, 50) i, generate_series(1, 3) n;
SELECT amad_train('typed', 'typed', timestamp_col => 'day', feature_cols => '{a,b}',
  series_cols => '{s1,s2,s3,s4,s5,s6,s7,s8,s9,s10,s11,s12,s13,s14,s15,s16}', options => tiny())->'version' AS version;
SELECT amad_watch('typed') - 'watch' AS watch;
CALL amad_refresh('typed');
SET datestyle = 'German'; SET extra_float_digits = -10; SET timezone = 'Asia/Kathmandu';
UPDATE typed SET a = 3 WHERE day = '2024-01-30';
SELECT count(*), count(series) FROM amad_changes;
RESET datestyle; RESET extra_float_digits;
CALL amad_refresh('typed');
SELECT rows_scored FROM amad_runs JOIN amad_watches USING (watch) WHERE model_name = 'typed' ORDER BY run DESC LIMIT 1;
SET timezone = 'UTC';
SELECT count(*), count(*) FILTER (WHERE float8send(s.severity) IS DISTINCT FROM float8send(d.severity)) AS different
FROM typed_scores s FULL JOIN amad_detect('typed') d ON to_jsonb(s.s3) = d.series->'s3' AND s.day = d.ts;
SELECT amad_unwatch('typed');

-- a target of other columns, a query, a view
SELECT amad_watch('m', target => 'ticks');
SELECT amad_watch('m', target => 'm_scores')->'target' AS target;
SELECT amad_train('q', 'SELECT * FROM readings WHERE device = 1', feature_cols => '{a,b}', options => tiny())->'version' AS version;
SELECT amad_watch('q');
SELECT amad_watch('q', late => '1 hour', since => '2024-05-01 01:00') - 'watch' AS watch;
CALL amad_refresh('q', as_of => '2024-05-01 02:00');
SELECT min(ts), max(ts) FROM q_scores;
CALL amad_refresh('q', as_of => '2024-05-01 03:00');
SELECT min(ts), max(ts) FROM q_scores;
SELECT rows_scored FROM amad_runs JOIN amad_watches USING (watch) WHERE model_name = 'q' ORDER BY run;
SELECT amad_unwatch('q');

-- the source, or the model, is dropped
DELETE FROM amad_models WHERE model_name = 'm';
CALL amad_refresh('m');
SELECT state, sqlstate FROM amad_runs ORDER BY started DESC LIMIT 1;
DROP TABLE readings;
SELECT amad_unwatch('m');
SELECT (SELECT count(*) FROM amad_watches) AS watches, (SELECT count(*) FROM amad_runs) AS runs, count(*) > 0 AS scores FROM m_scores;

-- the last version takes the watch with it
CREATE TABLE ticker (device int, ts timestamptz, a float8, b float8);
INSERT INTO ticker SELECT 1, timestamptz '2024-05-01' + i * interval '1 min', sin(i), cos(i) FROM generate_series(1, 400) i;
SELECT amad_train('k', 'ticker', feature_cols => '{a,b}', series_cols => '{device}', options => tiny())->'version' AS version;
SELECT amad_train('k', 'ticker', feature_cols => '{a,b}', series_cols => '{device}', options => tiny())->'version' AS version;
SELECT amad_watch('k') - 'watch' AS watch;
CALL amad_refresh('k');
SELECT amad_drop('k', 1);
SELECT count(*) AS watches FROM amad_watches;
SELECT amad_drop('k', 2);
SELECT (SELECT count(*) FROM amad_watches) AS watches, (SELECT count(*) FROM amad_runs) AS runs,
	(SELECT count(*) FROM pg_trigger WHERE tgrelid = 'ticker'::regclass) AS triggers, count(*) > 0 AS scores FROM k_scores;
DROP TABLE ticker, k_scores CASCADE;

DROP TABLE m_scores, ticks, t_scores, pairs, p_scores, typed, typed_scores, q_scores CASCADE;
DROP TYPE pair, color;
DROP DOMAIN nine_letters;
DROP SCHEMA w CASCADE;
DROP FUNCTION wrong, tiny;
DELETE FROM amad_models;
DROP ROLE amad_watch_member, amad_watch_owner, amad_watch_writer, amad_watch_stranger;

-- a publication of all tables: rows of tables without a replica identity could not be deleted
SET client_min_messages = error;
CREATE TABLE published (device int, ts timestamptz, a float8, b float8);
INSERT INTO published SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) FROM generate_series(0, 499) i, generate_series(1, 2) d;
SELECT amad_train('p', 'published', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
CREATE PUBLICATION amad_all FOR ALL TABLES;
SELECT amad_watch('p', target => 'published_scores')->'changes' AS changes;
CALL amad_refresh('p');
INSERT INTO published VALUES (1, '2026-05-01 09:00', 30, 3);
CALL amad_refresh('p', since => '2026-05-01 08:00');
SELECT count(*) FROM published_scores;
SELECT state, message FROM amad_runs JOIN amad_watches USING (watch) WHERE model_name = 'p' ORDER BY run;
SELECT amad_drop('p');
DROP PUBLICATION amad_all;
DROP TABLE published, published_scores CASCADE;
RESET client_min_messages;
