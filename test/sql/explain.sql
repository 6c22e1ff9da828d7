--
-- amad_explain returns one result for every input row, of any kind. Its columns agree with each other, its severity
-- equals that of amad_score to the bit, and its contributions name the right feature.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
-- compiling would take longer than everything else: the planner overestimates the rows
SET jit = off;
SET timezone = 'UTC';
CREATE TABLE r AS
SELECT i::bigint AS n, timestamptz '2026-01-01' + i * interval '1 min' AS ts, sin(i * 0.3) AS a,
	cos(i * 0.17) * 10 + 100 AS b, sin(i * 0.3 + 1) * 1e-5 AS c
FROM generate_series(1, 400) i;
-- a network that learns something of these rows
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT tiny(merged('{"d_model": 16, "steps": 250, "horizons": [1, 4], "advanced": {"batch_size": 4}}', more)) $$;
SELECT amad_train('m', small('{"features": ["flow", "pressure", "temp"]}'), n, a, b, c)->'version' AS version FROM r;
SELECT amad_train('m', small('{"features": ["flow", "pressure", "temp"], "seed": 1}'), n, a, b, c)->'version'
	AS version FROM r;
SELECT d->'context' AS context, d->'warmup' AS warmup FROM amad_describe('m') d;

-- ---- the columns

SELECT attname, format_type(atttypid, atttypmod) AS type
FROM pg_attribute WHERE attrelid = 'amad_result'::regclass ORDER BY attnum;

-- Results of amad_explain for the rows of a table (n, ts, a, b, c), with model m.
CREATE FUNCTION explained(rows regclass)
RETURNS TABLE (n bigint, anomaly_score float8, threshold float8, severity float8, is_anomaly boolean,
	expected_values jsonb, expected_lower jsonb, expected_upper jsonb, contributions jsonb, direction jsonb,
	imputed text[], status text, model_version int)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT n, (e).* FROM (
		SELECT n, amad_explain(''m'', n, a, b, c) OVER (ORDER BY n) AS e FROM %s OFFSET 0) x', rows);
END $$;

CREATE FUNCTION is_missing(value anyelement) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
	SELECT coalesce(value::float8, 'NaN') IN ('NaN', 'Infinity', '-Infinity') $$;

