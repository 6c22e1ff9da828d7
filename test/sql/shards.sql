--
-- What amad calls on the shards of a distributed source, with partitions in place of shards; and detections as plain SQL.
-- test/citus runs the same on Citus.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA shards_test;
SET search_path = shards_test, public, helpers;
SET client_min_messages = warning;
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';

CREATE TABLE readings (device int NOT NULL, ts timestamptz NOT NULL, flow float8, pressure real, bad boolean) PARTITION BY LIST (device);
CREATE TABLE readings_1 PARTITION OF readings FOR VALUES IN (1, 2, 5);
CREATE TABLE readings_2 PARTITION OF readings FOR VALUES IN (3, 4);
CREATE TABLE readings_3 PARTITION OF readings FOR VALUES IN (6);
INSERT INTO readings
SELECT d, '2026-01-01'::timestamptz + n * interval '1 min', sin(n / 7.0) * d + noise(n),
	CASE WHEN d <> 4 OR n < 400 THEN cos(n / 9.0) + noise(n + 1000) END, false
FROM generate_series(1, 5) d, generate_series(1, 500) n WHERE d <> 5 OR n < 300;
SELECT amad_train('fleet', 'readings', feature_cols => '{flow,pressure}', series_cols => '{device}', until => '2026-01-01 06:00',
	options => '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 20, "contamination": 0.01}')->>'version' AS version;
-- faults after the training, so that there are anomalies, and a series that the model does not contain
UPDATE readings SET flow = flow + 1000 WHERE device IN (1, 3) AND ts BETWEEN '2026-01-01 07:00' AND '2026-01-01 07:05';
INSERT INTO readings SELECT 6, ts, flow, pressure, false FROM readings WHERE device = 2;

-- what is sent along with a call
CREATE FUNCTION call(more jsonb DEFAULT '{}') RETURNS jsonb STABLE LANGUAGE sql AS $$
	SELECT jsonb_build_object('source', source, 'version', version) || more FROM amad_models WHERE model_name = 'fleet' AND deployed $$;
CREATE FUNCTION model() RETURNS amad_model STABLE LANGUAGE sql AS $$
	SELECT model FROM amad_models WHERE model_name = 'fleet' AND deployed $$;
-- one row for each shard that has rows of the range: its row type
CREATE VIEW shards AS SELECT 'readings_1'::regtype AS shard UNION ALL SELECT 'readings_2' UNION ALL SELECT 'readings_3';

-- ---- the first call in a query
SELECT n FROM generate_series(1, 3) n WHERE amad_first_call();
SELECT n FROM generate_series(1, 3) n WHERE amad_first_call();

-- ---- the same rows as those of the table
CREATE FUNCTION differing(a text, b text) RETURNS TABLE (rows bigint, differ bigint) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('WITH a AS (%s), b AS (%s) SELECT (SELECT count(*) FROM a),
		(SELECT count(*) FROM ((TABLE a EXCEPT ALL TABLE b) UNION ALL (TABLE b EXCEPT ALL TABLE a)) d)', a, b);
END $$;
SELECT * FROM differing($$SELECT to_jsonb(d) FROM amad_detect('fleet') d$$,
	$$SELECT to_jsonb(d) FROM shards, amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, shard, call(), model()) d$$);
SELECT * FROM differing($$SELECT to_jsonb(d) FROM amad_detect('fleet', since => '2026-01-01 05:00', until => '2026-01-01 07:03', only_anomalies => true) d$$,
	$$SELECT to_jsonb(d) FROM shards, amad_detect_on_shard('fleet', '2026-01-01 05:00', '2026-01-01 07:03', NULL, NULL, NULL, NULL, true, true, NULL,
		shard, call(), model()) d$$);
SELECT * FROM differing($$SELECT to_jsonb(d) FROM amad_detect('fleet', last_n => 20, series => '{"device": [1, 3]}', "explain" => false) d$$,
	$$SELECT to_jsonb(d) FROM shards, amad_detect_on_shard('fleet', NULL, NULL, 20, '{"device": [1, 3]}', NULL, NULL, false, false, NULL, shard, call(), model()) d$$);
SELECT * FROM differing($$SELECT to_jsonb(d) FROM amad_drift('fleet', last_n => 200) d$$,
	$$SELECT to_jsonb(d) FROM shards, amad_drift_on_shard('fleet', NULL, NULL, 200, NULL, NULL, NULL, NULL, shard, call(), model()) d$$);
