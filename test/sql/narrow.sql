-- Narrow sources, with a row for each value: they give the models and scores of the wide tables that have the same values
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA narrow_test;
SET search_path = narrow_test, public, helpers;
SET client_min_messages = warning;
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';
\set o '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 3}'

CREATE TABLE wide AS
SELECT d AS device, '2026-01-01 00:00+00'::timestamptz + n * interval '1 min' AS ts,
	sin(n / 7.0) * ascii(d) + noise(n) AS cpu, cos(n / 9.0) + noise(n + 1000) AS "Mem %",
	n % 5 + noise(n + ascii(d)) AS "o'clock", n BETWEEN 100 AND 104 AS bad
FROM unnest('{a,b,c}'::text[]) d, generate_series(1, 300) n;
UPDATE wide SET cpu = NULL WHERE device = 'b' AND ts BETWEEN '2026-01-01 02:00+00' AND '2026-01-01 02:03+00';
UPDATE wide SET "Mem %" = 'NaN' WHERE device = 'a' AND ts = '2026-01-01 01:00+00';
CREATE VIEW wide_rows AS
SELECT device, ts, metric, value, bad FROM wide,
	LATERAL (VALUES ('cpu', cpu), ('Mem %', "Mem %"), ('o''clock', "o'clock")) AS v (metric, value);
CREATE TABLE narrow AS SELECT device, ts, metric AS "what's", value, bad FROM wide_rows WHERE value IS NOT NULL;
-- a metric that the model does not have
INSERT INTO narrow SELECT device, ts, 'other', 1e9, true FROM wide;
CREATE INDEX ON narrow (device, ts);
ANALYZE narrow;

-- Do two models have the same bytes, and what they find the same scores?
CREATE FUNCTION same_model(a text, b text) RETURNS boolean LANGUAGE sql AS $$
	SELECT amad_model_send(x.model) = amad_model_send(y.model) FROM amad_models x, amad_models y
	WHERE x.model_name = a AND x.deployed AND y.model_name = b AND y.deployed $$;
CREATE FUNCTION differences(a text, b text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, OUT scored bigint, OUT different bigint) LANGUAGE sql AS $$
	WITH x AS (SELECT d::text AS d FROM amad_detect(a, since, until, last_n, series => series) d),
		y AS (SELECT d::text AS d FROM amad_detect(b, since, until, last_n, series => series) d)
	SELECT (SELECT count(*) FROM x),
		(SELECT count(*) FROM ((TABLE x EXCEPT ALL TABLE y) UNION ALL (TABLE y EXCEPT ALL TABLE x)) z) $$;

-- ---- a fleet
SELECT s - '{seconds,core,threshold,loss}'::text[] AS summary
FROM amad_train('wide', 'wide', 'ts', feature_cols => '{cpu,Mem %,o''clock}', series_cols => '{device}',
	label_col => 'bad', options => :'o') s;
SELECT s - '{seconds,core,threshold,loss}'::text[] AS summary
FROM amad_train('narrow', 'narrow', 'ts', feature_cols => '{cpu,Mem %,o''clock}', series_cols => '{device}',
	label_col => 'bad', options => :'o',
	metric_col => 'what''s', value_col => 'value') s;
