--
-- The baselines: principal components and z-scores by the same functions, and all of their
-- arithmetic, from scaling to severity, done again in SQL.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
-- compiling would take longer than everything else: the planner overestimates the rows
SET jit = off;
SET timezone = 'UTC';
-- Two correlated features, a third and a fourth; gaps before 131 and 261.
CREATE TABLE r AS
SELECT n, n + CASE WHEN n > 260 THEN 2000 WHEN n > 130 THEN 1000 ELSE 0 END AS t,
	f + 0.3 * e AS a, -50 + 7 * f AS b, g * 1000 AS c, h - g AS d
FROM (SELECT n, sin(n * 0.3) AS f, cos(n * 0.17) AS g, (hashint8(n) % 1000) / 1000.0::float8 AS e,
		(hashint8(-n) % 1000) / 1000.0::float8 AS h FROM generate_series(1::bigint, 400) n) x;
CREATE FUNCTION o(method text) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT jsonb_build_object('method', method)
		|| '{"horizons": [1, 3, 5], "contamination": 0.05, "validation_fraction": 0.2,
		"fill_limit": 2, "advanced": {"horizon_quantile": 0.8, "clip": 1.5, "release": 1.2, "fade": 0.5, "burst": 0.3}}' $$;

-- ---- the models

SELECT s - '{threshold,seconds,core,workers}'::text[] AS summary
FROM (SELECT amad_train('pca', o('pca') || '{"features": ["flow", "pressure"]}', t, a, b) AS s FROM r) x;
SELECT s - '{threshold,seconds,core,workers}'::text[] AS summary
FROM (SELECT amad_train('zscore', o('zscore') || '{"features": ["flow", "pressure"]}', t, a, b) AS s FROM r) x;
SELECT d->'options'->'method' AS method, d->'context' AS context, d->'warmup' AS warmup, d->'weights' AS weights,
	d->'calibration'->'mu_d' AS mu_d, jsonb_array_length(d->'calibration'->'theta') AS thetas,
	d->'training'->'held_out' AS held_out, d->'training'->'gaps' AS gaps, d->'training'->'loss' AS loss
FROM unnest('{pca,zscore}'::text[]) name, amad_describe(name) d;
SELECT model_name, w.name, shape, cardinality(data) AS values FROM amad_models LEFT
JOIN LATERAL amad_weights(model) w ON true ORDER BY model_name;
-- the component of two features that rise together is about (1, 1)/√2, and of length 1
SELECT round(abs(data[1])::numeric, 1) AS first, round(abs(data[2])::numeric, 1) AS second,
	round((data[1] ^ 2 + data[2] ^ 2)::numeric, 5) AS length, sign(data[1]) = sign(data[2]) AS together
FROM amad_models m, amad_weights(model) WHERE model_name = 'pca';

-- ---- round trip, determinism

CREATE TABLE fitted AS SELECT method, amad_fit(o(method), t, a, b, c, d) AS model,
	amad_fit(o(method), t, a, b, c, d) AS again, amad_fit(o(method), t, a, b, c, d ORDER BY hashint8(n)) AS shuffled,
	amad_fit(o(method), t, a, b + (n = 7)::int, c, d) AS changed
FROM r, unnest('{pca,zscore}'::text[]) method GROUP BY method;
SELECT method, round_trip(model) FROM fitted ORDER BY method;
-- the same rows make the same model, in any order
SELECT method, amad_model_send(model) = amad_model_send(again) AS again,
	amad_model_send(model) = amad_model_send(shuffled) AS any_order
FROM fitted ORDER BY method;
-- other rows make another model
SELECT method, amad_model_send(model) = amad_model_send(changed) AS changed FROM fitted ORDER BY method;
-- a model read from its text has the same scores
SELECT method, count(s) AS scored, count(*) FILTER (WHERE float8send(s) = float8send(u)) AS same
FROM fitted, LATERAL (
	SELECT amad_score(model, t, a, b, c, d) OVER (ORDER BY t) AS s,
		amad_score(model::text::amad_model, t, a, b, c, d) OVER (ORDER BY t) AS u FROM r) x
WHERE s IS NOT NULL GROUP BY method ORDER BY method;

-- ---- the share of the variance: two groups of similar features, each with a little noise of its own

CREATE TABLE alike AS SELECT n, sin(n * 0.3) AS f, cos(n * 0.17) AS g, (hashint8(n) % 1000) / 1e5::float8 AS e,
	(hashint8(-n) % 1000) / 1e5::float8 AS h