SELECT * FROM differing($$SELECT to_jsonb(d) FROM amad_events('fleet', k => 1, n => 2, merge_gap => '5 min') d$$,
	$$SELECT to_jsonb(d) FROM shards, amad_events_on_shard('fleet', NULL, NULL, NULL, '5 min', NULL, 1.0, NULL, 1, 2, NULL, NULL, NULL, NULL, false, NULL, NULL,
		shard, call(), model()) d$$);

-- silences: the time that all shards cover is sent along, and each series that has rows is reported
SELECT kind, status, series, start_ts, end_ts, top_features->0->>'feature' AS feature, open
FROM shards, amad_events_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, 1000, NULL, 1, 1, NULL, NULL, NULL, NULL, true, '20 min', NULL, shard,
	call('{"span": {"since": false, "begin": "820540860000000", "end": "820570800000000"}}'), model()) d
ORDER BY kind NULLS FIRST, status, series;

-- confirmed incidents are sent along
SELECT sum(rows) FILTER (WHERE feature IS NULL) AS scored
FROM amad_drift_on_shard('fleet', '2026-01-01 04:00', NULL, NULL, NULL, NULL, NULL, NULL, 'readings_2'::regtype, call(), model());
SELECT sum(rows) FILTER (WHERE feature IS NULL) AS scored
FROM amad_drift_on_shard('fleet', '2026-01-01 04:00', NULL, NULL, NULL, NULL, NULL, NULL, 'readings_2'::regtype,
	call('{"incidents": [{"first": "820558800000000", "last": "820562400000000", "integers": false, "series": {"device": 3}}]}'), model());

-- so is the time zone, by which timestamps without one are converted; the session keeps its own
CREATE TABLE local_time AS SELECT device, ts::timestamp AS ts, flow, pressure, bad FROM readings WHERE device < 3;
SELECT min(ts) AS utc FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'local_time'::regtype,
	call('{"TimeZone": "UTC"}'), model());
SELECT min(ts) AS cet FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'local_time'::regtype,
	call('{"TimeZone": "Europe/Berlin"}'), model());
SHOW timezone;
-- and how values of series are read
CREATE TABLE by_day AS SELECT '2026-03-01'::date + device AS day, ts, flow, pressure FROM readings WHERE device IN (1, 2);
SELECT amad_train('by_day', 'by_day', timestamp_col => 'ts', series_cols => '{day}', options => '{"method": "pca", "horizons": [1]}')->>'version' AS version;
SELECT setting, string_agg(DISTINCT series->>'day', ' ') AS days
FROM unnest('{"ISO, DMY","ISO, MDY","SQL, YMD"}'::text[]) setting LEFT JOIN LATERAL amad_detect_on_shard('by_day', NULL, NULL, NULL,
	'{"day": "02/03/26"}', NULL, NULL, false, false, NULL, 'by_day', (SELECT jsonb_build_object('source', source, 'DateStyle', setting)
	FROM amad_models WHERE model_name = 'by_day'), (SELECT model FROM amad_models WHERE model_name = 'by_day')) ON true GROUP BY 1 ORDER BY 1;
SHOW datestyle;

