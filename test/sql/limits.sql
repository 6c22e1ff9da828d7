--
-- Sizes and values at the limits: a result, or an ERROR that says what to do, without delay.
--
SET jit = off;
SET timezone = 'UTC';
SET statement_timeout = '60s';
-- SQLSTATE, message, detail and hint of a query that fails, without numbers that depend on the machine
CREATE FUNCTION refusal(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE query;
	RETURN NEXT 'no error';
EXCEPTION WHEN others THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN NEXT SQLSTATE || ': ' || regexp_replace(message, '\d+', 'N', 'g');
	RETURN NEXT regexp_replace(detail, '\d+', 'N', 'g');
	RETURN NEXT hint;
END $$;

-- ---- more series than there is memory for their figures

CREATE TABLE many AS
SELECT g, i::bigint AS ts, sin(i * 0.3 + g) AS a FROM generate_series(1, 20000) g, generate_series(1, 6) i;
SET maintenance_work_mem = '2MB';
SELECT refusal($$SELECT amad_train(model_name => 'many', source => 'many', timestamp_col => 'ts', series_cols => '{g}',
	options => '{"method": "zscore", "horizons": [1]}')$$);
SET maintenance_work_mem = '1MB';
SET client_min_messages = warning;
-- 2,500 series fit in 1 MB, together with a few training rows
SELECT refusal($$SELECT amad_train(model_name => 'many',
	source => 'SELECT g % 2500 AS g, ts + g / 2500 * 6 AS ts, a FROM many', timestamp_col => 'ts',
	series_cols => '{g}', options => '{"method": "zscore", "horizons": [1]}')$$);
RESET client_min_messages;
RESET maintenance_work_mem;
SELECT s->'rows' AS rows, s->'series' AS series
FROM amad_train(model_name => 'many', source => 'many', timestamp_col => 'ts', series_cols => '{g}',
	options => '{"method": "zscore", "horizons": [1]}') AS s;

-- 180 series of a network with a season fit in 2 MB, most of it for the bins of what recurs
CREATE TABLE seasonal AS SELECT g, timestamptz '2026-01-01 00:00+00' + i * interval '1 hour' AS ts, sin(i * 0.3 + g) AS a
FROM generate_series(1, 180) g, generate_series(1, 10) i UNION ALL
SELECT 0, timestamptz '2026-01-01 00:00+00' + i * interval '1 hour', sin(i * 0.3) FROM generate_series(1, 600) i;
SET maintenance_work_mem = '2MB';
SELECT s->'rows' AS rows, s->'series' AS series
FROM amad_train(model_name => 'many', source => 'seasonal', timestamp_col => 'ts', series_cols => '{g}', options => '{"window": 4,
	"d_model": 8, "heads": 2, "layers": 1, "horizons": [2], "steps": 5, "advanced": {"batch_size": 2}}') AS s;
RESET maintenance_work_mem;

-- ---- more features than principal components can be computed for within the time between interrupts

SELECT refusal($$SELECT amad_fit('{"method": "pca", "horizons": [1]}'::jsonb, i::bigint,
	VARIADIC array_fill(sin(i), ARRAY[1025])) FROM generate_series(1, 100) i$$);
SELECT refusal(format($$SELECT amad_train(model_name => 'wide', source => 'SELECT 1::bigint AS ts, %s',
	timestamp_col => 'ts', options => '{"method": "pca"}')$$,
	(SELECT string_agg('1.5 AS c' || i, ', ') FROM generate_series(1, 1025) i)));
-- the largest number, which another algorithm computes
SET maintenance_work_mem = '256MB';
SELECT d->'weights' AS weights, d->'training'->'rows' AS rows
FROM (SELECT amad_describe(amad_fit('{"method": "pca", "horizons": [1]}'::jsonb, ts, VARIADIC features)) AS d
	FROM (SELECT i::bigint AS ts, array_agg(sin(i * 0.1) * j + cos(i * 0.03) * (j % 7) ORDER BY j) AS features
		FROM generate_series(1, 200) i, generate_series(1, 1024) j GROUP BY i) r) m;
RESET maintenance_work_mem;

-- ---- a column that is missing for long, filled on a line

SELECT d->'training'->'imputed_rows' AS imputed_rows
FROM (SELECT amad_describe(amad_fit(
		'{"method": "zscore", "horizons": [1], "missing": "linear", "fill_limit": 100}'::jsonb,
		i::bigint, sin(i), CASE WHEN i <= 10 OR i > 150000 THEN cos(i) END)) AS d FROM generate_series(1, 150010) i) m;
-- lines end at the next value; if that is too far away, there is no line
CREATE TABLE gappy AS SELECT i::bigint AS ts, i::float8 AS a,
	CASE WHEN i <= 10 OR i BETWEEN 14 AND 20 OR i > 27 THEN i::float8 END AS b FROM generate_series(1, 400) i;
SELECT d->'training'->'imputed_values' AS imputed, d->'scaling'->'mean'->0 AS mean
FROM (SELECT amad_describe(amad_fit(
		'{"method": "zscore", "horizons": [1], "missing": "linear", "fill_limit": 3, "transform": "none"}'::jsonb,
		ts, a, b)) AS d FROM gappy) m;

-- ---- series near the largest numbers, of either sign

CREATE TABLE largest AS
SELECT g, i::bigint AS ts,
	(CASE g WHEN 1 THEN 1.7e308 WHEN 2 THEN -1.7e308 ELSE 3 END) * (1 - (i * 7919 % 101) / 1e5::float8) AS a,
		sin(i) AS b
FROM generate_series(1, 3) g, generate_series(1, 400) i;
SELECT s->'series' AS series, s->'constant_features' AS constant
FROM amad_train(model_name => 'largest', source => 'largest', timestamp_col => 'ts',
	series_cols => '{g}', options => '{"method": "zscore", "horizons": [1]}') AS s;
SELECT round((d->'scaling'->'mean'->>0)::numeric / 1e308, 3) AS mean,
	round((d->'scaling'->'std'->>0)::numeric / 1e308, 3) AS std FROM amad_describe('largest') AS d;
SELECT count(*), count(severity), count(*) FILTER (WHERE severity NOT BETWEEN 0 AND 100) AS wild
FROM amad_detect_bigint('largest');
SELECT count(*), count(severity), count(*) FILTER (WHERE severity NOT BETWEEN 0 AND 1e30) AS wild
FROM amad_detect_bigint('largest', source => 'SELECT g + 10 AS g, ts, a, b FROM largest', timestamp_col => 'ts');

-- ---- timestamps at both ends of bigint: distances that cannot be represented exactly in double precision

CREATE TABLE ends AS SELECT sin(i) AS a, cos(i) AS b, CASE i % 4 WHEN 0 THEN 9223372036854775807 - i
	WHEN 1 THEN -9223372036854775808 + i WHEN 2 THEN NULL ELSE i END::bigint AS ts
FROM generate_series(1, 800) i;
SELECT s->'rows' AS rows, s->'gaps' AS gaps, s->'rows_without_timestamp' AS without
FROM amad_train(model_name => 'ends', source => 'ends', timestamp_col => 'ts',
	options => '{"method": "pca", "horizons": [1, 4]}') AS s;
SELECT amad_describe('ends')->'step' AS step;
SELECT status, count(*) AS rows, count(severity) AS scored FROM amad_detect_bigint('ends') GROUP BY status
ORDER BY status;
SELECT status, count(*) AS rows
FROM amad_detect_bigint('ends', since => -9223372036854775808, until => 9223372036854775807) GROUP BY status
ORDER BY status;

-- ---- a long value of an option: the message shows its beginning

SELECT refusal($$SELECT amad_recalibrate('none', options => jsonb_build_object('trim', repeat('x', 1000)))$$);
SELECT refusal($$SELECT amad_fit(jsonb_build_object('window', repeat('x', 1000)), i::bigint, i) FROM generate_series(1, 9) i$$);
SELECT refusal($$SELECT amad_evaluate(i::float8, i > 3, jsonb_build_object('window', repeat('x', 1000)))
	FROM generate_series(1, 9) i$$);

DELETE FROM amad_models;
DROP TABLE many, seasonal, gappy, largest, ends;
DROP FUNCTION refusal;
