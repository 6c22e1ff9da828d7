--
-- Transforms: counters and trends are recognised, the option "transform" overrides; values are as computed by hand; a
-- score is the same wherever reading begins; fleets, new series and missing values.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA transform_test;
SET search_path = transform_test, public, helpers;
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';

-- ---- which columns are counters and trends

-- 12 days of a metric every five minutes
CREATE FUNCTION wave(n bigint) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT sin(2 * pi() * n / 288) $$;
CREATE TABLE host AS
WITH n AS (SELECT n, '2026-01-05'::timestamptz + n * interval '5 min' AS ts, n / 288 % 7 < 5 AS office
	FROM generate_series(0, 12 * 288 - 1) n)
SELECT n, ts,
	-- counters: of traffic, since the last restart, of 32 bits, of work that rests at night, of errors, of rows, null at times
	sum(round(1000 + 300 * wave(n) + 100 * noise(n))) OVER (ORDER BY n) AS bytes,
	sum(1000 + 100 * noise(n)) OVER (PARTITION BY n / 700 ORDER BY n) AS since_restart,
	(sum(9000000 + 1000000 * noise(n)) OVER (ORDER BY n))::bigint % (1::bigint << 32) AS bits32,
	sum(CASE WHEN n % 288 BETWEEN 100 AND 220 THEN round(100 * noise(n)) ELSE 0 END) OVER (ORDER BY n) AS nightly,
	sum((noise(n + 7) < 0.04)::int) OVER (ORDER BY n) AS errors,
	n AS row_number,
	CASE WHEN noise(n + 3) > 0.2 THEN sum(1000 + 100 * noise(n)) OVER (ORDER BY n) END AS with_nulls,
	extract(epoch FROM ts) AS epoch,
	-- trends: straight, by day, falling, less at weekends, growing like interest, in steps
	100 + 0.01 * n + noise(n) AS disk,
	100 + 0.01 * n + 3 * wave(n) + noise(n) AS disk_by_day,
	100 - 0.01 * n + noise(n) AS remaining,
	100 + sum(CASE WHEN office THEN 0.02 ELSE 0.002 END) OVER (ORDER BY n) + noise(n) AS office_disk,
	(100 + noise(n)) * 1.02 ^ (n / 288.0) AS interest,
	floor(n / 300.0) AS stairs,
	-- neither: gauges, a leak that is emptied, levels, little growth, a constant, a flag, a long wave
	50 + 20 * wave(n) + 5 * noise(n) AS cpu,
	100 + 0.05 * (n % 864) + noise(n) AS emptied,
	100 + 20 * (n > 1700)::int + noise(n) AS step,
	100 + 10 * (n / 864) + 5 * noise(n) AS steps,
	100 + 0.00005 * n + noise(n) AS little_growth,
	7.5 AS constant,
	(n % 288 > 100)::int AS flag,
	100 + 50 * sin(n / 2200.0) + noise(n) AS long_wave,
	100 + 50 * sin(n / 2200.0) AS smooth_wave,
	sum(noise(n) - 0.5) OVER (ORDER BY n) AS random_walk
FROM n;
CREATE FUNCTION decided(model amad_model) RETURNS TABLE (transform text, columns text) LANGUAGE sql AS $$
	SELECT value, string_agg(key, ', ' ORDER BY key) FROM jsonb_each_text(amad_describe(model)->'transforms')
	GROUP BY value ORDER BY value $$;
-- a model without a network, of all columns but n and ts
CREATE FUNCTION fitted(options jsonb, condition text DEFAULT 'true', relation text DEFAULT 'host')
RETURNS amad_model LANGUAGE plpgsql AS $$
DECLARE
	names text[] := ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = relation::regclass AND attnum > 2
		ORDER BY attnum);
	model amad_model;
BEGIN
	EXECUTE format('SELECT amad_fit($1, ts, %s) FROM %I WHERE %s',
		(SELECT string_agg(quote_ident(x) || '::float8', ', ' ORDER BY i) FROM unnest(names) WITH ORDINALITY u(x, i)),
		relation, condition)
	USING '{"method": "zscore", "horizons": [1]}' || options || jsonb_build_object('features', to_jsonb(names))
	INTO model;
	RETURN model;
