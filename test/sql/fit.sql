--
-- amad_fit and amad_train: every kind of time and feature column, rows in any order,
-- missing values, groups; the same rows make the same model, and rows that cannot make
-- one are refused by an error that says which and what to do.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET timezone = 'UTC';
CREATE TABLE r AS
SELECT i AS n, timestamptz '2026-01-01' + i * interval '1 min' AS ts, sin(i * 0.3) AS a,
	cos(i * 0.17) * 10 + 100 AS b, (hashint4(i) % 1000) / 1000.0::float8 AS c
FROM generate_series(1, 200) i;
\set o 'tiny()'

-- ---- results

SELECT pg_typeof(amad_fit(:o, n, a, b)), pg_typeof(amad_train('fit', :o, n, a, b)) FROM r;
SELECT s - '{loss,threshold,seconds,core}'::text[] AS summary, s->>'core' <> '' AS core,
	(s->>'loss')::float8 > 0 AS loss, (s->>'threshold')::float8 > 0 AS threshold, (s->>'seconds')::float8 > 0 AS seconds
FROM (SELECT amad_train('fit', :o, n, a, b) AS s FROM r) x;
-- fit stores nothing
SELECT model_name, version, deployed FROM amad_models ORDER BY 1, 2;
SELECT amad_describe(amad_fit(:o, n, a, b))->'training' ? 'seconds' AS run_is_part_of_value FROM r;

-- Models as text that can be compared: true when all given are the same.
CREATE FUNCTION same(VARIADIC models amad_model[]) RETURNS boolean LANGUAGE sql AS $$
	SELECT count(*) = cardinality(models) AND count(DISTINCT amad_model_send(m)) = 1 FROM unnest(models) m $$;
-- The same for everything that does not depend on the type of the time column: weights, scaling, calibration, facts.
CREATE FUNCTION figures(m amad_model) RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat_ws(' ', d->'options', d->'scaling', d->'calibration', d->'threshold', d->'training',
		(SELECT string_agg(w::text, '') FROM amad_weights(m) w))) FROM amad_describe(m) d $$;
CREATE FUNCTION same_figures(VARIADIC models amad_model[]) RETURNS boolean LANGUAGE sql AS $$
	SELECT count(*) = cardinality(models) AND count(DISTINCT figures(m)) = 1 FROM unnest(models) m $$;
CREATE FUNCTION same_weights(VARIADIC models amad_model[]) RETURNS boolean LANGUAGE sql AS $$
	SELECT count(*) = cardinality(models) AND count(DISTINCT w) = 1
	FROM unnest(models) m, LATERAL (SELECT md5(string_agg(w::text, '')) AS w FROM amad_weights(m) w) x $$;

-- ---- the same rows make the same model

SELECT same(amad_fit(:o, n, a, b),
			amad_fit(:o, n, a, b ORDER BY n),
			amad_fit(:o, n, a, b ORDER BY n DESC),
			amad_fit(:o, n, a, b ORDER BY hashint4(n)),
			amad_fit(DISTINCT :o, n, a, b)) AS any_order FROM r;
SELECT same(amad_fit(:o, n, a, b), (SELECT model FROM amad_models WHERE model_name = 'fit' AND version = 1),
			(SELECT model FROM amad_models WHERE model_name = 'fit' AND version = 2)) AS stored FROM r;
-- time matters only by its order and gaps; the value also has its type and step
SELECT same_figures(amad_fit(:o, ts, a, b),
			amad_fit(:o, ts::timestamp, a, b),
			amad_fit(:o, date '2026-01-01' + n, a, b),
			amad_fit(:o, n::bigint, a, b),
			amad_fit(:o, n::int, a, b),
			amad_fit(:o, n::smallint, a, b),
			amad_fit(:o, 1000 - 7::bigint * (201 - n), a, b)) AS any_time FROM r;
