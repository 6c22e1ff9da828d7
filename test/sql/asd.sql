--
-- Real data: a model of 30 days of 19 server metrics ranks the labelled anomalies of the next 15 days far above chance
-- and finds the two obvious ones. The model and its scores are the same each time, with any number of workers, for all
-- rows and for parts of them.
--
\getenv abs_srcdir PG_ABS_SRCDIR
SET timezone = 'UTC';
CREATE TABLE train (
	ts timestamptz, f0 float8, f1 float8, f2 float8, f3 float8, f4 float8, f5 float8, f6 float8, f7 float8, f8 float8,
	f9 float8, f10 float8, f11 float8, f12 float8, f13 float8, f14 float8, f15 float8, f16 float8, f17 float8,
		f18 float8);
CREATE TABLE test (LIKE train, label int);
\set cmd 'gzip -dc ' :abs_srcdir '/data/ASD/omi-2/train.csv.gz'
COPY train FROM PROGRAM :'cmd' (FORMAT csv, HEADER);
\set cmd 'gzip -dc ' :abs_srcdir '/data/ASD/omi-2/test.csv.gz'
COPY test FROM PROGRAM :'cmd' (FORMAT csv, HEADER);
SELECT (SELECT count(*) FROM train) AS train, count(*) AS test, sum(label) AS labelled FROM test;
\set features 'f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18'

-- ---- quality, after a tenth of the usual training

SELECT s - '{loss,threshold,seconds,workers,core}'::text[] AS summary
FROM (SELECT amad_train('omi-2', '{"steps": 60}', ts, :features) AS s FROM train) x;
SELECT count(*) AS points, (array_agg(loss::float8))[1] > 3 * (array_agg(loss::float8))[count(*)] AS learns
FROM jsonb_array_elements(amad_describe('omi-2')->'training'->'loss') loss;
CREATE TABLE scored AS
SELECT ts, label, amad_score('omi-2', ts, :features) OVER (ORDER BY ts) AS severity FROM test;
SELECT count(*) AS rows, count(*) FILTER (WHERE severity IS NULL) AS warmup FROM scored;
-- average precision; a random score has .013
WITH ranked AS (
	SELECT label, sum(label) OVER w AS hits, count(*) OVER w AS n
	FROM scored WHERE severity IS NOT NULL WINDOW w AS (ORDER BY severity DESC)
)
SELECT sum(label * hits::numeric / n) / sum(label) > 0.4 AS precise, round(avg(label), 3) AS random FROM ranked;
-- anomalies are runs of labelled rows: the second and the third are obvious, and are found within half an hour
WITH marked AS (
	SELECT *, ts - lag(ts) OVER (ORDER BY ts) > '5 min' AS begins FROM scored WHERE label = 1
), numbered AS (
	SELECT *, 1 + count(*) FILTER (WHERE begins) OVER (ORDER BY ts) AS anomaly FROM marked
)
SELECT anomaly, min(ts) AS start_ts, count(*) AS rows, max(severity) > 2 AS found,
	min(ts) FILTER (WHERE severity > 1) - min(ts) <= '30 min' AS soon
FROM numbered WHERE anomaly IN (2, 3) GROUP BY anomaly ORDER BY anomaly;
SELECT avg((severity > 1)::int) < 0.1 AS few_false_alarms FROM scored WHERE label = 0;

-- ---- the same each time

SET amad.max_parallel_workers = 0;
SELECT md5(amad_fit('{"steps": 20}', ts, :features)::text) AS alone FROM train \gset
SET amad.max_parallel_workers = 1;
SELECT md5(amad_fit('{"steps": 20}', ts, :features ORDER BY f0)::text) = :'alone' AS same FROM train;
SET amad.max_parallel_workers = 3;
SELECT md5(amad_fit('{"steps": 20}', ts, :features)::text) = :'alone' AS same FROM train;
RESET amad.max_parallel_workers;
-- a single day, after its 172 rows of warm-up, and days as partitions of a query
SELECT count(*) AS rows, count(d.severity) AS scored, bool_and(d.severity = s.severity) AS same
FROM (SELECT ts, amad_score('omi-2', ts, :features) OVER (ORDER BY ts) AS severity FROM test
	  WHERE ts >= timestamptz '2024-02-02 00:00+00' - 172 * interval '5 min' AND ts < '2024-02-03 00:00+00') d
JOIN scored s USING (ts) WHERE ts >= '2024-02-02 00:00+00';
SELECT count(*) AS rows, count(d.severity) AS scored, bool_and(d.severity = s.severity) AS same
FROM (SELECT ts, amad_score('omi-2', ts, :features)
		OVER (PARTITION BY date_trunc('day', ts AT TIME ZONE 'UTC') ORDER BY ts) AS severity FROM test) d
JOIN scored s USING (ts);

DELETE FROM amad_models;
DROP TABLE train, test, scored;
