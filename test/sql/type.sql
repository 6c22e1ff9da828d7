--
-- The type amad_model: a value survives text and binary form to the last bit, and
-- values that are not models, by accident or design, are refused with an error.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE TABLE model_rows AS
SELECT i AS ts, sin(i * 0.3) AS a, cos(i * 0.17) + (hashint4(i) % 1000) / 1e4 AS b
FROM generate_series(1, 120) i;

CREATE TABLE kept (name text, model amad_model);
INSERT INTO kept SELECT 'tiny', amad_fit(
	'{"window": 4, "d_model": 4, "heads": 1, "layers": 1, "steps": 3, "horizons": [2, 4], "features": ["flow", "döner"],
	  "advanced": {"batch_size": 2, "state_weight": 0, "flatline_weight": 0,
	  "relation_weight": 0, "level_weight": 0}}'::jsonb, ts, a, b)
FROM model_rows;
INSERT INTO kept SELECT 'large', amad_fit(
	'{"window": 4, "d_model": 64, "layers": 1, "steps": 2, "horizons": [2, 4], "advanced": {"batch_size": 2}}'::jsonb,
		ts, a, b)
FROM model_rows;

-- ---- how it is stored

SELECT typname, typlen, typalign, typstorage, typcategory FROM pg_type WHERE oid = 'amad_model'::regtype;
SELECT attname, attstorage, attcompression FROM pg_attribute
WHERE attrelid = 'amad_models'::regclass AND attname = 'model';
-- the large one is stored out of line
SELECT pg_relation_size(reltoastrelid) > 50000 AS toasted FROM pg_class WHERE oid = 'kept'::regclass;

-- ---- text and binary form

SELECT name, left(model::text, 10) AS begins,
	model::text = '\x' || encode(amad_model_send(model), 'hex') AS hex,
	amad_model_send(model::text::amad_model) = amad_model_send(model) AS round_trip,
	amad_model_send(('\x' || upper(encode(amad_model_send(model), 'hex')))::amad_model)
		= amad_model_send(model) AS capitals
FROM kept ORDER BY name;
-- the text does not depend on settings
SELECT md5(model::text) AS before FROM kept WHERE name = 'tiny' \gset
SET bytea_output = escape;
SELECT md5(model::text) = :'before' AS same, model::text::amad_model::text = model::text AS round_trip
FROM kept WHERE name = 'tiny';
RESET bytea_output;


\getenv abs_builddir PG_ABS_BUILDDIR
\set file :abs_builddir '/results/model.bin'
COPY kept TO :'file' (FORMAT binary);
CREATE TABLE copied (LIKE kept);
COPY copied FROM :'file' (FORMAT binary);
SELECT name, amad_model_send(c.model) = amad_model_send(k.model) AS same
FROM kept k JOIN copied c USING (name) ORDER BY name;
TRUNCATE copied;
COPY kept TO :'file';
COPY copied FROM :'file';
SELECT name, amad_model_send(c.model) = amad_model_send(k.model) AS same
FROM kept k JOIN copied c USING (name) ORDER BY name;
-- on input only the envelope is checked, in binary form as in text form
COPY (SELECT name, substr(amad_model_send(model), 1, 500) FROM kept WHERE name = 'tiny') TO :'file' (FORMAT binary);
COPY copied FROM :'file' (FORMAT binary);
SELECT name, length(amad_model_send(model)) / 1000 AS kilobytes, amad_model_error(model) FROM copied ORDER BY 2;
COPY (SELECT name, ''::bytea FROM kept WHERE name = 'tiny') TO :'file' (FORMAT binary);
COPY copied FROM :'file' (FORMAT binary);

-- a model has the same scores after the round trip
SELECT count(s) AS scored, bool_and(s = t) AS same
FROM (SELECT amad_score(k.model, ts, a, b) OVER (ORDER BY ts) AS s,
			 amad_score(k.model::text::amad_model, ts, a, b) OVER (ORDER BY ts) AS t
	  FROM model_rows, kept k WHERE name = 'tiny') x WHERE s IS NOT NULL;

-- ---- NULL

SELECT NULL::amad_model IS NULL AS in, (NULL::amad_model)::text IS NULL AS out,
	amad_model_send(NULL) IS NULL AS send, amad_describe(NULL::amad_model) IS NULL AS describe,
	(SELECT count(*) FROM amad_weights(NULL)) AS weights;

-- ---- not a model

SELECT ''::amad_model;
SELECT 'pump'::amad_model;
SELECT '{"threshold": 1}'::amad_model;
SELECT '\x'::amad_model;
SELECT '\x414d4144'::amad_model;
SELECT '\x414d41440'::amad_model;
SELECT '\x414d41zz'::amad_model;
SELECT ('\x' || repeat('00', 1000))::amad_model;
SELECT (' ' || model::text)::amad_model FROM kept WHERE name = 'tiny';
SELECT (substr(model::text, 3))::amad_model FROM kept WHERE name = 'tiny';
SELECT (model::text || 'f')::amad_model FROM kept WHERE name = 'tiny';
SELECT left(model::text, 42)::amad_model FROM kept WHERE name = 'tiny';
-- amad_model_error checks the rest, and so does any use of the value
SELECT amad_model_error(model) IS NULL AS intact, amad_model_error((model::text || 'ff')::amad_model) AS longer,
	amad_model_error(left(model::text, -2)::amad_model) AS shorter, amad_model_error(NULL) IS NULL AS none FROM kept
	WHERE name = 'tiny';
SELECT amad_describe((model::text || 'ff')::amad_model) FROM kept WHERE name = 'tiny';
SELECT amad_score((SELECT left(model::text, -2)::amad_model FROM kept WHERE name = 'tiny'), ts, a, b) OVER (ORDER BY ts)
FROM model_rows;