SELECT same(amad_fit(:o, n::bigint, a, b), amad_fit(:o, n::int, a, b), amad_fit(:o, n::smallint, a, b),
		amad_fit(:o, n - 5000, a, b)) AS integers,
	same(amad_fit(:o, ts, a, b), amad_fit(:o, ts - interval '9 years 7 s', a, b)) AS later,
	same(amad_fit(:o, date '2026-01-01' + n, a, b),
		amad_fit(:o, timestamp '2026-01-01' + n * interval '1 day', a, b)) AS dates,
	same(amad_fit(:o, ts, a, b), amad_fit(:o, ts::timestamp, a, b)) AS types,
	same(amad_fit(:o, n, a, b), amad_fit(:o, 2 * n, a, b)) AS steps FROM r;
-- the ends of the types' ranges: far away from the other rows
CREATE TABLE ends AS SELECT *,
	CASE n WHEN 1 THEN -9223372036854775808 WHEN 200 THEN 9223372036854775807 ELSE n END AS far,
	CASE n WHEN 1 THEN '4713-01-01 BC' WHEN 200 THEN '294276-12-31' ELSE ts END AS far_ts FROM r;
SELECT same_figures(amad_fit(:o, far, a, b), amad_fit(:o, far_ts, a, b),
	amad_fit(:o, CASE n WHEN 1 THEN -9 WHEN 200 THEN 210 ELSE n END, a, b)) AS any_distance FROM ends;
SELECT amad_describe(amad_fit(:o, far, a, b))->'training'->'gaps' AS gaps FROM ends;
DROP TABLE ends;
-- options as an untyped literal, and with the time column of each type
SELECT same_figures(amad_fit('{"window": 8, "d_model": 8, "steps": 5, "horizons": [2, 4]}', n::bigint, a),
	amad_fit('{"window": 8, "d_model": 8, "steps": 5, "horizons": [2, 4]}', ts, a),
	amad_fit('{"window": 8, "d_model": 8, "steps": 5, "horizons": [2, 4]}', ts::timestamp, a),
	amad_fit('{"window": 8, "d_model": 8, "steps": 5, "horizons": [2, 4]}', date '2026-01-01' + n, a)) AS literal
FROM r;
-- the seed
SELECT same(amad_fit(:o || '{"seed": 0}', n, a, b), amad_fit(:o, n, a, b)) AS default_is_0,
	same(amad_fit(:o || '{"seed": 1}', n, a, b), amad_fit(:o || '{"seed": 1}', n, a + 0, b)) AS same_seed,
	same(amad_fit(:o || '{"seed": 1}', n, a, b), amad_fit(:o || '{"seed": 2}', n, a, b)) AS other_seed FROM r;
-- order of columns matters, and so does every value
SELECT same(amad_fit(:o, n, a, b), amad_fit(:o, n, b, a)) AS swapped,
	same(amad_fit(:o, n, a, b), amad_fit(:o, n, CASE WHEN n = 100 THEN a + 1e-3 ELSE a END, b)) AS changed FROM r;

-- ---- types of features

CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN -1000 AND 1000);
CREATE DOMAIN smallpercent AS percent;
CREATE TABLE typed AS
SELECT n, x::int2 AS i2, x::int4 AS i4, x::int8 AS i8, x::float4 AS f4, x::float8 AS f8, x::numeric AS num,
	x::percent AS dom, x::smallpercent AS dom2
FROM (SELECT n, round(b + 5 * c)::int AS x FROM r) x;
SELECT same(amad_fit(:o, n, i2), amad_fit(:o, n, i4), amad_fit(:o, n, i8), amad_fit(:o, n, f4), amad_fit(:o, n, f8),
			amad_fit(:o, n, num), amad_fit(:o, n, dom), amad_fit(:o, n, dom2)) AS all_types FROM typed;
SELECT same(amad_fit(:o, n, i2, i4, i8, f4, f8, num, dom, dom2),
			amad_fit(:o, n, VARIADIC ARRAY[f8, f8, f8, f8, f8, f8, f8, f8]),
			amad_fit(:o, n, VARIADIC ARRAY[i2, i2, i2, i2, i2, i2, i2, i2]),
			amad_fit(:o, n, VARIADIC ARRAY[num, num, num, num, num, num, num, num]),
			amad_fit(:o, n, VARIADIC ARRAY[dom, dom, dom, dom, dom, dom, dom, dom]::percent[])) AS mixed FROM typed;