END $$;
SELECT * FROM decided(fitted('{}'));
-- the same in other units, and in the rows of ten days
CREATE TABLE other_units AS SELECT n, ts, bytes * 1e-30 AS bytes, disk * 1e30 AS disk, -disk * 1e-200 AS falling, cpu * 1e200 AS cpu,
	emptied * 1e-9 AS emptied FROM host;
SELECT * FROM decided(fitted('{}', relation => 'other_units'));
SET client_min_messages = warning;
SELECT transform, columns FROM decided(fitted('{}', 'n >= 576'));
-- with an integer time column there are no days, but parts of the same length
CREATE TABLE by_number AS SELECT n AS number, n AS ts, bytes, since_restart, disk, cpu, emptied, step, smooth_wave FROM host;
SELECT * FROM decided(fitted('{}', relation => 'by_number'));
-- a few gaps; so many that a mean would take a third of the rows
SELECT * FROM decided(fitted('{}', 'n % 1000 > 15'));
SELECT * FROM decided(fitted('{}', 'n % 200 > 15'));
-- two weeks by the hour; not if the rows would not be enough without those before the first mean
SELECT horizons, amad_describe(amad_fit(jsonb_build_object('method', 'zscore', 'horizons', horizons), ts, disk, cpu))->'transforms' AS transforms
FROM (SELECT '2026-01-05'::timestamptz + n * interval '1 hour' AS ts, 0.1 * n + noise(n) AS disk, sin(n * pi() / 12) + noise(n) AS cpu
	FROM generate_series(0, 335) n) x, unnest('{[4],[100]}'::jsonb[]) horizons GROUP BY horizons ORDER BY horizons;
-- few rows: counters only
SELECT * FROM decided(fitted('{}', 'n < 200'));
SELECT * FROM decided(fitted('{}', 'n < 40'));

-- ---- the option

SELECT * FROM decided(fitted('{"transform": "auto"}', 'n < 1500'));
SELECT * FROM decided(fitted('{"transform": "none"}'));
SELECT * FROM decided(fitted('{"transform": "difference"}', 'n < 200'));
-- the others are decided
SELECT * FROM decided(fitted('{"transform": {"bytes": "none", "disk": "rate", "cpu": "log", "flag": "auto", "step": "detrend"}}'));
SELECT * FROM decided(fitted('{"transform": {}}', 'n < 200'));
-- as the model has it
SELECT amad_describe(fitted(o, 'n < 200'))->'options'->'transform' AS transform
FROM unnest('{"{}","{\"transform\": \"rate\"}","{\"transform\": {\"cpu\": \"rate\", \"flag\": \"none\"}}","{\"transform\": {}}"}'::jsonb[]) o;
-- without names
SELECT amad_describe(amad_fit('{"method": "zscore", "horizons": [1], "transform": {"2": "log"}}'::jsonb, ts, cpu, disk))
	->'transforms' AS transforms FROM host WHERE n < 200;
-- errors
CREATE FUNCTION refused(transform text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	PERFORM fitted(format('{"transform": %s}', transform)::jsonb, 'n < 200');
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', sqlstate, sqlerrm, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT t, refused(t) FROM unnest(ARRAY['"rates"', '1', 'null', '["rate"]', '{"cpu": "gauge"}', '{"cpu": 1}', '{"cpu": {}}',
	'{"CPU": "rate"}', '{"1": "rate"}', '{"cpu": "rate", "no such": "none"}', '""', '"Auto"']) t;
