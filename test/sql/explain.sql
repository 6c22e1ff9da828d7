--
-- amad_explain: one row of columns that agree with each other for every input row, whatever
-- the row; the severity of amad_score to the bit; reasons that name the right feature.
--
-- the planner does not know how few the rows are: compiling takes longer than all else
SET jit = off;
SET timezone = 'UTC';
CREATE TABLE r AS
SELECT i::bigint AS n, timestamptz '2026-01-01' + i * interval '1 min' AS ts, sin(i * 0.3) AS a,
	cos(i * 0.17) * 10 + 100 AS b, sin(i * 0.3 + 1) * 1e-5 AS c
FROM generate_series(1, 400) i;
CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT '{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 250, "horizons": [1, 4], "advanced": {"batch_size": 4}}'::jsonb $$;
SELECT amad_train('m', tiny() || '{"features": ["flow", "pressure", "temp"]}', n, a, b, c)->'version' AS version FROM r;
SELECT amad_train('m', tiny() || '{"features": ["flow", "pressure", "temp"], "seed": 1}', n, a, b, c)->'version' AS version FROM r;
SELECT d->'context' AS context, d->'warmup' AS warmup FROM amad_describe('m') d;

-- ---- the columns

SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid = 'amad_result'::regclass ORDER BY attnum;

-- What amad_explain says of the rows of a table (n, ts, a, b, c), with model m.
CREATE FUNCTION explained(rows regclass) RETURNS TABLE (n bigint, anomaly_score float8, threshold float8, severity float8,
	is_anomaly boolean, expected_values jsonb, contributions jsonb, direction jsonb, imputed text[], status text, model_version int) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT n, (e).* FROM (SELECT n, amad_explain(''m'', n, a, b, c) OVER (ORDER BY n) AS e FROM %s OFFSET 0) x', rows);
END $$;

