--
-- amad_score: the same row has the same score, no matter what else is scored with it; the first row of a series that
-- has a score is the one after `warmup` rows; rows out of order are an error, duplicates, invalid timestamps, missing
-- values (missing.sql) and gaps (gaps.sql) are not.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET timezone = 'UTC';
CREATE TABLE r AS
SELECT i::bigint AS n, timestamptz '2026-01-01' + i * interval '1 min' AS ts, sin(i * 0.3) AS a,
	cos(i * 0.17) * 10 + 100 AS b, (hashint4(i) % 1000) / 1000.0::float8 AS c
FROM generate_series(1, 500) i;
CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT '{"window": 8, "d_model": 16, "heads": 2, "layers": 2, "steps": 20, "horizons": [2, 4],
		"advanced": {"batch_size": 2}}'::jsonb $$;
SELECT amad_train('m', tiny(), n, a, b, c)->'warmup' AS warmup FROM r \gset
-- the same rows with time columns of other types
SELECT amad_train('tz', tiny(), ts, a, b, c)->'version' AS tz,
	amad_train('local', tiny(), ts::timestamp, a, b, c)->'version' AS local,
	amad_train('day', tiny() || '{"season": "none"}', date '2026-01-01' + n::int, a, b, c)->'version' AS day FROM r;
SELECT amad_train('other', tiny() || '{"seed": 1}', n, a, b, c)->'version' AS version FROM r;

-- Scores to compare with, as bits.
CREATE TABLE known AS
SELECT n, s, float8send(s) AS bits FROM (SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r) x;

-- ---- warm-up

SELECT :warmup = (amad_describe('m')->>'warmup')::int AS described, :warmup AS warmup,
	2 * (8 - 1) + 14 + 1 + 4 - 1 AS by_hand;
SELECT count(*) AS rows, count(*) FILTER (WHERE s IS NULL) AS unscored,
	min(n) FILTER (WHERE s IS NOT NULL) AS first_scored,
	min(s) >= 0 AS not_negative, max(s) < 'Infinity' AS finite FROM known;
-- the threshold follows from the scores of all rows and of those held out, in blocks of 8 rows
SELECT count(*) FILTER (WHERE held_out) AS held_out,
	abs(threshold_of(array_agg(ratio_of(s)), array_agg(held_out), 1.5 * 0.01) - 1) < 1e-9 AS threshold
FROM (SELECT s, is_held_out(n, 500, 0.1, 8, :warmup) AS held_out FROM known WHERE s IS NOT NULL) x;

-- ---- same row, same score