-- the whole precision of the type: a small change beside a large offset
CREATE FUNCTION std(model amad_model) RETURNS numeric LANGUAGE sql AS $$
	SELECT round((amad_describe(model)->'scaling'->'std'->>0)::numeric, 4) $$;
SELECT std(amad_fit(:o, n, 1e5::float8 + a)) = round(stddev_pop(a)::numeric, 4) AS float8,
	std(amad_fit(:o, n, 100000::numeric + a::numeric)) = round(stddev_pop(a)::numeric, 4) AS numeric,
	std(amad_fit(:o, n, 1e11::float8 + a)) = round(stddev_pop(a)::numeric, 4) AS large FROM r;
SELECT amad_fit(:o, n, a, 'x'::text) FROM r;
-- a boolean is 0 or 1
SELECT amad_fit(:o, n, a, n % 3 = 0)::text = amad_fit(:o, n, a, (n % 3 = 0)::int)::text AS same FROM r;
SELECT amad_fit(:o, n, to_jsonb(a)) FROM r;
SELECT amad_fit(:o, n, a, ts) FROM r;
SELECT amad_fit(:o, n, a, ARRAY[a, b]) FROM r;
SELECT amad_fit(:o, n, a, 'seven') FROM r;
SELECT amad_fit(:o, n, VARIADIC ARRAY['x', 'y']) FROM r;
SELECT amad_fit(:o, n, VARIADIC 7) FROM r;
SELECT amad_fit(:o, n) FROM r;
SELECT amad_fit(:o, a, b) FROM r;
SELECT amad_fit(:o, n::text, b) FROM r;
SELECT amad_train(:o, n, b) FROM r;
SELECT amad_train('fit', '{}'::json, n, b) FROM r;

-- ---- one column, many columns

SELECT amad_describe(m)->'features' AS features, jsonb_array_length(amad_describe(m)->'scaling'->'mean') AS means
FROM (SELECT amad_fit(:o, n, a) AS m FROM r) x;
CREATE TABLE wide AS
SELECT n, array_agg(sin(n * 0.01 * f) ORDER BY f) AS v FROM r, generate_series(1, 150) f GROUP BY n;
SELECT jsonb_array_length(amad_describe(m)->'features') AS features, amad_describe(m)->'features'->149 AS last
FROM (SELECT amad_fit(:o, n, VARIADIC v) AS m FROM wide) x;
-- as many columns as a call can have arguments
SELECT format($$SELECT jsonb_array_length(amad_describe(amad_fit(%L::jsonb, n, %s))->'features') AS features
	FROM wide$$,
	:o, string_agg(format('v[%s]', f), ', ')) AS sql FROM generate_series(1, 97) f \gset
:sql;
-- all arrays have the same length
SELECT amad_fit(:o, n, VARIADIC CASE WHEN n = 7 THEN v[1:149] ELSE v END) FROM wide;
SELECT amad_fit(:o, n, VARIADIC v[1:0]) FROM wide;
SELECT amad_fit(:o, n, VARIADIC ARRAY[v, v]) FROM wide;
SELECT amad_fit(:o, n, VARIADIC NULL::float8[]) FROM wide;
SELECT amad_fit(:o, n, VARIADIC array_fill(a, ARRAY[4097])) FROM r WHERE n < 3;
SELECT same(amad_fit(:o, n, VARIADIC CASE WHEN n = 7 THEN NULL ELSE v[1:3] END),
	amad_fit(:o, n, VARIADIC CASE WHEN n = 7 THEN '{NULL, NULL, NULL}' ELSE v[1:3] END)) AS null_array FROM wide;

-- ---- missing values

CREATE TABLE gaps AS
SELECT n, CASE WHEN n IN (1, 2, 50, 51, 120, 199, 200) THEN NULL ELSE a END AS a, b FROM r;

