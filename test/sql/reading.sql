--
-- Reading by count: which rows amad_detect reads for a range, in each form of its query.
-- test/t/011_reading.pl compares the results of random ranges with those of a detection on all rows.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA reading_test;
SET search_path = reading_test, public, helpers;
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET timezone = 'UTC';
CREATE FUNCTION at(n bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
	SELECT timestamptz '2026-01-01 00:00+00' + n * interval '1 min' $$;

-- The form of a query
CREATE FUNCTION form(query text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN query ~ 'WITH RECURSIVE' THEN 'each series, by steps' WHEN query ~ 'LATERAL' THEN 'each series in the range'
		WHEN query ~ ' LIMIT ' THEN 'one series' ELSE 'once' END $$;
-- Rows that the scans of a query return or drop
CREATE FUNCTION rows_read(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, TIMING off, FORMAT json) ' || query INTO plan;
	RETURN (SELECT sum(((n->>'Actual Rows')::float8 + coalesce((n->>'Rows Removed by Filter')::float8, 0)
			+ coalesce((n->>'Rows Removed by Index Recheck')::float8, 0)) * (n->>'Actual Loops')::float8)
		FROM jsonb_path_query(plan, 'strict $.**') n WHERE jsonb_typeof(n) = 'object' AND n ? 'Relation Name');
END $$;
-- What it does: the form, and the rows read for each series, relative to warm-up + fill_limit + 1 if it is at most 1.05
CREATE FUNCTION reads(query text, series int, depth int) RETURNS text LANGUAGE sql AS $$
	SELECT form(query) || CASE WHEN r <= 1.05 * series * depth THEN ', few rows' ELSE ', ' || round(r / series) || ' rows' END
	FROM rows_read(query) r $$;
-- Rows of a detection that are not equal to those of the whole detection, on the same range
CREATE FUNCTION different(model text, source text, arguments text, inside text DEFAULT 'true', last bigint DEFAULT 100000,
	OUT rows bigint, OUT different bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TEMP TABLE part AS SELECT * FROM amad_detect(%L, source => %L, %s)', model, source, arguments);
	EXECUTE format('CREATE TEMP TABLE whole AS SELECT d.* FROM (SELECT *, dense_rank() OVER (PARTITION BY series ORDER BY ts DESC NULLS LAST) AS number
		FROM amad_detect(%L, source => %L) WHERE %s) n, LATERAL (SELECT n.series, n.ts, n.anomaly_score, n.threshold, n.severity, n.is_anomaly,
		n.expected_values, n.expected_lower, n.expected_upper, n.contributions, n.direction, n.imputed, n.status, n.model_version) d WHERE number <= %s',
		model, source, inside, last);
	SELECT count(*) INTO rows FROM part;
	SELECT count(*) INTO different FROM ((TABLE part EXCEPT ALL TABLE whole) UNION ALL (TABLE whole EXCEPT ALL TABLE part)) x;
	DROP TABLE part, whole;
END $$;

-- ---- which form, and how many rows

-- 20 series of 3,000 rows, one of which reports hourly and the others every minute
CREATE TABLE r AS SELECT d AS device, CASE WHEN d = 0 THEN at((n - 2000) * 60) ELSE at(n + 57000) END AS ts,
	sin(n / 7.0) + 0.3 * noise(n + d) AS a, cos(n / 9.0) + 0.3 * noise(d - n) AS b FROM generate_series(1, 3000) n, generate_series(0, 19) d;
ALTER TABLE r ALTER device SET NOT NULL, ALTER ts SET NOT NULL;
SELECT amad_train('m', 'r', series_cols => '{device}', options => tiny('{"fill_limit": 64}'))->'warmup' AS warmup;
-- 25 + 64 + 1 rows are needed for the newest row
\set depth 90
-- without an index: rows of the time that the slowest series needs
SELECT form(amad_detect_query('m', since => at(60000)));
SELECT form(amad_detect_query('m', last_n => 1));
SELECT form(amad_detect_query('m', last_n => 1, series => '{"device": 7}'));
-- an index on the time alone helps only without series columns
CREATE INDEX r_ts ON r (ts);
SELECT form(amad_detect_query('m', since => at(60000)));
CREATE VIEW one AS SELECT ts, a, b FROM r WHERE device = 7;
SELECT amad_train('one', 'one', options => tiny('{"fill_limit": 64}'))->'warmup' AS warmup;
SELECT form(amad_detect_query('one', since => at(60000)));
-- with an index on series and time, few rows are read
DROP INDEX r_ts;
CREATE INDEX r_device_ts ON r (device, ts);
SELECT form(amad_detect_query('m', since => at(60000)));
ANALYZE r;
SELECT reads(amad_detect_query('m', since => at(60000)), 20, :depth);
SELECT reads(amad_detect_query('m', last_n => 1), 20, :depth);
SELECT reads(amad_detect_query('m', last_n => 1, series => '{"device": 7}'), 1, :depth);
SELECT reads(amad_detect_query('m', since => at(60000), series => '{"device": 7}'), 1, :depth);
SELECT reads(amad_detect_query('one', since => at(60000)), 1, :depth);
CREATE INDEX r_ts ON r (ts);
SELECT reads(amad_detect_query('m', since => at(60000)), 20, :depth);
SELECT reads(amad_detect_query('m', last_n => 1), 20, :depth);
SELECT reads(amad_detect_query('m', last_n => 10, until => at(59900)), 20, :depth + 9);
-- so it is for partitions, views and queries
CREATE TABLE parts (LIKE r) PARTITION BY RANGE (ts);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2026-02-11 05:00');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-11 05:00') TO (MAXVALUE);
INSERT INTO parts TABLE r;
CREATE INDEX ON parts (device, ts);
CREATE INDEX ON parts (ts);
ANALYZE parts;
CREATE VIEW v AS SELECT a, b, device, ts FROM r WHERE a < 1e9;
SELECT s AS source, reads(amad_detect_query('m', since => at(60000), source => s), 20, :depth), reads(amad_detect_query('m', last_n => 1, source => s), 20, :depth)
FROM unnest('{parts,v,SELECT * FROM v}'::text[]) s;
-- an index that one partition lacks does not help, nor does one of another order, or of some rows
CREATE TABLE lacking (LIKE r) PARTITION BY RANGE (ts);
CREATE TABLE lacking_1 PARTITION OF lacking FOR VALUES FROM (MINVALUE) TO ('2026-02-11 05:00');
CREATE TABLE lacking_2 PARTITION OF lacking FOR VALUES FROM ('2026-02-11 05:00') TO (MAXVALUE);
CREATE INDEX ON lacking_1 (device, ts);
CREATE TABLE other (LIKE r);
CREATE TABLE other_child () INHERITS (other);
CREATE INDEX ON other (device, ts);
INSERT INTO other_child TABLE r;
CREATE TABLE reversed AS TABLE r;
CREATE INDEX ON reversed (ts, device);
CREATE TABLE partial AS TABLE r;
CREATE INDEX ON partial (device, ts) WHERE device > 3;
SELECT s AS source, form(amad_detect_query('m', since => at(60000), source => s)) FROM unnest('{lacking,other,reversed,partial}'::text[]) s;
-- nothing is to be read around the range
SELECT form(amad_detect_query('m')), form(amad_detect_query('m', until => at(500))), form(amad_detect_query('m', since => '-infinity'));

-- ---- results

SELECT * FROM different('m', 'r', $$since => at(59990)$$, 'ts >= at(59990)');
SELECT * FROM different('m', 'r', $$since => at(59100), until => at(59300)$$, 'ts >= at(59100) AND ts < at(59300)');
SELECT * FROM different('m', 'r', 'last_n => 3', 'true', 3);
SELECT * FROM different('m', 'r', $$last_n => 3, until => at(59300)$$, 'ts < at(59300)', 3);
-- duplicates take the place of other rows, which are read by another query
INSERT INTO r SELECT r.device, r.ts, r.a + n, r.b FROM r, generate_series(1, 2) n WHERE device = 5 AND ts BETWEEN at(59900) AND at(59960);
SELECT * FROM different('m', 'r', $$since => at(59990)$$, 'ts >= at(59990)');
SELECT * FROM different('m', 'r', $$since => at(59930), series => '{"device": 5}'$$, $$ts >= at(59930) AND series->'device' = '5'$$);
SELECT * FROM different('m', 'r', 'last_n => 40', 'true', 40);
SELECT * FROM different('m', 'r', $$since => at(59961), series => '{"device": 5}'$$, $$ts >= at(59961) AND series->'device' = '5'$$);
-- rows without a time are returned by last_n, if a series has no newer ones
ALTER TABLE r ALTER ts DROP NOT NULL;
INSERT INTO r VALUES (6, NULL, 1, 1), (6, '-infinity', 1, 1), (6, 'infinity', 1, 1), (21, NULL, 1, 1);
SELECT series->'device' AS device, count(*) FROM amad_detect('m', last_n => 2000) WHERE status = 'invalid_ts' GROUP BY 1 ORDER BY 1;
SELECT series->'device' AS device, count(*) FROM amad_detect('m', last_n => 5) WHERE status = 'invalid_ts' GROUP BY 1 ORDER BY 1;
SELECT series->'device' AS device, count(*) FROM amad_detect('m', since => at(0)) WHERE status = 'invalid_ts' GROUP BY 1 ORDER BY 1;
SELECT series->'device' AS device, count(*) FROM amad_detect('m', since => at(0), until => at(60000)) WHERE status = 'invalid_ts' GROUP BY 1 ORDER BY 1;
DELETE FROM r WHERE ts IS NULL OR NOT isfinite(ts);
-- a series whose column is null
ALTER TABLE r ALTER device DROP NOT NULL;
INSERT INTO r SELECT NULL, ts, a, b FROM r WHERE device = 8;
SELECT form(amad_detect_query('m', since => at(59990)));
SELECT * FROM different('m', 'r', $$since => at(59990)$$, 'ts >= at(59990)');
SELECT * FROM different('m', 'r', 'last_n => 3', 'true', 3);
SELECT * FROM different('m', 'r', $$last_n => 3, series => '{"device": null}'$$, $$series->'device' = 'null'$$, 3);
DROP INDEX r_ts;
SELECT form(amad_detect_query('m', since => at(59990)));
SELECT * FROM different('m', 'r', $$since => at(59990)$$, 'ts >= at(59990)');
-- plans are made again when an index is gone
SELECT count(*) FROM amad_detect('m', since => at(60000));
DROP INDEX r_device_ts;
SELECT form(amad_detect_query('m', since => at(60000)));
SELECT count(*) FROM amad_detect('m', since => at(60000));

-- values that are equal without being identical are one series
CREATE TABLE equal AS SELECT (ARRAY[1.0, 1.00, 2.0])[1 + n % 3] AS x, (ARRAY['-0', '0', '7'])[1 + n % 3]::float8 AS y,
	(ARRAY['a ', 'a', 'b '])[1 + n % 3]::char(3) AS z, at(n) AS ts, sin(n / 7.0) AS a, cos(n / 9.0) + noise(n) AS b FROM generate_series(1, 900) n;
CREATE INDEX ON equal (x, y, z, ts);
SELECT amad_train('equal', 'equal', 'ts', '{a,b}', '{x,y,z}', options => tiny())->'series' AS series;
SELECT form(amad_detect_query('equal', since => at(800))), form(amad_detect_query('equal', last_n => 5));
SELECT * FROM different('equal', 'equal', $$since => at(800)$$, 'ts >= at(800)');
SELECT * FROM different('equal', 'equal', 'last_n => 20', 'true', 20);
ALTER TABLE equal ALTER x SET NOT NULL, ALTER y SET NOT NULL, ALTER z SET NOT NULL;
SELECT form(amad_detect_query('equal', since => at(800))), form(amad_detect_query('equal', last_n => 5));
SELECT * FROM different('equal', 'equal', $$since => at(800)$$, 'ts >= at(800)');
SELECT * FROM different('equal', 'equal', 'last_n => 20', 'true', 20);

-- times of other types
CREATE TABLE days AS SELECT d, date '2020-01-01' + n AS ts, sin(n / 7.0) AS a, cos(n / 9.0) + noise(n) AS b FROM generate_series(1, 2) d, generate_series(1, 600) n;
CREATE INDEX ON days (d, ts);
SELECT amad_train('days', 'days', 'ts', '{a,b}', '{d}', options => tiny())->'series' AS series;
SELECT form(amad_detect_query('days', since => '2021-01-01')), form(amad_detect_query('days', last_n => 5));
SELECT * FROM different('days', 'days', $$since => '2021-01-01'$$, $$ts >= '2021-01-01'$$);
SELECT * FROM different('days', 'days', 'last_n => 7', 'true', 7);
CREATE TABLE numbers AS SELECT d, n AS ts, sin(n / 7.0) AS a, cos(n / 9.0) + noise(n) AS b FROM generate_series(1, 2) d, generate_series(1, 600) n;
CREATE INDEX ON numbers (d, ts);
SELECT amad_train('numbers', 'numbers', 'ts', '{a,b}', '{d}', options => tiny())->'series' AS series;
SELECT form(amad_detect_query_bigint('numbers', since => 500)), form(amad_detect_query_bigint('numbers', last_n => 5));
SELECT count(*) AS rows, count(*) FILTER (WHERE p IS DISTINCT FROM w) AS different
FROM amad_detect_bigint('numbers', since => 500) p JOIN amad_detect_bigint('numbers') w USING (series, ts);

-- ---- rows further back decide on the status drift

CREATE TABLE moved AS SELECT n % 2 AS d, at(n / 2) AS ts, sin(n / 14.0) + 0.3 * noise(n) + CASE WHEN n >= 3000 AND n % 2 = 1 THEN 8 ELSE 0 END AS a,
	cos(n / 18.0) + 0.3 * noise(-n) AS b FROM generate_series(0, 6399) n;
CREATE INDEX ON moved (d, ts);
SELECT amad_train('moved', 'SELECT * FROM moved WHERE ts < at(1200)', 'ts', '{a,b}', '{d}',
	options => tiny('{"steps": 100, "horizons": [2, 8], "contamination": 0.02}'))->'series' AS series;
SELECT form(amad_detect_query('moved', since => at(2000), source => 'moved'));
SELECT status, count(*) FROM amad_detect('moved', since => at(2000), until => at(2010), source => 'moved') WHERE series->'d' = '1' GROUP BY 1 ORDER BY 1;
SELECT sum(d.rows) AS rows, sum(d.different) AS different
FROM generate_series(1490, 1800, 31) n, LATERAL different('moved', 'moved', format('since => at(%s), until => at(%s + 70)', n, n), format('ts >= at(%s) AND ts < at(%s + 70)', n, n)) d;
SELECT * FROM different('moved', 'moved', 'last_n => 1', 'true', 1);
-- figures of operation do not depend on the form
CREATE TABLE without_index AS TABLE moved;
SELECT count(*) AS rows, count(*) FILTER (WHERE x IS DISTINCT FROM y) AS different
FROM amad_drift('moved', since => at(1600), source => 'moved') WITH ORDINALITY x FULL JOIN amad_drift('moved', since => at(1600), source => 'without_index') WITH ORDINALITY y USING (ordinality);
SELECT amad_recalibrate('moved', since => at(1600), source => 'moved')->'version' AS version;
SELECT amad_deploy('moved', 1);
SELECT amad_recalibrate('moved', since => at(1600), source => 'without_index')->'version' AS version;
SELECT count(*), count(DISTINCT model::text) AS kinds FROM amad_models WHERE model_name = 'moved' AND version > 1;
SELECT amad_deploy('moved', 1);

-- ---- kept plans obey the rights of the role, and settings of the session do not change

CREATE ROLE reading_test_role;
GRANT USAGE ON SCHEMA reading_test, helpers TO reading_test_role;
GRANT SELECT ON moved TO reading_test_role;
ALTER TABLE moved ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON moved USING (d = 1);
SELECT count(*) FROM amad_detect('moved', since => at(3190), source => 'moved');
SET ROLE reading_test_role;
SELECT amad_train('mine', 'moved', 'ts', '{a,b}', '{d}', options => tiny())->'series' AS series;
SELECT form(amad_detect_query('mine', since => at(3190))), count(*) FROM amad_detect('mine', since => at(3190));
RESET ROLE;
REVOKE SELECT ON moved FROM reading_test_role;
SET ROLE reading_test_role;
SELECT count(*) FROM amad_detect('mine', since => at(3190));
SELECT amad_drop('mine');
RESET ROLE;
SET jit = on;
SET enable_sort = off;
SELECT count(*) FROM amad_detect('moved', since => at(3190), source => 'moved');
SHOW jit;
SHOW enable_seqscan;
SHOW enable_sort;

DROP SCHEMA reading_test CASCADE;
DROP OWNED BY reading_test_role;
DROP ROLE reading_test_role;
SELECT count(amad_drop(model_name)) FROM (SELECT DISTINCT model_name FROM amad_models) m;