SELECT source, features FROM amad_models WHERE model_name = 'narrow';
SELECT same_model('wide', 'narrow');
SELECT * FROM differences('wide', 'narrow');
SELECT * FROM differences('wide', 'narrow', since => '2026-01-01 04:30+00', until => '2026-01-01 04:45+00');
SELECT * FROM differences('wide', 'narrow', since => '2026-01-01 04:30+00');
SELECT * FROM differences('wide', 'narrow', last_n => 7);
SELECT * FROM differences('wide', 'narrow', since => '2026-01-01 04:30+00', series => '{"device": "c"}');
-- an anomaly
UPDATE wide SET cpu = 1e5 WHERE device = 'c' AND ts >= '2026-01-01 04:50+00';
UPDATE narrow SET value = 1e5 WHERE device = 'c' AND ts >= '2026-01-01 04:50+00' AND "what's" = 'cpu';
SELECT * FROM differences('wide', 'narrow');
SELECT count(*) FILTER (WHERE is_anomaly) > 0 AS found FROM amad_detect('narrow', last_n => 10);
-- everything else reads it in the same way
SELECT count(*) AS events, bool_and(x IS NOT DISTINCT FROM y) AS same
FROM amad_events('wide') WITH ORDINALITY x FULL JOIN amad_events('narrow') WITH ORDINALITY y USING (ordinality);
SELECT count(*) AS series, bool_and(x::text = y::text) AS same
FROM amad_drift('wide') WITH ORDINALITY x FULL JOIN amad_drift('narrow') WITH ORDINALITY y USING (ordinality);
SELECT amad_retrain('narrow')->'version' AS version, amad_retrain('wide')->'version' AS wide_version;
SELECT same_model('wide', 'narrow');
SELECT amad_recalibrate('narrow')->'version' AS version, amad_recalibrate('wide')->'version' AS wide_version;
SELECT same_model('wide', 'narrow');
SELECT * FROM differences('wide', 'narrow');
SELECT source FROM amad_models WHERE model_name = 'narrow' AND deployed;
-- every plan gives the same
SET enable_hashagg = off;
SELECT * FROM differences('wide', 'narrow');
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;
SET enable_hashagg = on;
SELECT * FROM differences('wide', 'narrow');
RESET enable_indexscan;
RESET enable_bitmapscan;
RESET enable_sort;
RESET enable_hashagg;
-- another source has the same shape, or one column for each feature
CREATE VIEW later AS SELECT device, ts + interval '1 day' AS ts, "what's", value, bad FROM narrow;
SELECT count(*) AS scored, count(*) FILTER (WHERE x.severity IS DISTINCT FROM y.severity) AS different
FROM amad_detect('narrow') x FULL JOIN amad_detect('narrow', source => 'later') y
	ON x.series = y.series AND x.ts + interval '1 day' = y.ts;
SELECT count(*) AS scored, count(*) FILTER (WHERE x.severity IS DISTINCT FROM y.severity) AS different
FROM amad_detect('narrow') x FULL JOIN amad_detect('narrow', source => 'wide') y USING (series, ts);
SELECT amad_detect('narrow', source => 'SELECT ts, device, value FROM narrow');

-- ---- metrics found in the source
SELECT s->'rows' AS rows, s->'features' AS features, s->'series' AS series
FROM amad_train('found', 'SELECT * FROM narrow WHERE "what''s" <> ''other''', series_cols => '{device}', label_col => 'bad',
	options => :'o', metric_col => 'what''s', value_col => 'value') s;
SELECT features FROM amad_models WHERE model_name = 'found';
SELECT amad_train('wide sorted', 'wide', 'ts', feature_cols => '{Mem %,cpu,o''clock}', series_cols => '{device}',
	label_col => 'bad', options => :'o') IS NOT NULL AS trained;
SELECT same_model('wide sorted', 'found');
SELECT * FROM differences('wide sorted', 'found');
-- times at which only other metrics have values are no rows
INSERT INTO narrow SELECT device, ts + interval '20 s', 'other', 1, true FROM wide;
SELECT count(*) AS scored, count(*) FILTER (WHERE x.severity IS DISTINCT FROM y.severity) AS different
FROM amad_detect('wide sorted') x FULL JOIN amad_detect('found', source => 'narrow') y USING (series, ts);
SELECT amad_train('unlabelled', 'SELECT * FROM narrow WHERE "what''s" <> ''other''', series_cols => '{device}', feature_cols => NULL,
	options => :'o', metric_col => 'what''s', value_col => 'value')->'rows' AS rows;