-- Mean and deviation of the first column, and the counts of imputed values.
CREATE FUNCTION facts(m amad_model) RETURNS text LANGUAGE sql AS $$
	SELECT format('mean %s std %s, %s values in %s rows of %s', round((d->'scaling'->'mean'->>0)::numeric, 9),
		round((d->'scaling'->'std'->>0)::numeric, 9), d->'training'->'imputed_values', d->'training'->'imputed_rows',
		d->'training'->'rows')
	FROM amad_describe(m) d $$;
-- mean and deviation are those of the known values
SELECT facts(amad_fit(:o, n, a, b)) AS locf,
	facts(amad_fit(:o || '{"missing": "linear"}', n, a, b)) =  facts(amad_fit(:o, n, a, b)) AS linear,
	format('mean %s std %s', round(avg(a)::numeric, 9), round(stddev_pop(a)::numeric, 9)) AS by_hand FROM gaps;
SELECT d->'training'->'imputed_values' AS imputed_values, d->'training'->'imputed_rows' AS imputed_rows
FROM (SELECT amad_describe(amad_fit(:o, n, a, CASE WHEN n NOT BETWEEN 50 AND 60 THEN b END)) AS d FROM gaps) x;

-- Imputed values influence the weights. To compare these with equal mean and deviation, the column has mean 0 and
-- mean square 4 among the known values (1/8 each are 4 and -4, the others 0) as well as among the imputed ones. Known
-- are those at multiples of 400; some rows between them lack a value.
CREATE TABLE known AS
SELECT 400 * (8 * k + j)::bigint AS t, CASE j WHEN 0 THEN 4 WHEN 1 THEN -4 ELSE 0 END * (1 - 2 * (k % 2)) AS a
FROM generate_series(0, 23) k, generate_series(0, 7) j;
CREATE TABLE lacking (what text, options jsonb, t bigint, a float8);
INSERT INTO lacking VALUES
	('locf', '{}', 12900, 4), ('locf', '{}', 16100, -4), ('locf', '{}', 13700, 0), ('locf', '{}', 13800, 0),
	('locf', '{}', 13900, 0), ('locf', '{}', 14100, 0), ('locf', '{}', 23700, 0), ('locf', '{}', 23800, 0),
	-- a quarter or three quarters of the time from 4 to -4 or back
	('linear', '{"missing": "linear"}', 12900, 2), ('linear', '{"missing": "linear"}', 16300, 2),
	('linear', '{"missing": "linear"}', 19500, -2), ('linear', '{"missing": "linear"}', 22500, -2);
-- before the first value it is the mean, which is 0
INSERT INTO lacking
SELECT 'first', '{}', 100 * t, 0 FROM generate_series(-6, -1) t
UNION ALL VALUES ('first', '{}'::jsonb, 12900, 4), ('first', '{}', 16100, -4);
-- also beyond fill_limit; no line joins values that are further apart
INSERT INTO lacking
SELECT 'limit ' || missing, jsonb_build_object('missing', missing, 'fill_limit', 2), t + i,
	CASE WHEN i <= 2 THEN a ELSE 0 END
FROM unnest('{locf,linear}'::text[]) missing, (VALUES (12800, 4), (16000, -4)) AS v(t, a), generate_series(1, 8) i;
SELECT what, m.rows, d->'training'->'imputed_values' AS imputed, d->'scaling'->'mean'->0 AS mean,
	d->'scaling'->'std'->0 AS std,
	same_weights(missing, by_hand) AS same, same_weights(missing, other) AS same_as_zero
FROM (SELECT what, count(*) AS rows, amad_fit(o, t, CASE WHEN NOT lacks THEN a END, cos(t / 999.0)) AS missing,
		amad_fit(o, t, a, cos(t / 999.0)) AS by_hand,
		amad_fit(o, t, CASE WHEN NOT lacks THEN a ELSE 0 END, cos(t / 999.0)) AS other
	FROM (SELECT DISTINCT what, :o || '{"max_gap": 2000}' || options AS o FROM lacking) w, LATERAL (
		SELECT t, a, false AS lacks FROM known UNION ALL SELECT t, a, true FROM lacking l WHERE l.what = w.what) x
	GROUP BY what, o) m,
	amad_describe(missing) d ORDER BY what;
