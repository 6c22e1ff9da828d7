--
-- amad_score with its features as an array: the same scores as with columns, also from a
-- view, which does not keep the word VARIADIC, and with more features than a call can have arguments.
--
CREATE TABLE r AS
SELECT i::bigint AS n, sin(i * 0.3) AS a, cos(i * 0.17) * 10 + 100 AS b, (hashint4(i) % 1000) / 1000.0::float8 AS c
FROM generate_series(1, 300) i;
CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT '{"window": 8, "d_model": 16, "heads": 2, "layers": 2, "steps": 5, "horizons": [2, 4],
		"advanced": {"batch_size": 2}}'::jsonb $$;
SELECT amad_train('m', tiny(), n, a, b, c)->'warmup' AS warmup FROM r;
SELECT count(s) AS scored, bool_and(s = t) AS same, bool_and(s = u) AS numeric
FROM (SELECT amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s,
			 amad_score('m', n, VARIADIC ARRAY[a, b, c]) OVER (ORDER BY n) AS t,
			 amad_score('m', n, VARIADIC ARRAY[a::numeric, b::numeric, c::numeric]) OVER (ORDER BY n) AS u
	  FROM (SELECT n, a::numeric::float8 AS a, b::numeric::float8 AS b, c FROM r) r) x WHERE s IS NOT NULL;
CREATE VIEW severity AS SELECT n, amad_score('m', n, VARIADIC ARRAY[a, b, c]) OVER (ORDER BY n) AS s FROM r;
SELECT count(v.s) AS scored, bool_and(v.s = x.s) AS same
FROM severity v JOIN (SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r) x USING (n)
WHERE x.s IS NOT NULL;
-- the view as a dump would restore it
SELECT pg_get_viewdef('severity') AS definition \gset
CREATE VIEW restored AS :definition
SELECT count(s) AS scored FROM restored;
-- 150 columns
SELECT amad_train('wide', tiny(), n, VARIADIC v)->'features' AS features
FROM (SELECT n, array_agg(sin(n * 0.01 * f) ORDER BY f) AS v FROM r, generate_series(1, 150) f GROUP BY n) x;
SELECT count(s) AS scored FROM (SELECT amad_score('wide', n, VARIADIC v) OVER (ORDER BY n) AS s
	FROM (SELECT n, array_agg(sin(n * 0.01 * f) ORDER BY f) AS v FROM r, generate_series(1, 150) f GROUP BY n) x) y;
-- a null array is a row of missing values, which has no score
SELECT count(g.s) AS scored, bool_and(g.s = c.s) AS same
FROM (SELECT n, amad_score('m', n,
	VARIADIC CASE WHEN n % 70 < 5 THEN NULL ELSE ARRAY[a, b, c] END) OVER (ORDER BY n) AS s FROM r) g
JOIN (SELECT n, amad_score('m', n, CASE WHEN n % 70 >= 5 THEN a END, CASE WHEN n % 70 >= 5 THEN b END,
	CASE WHEN n % 70 >= 5 THEN c END) OVER (ORDER BY n) AS s FROM r) c USING (n)
WHERE c.s IS NOT NULL;
SELECT count(s) AS scored FROM (SELECT amad_score('m', n, VARIADIC NULL::float8[]) OVER (ORDER BY n) AS s FROM r) x;
SELECT amad_score('m', n, VARIADIC ARRAY[a, b]) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', n, VARIADIC CASE WHEN n < 200 THEN ARRAY[a, b, c] ELSE ARRAY[a, b] END) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', n, VARIADIC ARRAY[[a, b, c]]) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', n, VARIADIC ARRAY['a', 'b', 'c']) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', n, a, ARRAY[b, c]) OVER (ORDER BY n) FROM r;

DROP VIEW severity, restored;
DROP FUNCTION tiny;
DROP TABLE r;
DELETE FROM amad_models;
