--
-- Units: a feature in another unit, or with a large offset, is the same signal; a feature is constant only if it does not
-- change beyond the resolution of double precision.
--
SET jit = off;
CREATE SCHEMA units_test;
SET search_path = units_test, public;
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET search_path = units_test, public, helpers;

-- multiples of 1/256, so that an offset of 1e13, where doubles are 1/512 apart, does not round them
CREATE TABLE r AS
SELECT n, round((20 * sin(n / 9.0) + 4 * noise(n)) * 256) / 256 AS a, cos(n / 5.0) + noise(-n) AS b
FROM generate_series(1, 1200) n;
UPDATE r SET a = a + 100 WHERE n BETWEEN 1100 AND 1104;
CREATE TABLE units (unit text, factor float8, plus float8);
INSERT INTO units VALUES ('1', 1, 0), ('× 1e6', 1e6, 0), ('× 1e-9', 1e-9, 0), ('× 1e30', 1e30, 0), ('× 1e-30', 1e-30, 0),
	('× 1e-300', 1e-300, 0), ('× 1e306', 1e306, 0), ('+ 1e13', 1, 1e13), ('- 1e13', 1, -1e13), ('× 1e5 + 1e13', 1e5, 1e13);
CREATE TABLE scores (method text, unit text, n int, severity float8);

-- ---- one series

CREATE TABLE models AS
SELECT method, unit, amad_fit(tiny(options), n, a * factor + plus, b) AS model
FROM r, units, (VALUES ('amad', '{"steps": 20}'::jsonb), ('pca', '{"method": "pca", "advanced": {"clip": 50}}'), ('zscore', '{"method": "zscore"}'))
	AS m(method, options)
WHERE n <= 1000 GROUP BY method, unit;
INSERT INTO scores
SELECT method, unit, n, amad_score(model, n, a * factor + plus, b) OVER (PARTITION BY method, unit ORDER BY n)
FROM r, units JOIN models USING (unit);
-- the same severities
SELECT s.method, s.unit, count(s.severity) AS scored,
	max(abs(ln((s.severity + 0.01) / (o.severity + 0.01)))) < 0.005 AS same, max(s.severity) > 1 AS found
FROM scores s JOIN scores o USING (method, n) JOIN units u ON u.unit = s.unit
WHERE o.unit = '1' GROUP BY s.method, s.unit, u.ctid ORDER BY s.method, u.ctid;
-- no feature is constant
SELECT bool_and((amad_describe(model)->'scaling'->'std'->>0)::float8 > 0) AS none_constant FROM models;

-- ---- a fleet: moments of two series together

CREATE TABLE fleets AS
SELECT unit, amad_train('fleet ' || unit, format('SELECT n, g, (a + g) * %s + %s AS a, b FROM units_test.r, generate_series(0, 1) g
	WHERE n <= 1000', factor, plus), 'n', series_cols => '{g}', options => '{"method": "zscore"}') AS summary
FROM units;
SELECT unit, summary->'constant_features' AS constant,
	abs((amad_describe('fleet ' || unit)->'scaling'->'std'->>0)::float8 / (amad_describe('fleet 1')->'scaling'->'std'->>0)::float8 / factor - 1)
		< 1e-6 AS std
FROM fleets JOIN units USING (unit) ORDER BY units.ctid;

-- ---- large numbers

-- bytes free on a storage system
CREATE TABLE big AS SELECT n, 1e13 + 2e6 * sin(n / 10.0) + 2e5 * noise(n) AS free FROM generate_series(0, 2999) n;
SELECT summary->'constant_features' AS constant
FROM (SELECT amad_train('big', tiny('{"steps": 50}'), n, free) AS summary FROM big WHERE n < 2000) t;
SELECT count(*) FILTER (WHERE s > 1) < 0.1 * count(s) AS few_flagged
FROM (SELECT n, amad_score('big', n, free) OVER (ORDER BY n) AS s FROM big) x WHERE n >= 2000;

-- ---- which features are constant

CREATE FUNCTION constant(features text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	summary jsonb;
BEGIN
	EXECUTE format($q$SELECT amad_train('c', tiny('{"method": "zscore"}'), n, %s) FROM generate_series(1, 30000) n$q$, features)
	INTO summary;
	RETURN summary->'constant_features';
END $$;
-- equal values, whose sum is rounded
SELECT constant('0.1, 1e-30, 1e30, -1.7e308, 1e-308, 0, 1.0 / 3') AS all_of_them;
-- the same result of additions in another order
SELECT constant('CASE WHEN n % 2 = 0 THEN 0.1::float8 + 0.2::float8 ELSE 0.3 END,
	CASE WHEN n % 3 = 0 THEN 1e13 ELSE 1e13 + 0.004 END, CASE WHEN n = 7 THEN 5e-324 ELSE 0 END') AS all_of_them;
-- small changes, also if only one row differs
SELECT constant('3e-7 + 1e-8 * sin(n), 1e-30 * (1 + sin(n)), 1e30 + 1e20 * sin(n), 1 + (n = 7)::int * 1e-8::float8, 1.7e308 * sin(n),
	1e-310 * sin(n)') AS none;

-- ---- a constant that changes

CREATE TABLE steady AS SELECT amad_fit(tiny('{"steps": 200}'), n, 0.3, 1e13, sin(n)) AS model FROM generate_series(1, 500) n;
-- rounding is no change
SELECT count(s) AS scored, count(*) FILTER (WHERE s IS DISTINCT FROM plain) AS different
FROM (SELECT amad_score(model, n, CASE WHEN n = 300 THEN 0.1::float8 + 0.2::float8 ELSE 0.3 END,
		CASE WHEN n = 350 THEN 1e13 + 0.004 ELSE 1e13 END, sin(n)) OVER (ORDER BY n) AS s,
		amad_score(model, n, 0.3, 1e13, sin(n)) OVER (ORDER BY n) AS plain
	FROM steady, generate_series(1, 500) n) x;
-- anything larger is
SELECT n, s > 1 AS found
FROM (SELECT n, amad_score(model, n, CASE WHEN n = 300 THEN 0.3 + 1e-12::float8 ELSE 0.3 END,
		CASE WHEN n = 350 THEN 1e13 - 1 ELSE 1e13 END, sin(n)) OVER (ORDER BY n) AS s
	FROM steady, generate_series(1, 500) n) x
WHERE n IN (300, 350) ORDER BY n;
-- the largest numbers and the smallest have a severity
SELECT count(s) AS scored, count(*) FILTER (WHERE NOT s BETWEEN 0 AND 1e12) AS wild
FROM (SELECT amad_score(model, n, CASE n WHEN 200 THEN 1.7e308 WHEN 201 THEN -1.7e308 WHEN 202 THEN 5e-324 ELSE 0.3 END, 1e13,
		sin(n)) OVER (ORDER BY n) AS s FROM steady, generate_series(1, 500) n) x;

DELETE FROM amad_models;
SET client_min_messages = warning;
DROP SCHEMA units_test CASCADE;