-- imputed values do not calibrate: a column that is missing in all rows after the context has the rho of the others
SELECT d->'training'->'held_out' AS held_out, d->'calibration'->'rho'->0 = d->'calibration'->'rho'->1 AS same
FROM (SELECT amad_describe(amad_fit(:o, n, CASE WHEN n <= 20 THEN a END, b)) AS d FROM r) x;
SELECT amad_fit(:o || '{"missing": "error"}', n, b, a) FROM gaps;
SELECT amad_fit(:o || '{"missing": "error"}', n, b, a) FROM gaps WHERE n BETWEEN 3 AND 198;
SELECT amad_fit(:o || '{"missing": "error", "features": ["flow", "pressure"]}',
	timestamp '2026-01-01' + n * interval '1 s', b, a)
FROM gaps WHERE n > 2;
SELECT facts(amad_fit(:o || '{"missing": "error"}', n, b, a)) LIKE '% 0 values in 0 rows of 147' AS nothing_missing
FROM gaps WHERE n BETWEEN 52 AND 198 AND n <> 120 OR n = 49;
-- NaN and infinities of every type are missing as NULL is
SELECT same(amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN NULL ELSE a END, b),
			amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN 'NaN' ELSE a END, b),
			amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN 'Infinity' ELSE a END, b),
			amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN '-Infinity' ELSE a END, b),
			amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN 'NaN' ELSE a::numeric END, b),
			amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN 'Infinity' ELSE a::numeric END, b),
			amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN 1e400 ELSE a::numeric END, b),
			amad_fit(:o, n, CASE WHEN n IN (1, 50, 200) THEN -1e400 ELSE a::numeric END, b)) AS not_finite
FROM (SELECT n, a::numeric::float8 AS a, b FROM r) x;
SELECT same(amad_fit(:o, n, CASE WHEN n = 50 THEN 'NaN' ELSE a::float4 END),
	amad_fit(:o, n, CASE WHEN n = 50 THEN NULL ELSE a::float4 END)) AS float4 FROM r;
-- a numeric below the range of double precision is zero
SELECT same(amad_fit(:o, n, CASE WHEN n = 50 THEN 1e-400 ELSE a::numeric END),
	amad_fit(:o, n, CASE WHEN n = 50 THEN 0 ELSE a::numeric END)) AS tiny FROM r;
-- a column without any value
SELECT amad_fit(:o, n, a, NULL) FROM r;
SELECT amad_fit(:o, n, a, NULL::float8, b) FROM r;
SELECT amad_fit(:o || '{"features": ["flow", "pressure"]}', n, a, 'NaN'::float8) FROM r;

-- ---- values of any size

SELECT d->'scaling'->'std' AS std, d->'scaling'->'mean' @> '[7, 0, 1e-300]' AS mean,
	d->'scaling'->'mean' @> '[-1e300]' AS huge
FROM (SELECT amad_describe(amad_fit(:o, n, 7, 0, -1e300::float8, 1e-300::float8)) AS d FROM r) x;
SELECT bool_and(s > 0) AS constant_columns_score
FROM (SELECT amad_score((SELECT amad_fit(:o, n, 7, a) FROM r), n::bigint, 7, a) OVER (ORDER BY n) AS s FROM r) x;
SELECT bool_and(s > 0) AS all_constant
FROM (SELECT amad_score((SELECT amad_fit(:o, n, 7) FROM r), n::bigint, 7) OVER (ORDER BY n) AS s FROM r) x;
-- scaling by a power of two changes nothing but mean and std
SELECT what, count(*) AS tensors, bool_and(u.data = s.data) AS same
FROM (VALUES ('huge', 2::float8 ^ 1000), ('large', 2 ^ 40), ('small', 2 ^ -5)) AS scale(what, factor),
	LATERAL (SELECT amad_fit(:o, n, a) AS unit, amad_fit(:o, n, a * factor) AS scaled FROM r) m,
	LATERAL amad_weights(unit) u JOIN LATERAL amad_weights(scaled) s USING (name)
