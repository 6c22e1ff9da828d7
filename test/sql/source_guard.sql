-- Which sources are accepted, and what happens if they change
CREATE SCHEMA source_guard_test;
SET search_path = source_guard_test, public;
SET client_min_messages = warning;
\set o '{"method": "zscore", "horizons": [1, 4]}'
CREATE TABLE t AS SELECT '2026-01-01 00:00+00'::timestamptz + i * interval '1 min' AS ts, sin(i / 10.0)::float8 AS a
FROM generate_series(1, 600) i;

-- ---- types that change after they were looked up
CREATE VIEW v AS SELECT ts, a::numeric AS a FROM t;
SELECT amad_train('v', 'v', 'ts', options => :'o')->'version' AS version;
CREATE FUNCTION replace_view(definition text) RETURNS TABLE (b timestamptz, e timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	DROP VIEW v;
	EXECUTE 'CREATE VIEW v AS ' || definition;
END $$;
-- a maintenance query, which returns no windows, replaces the view while amad_events reads it
CREATE FUNCTION to_view(definition text) RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT * FROM replace_view(%L)', definition) $$;
-- a float8 is not read as a pointer to a numeric
SELECT * FROM amad_events('v', maintenance => to_view($$SELECT ts, '1.2e-300'::float8 AS a FROM t$$));
SELECT count(*) FROM amad_events('v', min_severity => 0, maintenance => to_view('SELECT ts, a::numeric FROM t'));
-- the time column, a series column and its collation, the label
SELECT * FROM amad_events('v', maintenance => to_view('SELECT 5::int2 AS ts, 1::numeric AS a'));
SELECT count(*) FROM amad_events('v', min_severity => 0,
	maintenance => to_view('SELECT ts, a::numeric, 1 AS more FROM t'));
DROP VIEW v;
CREATE VIEW v AS SELECT ts, 'x'::text AS dev, false AS bad, a::float8 FROM t;
SELECT amad_train('v', 'v', 'ts', '{a}', '{dev}', 'bad', options => :'o')->'version' AS version;
SELECT * FROM amad_events('v', maintenance => to_view('SELECT ts, 7::int8 AS dev, false AS bad, a FROM t'));
SELECT count(*) FROM amad_events('v', min_severity => 0,
	maintenance => to_view($$SELECT ts, 'x'::text AS dev, false AS bad, a FROM t$$));
SELECT * FROM amad_events('v',
	maintenance => to_view($$SELECT ts, 'x'::text COLLATE "C" AS dev, false AS bad, a FROM t$$));
-- a column that was dropped
SELECT count(*) FROM amad_events('v', min_severity => 0, maintenance => to_view('SELECT ts, a FROM t'));
DROP VIEW v;
-- maintenance windows themselves: a function that changes its result while it is planned
CREATE FUNCTION windows() RETURNS TABLE (b timestamptz, e timestamptz) LANGUAGE sql AS 'SELECT now(), now()';
SELECT amad_train('t', 't', 'ts', options => :'o')->'version' AS version;
SELECT count(*) > 0 AS events FROM amad_events('t', min_severity => 0, maintenance => 'SELECT * FROM windows()');

-- ---- forged models and rows
-- a model without feature names
INSERT INTO amad_models (model_name, version, options, training, source, model)
	SELECT 'nameless', 1, '{}', '{}', '{"source": "source_guard_test.t", "timestamp_col": "ts"}',
		amad_fit('{"method": "zscore"}'::jsonb, ts, a) FROM t;
SELECT count(*) FROM amad_detect('nameless');
SELECT count(*) FROM amad_events('nameless');
SELECT count(*) FROM amad_drift('nameless');
SELECT amad_recalibrate('nameless');
SELECT amad_detect_query('nameless');
-- sources of every shape: an ERROR, or the right rows
CREATE FUNCTION outcome(source jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rows bigint;
BEGIN
	UPDATE amad_models m SET source = outcome.source WHERE model_name = 't';
	SELECT count(*) INTO rows FROM amad_detect('t');
	RETURN rows || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
SELECT source, outcome(source) FROM (VALUES
	(1, '1'::jsonb),
	(2, '[]'),
	(3, '{}'),
	(4, '{"source": 5}'),
	(5, '{"source": ""}'),
	(6, '{"source": "source_guard_test.t"}'),
	(7, '{"source": "source_guard_test.t", "timestamp_col": 7, "feature_cols": ["b", 3, null],
		"series_cols": {"x": 1}}'),
	(8, '{"source": "source_guard_test.t", "series_cols": ["ts", "ts"], "label_col": "none"}'),
	(9, '{"source": "SELECT 1; SELECT 2"}'),
	(10, '{"source": "SELECT ts, a FROM t", "search_path": "source_guard_test"}'),
	(11, '{"source": "SELECT ts, a FROM t", "search_path": "no_such_schema"}'),
	(12, '{"source": "SELECT ts, a FROM t", "search_path": "a,,b"}'),
	(13, '{"source": "DELETE FROM t"}')) s(n, source) ORDER BY n;

-- ---- queries
-- comments before and behind, semicolons, parentheses
SELECT amad_train('q', $$-- newest rows
	/* nested /* comments */ too */ SELECT ts, a FROM t WHERE a > -2 -- all
	;  $$, options => :'o')->'rows' AS rows;
SELECT source->>'source' AS source FROM amad_models WHERE model_name = 'q' AND deployed;
SELECT count(*) FROM amad_detect('q');
SELECT amad_train('q', $$(SELECT ts, a FROM t) UNION ALL (SELECT ts + interval '1 day', a FROM t) -- two$$,
	options => :'o')->'rows' AS rows;
SELECT amad_train('q', 'SELECT ts, a FROM t) AS a, (SELECT 1', options => :'o');
SELECT amad_train('q', 'SELECT ts, a FROM t) AS s; DROP TABLE t; --', options => :'o');
SELECT amad_train('q', 'SELECT ts, a INTO u FROM t', options => :'o');
SELECT amad_train('q', 'SELECT ts, a FROM t; SELECT 1', options => :'o');
SELECT amad_train('q', '/* SELECT ts, a FROM t', options => :'o');
SELECT amad_train('q', '-- nothing', options => :'o');
SELECT amad_train('q', 'SELECT FROM t', options => :'o');
-- too many names
SELECT amad_train('q', 't', 'ts', (SELECT array_agg('f' || i) FROM generate_series(1, 60000) i));
SELECT amad_train('q', 't', 'ts', (SELECT array_agg('f' || i) || '{f7}'::text[] FROM generate_series(1, 4000) i));
SELECT amad_train('q', 't', 'ts', '{a}', (SELECT array_agg('f' || i) FROM generate_series(1, 50) i));
SELECT amad_fit(jsonb_build_object('features', (SELECT jsonb_agg('f' || i) FROM generate_series(1, 60000) i)),
	now(), 1.0);
-- booleans are features
SELECT amad_train('q', 'SELECT ts, a, a > 0.9 AS high, NULL::boolean AS label FROM t', label_col => 'label',
	options => :'o')->'features' AS features;
SELECT source->'feature_cols' AS feature_cols FROM amad_models WHERE model_name = 'q' AND deployed;
-- types that cannot be features
SELECT amad_train('q', $$SELECT ts, '1'::text AS a, ts AS b, interval '1 h' AS c FROM t$$, 'ts', '{a,b,c}',
	options => :'o');

-- ---- a stored query has the meaning it had in training, also with another search_path
CREATE SCHEMA other_guard_test;
CREATE TABLE other_guard_test.t AS SELECT ts, a * 1e6 AS a FROM t, generate_series(1, 1) LIMIT 300;
SELECT amad_train('path', 'SELECT ts, a FROM t', options => :'o')->'rows' AS rows;
SET search_path = other_guard_test, public;
SELECT count(*) AS rows, max(severity) < 100 AS usual FROM amad_detect('path');
SELECT public.amad_retrain('path')->'rows' AS rows;
SET search_path = pg_catalog, pg_temp;
SELECT count(*) AS rows FROM public.amad_detect('path');
SELECT count(*) AS rows FROM public.amad_drift('path') WHERE feature IS NULL;
-- the caller's search_path does not change, and is used for queries given in a call
SHOW search_path;
SET search_path = other_guard_test, public;
SELECT count(*) AS rows FROM amad_detect('path', source => 'SELECT ts, a FROM t');
SHOW search_path;
-- a temporary table that is created later does not change the meaning of a query
CREATE TEMP TABLE sd AS SELECT ts, a FROM source_guard_test.t LIMIT 5;
SET search_path = source_guard_test, public;
SELECT amad_train('temporary', $$SELECT ts, a FROM sd, generate_series(1, 1)
	UNION ALL SELECT ts + interval '1 day', a FROM t$$, options => :'o')->'rows' AS rows;
CREATE TEMP TABLE t AS SELECT ts, a FROM sd;
SELECT count(*) AS rows FROM amad_detect('path');
SELECT count(*) AS rows FROM amad_detect('temporary');
DROP TABLE pg_temp.t, sd;
SET search_path = other_guard_test, public;
-- the search_path is restored after an error
SELECT count(*) FROM amad_detect('path', source => 'SELECT ts, 1 / (a - a) AS a FROM t');
SHOW search_path;
RESET search_path;
SELECT source->>'search_path' AS search_path FROM amad_models WHERE model_name = 'path' AND deployed;

-- ---- a stored source cannot escape the role that it is read as
CREATE ROLE amad_guard_trap;
GRANT CREATE, USAGE ON SCHEMA source_guard_test TO amad_guard_trap;
GRANT SELECT ON source_guard_test.t TO amad_guard_trap;
SET search_path = source_guard_test, public;
SET ROLE amad_guard_trap;
CREATE FUNCTION trap() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RESET ROLE;
	RETURN true;
END $$;
CREATE FUNCTION setting() RETURNS boolean LANGUAGE sql AS $$
	SELECT set_config('guard.left', 'behind', false) IS NOT NULL $$;
SELECT amad_train('trap', 'SELECT ts, a FROM t', options => :'o')->'version' AS version;
RESET ROLE;
UPDATE amad_models SET source = jsonb_set(source, '{source}', '"SELECT ts, a FROM t WHERE trap()"')
WHERE model_name = 'trap';
SET ROLE amad_guard_trap;
SELECT count(*) FROM amad_detect('trap');
SELECT amad_retrain('trap');
SELECT CURRENT_USER;
RESET ROLE;
UPDATE amad_models SET source = jsonb_set(source, '{source}', '"SELECT ts, a FROM t WHERE setting()"')
WHERE model_name = 'trap';
SET ROLE amad_guard_trap;
SELECT count(*) FROM amad_detect('trap');
-- nor does a setting remain
SELECT coalesce(current_setting('guard.left', true), '') AS left;
RESET ROLE;
DELETE FROM amad_models WHERE model_name = 'trap';

-- ---- another source has the columns of the training, or another time column and no label
CREATE TABLE two AS SELECT ts, ts + interval '3 days' AS made, a, i % 50 = 0 AS bad
FROM (SELECT *, row_number() OVER (ORDER BY ts) AS i FROM source_guard_test.t) q;
SELECT amad_train('two', 'two', 'ts', '{a}', label_col => 'bad', options => :'o')->'labelled_rows' AS labelled;
SELECT count(*) AS rows FROM amad_detect('two', source => 'two');
SELECT amad_recalibrate('two', source => 'two')->'labelled_rows' AS labelled;
SELECT amad_recalibrate('two', source => 'SELECT made, a FROM two')->'rows' AS rows;
SELECT amad_train('two', 'two', feature_cols => '{}');

-- ---- a training whose result is not read
SET search_path = source_guard_test, public;
SELECT d FROM (SELECT 1 AS d, amad_train('unread', :'o'::jsonb, ts, a) AS summary FROM t) q;
SELECT count(*) FROM (SELECT amad_train('unread too', :'o'::jsonb, ts, a) FROM t GROUP BY a > 5) q;
SELECT model_name FROM amad_models WHERE model_name LIKE 'unread%' ORDER BY 1;

RESET search_path;
DROP SCHEMA source_guard_test, other_guard_test CASCADE;
DROP ROLE amad_guard_trap;
DELETE FROM amad_models;
