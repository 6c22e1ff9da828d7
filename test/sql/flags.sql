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

-- One signal and eight switches that change by chance; the signal is strange from 1300 to 1319.
CREATE FUNCTION noise(n int, k int) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT hashint4(n * 11 + k) % 1000 / 1000.0 $$;
CREATE FUNCTION switches(n int) RETURNS float8[] IMMUTABLE LANGUAGE sql AS $$ SELECT array_agg((noise(n / 10, k) > 0.7)::int::float8 ORDER BY k) FROM generate_series(2, 9) k $$;
CREATE TABLE r AS
SELECT n, timestamptz '2026-01-01' + n * interval '1 min' AS ts, n BETWEEN 1300 AND 1319 AS bad,
	ARRAY[sin(n / 9.0) + 0.1 * noise(n, 1) + CASE WHEN n BETWEEN 1300 AND 1319 THEN 0.8 ELSE 0 END] || switches(n) AS x
FROM generate_series(1, 1400) n;
CREATE FUNCTION small(more jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged('{"window": 16, "d_model": 16, "heads": 2, "layers": 1, "steps": 60, "season": "none", "horizons": [4, 16], "advanced": {"batch_size": 4}}', more) $$;
CREATE TABLE m AS SELECT w, amad_fit(small(advanced('flag_weight', w)), ts, x) AS model
FROM r, unnest('{0.1,10000}'::numeric[]) w WHERE n <= 1000 GROUP BY w;

-- ---- which they are

SELECT w, amad_describe(model)->'flags' AS flags FROM m ORDER BY w;
-- the network is the same, the states are not
SELECT count(*) FILTER (WHERE x.name NOT LIKE 'states.%') AS network, count(*) FILTER (WHERE x.name LIKE 'states.%') AS states
FROM m a, m b, amad_weights(a.model) x, amad_weights(b.model) y WHERE a.w = 0.1 AND b.w = 10000 AND x.name = y.name AND x.data IS DISTINCT FROM y.data;
-- constants are; so is what has a second value in one row; a third one makes it none; a missing one is no value
SELECT amad_describe(amad_fit(small('{"steps": 1, "features": ["signal", "constant", "once", "three", "missing", "names"]}'), n, noise(n, 1), 7, (n = 300)::int, CASE n WHEN 1 THEN 0 WHEN 2 THEN 1 ELSE 2 END,
	CASE WHEN n % 2 = 0 THEN 1 END, 1e10 + n % 2))->'flags' AS flags FROM generate_series(1, 300) n;
-- in each series, whatever its two values
SELECT amad_train('flags', $$ SELECT s, n, noise(n, 1) + s AS a, s + n % 2 AS b, s * (n % 2) AS c, CASE WHEN s = 0 THEN n % 2 ELSE n % 3 END AS d FROM generate_series(0, 2) s, generate_series(1, 300) n $$,
	'n', '{a,b,c,d}', '{s}', options => small('{"steps": 1}'))->'series' AS series;
SELECT amad_describe('flags')->'flags' AS flags;
-- baselines know them, and weigh them alike
SELECT amad_describe(p)->'flags' AS flags, p_score = z_score AS same FROM (SELECT amad_fit('{"method": "zscore", "advanced": {"flag_weight": 0.1}}'::jsonb, n, x) AS p, amad_fit('{"method": "zscore", "advanced": {"flag_weight": 10000}}'::jsonb, n, x) AS z FROM r WHERE n <= 500) f,
	LATERAL (SELECT sum(a) AS p_score, sum(b) AS z_score FROM (SELECT amad_score(p, n, x) OVER (ORDER BY n) AS a, amad_score(z, n, x) OVER (ORDER BY n) AS b FROM r) y) s;

-- ---- what they weigh

CREATE TABLE said AS SELECT w, n, bad, (e).severity, (e).contributions FROM (SELECT w, n, bad, amad_explain(model, ts, x) OVER (PARTITION BY w ORDER BY ts) AS e FROM m, r OFFSET 0) x;
SELECT w, (amad_evaluate(severity, bad ORDER BY n)->>'auc_pr')::float8 > 0.5 AS found FROM said WHERE n > 1000 GROUP BY w ORDER BY w;
-- the mean share of the signal where nothing is strange: that of the flags is a tenth of it at most
SELECT w, avg((contributions->>'1')::float8) > 0.5 AS signal FROM said WHERE n BETWEEN 1001 AND 1299 GROUP BY w ORDER BY w;
SELECT w, count(*) AS rows, bool_and(abs((SELECT sum(value::float8) FROM jsonb_each_text(to_jsonb(contributions))) - 1) < 1e-5) AS sum_to_one FROM said WHERE n BETWEEN 1300 AND 1310 GROUP BY w ORDER BY w;
-- one flag beside ten other features weighs as much as they do: nothing changes
CREATE TABLE one AS SELECT n, ARRAY[n % 2] || (SELECT array_agg(noise(n, k)) FROM generate_series(1, 10) k) AS y FROM generate_series(1, 400) n;
SELECT count(*) AS rows, count(DISTINCT s) = count(*) / 2 AS same FROM (
	SELECT n, amad_score(model, n, y) OVER (PARTITION BY w ORDER BY n) AS s
	FROM one, (SELECT w, amad_fit(small(merged('{"steps": 2}', advanced('flag_weight', w))), n, y) AS model FROM one, unnest('{0.1,10000}'::numeric[]) w WHERE n <= 300 GROUP BY w) f) x WHERE s IS NOT NULL;
-- values that were far away in training are values like others, whatever the states weigh and the network sees
SELECT amad_describe(amad_fit(small('{"steps": 1, "advanced": {"state_weight": 0, "clip": 1}}'), n, noise(n, 1), CASE WHEN n % 100 = 0 THEN 300 + n ELSE 0 END))->'flags' AS flags FROM generate_series(1, 1000) n;
-- all are flags: they weigh alike
SELECT count(*) FILTER (WHERE s = 'NaN' OR s = 'Infinity') AS strange, max(s) FILTER (WHERE n > 350) > 1 AS found FROM (
	SELECT n, amad_score((SELECT amad_fit(small('{"steps": 2}'), n, n % 2, n / 3 % 2) FROM generate_series(1, 300) n), n, CASE WHEN n > 350 THEN 5 ELSE n % 2 END, n / 3 % 2) OVER (ORDER BY n) AS s FROM generate_series(1, 400) n) x;

-- ---- kept

SELECT version, amad_model_send(model::text::amad_model) = amad_model_send(model) AS round_trip FROM amad_models WHERE model_name = 'flags';
SELECT amad_drop('flags');

DROP SCHEMA flags_test CASCADE;