-- the rows that a refresh writes
SELECT * FROM differing($$SELECT series, ts, severity, status, CASE WHEN is_anomaly THEN contributions END FROM amad_detect('fleet', since => '2026-01-01 07:00',
		series => '[{"device": 1}, {"device": 4}]')$$,
	$$SELECT key::jsonb, '2000-01-01'::timestamptz + ts * interval '1 us', severity, status, contributions
	FROM shards, amad_refresh_on_shard('[{"first": "820566000000000", "until": "9223372036854775807", "series": {"device": 1}},
		{"first": "820566000000000", "until": "9223372036854775807", "series": {"device": 4}}]', shard, call(), model())$$);
SELECT range, count(*), min(place), max(place), count(*) FILTER (WHERE flagged) AS flagged, count(*) FILTER (WHERE learning) AS learning,
	count(*) FILTER (WHERE empty = '\x02') AS without_pressure
FROM amad_refresh_on_shard('[{"first": "-9223372036854775808", "until": "9223372036854775807", "series": {"device": 3}},
	{"first": "820563000000000", "until": "820569000000000", "series": {"device": 4}}]', 'readings_2'::regtype, call(), model()) GROUP BY 1 ORDER BY 1;

-- new figures of series
SELECT key, adopted, learning, length(figures) > 100 AS figures, jsonb_array_length(rescaled) AS rescaled,
	totals - '{flagged,flagged_before,threshold_ratio}'::text[] AS totals
FROM shards, amad_recalibrate_on_shard('fleet', NULL, NULL, 300, '{"device": [1, 3, 6]}', NULL, NULL, NULL, NULL, shard, call(), model())
ORDER BY key, totals::text;
-- too few rows are no error here
SELECT key, learning, figures IS NULL AS no_figures, totals->'most' AS most
FROM amad_recalibrate_on_shard('fleet', NULL, NULL, 12, '{"device": [6]}', NULL, NULL, NULL, NULL, 'readings_3'::regtype, call(), model()) ORDER BY key;
SELECT key, totals->'most' AS most
FROM amad_recalibrate_on_shard('fleet', NULL, NULL, 12, '{"device": [77]}', NULL, NULL, NULL, NULL, 'readings_3'::regtype, call(), model());
SELECT * FROM amad_recalibrate_on_shard('fleet', NULL, NULL, 300, NULL, NULL, NULL, NULL, NULL, 'readings_3'::regtype, call(), model());
SELECT * FROM amad_recalibrate_on_shard('fleet', NULL, NULL, 300, '{"device": 1}', NULL, NULL, NULL, '{"contamination": 0.1}', 'readings_1'::regtype, call(), model());

-- ---- calls that make no sense
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, NULL, call(), model());
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 1, NULL, model());
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 1, call(), NULL);
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 4294967295, call(), model());
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'readings_1'::regtype, '[]', model());
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'readings_1'::regtype, '{}', model());
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'readings_1'::regtype, '{"source": {}}', model());
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'readings_1'::regtype,
	call('{"version": 1e300}'), model()) LIMIT 0;
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'int', call(), model());
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'readings_1'::regtype, call('{"TimeZone": "Nowhere"}'), model());
SELECT * FROM amad_drift_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'readings_1'::regtype, call('{"incidents": [1]}'), model());
SELECT * FROM amad_drift_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'readings_1'::regtype, call('{"incidents": [{"first": "x"}]}'), model());
SELECT count(*) FROM amad_events_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, 1.0, NULL, 1, 1, NULL, NULL, NULL, NULL, false, '1 h', NULL,
	'readings_1'::regtype, call('{"span": {"begin": 1}}'), model());
SELECT * FROM amad_refresh_on_shard('{}', 'readings_1'::regtype, call(), model());
SELECT * FROM amad_refresh_on_shard('[1]', 'readings_1'::regtype, call(), model());
SELECT * FROM amad_refresh_on_shard('[{"first": "0"}]', 'readings_1'::regtype, call(), model());
SELECT count(*) FROM amad_refresh_on_shard('[]', 'readings_1'::regtype, call(), model());
SHOW timezone;
-- a relation is read with the privileges of the caller
CREATE ROLE regress_amad_shards;
GRANT USAGE ON SCHEMA shards_test, helpers TO regress_amad_shards;
SELECT model() AS model, call() AS call \gset
SET ROLE regress_amad_shards;
SELECT * FROM amad_detect_on_shard('fleet', NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, 'readings_1'::regtype, :'call', :'model');
RESET ROLE;

-- ---- detections as plain SQL
SELECT regexp_replace(amad_detect_sql('fleet', since => '2026-01-01 05:00', until => '2026-01-01 06:00'), '^SELECT (.{20}).*( FROM \(SELECT .*)$', '\1 … \2') AS query;
SELECT amad_detect_sql('fleet', since => '2026-01-01 05:00', until => '2026-01-01 06:00') AS part, amad_detect_sql('fleet') AS whole,
	amad_detect_sql('fleet', series => '{"device": 3}', only_anomalies => true) AS anomalies \gset
CREATE VIEW part AS :part;
CREATE VIEW whole AS :whole;
CREATE VIEW anomalies AS :anomalies;
CREATE FUNCTION compared(name text, arguments text) RETURNS TABLE (rows bigint, differ bigint) LANGUAGE sql AS $$
	SELECT * FROM differing('SELECT to_jsonb(v) - ''device'' || jsonb_build_object(''series'', jsonb_build_object(''device'', device)) FROM ' || name || ' v',
		'SELECT to_jsonb(d) FROM amad_detect(''fleet''' || arguments || ') d') $$;
SELECT * FROM compared('part', $$, since => '2026-01-01 05:00', until => '2026-01-01 06:00'$$);
SELECT * FROM compared('whole', '');
SELECT * FROM compared('anomalies', $$, series => '{"device": 3}', only_anomalies => true$$);
-- explanations of anomalies only are those of all rows
SELECT count(*) AS rows, count(*) FILTER (WHERE (e).is_anomaly) AS anomalies,
	count(*) FILTER (WHERE (e).is_anomaly AND to_jsonb(e) <> to_jsonb(a)) AS differ,
	count(*) FILTER (WHERE (e).severity IS DISTINCT FROM (a).severity OR (e).status IS DISTINCT FROM (a).status) AS severities_differ,
	count(*) FILTER (WHERE (e).is_anomaly IS NOT TRUE AND (a).contributions IS NOT NULL) AS others_explained
