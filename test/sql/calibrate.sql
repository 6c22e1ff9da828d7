--
-- Calibration of a model series by series: amad_calibrate, amad_merge, and trainings on a sample.
--
SET timezone = 'UTC';
SET jit = off;
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA calibrate_test;
SET search_path = calibrate_test, public;
CREATE FUNCTION noise(i bigint) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$ SELECT (pg_catalog.hashint8(i) & 65535) / 65536.0 - 0.5 $$;
CREATE FUNCTION options(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{"window": 8, "d_model": 8, "layers": 1, "horizons": [1, 4, 16], "advanced": {"chunk_length": 32}, "steps": 40}'::jsonb || more $$;
-- six devices; the last one has few rows
CREATE TABLE readings AS
SELECT d AS device, timestamptz '2026-01-01 00:00+00' + n * interval '1 min' AS ts, d * 10 + sin(n / (5.0 + d)) + noise(d * 1000000 + n) AS flow,
	(cos(n / (5.0 + d)) * d + noise(d * 2000000 + n))::real AS pressure, n % (d + 1) = 0 AS valve
FROM generate_series(1, 6) d, generate_series(1, 3000) n WHERE d < 6 OR n <= 60;
-- everything that a calibration computes, without what a training finds once
CREATE FUNCTION figures(m amad_model) RETURNS TABLE (series text, key text, value jsonb) LANGUAGE sql AS $$
	SELECT 'all', e.key, e.value FROM pg_catalog.jsonb_each((amad_describe(m)->'calibration') || pg_catalog.jsonb_build_object('threshold', amad_describe(m)->'threshold')) e
	UNION ALL SELECT (s->'series')::text, e.key, e.value FROM pg_catalog.jsonb_array_elements(amad_describe(m)->'series') s, pg_catalog.jsonb_each(s) e $$;
-- the greatest relative difference of two arrays of numbers, or numbers
CREATE FUNCTION difference(a jsonb, b jsonb) RETURNS float8 LANGUAGE sql AS $$
	SELECT max(abs(x::text::float8 - y::text::float8) / greatest(abs(x::text::float8), 1e-9))
	FROM ROWS FROM (jsonb_array_elements(CASE jsonb_typeof(a) WHEN 'array' THEN a ELSE jsonb_build_array(a) END),
		jsonb_array_elements(CASE jsonb_typeof(b) WHEN 'array' THEN b ELSE jsonb_build_array(b) END)) AS u(x, y) $$;

-- ---- the same figures as those of the training
SELECT amad_train('calibrate', 'readings', series_cols => '{device}', options => options())->'rows' AS rows;
CREATE TABLE m AS SELECT model FROM amad_models WHERE model_name = 'calibrate';
CREATE TABLE calibrations AS
SELECT device, amad_calibrate((SELECT model FROM m), ts, flow, pressure, valve) AS c FROM readings GROUP BY device;
SELECT device, length(c) < 8000 AS small FROM calibrations ORDER BY device;
CREATE TABLE merged AS SELECT amad_merge((SELECT model FROM m), jsonb_build_object('device', device), c) AS model FROM calibrations;
-- those of each series are exact
SELECT a.series, a.key, a.value, b.value AS merged
FROM m, figures(m.model) a, merged, figures(merged.model) b
WHERE a.series = b.series AND a.key = b.key AND a.series NOT IN ('all', '{"device": 6}') AND a.value <> b.value;
-- those of all series, apart from quantiles and random choices; a level is a maximum of series
SELECT a.key, difference(a.value, b.value) < 1e-9 AS same, difference(a.value, b.value) < 0.005 AS similar
FROM m, figures(m.model) a, merged, figures(merged.model) b
WHERE a.series = 'all' AND b.series = 'all' AND a.key = b.key AND a.key NOT IN ('level', 'rho_incomplete') ORDER BY 1;
SELECT difference(a.value, b.value) < 0.3 AS incomplete
FROM m, figures(m.model) a, merged, figures(merged.model) b WHERE a.key = 'rho_incomplete' AND b.key = a.key;
-- scores of a series with figures of its own do not change
SELECT device, count(*) FILTER (WHERE a IS DISTINCT FROM b) AS different, count(a) AS scored FROM (
	SELECT device, amad_score((SELECT model FROM m), jsonb_build_object('device', device), ts, flow, pressure, valve) OVER w AS a,
		amad_score((SELECT model FROM merged), jsonb_build_object('device', device), ts, flow, pressure, valve) OVER w AS b
	FROM readings WHERE device < 6 WINDOW w AS (PARTITION BY device ORDER BY ts)) s
GROUP BY device ORDER BY device;

-- ---- the result does not depend on orders, plans and calls
CREATE FUNCTION same(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	result amad_model;
BEGIN
	EXECUTE query INTO result;
	RETURN amad_model_send(result) = amad_model_send(model) FROM merged;
END $$;
SELECT same($$SELECT amad_merge((SELECT model FROM m), jsonb_build_object('device', device), c ORDER BY device DESC) FROM calibrations$$) AS descending,
	same($$SELECT amad_merge((SELECT model FROM m), jsonb_build_object('device', device), c ORDER BY md5(device::text)) FROM calibrations$$) AS mixed,
	same($$SELECT amad_merge((SELECT model FROM m), jsonb_build_object('device', device), c) FROM (
		SELECT device, amad_calibrate((SELECT model FROM m), ts, flow, pressure, valve ORDER BY md5(ts::text)) AS c FROM readings GROUP BY device) s$$) AS mixed_rows,
	same($$SELECT amad_merge((SELECT model FROM m), jsonb_build_object('device', device), c) FROM (
		SELECT 1 AS device, amad_calibrate((SELECT model FROM m), ts, ARRAY[flow, pressure, valve::int]) AS c FROM readings WHERE device = 1
		UNION ALL SELECT device, amad_calibrate((SELECT model FROM m), ts, flow, pressure, valve) FROM readings WHERE device > 1 GROUP BY device) s$$) AS two_calls;
-- parallel workers, each for some partitions
CREATE TABLE parts (LIKE readings) PARTITION BY HASH (device);
CREATE TABLE part0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT * FROM readings;
ANALYZE parts;
SET enable_partitionwise_aggregate = on;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Gather|Parallel Append|Aggregate' THEN
			RETURN NEXT line;
		END IF;
	END LOOP;
END $$;
SELECT * FROM plan('SELECT device, amad_calibrate((SELECT model FROM m), ts, flow, pressure, valve) FROM parts GROUP BY device');
SELECT same($$SELECT amad_merge((SELECT model FROM m), jsonb_build_object('device', device), c) FROM (
	SELECT device, amad_calibrate((SELECT model FROM m), ts, flow, pressure, valve) AS c FROM parts GROUP BY device) s$$) AS parallel;
RESET enable_partitionwise_aggregate;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- ---- series that the model does not contain, few rows, no calibration
SELECT jsonb_array_length(amad_describe(x)->'series') AS series, x::text <> m.model::text AS changed FROM m,
	LATERAL (SELECT amad_merge(m.model, jsonb_build_object('device', device + 100), c) AS x FROM calibrations) s;
SELECT amad_calibrate(model, ts, flow, pressure, valve) IS NULL AS too_few FROM m, readings WHERE device = 1 AND ts < '2026-01-01 00:30+00';
SELECT amad_calibrate(model, ts, flow, pressure, valve) IS NULL AS none FROM m, readings WHERE device = 100;
SELECT (SELECT amad_merge(model, '{"device": 1}', NULL) FROM m)::text = model::text AS unchanged FROM m;
SELECT amad_merge(model, '{"device": 1}', NULL) IS NULL AS none FROM m WHERE false;
-- one of three features never has a value in a series
SELECT difference(a.value, b.value) < 0.2 AS similar, a.key FROM m, figures(m.model) a, figures((
	SELECT amad_merge(m.model, jsonb_build_object('device', device), c) FROM (
		SELECT device, amad_calibrate((SELECT model FROM m), ts, flow, CASE WHEN device <> 2 THEN pressure END, valve) AS c FROM readings GROUP BY device) s)) b
WHERE a.series = 'all' AND b.series = 'all' AND a.key = b.key AND a.key IN ('rho', 'threshold') ORDER BY 2;

-- ---- other methods, and a model without series
CREATE TABLE others AS
SELECT method, amad_fit(options() - 'window' - 'd_model' - 'layers' - 'steps' - 'advanced' || jsonb_build_object('method', method), ts, flow, pressure, valve) AS model
FROM readings, unnest('{pca,zscore}'::text[]) method WHERE device = 1 GROUP BY method
UNION ALL SELECT 'amad', amad_fit(options(), ts, flow, pressure, valve) FROM readings WHERE device = 1;
CREATE TABLE others_merged AS
SELECT method, amad_merge(o.model, NULL, c) AS merged FROM others o,
	LATERAL (SELECT amad_calibrate(o.model, ts, flow, pressure, valve) AS c FROM readings WHERE device = 1) s GROUP BY method;
SELECT method, count(*) AS figures, count(*) FILTER (WHERE a.value <> b.value) AS different
FROM others JOIN others_merged USING (method), figures(model) a, figures(merged) b WHERE a.key = b.key GROUP BY 1 ORDER BY 1;
SELECT amad_merge(model, '{"device": 1}', 'x') FROM others WHERE method = 'pca';
SELECT amad_merge(model, NULL, c) FROM m, calibrations GROUP BY ();
SELECT amad_merge(o.model, NULL, c.c) FROM others o, (SELECT amad_calibrate(model, ts, flow, pressure, valve) AS c FROM others, readings
	WHERE method = 'pca' AND device = 1 UNION ALL SELECT '\x00') c WHERE method = 'pca';

-- ---- hostile and unlucky calls
SELECT amad_calibrate(NULL, ts, flow, pressure, valve) FROM readings;
SELECT amad_calibrate(model, ts, flow) FROM m, readings WHERE device = 1;
SELECT amad_calibrate(model, ts, ARRAY[flow]) FROM m, readings WHERE device = 1;
SELECT amad_calibrate(model, ts, flow, pressure, device::text) FROM m, readings WHERE device = 1;
SELECT amad_calibrate(model, ts::timestamp, flow, pressure, valve) FROM m, readings WHERE device = 1;
SELECT amad_calibrate(model, extract(epoch FROM ts), flow, pressure, valve) FROM m, readings WHERE device = 1;
SELECT amad_calibrate(model, NULL::timestamptz, flow, pressure, valve) FROM m, readings WHERE device = 1;
SELECT amad_calibrate(model, 'infinity'::timestamptz, flow, pressure, valve) FROM m, readings WHERE device = 1;
-- the rows of several series
SELECT amad_calibrate(model, ts, flow, pressure, valve) FROM m, readings;
-- another model within a group
SELECT amad_calibrate(CASE WHEN ts < '2026-01-02' THEN m.model ELSE merged.model END, ts, flow, pressure, valve) FROM m, merged, readings WHERE device = 1;
SELECT amad_merge(CASE WHEN device < 3 THEN m.model ELSE merged.model END, jsonb_build_object('device', device), c) FROM m, merged, calibrations;
-- each group has a model of its own
SELECT count(c), count(DISTINCT c) FROM (SELECT device, amad_calibrate(CASE WHEN device % 2 = 0 THEN m.model ELSE merged.model END, ts, flow, pressure, valve) AS c
	FROM m, merged, readings GROUP BY device) s;
SELECT amad_merge(NULL, '{"device": 1}', c) FROM calibrations;
SELECT amad_merge(model, NULL, c) FROM m, calibrations;
SELECT amad_merge(model, '{"other": 1}', c) FROM m, calibrations;
SELECT amad_merge(model, '{"device": 1}', c) FROM m, calibrations;
SELECT amad_merge(merged.model, jsonb_build_object('device', device), c) FROM merged, calibrations;
SELECT amad_calibrate_rows(model, ROW(ts, flow)) FROM m, readings WHERE device = 1;
SELECT amad_calibrate_rows(model, ROW(ts, flow, pressure, valve, 1)) FROM m, readings WHERE device = 1;
SELECT amad_calibrate_rows(model, ROW(ts, flow, pressure, device::text, false)) FROM m, readings WHERE device = 1;
SELECT amad_calibrate_rows(model, NULL) FROM m, readings WHERE device = 1;
SELECT amad_calibrate_rows(model, CASE WHEN device = 1 THEN ROW(ts, flow, pressure, valve, false) ELSE ROW(ts, flow, pressure, 1, false) END) FROM m, readings;
SELECT amad_calibrate_rows(model, ROW(ts, flow, pressure, valve, false) ORDER BY ts DESC) FROM m, readings WHERE device = 1;
SELECT amad_in_sample(3, 0, 1, '{device}', 1), amad_in_sample(-1, 1, 1, '{device}', 1);
SELECT amad_in_sample(3, 10, 1, '{device,other}', 1);
SELECT amad_in_sample(0, 10, n, '{device}', 1) AS all, amad_in_sample(NULL, 10, n, '{device}', 1) AS null FROM generate_series(1, 1) n;
-- as many blocks as the level says; the rows of a block are together
SELECT count(*) BETWEEN 200 AND 300 AS sampled, count(*) FILTER (WHERE least <> most) AS torn FROM (
	SELECT n / 10, min(s::int) AS least, max(s::int) AS most FROM (SELECT n, amad_in_sample(2, 10, n, '{device}', 'x'::text) AS s FROM generate_series(0, 9999) n) r
	GROUP BY 1) b WHERE most = 1;

-- ---- forged values: every byte changed, with and without a right checksum, and every length
CREATE FUNCTION refused(value bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	PERFORM amad_merge(model, '{"device": 1}', value) FROM m;
	RETURN 'accepted';
EXCEPTION WHEN invalid_binary_representation OR invalid_parameter_value OR numeric_value_out_of_range OR data_exception THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN coalesce(nullif(detail, ''), SQLERRM);
END $$;
CREATE FUNCTION crc_32c(b bytea) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE crc bigint := x'ffffffff'::bigint;
BEGIN
	FOR i IN 0 .. length(b) - 1 LOOP
		crc := crc # get_byte(b, i);
		FOR bit IN 1 .. 8 LOOP
			crc := (crc >> 1) # CASE WHEN crc & 1 = 1 THEN x'82f63b78'::bigint ELSE 0 END;
		END LOOP;
	END LOOP;
	RETURN crc # x'ffffffff'::bigint;
END $$;
CREATE FUNCTION signed(b bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT substr(b, 1, 8) || decode(lpad(to_hex(crc & 255), 2, '0') || lpad(to_hex(crc >> 8 & 255), 2, '0') || lpad(to_hex(crc >> 16 & 255), 2, '0')
		|| lpad(to_hex(crc >> 24 & 255), 2, '0'), 'hex') || substr(b, 13) FROM crc_32c(substr(b, 13)) crc $$;
SELECT DISTINCT refused(set_byte(c, n, get_byte(c, n) # 255)) AS damaged FROM calibrations, generate_series(0, length(c) - 1, 7) n WHERE device = 1 ORDER BY 1;
SELECT DISTINCT refused(substr(c, 1, n)) AS shortened FROM calibrations, generate_series(0, length(c) - 1, 13) n WHERE device = 1 ORDER BY 1;
SELECT refused(c || '\x00'), refused('\x'), refused('AMAC') FROM calibrations WHERE device = 1;
-- with a right checksum: refused, or a number that is possible
SELECT refused(signed(c)) AS unchanged, refused(signed(c || '\x00')) AS longer, refused(signed(set_byte(c, 16, 2))) AS flag,
	refused(signed(set_byte(set_byte(c, 26, 240), 27, 127))) AS infinite FROM calibrations WHERE device = 1;
SELECT DISTINCT refused(signed(substr(c, 1, n))) AS shortened FROM calibrations, generate_series(20, length(c) - 1, 61) n WHERE device = 1 ORDER BY 1;
SELECT count(*) FILTER (WHERE r = 'accepted') > 0 AS accepted, string_agg(DISTINCT r, ' ' ORDER BY r) FILTER (WHERE r <> 'accepted') AS refused
FROM (SELECT refused(signed(set_byte(c, n, get_byte(c, n) # 128))) AS r FROM calibrations, generate_series(12, length(c) - 1, 29) n WHERE device = 1) f;

SELECT amad_merge(model, '{"device": 1}', '\x00') FROM m;
-- two series that each count 2^63 - 1 rows: behind 20 bytes and 30 figures, 3,000 takes two bytes
SELECT amad_merge(model, jsonb_build_object('device', device), signed(substr(c, 1, 260) || '\xffffffffffffffff7f' || substr(c, 263)))
FROM m, calibrations WHERE device < 3;
-- too little memory
SET maintenance_work_mem = '1MB';
\set VERBOSITY terse
SELECT amad_merge(model, jsonb_build_object('device', n), c) FROM m, calibrations, generate_series(1, 2000) n WHERE device = 1;
SET maintenance_work_mem = '64MB';
CREATE TABLE large AS SELECT amad_fit('{"window": 64, "d_model": 256, "steps": 1, "horizons": [1], "advanced": {"batch_size": 1}}', ts, flow) AS model FROM readings WHERE device = 1;
SET maintenance_work_mem = '1MB';
\set VERBOSITY default
DO $$
BEGIN
	PERFORM amad_calibrate_rows(model, ROW(ts, flow, false)) FROM large, readings WHERE device = 1;
EXCEPTION WHEN program_limit_exceeded THEN
	RAISE NOTICE '%', regexp_replace(SQLERRM, '\d+', 'N', 'g');
END $$;
RESET maintenance_work_mem;

-- ---- trainings on a sample
SELECT amad_drop('calibrate');
CREATE TABLE narrow AS SELECT device, ts, metric, value FROM readings,
	LATERAL (VALUES ('flow', flow), ('pressure', pressure)) v(metric, value);
CREATE TABLE numbers AS SELECT device, extract(epoch FROM ts)::bigint AS ts, flow, pressure, ts BETWEEN '2026-01-01 10:00' AND '2026-01-01 10:30' AS bad FROM readings;
INSERT INTO numbers SELECT device, ts, flow, NULL, false FROM numbers WHERE ts % 4000 = 0 UNION ALL SELECT 3, NULL, 1, 1, false;
CREATE FUNCTION summary(s jsonb) RETURNS TABLE (sampled boolean, calibrated int, series int, duplicates int, labelled int) LANGUAGE sql AS $$
	SELECT (s->'rows')::int < 12000, (s->'calibrated_rows')::int, (s->'series')::int, (s->'duplicate_rows')::int, (s->'labelled_rows')::int $$;
SET maintenance_work_mem = '1MB';
SET client_min_messages = warning;
SELECT 'wide', s.* FROM summary(amad_train('calibrate', 'readings', series_cols => '{device}', options => options())) s;
SELECT 'again', s.* FROM summary(amad_train('calibrate', 'SELECT * FROM readings ORDER BY md5(ts::text)', series_cols => '{device}', options => options())) s;
SELECT count(DISTINCT amad_model_send(model)) AS models FROM amad_models WHERE model_name = 'calibrate';
SELECT training - '{loss,rows,passes,seconds,workers,held_out}'::text[] AS training FROM amad_models WHERE model_name = 'calibrate' AND version = 1;
-- the model has the figures that its own calibration on the rows would have
SELECT count(*) AS figures, count(*) FILTER (WHERE a.value <> b.value) AS different
FROM (SELECT model, (SELECT amad_merge(model, jsonb_build_object('device', device), c) FROM (
		SELECT device, amad_calibrate(m.model, ts, flow, pressure, valve) AS c FROM readings GROUP BY device) s) AS merged
	FROM amad_models m WHERE model_name = 'calibrate' AND version = 1) m, figures(model) a, figures(merged) b
WHERE a.series = b.series AND a.key = b.key AND a.series NOT IN ('all', '{"device": 6}');
SELECT 'retrained', s.* FROM summary(amad_retrain('calibrate')) s;
SELECT 'range', s.* FROM summary(amad_train('calibrate', 'readings', series_cols => '{device}', options => options(), since => '2026-01-01 02:00', until => '2026-01-02 20:00')) s;
SELECT 'last_n', s.* FROM summary(amad_train('calibrate', 'readings', series_cols => '{device}', options => options(), last_n => 2800)) s;
SELECT 'narrow', s.* FROM summary(amad_train('calibrate', 'narrow', 'ts', series_cols => '{device}', metric_col => 'metric', value_col => 'value', options => options())) s;
SELECT 'bucket', s.* FROM summary(amad_train('calibrate', 'narrow', 'ts', series_cols => '{device}', metric_col => 'metric', value_col => 'value', bucket => '1 min',
	options => options())) s;
SELECT 'labels', s.* FROM summary(amad_train('calibrate', 'numbers', 'ts', '{flow,pressure}', '{device}', 'bad', options() || '{"missing": "locf"}')) s;
-- a series that is longer than half of the memory: its newest rows
SELECT 'one series', (s->'rows')::int < 40000 AS sampled, s->'sampled_from' AS sampled_from, (s->'calibrated_rows')::int BETWEEN 1000 AND 20000 AS calibrated
FROM amad_train('calibrate', 'SELECT n::bigint AS ts, sin(n / 5.0) + calibrate_test.noise(n) AS a FROM generate_series(1, 80000) n', 'ts', options => options()) s;
SELECT count(severity) AS scored, count(*) FILTER (WHERE severity > 1) < 800 AS few FROM amad_detect_bigint('calibrate', explain => false);
-- few rows of new data are flagged
SELECT amad_train('calibrate', 'readings', series_cols => '{device}', options => options(), until => '2026-01-02 12:00')->'series' AS series;
SELECT count(*) FILTER (WHERE severity > 1) < 0.03 * count(severity) AS few FROM amad_detect('calibrate', since => '2026-01-02 12:00', explain => false);
SET maintenance_work_mem = '64MB';
SELECT amad_drop('calibrate');
SET client_min_messages = warning;
DROP SCHEMA calibrate_test CASCADE;