SELECT amad_fit('{"method": "zscore", "transform": {"cpu": "log"}}'::jsonb, ts, cpu) FROM host;
SELECT amad_train('x', 'host', 'ts', '{cpu,disk}', options => '{"transform": {"bytes": "rate"}}');
SELECT amad_fit('{"method": "zscore", "horizons": [1], "advanced": {"transform": "none"}}'::jsonb, ts, cpu) FROM host;
-- the logarithm of a column that is never positive
SELECT amad_fit('{"method": "zscore", "horizons": [1], "transform": "log"}'::jsonb, ts, -cpu) FROM host;
-- a mean needs rows, so that more are needed
SELECT amad_fit('{"transform": "detrend"}'::jsonb, ts, cpu) FROM host WHERE n < 299;
SELECT amad_describe(amad_fit('{"transform": "detrend", "steps": 1, "d_model": 8, "heads": 2}'::jsonb, ts, cpu))->'training'->'rows' AS rows
FROM host WHERE n < 300;
-- a notice, the summary, and another training with the options that are shown
RESET client_min_messages;
SELECT s->'transforms' AS transforms, s->'warmup' AS warmup, s->'rows' AS rows
FROM amad_train('trained', 'host', 'ts', '{cpu,bytes,disk}', options => '{"method": "zscore", "horizons": [1]}') s;
SELECT s->'transforms' AS transforms, s->'warmup' AS warmup, s->'rows' AS rows
FROM amad_train('trained', 'host', 'ts', '{cpu,bytes}', options => '{"method": "zscore", "horizons": [1]}') s;
SELECT s ? 'transforms' AS transforms, s->'warmup' AS warmup, s->'rows' AS rows
FROM amad_train('plain', 'host', 'ts', '{cpu}', options => '{"method": "zscore", "horizons": [1]}') s;
SET client_min_messages = warning;
SELECT amad_retrain('trained')->'transforms' AS transforms;
SELECT round_trip(fitted('{"transform": {"cpu": "log"}}'));
-- ---- values, by hand

-- method zscore expects the mean of the transformed values
CREATE TABLE observed (n bigint, ts timestamptz, bytes float8, used float8, level float8, load float8);
INSERT INTO observed
SELECT n, '2026-01-05'::timestamptz + n * interval '1 min' + (n % 3) * interval '7 s',
	CASE WHEN n % 11 <> 0 AND n NOT BETWEEN 130 AND 140 THEN 4096 * n % 300000 + round(100 * noise(n)) END,
	0.5 * n + noise(n), 10 + n % 7 + noise(n), CASE WHEN n % 50 = 0 THEN 0 ELSE exp(noise(n)) END
FROM generate_series(1, 400) n;
-- a gap
DELETE FROM observed WHERE n BETWEEN 200 AND 230;
CREATE TABLE model AS SELECT amad_fit('{"method": "zscore", "horizons": [1], "window": 20, "fill_limit": 6,
	"features": ["bytes", "used", "level", "load"],
	"transform": {"bytes": "rate", "used": "detrend", "level": "difference", "load": "log"}}'::jsonb, ts, bytes, used, level, load)
	AS m FROM observed;
SELECT d->'transforms' AS transforms, d->'warmup' AS warmup, d->'training'->'rows' AS rows, d->'training'->'gaps' AS gaps
FROM model, amad_describe(m) d;
CREATE TABLE by_hand AS
WITH stretches AS (
	SELECT *, row_number() OVER (PARTITION BY n > 200 ORDER BY n) - 1 AS i FROM observed
), known AS (
	SELECT a.*, b.bytes AS last_bytes, b.ts AS last_ts, lag(a.level) OVER (PARTITION BY a.n > 200 ORDER BY a.n) AS last_level,
		avg(a.used) OVER (PARTITION BY a.n > 200 ORDER BY a.n ROWS BETWEEN 20 PRECEDING AND 1 PRECEDING) AS mean
	FROM stretches a LEFT JOIN LATERAL (
		SELECT bytes, ts FROM stretches b WHERE (b.n > 200) = (a.n > 200) AND b.i BETWEEN a.i - 6 AND a.i - 1
			AND b.bytes IS NOT NULL ORDER BY b.i DESC LIMIT 1) b ON true
)
SELECT *, CASE WHEN NOT bytes < last_bytes / 2 THEN (bytes - last_bytes) / extract(epoch FROM ts - last_ts)::float8 END AS rate,
	used - mean AS detrended, level - last_level AS difference, CASE WHEN load > 0 THEN ln(load) END AS log