FROM generate_series(1::bigint, 400) n;
SELECT variance, (amad_describe(amad_fit('{"method": "pca", "horizons": [2]}' || advanced('variance', variance),
	n, f, f + e, 5 - f + h, f + h, g, e - g))->>'weights')::int / 6 AS components
FROM unnest('{0.01,0.6,0.7,0.99,1}'::float8[]) variance, alike GROUP BY variance ORDER BY variance;
-- a single feature and constants do not have components
SELECT amad_describe(amad_fit('{"method": "pca", "horizons": [2]}', n, f))->'weights' AS one_feature FROM alike;
SELECT amad_describe(amad_fit('{"method": "pca", "horizons": [2]}', n, 7, 8))->'weights' AS constant FROM alike;

-- ---- the arithmetic

-- rows with missing values, for training and for scoring; each stretch begins with a complete row
CREATE TABLE holes AS
SELECT n, t, CASE WHEN hashint8(n + 1000) % 7 <> 0 AND n NOT BETWEEN 200 AND 205 OR n IN (1, 131, 261) THEN a END AS a,
	CASE WHEN hashint8(n + 2000) % 6 <> 0 AND n NOT BETWEEN 203 AND 210 OR n IN (1, 131, 261) THEN b END AS b FROM r;
SELECT count(*) FILTER (WHERE a IS NULL) AS a, count(*) FILTER (WHERE b IS NULL) AS b,
	count(*) FILTER (WHERE a IS NULL AND b IS NULL) AS both FROM holes;
CREATE TABLE m AS SELECT method, amad_fit(o(method), t, a, b) AS model FROM holes, unnest('{pca,zscore}'::text[]) method
GROUP BY method;
-- scaling, by the known values; missing ones are replaced by the last value for 2 rows, then by the mean
CREATE TABLE scaled AS
WITH moments AS (SELECT avg(a) AS ma, stddev_pop(a) AS sa, avg(b) AS mb, stddev_pop(b) AS sb FROM holes),
z AS (
	SELECT n, CASE WHEN n > 260 THEN 261 WHEN n > 130 THEN 131 ELSE 1 END AS begins, a IS NOT NULL AS has_a,
		b IS NOT NULL AS has_b,
		CASE WHEN a IS NOT NULL THEN greatest(-1.5, least(1.5, (a - ma) / sa))::float4::float8 END AS a,
		CASE WHEN b IS NOT NULL THEN greatest(-1.5, least(1.5, (b - mb) / sb))::float4::float8 END AS b
	FROM holes, moments
), fed AS (
	SELECT z.n, z.begins, z.has_a, z.has_b, coalesce(z.a, p.a, q.a, 0) AS a, coalesce(z.b, p.b, q.b, 0) AS b
	FROM z LEFT JOIN z p ON p.n = z.n - 1 AND p.begins = z.begins LEFT JOIN z q ON q.n = z.n - 2 AND q.begins = z.begins
)
SELECT n, n - begins AS before, is_held_out(n, 400, 0.2, 10, 4) AS held_out, has_a, has_b, a, b FROM fed;
-- expected values: the mean, or the projection onto the first eigenvector of the training rows' moments
CREATE TABLE expected AS
WITH direction AS (SELECT atan2(2 * sum(a * b), sum(a * a) - sum(b * b)) / 2 AS angle FROM scaled WHERE NOT held_out)
SELECT method, scaled.*, x AS expected_a, y AS expected_b
FROM scaled, direction, LATERAL (SELECT a * cos(angle) + b * sin(angle) AS along) p,
	LATERAL (VALUES ('zscore', 0, 0), ('pca', along * cos(angle), along * sin(angle))) AS v(method, x, y);
-- rho: the greater mean, that of all rows or that of the fifth of them that is held out, floored; in incomplete rows,
-- another one, which is at least as large and depends on random numbers: it is that of the model
CREATE TABLE rho AS
WITH residuals AS (
	SELECT method, held_out, CASE WHEN has_a THEN (a - expected_a) ^ 2 END AS a,
		CASE WHEN has_b THEN (b - expected_b) ^ 2 END AS b FROM expected
), mean AS (
	SELECT method, greatest(avg(a), avg(a) FILTER (WHERE held_out)) AS a,
		greatest(avg(b), avg(b) FILTER (WHERE held_out)) AS b
	FROM residuals GROUP BY method)
SELECT method, greatest(a, 0.1 * (a + b) / 2) AS a, greatest(b, 0.1 * (a + b) / 2) AS b,
	(i->>0)::float8 AS incomplete_a, (i->>1)::float8 AS incomplete_b