GROUP BY what ORDER BY what;
SELECT (s->'mean'->>0)::float8 BETWEEN -1e306 AND 1e306 AS mean,
	(s->'std'->>0)::float8 BETWEEN 1.796e308 AND 1.7976e308 AS std
FROM (SELECT amad_describe(amad_fit(:o, n, 1.797e308 * (1 - 2 * (n % 2))))->'scaling' AS s FROM r) x;

-- ---- number of rows

-- context 7 + 14 + 1, twice the longest horizon, and a chunk: 22 + 8 + 16
SELECT amad_describe(amad_fit(:o, n, a))->'training'->'rows' AS rows FROM r WHERE n <= 46;
SELECT amad_fit(:o, n, a) FROM r WHERE n <= 32;
SELECT amad_train('few', :o, n, a) FROM r WHERE n <= 32;
SELECT amad_fit(:o, n, a) FROM r WHERE n = 1;
SELECT amad_fit(:o, n, a) FROM r WHERE false;
SELECT amad_train('few', :o, n, a) FROM r WHERE false;
SELECT amad_fit(:o, n, a) FILTER (WHERE n < 0) FROM r;
SELECT n % 2 AS device, amad_fit(:o, n, a) FROM r WHERE false GROUP BY 1;
SELECT amad_fit(n, a) FROM r;
SELECT count(*) AS stored FROM amad_models WHERE model_name = 'few';
-- the hint names everything to set: training with too few rows, then as the hint says
CREATE TABLE short AS
SELECT i AS n, sin(i * 0.3) AS a, cos(i * 0.17) * 10 + 100 AS b FROM generate_series(1, 400) i;
CREATE FUNCTION follow_hint(given jsonb, rows int, extra text DEFAULT '', OUT needed int, OUT scored bigint) LANGUAGE plpgsql AS $$
DECLARE
	hint text;
	option text;
	model amad_model;
BEGIN
	PERFORM amad_fit(given, n, a, b) FROM short WHERE n <= rows;
	RAISE 'trained without a hint';
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	option := substring(hint from '"preset": "\w+"');
	IF extra <> '' THEN
		option := option || ', ' || substring(hint from extra);
		needed := substring(hint from '(\d+) with ' || extra);
	ELSE
		needed := substring(hint from '(\d+) rows are then enough');
	END IF;
	-- as many rows as there are, and the least number
	FOREACH rows IN ARRAY ARRAY[needed, rows] LOOP
		SELECT amad_fit((given - '{window,layers,horizons,advanced}'::text[]) || ('{' || option || '}')::jsonb, n, a, b)
		INTO model FROM short WHERE n <= rows;
	END LOOP;
	SELECT count(s) INTO scored FROM (SELECT amad_score(model, n, a, b) OVER (ORDER BY n) AS s FROM short WHERE n <= rows) x;
END $$;
SELECT rows, f.* FROM unnest('{53,100,150,200,235}'::int[]) rows, follow_hint('{}', rows) f;
SELECT rows, f.* FROM unnest('{23,40,52}'::int[]) rows, follow_hint('{}', rows, '"method": "pca"') f;
SELECT rows, f.* FROM unnest('{23,94}'::int[]) rows, follow_hint('{"method": "pca"}', rows) f;
SELECT f.* FROM follow_hint('{"window": 128, "layers": 3, "horizons": [64], "seed": 1, "advanced": {"chunk_length": 300}}', 400) f;
SELECT f.* FROM follow_hint('{"validation_fraction": 0.8}', 230) f;
-- a preset with a shorter horizon than lookahead requires is not proposed
SELECT amad_fit('{"lookahead": 16}'::jsonb, n, a) FROM short WHERE n <= 235;
-- one row less than the least is refused
SELECT amad_fit('{"preset": "short"}'::jsonb, n, a) FROM short WHERE n <= 52;