SELECT source->'all_metrics' AS all_metrics FROM amad_models WHERE model_name = 'unlabelled';
SELECT count(*) AS scored, count(*) FILTER (WHERE x.severity IS DISTINCT FROM y.severity) AS different
FROM amad_detect('unlabelled') x FULL JOIN amad_detect('unlabelled', source => 'narrow') y USING (series, ts);
SELECT count(*) AS scored, count(*) FILTER (WHERE x.severity IS DISTINCT FROM y.severity) AS different
FROM amad_detect('unlabelled', last_n => 9) x FULL JOIN amad_detect('unlabelled', source => 'narrow', last_n => 9) y USING (series, ts);
-- a metric that is new is ignored; one that ends is missing
SELECT amad_train('ends', 'narrow', 'ts', '{cpu,Mem %}', '{device}', options => :'o', metric_col => 'what''s', value_col => 'value')
	->'rows' AS rows;
CREATE VIEW ended AS SELECT * FROM narrow WHERE NOT ("what's" = 'cpu' AND ts >= '2026-01-01 03:00+00');
SELECT status, imputed, count(*) FROM amad_detect('ends', since => '2026-01-01 03:00+00', source => 'ended')
GROUP BY status, imputed ORDER BY status, imputed;
SELECT count(*) AS rows FROM amad_detect('ends', source => 'SELECT * FROM narrow WHERE "what''s" = ''other''');
-- no series
SELECT amad_train('one wide', 'SELECT * FROM wide WHERE device = ''a''', 'ts', '{cpu,o''clock}', options => :'o')->'rows' AS rows;
SELECT amad_train('one', 'SELECT * FROM narrow WHERE device = ''a''', 'ts', '{cpu,o''clock}', options => :'o',
	metric_col => 'what''s', value_col => 'value')->'rows' AS rows;
SELECT same_model('one wide', 'one');
SELECT * FROM differences('one wide', 'one', last_n => 20);