-- Rows whose result contradicts itself or the row, and what is wrong.
CREATE FUNCTION contradictions(rows regclass) RETURNS TABLE (place bigint, why text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($q$
		WITH given AS (
			SELECT n AS place, float8send(amad_score('m', n, a, b, c) OVER (ORDER BY n)) AS bits,
				array_remove(ARRAY[CASE WHEN is_missing(a) THEN 'flow' END, CASE WHEN is_missing(b) THEN 'pressure' END,
					CASE WHEN is_missing(c) THEN 'temp' END], NULL) AS missing,
				jsonb_build_object('flow', a, 'pressure', b, 'temp', c) AS actual
			FROM %1$s
		), x AS MATERIALIZED (
			SELECT e.*, g.*, (amad_describe('m')->>'threshold')::float8 AS described
			FROM explained(%1$L) e FULL JOIN given g ON g.place = e.n
		)
		SELECT x.place, w.why FROM x, LATERAL (VALUES
			('another row', n IS DISTINCT FROM place),
			('another severity', float8send(severity) IS DISTINCT FROM bits),
			('severity', abs(severity / severity_of(anomaly_score / threshold) - 1) > 1e-12),
			('is_anomaly', is_anomaly IS DISTINCT FROM (severity > 1)),
			('threshold', threshold IS DISTINCT FROM described),
			('status', (status IS NULL) <> (severity IS NOT NULL)),
			('imputed', coalesce(imputed, '{}') <> missing OR imputed = '{}'),
			('nulls', num_nulls(expected_values, expected_lower, expected_upper, direction) NOT IN (0, 4)),
			('contributions without expected values', contributions IS NOT NULL AND expected_values IS NULL),
			('no contributions', severity IS NOT NULL AND contributions IS NULL),
			('sum', (SELECT abs(sum(v::numeric) - 1) > 3e-6 FROM jsonb_each_text(contributions) AS j(k, v))),
			('share', EXISTS (SELECT FROM jsonb_each_text(contributions) AS j(k, v)
				WHERE v::float8 < 0 OR v::float8 > 1)),
			('imputed counts', EXISTS (SELECT FROM unnest(imputed) i
				WHERE contributions->i <> '0' OR direction->i <> '0')),
			('keys', EXISTS (SELECT FROM unnest(ARRAY[expected_values, expected_lower, expected_upper,
					contributions, direction]) o
				WHERE (SELECT string_agg(k, ' ') FROM jsonb_object_keys(o) k) <> 'flow temp pressure')),
			('band', EXISTS (SELECT FROM jsonb_each_text(expected_lower) AS j(k, v)
				WHERE v::float8 > (expected_upper->>k)::float8)),
			-- expected values have seven digits
			('direction', EXISTS (SELECT FROM jsonb_each_text(direction) AS j(k, v),
					LATERAL (SELECT (actual->>k)::float8 AS y, (expected_values->>k)::float8 AS e) f
				WHERE k <> ALL (missing) AND sign(y - e) <> v::float8 AND abs(y - e) > 1e-6 * abs(y))),
			('no direction', EXISTS (SELECT FROM jsonb_each_text(direction) AS j(k, v)
				WHERE v NOT IN ('-1', '0', '1')))) AS w(why, wrong)
		WHERE w.wrong ORDER BY 1$q$, rows);
END $$;

-- ---- complete rows

-- 25 rows of warm-up, the last three with expected values, then rows with all columns
SELECT coalesce(status, 'fine') AS status, count(*), min(n), max(n), count(expected_values) AS expected,
	count(contributions) AS contributions, count(severity) AS scored, count(imputed) AS imputed,
	min(model_version) AS version
FROM explained('r') GROUP BY status ORDER BY min(n), status;
SELECT * FROM contradictions('r');
-- expected values are in the units of their features, and explain at least three quarters of the variance
SELECT 1 - avg((a - (expected_values->>'flow')::float8) ^ 2) / var_pop(a) > 0.75 AS flow,
	1 - avg((b - (expected_values->>'pressure')::float8) ^ 2) / var_pop(b) > 0.75 AS pressure,
	1 - avg((c - (expected_values->>'temp')::float8) ^ 2) / var_pop(c) > 0.75 AS temp
FROM explained('r') JOIN r USING (n) WHERE expected_values IS NOT NULL;

-- ---- a broken sensor

CREATE TABLE broken (LIKE r);
-- The result of row 300 after a change of that row.
CREATE FUNCTION blamed(change text)
RETURNS TABLE (is_anomaly boolean, most text, share_above_half boolean, direction jsonb, expected_near boolean,
	contradictions bigint) LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE broken;
	INSERT INTO broken TABLE r;
	EXECUTE 'UPDATE broken SET ' || change || ' WHERE n = 300';
	RETURN QUERY
	SELECT x.is_anomaly, m.k, m.v > 0.5, x.direction->m.k,
		abs((x.expected_values->>'flow')::float8) < 3 AND (x.expected_values->>'pressure')::float8 BETWEEN 80 AND 120
		AND abs((x.expected_values->>'temp')::float8) < 3e-5,
		(SELECT count(*) FROM contradictions('broken'))
	FROM explained('broken') x, LATERAL (SELECT k, v::float8 FROM jsonb_each_text(contributions) AS j(k, v)
		ORDER BY v::float8 DESC LIMIT 1) AS m(k, v)
	WHERE x.n = 300;
END $$;
-- the row is an anomaly at once, and more than half of its score is due to the feature that changed
SELECT change, b.*
FROM unnest('{a = 50,a = -50,b = b + 50,b = 0,c = 1,c = -1e300,a = 1e300}'::text[]) change, blamed(change) b;

-- ---- missing values of every kind

CREATE TABLE holes AS
SELECT n, ts,
	CASE WHEN n % 40 = 1 THEN NULL WHEN n % 40 = 2 THEN 'NaN' WHEN n % 40 = 3 THEN 'Infinity'
		WHEN n % 40 = 4 THEN '-Infinity' WHEN n = 250 THEN NULL ELSE a END AS a,
	CASE WHEN n % 40 IN (2, 9) THEN NULL WHEN n BETWEEN 120 AND 140 THEN 'NaN' WHEN n = 250 THEN 'NaN'
		ELSE b::float4 END AS b,
	CASE WHEN n % 40 = 5 THEN NULL WHEN n % 40 = 6 THEN 'NaN' WHEN n IN (250, 370) THEN NULL
		ELSE c::numeric END AS c
FROM r;
SELECT * FROM contradictions('holes');
-- imputed lists the missing features; after warm-up only rows without any value have no severity
SELECT imputed, count(*) AS rows, count(severity) AS scored, count(expected_values) AS expected,
	string_agg(DISTINCT status, ', ' ORDER BY status) AS status
FROM explained('holes') GROUP BY imputed ORDER BY imputed;
-- a row without any value has expected values, but no severity
SELECT severity, is_anomaly, expected_values IS NOT NULL AS expected, contributions, direction, imputed, status
FROM explained('holes') WHERE n = 250;
-- numerics beyond the range of double precision are missing values
SELECT (e).imputed, count(*)
FROM (SELECT amad_explain('m', n, CASE WHEN n % 100 = 7 THEN 1e400 ELSE a::numeric END, b,
		CASE n % 100 WHEN 8 THEN -1e400 WHEN 9 THEN 'Infinity' WHEN 10 THEN '-Infinity' WHEN 11 THEN 1e-400
			ELSE c::numeric END) OVER (ORDER BY n) AS e
	FROM r) x
GROUP BY 1 ORDER BY 1;
-- with "missing": "error", such rows have the status null_input, and the other rows their severities
SELECT amad_train('strict', small('{"missing": "error", "steps": 2}'), n, a, b)->'version' AS version FROM r;
SELECT (e).imputed, (e).status, count(*) AS rows, count((e).severity) AS scored, count((e).expected_values) AS expected
FROM (SELECT n, amad_explain('strict', n, a, b) OVER (ORDER BY n) AS e FROM holes) x
WHERE n > 60 GROUP BY 1, 2 ORDER BY 1, 2;

-- ---- status

-- rows with duplicate, null and infinite timestamps among the others
SELECT amad_train('tz', small('{"steps": 2}'), ts, a, b, c)->'version' AS version FROM r;
CREATE TABLE odd AS
SELECT n AS place, ts, a, b, c FROM r
UNION ALL
SELECT n + 0.5, CASE n % 4 WHEN 0 THEN ts WHEN 1 THEN NULL WHEN 2 THEN 'infinity'::timestamptz ELSE '-infinity' END,
	99, 99, 99
FROM r WHERE n % 10 IN (0, 1, 4, 5, 6, 7);
CREATE TABLE odd_explained AS
SELECT place, ts, (e).*
FROM (SELECT place, ts, amad_explain('tz', ts, a, b, c) OVER (ORDER BY place) AS e FROM odd OFFSET 0) x;
-- every row has a result
SELECT count(*) AS rows, count(*) = (SELECT count(*) FROM odd) AS every FROM odd_explained;
-- the added rows have the status of their kind, and only the threshold
SELECT coalesce(status, 'fine') AS status,
	CASE WHEN isfinite(ts) THEN 'finite' ELSE coalesce(ts::text, 'null') END AS ts, count(*),
	count(severity) AS scored, count(is_anomaly) AS judged, count(expected_values) AS expected,
	count(contributions) AS contributions, count(threshold) AS threshold, bool_and(place = floor(place)) AS original
FROM odd_explained GROUP BY 1, 2 ORDER BY 1, 2;
-- the severities of the others are those without the added rows
SELECT count(o.severity) AS scored, count(*) FILTER (WHERE float8send(o.severity) = float8send(s)) AS same
FROM odd_explained o
JOIN (SELECT n AS place, amad_score('tz', ts, a, b, c) OVER (ORDER BY ts) AS s FROM r) x USING (place);
-- timestamps without time zone give the same results
SELECT count(*) AS rows, count((p.e).severity) AS scored,
	bool_and(((p.e).anomaly_score, (p.e).expected_values, (p.e).contributions, (p.e).direction, (p.e).imputed,
			(p.e).status) IS NOT DISTINCT FROM
		(o.anomaly_score, o.expected_values, o.contributions, o.direction, o.imputed, o.status)) AS same
FROM (SELECT place, amad_explain('tz', ts::timestamp, a, b, c) OVER (ORDER BY place) AS e FROM odd) p
JOIN odd_explained o USING (place);
-- the same statuses with numbers as times
SELECT (e).status, count(*), count((e).severity) AS scored
FROM (SELECT amad_explain('m', CASE n % 50 WHEN 7 THEN n - 1 WHEN 8 THEN NULL ELSE n END, a, b, c)
		OVER (ORDER BY n) AS e FROM r) x
GROUP BY 1 ORDER BY 1;
-- rows out of order mean another ORDER BY: an error, as with amad_score
SELECT amad_explain('m', n, a, b, c) OVER (ORDER BY n DESC) FROM r;
SELECT amad_explain('tz', ts, a, b, c) OVER (ORDER BY n DESC) FROM r;
SELECT amad_explain('tz', CASE WHEN n = 7 THEN ts - interval '1 hour' ELSE ts END, a, b, c) OVER (ORDER BY n) FROM r;
-- a gap begins a new warm-up, with a status of its own
SELECT coalesce((e).status, 'fine') AS status, count(*), min(n), max(n), count((e).severity) AS scored,
	count((e).expected_values) AS expected
FROM (SELECT n, amad_explain('m', n, a, b, c) OVER (ORDER BY n) AS e
	FROM (SELECT CASE WHEN n > 200 THEN n + 10 ELSE n END AS n, a, b, c FROM r) y) x
GROUP BY 1, n > 205 ORDER BY 3;

-- ---- by name, by value, series by series

CREATE FUNCTION by_value(v int) RETURNS TABLE (n bigint, e amad_result) LANGUAGE sql AS $$
	SELECT n, amad_explain(model, n, a, b, c) OVER (ORDER BY n)
	FROM r, amad_models WHERE model_name = 'm' AND version = v $$;
-- by name, the result has the deployed version; a value has no version
SELECT count(*) AS rows, bool_and(model_version = 2) AS versions FROM explained('r');
SELECT v AS version, count(*) AS rows, bool_and((e).model_version IS NULL) AS versions
FROM generate_series(1, 2) v, by_value(v) GROUP BY v ORDER BY v;
-- by name, the results are those of version 2; 22 rows of warm-up have no expected values with either version
SELECT v AS version, count(*) AS rows,
	count(*) FILTER (WHERE (x.severity, x.expected_values, x.contributions)
		IS NOT DISTINCT FROM ((y.e).severity, (y.e).expected_values, (y.e).contributions)) AS same
FROM generate_series(1, 2) v CROSS JOIN by_value(v) y JOIN explained('r') x USING (n) GROUP BY v ORDER BY v;
CREATE VIEW explanations AS SELECT n, amad_explain('m', n, a, b, c) OVER (ORDER BY n) AS e FROM r;
-- each partition has the results of the whole, also with the features as an array
SELECT p, count(*) AS rows, count(*) FILTER (WHERE (x.e, x.f) IS NOT DISTINCT FROM (w.e, w.e)) AS same
FROM (SELECT p, n, amad_explain('m', n, a, b, c) OVER (PARTITION BY p ORDER BY n) AS e,
		amad_explain('m', n, VARIADIC ARRAY[a, b, c]) OVER (PARTITION BY p ORDER BY n) AS f
	FROM r, generate_series(1, 2) p) x
JOIN explanations w USING (n) GROUP BY p ORDER BY p;
-- a null series is accepted, and changes nothing
SELECT count(*) AS rows, count(*) FILTER (WHERE x.e IS NOT DISTINCT FROM w.e) AS same
FROM (SELECT n, amad_explain('m', NULL::jsonb, n, a, b, c) OVER (ORDER BY n) AS e FROM r) x
JOIN explanations w USING (n);
-- another series is refused if the model was trained without series columns
SELECT amad_explain('m', '{"device": 1}'::jsonb, n, a, b, c) OVER (ORDER BY n) FROM r;

-- ---- keys: the names in the order of jsonb, in any order of the features

-- Result of row 100 for features that are sines.
CREATE FUNCTION keys(names jsonb, m amad_model)
RETURNS TABLE (keys text, found bigint, canonical boolean, shares numeric) LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
	SELECT string_agg(format('sin(n * 0.1 * %s) * %s', i, i), ', ' ORDER BY i) INTO v
	FROM generate_series(1, jsonb_array_length(amad_describe(m)->'features')) i;
	RETURN QUERY EXECUTE format($q$
		SELECT (SELECT string_agg(k, ' ') FROM jsonb_object_keys((e).expected_values) k),
			(SELECT count(*) FROM jsonb_array_elements_text(%L) k WHERE (e).expected_values ? k
				AND (e).contributions->>k >= '0' AND ((e).direction->>k)::int IN (-1, 1)),
			-- as jsonb makes it, byte for byte
			(SELECT bool_and(record_image_eq(ROW(o), ROW(o::text::jsonb)))
				FROM unnest(ARRAY[(e).expected_values, (e).expected_lower, (e).expected_upper, (e).contributions,
					(e).direction]) o)
				AND (SELECT jsonb_object_agg(k, v) FROM jsonb_each((e).expected_values) AS j(k, v)) = (e).expected_values,
			(SELECT round(sum(v::numeric), 4) FROM jsonb_each_text((e).contributions) AS j(k, v))
		FROM (SELECT n, amad_explain($1, n, %s) OVER (ORDER BY n) AS e FROM r) x WHERE n = 100$q$, names, v) USING m;
END $$;
-- features without names have their numbers
SELECT k.*
FROM (SELECT amad_fit(small('{"steps": 1}'), n, VARIADIC ARRAY(
		SELECT sin(n * 0.1 * i) * i FROM generate_series(1, 12) i)) AS m FROM r) x,
	keys('["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]', m) k;
-- an object of more than 32 members has offsets
SELECT found, canonical
FROM (SELECT amad_fit(small('{"steps": 1}'), n, VARIADIC ARRAY(
		SELECT sin(n * 0.1 * i) * i FROM generate_series(1, 50) i)) AS m FROM r) x,
	keys((SELECT jsonb_agg(i::text) FROM generate_series(1, 50) i), m) k;
-- names with quotes, spaces and letters of any alphabet
SELECT k.*
FROM (VALUES ('["b", "a", "zz", "ab", "B", "ba", "a\"b", "\\", "ä", "Ä", "日本", " ", "a b", "\n", "''"]'::jsonb),
		('["only"]'), ('["q\"\"", "p\\\\"]')) AS v(names),
	LATERAL (SELECT amad_fit(small('{"steps": 1}') || jsonb_build_object('features', names), n, VARIADIC ARRAY(
		SELECT sin(n * 0.1 * i) * i FROM generate_series(1, jsonb_array_length(names)) i)) AS m FROM r) x,
	keys(names, m) k;
-- the same in imputed: a name, and a number
SELECT amad_fit(small('{"steps": 1, "features": ["x\"y", "ä"]}'), n, a, b) AS named,
	amad_fit(small('{"steps": 1}'), n, a, b) AS numbered INTO pair FROM r;
SELECT (amad_explain(named, n, NULL::int, b) OVER (ORDER BY n)).imputed FROM r, pair LIMIT 1;
SELECT (amad_explain(numbered, n, a, NULL::int) OVER (ORDER BY n)).imputed FROM r, pair LIMIT 1;

-- ---- values of any size

CREATE TABLE models_of_size AS
SELECT size, amad_fit(small('{"steps": 5}'), n, a * size, b) AS m
FROM unnest('{1e-300,1e-12,1e-5,1,1024,1e9,1e15,1e18,1e300}'::float8[]) size, r GROUP BY size;
CREATE TABLE of_size AS
SELECT size, n, (e->>'1')::float8 / size AS expected, (amad_describe(m)->'scaling'->'std'->>0)::float8 = 0 AS constant
FROM models_of_size, LATERAL (
	SELECT n, (amad_explain(m, n, a * size, b) OVER (ORDER BY n)).expected_values AS e FROM r) x
WHERE e IS NOT NULL;
-- no size is too small: the expected values are those of size 1, times the size
SELECT s.size, count(*) AS rows, s.constant, max(abs(s.expected - u.expected)) < 1e-5 AS expected
FROM of_size s JOIN of_size u ON u.n = s.n AND u.size = 1
GROUP BY s.size, s.constant ORDER BY s.size;
-- constant features are expected to be constant, and have the blame when they are not
SELECT amad_train('constant', small('{"steps": 20}'), n, 7, a, 0)->'version' AS version FROM r;
SELECT (e).expected_values - '2' AS expected, (e).direction - '2' AS direction, count(*),
	min(((e).contributions->>'1')::float8) > 0.9 AS first, min(((e).contributions->>'3')::float8) > 0.9 AS third
FROM (SELECT amad_explain('constant', n, CASE WHEN n = 300 THEN 8 ELSE 7 END, a,
		CASE WHEN n = 350 THEN -1e-3 ELSE 0 END) OVER (ORDER BY n) AS e FROM r) x
WHERE (e).severity IS NOT NULL GROUP BY 1, 2 ORDER BY 3, 2;

-- ---- in statements

-- in a view
SELECT count(*) AS rows, count((e).severity) AS scored FROM explanations;
SELECT n, (e).status FROM explanations ORDER BY n LIMIT 2;
-- a cursor
BEGIN;
DECLARE c CURSOR FOR SELECT n, (e).severity = (
	SELECT s FROM (SELECT k.n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r k) x WHERE x.n = v.n) AS same
FROM explanations v;
MOVE 96 FROM c;
FETCH 2 FROM c;
MOVE 200 FROM c;
FETCH 1 FROM c;
COMMIT;
-- partitions of one row are warm-up
SELECT count(*) FROM (SELECT amad_explain('m', n, a, b, c) OVER (PARTITION BY n ORDER BY n) AS e FROM r) x
WHERE (e).status = 'warmup';
-- no rows
SELECT amad_explain('m', n, a, b, c) OVER (ORDER BY n) FROM r WHERE false;

-- ---- bad arguments

SELECT amad_explain('m', n, a, b, c) FROM r;
SELECT amad_explain('m', n, a, b) OVER (ORDER BY n) FROM r;
SELECT amad_explain('m', ts, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain('tz', n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain('nobody', n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain(NULL, n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain('m', n, a, b, 'x'::text) OVER (ORDER BY n) FROM r;

DROP VIEW explanations;
DROP FUNCTION by_value, explained, is_missing, contradictions, blamed, keys, small;
DROP TABLE r, broken, holes, odd, odd_explained, pair, models_of_size, of_size;
DELETE FROM amad_models;