-- ---- length of training

-- passes over the rows: by steps, and as many as epochs asks for
SELECT s->'steps' AS steps, s->'passes' AS passes FROM (SELECT amad_train('passes', :o, n, a) AS s FROM r) x;
SELECT training->'steps' AS steps, training->'passes' AS passes FROM amad_models WHERE model_name = 'passes';
SELECT d->'steps' AS steps, d->'passes' AS passes
FROM (SELECT amad_describe(amad_fit((:o - 'steps') || '{"epochs": 2}', n, a))->'training' AS d FROM r) x;
-- a notice if the default number of steps does not reach all rows; not if the length was chosen
\set narrow '{"window": 1, "d_model": 4, "heads": 1, "layers": 1, "horizons": [1], "advanced": {"batch_size": 1}}'
SELECT amad_fit(:'narrow'::jsonb, i, sin(i)) IS NOT NULL AS trained FROM generate_series(1, 2000) i;
SELECT amad_fit(:'narrow'::jsonb, i, sin(i)) IS NOT NULL AS trained FROM generate_series(1, 1000) i;
SELECT amad_fit(:'narrow'::jsonb || '{"steps": 500}', i, sin(i)) IS NOT NULL AS trained FROM generate_series(1, 2000) i;
SELECT amad_fit(:'narrow'::jsonb || '{"epochs": 0.5}', i, sin(i)) IS NOT NULL AS trained FROM generate_series(1, 2000) i;

-- ---- time

SELECT amad_fit(:o, n, a) FROM (SELECT n, a FROM r UNION ALL SELECT 7, 1) x;
SELECT amad_fit(:o, ts, a) FROM (SELECT ts, a FROM r UNION ALL SELECT '2026-01-01 00:07+00', 1) x;
SET timezone = 'Europe/Berlin';
SELECT amad_fit(:o, ts, a) FROM (SELECT ts, a FROM r UNION ALL SELECT '2026-01-01 00:07+00', 1) x;
RESET timezone;
SET timezone = 'UTC';
SELECT amad_fit(:o, ts::timestamp, a) FROM (SELECT ts, a FROM r UNION ALL SELECT '2026-01-01 00:07+00', 1) x;
SELECT amad_fit(:o, ts::date, a) FROM r;
SELECT amad_fit(:o, CASE WHEN n <> 9 THEN n END, a) FROM r;
SELECT amad_fit(:o, NULL::timestamptz, a) FROM r;
SELECT amad_fit(:o, CASE WHEN n <> 9 THEN ts ELSE 'infinity' END, a) FROM r;
SELECT amad_fit(:o, CASE WHEN n <> 9 THEN ts::timestamp ELSE '-infinity' END, a) FROM r;
SELECT amad_fit(:o, CASE WHEN n <> 9 THEN date '2026-01-01' + n ELSE 'infinity' END, a) FROM r;

-- ---- groups

SELECT n % 2 AS device, amad_train('pump-' || n % 2, :o, n, a, b)
	- '{loss,threshold,seconds,core,imputed_rows,imputed_values,workers}'::text[] AS summary
FROM r GROUP BY 1 ORDER BY 1;
SELECT same(model, (SELECT amad_fit(:o, n, a, b) FROM r WHERE n % 2 = 1)) AS odd FROM amad_models
WHERE model_name = 'pump-1';
SELECT same(model, (SELECT amad_fit(:o, n, a, b) FILTER (WHERE n % 2 = 1) FROM r)) AS filter FROM amad_models
WHERE model_name = 'pump-1';
-- options that depend on the group; by hash and by sort
SELECT n % 2 AS device, amad_describe(amad_fit(:o || jsonb_build_object('seed', n % 2), n,
	a))->'options'->'seed' AS seed
