--
-- Relations: rows in which each feature looks as usual, but not together with the others.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA relations_test;
SET search_path = relations_test, public, helpers;

-- Three loads that follow one noise, and a temperature of its own. From 1300 to 1329 the second load has the noise of
-- other rows, so that it is as usual, but not beside the others. From 1401 on, a value of the second load is given in
-- every third row only.
CREATE TABLE r AS
SELECT n, timestamptz '2026-01-01' + n * interval '1 min' AS ts, n BETWEEN 1300 AND 1329 AS broken,
	10 * x + noise(n + 1000) AS a, 20 + 5 * y + 0.5 * noise(n + 2000) AS b, -3 * x + 0.3 * noise(n + 3000) AS c,
	cos(n * 0.07) + noise(n + 4000) AS d
FROM (SELECT n, noise(n) AS x, CASE WHEN n BETWEEN 1300 AND 1329 THEN noise(n - 700) ELSE noise(n) END AS y
	FROM generate_series(1, 1500) n) z;
CREATE TABLE partial AS SELECT n, ts, a, CASE WHEN n <= 1400 OR n % 3 = 0 THEN b END AS b, c, d FROM r;
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged('{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "steps": 100, "season": "none", "horizons": [1, 4],
		"features": ["a", "b", "c", "d"], "advanced": {"batch_size": 4}}', more) $$;
CREATE TABLE m AS SELECT w, amad_fit(small(advanced('relation_weight', w)), ts, a, b, c, d) AS model
FROM r, unnest('{0,10,20}'::numeric[]) w WHERE n <= 1000 GROUP BY w;

-- ---- the model

-- a matrix and figures, unless the weight is 0; the evidence is proportional to the weight
SELECT w, (SELECT shape FROM amad_weights(model) WHERE name = 'relations.precision') AS precision,
	(d->>'weights')::int - first_value((d->>'weights')::int) OVER (ORDER BY w) AS more_weights,
	d->'calibration' ? 'relation' AS relation, d->'calibration' ? 'relation_limit' AS "limit",
	jsonb_array_length(d->'calibration'->'relation_mean') AS means,
	round(((d->'calibration'->>'relation')::float8 / max((d->'calibration'->>'relation')::float8) OVER ())::numeric, 6) AS worth
FROM m, LATERAL amad_describe(model) d ORDER BY w;
-- the network and the matrix do not depend on the weight
SELECT count(*) AS tensors, bool_and(x.data = y.data) AS same
FROM m p, m q, amad_weights(p.model) x JOIN amad_weights(q.model) y USING (name) WHERE p.w = 10 AND q.w = 20;
SELECT bool_and(x.data = y.data) AS same
FROM m p, m q, amad_weights(p.model) x JOIN amad_weights(q.model) y USING (name) WHERE p.w = 0 AND q.w = 20;
-- the matrix is symmetric, its diagonal is at least 1, and loads are related
CREATE TABLE matrix AS SELECT (i - 1) / 4 + 1 AS x, (i - 1) % 4 + 1 AS y, value
FROM m, amad_weights(model) w, unnest(data) WITH ORDINALITY v(value, i) WHERE m.w = 20 AND w.name = 'relations.precision';
SELECT bool_and(abs(p.value - q.value) < 1e-4) AS symmetric, bool_and(p.value > 0.999) FILTER (WHERE p.x = p.y) AS diagonal,
	min(abs(p.value)) FILTER (WHERE p.x <> p.y AND p.x < 4 AND p.y < 4)
		> max(abs(p.value)) FILTER (WHERE p.x < 4 AND p.y = 4) AS loads
FROM matrix p JOIN matrix q ON q.x = p.y AND q.y = p.x;
SELECT w, round_trip(model) FROM m ORDER BY w;
-- a single feature has no relations, nor have more than 256, nor baselines
SELECT what, array_agg(w.name) FILTER (WHERE w.name LIKE 'relations.%') AS tensors,
	amad_describe(model)->'calibration' ? 'relation' AS relation
FROM (SELECT '1 feature' AS what, amad_fit(tiny(), n, a) AS model FROM r WHERE n <= 200
	UNION ALL SELECT i || ' features', amad_fit(tiny('{"steps": 1, "advanced": {"batch_size": 1}}'), n, v)
	FROM (SELECT i, n, array_agg(noise(n * 300 + k)) AS v FROM unnest('{256,257}'::int[]) i, generate_series(1, 60) n,
		generate_series(1, i) k GROUP BY i, n) x GROUP BY i
	UNION ALL SELECT 'pca', amad_fit('{"method": "pca"}'::jsonb, n, a, b) FROM r) x, amad_weights(model) w
GROUP BY what, model::text, amad_describe(model) ORDER BY what;
-- a constant has no relations
SELECT string_agg(round(value::numeric, 6)::text, ' ' ORDER BY i) AS third_row
FROM (SELECT amad_fit(tiny(), n, a, b, 7) AS model FROM r WHERE n <= 400) x, amad_weights(model) w,
	unnest(data) WITH ORDINALITY v(value, i) WHERE w.name = 'relations.precision' AND i > 6;