FROM known;
-- rows from the 21st of a stretch on are used
SELECT abs(avg(rate) / (d->'mean'->>0)::float8 - 1) < 1e-9 AS rate, abs(avg(detrended) / (d->'mean'->>1)::float8 - 1) < 1e-9 AS detrended,
	abs(avg(difference) - (d->'mean'->>2)::float8) < 1e-9 AS difference, abs(avg(log) / (d->'mean'->>3)::float8 - 1) < 1e-9 AS log,
	abs(stddev_pop(rate) / (d->'std'->>0)::float8 - 1) < 1e-9 AS rate, abs(stddev_pop(log) / (d->'std'->>3)::float8 - 1) < 1e-9 AS log
FROM (SELECT rate, CASE WHEN i >= 20 THEN detrended END AS detrended, difference, log FROM by_hand) x, model,
	LATERAL (SELECT amad_describe(m)->'scaling' AS d) y GROUP BY d;
CREATE TABLE explained AS SELECT n, (amad_explain(m, ts, bytes, used, level, load) OVER (ORDER BY ts)).* FROM observed, model;
-- which rows have a score, and what is missing in them
SELECT count(*) AS rows, count(severity) AS scored, count(*) FILTER (WHERE (severity IS NOT NULL) <> (i >= 20)) AS differ,
	string_agg(DISTINCT status, ',') AS statuses FROM explained JOIN by_hand USING (n);
SELECT count(*) AS missing, count(*) FILTER (WHERE bytes IS NOT NULL AND 'bytes' = ANY (imputed)) AS resets,
	count(*) FILTER (WHERE ('bytes' = ANY (imputed)) <> (rate IS NULL) OR ('load' = ANY (imputed)) <> (log IS NULL)) AS differ
FROM explained JOIN by_hand USING (n) WHERE imputed IS NOT NULL AND severity IS NOT NULL;
-- expected values have the units of the columns
SELECT count(*) AS rows,
	bool_and(abs((e->>'bytes')::float8 / (last_bytes + mean_rate * extract(epoch FROM ts - last_ts)::float8) - 1) < 1e-6) AS bytes,
	bool_and(abs((e->>'used')::float8 / (mean + mean_used) - 1) < 1e-6) AS used,
	bool_and(abs((e->>'level')::float8 / (last_level + mean_step) - 1) < 1e-6) AS level,
	bool_and(abs((e->>'load')::float8 / exp(mean_log) - 1) < 1e-6) AS load
FROM explained JOIN by_hand USING (n), LATERAL (SELECT expected_values AS e) x,
	model, LATERAL (SELECT amad_describe(m)->'scaling'->'mean' AS d) y,
	LATERAL (SELECT (d->>0)::float8 AS mean_rate, (d->>1)::float8 AS mean_used, (d->>2)::float8 AS mean_step, (d->>3)::float8 AS mean_log) z
WHERE severity IS NOT NULL AND last_bytes IS NOT NULL;
-- without a base there is nothing to expect: after more than fill_limit rows without a value
SELECT n, expected_values->'bytes' AS bytes FROM explained WHERE n BETWEEN 134 AND 142;
-- directions are those of the rates
SELECT count(*) FILTER (WHERE (direction->>'bytes')::int <> sign(rate - (amad_describe(m)->'scaling'->'mean'->>0)::float8)) AS differ
FROM explained JOIN by_hand USING (n), model WHERE severity IS NOT NULL AND rate IS NOT NULL;
-- a rate per unit of an integer time column
SELECT (d->'scaling'->'mean'->>0)::float8 = 2.5 AS rate, d->'scaling'->'std'->0 AS std
FROM (SELECT amad_describe(amad_fit('{"method": "zscore", "horizons": [1], "transform": "rate"}'::jsonb, 2 * n, 5 * n)) AS d
	FROM generate_series(1::bigint, 200) n) x;
