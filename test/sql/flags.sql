--
-- Flags: features of two values at most, which weigh less where they are many.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA flags_test;
SET search_path = flags_test, public, helpers;

-- One signal and eight switches that change by chance; the signal is anomalous from 1300 to 1319.
CREATE FUNCTION noise(n int, k int) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
	SELECT hashint4(n * 11 + k) % 1000 / 1000.0 $$;
CREATE FUNCTION switches(n int) RETURNS float8[] IMMUTABLE LANGUAGE sql AS $$
	SELECT array_agg((noise(n / 10, k) > 0.7)::int::float8 ORDER BY k) FROM generate_series(2, 9) k $$;
CREATE TABLE r AS
SELECT n, timestamptz '2026-01-01' + n * interval '1 min' AS ts, n BETWEEN 1300 AND 1319 AS bad,
	ARRAY[sin(n / 9.0) + 0.1 * noise(n, 1) + CASE WHEN n BETWEEN 1300 AND 1319 THEN 0.8 ELSE 0 END] || switches(n) AS x
FROM generate_series(1, 1400) n;
CREATE FUNCTION small(more jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged('{"window": 16, "d_model": 16, "heads": 2, "layers": 1, "steps": 60, "season": "none",
		"horizons": [4, 16], "advanced": {"batch_size": 4}}', more) $$;
CREATE TABLE m AS SELECT w, amad_fit(small(advanced('flag_weight', w)), ts, x) AS model
FROM r, unnest('{0.1,10000}'::numeric[]) w WHERE n <= 1000 GROUP BY w;

-- ---- which features are flags

-- the switches, with any weight
SELECT w, amad_describe(model)->'flags' AS flags FROM m ORDER BY w;
-- the weight changes the states, and not the network
SELECT count(*) FILTER (WHERE x.name NOT LIKE 'states.%') AS network,
	count(*) FILTER (WHERE x.name LIKE 'states.%') AS states
FROM m a, m b, amad_weights(a.model) x, amad_weights(b.model) y
WHERE a.w = 0.1 AND b.w = 10000 AND x.name = y.name AND x.data IS DISTINCT FROM y.data;
-- constants are flags, and so is a feature with a second value in one row; one with three values is not; missing values
-- do not count
CREATE TABLE kinds AS
SELECT n, noise(n, 1) AS signal, 7 AS constant, (n = 300)::int AS once,
	CASE n WHEN 1 THEN 0 WHEN 2 THEN 1 ELSE 2 END AS three,
	CASE WHEN n % 2 = 0 THEN 1 END AS missing, 1e10 + n % 2 AS large
FROM generate_series(1, 300) n;
SELECT amad_describe(amad_fit(
	small('{"steps": 1, "features": ["signal", "constant", "once", "three", "missing", "large"]}'), n, signal, constant,
		once, three, missing, large))->'flags' AS flags FROM kinds;
-- in a fleet, features with two values in each series, which may be others in another series
CREATE TABLE fleet AS
SELECT s, n, noise(n, 1) + s AS a, s + n % 2 AS b, s * (n % 2) AS c, CASE WHEN s = 0 THEN n % 2 ELSE n % 3 END AS d
FROM generate_series(0, 2) s, generate_series(1, 300) n;
SELECT amad_train('flags', 'flags_test.fleet', 'n', '{a,b,c,d}', '{s}',
	options => small('{"steps": 1}'))->'series' AS series;
SELECT amad_describe('flags')->'flags' AS flags;
-- outliers in the training are values, even if states and network see them clipped
SELECT amad_describe(amad_fit(small('{"steps": 1, "advanced": {"state_weight": 0, "clip": 1}}'), n,
	noise(n, 1), CASE WHEN n % 100 = 0 THEN 300 + n ELSE 0 END))->'flags' AS flags
FROM generate_series(1, 1000) n;
-- baselines have flags
CREATE TABLE baselines AS SELECT w, amad_fit('{"method": "zscore"}' || advanced('flag_weight', w), n, x) AS model
FROM r, unnest('{0.1,10000}'::numeric[]) w WHERE n <= 500 GROUP BY w;
SELECT w, amad_describe(model)->'flags' AS flags FROM baselines ORDER BY w;

-- ---- weights

CREATE TABLE results AS SELECT w, n, bad, (e).severity, (e).contributions
FROM (SELECT w, n, bad, amad_explain(model, ts, x) OVER (PARTITION BY w ORDER BY ts) AS e FROM m, r OFFSET 0) x;
-- the anomaly is found if flags have little weight
SELECT w, (amad_evaluate(severity, bad ORDER BY n)->>'auc_pr')::float8 > 0.5 AS found
FROM results WHERE n > 1000 GROUP BY w ORDER BY w;
-- if flags have little weight, the signal has most of the evidence of normal rows
SELECT w, avg((contributions->>'1')::float8) > 0.5 AS signal FROM results WHERE n BETWEEN 1001 AND 1299 GROUP BY w
ORDER BY w;
SELECT w, count(*) AS rows, bool_and(abs(total(contributions) - 1) < 1e-5) AS sum_to_one
FROM results WHERE n BETWEEN 1300 AND 1310 GROUP BY w ORDER BY w;
-- one flag among eleven features weighs as much as the others: flag_weight has no effect
CREATE TABLE one AS SELECT n, ARRAY[n % 2] || (SELECT array_agg(noise(n, k)) FROM generate_series(1, 10) k) AS y
FROM generate_series(1, 400) n;
CREATE TABLE one_m AS SELECT w, amad_fit(small(merged('{"steps": 2}', advanced('flag_weight', w))), n, y) AS model
FROM one, unnest('{0.1,10000}'::numeric[]) w WHERE n <= 300 GROUP BY w;
SELECT count(*) AS rows, count(DISTINCT s) = count(*) / 2 AS same
FROM (SELECT n, amad_score(model, n, y) OVER (PARTITION BY w ORDER BY n) AS s FROM one, one_m) x WHERE s IS NOT NULL;
-- nor has it in baselines
SELECT count(s) AS rows, count(DISTINCT s) = count(s) / 2 AS same
FROM (SELECT amad_score(model, n, x) OVER (PARTITION BY w ORDER BY n) AS s FROM r, baselines) x;
-- if all features are flags, the scores are finite and a new value is found
CREATE TABLE alike AS SELECT n, CASE WHEN n > 350 THEN 5 ELSE n % 2 END AS a, n / 3 % 2 AS b
FROM generate_series(1, 400) n;
CREATE TABLE alike_m AS SELECT amad_fit(small('{"steps": 2}'), n, a, b) AS model FROM alike WHERE n <= 300;
SELECT count(*) FILTER (WHERE s = 'NaN' OR s = 'Infinity') AS not_finite, max(s) FILTER (WHERE n > 350) > 1 AS found
FROM (SELECT n, amad_score(model, n, a, b) OVER (ORDER BY n) AS s FROM alike, alike_m) x;

-- ---- text form

SELECT version, round_trip(model) FROM amad_models WHERE model_name = 'flags';
SELECT amad_drop('flags');

SET client_min_messages = warning;
DROP SCHEMA flags_test CASCADE;