FROM mean JOIN m USING (method), LATERAL (SELECT amad_describe(model)->'calibration'->'rho_incomplete' AS i) x;
-- raw score; means over horizons, in which earlier rows have less weight; their scale theta
CREATE TABLE raw AS
SELECT method, n, before, held_out, CASE WHEN has_a OR has_b THEN
	(CASE WHEN has_a THEN (s.a - expected_a) ^ 2 / CASE WHEN has_b THEN r.a ELSE incomplete_a END ELSE 0 END
		+ CASE WHEN has_b THEN (s.b - expected_b) ^ 2 / CASE WHEN has_a THEN r.b ELSE incomplete_b END ELSE 0 END)
	/ (has_a::int + has_b::int) END AS raw
FROM expected s JOIN rho r USING (method);
CREATE FUNCTION faded(back bigint, h int) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT 1 - 0.5 * back / h::float8 $$;
CREATE TABLE theta AS
SELECT method, h, percentile_cont(0.8) WITHIN GROUP (ORDER BY mean) AS theta
FROM (SELECT x.method, h, x.n, sum(y.raw * faded(x.n - y.n, h)) / sum(faded(x.n - y.n, h)) AS mean
	FROM unnest('{1,3,5}'::int[]) h, raw x JOIN raw y USING (method)
	WHERE x.before >= h - 1 AND y.n BETWEEN x.n - h + 1 AND x.n AND y.raw IS NOT NULL GROUP BY x.method, h, x.n) means
GROUP BY method, h;
-- in longer horizons a raw score counts as 0.3 · h · theta at most
CREATE TABLE means AS
SELECT x.method, h, x.n, x.before, x.held_out, x.raw,
	sum(CASE WHEN h > 1 THEN least(y.raw, 0.3 * h * theta) ELSE y.raw END * faded(x.n - y.n, h)) / sum(faded(x.n - y.n, h)) AS mean,
	bool_or(h > 1 AND y.raw > 0.3 * h * theta) AS limited
FROM theta, raw x JOIN raw y USING (method)
WHERE theta.method = x.method AND x.before >= h - 1 AND y.n BETWEEN x.n - h + 1 AND x.n AND y.raw IS NOT NULL
GROUP BY x.method, h, x.n, x.before, x.held_out, x.raw;
SELECT method, count(*) FILTER (WHERE limited) > 10 AS raw_scores_limited FROM means GROUP BY method ORDER BY method;
-- evidence of the horizons; that of a longer one is at most 1.2 times that of the next shorter one
CREATE TABLE evidence AS
SELECT method, n, before, held_out, raw, max(mean / theta) FILTER (WHERE h = 1) AS e1,
	max(mean / theta) FILTER (WHERE h = 3) AS e3,
	max(mean / theta) FILTER (WHERE h = 5) AS e5
FROM means JOIN theta USING (method, h) GROUP BY method, n, before, held_out, raw;
SELECT method, count(*) FILTER (WHERE e3 > 1.2 * e1) > 50 AS three_limited,
	count(*) FILTER (WHERE e5 > 1.2 * e3) > 10 AS five_limited
FROM evidence GROUP BY method ORDER BY method;
CREATE TABLE scores AS
SELECT method, n, held_out, CASE WHEN before >= 4 AND raw IS NOT NULL
	THEN greatest(e1, least(e3, 1.2 * e1), least(e5, 1.2 * least(e3, 1.2 * e1))) END AS score
FROM evidence;
CREATE TABLE threshold AS
SELECT method, threshold_of(array_agg(score), array_agg(held_out), 0.05) AS threshold
FROM scores WHERE score IS NOT NULL GROUP BY method;

-- the model has the same figures; components are single precision
SELECT method, abs((d->'calibration'->'rho'->>0)::float8 / r.a - 1) < tolerance
		AND abs((d->'calibration'->'rho'->>1)::float8 / r.b - 1) < tolerance AS rho,
	incomplete_a >= (d->'calibration'->'rho'->>0)::float8 AND incomplete_b >= (d->'calibration'->'rho'->>1)::float8
		AS incomplete,
	(SELECT bool_and(abs((d->'calibration'->'theta'->>(h / 2))::float8 / theta - 1) < tolerance) FROM theta
		WHERE theta.method = m.method) AS theta,
	abs((d->>'threshold')::float8 / threshold - 1) < tolerance AS threshold