-- growth that is constant but for the rounding of large numbers is constant, or almost
SELECT count(*) FILTER (WHERE s > 1) AS flagged FROM (
	SELECT amad_score(m, n, 1e9 + 0.1 * n) OVER (ORDER BY n) AS s
	FROM generate_series(1::bigint, 5000) n, (SELECT amad_fit('{"method": "zscore", "horizons": [1], "transform": "rate"}'::jsonb, n, 1e9 + 0.1 * n) AS m
		FROM generate_series(1::bigint, 500) n) x) y;
-- "missing": "error" refuses missing values, not resets
SELECT amad_fit('{"method": "zscore", "horizons": [1], "missing": "error", "transform": "rate"}'::jsonb, ts, bytes) FROM observed;
SELECT status, count(*), count(severity) AS scored FROM (
	SELECT (amad_explain(m, n, n % 50, nullif(noise(n), noise(70))) OVER (ORDER BY n)).*
	FROM generate_series(1::bigint, 200) n, (
		SELECT amad_fit('{"method": "zscore", "horizons": [1], "missing": "error", "transform": {"1": "rate"}}'::jsonb, n, n % 50, noise(n)) AS m
		FROM generate_series(1::bigint, 200) n) x) y GROUP BY status ORDER BY status;

-- ---- a score is the same wherever reading begins

CREATE TABLE devices (device int, ts timestamptz, bytes float8, used float8, cpu float8);
-- with nulls, restarts, and pauses
INSERT INTO devices
SELECT d, '2026-01-05'::timestamptz + n * interval '1 min',
	CASE WHEN noise(n + d) > 0.3 THEN sum(100 * d + 100 * noise(n + d)) OVER (PARTITION BY d, (n + 31 * d) / 600 ORDER BY n) END,
	CASE WHEN noise(n + 5 * d) > 0.2 THEN 50 + 0.02 * n + noise(n + d) END,
	CASE WHEN noise(n + 9 * d) > 0.1 THEN 50 + 10 * sin(n / 30.0) + noise(n) END
FROM generate_series(1, 3) d, generate_series(0, 1500) n WHERE (n + 100 * d) % 500 > 30;
SELECT s->'transforms' AS transforms, s->'warmup' AS warmup
FROM amad_train('fleet', 'devices', 'ts', '{bytes,used,cpu}', '{device}',
	options => tiny('{"fill_limit": 3, "max_gap": "10 min", "transform": {"used": "detrend"}}')) s;
CREATE TABLE whole AS SELECT series, ts, d - 'ts' - 'series' AS result FROM
	(SELECT series, ts, to_jsonb(d) AS d FROM amad_detect('fleet') d) x;
SELECT series, count(*) AS rows, count(*) FILTER (WHERE result->>'severity' IS NOT NULL) AS scored,
	count(*) FILTER (WHERE result->>'status' = 'gap') AS gap, count(*) FILTER (WHERE result->>'status' = 'warmup') AS warmup
FROM whole GROUP BY series ORDER BY series;
SELECT count(*) AS ranges, sum(rows) AS rows, sum(differ) AS differ FROM generate_series(1, 1500, 13) n,
	LATERAL (SELECT count(*) AS rows, count(*) FILTER (WHERE to_jsonb(d) - 'ts' - 'series' IS DISTINCT FROM w.result) AS differ
	FROM amad_detect('fleet', since => '2026-01-05'::timestamptz + n * interval '1 min',
		until => '2026-01-05'::timestamptz + (n + 20) * interval '1 min') d JOIN whole w USING (series, ts)) x;
SELECT count(*) FILTER (WHERE to_jsonb(d) - 'ts' - 'series' IS DISTINCT FROM w.result) AS differ
FROM amad_detect('fleet', last_n => 100) d JOIN whole w USING (series, ts);
-- the window function, which has a warm-up where it begins: the scores it has are the same
SELECT count(*) AS ranges, sum(scored) AS scored, sum(differ) AS differ FROM generate_series(0, 600, 7) first,
	LATERAL (SELECT count(s) AS scored, count(*) FILTER (WHERE s <> (w.result->>'severity')::float8) AS differ
	FROM (SELECT ts, amad_score('fleet', '2', ts, bytes, used, cpu) OVER (ORDER BY ts) AS s FROM devices
		WHERE device = 2 AND ts BETWEEN '2026-01-05'::timestamptz + first * interval '1 min'
			AND '2026-01-05'::timestamptz + (first + 120) * interval '1 min') x
	JOIN whole w ON w.ts = x.ts AND w.series->>'device' = '2') y;