FROM (SELECT amad_explain('fleet', to_jsonb(device), ts, flow, pressure) OVER w AS e,
		amad_explain_anomalies('fleet', to_jsonb(device), ts, flow, pressure) OVER w AS a FROM readings
	WINDOW w AS (PARTITION BY device ORDER BY ts)) x;
-- in an update
ALTER TABLE readings ADD severity float8;
WITH d AS (SELECT * FROM part) UPDATE readings r SET severity = d.severity FROM d WHERE d.device = r.device AND d.ts = r.ts;
SELECT count(severity) FROM readings;
-- without series, by integers, and a narrow source
CREATE TABLE counted AS SELECT n AS i, sin(n / 7.0) AS a, noise(n) AS b FROM generate_series(1, 300) n;
SELECT amad_train_bigint('one', 'counted', timestamp_col => 'i', feature_cols => '{a,b}', options => '{"method": "pca", "horizons": [1]}')->>'version' AS version;
SELECT amad_detect_sql_bigint('one', since => 200, until => 210) AS query \gset
SELECT count(*), count(severity) FROM (:query) q;
SELECT amad_detect_sql('one');
CREATE TABLE narrow AS SELECT device, ts, m.* FROM readings, LATERAL (VALUES ('flow', flow), ('pressure', pressure)) m(metric, value);
SELECT amad_train('narrow', 'narrow', series_cols => '{device}', metric_col => 'metric', value_col => 'value',
	options => '{"method": "pca", "horizons": [1]}')->>'version' AS version;
SELECT amad_detect_sql('narrow');
-- series columns whose values JSON writes by settings, or in several ways
CREATE TABLE typed AS SELECT (d || '.' || repeat('0', 1 + n % 2))::numeric AS n, ('d' || d)::char(5) AS c, nullif(decode('0' || d, 'hex'), '\x02') AS h,
	'2026-01-01'::timestamptz + d * interval '1 h' AS t, ts, flow FROM readings, unnest(ARRAY[device]) d, LATERAL (SELECT extract(minute FROM ts)::int AS n) m
	WHERE device < 3;
SELECT amad_train('typed', 'typed', 'ts', '{flow}', '{n,c,h,t}', options => '{"method": "pca", "horizons": [1]}')->'series' AS series;
SELECT amad_detect_sql('typed') AS query \gset
SET timezone = 'Asia/Tokyo';
SET bytea_output = 'escape';
SELECT count(*), count(*) FILTER (WHERE s.status = 'learning') AS learning, count(*) FILTER (WHERE s.severity = d.severity) AS same
FROM (:query) s JOIN (SELECT *, (series->>'n')::int AS n FROM amad_detect('typed')) d ON d.n = s.n AND d.ts = s.ts WHERE d.severity IS NOT NULL;
SET timezone = 'UTC';
RESET bytea_output;
CREATE TABLE by_interval AS SELECT device * interval '25 h' AS device, ts, flow FROM readings WHERE device < 3;
SELECT amad_train('by_interval', 'by_interval', series_cols => '{device}', options => '{"method": "pca", "horizons": [1]}')->'series' AS series;
SELECT amad_detect_sql('by_interval');
-- more features than a function can have arguments
SELECT 'CREATE TABLE wide AS SELECT device, ts, flow > 0 AS f1, pressure AS f2, '
	|| string_agg(format('(sin(%s + flow))::%s AS f%s', n, CASE WHEN n % 2 = 0 THEN 'numeric' ELSE 'float8' END, n), ', ')
	|| ' FROM readings WHERE device < 3 AND ts < ''2026-01-01 02:00''' AS query FROM generate_series(3, 120) n \gset
:query;
SELECT amad_train('wide', 'wide', series_cols => '{device}', options => '{"method": "pca", "horizons": [1]}')->'features' AS features;
SELECT amad_detect_sql('wide') AS query \gset
CREATE VIEW wide_sql AS :query;
SELECT * FROM differing($$SELECT to_jsonb(v) - 'device' || jsonb_build_object('series', jsonb_build_object('device', device)) FROM wide_sql v$$,
	$$SELECT to_jsonb(d) FROM amad_detect('wide') d$$);
SELECT amad_detect_sql(NULL);
SELECT amad_detect_sql('nobody');

SET client_min_messages = error;
DROP OWNED BY regress_amad_shards;
DROP ROLE regress_amad_shards;
SELECT count(amad_drop(name)) FROM unnest('{fleet,one,narrow,by_day,wide,typed,by_interval}'::text[]) name;
DROP SCHEMA shards_test CASCADE;
