-- Watches of narrow tables: rows of other metrics have no effect, and buckets are scored when they have ended.
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
  SELECT '{"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 3, "horizons": [2, 4]}'::jsonb $$;
-- stored scores that amad_detect does not compute, or that are missing on either side
CREATE FUNCTION wrong(model text) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN
  EXECUTE format('SELECT count(*) FROM %I s FULL JOIN (SELECT (series->>''device'')::int AS device, * FROM amad_detect(%L)) d
    ON s.device = d.device AND s.ts = d.ts WHERE s.ts IS NULL OR d.ts IS NULL
    OR float8send(s.severity) IS DISTINCT FROM float8send(d.severity) OR s.status IS DISTINCT FROM d.status', model || '_scores', model) INTO n;
  RETURN n; END $$;
CREATE TABLE samples (device int, ts timestamptz, metric text, value float8);
INSERT INTO samples
  SELECT d, timestamptz '2024-05-01' + i * interval '20 s', metric, sin(i * 0.07 + d) + length(metric)
  FROM generate_series(0, 899) i, generate_series(1, 2) d, unnest('{a,bb}'::text[]) metric;
CREATE INDEX ON samples (device, ts);

-- ---- without buckets ---------------------------------------------------------------------

SELECT amad_train('n', 'samples', feature_cols => '{a,bb}', series_cols => '{device}', metric_col => 'metric', value_col => 'value', options => tiny())->'version' AS version;
-- many times that have another metric only
INSERT INTO samples SELECT d, timestamptz '2024-05-01' + i * interval '1 s', 'other', 1 FROM generate_series(0, 17999) i, generate_series(1, 2) d;
SELECT amad_watch('n')->'target' AS target;
CALL amad_refresh('n');
SELECT count(*), wrong('n') FROM n_scores;
UPDATE samples SET value = value + 5 WHERE device = 1 AND ts BETWEEN '2024-05-01 02:00:00' AND '2024-05-01 02:00:30';
CALL amad_refresh('n');
SELECT rows_scored FROM amad_runs ORDER BY started DESC LIMIT 1;
SELECT wrong('n');
DELETE FROM samples WHERE metric IN ('a', 'bb') AND ts = '2024-05-01 01:00:00';
CALL amad_refresh('n');
SELECT wrong('n');
SELECT amad_unwatch('n');

-- ---- with buckets --------------------------------------------------------------------------

SELECT amad_train('b', 'samples', feature_cols => '{a,bb}', series_cols => '{device}', metric_col => 'metric', value_col => 'value', bucket => '1 min', options => tiny())->'version' AS version;
SELECT amad_watch('b', delay => '10 s')->'target' AS target;
-- a bucket that has not ended for as long as delay waits
CALL amad_refresh('b', as_of => '2024-05-01 02:00:09');
SELECT max(ts) FROM b_scores;
CALL amad_refresh('b', as_of => '2024-05-01 02:00:10');
SELECT max(ts) FROM b_scores;
CALL amad_refresh('b');
SELECT count(*), max(ts), wrong('b') FROM b_scores;
UPDATE samples SET value = value + 5 WHERE device = 1 AND ts BETWEEN '2024-05-01 02:00:30' AND '2024-05-01 02:01:10';
CALL amad_refresh('b');
SELECT rows_scored FROM amad_runs ORDER BY started DESC LIMIT 1;
SELECT wrong('b');
-- buckets without rows, and with the rows of other metrics only
DELETE FROM samples WHERE device = 2 AND ts BETWEEN '2024-05-01 02:00:10' AND '2024-05-01 02:10:50';
DELETE FROM samples WHERE device = 1 AND metric <> 'other' AND ts BETWEEN '2024-05-01 03:00:10' AND '2024-05-01 03:03:50';
CALL amad_refresh('b');
SELECT wrong('b');
UPDATE samples SET ts = ts + interval '90 s' WHERE device = 2 AND ts BETWEEN '2024-05-01 03:00:10' AND '2024-05-01 03:10:50';
CALL amad_refresh('b');
SELECT wrong('b');
-- part of a bucket
UPDATE b_scores SET severity = 77 WHERE ts = '2024-05-01 04:00';
CALL amad_refresh('b', since => '2024-05-01 04:00:20', until => '2024-05-01 04:00:40');
SELECT wrong('b');
-- polled
SELECT amad_watch('b', late => '5 min')->'changes' AS changes;
INSERT INTO samples SELECT 1, timestamptz '2024-05-01 05:00' + i * interval '20 s', 'a', 1 FROM generate_series(0, 99) i;
CALL amad_refresh('b', as_of => '2024-05-01 05:20:15');
SELECT max(ts) FROM b_scores;
CALL amad_refresh('b', as_of => '2024-05-02');
SELECT wrong('b');
CALL amad_refresh('b', as_of => 'infinity');
UPDATE samples SET value = value + 1 WHERE ts > '2024-05-01 05:30';
CALL amad_refresh('b', as_of => 'infinity');
SELECT wrong('b');

-- another width: everything is scored again
SELECT amad_train('b', 'samples', feature_cols => '{a,bb}', series_cols => '{device}', metric_col => 'metric', value_col => 'value', bucket => '90 s', options => tiny())->'version' AS version;
CALL amad_refresh('b', as_of => '2024-05-02');
SELECT count(DISTINCT model_version), wrong('b') FROM b_scores;
SELECT notices FROM amad_runs ORDER BY started DESC LIMIT 1;
CALL amad_refresh('b', as_of => '2024-05-02');
SELECT notices FROM amad_runs ORDER BY started DESC LIMIT 1;

-- ---- dates, and integers, whose newest bucket is scored at once -------------------------------

CREATE TABLE days AS SELECT d AS device, date '2024-01-01' + i AS ts, metric, sin(i * 0.3 + d) AS value
  FROM generate_series(0, 399) i, generate_series(1, 2) d, unnest('{a,bb}'::text[]) metric;
SELECT amad_train('d', 'days', feature_cols => '{a,bb}', series_cols => '{device}', metric_col => 'metric', value_col => 'value', bucket => '2 days', options => tiny())->'version' AS version;
SELECT amad_watch('d')->'target' AS target;
CALL amad_refresh('d', as_of => '2024-12-31');
SELECT max(ts) FROM d_scores;
INSERT INTO days VALUES (1, '2024-06-01', 'a', 9);
CALL amad_refresh('d');
SELECT wrong('d');
CREATE TABLE ticks AS SELECT d AS device, i AS ts, metric, sin(i * 0.3 + d) AS value
  FROM generate_series(0, 999) i, generate_series(1, 2) d, unnest('{a,bb}'::text[]) metric;
SELECT amad_train('i', 'ticks', 'ts', feature_cols => '{a,bb}', series_cols => '{device}', metric_col => 'metric', value_col => 'value', bucket => '10', options => tiny())->'version' AS version;
SELECT amad_watch('i')->'target' AS target;
CALL amad_refresh('i');
INSERT INTO ticks VALUES (1, 1003, 'a', 9);
UPDATE ticks SET value = 4 WHERE ts = 503;
CALL amad_refresh('i');
SELECT max(s.ts), count(*) FILTER (WHERE float8send(s.severity) IS DISTINCT FROM float8send(d.severity)) AS wrong, count(*) FILTER (WHERE s.ts IS NULL OR d.ts IS NULL) AS missing
FROM i_scores s FULL JOIN amad_detect_bigint('i') d ON s.device = (d.series->>'device')::int AND s.ts = d.ts;

SELECT amad_drop(m) FROM unnest('{n,b,d,i}'::text[]) m;
DROP TABLE samples, days, ticks, n_scores, b_scores, d_scores, i_scores CASCADE;
DROP FUNCTION tiny, wrong;
\set VERBOSITY default