-- ---- types of the columns
CREATE TYPE kind AS ENUM ('cpu', 'Mem %', 'o''clock', 'other');
CREATE DOMAIN kind_domain AS kind;
SELECT t, v, amad_train('typed', format('SELECT ts, device, %s AS m, value::%s AS v, bad::int AS bad
	FROM narrow WHERE "what''s" <> ''other''', t, v),
	'ts', CASE WHEN t LIKE '%length%' THEN '{3,5,7}'::text[] ELSE '{cpu,Mem %,o''clock}' END, '{device}', 'bad', :'o',
	metric_col => 'm', value_col => 'v')->'rows' AS rows, same_model('typed', 'wide1') AS same
FROM (VALUES ('"what''s"::varchar', 'float8'), ('"what''s"::char(8)', 'float8'), ('"what''s"::kind', 'float8'),
	('"what''s"::kind::kind_domain', 'float8'), ('"what''s"::name', 'numeric'), ('length("what''s")', 'real')) AS x (t, v),
	LATERAL (SELECT amad_train('wide1', format('SELECT device, ts, cpu::%1$s::float8 AS %2$s, "Mem %%"::%1$s::float8 AS %3$s,
		"o''clock"::%1$s::float8 AS %4$s, bad FROM wide', v, CASE WHEN t LIKE 'length%' THEN '"3"' ELSE 'cpu' END,
		CASE WHEN t LIKE 'length%' THEN '"5"' ELSE '"Mem %"' END, CASE WHEN t LIKE 'length%' THEN '"7"' ELSE '"o''clock"' END),
		'ts', CASE WHEN t LIKE 'length%' THEN '{3,5,7}'::text[] ELSE '{cpu,Mem %,o''clock}' END, '{device}', 'bad', :'o')
		OFFSET 0) AS w;
-- booleans
SELECT amad_train('flags', 'SELECT ts, device, "what''s" AS m, value > 1 AS v FROM narrow', 'ts', '{cpu,Mem %}', '{device}',
	options => :'o', metric_col => 'm', value_col => 'v')->'rows' AS rows;
SELECT amad_train('flags wide', 'SELECT ts, device, (cpu > 1)::int::float8 AS cpu, ("Mem %" > 1)::int::float8 AS "Mem %" FROM wide',
	'ts', '{cpu,Mem %}', '{device}', options => :'o')->'rows' AS rows;
SELECT * FROM differences('flags', 'flags wide');

-- ---- buckets and aggregates
CREATE TABLE raw AS
SELECT t, m AS metric, n % 3 AS k, sin(n / 70.0) * length(m) + noise(n * length(m)) AS v
FROM generate_series(0, 4999) n, unnest('{a,bb,ccc}'::text[]) m,
	LATERAL (SELECT '2026-01-05 00:00:10+00'::timestamptz + n * interval '7 s' AS t) x
WHERE n % 977 > 60 OR m <> 'bb';
CREATE TABLE aggregates (aggregate text, expression text);
INSERT INTO aggregates VALUES ('max', 'max(v)'), ('min', 'min(v)'), ('last', '(array_agg(v ORDER BY t DESC))[1]');
SELECT aggregate, amad_train('b ' || aggregate, 'raw', 't', '{a,bb,ccc}', '{k}', options => :'o', metric_col => 'metric',
	value_col => 'v', bucket => '1 min', aggregate => aggregate)->'rows' AS rows
FROM aggregates;
SELECT aggregate, amad_train('w ' || aggregate, format($$SELECT b AS t, k, max(x) FILTER (WHERE metric = 'a') AS a,
		max(x) FILTER (WHERE metric = 'bb') AS bb, max(x) FILTER (WHERE metric = 'ccc') AS ccc FROM (
			SELECT date_bin('1 min', t, '2000-01-01') AS b, k, metric, %s AS x FROM raw GROUP BY 1, 2, 3) x GROUP BY 1, 2$$,
		expression), 't', '{a,bb,ccc}', '{k}', options => :'o')->'rows' AS rows
FROM aggregates;
SELECT aggregate, same_model('b ' || aggregate, 'w ' || aggregate), d.* FROM aggregates,
	differences('b ' || aggregate, 'w ' || aggregate) d;
-- bounds are those of the start of a bucket
SELECT aggregate, d.* FROM aggregates,
	differences('b ' || aggregate, 'w ' || aggregate, since => '2026-01-05 08:00:30+00', until => '2026-01-05 09:00:01+00') d;
SELECT d.* FROM differences('b max', 'w max', since => '2026-01-05 08:01+00', until => '2026-01-05 08:02+00') d;
SELECT d.* FROM differences('b max', 'w max', last_n => 3) d;
-- sums are exact, so that their order does not matter
SELECT aggregate, amad_train('b ' || aggregate, 'raw', 't', NULL, '{k}', options => :'o', metric_col => 'metric',
	value_col => 'v', bucket => '60', aggregate => nullif(aggregate, 'avg'))->'rows' AS rows
FROM unnest('{avg,sum}'::text[]) aggregate;
SELECT aggregate, amad_train('d ' || aggregate, 'SELECT * FROM raw ORDER BY noise(extract(epoch FROM t)::int8), metric DESC', 't',
	NULL, '{k}', options => :'o', metric_col => 'metric', value_col => 'v', bucket => '00:01', aggregate => aggregate)->'rows' AS rows,
	same_model('b ' || aggregate, 'd ' || aggregate)
FROM unnest('{avg,sum}'::text[]) aggregate;
SELECT bool_and(abs(mean[1] - average) < 1e-12) AS avg, bool_and(abs(sum[1] - total) < 1e-12) AS sum
FROM (SELECT amad_pivot(metric, v, t, '{bb}', 'avg') AS mean, avg(v) FILTER (WHERE metric = 'bb') AS average,
	amad_pivot(metric, v, t, '{bb}', 'sum') AS sum, sum(v) FILTER (WHERE metric = 'bb') AS total
	FROM raw GROUP BY date_bin('1 min', t, '2000-01-01')) x;

-- by index and count: buckets are missing, in some series many, and a series column may be null
CREATE TABLE gaps AS SELECT t, metric, k, v FROM raw
WHERE CASE k WHEN 0 THEN true WHEN 1 THEN extract(minute FROM t) NOT IN (3, 4, 11, 40) ELSE noise(extract(epoch FROM t)::int8 / 3600) > 0.3 END;
INSERT INTO gaps SELECT t + interval '3 s', metric, NULL, v FROM raw WHERE k = 0 AND t < '2026-01-05 06:00+00';
INSERT INTO gaps VALUES ('infinity', 'a', 1, 1), ('-infinity', 'a', 1, 1), (NULL, 'a', 1, 1);
CREATE INDEX ON gaps (k, t);
CREATE INDEX ON gaps (t);
ANALYZE gaps;
CREATE VIEW gaps_wide AS SELECT b AS t, k, max(x) FILTER (WHERE metric = 'a') AS a, max(x) FILTER (WHERE metric = 'bb') AS bb,
	max(x) FILTER (WHERE metric = 'ccc') AS ccc
FROM (SELECT date_bin('1 min', t, '2000-01-01') AS b, k, metric, max(v) AS x FROM gaps GROUP BY 1, 2, 3) x GROUP BY 1, 2;
SELECT amad_train('gaps', 'gaps', 't', '{a,bb,ccc}', '{k}', options => :'o',
	metric_col => 'metric', value_col => 'v', bucket => '1 min', aggregate => 'max')->'rows' AS rows,
	amad_train('gaps wide', 'gaps_wide', 't', '{a,bb,ccc}', '{k}', options => :'o')->'rows' AS wide;
SELECT same_model('gaps', 'gaps wide');
SELECT amad_detect_query('gaps', since => '2026-01-05 08:00+00') ~ 'RECURSIVE' AS by_count;
SELECT count(*) AS ranges, sum(scored) AS scored, sum(different) AS different
FROM generate_series('2026-01-05 00:00+00'::timestamptz, '2026-01-05 10:00+00', '47 min') since,
	unnest('{NULL,7 min,3 hours}'::interval[]) width, differences('gaps', 'gaps wide', since, since + width);
SELECT sum(scored) AS scored, sum(different) AS different
FROM unnest('{1,2,30,100,500}'::bigint[]) n, unnest('{NULL,2026-01-05 08:00:30+00,2026-01-05 03:00+00}'::timestamptz[]) until,
	differences('gaps', 'gaps wide', NULL, until, n);
SELECT s, sum(scored) AS scored, sum(different) AS different
FROM unnest('{"{\"k\": 1}","{\"k\": 2}","{\"k\": null}"}'::jsonb[]) s,
	LATERAL (VALUES ('2026-01-05 04:00+00'::timestamptz, NULL), (NULL, 1), (NULL, 50)) v (since, n),
	differences('gaps', 'gaps wide', since, NULL, n, s) GROUP BY s ORDER BY s;
-- with lookahead
SELECT amad_train('ahead', 'gaps', 't', '{a,bb,ccc}', '{k}', options => merged(:'o', '{"lookahead": 4}'),
	metric_col => 'metric', value_col => 'v', bucket => '1 min', aggregate => 'max')->'rows' AS rows,
	amad_train('ahead wide', 'gaps_wide', 't', '{a,bb,ccc}', '{k}', options => merged(:'o', '{"lookahead": 4}'))->'rows' AS wide;
SELECT sum(scored) AS scored, sum(different) AS different
FROM generate_series('2026-01-05 00:00+00'::timestamptz, '2026-01-05 10:00+00', '37 min') since,
	differences('ahead', 'ahead wide', since, since + interval '1 hour');
SELECT sum(scored) AS scored, sum(different) AS different
FROM generate_series('2026-01-05 00:00+00'::timestamptz, '2026-01-05 10:00+00', '37 min') until,
	differences('ahead', 'ahead wide', NULL, until, 3);
-- without buckets
SELECT amad_train('gaps exact', 'gaps', 't', '{a,bb,ccc}', '{k}', options => :'o',
	metric_col => 'metric', value_col => 'v', aggregate => 'max')->'rows' AS rows,
	amad_train('gaps wide exact', $$SELECT t, k, max(v) FILTER (WHERE metric = 'a') AS a, max(v) FILTER (WHERE metric = 'bb') AS bb,
		max(v) FILTER (WHERE metric = 'ccc') AS ccc FROM gaps GROUP BY t, k$$, 't', '{a,bb,ccc}', '{k}', options => :'o')->'rows' AS wide;
SELECT same_model('gaps exact', 'gaps wide exact');
SELECT sum(scored) AS scored, sum(different) AS different
FROM generate_series('2026-01-05 00:00+00'::timestamptz, '2026-01-05 10:00+00', '1 hour') since,
	differences('gaps exact', 'gaps wide exact', since);
SELECT sum(scored) AS scored, sum(different) AS different
FROM unnest('{1,30,500}'::bigint[]) n, differences('gaps exact', 'gaps wide exact', NULL, NULL, n);

-- types of time
CREATE TABLE times AS SELECT n, n::int4 AS n4, ('2020-01-01'::date + n / 24) AS day,
	'2000-01-03'::timestamp + n * interval '1 h' AS hour, m AS metric, sin(n / 70.0) * ascii(m) AS v
FROM generate_series(-1500, 1500) n, unnest('{a,b}'::text[]) m;
CREATE TABLE buckets (col text, width text, expression text);
INSERT INTO buckets VALUES ('n', NULL, 'n'), ('n4', NULL, 'n4'), ('day', NULL, 'day'), ('hour', NULL, 'hour'),
	('n', '10', 'floor(n / 10.0)::int8 * 10'), ('n4', '7', 'floor(n / 7.0)::int8 * 7'),
	('day', '1 day', 'day'), ('day', '2 days', 'date_bin(''2 days'', day::timestamp, ''2000-01-03'')::date'),
	('hour', '6 h', 'date_bin(''6 h'', hour, ''2000-01-03'')'), ('hour', '7 h', 'date_bin(''7 h'', hour, ''2000-01-03'')');
SELECT col, width, amad_train(concat('t ', col, width), 'times', col, '{a,b}', options => :'o', metric_col => 'metric', value_col => 'v', bucket => width, aggregate => 'max')->'rows'
	AS rows, amad_train(concat('u ', col, width), format($$SELECT %s AS t, max(v) FILTER (WHERE metric = 'a') AS a,
		max(v) FILTER (WHERE metric = 'b') AS b FROM times GROUP BY 1$$, expression), 't', '{a,b}', options => :'o')->'rows' AS wide
FROM buckets;
SELECT col, width, same_model(concat('t ', col, width), concat('u ', col, width)) FROM buckets;
SELECT col, width, d.* FROM buckets, differences(concat('t ', col, width), concat('u ', col, width), since => '2020-02-01 03:00')
	AS d WHERE col = 'day';
SELECT width, d.* FROM buckets, differences(concat('t ', col, width), concat('u ', col, width), since => '1999-12-20 03:00') AS d
WHERE col = 'hour';
SELECT width, count(*) AS scored, count(*) FILTER (WHERE x.severity IS DISTINCT FROM y.severity) AS different
FROM buckets, amad_detect_bigint('t n' || coalesce(width, ''), 303, 1001) x
	FULL JOIN amad_detect_bigint('u n' || coalesce(width, ''), 303, 1001) y USING (ts)
WHERE col = 'n' GROUP BY width;
-- buckets of timestamptz do not depend on the time zone
SET timezone = 'Asia/Kathmandu';
SELECT min(ts) AT TIME ZONE 'UTC' AS first FROM amad_detect('b max');
SET timezone = 'UTC';

-- ---- the bounds reach partitions and indexes
CREATE TABLE parts (device text, ts timestamptz, metric text, value float8) PARTITION BY RANGE (ts);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-01-01 02:00+00');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-01-01 02:00+00') TO ('2026-01-01 04:00+00');
CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM ('2026-01-01 04:00+00') TO ('2026-01-02');
INSERT INTO parts SELECT device, ts, "what's", value FROM narrow;
CREATE INDEX ON parts (device, ts);
ANALYZE parts;
SELECT amad_train('parts', 'parts', 'ts', '{cpu,Mem %,o''clock}', '{device}', options => :'o',
	metric_col => 'metric', value_col => 'value', bucket => '5 min')->'rows' AS rows;
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		RETURN NEXT substring(line, 'parts_\d(?=_| )');
		RETURN NEXT substring(line, 'Index Cond: .*');
	END LOOP;
END $$;
SET enable_seqscan = off;
SELECT DISTINCT p FROM plan_of(amad_detect_query('parts', until => '2026-01-01 03:52+00')) p WHERE p IS NOT NULL ORDER BY p;
SELECT DISTINCT p FROM plan_of(amad_detect_query('parts', until => '2026-01-01 01:58+00', series => '{"device": "a"}')) p
WHERE p IS NOT NULL ORDER BY p;
RESET enable_seqscan;

-- ---- refused
SELECT amad_train('x', 'narrow', metric_col => 'what''s');
SELECT amad_train('x', 'narrow', value_col => 'value');
SELECT amad_train('x', 'narrow', bucket => '1 min');
SELECT amad_train('x', 'narrow', aggregate => 'avg');
SELECT amad_train('x', 'narrow', metric_col => 'what''s', value_col => 'value', aggregate => 'median');
SELECT amad_train('x', 'narrow', metric_col => 'whats', value_col => 'device');
SELECT amad_train('x', 'SELECT ts, value, ''(1,2)''::point AS m FROM narrow', metric_col => 'm', value_col => 'value');
SELECT amad_train('x', 'narrow', metric_col => 'what''s', value_col => 'what''s');
SELECT amad_train('x', 'narrow', metric_col => 'device', value_col => 'value', series_cols => '{device}');
SELECT amad_train('x', 'narrow', feature_cols => '{cpu,cpu}', metric_col => 'what''s', value_col => 'value');
SELECT amad_train('x', 'narrow', feature_cols => '{nosuch}', metric_col => 'what''s', value_col => 'value');
SELECT amad_train('x', 'SELECT * FROM narrow WHERE false', metric_col => 'what''s', value_col => 'value');
SELECT amad_train('x', 'SELECT n AS t, n AS m, 1 AS v FROM generate_series(1, 5000) n', 't', metric_col => 'm', value_col => 'v');
SELECT amad_train('x', 'SELECT n AS t, n AS m, 1 AS v FROM generate_series(1, 50) n', 't', '{one}', metric_col => 'm', value_col => 'v');
\set VERBOSITY terse
SELECT amad_train('x', 'narrow', bucket => 'x', metric_col => 'what''s', value_col => 'value');
\set VERBOSITY default
SELECT amad_train('x', 'narrow', bucket => '1 month', metric_col => 'what''s', value_col => 'value');
SELECT amad_train('x', 'narrow', bucket => '-1 min', metric_col => 'what''s', value_col => 'value');
SELECT amad_train('x', 'narrow', bucket => '2000000000 days', metric_col => 'what''s', value_col => 'value');
SELECT amad_train('x', 'times', 'day', bucket => '36 hours', metric_col => 'metric', value_col => 'v');
SELECT amad_train('x', 'times', 'n', bucket => '1 min', metric_col => 'metric', value_col => 'v');
SELECT amad_train('x', 'times', 'n', bucket => '0', metric_col => 'metric', value_col => 'v');
SELECT amad_train('x', 'times', 'n', bucket => '9223372036854775807', metric_col => 'metric', value_col => 'v');
-- a narrow table that is taken for a wide one
SET client_min_messages = notice;
SELECT amad_train('x', 'SELECT * FROM narrow WHERE device < ''c''', series_cols => '{device,what''s}',
	feature_cols => '{value}', options => :'o')->'series' AS series;
-- series columns were forgotten
SELECT amad_train('x', 'narrow', metric_col => 'what''s', value_col => 'value', options => :'o')->'rows' AS rows;
SELECT amad_retrain('x')->'rows' AS rows;
SET client_min_messages = warning;

-- ---- stored sources that were changed
CREATE FUNCTION forge(change jsonb) RETURNS void LANGUAGE sql AS $$
	UPDATE amad_models SET source = (SELECT source FROM amad_models WHERE model_name = 'b max') || change
	WHERE model_name = 'forged' $$;
INSERT INTO amad_models SELECT (jsonb_populate_record(m, '{"model_name": "forged"}')).* FROM amad_models m WHERE model_name = 'b max';
SELECT count(*) FROM amad_detect('forged');
SELECT forge('{"aggregate": "x\"; DROP TABLE raw"}');
SELECT amad_detect('forged');
SELECT forge('{"aggregate": null, "bucket": 7, "value_col": null}');
SELECT amad_detect('forged');
SELECT forge('{"metric_col": null, "value_col": null}');
SELECT amad_detect('forged');
SELECT forge('{"bucket": "1 year"}');
SELECT amad_detect('forged');
SELECT forge('{"metric_col": "k", "value_col": "t"}');
SELECT amad_detect('forged');
SELECT forge('{"feature_cols": []}');
SELECT amad_retrain('forged')->'features' AS features;

-- ---- the aggregate by itself
SELECT amad_pivot(m, v, n, '{a,b,c}', 'last')
FROM (VALUES ('a', 1, 1), ('a', 2, 2), ('a', 3, 1), ('b', NULL, 3), ('d', 9, 9), (NULL, 7, 7)) AS x (m, v, n);
SELECT amad_pivot('a', v, 1, '{a}', 'sum')
FROM unnest('{1e16,1,-1e16,1e-30,1e290,-1e290,NaN,Infinity}'::float8[]) v;
SELECT amad_pivot('a', v, 1, '{a}', 'sum') FROM unnest('{1e308,1e308,-1e308}'::float8[]) v;
SELECT amad_pivot('a', v, 1, '{a}', 'sum') FROM unnest('{1e308}'::float8[]) v;
SELECT amad_pivot('b', 1, 1, '{a}', 'sum') IS NULL AS "null";
-- halfway between two doubles, and a little more
SELECT amad_pivot('a', v, 1, '{a}', 'sum') FROM unnest('{9007199254740992,1}'::float8[]) v;
SELECT amad_pivot('a', v, 1, '{a}', 'sum') FROM unnest('{9007199254740992,1,1e-300}'::float8[]) v;
SELECT count(DISTINCT s) AS sums, count(DISTINCT f) > 1 AS float_sums FROM (
	SELECT amad_pivot('a', v, 1, '{a}', 'sum') AS s, sum(v ORDER BY noise(n * i)) AS f
	FROM generate_series(1, 20) i, LATERAL (SELECT n, (noise(n) - 0.5) * 10 ^ (n % 40 - 20) AS v
		FROM generate_series(1, 1000) n ORDER BY noise(n * i)) x GROUP BY i) y;
SELECT amad_pivot('a', 1, 1, '{a}', 'mode');
SELECT amad_pivot('a', 1, 1, '{}', 'sum');
SELECT amad_pivot('a', 1, 1, '{a,NULL}', 'sum');
SELECT amad_pivot('a', 1, 1, NULL, 'sum');
SELECT amad_pivot(m, 1, 1, ARRAY[m], 'sum') FROM unnest('{a,b}'::text[]) m;
SELECT amad_pivot('a', 'x'::text, 1, '{a}', 'sum');
SELECT amad_pivot('a', 1, 1.5, '{a}', 'sum');
SELECT amad_pivot('a', 1, 1, '{a}', 'sum') OVER ();
SELECT amad_pivot('a', 1, 1, '{a}', 'sum') WHERE false;

DELETE FROM amad_models;
DROP SCHEMA narrow_test CASCADE;
