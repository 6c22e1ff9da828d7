-- Rows with the same timestamp: the first one by the values of its features, missing values last, belongs to the
-- series; the others are duplicates.  The order in which they are read does not matter.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA ties_test;
SET search_path = ties_test, public, helpers;
SET extra_float_digits = 0;

CREATE TABLE r AS SELECT n, '2026-01-01 00:00+00'::timestamptz + n * interval '1 min' AS ts, sin(n * 0.2) AS a,
	cos(n * 0.11) + (n * 7919 % 101) / 500.0 AS b FROM generate_series(1, 400) n;
SELECT amad_train('m', 'r', 'ts', feature_cols => '{a,b}',
	options => tiny('{"d_model": 16, "steps": 20}'))->'version' AS version;

-- The winners are the rows of r: the others have a greater a, the same a and a greater b, or a missing value.
CREATE TABLE losers AS
	SELECT n, ts, a + 1 AS a, b - 5 AS b FROM r WHERE n % 7 = 0
	UNION ALL SELECT n, ts, a, b + 1 FROM r WHERE n % 7 = 1
	UNION ALL SELECT n, ts, NULL, b FROM r WHERE n % 7 = 2
	UNION ALL SELECT n, ts, a, NULL FROM r WHERE n % 7 = 3
	UNION ALL SELECT n, ts, a, 'NaN' FROM r, generate_series(1, 150) WHERE n = 100
	UNION ALL SELECT n, ts, a, b FROM r, generate_series(1, 3) WHERE n = 200;
CREATE TABLE first AS SELECT n, ts, a, b, 1 AS from_table FROM r UNION ALL SELECT n, ts, a, b, 2 FROM losers;
CREATE TABLE last AS SELECT * FROM first ORDER BY from_table DESC, n * 7919 % 401;
CREATE INDEX ON last (ts, a DESC);

-- The severities of the rows of r alone.
CREATE TABLE truth AS SELECT ts, severity FROM amad_detect('m', explain => false);

-- amad_detect: the winner of each timestamp has a severity, in any plan
SELECT count(*) AS rows, count(*) FILTER (WHERE status = 'duplicate_ts') AS duplicates, count(d.severity) AS scored,
	count(*) FILTER (WHERE d.severity <> t.severity) AS differ
FROM amad_detect('m', source => 'first') d JOIN truth t USING (ts);
SELECT count(*) AS rows, count(*) FILTER (WHERE status = 'duplicate_ts') AS duplicates, count(d.severity) AS scored,
	count(*) FILTER (WHERE d.severity <> t.severity) AS differ
FROM amad_detect('m', source => 'last') d JOIN truth t USING (ts);
SET enable_sort = off;
SET enable_seqscan = off;
SELECT count(d.severity) AS scored, count(*) FILTER (WHERE d.severity <> t.severity) AS differ
FROM amad_detect('m', source => 'last') d JOIN truth t USING (ts);
RESET enable_sort;
RESET enable_seqscan;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
ALTER TABLE last SET (parallel_workers = 2);
SELECT count(d.severity) AS scored, count(*) FILTER (WHERE d.severity <> t.severity) AS differ
FROM amad_detect('m', source => 'last') d JOIN truth t USING (ts);
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- ranges: neither a bound nor last_n separates rows with the same timestamp, nor do duplicates replace history
SELECT count(*) AS rows, count(d.severity) AS scored, count(*) FILTER (WHERE d.severity <> t.severity) AS differ
FROM amad_detect('m', source => 'last', since => (SELECT ts FROM r WHERE n = 100)) d JOIN truth t USING (ts);
SELECT count(*) AS rows, count(DISTINCT ts) AS timestamps, count(d.severity) AS scored,
	count(*) FILTER (WHERE d.severity <> t.severity) AS differ
FROM amad_detect('m', source => 'SELECT * FROM last WHERE n <= 103', last_n => 6) d JOIN truth t USING (ts);

-- amad_score: no error, the same severities; amad_explain shows why a row does not have one
CREATE FUNCTION compare(query text, OUT rows bigint, OUT scored bigint, OUT differ bigint) LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE format('SELECT count(*), count(s), count(*) FILTER (WHERE s <> severity) FROM (%s) q JOIN truth USING (ts)',
		query)
		INTO rows, scored, differ;
END $$;
SET client_min_messages = error;
SELECT * FROM compare('SELECT ts, amad_score(''m'', ts, a, b) OVER (ORDER BY ts) AS s FROM first');
SELECT * FROM compare('SELECT ts, amad_score(''m'', ts, a, b) OVER (ORDER BY ts) AS s FROM last');
SELECT * FROM compare('SELECT ts, amad_score(''m'', ts, a, b) OVER (ORDER BY ts, a DESC) AS s FROM last');
SELECT * FROM compare('SELECT ts, amad_score(''m'', ts, a, b) OVER (ORDER BY ts, a, b) AS s FROM first');
SELECT * FROM compare($$SELECT ts, amad_score('m', ts, VARIADIC ARRAY[a, b]) OVER (ORDER BY ts, b DESC) AS s
	FROM first$$);
SELECT status, count(*) AS rows, count(severity) AS scored
FROM (SELECT (amad_explain('m', ts, a, b) OVER (ORDER BY ts)).* FROM last) e GROUP BY status ORDER BY status;
RESET client_min_messages;

-- rows without a valid timestamp do not have a severity, and do not affect the others
SELECT count(*) AS rows, count(s) AS scored FROM (
	SELECT amad_score('m', ts, a, b) OVER (ORDER BY ts) AS s FROM (
		SELECT ts, a, b FROM r UNION ALL VALUES (NULL::timestamptz, 1, 2), ('infinity', 1, 2), ('-infinity', 1, 2),
			('infinity', 3, 4)) x) y;
-- a partition of several series is most likely a mistake
SELECT count(s) FROM (SELECT amad_score('m', ts, a, b) OVER (ORDER BY ts) AS s FROM r, generate_series(1, 3)) x;
-- a hundred thousand rows with one timestamp do not take memory
SELECT count(*) AS rows, count(s) AS scored
FROM (SELECT amad_score('m', ts, a, b) OVER (ORDER BY ts) AS s
	FROM r, generate_series(1, CASE WHEN n = 77 THEN 100000 ELSE 1 END)) x;

-- training: the same bytes from rows in any order
CREATE FUNCTION trained(source text) RETURNS text LANGUAGE sql AS $$
	SELECT amad_train('t', source, 'ts', feature_cols => '{a,b}', options => tiny('{"d_model": 16, "steps": 20}'));
	SELECT md5(model::text) FROM amad_models WHERE model_name = 't' AND deployed $$;
SELECT trained('SELECT ts, a, b FROM first WHERE from_table = 1 OR n % 11 = 5')
	= trained('SELECT ts, a, b FROM r') AS first,
	trained('SELECT ts, a, b FROM last WHERE from_table = 1 OR n % 11 = 5') = trained('SELECT ts, a, b FROM r') AS last;
-- of rows that differ only in their label, the normal one is kept
SELECT x->'labelled_rows' AS labelled, x->'duplicate_rows' AS duplicates FROM amad_train('t',
	'SELECT ts, a, b, false AS bad FROM r UNION ALL SELECT ts, a, b, true FROM r WHERE n % 20 = 0', 'ts',
		label_col => 'bad',
	feature_cols => '{a,b}', options => tiny('{"d_model": 16, "steps": 20}')) x;

RESET search_path;
DROP SCHEMA ties_test CASCADE;
DELETE FROM amad_models;