-- The outcome of an attempt to make a model of bytes.
CREATE FUNCTION verdict(b bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; model amad_model;
BEGIN
	model := ('\x' || encode(b, 'hex'))::amad_model;
	RETURN coalesce(amad_model_error(model), 'accepted');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN sqlstate || ' ' || sqlerrm || coalesce(': ' || nullif(detail, ''), '');
END $$;

-- every truncation, and damage to every byte
SELECT verdict(substr(b, 1, n)), CASE WHEN min(n) < 100 THEN min(n) END AS from,
	CASE WHEN max(n) < 100 THEN max(n) END AS to,
	CASE WHEN max(n) >= 100 THEN length(b) - max(n) END AS bytes_missing, count(*) = max(n) - min(n) + 1 AS without_gap
FROM (SELECT amad_model_send(model) AS b FROM kept WHERE name = 'tiny') k, generate_series(0, length(b)) n
GROUP BY 1, length(b) ORDER BY min(n);
SELECT verdict(set_byte(b, n, get_byte(b, n) # 64)), min(n) AS from, CASE WHEN max(n) < 100 THEN max(n) END AS to,
	max(n) = length(b) - 1 AS to_the_end, count(*) = max(n) - min(n) + 1 AS without_gap
FROM (SELECT amad_model_send(model) AS b FROM kept WHERE name = 'tiny') k, generate_series(0, length(b) - 1) n
GROUP BY 1, length(b) ORDER BY min(n);

-- ---- forged: the checksum is right, the rest is not

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
-- little-endian numbers
CREATE FUNCTION u32(x bigint) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT decode(string_agg(lpad(to_hex((x >> shift) & 255), 2, '0'), '' ORDER BY shift), 'hex')
	FROM unnest('{0, 8, 16, 24}'::int[]) shift $$;
CREATE FUNCTION reversed(b bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT string_agg(substr(b, i, 1), NULL ORDER BY i DESC) FROM generate_series(1, length(b)) i $$;
CREATE FUNCTION f64(x float8) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$ SELECT reversed(float8send(x)) $$;
CREATE FUNCTION f32(x float4) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$ SELECT reversed(float4send(x)) $$;

CREATE FUNCTION put(b bytea, at int, new bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT overlay(b PLACING new FROM at + 1) $$;
CREATE FUNCTION signed(b bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT put(b, 8, u32(crc_32c(substr(b, 13)))) $$;
-- bytes of the JSON text, and the same value with another text
CREATE FUNCTION json_bytes(b bytea) RETURNS int IMMUTABLE LANGUAGE sql AS $$
	SELECT get_byte(b, 24) + 256 * get_byte(b, 25) $$;
CREATE FUNCTION json_of(b bytea) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT convert_from(substr(b, length(b) - json_bytes(b) + 1), 'UTF8') $$;
CREATE FUNCTION with_json(b bytea, doc bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT put(substr(b, 1, length(b) - json_bytes(b)), 24, u32(length(doc))) || doc $$;
CREATE FUNCTION with_json(b bytea, doc text) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT with_json(b, convert_to(doc, 'UTF8')) $$;

SELECT amad_model_send(model) AS b FROM kept WHERE name = 'tiny' \gset
SELECT crc_32c('123456789') = x'e3069283'::bigint AS crc_is_right,
	signed(:'b') = :'b' AS value_is_signed_so,
	with_json(:'b', json_of(:'b')) = :'b' AS json_is_last;

-- The sizes and numbers of a model of 2 features, 1 layer, 2 horizons:
-- features at 12, layers 16, horizons 20, JSON 24, weights 28 (8 bytes), series 36, terms 40, evidence 44, bins 48,
-- profiles 52; mean at 56, std 72, rho 88, rho_incomplete 104, mu 120, theta 128, threshold 144, step 152,
-- max_gap 160; weights from 168.
SELECT what, verdict(signed(forged)) FROM (VALUES
	(1, 'nothing', :'b'::bytea),
	(2, 'other magic', put(:'b', 0, 'AMAE')),
	(3, 'format 0', put(:'b', 4, u32(0))),
	(4, 'format 2', put(:'b', 4, u32(2))),
	(5, 'format 3', put(:'b', 4, u32(3))),
	(5.1, 'format 5', put(:'b', 4, u32(5))),
	(6, 'format 2^32 - 1', put(:'b', 4, u32(4294967295))),
	(10, 'features 0', put(:'b', 12, u32(0))),
	(11, 'features 1', put(:'b', 12, u32(1))),
	(12, 'features 3', put(:'b', 12, u32(3))),
	(13, 'features 4096', put(:'b', 12, u32(4096))),
	(14, 'features 4097', put(:'b', 12, u32(4097))),
	(15, 'features 2^31', put(:'b', 12, u32(2147483648))),
	(16, 'features 2^32 - 1', put(:'b', 12, u32(4294967295))),
	(20, 'layers 0', put(:'b', 16, u32(0))),
	(21, 'layers 2', put(:'b', 16, u32(2))),
	(22, 'layers 2^32 - 1', put(:'b', 16, u32(4294967295))),
	(23, 'layers 2, horizons 1', put(put(:'b', 16, u32(2)), 20, u32(1))),
	(24, 'layers 0, horizons 3', put(put(:'b', 16, u32(0)), 20, u32(3))),
	(25, 'horizons 2^32 - 1', put(:'b', 20, u32(4294967295))),
	(30, 'JSON 0', put(:'b', 24, u32(0))),
	(31, 'JSON 2^32 - 1', put(:'b', 24, u32(4294967295))),
	(32, 'weights 0', put(:'b', 28, u32(0))),
	(33, 'weights 2^32', put(put(:'b', 28, u32(0)), 32, u32(1))),
	(34, 'weights 2^64 - 1', put(:'b', 28, u32(4294967295) || u32(4294967295))),
	(35, 'weights 2^62, whose bytes wrap around', put(:'b', 32, u32(1073741824))),
	(36, 'the last two weights are JSON',
		put(put(put(:'b', 24, u32(json_bytes(:'b') + 8)), 28, u32(get_byte(:'b', 28) + 256 * get_byte(:'b', 29) - 2)),
			length(:'b'::bytea) - json_bytes(:'b') - 8, 'AAAAAAAA')),
	(37, 'series 1', put(:'b', 36, u32(1))),
	(38, 'series 2^32 - 1', put(:'b', 36, u32(4294967295))),
	(39, 'series 2^29, whose figures have 2^36 bytes', put(:'b', 36, u32(536870912))),
	(39.1, 'the last 28 weights are figures of a series',
		put(put(:'b', 28, u32(get_byte(:'b', 28) + 256 * get_byte(:'b', 29) - 28)), 36, u32(1))),
	(39.2, 'terms 1', put(:'b', 40, u32(1))),
	(39.3, 'terms 2^31', put(:'b', 40, u32(2147483648))),
	(39.4, 'flatlines', put(:'b', 44, u32(1))),
	(39.5, 'relations', put(:'b', 44, u32(2))),
	(39.51, 'evidence of another kind', put(:'b', 44, u32(8))),
	(39.52, 'levels', put(:'b', 44, u32(4))),
	(39.53, 'bins', put(:'b', 48, u32(1))),
	(39.54, 'too many bins', put(:'b', 48, u32(4096))),
	(39.55, 'bins 2^32 - 1', put(:'b', 48, u32(4294967295))),
	(39.56, 'a profile without bins', put(:'b', 52, u32(1))),
	(39.6, 'evidence 2^32 - 1', put(:'b', 44, u32(4294967295))),
	(39.7, 'the last 6 weights are figures of flatlines',
		put(put(:'b', 28, u32(get_byte(:'b', 28) + 256 * get_byte(:'b', 29) - 6)), 44, u32(1))),
	(39.8, 'the last 8 weights are figures of relations',
		put(put(:'b', 28, u32(get_byte(:'b', 28) + 256 * get_byte(:'b', 29) - 8)), 44, u32(2))),
	(40, 'mean NaN', put(:'b', 56, f64('NaN'))),
	(41, 'mean Infinity', put(:'b', 64, f64('Infinity'))),
	(42, 'std negative', put(:'b', 80, f64(-1))),
	(43, 'std NaN', put(:'b', 72, f64('NaN'))),
	(44, 'rho negative', put(:'b', 88, f64(-0.1))),
	(45, 'rho 0', put(:'b', 96, f64(0))),
	(45.1, 'rho_incomplete 0', put(:'b', 104, f64(0))),
	(45.2, 'rho_incomplete Infinity', put(:'b', 112, f64('Infinity'))),
	(46, 'mu 0', put(:'b', 120, f64(0))),
	(47, 'mu Infinity', put(:'b', 120, f64('Infinity'))),
	(48, 'theta negative', put(:'b', 128, f64(-1))),
	(49, 'threshold 0', put(:'b', 144, f64(0))),
	(50, 'threshold NaN', put(:'b', 144, f64('NaN'))),
	(50.1, 'step NaN', put(:'b', 152, f64('NaN'))),
	(50.2, 'step negative', put(:'b', 152, f64(-1))),
	(50.3, 'step Infinity', put(:'b', 152, f64('Infinity'))),
	(50.4, 'step 0: unknown', put(:'b', 152, f64(0))),
	(50.5, 'max_gap NaN', put(:'b', 160, f64('NaN'))),
	(50.6, 'max_gap negative', put(:'b', 160, f64(-0.5))),
	(50.7, 'max_gap Infinity', put(:'b', 160, f64('Infinity'))),
	(50.8, 'max_gap 0: no limit', put(:'b', 160, f64(0))),
	(51, 'first weight NaN', put(:'b', 168, f32('NaN'))),
	(52, 'last weight -Infinity', put(:'b', length(:'b'::bytea) - json_bytes(:'b') - 4, f32('-Infinity'))),
	(53, 'first weight 1000, which is allowed', put(:'b', 168, f32(1000))))
	AS v(n, what, forged) ORDER BY n;

-- A season with five terms, no blocks, one horizon: weights of the season at 152, gain 232, spread 248
SELECT amad_model_send(amad_fit('{"method": "zscore", "season": [8], "horizons": [1],
	"advanced": {"season_harmonics": 2}}'::jsonb, n, sin(n * 0.8)::float8, (n % 7)::float8)) AS s
FROM generate_series(1, 99) n \gset
SELECT what, verdict(signed(forged)) FROM (VALUES
	(1, 'nothing', :'s'::bytea),
	(2, 'no terms', put(:'s', 40, u32(0))),
	(3, 'six terms', put(:'s', 40, u32(6))),
	(4, 'first weight NaN', put(:'s', 152, f64('NaN'))),
	(5, 'last weight Infinity', put(:'s', 224, f64('Infinity'))),
	(6, 'gain negative', put(:'s', 232, f64(-0.1))),
	(7, 'gain 0', put(:'s', 240, f64(0))),
	(8, 'spread 0', put(:'s', 256, f64(0))),
	(9, 'another number of harmonics', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": [8, 3, 8]'))),
	(10, 'period 1', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": [1, 2, 8]'))),
	(11, 'period 1e300', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": [1e300, 2, 8]'))),
	(12, 'period 8.5', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": [8.5, 2, 8]'))),
	(13, 'period 9, which is allowed', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": [9, 2, 8]'))),
	(14, 'period a string', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": ["8", 2, 8]'))),
	(15, 'harmonics missing', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": [8]'))),
	(16, 'no season', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": []'))),
	(17, 'season not an array', with_json(:'s', replace(json_of(:'s'), '"season": [8, 2, 8]', '"season": 8'))))
	AS v(n, what, forged) ORDER BY n;

-- a recalibration with infinite residuals is an error, and nothing is stored, as it could not be read
CREATE TABLE season_rows AS SELECT n AS ts, sin(n * 0.8)::float8 AS a, (n % 7)::float8 AS b
FROM generate_series(1, 400) n;
SELECT amad_train('season', 'season_rows', 'ts', options => '{"method": "zscore", "season": [8], "horizons": [1],
	"advanced": {"season_harmonics": 2}}') IS NOT NULL AS trained;
UPDATE amad_models SET model = ('\x' || encode(signed(put(put(amad_model_send(model), 232, f64(0)), 152, f64(1e200))),
	'hex'))::amad_model WHERE model_name = 'season';
SELECT amad_recalibrate_bigint('season', last_n => 300, options => '{"trim": 0}');
SELECT count(*) AS versions, count(amad_describe(model)) AS readable FROM amad_models WHERE model_name = 'season';
SELECT amad_drop('season') AS dropped;
DROP TABLE season_rows;

SELECT what, verdict(signed(with_json(:'b', json))) FROM (VALUES
	(1, 'empty', ''),
	(2, 'garbage', 'garbage'),
	(3, 'open', '{"options": {'),
	(4, 'deep', repeat('[', 100000)),
	(5, 'scalar', '1'),
	(6, 'array', '[]'),
	(7, 'nothing in it', '{}'),
	(8, 'no training', '{"options": {}}'),
	(9, 'options not an object', '{"options": [1], "training": {}}'),
	(10, 'options a scalar', '{"options": 1, "training": {}}'),
	(11, 'defaults', '{"options": {}, "training": {}}'),
	(12, 'window 0', '{"options": {"window": 0}, "training": {}}'),
	(13, 'unknown option', '{"options": {"depth": 1}, "training": {}}'),
	(14, 'other width', replace(json_of(:'b'), '"d_model": 4', '"d_model": 8')),
	(15, 'other layers', replace(json_of(:'b'), '"layers": 1', '"layers": 2')),
	(16, 'other horizons', replace(json_of(:'b'), '[2, 4]', '[2, 4, 8]')),
	(17, 'fewer names', replace(json_of(:'b'), ', "döner"', '')),
	(18, 'more names', replace(json_of(:'b'), '"flow"', '"flow", "pressure"')),
	(19, 'same name twice', replace(json_of(:'b'), '"döner"', '"flow"')),
	(20, 'another name, which is allowed', replace(json_of(:'b'), '"flow"', '"glow"')),
	(21, 'fewer types', replace(json_of(:'b'), '"types": []', '"types": ["float8"]')),
	(22, 'more types', replace(json_of(:'b'), '"types": []', '"types": ["float8", "float8", "float8"]')),
	(23, 'types that are not strings', replace(json_of(:'b'), '"types": []', '"types": [1, 2]')),
	(24, 'types not an array', replace(json_of(:'b'), '"types": []', '"types": {"a": 1, "b": 2}')),
	(25, 'two types', replace(json_of(:'b'), '"types": []', '"types": ["float8", "numeric"]')),
	(26, 'series without figures', replace(json_of(:'b'), '"series": []', '"series": ["{\"d\": 1}"]')),
	(27, 'series not an array', replace(json_of(:'b'), '"series": []', '"series": 1')),
	(28, 'series columns not an array', replace(json_of(:'b'), '"series_cols": []', '"series_cols": "d"')),
	(29, 'series columns not names', replace(json_of(:'b'), '"series_cols": []', '"series_cols": [null]')),
	(30, 'another type of time', replace(json_of(:'b'), '"ts_type": "bigint"', '"ts_type": "timestamp"')),
	(30.01, 'training an array', regexp_replace(json_of(:'b'), '"training": {[^}]*}', '"training": [1]')),
	(30.02, 'training a number', regexp_replace(json_of(:'b'), '"training": {[^}]*}', '"training": 1')),
	(30.03, 'training a null', regexp_replace(json_of(:'b'), '"training": {[^}]*}', '"training": null')),
	(30.04, 'training empty, which is an object',
		regexp_replace(json_of(:'b'), '"training": {[^}]*}', '"training": {}')),
	(30.05, 'core a number, which is not shown', regexp_replace(json_of(:'b'), '"core": "[^"]*"', '"core": 1')),
	(30.1, 'a flag', replace(json_of(:'b'), '"flags": []', '"flags": [1]')),
	(30.2, 'the same flag twice', replace(json_of(:'b'), '"flags": []', '"flags": [1, 1]')),
	(30.3, 'flag without a feature', replace(json_of(:'b'), '"flags": []', '"flags": [2]')),
	(30.4, 'flag negative', replace(json_of(:'b'), '"flags": []', '"flags": [-1]')),
	(30.5, 'half a flag', replace(json_of(:'b'), '"flags": []', '"flags": [0.5]')),
	(30.6, 'flag a name', replace(json_of(:'b'), '"flags": []', '"flags": ["flow"]')),
	(30.7, 'flags not an array', replace(json_of(:'b'), '"flags": []', '"flags": 1')),
	(30.8, 'flags missing', replace(json_of(:'b'), '"flags": [], ', '')),
	(30.9, 'flatlines without figures',
		replace(json_of(:'b'), '"flatline_weight": 0', '"flatline_weight": 1')),
	(30.91, 'relations without figures', replace(json_of(:'b'), '"relation_weight": 0', '"relation_weight": 1')),
	(32, 'another method', replace(json_of(:'b'), '"method": "amad"', '"method": "zscore"')),
	(33, 'unknown method', replace(json_of(:'b'), '"method": "amad"', '"method": "dada"')),
	(34, 'advanced options null', regexp_replace(json_of(:'b'), '"advanced": {[^}]*}', '"advanced": null')),
	(35, 'an advanced option among the others', replace(json_of(:'b'), '"seed": 0', '"seed": 0, "clip": 5')),
	(36, 'another option in advanced', replace(json_of(:'b'), '"advanced": {', '"advanced": {"seed": 0, ')))
	AS v(n, what, json) ORDER BY n;
-- invalid text
SELECT what, verdict(signed(with_json(:'b', json))) FROM (VALUES
	(1, 'zero byte in the end', convert_to(json_of(:'b'), 'UTF8') || '\x00'),
	(2, 'zero byte in a name', convert_to(split_part(json_of(:'b'), 'flow', 1), 'UTF8') || 'fl\000w'
		|| convert_to(split_part(json_of(:'b'), 'flow', 2), 'UTF8')),
	(3, 'not UTF-8', convert_to(split_part(json_of(:'b'), 'flow', 1), 'UTF8') || '\xfff0c3'
		|| convert_to(split_part(json_of(:'b'), 'flow', 2), 'UTF8')))
	AS v(n, what, json) ORDER BY n;

-- ---- forged: a model of two series

-- The value with figures and keys of series: those of all rows, once for each key.
CREATE FUNCTION with_series(b bytea, keys jsonb, cols jsonb, figures bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT with_json(put(substr(b, 1, length(b) - json_bytes(b)) || figures || substr(b, length(b) - json_bytes(b) + 1),
						 36, u32(length(figures) / 112)),
					 replace(replace(json_of(b), '"series": []', '"series": ' || keys::text), '"series_cols": []',
					 	'"series_cols": ' || cols::text)) $$;
SELECT substr(:'b'::bytea, 57, 112) AS f \gset
SELECT what, verdict(signed(with_series(:'b', keys, '["d"]', figures))) FROM (VALUES
	(1, 'two', '["{\"d\": 1}", "{\"d\": 2}"]'::jsonb, :'f'::bytea || :'f'::bytea),
	(2, 'one', '["{\"d\": 1}"]', :'f'),
	(3, 'a key too few', '["{\"d\": 1}"]', :'f'::bytea || :'f'::bytea),
	(4, 'a key too many', '["{\"d\": 1}", "{\"d\": 2}"]', :'f'::bytea),
	(5, 'the same twice', '["{\"d\": 1}", "{\"d\": 1}"]', :'f'::bytea || :'f'::bytea),
	(6, 'in another order, that of another encoding', '["{\"d\": 2}", "{\"d\": 1}"]', :'f'::bytea || :'f'::bytea),
	(7, 'numbers', '[1, 2]', :'f'::bytea || :'f'::bytea),
	(8, 'mean NaN', '["{\"d\": 1}", "{\"d\": 2}"]', :'f'::bytea || put(:'f', 8, f64('NaN'))),
	(9, 'std negative', '["{\"d\": 1}", "{\"d\": 2}"]', put(:'f', 16, f64(-1)) || :'f'::bytea),
	(10, 'rho 0', '["{\"d\": 1}", "{\"d\": 2}"]', :'f'::bytea || put(:'f', 32, f64(0))),
	(11, 'threshold 0', '["{\"d\": 1}", "{\"d\": 2}"]', :'f'::bytea || put(:'f', 88, f64(0))),
	(12, 'step NaN', '["{\"d\": 1}", "{\"d\": 2}"]', :'f'::bytea || put(:'f', 96, f64('NaN'))),
	(13, 'max_gap negative', '["{\"d\": 1}", "{\"d\": 2}"]', :'f'::bytea || put(:'f', 104, f64(-1))))
	AS v(n, what, keys, figures) ORDER BY n;
SELECT verdict(signed(with_series(:'b', '["{}"]', '[]', :'f'))) AS without_series_columns;
-- it scores a series with the threshold of that series, and an unknown one with that of all series
CREATE TABLE forged AS SELECT ('\x' || encode(signed(with_series(:'b', '["{\"d\": 1}", "{\"d\": 2}"]', '["d"]',
	:'f'::bytea || put(:'f', 88, f64(4 * (amad_describe(model)->>'threshold')::float8)))), 'hex'))::amad_model AS model
	FROM kept WHERE name = 'tiny';
SELECT amad_model_send(model::text::amad_model) = amad_model_send(model) AS round_trip FROM forged;
SELECT series, count(e) AS rows, count((e).severity) AS scored, round(min(ratio_of((e).severity) / ratio_of(s))::numeric, 9) AS least,
	round(max(ratio_of((e).severity) / ratio_of(s))::numeric, 9) AS most,
	min((e).status) FILTER (WHERE s IS NOT NULL) AS status
FROM unnest('{"{\"d\": 1}", "{\"d\": 2}", "{\"d\": 3}", "{\"d\": \"1\"}", "{\"d\": null}", "1", null}'::jsonb[]) series,
	LATERAL (
	SELECT amad_score(k.model, ts, a, b) OVER (ORDER BY ts) AS s,
		amad_explain(f.model, series, ts, a, b) OVER (ORDER BY ts) AS e
	FROM model_rows, kept k, forged f WHERE name = 'tiny') x GROUP BY series ORDER BY series;
-- figures belong to their keys, in any order
SELECT count(s) AS scored, bool_and(s IS NOT DISTINCT FROM t) AS same FROM (
	SELECT amad_score(f.model, jsonb_build_object('d', d), ts, a, b) OVER (PARTITION BY d ORDER BY ts) AS s,
		amad_score(g.model, jsonb_build_object('d', d), ts, a, b) OVER (PARTITION BY d ORDER BY ts) AS t
	FROM model_rows, forged f, generate_series(1, 3) d,
		(SELECT ('\x' || encode(signed(with_series(:'b', '["{\"d\": 2}", "{\"d\": 1}"]', '["d"]',
		put(:'f', 88, f64(4 * (amad_describe(model)->>'threshold')::float8)) || :'f'::bytea)),
			'hex'))::amad_model AS model FROM kept WHERE name = 'tiny') g) x;
-- of 1 and "1" a series is the one with exactly the same value; otherwise texts are compared
SELECT series, round(min(ratio_of(s) / ratio_of(t))::numeric, 9) AS least,
	round(max(ratio_of(s) / ratio_of(t))::numeric, 9) AS most
FROM unnest('{"{\"d\": 1}", "{\"d\": \"1\"}", "1", "\"1\"", "{\"d\": \"2\"}", "{\"d\": 2}"}'::jsonb[]) series,
	LATERAL (
	SELECT amad_score(h.model, series, ts, a, b) OVER (ORDER BY ts) AS s,
		amad_score(k.model, ts, a, b) OVER (ORDER BY ts) AS t
	FROM model_rows, kept k,
		(SELECT ('\x' || encode(signed(with_series(:'b', '["{\"d\": \"1\"}", "{\"d\": 1}", "{\"d\": 2}"]', '["d"]',
		put(:'f', 88, f64(2 * (amad_describe(model)->>'threshold')::float8))
			|| put(:'f', 88, f64(4 * (amad_describe(model)->>'threshold')::float8))
			|| put(:'f', 88, f64(8 * (amad_describe(model)->>'threshold')::float8)))),
			'hex'))::amad_model AS model FROM kept WHERE name = 'tiny') h WHERE k.name = 'tiny') x
GROUP BY series ORDER BY series;
SELECT amad_score(model, '{"e": 1}'::jsonb, ts, a, b) OVER (ORDER BY ts) FROM model_rows, forged;
SELECT amad_score(model, '{"d": 1, "e": 1}'::jsonb, ts, a, b) OVER (ORDER BY ts) FROM model_rows, forged;
SELECT amad_score(model, '{"d": [1]}'::jsonb, ts, a, b) OVER (ORDER BY ts) FROM model_rows, forged;
SELECT amad_score(model, '[1, 2]'::jsonb, ts, a, b) OVER (ORDER BY ts) FROM model_rows, forged;
SELECT amad_score(model, jsonb_build_object('d', ts % 2), ts, a, b) OVER (ORDER BY ts) FROM model_rows, forged;
SELECT count(s) AS scored FROM (SELECT amad_score(model, jsonb_build_object('d', ts % 2), ts, a,
	b) OVER (PARTITION BY ts % 2 ORDER BY ts) AS s FROM model_rows, forged) x;

-- ---- forged: states
INSERT INTO kept SELECT 'states', amad_fit('{"window": 4, "d_model": 4, "heads": 1, "layers": 1, "steps": 1,
	"horizons": [2, 4], "advanced": {"batch_size": 2, "relation_weight": 0, "level_weight": 0}}'::jsonb, ts, a, b) FROM model_rows;
SELECT amad_model_send(model) AS st FROM kept WHERE name = 'states' \gset
SELECT what, verdict(signed(b)) FROM (VALUES
	(1, 'as it is', :'st'::bytea),
	(2, 'state_weight 0', with_json(:'st',
		regexp_replace(json_of(:'st'), '"state_weight": [0-9.]+', '"state_weight": 0'))),
	(3, 'without the option', with_json(:'st', regexp_replace(json_of(:'st'), '"state_weight": [0-9.]+, ', ''))),
	(4, 'of a baseline', with_json(:'st', replace(json_of(:'st'), '"method": "amad"', '"method": "zscore"'))),
	(5, 'last weight NaN', put(:'st', length(:'st'::bytea) - json_bytes(:'st') - 4, f32('NaN'))),
	(6, 'last weight 1000, which is allowed', put(:'st', length(:'st'::bytea) - json_bytes(:'st') - 4, f32(1000))),
	-- the last weights are 32 centres of 4 rows of 2 features
	(7, 'weight of a feature 0', put(:'st', length(:'st'::bytea) - json_bytes(:'st') - 4 * (32 * 4 * 2 + 3), f32(0))),
	(8, 'weight of a feature 1', put(:'st', length(:'st'::bytea) - json_bytes(:'st') - 4 * (32 * 4 * 2 + 2), f32(1))),
	(9, 'nearness negative', put(:'st', length(:'st'::bytea) - json_bytes(:'st') - 4 * (32 * 4 * 2 + 1),
		f32(-1)))) AS v(n, what, b) ORDER BY n;
-- the evidence of flatlines is at 176, activities at 184: there are two signals
SELECT what, verdict(signed(b)) FROM (VALUES
	(1, 'flatline_weight 0', with_json(:'st',
		regexp_replace(json_of(:'st'), '"flatline_weight": [0-9.]+', '"flatline_weight": 0'))),
	(2, 'no evidence', put(:'st', 44, u32(0))),
	(3, 'that of relations instead', put(:'st', 44, u32(2))),
	(4, 'evidence negative', put(:'st', 176, f64(-1))),
	(5, 'evidence NaN', put(:'st', 176, f64('NaN'))),
	(6, 'evidence 0, which is allowed', put(:'st', 176, f64(0))),
	(7, 'activity negative', put(:'st', 184, f64(-1))),
	(8, 'activity Infinity', put(:'st', 192, f64('Infinity'))),
	(9, 'activity 0, which is allowed', put(:'st', 192, f64(0)))) AS v(n, what, b) ORDER BY n;
DELETE FROM kept WHERE name = 'states';

-- ---- forged: relations
INSERT INTO kept SELECT 'relations', amad_fit('{"window": 4, "d_model": 4, "heads": 1, "layers": 1, "steps": 1,
	"horizons": [2, 4], "advanced": {"batch_size": 2, "state_weight": 0, "flatline_weight": 0}}'::jsonb, ts, a, b)
FROM model_rows;
SELECT amad_model_send(model) AS re FROM kept WHERE name = 'relations' \gset
-- their evidence is at 168, the limit at 176, means at 184; the last weights are a matrix of 2 rows and columns
SELECT length(:'re'::bytea) - json_bytes(:'re') - 16 AS matrix \gset
SELECT what, verdict(signed(b)) FROM (VALUES
	(1, 'as it is', :'re'::bytea),
	(2, 'relation_weight 0', with_json(:'re',
		regexp_replace(json_of(:'re'), '"relation_weight": [0-9.]+', '"relation_weight": 0'))),
	(3, 'no evidence', put(:'re', 44, u32(0))),
	(4, 'that of flatlines, too', put(:'re', 44, u32(3))),
	(5, 'evidence negative', put(:'re', 168, f64(-1))),
	(6, 'evidence NaN', put(:'re', 168, f64('NaN'))),
	(7, 'evidence 0, which is allowed', put(:'re', 168, f64(0))),
	(8, 'limit 0', put(:'re', 176, f64(0))),
	(9, 'limit Infinity', put(:'re', 176, f64('Infinity'))),
	(10, 'mean 0', put(:'re', 184, f64(0))),
	(11, 'mean 1e-50, which is 0 in single precision', put(:'re', 192, f64(1e-50))),
	(12, 'mean NaN', put(:'re', 192, f64('NaN'))),
	(13, 'diagonal 0', put(:'re', :matrix, f32(0))),
	(14, 'diagonal negative', put(:'re', :matrix + 12, f32(-1))),
	(15, 'diagonal NaN', put(:'re', :matrix + 12, f32('NaN'))),
	(16, 'beside it negative, which is allowed', put(:'re', :matrix + 4, f32(-1))),
	(17, 'beside it Infinity', put(:'re', :matrix + 8, f32('Infinity')))) AS v(n, what, b) ORDER BY n;
-- with any numbers in the matrix, scores are numbers
SELECT what, count(s) > 90 AS scored, count(*) FILTER (WHERE s = 'NaN' OR s = 'Infinity' OR s < 0) AS wrong FROM (
	SELECT what, amad_score(('\x' || encode(signed(b), 'hex'))::amad_model, ts, a, b2) OVER (PARTITION BY what ORDER BY ts) AS s
	FROM (SELECT ts, a, CASE WHEN ts % 7 > 0 THEN model_rows.b END AS b2 FROM model_rows) x,
		(VALUES ('tiny diagonal', put(:'re', :matrix, f32(1e-37))), ('not positive definite', put(:'re', :matrix + 4,
			f32(1000) || f32(1000))), ('small mean', put(:'re', 184, f64(1.2e-38)))) v(what, b)) y GROUP BY what ORDER BY what;
DELETE FROM kept WHERE name = 'relations';

-- ---- forged: profiles of recurrence
INSERT INTO kept SELECT 'profile', amad_fit('{"window": 4, "d_model": 4, "heads": 1, "layers": 1, "steps": 1,
	"season": [8], "horizons": [2, 4], "advanced": {"batch_size": 2, "state_weight": 0, "flatline_weight": 0,
	"relation_weight": 0, "level_weight": 0, "season_harmonics": 1}}'::jsonb, ts, a, b) FROM model_rows;
SELECT amad_model_send(model) AS pr FROM kept WHERE name = 'profile' \gset
-- The value with a profile, which is at 248 and followed by its numbers: 8 divisors, 16 slots, 16 · 2 means and scales.
CREATE FUNCTION with_profile(b bytea, kind float8, profiles int, numbers int) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT put(put(substr(b, 1, 256), 52, u32(profiles)), 248, f64(kind))
		|| decode(repeat(encode(f64(1), 'hex'), numbers), 'hex') || substr(b, 257) $$;
SELECT get_byte(:'pr'::bytea, 48) AS bins, get_byte(:'pr'::bytea, 52) AS profiles;
SELECT what, verdict(signed(b)) FROM (VALUES
	(1, 'none, as it is', with_profile(:'pr', 0, 0, 0)),
	(2, 'its own', with_profile(:'pr', 2, 1, 88)),
	(3, 'that of all rows, which are these', with_profile(:'pr', 1, 0, 0)),
	(4, 'of another kind', with_profile(:'pr', 3, 1, 88)),
	(5, 'between two kinds', with_profile(:'pr', 1.5, 0, 0)),
	(6, 'NaN', with_profile(:'pr', 'NaN', 0, 0)),
	(7, 'without its numbers', with_profile(:'pr', 2, 1, 0)),
	(8, 'not counted, without numbers', with_profile(:'pr', 2, 0, 0)),
	(9, 'not counted', with_profile(:'pr', 2, 0, 88)),
	(10, 'counted, but not there', with_profile(:'pr', 0, 1, 88)),
	(11, 'two', with_profile(:'pr', 2, 2, 176)),
	(12, '2^31 profiles', with_profile(:'pr', 2, -2147483648, 88)),
	(13, 'divisor below 1', put(with_profile(:'pr', 2, 1, 88), 256, f64(0.5))),
	(14, 'slot that does not exist, which is allowed', put(with_profile(:'pr', 2, 1, 88), 320, f64(1e9))),
	(15, 'scale negative', put(with_profile(:'pr', 2, 1, 88), 256 + 8 * 87, f64(-1)))) AS v(n, what, b) ORDER BY n;
SELECT what, verdict(signed(with_json(:'pr', replace(json_of(:'pr'), '"season": [8, 1, 8]', '"month_bins": ' || bins || ', "season": [8, 1, 8]')))) FROM (VALUES
	(1, 'bins of months that the header does not count', '4'), (2, 'none', '0'), (3, 'too many', '97'), (4, 'a fraction', '0.5'),
	(5, 'negative', '-1')) AS v(n, what, bins) ORDER BY n;
SELECT verdict(signed(put(with_json(:'pr', replace(json_of(:'pr'), '"season": [8, 1, 8]', '"month_bins": 4, "season": [8, 1, 8]')), 48, u32(16)))) AS counted;
-- where everything is divided by the same, the evidence is lower
SELECT count(*) FILTER (WHERE s < plain) > 50 AS lower FROM (
	SELECT amad_score(('\x' || encode(signed(put(with_profile(:'pr', 2, 1, 88), 256, decode(repeat(encode(f64(3), 'hex'), 8), 'hex')
			|| decode(repeat('00', 640), 'hex'))), 'hex'))::amad_model, ts, a, b) OVER (ORDER BY ts) AS s,
		amad_score((SELECT model FROM kept WHERE name = 'profile'), ts, a, b) OVER (ORDER BY ts) AS plain
	FROM model_rows) x;
DELETE FROM kept WHERE name = 'profile';

-- ---- forged: principal components

INSERT INTO kept SELECT 'pca',
	amad_fit('{"method": "pca", "horizons": [2, 4], "advanced": {"variance": 0.5}}'::jsonb, ts, a, b, a + b)
FROM model_rows;
INSERT INTO kept SELECT 'zscore', amad_fit('{"method": "zscore", "horizons": [2, 4]}'::jsonb, ts, a, b, a + b)
FROM model_rows;
SELECT name, amad_model_send(model::text::amad_model) = amad_model_send(model) AS round_trip,
	get_byte(amad_model_send(model), 28) AS weights
FROM kept WHERE name IN ('pca', 'zscore') ORDER BY name;
SELECT amad_model_send(model) AS p FROM kept WHERE name = 'pca' \gset
SELECT amad_model_send(model) AS z FROM kept WHERE name = 'zscore' \gset
-- The value with n more weights, or fewer.
CREATE FUNCTION with_weights(b bytea, n int) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT put(substr(b, 1, length(b) - json_bytes(b) + 4 * least(n, 0)) || decode(repeat('00', 4 * greatest(n, 0)),
		'hex')
			   || substr(b, length(b) - json_bytes(b) + 1), 28, u32(get_byte(b, 28) + n)) $$;
-- 3 features, no layer, 2 horizons: threshold at 56 + 96 + 16
SELECT what, verdict(signed(forged)) FROM (VALUES
	(1, 'one component', with_weights(:'p', 0)),
	(2, 'two', with_weights(:'p', 3)),
	(3, 'three', with_weights(:'p', 6)),
	(4, 'four', with_weights(:'p', 9)),
	(5, 'none', with_weights(:'p', -3)),
	(6, 'one and a third', with_weights(:'p', 1)),
	(7, 'two thirds of one', with_weights(:'p', -1)),
	(8, 'a component that is not finite', put(:'p', length(:'p'::bytea) - json_bytes(:'p') - 4, f32('NaN'))),
	(9, 'a layer', put(:'p', 16, u32(1))),
	(10, 'called a network', with_json(:'p', replace(json_of(:'p'), '"method": "pca"', '"method": "amad"'))),
	(11, 'called zscore', with_json(:'p', replace(json_of(:'p'), '"method": "pca"', '"method": "zscore"'))),
	(12, 'zscore', with_weights(:'z', 0)),
	(13, 'zscore with weights', with_weights(:'z', 3)),
	(14, 'zscore called pca, without components',
		with_json(:'z', replace(json_of(:'z'), '"method": "zscore"', '"method": "pca"'))),
	(15, 'threshold 0', put(:'p', 168, f64(0))))
	AS v(n, what, forged) ORDER BY n;

-- a forged value that is a model is used as one
SELECT amad_describe(('\x' || encode(signed(put(:'b', 144, f64(0.125))), 'hex'))::amad_model)->'threshold'
	AS threshold;

-- a score that equals the threshold is not above it
SELECT (amad_explain(model, ts, a, b) OVER (ORDER BY ts)).anomaly_score AS score FROM model_rows, kept
WHERE name = 'tiny' ORDER BY ts DESC LIMIT 1 \gset
SELECT factor, abs((e).severity - 1) < 1e-6 AS near_1, sign((e).severity - 1) AS above, (e).is_anomaly
FROM (SELECT factor, ts, amad_explain(('\x' || encode(signed(put(:'b', 144, f64(:score * factor))), 'hex'))::amad_model, ts, a, b)
		OVER (PARTITION BY factor ORDER BY ts) AS e
	FROM model_rows, unnest('{0.999999999,1,1.000000001}'::float8[]) factor OFFSET 0) x WHERE ts = 120 ORDER BY factor;

-- ---- the type does not have equality or an order

SELECT count(DISTINCT model) FROM kept;
SELECT model = model FROM kept;

DROP FUNCTION with_weights, with_series, verdict, crc_32c, u32, reversed, f64, f32, put, signed, json_bytes, json_of,
	with_json(bytea, bytea), with_json(bytea, text);
DROP TABLE kept, forged, copied, model_rows;
