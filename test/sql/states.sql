--
-- States: rows that are unlike those of the training have higher scores.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA states_test;
SET search_path = states_test, public, helpers;

-- A machine that idles or works, 1,200 rows with occasional spikes; among the last 300 rows are 40 in a new state, with
-- one feature as at work and the other as when idle, each within its range.
CREATE TABLE r AS
SELECT n, timestamptz '2026-01-01' + n * interval '1 min' AS ts,
	CASE WHEN working OR n BETWEEN 1100 AND 1139 THEN 10 ELSE 0 END + noise + spike AS load,
	CASE WHEN working AND n NOT BETWEEN 1100 AND 1139 THEN 80 ELSE 20 END + 3 * noise AS heat,
	n BETWEEN 1100 AND 1139 AS bad
FROM generate_series(1, 1200) n,
	LATERAL (SELECT (n / 37) % 3 = 0 AS working, (hashint4(n) % 1000) / 1000.0 AS noise,
		CASE WHEN n % 211 = 0 THEN 60 ELSE 0 END AS spike) x;
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged('{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 60, "season": "none",
		"advanced": {"batch_size": 4}}', more) $$;
CREATE TABLE m AS SELECT w, amad_fit(small(advanced('state_weight', w)), ts, load, heat) AS model
FROM r, unnest('{0,0.25,0.5,1}'::numeric[]) w WHERE n <= 900 GROUP BY w;

-- ---- the model

-- three tensors and a scale, unless their weight is 0
SELECT w, (d->>'weights')::int - first_value((d->>'weights')::int) OVER (ORDER BY w) AS more_weights,
	d->'calibration' ? 'mu_s' AS mu_s,
		(SELECT count(*) FROM amad_weights(model) t WHERE t.name LIKE 'states.%') AS tensors
FROM m, LATERAL amad_describe(model) d ORDER BY w;
-- the network and the states do not depend on their weight
SELECT count(DISTINCT d) AS different
FROM (SELECT md5(string_agg(t::text, ' ' ORDER BY t.name)) AS d FROM m, amad_weights(model) t WHERE w > 0 GROUP BY w) x;
SELECT count(*) AS tensors FROM m a, m b, amad_weights(a.model) x, amad_weights(b.model) y
WHERE a.w = 0 AND b.w = 0.5 AND x = y;
-- a feature is weighted by its range: load has spikes
SELECT data[1] < data[2] AS load_less FROM m, amad_weights(model) WHERE w = 0.5 AND name = 'states.weight';
-- the same seed gives the same states, another seed other states
CREATE TABLE seeds AS SELECT seed,
	amad_fit(small(jsonb_build_object('seed', seed % 2, 'steps', 1)), ts, load, heat) AS model
FROM r, generate_series(1, 4) seed WHERE n <= 900 GROUP BY seed;
SELECT count(DISTINCT md5(data::text)) AS different FROM seeds, amad_weights(model) WHERE name = 'states.centre';
-- baselines do not have states
SELECT amad_describe(amad_fit('{"method": "pca", "advanced": {"state_weight": 1}}'::jsonb, ts, load, heat))
	->'calibration' ? 'mu_s' AS pca FROM r;

-- ---- evidence

CREATE TABLE results AS SELECT w, n, bad, (e).severity, (e).anomaly_score, (e).contributions
FROM (SELECT w, n, bad, amad_explain(model, ts, load, heat) OVER (PARTITION BY w ORDER BY ts) AS e
	FROM m, r OFFSET 0) x;
-- the network gets used to the anomaly; states raise the scores of its later rows, but not those of the other rows
SELECT w, later / first_value(later) OVER (ORDER BY w) > 1 + w AS stands_out,
	normal / first_value(normal) OVER (ORDER BY w) < 1.2 AS quiet
FROM (SELECT w, avg(anomaly_score) FILTER (WHERE n BETWEEN 1120 AND 1139) AS later,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY anomaly_score) FILTER (WHERE NOT bad AND n > 940) AS normal
	FROM results GROUP BY w) x ORDER BY w;
-- the average precision is better
SELECT (amad_evaluate(severity, bad ORDER BY n) FILTER (WHERE w = 0.5)->>'auc_pr')::float8
	> (amad_evaluate(severity, bad ORDER BY n) FILTER (WHERE w = 0)->>'auc_pr')::float8 AS better FROM results;
-- contributions are shares of the residuals, as without states
SELECT count(*) AS rows, bool_and(abs(total(contributions) - 1) < 1e-6) AS sum_to_one
FROM results WHERE w = 0.5 AND n BETWEEN 1100 AND 1110;

-- ---- a row's score does not depend on where reading begins

SELECT count(*) AS rows, count(*) FILTER (WHERE x.s IS DISTINCT FROM y.severity) AS differ
FROM (SELECT n, amad_score(model, ts, load, heat) OVER (ORDER BY ts) AS s FROM m, r WHERE w = 0.5 AND n >= 700) x
	JOIN results y USING (n) WHERE y.w = 0.5 AND x.s IS NOT NULL;

-- ---- degenerate rows

-- a constant that changes, few distinct rows, an outlier: scores are finite, and the change is found
CREATE TABLE d AS SELECT n, CASE WHEN n > 500 THEN 8 ELSE 7 END AS constant, n % 2 AS flag,
	CASE WHEN n = 550 THEN 1e30 ELSE sin(n) END AS far FROM generate_series(1, 600) n;
CREATE TABLE dm AS SELECT amad_fit(small(), n, constant, flag) AS constant, amad_fit(small(), n, far, flag) AS far
FROM d WHERE n <= 500;
CREATE TABLE ds AS
SELECT 'constant' AS what, n, amad_score(dm.constant, n, d.constant, flag) OVER (ORDER BY n) AS s FROM d, dm
UNION ALL SELECT 'far', n, amad_score(dm.far, n, d.far, flag) OVER (ORDER BY n) FROM d, dm;
SELECT what, count(s) AS scored, count(*) FILTER (WHERE s = 'Infinity' OR s = 'NaN') AS not_finite,
	max(s) FILTER (WHERE n > 500) > 1 AS found
FROM ds GROUP BY what ORDER BY what;
-- fewer windows than states
SELECT amad_describe(amad_fit(small('{"steps": 1, "window": 2, "horizons": [1, 2], "validation_fraction": 0.9,
	"advanced": {"chunk_length": 4}}'), n, constant, far))->'calibration' ? 'mu_s' AS few FROM d WHERE n <= 60;
-- no window: two rows to train on
SELECT (amad_describe(amad_fit('{"window": 1, "d_model": 4, "heads": 1, "layers": 1, "steps": 1, "horizons": [1],
	"validation_fraction": 0.9, "season": "none", "advanced": {"batch_size": 1, "chunk_length": 2, "ahead": 0}}'::jsonb,
	n, constant, far))->'calibration'->>'mu_s')::float8 > 0 AS none FROM d WHERE n <= 30;

-- ---- text form, retraining

SELECT amad_train('states', small('{"advanced": {"state_weight": 0}}'), ts, load, heat)->'version' AS version FROM r
WHERE n <= 900;
SELECT amad_train('states', small(), ts, load, heat)->'version' AS version FROM r WHERE n <= 900;
SELECT version, options->'advanced'->'state_weight' AS state_weight, round_trip(model)
FROM amad_models WHERE model_name = 'states' ORDER BY version;
SELECT amad_drop('states');

SET client_min_messages = warning;
DROP SCHEMA states_test CASCADE;