FROM r GROUP BY 1 ORDER BY 1;
SET enable_hashagg = off;
SELECT n % 2 AS device, amad_describe(amad_fit(:o || jsonb_build_object('seed', n % 2), n,
	a))->'options'->'seed' AS seed
FROM r GROUP BY 1 ORDER BY 1;
RESET enable_hashagg;
SELECT n % 2 AS device, amad_describe(amad_fit(:o, n, a))->'training'->'rows' AS rows FROM r GROUP BY ROLLUP (1)
ORDER BY 1;
SELECT n % 2 AS device, count(*) AS rows FROM r GROUP BY 1 HAVING amad_fit(:o, n, a) IS NOT NULL ORDER BY 1;
-- if one group has too few rows, no model is stored
SELECT n < 10 AS small, amad_train('part-' || (n < 10), :o, n, a) IS NULL FROM r GROUP BY 1;
SELECT count(*) AS stored FROM amad_models WHERE model_name LIKE 'part-%';
SELECT amad_train('pump-' || n % 2, :o, n, a) FROM r;
SELECT amad_fit(:o || jsonb_build_object('seed', n % 2), n, a) FROM r;
SELECT amad_fit(CASE WHEN n < 100 THEN :o END, n, a) FROM r;
SELECT amad_train(CASE WHEN n < 100 THEN 'pump' END, :o, n, a) FROM r;
SELECT amad_train(NULL, :o, n, a) FROM r;
SELECT amad_train('', :o, n, a) FROM r;

-- ---- where it cannot be used

SELECT amad_fit(:o, n, a) OVER (ORDER BY n) FROM r;
SELECT amad_train('fit', :o, n, a) OVER () FROM r;
SELECT amad_fit(:o, n, amad_fit(:o, n, a)) FROM r;
SELECT n FROM r WHERE amad_fit(:o, n, a) IS NOT NULL;

-- ---- errors leave nothing behind: neither memory that is counted nor a version

SET maintenance_work_mem = '2MB';
DO $$
BEGIN
	FOR try IN 1 .. 50 LOOP
		BEGIN
			PERFORM amad_train('leak', '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2]}'::jsonb,
				i % 4000, i) FROM generate_series(1, 5000) i;
		EXCEPTION WHEN unique_violation THEN
		END;
	END LOOP;
END $$;
SELECT amad_train('leak', :o, n, a)->'version' AS version FROM r;

-- ---- memory: rows, the network, all groups together

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	EXECUTE statement;
	RETURN 'done';
EXCEPTION WHEN program_limit_exceeded THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || regexp_replace(sqlerrm, ' \d+ MB,', ' N MB,') || ' ' || hint;
END $$;
-- all features are counters
SET client_min_messages = warning;
SELECT refusal(format('SELECT amad_fit(%L::jsonb, i, i, i, i, i) FROM generate_series(1, %s) i', :o, rows))
FROM unnest('{1000, 100000}'::int[]) rows;
SELECT refusal('SELECT amad_fit(''{"d_model": 512, "steps": 1}''::jsonb, i, i) FROM generate_series(1, 1000) i');
-- each group would fit: one after the other by sort, a few at once by hash, all at once
SELECT format('SELECT amad_fit(%L::jsonb, i, i, i) FROM generate_series(0, 99999) i GROUP BY i / 1000', :o) AS sql \gset
SET enable_hashagg = off;
SELECT refusal(:'sql');
RESET enable_hashagg;
SET enable_sort = off;
SELECT refusal(:'sql');
SET work_mem = '1GB';
SELECT refusal(:'sql');
RESET work_mem;
RESET enable_sort;
SET maintenance_work_mem = '64MB';
SELECT refusal('SELECT amad_fit(''{"preset": "paper", "steps": 1}''::jsonb, i, i) FROM generate_series(1, 1000) i');
RESET maintenance_work_mem;
RESET client_min_messages;

DELETE FROM amad_models;
DROP FUNCTION same, same_figures, same_weights, figures, facts, std, refusal;
DROP TABLE r, typed, wide, gaps, known, lacking;
DROP DOMAIN smallpercent, percent;