-- with lookahead, rows wait for their score, with what their expected values are computed from
SELECT s->'version' AS version FROM amad_recalibrate('fleet', options => '{"lookahead": 2}') s;
SELECT count(*) AS rows, count(*) FILTER (WHERE a.expected_values IS DISTINCT FROM (w.result->'expected_values')) AS differ
FROM amad_detect('fleet') a JOIN whole w USING (series, ts) WHERE a.severity IS NOT NULL;

-- ---- fleets

-- in the first series the counter is constant, and there is nothing to decide; the second one decides
CREATE TABLE boxes AS
SELECT d AS device, '2026-01-05'::timestamptz + n * interval '1 min' AS ts,
	CASE d WHEN 1 THEN 12345 ELSE sum(100 + 10 * noise(n + d)) OVER (PARTITION BY d ORDER BY n) END AS bytes,
	CASE d WHEN 3 THEN sum(noise(n)) OVER (PARTITION BY d ORDER BY n) ELSE 50 + noise(n) END AS gauge
FROM generate_series(1, 4) d, generate_series(1, 800) n;
CREATE FUNCTION quick(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$ SELECT '{"method": "zscore", "horizons": [1]}' || more $$;
RESET client_min_messages;
SELECT amad_train('boxes', 'SELECT * FROM boxes WHERE device < 4', 'ts', '{bytes,gauge}', '{device}', options => quick())->'transforms' AS transforms;
SET client_min_messages = warning;
-- a counter that does not move is as expected, and one that begins to move is not
SELECT series, count(severity) AS scored, count(*) FILTER (WHERE severity > 1) AS flagged
FROM amad_detect('boxes', series => '{"device": 1}') GROUP BY series;
SELECT (expected_values->>'bytes')::float8 AS bytes FROM amad_detect('boxes', series => '{"device": 1}', last_n => 1);
SELECT count(*) FILTER (WHERE severity > 1) AS flagged FROM amad_detect('boxes',
	source => 'SELECT 1 AS device, ts, 12345 + 5 * row_number() OVER (ORDER BY ts) AS bytes, gauge FROM boxes WHERE device = 1');
-- a new series is adopted with the scales of its rates
SELECT s->'adopted' AS adopted FROM amad_recalibrate('boxes', source => 'boxes') s;
SELECT series, count(severity) AS scored, count(*) FILTER (WHERE severity > 1) < 80 AS few_flagged
FROM amad_detect('boxes', source => 'boxes') GROUP BY series ORDER BY series;
SELECT abs((d->'scaling'->'mean'->>0)::float8 - 1.75 * 2 / 3) < 0.1 AS mean FROM amad_describe('boxes') d;
-- a series whose stretches are all too short for a mean
SELECT s->'rows' AS rows, s->'series' AS series, s->'gaps' AS gaps
FROM amad_train('short', 'SELECT * FROM boxes WHERE device <> 1 OR extract(minute FROM ts) < 40', 'ts', '{gauge}', '{device}',
	options => quick('{"transform": "detrend", "max_gap": "5 min"}')) s;
SELECT series, count(severity) AS scored, count(DISTINCT status) AS statuses FROM amad_detect('short') GROUP BY series ORDER BY series;
-- columns are bound by name, in another order
CREATE VIEW reordered AS SELECT gauge, ts, bytes, device FROM boxes;
SELECT count(*) AS differ FROM amad_detect('boxes', source => 'reordered') a JOIN amad_detect('boxes', source => 'boxes') b
	USING (series, ts) WHERE a.severity IS DISTINCT FROM b.severity;

DROP SCHEMA transform_test CASCADE;
DELETE FROM amad_models;
