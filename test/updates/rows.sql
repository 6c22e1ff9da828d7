-- Rows of the models in models-*.sql: the same in every version, without random numbers
CREATE FUNCTION noise(n bigint) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
	SELECT sin(n * 12.9898) * 43758.5453 - floor(sin(n * 12.9898) * 43758.5453) - 0.5 $$;
CREATE TABLE old_rows AS SELECT d, n, timestamptz '2026-09-01 00:00+00' + n * interval '30 min' AS ts,
	sin(n * pi() / 24) + 0.3 * noise(4 * n + d) + 6 * (d = 1 AND n % 48 IN (4, 5))::int AS a,
	cos(n * pi() / 24) + 0.3 * noise(-4 * n - d) + 3 * (n BETWEEN 1200 AND 1205)::int AS b,
	n * 5 + floor(4 * (noise(7 * n + d) + 0.5)) AS counter,
	n % 7 = 0 AS flag
FROM generate_series(1, 2) d, generate_series(0, 30 * 48 - 1) n;

CREATE VIEW old_scores AS SELECT name, d, n, amad_score(name, jsonb_build_object('d', d), ts, a, b, flag)
	OVER (PARTITION BY name, d ORDER BY ts) AS severity
FROM old_rows, unnest('{fleet,local,pca,zscore}'::text[]) name;
CREATE VIEW old_scores_of_counter AS SELECT 'counter' AS name, d, n, amad_score('counter', ts, a, counter, flag)
	OVER (ORDER BY ts) AS severity
FROM old_rows WHERE d = 1;