-- ---- evidence

CREATE TABLE results AS SELECT w, n, broken, (e).severity, (e).anomaly_score, (e).contributions
FROM (SELECT w, n, broken, amad_explain(model, ts, a, b, c, d) OVER (PARTITION BY w ORDER BY ts) AS e
	FROM m, r OFFSET 0) x;
-- the broken relation is found by its evidence only, and ordinary rows do not have any
SELECT w, round(avg((severity > 1)::int) FILTER (WHERE broken), 1) > 0.5 AS found,
	avg((severity > 1)::int) FILTER (WHERE n BETWEEN 1001 AND 1299) < 0.02 AS others_seldom,
	max(severity) FILTER (WHERE n < 1300) = first_value(max(severity) FILTER (WHERE n < 1300)) OVER (ORDER BY w) AS as_without
FROM results GROUP BY w ORDER BY w;
-- of the features, the one that is broken has most of the contributions
SELECT w, avg((contributions->>'b')::float8) > 0.5 AS b, avg((contributions->>'d')::float8) < 0.1 AS not_d,
	max(abs(total(contributions) - 1)) < 1e-5 AS sum_to_one
FROM results WHERE w > 0 AND broken AND severity > 1 GROUP BY w ORDER BY w;

-- ---- a row's score does not depend on where reading begins, on workers, or on missing features that it does not have

CREATE TABLE scores AS SELECT n, amad_score(model, ts, a, b, c, d) OVER (ORDER BY ts) AS s FROM m, partial WHERE w = 20;
SELECT count(x.s) AS scored, count(*) FILTER (WHERE x.s IS DISTINCT FROM y.s) AS differ
FROM unnest('{1234,1290,1404}'::int[]) first, LATERAL (
	SELECT n, amad_score(model, ts, a, b, c, d) OVER (ORDER BY ts) AS s FROM m, partial WHERE w = 20 AND n >= first) x
	JOIN scores y USING (n) WHERE n >= first + 30;
-- the value that is missing is not a broken relation
SELECT avg((s > 1)::int) < 0.05 AS seldom FROM scores WHERE n > 1401;
SELECT amad_train('relations', 'relations_test.partial', 'ts', '{a,b,c,d}', options => small() - 'features')->'features' AS features;
CREATE FUNCTION digest() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(float8send(severity)::text, ' ' ORDER BY i, ts))
	FROM generate_series(1, 2) i, amad_detect('relations', "explain" => false) $$;
SET amad.max_parallel_workers = 0;
SELECT digest() AS alone \gset
SET amad.max_parallel_workers = 2;
SELECT digest() = :'alone' AS same;
RESET amad.max_parallel_workers;

-- ---- fleets, recalibration

CREATE TABLE fleet AS SELECT s, n, ts, a * k AS a, b * k AS b, c, d, broken FROM r, (VALUES ('x', 1), ('y', 50)) v(s, k);
SELECT amad_train('related', 'SELECT * FROM relations_test.fleet WHERE n <= 1000', 'ts', '{a,b,c,d}', '{s}',
	options => small() - 'features')->'series' AS series;
-- in each series the broken relation is found
CREATE FUNCTION found() RETURNS TABLE (series jsonb, found boolean, others_seldom boolean) LANGUAGE sql AS $$
	SELECT series, avg(is_anomaly::int) FILTER (WHERE broken) > 0.5,
		avg(is_anomaly::int) FILTER (WHERE n BETWEEN 1001 AND 1299) < 0.02
	FROM amad_detect('related', source => 'relations_test.fleet') d JOIN fleet f ON f.s = d.series->>'s' AND f.ts = d.ts
	GROUP BY series ORDER BY series $$;
SELECT * FROM found();
-- a recalibration keeps the matrix and does not lower the limits
SELECT amad_recalibrate('related', source => 'relations_test.fleet', since => (SELECT ts FROM r WHERE n = 500),
	until => (SELECT ts FROM r WHERE n = 1200)) IS NOT NULL AS recalibrated;
SELECT x.data = y.data AS same_matrix, f->'relation' = e->'relation' AS same_evidence,
	(f->>'relation_limit')::float8 >= (e->>'relation_limit')::float8 AS "limit"
FROM amad_models a, amad_models b, amad_weights(a.model) x JOIN amad_weights(b.model) y USING (name),
	LATERAL (SELECT amad_describe(a.model)->'calibration' AS e, amad_describe(b.model)->'calibration' AS f) d
WHERE a.model_name = 'related' AND b.model_name = 'related' AND a.version = 1 AND b.version = 2
	AND name = 'relations.precision';
SELECT * FROM found();
SELECT version, round_trip(model) FROM amad_models WHERE model_name = 'related' ORDER BY version;

SELECT amad_drop('relations'), amad_drop('related');
SET client_min_messages = warning;
DROP SCHEMA relations_test CASCADE;
