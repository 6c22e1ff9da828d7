--
-- expected_lower and expected_upper: the band within which a single value does not make its row an anomaly. Checked by
-- scoring rows again in which one value has been moved to a multiple of its distance from the expected value.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
-- 900 rows: a wave, one that follows it, and noise
CREATE TABLE r AS
SELECT n, timestamptz '2026-01-01' + n * interval '1 hour' AS ts,
	ARRAY[sin(n * 0.26) + 0.2 * noise(n), 50 + 10 * sin(n * 0.26) + 2 * noise(n) + noise(n + 5000),
		1000 * noise(n + 9000)] AS v
FROM generate_series(1, 900) n;
CREATE TABLE m (name text, model amad_model, lookahead int);
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT tiny(merged('{"d_model": 16, "steps": 200, "horizons": [4, 8], "season": "none",
		"advanced": {"batch_size": 4}}', more)) $$;
INSERT INTO m
SELECT name, amad_fit(options, ts, VARIADIC v), coalesce((options->>'lookahead')::int, 0)
FROM r, (VALUES ('amad', small()), ('one horizon', small('{"horizons": [1]}')), ('lookahead', small('{"lookahead": 3}')),
		('zscore', '{"method": "zscore", "horizons": [1]}'), ('season', '{"method": "zscore", "season": [86400]}')) v(name, options)
WHERE n <= 700 GROUP BY name, options;

CREATE FUNCTION explained() RETURNS TABLE (name text, n int, v float8[], e amad_result) LANGUAGE sql AS $$
	SELECT name, n, v, amad_explain(model, ts, VARIADIC v) OVER (PARTITION BY name ORDER BY ts) FROM r, m $$;
-- Severity of rows with feature k moved from the middle of its band to a multiple of the distance of an edge; far away
-- if there is no edge
CREATE FUNCTION moved(multiples float8[])
RETURNS TABLE (name text, n int, k int, multiple float8, open boolean, severity float8) LANGUAGE sql AS $$
	WITH changed AS (
		SELECT x.name, x.n, k, multiple, edge, bound IS NULL AS open,
			v[:k - 1] || coalesce(centre + multiple * (bound - centre), multiple * (edge - 1.5) * 1e12) || v[k + 1:] AS v
		FROM explained() x, generate_series(1, 3) k, unnest(multiples) multiple,
			unnest(ARRAY[(e).expected_lower, (e).expected_upper]) WITH ORDINALITY b(bounds, edge),
			LATERAL (SELECT (bounds->>k::text)::float8 AS bound,
				(((e).expected_lower->>k::text)::float8 + ((e).expected_upper->>k::text)::float8) / 2 AS centre) y
		WHERE x.n > 720 AND x.n % 23 = 0 AND (e).severity < 0.7
	), copies AS (
		SELECT c.name, c.n AS target, c.k, c.multiple, c.edge, c.open, r.n, r.ts, CASE WHEN r.n = c.n THEN c.v ELSE r.v END AS v
		FROM changed c JOIN m USING (name) JOIN r ON r.n BETWEEN c.n - 40 AND c.n + m.lookahead
	)
	SELECT name, target, k, multiple, open, s
	FROM (SELECT name, target, k, multiple, open, n, amad_score(model, ts, VARIADIC v)
			OVER (PARTITION BY name, target, k, multiple, edge ORDER BY ts) AS s
		FROM copies JOIN m USING (name)) x
	WHERE n = target $$;

-- hardly any value well inside the band is flagged, and nearly all that are clearly outside are
SELECT name, multiple, count(*) > 30 AS enough, count(severity) = count(*) AS scored,
	CASE WHEN multiple < 1 THEN percent <= 5 ELSE percent >= 95 END AS right
FROM (SELECT name, multiple, severity, 100.0 * avg((severity > 1)::int) OVER (PARTITION BY name, multiple) AS percent
	FROM moved('{0.5,2}') WHERE NOT open) x
GROUP BY name, multiple, percent ORDER BY name, multiple;
-- without an edge, no value is flagged
SELECT name, k, count(*), max(severity) < 1 AS unflagged FROM moved('{1}') WHERE open GROUP BY name, k ORDER BY name, k;
-- closer to the edge with one horizon and zscore: other rows, states and relations do not count
SELECT multiple, min(severity) > 1 AS flagged, max(severity) < 1 AS unflagged
FROM moved('{0.7,1.3}') WHERE name = 'zscore' GROUP BY multiple ORDER BY multiple;

-- ---- the season

-- a value that is usual at noon is outside the band at midnight; without the season it is inside
CREATE TABLE day AS SELECT n, timestamptz '2026-01-01' + n * interval '1 hour' AS ts,
	100 + 50 * sin(n * pi() / 12) + noise(n) AS a, noise(n + 7000) AS b FROM generate_series(0, 719) n;
SELECT season, n % 24 AS hour, bool_and(100 + 50 * sin(n * pi() / 12) BETWEEN lower AND upper) AS usual,
	bool_and(150 BETWEEN lower AND upper) AS noon, bool_and(expected BETWEEN 99 AND 102) AS expected
FROM (SELECT season, n, ((e).expected_lower->>'1')::float8 AS lower, ((e).expected_upper->>'1')::float8 AS upper,
		((e).expected_values->>'1')::float8 AS expected
	FROM (SELECT season, amad_fit(jsonb_build_object('method', 'zscore', 'season', season, 'horizons', '[1]'::jsonb,
			'advanced', '{"season_weight": 20}'::jsonb), ts, a, b) AS m
		FROM day, unnest('{[86400],none}'::text[]) AS s(text),
			LATERAL (SELECT CASE text WHEN 'none' THEN '"none"' ELSE text END::jsonb AS season) j GROUP BY season) models,
		LATERAL (SELECT n, amad_explain(m, ts, a, b) OVER (ORDER BY ts) AS e FROM day) x
	WHERE n % 24 IN (6, 18) AND n > 100) y
GROUP BY 1, 2 ORDER BY season::text, hour;

-- ---- features of all kinds

-- a constant: the constant alone; a missing feature: as if it was there; a value that no row can have: null
SELECT name, (e).expected_lower->>'1' AS lower, (e).expected_upper->>'1' AS upper,
	(e).expected_upper->>'2' > '0' AS second, round(((e).expected_lower->>'3')::numeric, 4) AS third, (e).imputed
FROM (SELECT name, n, amad_explain(model, n, 7, CASE WHEN n < 190 THEN a END, b) OVER (PARTITION BY name ORDER BY n) AS e
	FROM day, (SELECT name, amad_fit(options, n, 7, a, b) AS model
		FROM day, (VALUES ('network', small('{"horizons": [1]}')),
			('zscore', '{"method": "zscore", "advanced": {"clip": 1}}')) v(name, options)
		GROUP BY name) models) x
WHERE n = 200 ORDER BY name;
-- the series of a fleet: each in its own units
CREATE TABLE fleet AS SELECT d, n, d * (1000 + a) AS a, d * b AS b FROM day, unnest('{1,100}'::int[]) d;
SELECT amad_train('fleet', 'fleet', 'n', '{a,b}', '{d}', options => '{"method": "pca"}')->'rows' AS rows;
SELECT count(*) AS rows,
	max(abs((y.expected_upper->>'a')::float8 / (x.expected_upper->>'a')::float8 / 100 - 1)) < 1e-5 AS upper,
	max(abs(((y.expected_upper->>'b')::float8 - (y.expected_lower->>'b')::float8)
		/ ((x.expected_upper->>'b')::float8 - (x.expected_lower->>'b')::float8) / 100 - 1)) < 1e-5 AS width
FROM amad_detect_bigint('fleet') x JOIN amad_detect_bigint('fleet') y USING (ts)
WHERE (x.series->>'d')::int = 1 AND (y.series->>'d')::int = 100 AND x.expected_values IS NOT NULL;
-- no bands without explanations
SELECT count(expected_lower) AS lower, count(expected_upper) AS upper FROM amad_detect_bigint('fleet', explain => false);

DROP FUNCTION explained, moved, small;
DROP TABLE r, m, day, fleet;
DELETE FROM amad_models;