CREATE FUNCTION compare(query text, OUT rows bigint, OUT scored bigint, OUT differ bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT count(*), count(q.s),
		count(*) FILTER (WHERE float8send(q.s) IS DISTINCT FROM k.bits AND q.s IS NOT NULL)
		FROM (%s) q JOIN known k USING (n)', query) INTO rows, scored, differ;
END $$;
SELECT what, c.* FROM (VALUES
	(1, 'again', 'SELECT n, amad_score(''m'', n, a, b, c) OVER (ORDER BY n) AS s FROM r'),
	(2, 'prefix', 'SELECT n, amad_score(''m'', n, a, b, c) OVER (ORDER BY n) AS s FROM r WHERE n <= 97'),
	(3, 'range', 'SELECT n, amad_score(''m'', n, a, b, c) OVER (ORDER BY n) AS s FROM r WHERE n > 222'),
	(4, 'by value', 'SELECT n, amad_score(model, n, a, b, c) OVER (ORDER BY n) AS s
		FROM r, amad_models WHERE model_name = ''m'''),
	(5, 'by scalar value', 'SELECT n, amad_score((SELECT model FROM amad_models WHERE model_name = ''m''), n, a, b, c)
		OVER (ORDER BY n) AS s FROM r'),
	(6, 'timestamptz', 'SELECT n, amad_score(''tz'', ts, a, b, c) OVER (ORDER BY ts) AS s FROM r'),
	(7, 'timestamp', 'SELECT n, amad_score(''local'', ts::timestamp, a, b, c) OVER (ORDER BY ts) AS s FROM r'),
	(8, 'date', 'SELECT n, amad_score(''day'', date ''2026-01-01'' + n::int, a, b, c) OVER (ORDER BY n) AS s FROM r'),
	(8.1, 'timestamptz by a model of timestamp',
		'SELECT n, amad_score(''local'', ts, a, b, c) OVER (ORDER BY ts) AS s FROM r'),
	(8.2, 'timestamp by a model of timestamptz',
		'SELECT n, amad_score(''tz'', ts::timestamp, a, b, c) OVER (ORDER BY ts) AS s FROM r'),
	(8.3, 'timestamp by a model of date',
		'SELECT n, amad_score(''day'', ts::timestamp, a, b, c) OVER (ORDER BY ts) AS s FROM r'),
	(8.4, 'date by a model of date, another year',
		'SELECT n, amad_score(''day'', date ''1812-01-01'' + n::int, a, b, c) OVER (ORDER BY n) AS s FROM r'),
	(9, 'int', 'SELECT n, amad_score(''m'', n::int, a, b, c) OVER (ORDER BY n) AS s FROM r'),
	(11, 'partitions one after the other', 'SELECT n, amad_score(''m'', n, a, b, c)
		OVER (PARTITION BY d ORDER BY n) AS s FROM r, generate_series(1, 3) d'),
	(12, 'partitions cut out of the series',
		'SELECT n, amad_score(''m'', n, a, b, c) OVER (PARTITION BY n / 100 ORDER BY n) AS s FROM r'),
	(13, 'beside another model', 'SELECT n, amad_score(''m'', n, a, b, c) OVER (ORDER BY n) AS s,
		amad_score(''other'', n, c, b, a) OVER (ORDER BY n) FROM r'),
	(14, 'two windows', 'SELECT n, amad_score(''m'', -n, c, b, a) OVER (ORDER BY n DESC),
		amad_score(''m'', n, a, b, c) OVER (ORDER BY n) AS s FROM r'),
	(15, 'twice in a window', 'SELECT n, amad_score(''m'', n, b, b, b) OVER w,
		amad_score(''m'', n, a, b, c) OVER w AS s, lead(n, 200) OVER w, lag(n, 300) OVER w
		FROM r WINDOW w AS (ORDER BY n)'),
	(16, 'frame', 'SELECT n, amad_score(''m'', n, a, b, c)
		OVER (ORDER BY n ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS s FROM r'),
	(17, 'frame that leaves the row out', 'SELECT n, amad_score(''m'', n, a, b, c)
		OVER (ORDER BY n ROWS BETWEEN 5 FOLLOWING AND 9 FOLLOWING EXCLUDE CURRENT ROW) AS s FROM r'),
	(18, 'limit', 'SELECT n, amad_score(''m'', n, a, b, c) OVER (ORDER BY n) AS s FROM r ORDER BY n LIMIT 50'),
	(19, 'set per partition', 'SELECT n, CASE model_name WHEN ''m'' THEN amad_score(model_name, n, a, b, c)
		OVER (PARTITION BY model_name ORDER BY n) END AS s FROM r, amad_models WHERE model_name IN (''m'', ''other'')'),
	(20, 'model value per partition', 'SELECT n, s FROM (
		SELECT model_name, n, amad_score(model, n, a, b, c) OVER (PARTITION BY model_name ORDER BY n) AS s
		FROM r, amad_models WHERE model_name IN (''m'', ''other'')) x WHERE model_name = ''m'''))
	AS v(i, what, query), compare(query) c ORDER BY i;
-- a query of only the last warmup + 1 rows, for every row
SELECT count(*) AS rows, count(*) FILTER (WHERE float8send(l.s) = k.bits) AS same
FROM known k, LATERAL (SELECT s FROM (SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r
									  WHERE r.n BETWEEN k.n - :warmup AND k.n) x ORDER BY n DESC LIMIT 1) l
WHERE k.s IS NOT NULL;
-- one row less is warm-up
SELECT count(s) AS scored FROM (SELECT amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r
	WHERE n BETWEEN 101 AND 100 + :warmup) x;
-- values more than `warmup` rows before do not matter, nor do those after
SELECT c.* FROM compare(format($$
	SELECT n, s FROM (SELECT n, amad_score('m', n, far, -b, 0) OVER (ORDER BY n) AS x,
			amad_score('m', n, far, b, c) OVER (ORDER BY n) AS s
		FROM (SELECT *, CASE WHEN n < 200 OR n >= 400 THEN 1e9 ELSE a END AS far FROM r) f) q
	WHERE n BETWEEN 200 + %s AND 399$$, :warmup)) c;
SELECT float8send(s) = (SELECT bits FROM known WHERE n = 200) AS row_counts FROM
	(SELECT n, amad_score('m', n, CASE n WHEN 200 THEN a + 1e-3 ELSE a END, b, c) OVER (ORDER BY n) AS s FROM r) x
	WHERE n = 200;
-- cursors
BEGIN;
DECLARE scores CURSOR FOR
SELECT n, round(s::numeric, 9) = round((SELECT k.s FROM known k WHERE k.n = x.n)::numeric, 9) AS same
FROM (SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r) x;
FETCH 2 FROM scores;
MOVE 93 FROM scores;
FETCH 3 FROM scores;
MOVE 400 FROM scores;
FETCH ALL FROM scores;
COMMIT;
-- a scan that is repeated
SELECT d, count(s) AS scored, count(*) FILTER (WHERE float8send(s) <> bits) AS differ
FROM (VALUES (3), (1), (2)) AS v(d), LATERAL (
	SELECT x.n, x.s, bits FROM (SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r
		WHERE n % 3 >= 0 AND d > 0 OFFSET 0) x JOIN known USING (n)
	ORDER BY n LIMIT 100 * d) y GROUP BY d ORDER BY d;
SELECT m, count(x.s) AS scored, bool_and(float8send(x.s) = bits) AS same
FROM (VALUES ('m'), ('other'), ('m')) AS v(m),
	LATERAL (SELECT n, amad_score(m, n, a, b, c) OVER (ORDER BY n) AS s FROM r) x JOIN known USING (n)
WHERE x.s IS NOT NULL GROUP BY m ORDER BY m;
-- prepared statements, with custom plans and a generic one
PREPARE score(text, bigint) AS
SELECT count(x.s) AS scored, bool_and(float8send(x.s) = bits) AS same
FROM (SELECT n, amad_score($1, n, a, b, c) OVER (ORDER BY n) AS s FROM r WHERE n > $2) x JOIN known USING (n)
WHERE x.s IS NOT NULL;
EXECUTE score('m', 0);
EXECUTE score('m', 1);
EXECUTE score('m', 2);
EXECUTE score('m', 3);
EXECUTE score('m', 4);
EXECUTE score('m', 5);
EXECUTE score('m', 6);
EXECUTE score('other', 7);
SET plan_cache_mode = force_generic_plan;
EXECUTE score('m', 8);
EXECUTE score('nobody', 8);
EXECUTE score('m', 8);
RESET plan_cache_mode;
-- inside functions
CREATE FUNCTION scored(name text, since bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE result bigint;
BEGIN
	SELECT count(*) INTO result FROM (SELECT n, amad_score(name, n, a, b, c) OVER (ORDER BY n) AS s FROM r
		WHERE n >= since) x JOIN known USING (n)
	WHERE float8send(x.s) = bits;
	RETURN result;
END $$;
SELECT i, scored('m', i) FROM generate_series(1, 8) i;
CREATE FUNCTION above() RETURNS SETOF float8 STABLE LANGUAGE sql AS $$
	SELECT s FROM (SELECT amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r) x WHERE s > 1 $$;
SELECT count(*) = (SELECT count(*) FROM known WHERE s > 1) AS same FROM above();
CREATE VIEW severity AS SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM r;
SELECT c.* FROM compare('SELECT n, s FROM severity WHERE n BETWEEN 100 AND 199') c;

-- ---- missing values

CREATE TABLE gaps AS
SELECT n, CASE WHEN n BETWEEN 150 AND 155 THEN NULL ELSE a END AS a,
	CASE WHEN n IN (40, 300) THEN 'NaN' WHEN n = 301 THEN '-Infinity' ELSE b END AS b,
	CASE WHEN n % 50 = 0 THEN NULL WHEN n % 50 = 1 THEN 1e400 ELSE c::numeric END AS c FROM r;
CREATE TABLE carried AS
SELECT n, (SELECT a FROM gaps g WHERE g.n <= r.n AND g.a IS NOT NULL ORDER BY n DESC LIMIT 1) AS a,
	(SELECT b FROM gaps g WHERE g.n <= r.n AND g.b > '-Infinity' AND g.b < 'NaN' ORDER BY n DESC LIMIT 1) AS b,
	(SELECT c::float8 FROM gaps g WHERE g.n <= r.n AND g.c < 1e300 ORDER BY n DESC LIMIT 1) AS c FROM r;
-- the last value replaces a missing one, but does not count: scores may differ while a horizon includes the row, or a
-- row that has it among the last 30 rows, for which a larger residual is usual
CREATE VIEW lacks AS
SELECT n, bool_or(a IS NULL OR b IN ('NaN', '-Infinity') OR c IS NULL OR c > 1e300)
	OVER (ORDER BY n ROWS 32 PRECEDING) AS lacks FROM gaps;
SELECT lacks, count(g.s) AS scored, bool_and(float8send(g.s) = float8send(c.s)) AS same
FROM (SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM gaps) g
JOIN (SELECT n, amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s FROM carried) c USING (n) JOIN lacks USING (n)
WHERE c.s IS NOT NULL GROUP BY lacks ORDER BY lacks;
SELECT count(*) AS rows, count(g.x) AS expected, count(*) FILTER (WHERE g.x = c.x) AS same
FROM (SELECT n, (amad_explain('m', n, a, b, c) OVER (ORDER BY n)).expected_values AS x FROM gaps) g
JOIN (SELECT n, (amad_explain('m', n, a, b, c) OVER (ORDER BY n)).expected_values AS x FROM carried) c USING (n);
-- the series starts when every column has had a value, or after fill_limit rows, 8
SELECT what, count(*) AS rows, min(n) FILTER (WHERE s IS NOT NULL) AS first_scored
FROM (SELECT 'b unknown up to 5' AS what, n,
		amad_score('m', n, a, CASE WHEN n > 5 THEN b END, c) OVER (ORDER BY n) AS s FROM r
	UNION ALL SELECT 'a up to 7, b to 120, beyond a block', n,
		amad_score('m', n, CASE WHEN n > 7 THEN a END, CASE WHEN n > 120 THEN b END, c) OVER (ORDER BY n) FROM r
	UNION ALL SELECT 'never b', n, amad_score('m', n, a, NULL, c) OVER (ORDER BY n) FROM r) x
GROUP BY what ORDER BY what;

-- ---- few rows

SELECT amad_score('m', n, a, b, c) OVER (ORDER BY n) FROM r WHERE n = 1;
SELECT amad_score('m', n, a, b, c) OVER (ORDER BY n) FROM r WHERE false;
SELECT amad_score('nobody', n, a) OVER (ORDER BY n) FROM r WHERE false;
SELECT count(s) AS scored, count(*) AS rows
FROM (SELECT amad_score('m', n, a, b, c) OVER (PARTITION BY n ORDER BY n) AS s FROM r) x;

-- ---- anomalies

SELECT max(s) FILTER (WHERE n < 400) < 2 AS before, min(s) FILTER (WHERE n = 400) > 2 AS spike,
	max(s) FILTER (WHERE n >= 400) < 'Infinity' AS finite
FROM (SELECT n, amad_score('m', n, CASE n WHEN 400 THEN 1e308 ELSE a END, b, c) OVER (ORDER BY n) AS s FROM r) x;
-- a constant column that changes
SELECT amad_train('constant', tiny(), n, 7, a)->'version' AS version FROM r;
SELECT max(s) FILTER (WHERE n < 400) < 2 AS before, ratio_of(min(s) FILTER (WHERE n = 400)) > 10 AS at_once
FROM (SELECT n, amad_score('constant', n, CASE WHEN n < 400 THEN 7 ELSE 7.1 END, a) OVER (ORDER BY n) AS s FROM r) x;

-- ---- bad rows

SELECT count(s) FROM (SELECT amad_score('m', n, a, b, c) OVER () AS s FROM (SELECT * FROM r ORDER BY n DESC) r) x;
SELECT count(s) FROM (SELECT amad_score('tz', ts, a, b, c) OVER (ORDER BY n DESC) AS s FROM r) x;
SELECT count(s) FROM (SELECT amad_score('m', n, a, b, c) OVER (ORDER BY n) AS s
	FROM (TABLE r UNION ALL SELECT * FROM r WHERE n = 77) r) x;
SELECT count(s) FROM (SELECT amad_score('m', n / 2, a, b, c) OVER (ORDER BY n / 2) AS s FROM r) x;
SELECT count(s) FROM (SELECT amad_score('m', CASE WHEN n <> 99 THEN n END, a, b, c) OVER (ORDER BY n) AS s FROM r) x;
SELECT count(s)
FROM (SELECT amad_score('tz', CASE WHEN n <> 1 THEN ts ELSE '-infinity' END, a, b, c) OVER (ORDER BY n) AS s FROM r) x;
SELECT count(s) FROM (
	SELECT amad_score('tz', CASE WHEN n < 500 THEN ts::timestamp ELSE 'infinity' END, a, b, c) OVER (ORDER BY n) AS s
	FROM r) x;
-- a LIMIT that ends with a block of rows that are scored together
SELECT count(s) FROM (SELECT amad_score('m', CASE WHEN n <> 97 THEN n END, a, b, c) OVER (ORDER BY n) AS s
	FROM r LIMIT 96) x;

-- ---- bad arguments

SELECT amad_score('m', n, a, b) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', n, a, b, c, a) OVER (ORDER BY n) FROM r;
SELECT amad_train('named', tiny() || '{"features": ["flow", "pressure", "temp"]}', n, a, b, c)->'version' AS version
FROM r;
SELECT amad_score('named', n, a, b) OVER (ORDER BY n) FROM r;
SELECT amad_score(model, n, a, b) OVER (ORDER BY n) FROM r, amad_models WHERE model_name = 'named';
SELECT amad_score('m', n, a, b, 'x'::text) OVER (ORDER BY n) FROM r;
SELECT count(s) AS scored FROM (SELECT amad_score('m', n, a, b, n % 3 = 0) OVER (ORDER BY n) AS s FROM r) x;
SELECT amad_score('m', n, a, b, 'x') OVER (ORDER BY n) FROM r;
SELECT amad_score('m', a, b, c) OVER (ORDER BY n) FROM r;
-- numbers are not times
SELECT amad_score('m', ts, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', ts::timestamp, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', ts::date, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score('tz', n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score(model, n, a, b, c) OVER (ORDER BY n) FROM r, amad_models WHERE model_name = 'local';
SELECT amad_score('day', n::int, a, b, c) OVER (ORDER BY n) FROM r;
-- models of amad_fit and of the aggregate amad_train do not have series
SELECT amad_score('m', '{"device": 7}'::jsonb, n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score(model, to_jsonb(7), n, a, b, c) OVER (ORDER BY n) FROM r, amad_models WHERE model_name = 'm';
SELECT c.* FROM compare('SELECT n, amad_score(''m'', NULL::jsonb, n, a, b, c) OVER (ORDER BY n) AS s FROM r') c;
SELECT amad_score('nobody', n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score('', n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score(NULL, n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score(NULL::amad_model, n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score('m', n, a, b, c) FROM r;
SELECT n FROM r WHERE amad_score('m', n, a, b, c) OVER (ORDER BY n) > 1;
-- the model varies within a partition
SELECT amad_score(CASE WHEN n < 300 THEN 'm' ELSE 'other' END, n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score(CASE WHEN n <> 300 THEN 'm' END, n, a, b, c) OVER (ORDER BY n) FROM r;
SELECT amad_score(model, n, a, b, c) OVER (ORDER BY n) FROM r
JOIN amad_models ON model_name = CASE WHEN n < 300 THEN 'm' ELSE 'other' END;
SELECT amad_score(model, n, a, b, c) OVER (ORDER BY n) FROM r LEFT JOIN amad_models ON model_name = 'm' AND n <> 7;
-- errors do not affect later statements
SELECT c.* FROM compare('SELECT n, amad_score(''m'', n, a, b, c) OVER (ORDER BY n) AS s FROM r') c;

-- ---- versions

-- The seed of the version that scoring by name uses.
CREATE FUNCTION used() RETURNS text LANGUAGE sql AS $$
	SELECT 'seed ' || (amad_describe(m.model)->'options'->>'seed') FROM amad_models m, LATERAL (
		SELECT amad_score('v', n, a, b) OVER (ORDER BY n) AS by_name,
			amad_score(m.model, n, a, b) OVER (ORDER BY n) AS by_value FROM r WHERE n < 100) s
	WHERE model_name = 'v' GROUP BY m.version, m.model::text, 1
	HAVING bool_and(by_name IS NOT DISTINCT FROM by_value) AND count(by_name) > 0 $$;
SELECT amad_train('v', tiny() || '{"seed": 1}', n, a, b)->'version' AS version FROM r;
SELECT used();
BEGIN;
SELECT amad_train('v', tiny() || '{"seed": 2}', n, a, b)->'version' AS version FROM r;
SELECT used();
SAVEPOINT s;
SELECT amad_train('v', tiny() || '{"seed": 3}', n, a, b)->'version' AS version FROM r;
SELECT used();
ROLLBACK TO s;
SELECT used();
ROLLBACK;
SELECT used();
SELECT amad_train('v', tiny() || '{"seed": 4}', n, a, b)->'version' AS version FROM r;
SELECT used();
UPDATE amad_models SET deployed = version = 1 WHERE model_name = 'v';
SELECT used();
UPDATE amad_models SET model = (SELECT amad_fit(tiny() || '{"seed": 5}', n, a, b) FROM r)
WHERE model_name = 'v' AND version = 1;
SELECT used();
UPDATE amad_models SET deployed = false WHERE model_name = 'v';
SELECT amad_score('v', n, a, b) OVER (ORDER BY n) FROM r;
SELECT amad_train('v', tiny() || '{"seed": 6}', n, a, b)->'version' AS version FROM r;
SELECT used();
DELETE FROM amad_models WHERE model_name = 'v';
SELECT amad_score('v', n, a, b) OVER (ORDER BY n) FROM r;
-- a statement keeps its snapshot
SELECT amad_train('v', tiny() || '{"seed": 7}', n, a, b)->'version' AS version FROM r;
BEGIN;
DECLARE old CURSOR FOR SELECT amad_score('v', n, a, b) OVER (PARTITION BY n / 100 ORDER BY n) =
	amad_score((SELECT model FROM amad_models WHERE model_name = 'v'), n, a, b) OVER (PARTITION BY n / 100
		ORDER BY n) AS same FROM r;
MOVE 60 FROM old;
FETCH 1 FROM old;
DELETE FROM amad_models WHERE model_name = 'v';
SELECT amad_train('v', tiny() || '{"seed": 8}', n, a, b)->'version' AS version FROM r;
MOVE 300 FROM old;
FETCH 1 FROM old;
COMMIT;

-- ---- memory

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN program_limit_exceeded THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || regexp_replace(sqlerrm, ' \d+ kB,', ' N kB,') || ' ' || hint;
END $$;
CREATE TABLE big AS SELECT amad_fit('{"window": 4096, "d_model": 64, "layers": 1, "steps": 1, "horizons": [1],
	"advanced": {"chunk_length": 16, "batch_size": 1}}'::jsonb, i, sin(i)) AS model
FROM generate_series(1, 4200) i;
SET work_mem = '1MB';
SELECT refusal('SELECT amad_score(model, i, 1) OVER (ORDER BY i) FROM big, generate_series(1, 10) i');
SET work_mem = '16MB';
SELECT refusal('SELECT amad_score(model, i, 1) OVER (ORDER BY i) FROM big, generate_series(1, 10) i');
RESET work_mem;

DROP VIEW severity, lacks;
DROP FUNCTION above, scored, compare, used, refusal, tiny();
DROP TABLE r, known, gaps, carried, big;
DELETE FROM amad_models;