FROM m JOIN rho r USING (method) JOIN threshold USING (method)
	JOIN (VALUES ('pca', 1e-4), ('zscore', 1e-12)) AS v(method, tolerance) USING (method), amad_describe(model) d
ORDER BY method;
CREATE TABLE results AS
SELECT method, n, (e).* FROM (SELECT method, n, amad_explain(model, t, a, b) OVER (PARTITION BY method ORDER BY t) AS e
	FROM m, holes OFFSET 0) x;
-- the same severities
SELECT method, count(*) AS rows, count(severity) AS scored,
	count(*) FILTER (WHERE severity IS NULL
		AND s.score IS NULL OR abs(severity / severity_of(s.score / t.threshold) - 1) < tolerance) AS right,
	string_agg(DISTINCT status, ' ') AS status
FROM results JOIN scores s USING (method, n) JOIN threshold t USING (method)
	JOIN (VALUES ('pca', 1e-3), ('zscore', 1e-12)) AS v(method, tolerance) USING (method)
GROUP BY method ORDER BY method;
-- and the same expected values
WITH moments AS (SELECT avg(a) AS ma, stddev_pop(a) AS sa, avg(b) AS mb, stddev_pop(b) AS sb FROM holes)
SELECT method, count(*) FILTER (WHERE abs((expected_values->>'1')::float8 - (ma + expected_a * sa)) < 1e-5) AS right_a,
	count(*) FILTER (WHERE abs((expected_values->>'2')::float8 - (mb + expected_b * sb)) < 1e-4) AS right_b
FROM results JOIN expected USING (method, n), moments GROUP BY method ORDER BY method;

-- ---- anomalies

-- values that are normal alone, but not together, are found only by the components
SELECT method, min(s) FILTER (WHERE n = 300) > 2 AS apart, max(s) FILTER (WHERE n BETWEEN 270 AND 299) < 1.5 AS before
FROM (SELECT 'pca' AS method, n,
	amad_score('pca', t, a, CASE n WHEN 300 THEN -100 - b ELSE b END) OVER (ORDER BY t) AS s FROM r
	  UNION ALL SELECT 'zscore', n, amad_score('zscore', t, a,
	  	CASE n WHEN 300 THEN -100 - b ELSE b END) OVER (ORDER BY t) FROM r) x GROUP BY method ORDER BY method;
-- a value that is only unusual; a z-score is limited by the clip
SELECT method, (e).is_anomaly, (e).direction, (e).model_version
FROM (SELECT 'pca' AS method, t, amad_explain('pca', t, a, CASE n WHEN 310 THEN 0 ELSE b END) OVER (ORDER BY t) AS e
	FROM r
	  UNION ALL SELECT 'zscore', t, amad_explain('zscore', t, a, CASE n WHEN 310 THEN 0 ELSE b END) OVER (ORDER BY t)
	  FROM r) x WHERE t = 2310 ORDER BY method;

-- ---- few rows (two to train on, and those held out); many columns

SELECT method, rows,
	amad_describe(amad_fit(jsonb_build_object('method', method, 'horizons', '[1]'::jsonb), n, a, b))->'warmup' AS warmup
FROM r, unnest('{pca,zscore}'::text[]) method, unnest('{4,5}'::int[]) rows WHERE n <= rows GROUP BY method, rows
ORDER BY method, rows;
SELECT amad_fit('{"method": "pca", "horizons": [1]}', n, a, b) FROM r WHERE n <= 3;
SELECT amad_fit('{"method": "zscore"}', n, a, b) FROM r WHERE n <= 94;
SELECT amad_describe(amad_fit('{"method": "zscore"}', n, a, b))->'warmup' AS warmup FROM r WHERE n <= 95;
CREATE TABLE wide AS SELECT n, array_agg(sin(n * 0.01 * i) ORDER BY i) AS v FROM r, generate_series(1, 150) i
GROUP BY n;
SELECT (amad_describe(m)->>'weights')::int % 150 = 0 AS whole_components, count(s) AS scored
FROM (SELECT amad_fit('{"method": "pca", "advanced": {"variance": 0.95}}', n, VARIADIC v) AS m FROM wide) x,
	LATERAL (SELECT amad_score(m, n, VARIADIC v) OVER (ORDER BY n) AS s FROM wide) y GROUP BY m::text, 1;

DROP FUNCTION o, faded;
DROP TABLE r, wide, fitted, alike, holes, m, scaled, expected, rho, raw, means, theta, evidence, scores,
	threshold, results;
DELETE FROM amad_models;
