--
-- Held-out rows: blocks spread over each series, which the network does not learn; and severities.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA held_out_test;
SET search_path = held_out_test, public, helpers;

-- ---- which rows

CREATE TABLE r AS SELECT n, sin(n * 0.3) + noise(n) AS a, cos(n * 0.17) + noise(-n) AS b FROM generate_series(1, 1000) n;
-- the share of the rows; at least twice the longest horizon, and nothing in the warm-up
SELECT f, h, (d->'training'->>'held_out')::int AS held_out, by_hand
FROM unnest('{0.01,0.1,0.25,0.9}'::numeric[]) f, unnest('{2,16,64}'::int[]) h,
	LATERAL (SELECT amad_describe(amad_fit(tiny(jsonb_build_object('validation_fraction', f, 'horizons', ARRAY[h], 'steps', 1)),
		n, a, b)) AS d FROM r) x,
	LATERAL (SELECT count(*) AS by_hand FROM r WHERE is_held_out(n, 1000, f, 2 * h, 22 + h - 1)) y ORDER BY f, h;
-- blocks are spread over the series
SELECT count(*) AS blocks, min(rows) AS rows, max(rows) AS rows_too, min(first) AS first, max(first + rows - 1) AS last
FROM (SELECT min(n) AS first, count(*) AS rows FROM (SELECT n, n - row_number() OVER (ORDER BY n) AS island FROM r
	WHERE is_held_out(n, 1000, 0.1, 8, 25)) x GROUP BY island) y;
-- They have no loss: random values there do not raise it, random values in as many other rows do.
CREATE FUNCTION loss(o jsonb, condition text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE result float8;
BEGIN
	EXECUTE format($q$ SELECT (amad_describe(amad_fit($1, n, CASE WHEN %s THEN 9 * noise(7 * n) ELSE sin(n * 0.3) END))
		->'training'->'loss'->>-1)::float8 FROM r $q$, condition) INTO result USING o;
	RETURN result;
END $$;
CREATE TABLE losses AS SELECT what, loss(tiny('{"steps": 300, "validation_fraction": 0.1, "advanced": {"ahead": 0, "input_missing": 0,
	"input_outliers": 0, "contrast_weight": 0, "maxmin_weight": 0, "chunk_length": 16}}'), condition) AS loss
FROM (VALUES ('held out', 'is_held_out(n, 1000, 0.1, 8, 25)'), ('learned', 'is_held_out(n + 50, 1000, 0.1, 8, 25)')) v(what, condition);
SELECT x.loss > 3 * y.loss AS learned FROM losses x, losses y WHERE x.what = 'learned' AND y.what = 'held out';

-- ---- each series has its own blocks

-- In each series a third of the time is different: both what is learned and what is held out contain it, so that few of
-- the next rows are flagged.
CREATE TABLE phases AS SELECT s, n, sin(n * 0.3) * CASE WHEN n % 1200 BETWEEN s * 400 AND s * 400 + 399 THEN 5 ELSE 1 END
	+ 0.3 * noise(n * 3 + s) AS a
FROM generate_series(0, 2) s, generate_series(0, 2399) n;
SELECT s->'rows' AS rows, s->'series' AS series FROM amad_train('phases',
	'SELECT * FROM held_out_test.phases WHERE n < 1200', 'n', '{a}', '{s}', options => tiny('{"steps": 100, "validation_fraction": 0.1}')) s;
SELECT (amad_describe('phases')->'training'->>'held_out')::int AS held_out,
	(SELECT 3 * count(*) FROM generate_series(1, 1200) n WHERE is_held_out(n, 1200, 0.1, 8, 25)) AS by_hand;
SELECT series, avg(is_anomaly::int) < 0.02 AS few
FROM amad_detect_bigint('phases', since => 1200, source => 'phases') GROUP BY series ORDER BY series;

-- ---- severities

-- the value of one row grows: so does the severity, which exceeds 1 where the score exceeds the threshold
SELECT amad_train('spike', tiny('{"method": "zscore", "horizons": [1], "advanced": {"clip": 1000}}'), n, a) IS NOT NULL AS trained
FROM r;
CREATE TABLE spikes AS
SELECT size, (e).* FROM (SELECT size, n, amad_explain('spike', n, CASE WHEN n = 50 THEN size ELSE a END)
	OVER (PARTITION BY size ORDER BY n) AS e FROM r, (SELECT 1.2::float8 ^ i AS size FROM generate_series(1, 32) i) s WHERE n <= 50) x
WHERE n = 50;
SELECT count(*) AS spikes, bool_and(severity > before) AS grows, bool_and(anomaly_score > score_before) AS score,
	max(severity) BETWEEN 5 AND 20 AS readable, count(DISTINCT is_anomaly) AS both,
	bool_and(is_anomaly = (anomaly_score > threshold)) AS above_threshold
FROM (SELECT *, lag(severity, 1, 0) OVER (ORDER BY size) AS before, lag(anomaly_score, 1, 0) OVER (ORDER BY size) AS score_before
	FROM spikes WHERE size > 1.8) x;
-- rows whose scores are all the same are no anomalies
SELECT count(*) AS rows, count(DISTINCT severity) AS severities, count(*) FILTER (WHERE is_anomaly) AS anomalies
FROM (SELECT (amad_explain(model, n, n % 2) OVER (ORDER BY n)).* FROM r, (SELECT amad_fit('{"method": "zscore", "horizons": [1]}'::jsonb,
	n, n % 2) AS model FROM r) m) x;

SELECT amad_drop('phases'), amad_drop('spike');
SET client_min_messages = warning;
DROP SCHEMA held_out_test CASCADE;