-- Rows of a result whose columns contradict each other or the row, and why.
CREATE FUNCTION contradictions(rows regclass) RETURNS TABLE (place bigint, why text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($q$
		WITH x AS MATERIALIZED (SELECT e.*, s.*, (amad_describe('m')->>'threshold')::float8 AS t FROM explained(%1$L) e FULL JOIN (
			SELECT n AS place, float8send(amad_score('m', n, a, b, c) OVER (ORDER BY n)) AS bits,
				array_remove(ARRAY[CASE WHEN coalesce(a::float8, 'NaN') IN ('NaN', 'Infinity', '-Infinity') THEN 'flow' END,
								   CASE WHEN coalesce(b::float8, 'NaN') IN ('NaN', 'Infinity', '-Infinity') THEN 'pressure' END,
								   CASE WHEN coalesce(c::float8, 'NaN') IN ('NaN', 'Infinity', '-Infinity') THEN 'temp' END], NULL) AS missing,
				jsonb_build_object('flow', a, 'pressure', b, 'temp', c) AS actual FROM %1$s) s ON s.place = e.n)
		SELECT x.place, w.why FROM x, unnest(array_remove(ARRAY[
			CASE WHEN n IS DISTINCT FROM place THEN 'another row' END,
			CASE WHEN float8send(severity) IS DISTINCT FROM bits THEN 'another severity' END,
			CASE WHEN severity IS DISTINCT FROM anomaly_score / threshold THEN 'severity' END,
			CASE WHEN is_anomaly IS DISTINCT FROM (severity >= 1) THEN 'is_anomaly' END,
			CASE WHEN threshold IS DISTINCT FROM t THEN 'threshold' END,
			CASE WHEN (status IS NULL) <> (severity IS NOT NULL) THEN 'status' END,
			CASE WHEN coalesce(imputed, '{}') <> missing OR imputed = '{}' THEN 'imputed' END,
			CASE WHEN num_nulls(expected_values, direction) = 1 OR (contributions IS NOT NULL AND expected_values IS NULL) THEN 'nulls' END,
			CASE WHEN severity IS NOT NULL AND contributions IS NULL THEN 'no contributions' END,
			CASE WHEN abs((SELECT sum(v::numeric) FROM jsonb_each_text(contributions) AS j(k, v)) - 1) > 3e-6 THEN 'sum' END,
			CASE WHEN EXISTS (SELECT FROM jsonb_each_text(contributions) AS j(k, v) WHERE v::float8 < 0 OR v::float8 > 1) THEN 'share' END,
			CASE WHEN EXISTS (SELECT FROM unnest(imputed) i WHERE contributions->i <> '0' OR direction->i <> '0') THEN 'imputed counts' END,
			CASE WHEN EXISTS (SELECT FROM unnest(ARRAY[expected_values, contributions, direction]) o WHERE o IS NOT NULL AND
				(SELECT string_agg(k, ' ') FROM jsonb_object_keys(o) k) <> 'flow temp pressure') THEN 'keys' END,
			-- expected values have seven digits
			CASE WHEN EXISTS (SELECT FROM jsonb_each_text(direction) AS j(k, v) WHERE k <> ALL (missing) AND sign((actual->>k)::float8 - (expected_values->>k)::float8) <> v::float8
				AND abs((actual->>k)::float8 - (expected_values->>k)::float8) > 1e-6 * abs((actual->>k)::float8)) THEN 'direction' END,
			CASE WHEN EXISTS (SELECT FROM jsonb_each_text(direction) AS j(k, v) WHERE v NOT IN ('-1', '0', '1')) THEN 'no direction' END], NULL)) AS w(why) ORDER BY 1$q$, rows);
END $$;

-- ---- rows as they should be

SELECT coalesce(status, 'fine') AS status, count(*), min(n), max(n), count(expected_values) AS expected, count(contributions) AS contributions, count(severity) AS scored,
	count(imputed) AS imputed, min(model_version) AS version
FROM explained('r') GROUP BY status ORDER BY min(n), status;
SELECT * FROM contradictions('r');
-- expected values are in the features' own units, and near the actual ones: three quarters of the variance
SELECT 1 - avg((a - (expected_values->>'flow')::float8) ^ 2) / var_pop(a) > 0.75 AS flow,
	1 - avg((b - (expected_values->>'pressure')::float8) ^ 2) / var_pop(b) > 0.75 AS pressure,
	1 - avg((c - (expected_values->>'temp')::float8) ^ 2) / var_pop(c) > 0.75 AS temp
FROM explained('r') JOIN r USING (n) WHERE expected_values IS NOT NULL;

-- ---- a broken sensor has most of the blame, at once

CREATE TABLE broken (LIKE r);
CREATE FUNCTION blamed(change text) RETURNS TABLE (is_anomaly boolean, most text, share_above_half boolean, direction jsonb, expected_near boolean, contradictions bigint) LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE broken;
	INSERT INTO broken TABLE r;
	EXECUTE 'UPDATE broken SET ' || change || ' WHERE n = 300';
	RETURN QUERY SELECT x.is_anomaly, m.k, m.v > 0.5, x.direction->m.k,
		abs((x.expected_values->>'flow')::float8) < 3 AND (x.expected_values->>'pressure')::float8 BETWEEN 80 AND 120 AND abs((x.expected_values->>'temp')::float8) < 3e-5,
		(SELECT count(*) FROM contradictions('broken'))
	FROM explained('broken') x, LATERAL (SELECT k, v::float8 FROM jsonb_each_text(contributions) AS j(k, v) ORDER BY v::float8 DESC LIMIT 1) AS m(k, v) WHERE x.n = 300;
END $$;
SELECT change, b.* FROM unnest('{a = 50,a = -50,b = b + 50,b = 0,c = 1,c = -1e300,a = 1e300}'::text[]) change, blamed(change) b;

-- ---- missing values of every kind

CREATE TABLE holes AS
SELECT n, ts, CASE WHEN n % 40 = 1 THEN NULL WHEN n % 40 = 2 THEN 'NaN' WHEN n % 40 = 3 THEN 'Infinity' WHEN n % 40 = 4 THEN '-Infinity' WHEN n = 250 THEN NULL ELSE a END AS a,
	CASE WHEN n % 40 IN (2, 9) THEN NULL WHEN n BETWEEN 120 AND 140 THEN 'NaN' WHEN n = 250 THEN 'NaN' ELSE b::float4 END AS b,
	CASE WHEN n % 40 = 5 THEN NULL WHEN n % 40 = 6 THEN 'NaN' WHEN n IN (250, 370) THEN NULL ELSE c::numeric END AS c FROM r;
SELECT * FROM contradictions('holes');
SELECT imputed, count(*) AS rows, count(severity) AS scored, count(expected_values) AS expected, string_agg(DISTINCT status, ', ' ORDER BY status) AS status
FROM explained('holes') GROUP BY imputed ORDER BY imputed;
-- all of them: no severity, yet something was expected
SELECT severity, is_anomaly, expected_values IS NOT NULL AS expected, contributions, direction, imputed, status FROM explained('holes') WHERE n = 250;
-- numerics beyond double precision
SELECT (e).imputed, count(*) FROM (SELECT amad_explain('m', n, CASE WHEN n % 100 = 7 THEN 1e400 ELSE a::numeric END, b,
	CASE n % 100 WHEN 8 THEN -1e400 WHEN 9 THEN 'Infinity' WHEN 10 THEN '-Infinity' WHEN 11 THEN 1e-400 ELSE c::numeric END) OVER (ORDER BY n) AS e FROM r) x
GROUP BY 1 ORDER BY 1;
-- a model that does not accept them says so, and goes on
SELECT amad_train('strict', tiny() || '{"missing": "error", "steps": 2}', n, a, b)->'version' AS version FROM r;
SELECT (e).imputed, (e).status, count(*) AS rows, count((e).severity) AS scored, count((e).expected_values) AS expected
FROM (SELECT n, amad_explain('strict', n, a, b) OVER (ORDER BY n) AS e FROM holes) x WHERE n > 60 GROUP BY 1, 2 ORDER BY 1, 2;

-- ---- status

-- duplicates, null and infinite timestamps among the rows: they change nothing for the others
SELECT amad_train('tz', tiny() || '{"steps": 2}', ts, a, b, c)->'version' AS version FROM r;
CREATE TABLE odd AS
SELECT n AS place, ts, a, b, c FROM r
UNION ALL SELECT n + 0.5, CASE n % 4 WHEN 0 THEN ts WHEN 1 THEN NULL WHEN 2 THEN 'infinity'::timestamptz ELSE '-infinity' END, 99, 99, 99 FROM r WHERE n % 10 IN (0, 1, 4, 5, 6, 7);
CREATE TABLE odd_said AS
SELECT place, ts, (e).* FROM (SELECT place, ts, amad_explain('tz', ts, a, b, c) OVER (ORDER BY place) AS e FROM odd OFFSET 0) x;
SELECT count(*) AS rows, count(*) = (SELECT count(*) FROM odd) AS every FROM odd_said;
SELECT coalesce(status, 'fine') AS status, CASE WHEN isfinite(ts) THEN 'finite' ELSE coalesce(ts::text, 'null') END AS ts, count(*), count(severity) AS scored, count(is_anomaly) AS judged,
	count(expected_values) AS expected, count(contributions) AS contributions, count(threshold) AS threshold, bool_and(place = floor(place)) AS own
FROM odd_said GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(o.severity) AS scored, count(*) FILTER (WHERE float8send(o.severity) = float8send(s)) AS same
FROM odd_said o JOIN (SELECT n AS place, amad_score('tz', ts, a, b, c) OVER (ORDER BY ts) AS s FROM r) x USING (place);
-- the same with the other types of time
SELECT count(*) AS rows, count((p.e).severity) AS scored,
	bool_and(((p.e).anomaly_score, (p.e).expected_values, (p.e).contributions, (p.e).direction, (p.e).imputed, (p.e).status) IS NOT DISTINCT FROM
			 (o.anomaly_score, o.expected_values, o.contributions, o.direction, o.imputed, o.status)) AS same
FROM (SELECT place, amad_explain('tz', ts::timestamp, a, b, c) OVER (ORDER BY place) AS e FROM odd) p JOIN odd_said o USING (place);
SELECT (e).status, count(*), count((e).severity) AS scored
FROM (SELECT amad_explain('m', CASE n % 50 WHEN 7 THEN n - 1 WHEN 8 THEN NULL ELSE n END, a, b, c) OVER (ORDER BY n) AS e FROM r) x GROUP BY 1 ORDER BY 1;
-- rows out of order mean another ORDER BY: an error, as of amad_score
SELECT amad_explain('m', n, a, b, c) OVER (ORDER BY n DESC) FROM r;
SELECT amad_explain('tz', ts, a, b, c) OVER (ORDER BY n DESC) FROM r;
SELECT amad_explain('tz', CASE WHEN n = 7 THEN ts - interval '1 hour' ELSE ts END, a, b, c) OVER (ORDER BY n) FROM r;
-- a gap
SELECT coalesce((e).status, 'fine') AS status, count(*), min(n), max(n), count((e).severity) AS scored, count((e).expected_values) AS expected
FROM (SELECT n, amad_explain('m', n, a, b, c) OVER (ORDER BY n) AS e FROM (SELECT CASE WHEN n > 200 THEN n + 10 ELSE n END AS n, a, b, c FROM r) y) x
GROUP BY 1, n > 205 ORDER BY 3;

-- ---- by name, by value, series by series

SELECT count(*) AS rows, bool_and((n.e).model_version = 2 AND (v.e).model_version IS NULL AND (o.e).model_version IS NULL) AS versions,
	count(*) FILTER (WHERE ((n.e).severity, (n.e).expected_values, (n.e).contributions) IS NOT DISTINCT FROM ((v.e).severity, (v.e).expected_values, (v.e).contributions)) AS same,
	count(*) FILTER (WHERE ((n.e).severity, (n.e).expected_values, (n.e).contributions) IS NOT DISTINCT FROM ((o.e).severity, (o.e).expected_values, (o.e).contributions)) AS same_as_version_1
FROM (SELECT n, amad_explain('m', n, a, b, c) OVER (ORDER BY n) AS e FROM r) n
JOIN (SELECT n, amad_explain(model, n, a, b, c) OVER (ORDER BY n) AS e FROM r, amad_models WHERE model_name = 'm' AND version = 2) v USING (n)
JOIN (SELECT n, amad_explain(model, n, a, b, c) OVER (ORDER BY n) AS e FROM r, amad_models WHERE model_name = 'm' AND version = 1) o USING (n);
SELECT p, count(*) AS rows, count(*) FILTER (WHERE (x.e, x.f) IS NOT DISTINCT FROM (w.e, w.e)) AS same
FROM (SELECT p, n, amad_explain('m', n, a, b, c) OVER (PARTITION BY p ORDER BY n) AS e, amad_explain('m', n, VARIADIC ARRAY[a, b, c]) OVER (PARTITION BY p ORDER BY n) AS f FROM r, generate_series(1, 2) p) x
JOIN (SELECT n, amad_explain('m', n, a, b, c) OVER (ORDER BY n) AS e FROM r) w USING (n) GROUP BY p ORDER BY p;
SELECT count(*) AS rows, count(*) FILTER (WHERE x.e IS NOT DISTINCT FROM w.e) AS same
FROM (SELECT n, amad_explain('m', NULL::jsonb, n, a, b, c) OVER (ORDER BY n) AS e FROM r) x JOIN (SELECT n, amad_explain('m', n, a, b, c) OVER (ORDER BY n) AS e FROM r) w USING (n);
SELECT amad_explain('m', '{"device": 1}'::jsonb, n, a, b, c) OVER (ORDER BY n) FROM r;

-- ---- keys: names in jsonb's order, whatever the features' order

CREATE FUNCTION keys(names jsonb, m amad_model) RETURNS TABLE (keys text, found bigint, canonical boolean, shares numeric) LANGUAGE plpgsql AS $$
DECLARE v text;
BEGIN
	SELECT string_agg(format('sin(n * 0.1 * %s) * %s', i, i), ', ' ORDER BY i) INTO v FROM generate_series(1, jsonb_array_length(amad_describe(m)->'features')) i;
	RETURN QUERY EXECUTE format($q$
		SELECT (SELECT string_agg(k, ' ') FROM jsonb_object_keys((e).expected_values) k),
			(SELECT count(*) FROM jsonb_array_elements_text(%L) k WHERE (e).expected_values ? k AND (e).contributions->>k >= '0' AND ((e).direction->>k)::int IN (-1, 1)),
			((e).expected_values::text::jsonb, (e).contributions::text::jsonb, (e).direction::text::jsonb) = ((e).expected_values, (e).contributions, (e).direction)
				AND (SELECT jsonb_object_agg(k, v) FROM jsonb_each((e).expected_values) AS j(k, v)) = (e).expected_values,
			(SELECT round(sum(v::numeric), 4) FROM jsonb_each_text((e).contributions) AS j(k, v))
		FROM (SELECT n, amad_explain($1, n, %s) OVER (ORDER BY n) AS e FROM r) x WHERE n = 100$q$, names, v) USING m;
END $$;
SELECT k.* FROM (SELECT amad_fit(tiny() || '{"steps": 1}', n, VARIADIC ARRAY(SELECT sin(n * 0.1 * i) * i FROM generate_series(1, 12) i)) AS m FROM r) x,
	keys('["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]', m) k;
SELECT k.* FROM (VALUES ('["b", "a", "zz", "ab", "B", "ba", "a\"b", "\\", "ä", "Ä", "日本", " ", "a b", "\n", "''"]'::jsonb), ('["only"]'), ('["q\"\"", "p\\\\"]')) AS v(names),
	LATERAL (SELECT amad_fit(tiny() || '{"steps": 1}' || jsonb_build_object('features', names), n,
							 VARIADIC ARRAY(SELECT sin(n * 0.1 * i) * i FROM generate_series(1, jsonb_array_length(names)) i)) AS m FROM r) x, keys(names, m) k;
-- in imputed, too
SELECT (amad_explain((SELECT amad_fit(tiny() || '{"steps": 1, "features": ["x\"y", "ä"]}', n, a, b) FROM r), n, NULL::int, b) OVER (ORDER BY n)).imputed FROM r LIMIT 1;
SELECT (amad_explain((SELECT amad_fit(tiny() || '{"steps": 1}', n, a, b) FROM r), n, a, NULL::int) OVER (ORDER BY n)).imputed FROM r LIMIT 1;

-- ---- values of any size

CREATE TABLE models_of_size AS
SELECT size, amad_fit(tiny() || '{"steps": 5}', n, a * size, b) AS m FROM unnest('{1e-300,1e-12,1e-5,1,1024,1e9,1e15,1e18,1e300}'::float8[]) size, r GROUP BY size;
-- too small to be told from a constant, which is expected; otherwise as much as a's, in units of size
SELECT s.size, count(*) AS rows, (amad_describe(m)->'scaling'->'std'->>0)::float8 = 0 AS constant,
	max(abs((x.e->>'1')::float8 / s.size - CASE WHEN s.size < 1e-5 THEN (amad_describe(m)->'scaling'->'mean'->>0)::float8 / s.size ELSE (u.e->>'1')::float8 END)) < 1e-5 AS expected
FROM models_of_size s, LATERAL (SELECT n, (amad_explain(m, n, a * size, b) OVER (ORDER BY n)).expected_values AS e FROM r) x
	JOIN LATERAL (SELECT n, (amad_explain(m, n, a, b) OVER (ORDER BY n)).expected_values AS e FROM r, models_of_size WHERE size = 1) u USING (n)
WHERE x.e IS NOT NULL GROUP BY s.size, m::text, 3 ORDER BY s.size;
DROP TABLE models_of_size;
-- constant features are expected to be constant
SELECT amad_train('constant', tiny() || '{"steps": 20}', n, 7, a, 0)->'version' AS version FROM r;
SELECT (e).expected_values - '2' AS expected, (e).direction - '2' AS direction, count(*), min(((e).contributions->>'1')::float8) > 0.9 AS first, min(((e).contributions->>'3')::float8) > 0.9 AS third
FROM (SELECT amad_explain('constant', n, CASE WHEN n = 300 THEN 8 ELSE 7 END, a, CASE WHEN n = 350 THEN -1e-3 ELSE 0 END) OVER (ORDER BY n) AS e FROM r) x
WHERE (e).severity IS NOT NULL GROUP BY 1, 2 ORDER BY 3, 2;

-- ---- where it can stand

CREATE VIEW said AS SELECT n, amad_explain('m', n, a, b, c) OVER (ORDER BY n) AS e FROM r;
SELECT count(*) AS rows, count((e).severity) AS scored FROM said;
SELECT n, (e).status FROM said ORDER BY n LIMIT 2;
BEGIN;
DECLARE c CURSOR FOR SELECT n, (e).severity = (SELECT x.s FROM (SELECT k.n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r k) x WHERE x.n = said.n) AS same FROM said;
MOVE 96 FROM c;
FETCH 2 FROM c;
MOVE 200 FROM c;
FETCH 1 FROM c;
COMMIT;
SELECT count(*) FROM (SELECT amad_explain('m', n, a, b, c) OVER (PARTITION BY n ORDER BY n) AS e FROM r) x WHERE (e).status = 'warmup';
SELECT amad_explain('m', n, a, b, c) OVER (ORDER BY n) FROM r WHERE false;
SELECT amad_explain('m', n, a, b, c) FROM r;
SELECT amad_explain('m', n, a, b) OVER (ORDER BY n) FROM r;
SELECT amad_explain('m', ts, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain('tz', n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain('nobody', n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain(NULL, n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_explain('m', n, a, b, 'x'::text) OVER (ORDER BY n) FROM r;

DROP VIEW said;
DROP FUNCTION explained, contradictions, blamed, keys, tiny;
DROP TABLE r, broken, holes, odd, odd_said;
DELETE FROM amad_models;
