--
-- Options: every key can be set and is told by amad_describe; unknown keys, wrong types,
-- values out of range and values that exclude each other are errors that say what is valid.
--
CREATE TABLE r AS
SELECT i::bigint AS n, sin(i * 0.3) AS a, cos(i * 0.17) AS b FROM generate_series(1, 200) i;

-- Few weights and steps: what the keys under test are added to.
CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT '{"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 2, "horizons": [2, 4], "advanced": {"batch_size": 2}}'::jsonb $$;
-- Options of a model trained with these.
CREATE FUNCTION in_force(options jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT amad_describe(amad_fit(options, n, a, b))->'options' FROM r $$;
CREATE FUNCTION verdict(options jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; hint text;
BEGIN
	PERFORM amad_fit(options, n, a, b) FROM r;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', sqlstate || ' ' || sqlerrm, nullif(detail, ''), nullif(hint, ''));
END $$;

-- messages are long: one line each
\pset format unaligned
\pset fieldsep ' => '

-- ---- defaults

SELECT jsonb_pretty(amad_describe(amad_fit('{"steps": 1}'::jsonb, i, sin(i), cos(i)))->'options') FROM generate_series(1, 400) i;
SELECT verdict(NULL);
SELECT verdict('{}');

-- ---- every key

WITH keys(key, value) AS (VALUES
	('window', '5'::jsonb), ('d_model', '12'), ('heads', '1'), ('layers', '2'), ('batch_size', '3'),
	('chunk_length', '20'), ('skip', '0'), ('ahead', '0'), ('steps', '3'), ('learning_rate', '0.01'), ('pct_start', '0.25'),
	('div_factor', '10'), ('final_div_factor', '100.5'), ('adam_beta1', '0.8'), ('adam_beta2', '0.99'),
	('adam_epsilon', '1e-6'), ('gradient_clip', '0'), ('maxmin_weight', '0.5'), ('contrast_weight', '0'),
	('contrast_temperature', '0.2'), ('validation_fraction', '0.3'), ('seed', '9007199254740991'), ('clip', '3.5'),
	('contamination', '0.05'), ('discrepancy_weight', '1'), ('residual_floor', '0.2'), ('horizon_quantile', '0.5'),
	('horizons', '[1, 3, 9]'), ('missing', '"linear"'), ('features', '["flow", "pressure"]'), ('method', '"pca"'),
	('variance', '0.5'), ('fill_limit', '9'), ('max_gap', '30'), ('without', '["mixup"]'),
	('season', '[20]'), ('season_harmonics', '2'), ('season_weight', '1'), ('lookahead', '2'), ('release', '1.5'), ('state_weight', '1'), ('flatline_weight', '1'), ('flag_weight', '1'))
SELECT key, in_force(tiny() || jsonb_build_object(key, value))->key AS in_force,
	in_force(tiny() || jsonb_build_object(key, value))->key = value AS as_given,
	-- the others stay, but for those that follow from it
	(SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_each(in_force(tiny() || jsonb_build_object(key, value))) AS changed(k, v)
	 WHERE k <> key AND v IS DISTINCT FROM in_force(tiny())->k) AS moves
FROM keys ORDER BY key;
SELECT count(*) AS not_tested FROM jsonb_object_keys(in_force(tiny() || '{"features": ["x", "y"]}')) k
WHERE k NOT IN ('window', 'd_model', 'heads', 'layers', 'batch_size', 'chunk_length', 'skip', 'ahead', 'steps', 'learning_rate', 'pct_start',
	'div_factor', 'final_div_factor', 'adam_beta1', 'adam_beta2', 'adam_epsilon', 'gradient_clip', 'maxmin_weight',
	'contrast_weight', 'contrast_temperature', 'validation_fraction', 'seed', 'clip', 'contamination', 'discrepancy_weight',
	'residual_floor', 'horizon_quantile', 'horizons', 'missing', 'features', 'method', 'variance', 'fill_limit',
	'season', 'season_harmonics', 'season_weight', 'lookahead', 'release', 'state_weight', 'flatline_weight', 'flag_weight');
-- what is told can be given again and makes the same model
SELECT amad_model_send(amad_fit(o, n, a, b)) = amad_model_send(amad_fit(tiny() || '{"skip": 1, "learning_rate": 0.1}', n, a, b)) AS again
FROM r, (SELECT in_force(tiny() || '{"skip": 1, "learning_rate": 0.1}') AS o) x GROUP BY o;
-- options that are part of the training change the weights, options of the score do not
-- (horizons do, as more rows are held out for longer ones)
SELECT key, (SELECT bool_or(x.data <> y.data) FROM amad_weights(amad_fit(tiny(), n, a, b)) x
			 JOIN amad_weights(amad_fit(tiny() || jsonb_build_object(key, value), n, a, b)) y USING (name)) AS weights,
	amad_describe(amad_fit(tiny(), n, a, b))->'calibration' <>
	amad_describe(amad_fit(tiny() || jsonb_build_object(key, value), n, a, b))->'calibration' AS calibration,
	amad_describe(amad_fit(tiny(), n, a, b))->'threshold' <>
	amad_describe(amad_fit(tiny() || jsonb_build_object(key, value), n, a, b))->'threshold' AS threshold
FROM (VALUES
	('batch_size', '3'::jsonb), ('chunk_length', '20'), ('skip', '0'), ('ahead', '0'), ('steps', '3'), ('learning_rate', '0.01'), ('pct_start', '1'),
	('div_factor', '10'), ('final_div_factor', '1'), ('adam_beta1', '0.8'), ('adam_beta2', '0.99'),
	('adam_epsilon', '1e-2'), ('gradient_clip', '0.001'), ('maxmin_weight', '50'), ('contrast_weight', '10'),
	('contrast_temperature', '1'), ('validation_fraction', '0.3'), ('seed', '1'), ('clip', '1'),
	('contamination', '0.5'), ('discrepancy_weight', '1'), ('residual_floor', '1'), ('horizon_quantile', '0.5'),
	('horizons', '[1, 3]'), ('missing', '"linear"'), ('features', '["flow", "pressure"]'), ('variance', '0.5'), ('fill_limit', '0'),
	('max_gap', '1'), ('without', '["mixup"]'), ('lookahead', '2'), ('release', '1'), ('state_weight', '2'), ('flatline_weight', '2'), ('flag_weight', '2')) AS v(key, value), r
GROUP BY key, value ORDER BY key;

-- ---- numbers: type and range

WITH ranges(key, least, most, below, above) AS (VALUES
	('window', '1'::jsonb, '4096'::jsonb, '0'::jsonb, '4097'::jsonb), ('d_model', '4', '2048', '3', '2049'), ('heads', '1', '64', '0', '65'),
	('layers', '1', '16', '0', '17'), ('batch_size', '1', '1024', '0', '1025'), ('chunk_length', '2', '16384', '1', '16385'),
	('skip', '0', '16383', '-1', '16384'), ('ahead', '0', '1', '-1', '2'), ('steps', '1', '10000000', '0', '10000001'), ('epochs', '0.001', '1e6', '0', '1.1e6'),
	('learning_rate', '1e-8', '1', '0', '1.01'), ('pct_start', '0', '1', '-0.01', '1.01'), ('div_factor', '1', '1e6', '0.9', '1.1e6'),
	('final_div_factor', '1', '1e12', '0.9', '1.1e12'), ('adam_beta1', '0', '0.999999', '-0.1', '1'),
	('adam_beta2', '0', '0.999999', '-0.1', '1'), ('adam_epsilon', '1e-12', '1', '0', '1.1'), ('gradient_clip', '0', '1e6', '-1', '1e7'),
	('maxmin_weight', '0', '100', '-1', '101'), ('contrast_weight', '0', '100', '-1', '101'),
	('contrast_temperature', '0.02', '100', '0.01', '101'), ('validation_fraction', '0.01', '0.9', '0', '0.91'),
	('seed', '0', '9007199254740991', '-1', '9007199254740992'), ('clip', '0.1', '1000', '0', '1001'),
	('contamination', '1e-6', '0.5', '0', '0.51'), ('discrepancy_weight', '0', '4', '-0.1', '4.1'),
	('fill_limit', '0', '65536', '-1', '65537'), ('max_gap', '1e-6', '1e15', '0', '1.1e15'), ('variance', '0.01', '1', '0', '1.01'),
	('residual_floor', '0', '1', '-0.1', '1.1'), ('horizon_quantile', '0.01', '0.9999', '0', '1'),
	('lookahead', '0', '32768', '-1', '32769'), ('release', '0', '1e6', '-1', '1.1e6'), ('state_weight', '0', '4', '-0.1', '4.1'), ('flatline_weight', '0', '100', '-0.1', '100.1'),
	('flag_weight', '0.001', '10000', '0', '10000.1'))
SELECT key, verdict(jsonb_build_object(key, below)) AS below, verdict(jsonb_build_object(key, above)) LIKE '22023 invalid value for option "' || key || '": %' AS above,
	verdict(jsonb_build_object(key, least)) LIKE '22023 invalid value for option "' || key || '"%must be a% from%' AS least_refused,
	verdict(jsonb_build_object(key, most)) LIKE '22023 invalid value for option "' || key || '"%must be a% from%' AS most_refused
FROM ranges ORDER BY key;
SELECT left(o::text, 60) AS o, left(verdict(o), 140) AS verdict FROM unnest('{
	"{\"window\": 64.5}", "{\"window\": \"64\"}", "{\"window\": null}", "{\"window\": true}", "{\"window\": [64]}",
	"{\"window\": {\"rows\": 64}}", "{\"window\": 1e400}", "{\"window\": -1e400}", "{\"window\": 1e-400}", "{\"steps\": 1.5}", "{\"clip\": \"5\"}", "{\"clip\": 1e400}",
	"{\"learning_rate\": null}", "{\"fill_limit\": 2.5}", "{\"variance\": \"0.9\"}", "{\"max_gap\": null}", "{\"max_gap\": [60]}"}'::jsonb[]) o;
SELECT in_force(tiny() || '{"window": 4.0, "steps": 2e0}')->'window' AS four;

-- ---- names of options

SELECT amad_fit('{"windows": 64}'::jsonb, n, a) FROM r;
SELECT amad_train('x', '{"Window": 64}'::jsonb, n, a) FROM r;
SELECT amad_fit('{"": 64}'::jsonb, n, a) FROM r;
SELECT amad_fit('[]'::jsonb, n, a) FROM r;
SELECT amad_fit('64'::jsonb, n, a) FROM r;
SELECT amad_fit('null'::jsonb, n, a) FROM r;
SELECT amad_fit('"paper"'::jsonb, n, a) FROM r;

-- ---- relations

SELECT o, verdict(tiny() || o) FROM unnest('{
	"{\"d_model\": 10}", "{\"d_model\": 12, \"heads\": 5}", "{\"heads\": 3}", "{\"heads\": 16}", "{\"d_model\": 20, \"heads\": 5}",
	"{\"skip\": 8}", "{\"skip\": 7}", "{\"skip\": 6}", "{\"skip\": 7, \"ahead\": 0}", "{\"skip\": 8, \"ahead\": 0}", "{\"chunk_length\": 2, \"skip\": 2}", "{\"chunk_length\": 2}", "{\"chunk_length\": 3}",
	"{\"epochs\": 1}", "{\"lookahead\": 2}", "{\"lookahead\": 3}", "{\"lookahead\": 1, \"horizons\": [1]}"}'::jsonb[]) o;
-- chunk_length and skip follow from window
SELECT w, o->'chunk_length' AS chunk_length, o->'skip' AS skip
FROM unnest('{1, 2, 5, 8}'::int[]) w, in_force(tiny() || jsonb_build_object('window', w)) o;
-- epochs: passes over the 175 rows that are not held out, in chunks of 8, 2 a step
SELECT e, d->'options' ? 'steps' AS steps, d->'options'->'epochs' AS epochs, d->'training'->'steps' AS taken,
	(d->'training'->>'rows')::int - (d->'training'->>'held_out')::int AS rows
FROM unnest('{0.001, 1, 2.5}'::float8[]) e,
	LATERAL (SELECT amad_describe(amad_fit(tiny() - 'steps' || jsonb_build_object('epochs', e), n, a, b)) AS d FROM r) x;
-- the loss curve has 20 points at most
SELECT s, jsonb_array_length(d->'training'->'loss') AS points, d->'training'->'steps' AS taken
FROM unnest('{1, 2, 19, 20, 21, 50}'::int[]) s,
	LATERAL (SELECT amad_describe(amad_fit(tiny() || jsonb_build_object('steps', s), n, a, b)) AS d FROM r) x;

-- ---- horizons

SELECT h, in_force(tiny() || jsonb_build_object('horizons', h))->'horizons' AS in_force
FROM unnest('{"[4]", "[4, 2]", "[3, 1, 2]", "[1.0]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]"}'::jsonb[]) h;
SELECT left(h::text, 60) AS h, left(verdict(tiny() || jsonb_build_object('horizons', h)), 200) AS verdict
FROM unnest('{"[]", "4", "null", "{\"a\": 4}", "\"[4]\"", "[0]", "[-4]", "[2, 2]", "[1.5]", "[\"4\"]", "[null]", "[[4]]", "[65537]", "[65536]", "[1e400]",
	"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]"}'::jsonb[]) h;
SELECT d->'warmup' AS warmup, d->'context' AS context, jsonb_array_length(d->'calibration'->'theta') AS thetas
FROM (SELECT amad_describe(amad_fit(tiny() || '{"horizons": [10, 1, 5], "layers": 2}', n, a, b)) AS d FROM r) x;

-- ---- names of features

SELECT d->'features' AS features, d->'options'->'features' AS option FROM (SELECT amad_describe(amad_fit(tiny() || '{"features": ["Druck \"außen\"", "p\\q"]}', n, a, b)) AS d FROM r) x;
SELECT d->'features' AS features, d->'options'->'features' AS option FROM (SELECT amad_describe(amad_fit(tiny(), n, a, b)) AS d FROM r) x;
SELECT f, verdict(tiny() || jsonb_build_object('features', f))
FROM unnest('{"[]", "\"a,b\"", "{}", "null", "[\"a\"]", "[\"a\", \"b\", \"c\"]", "[\"a\", \"a\"]", "[\"a\", \"\"]", "[\"a\", 2]", "[\"a\", null]", "[\"a\", [\"b\"]]", "[\"a\", \"A\"]"}'::jsonb[]) f;

-- ---- gaps: a number, or an interval, whose months have 30 days

SELECT g, in_force(tiny() || jsonb_build_object('max_gap', g))->'max_gap' AS in_force
FROM unnest('{"60", "1.5", "\"1 minute\"", "\"00:01:30.5\"", "\"1 day 1 s\"", "\"P1M\"", "\"30\""}'::jsonb[]) g;
SELECT g, verdict(tiny() || jsonb_build_object('max_gap', g))
FROM unnest('{"\"-1 minute\"", "\"0\"", "\"\"", "\"soon\"", "\"178000000 years\"", "true", "{}"}'::jsonb[]) g;
-- fill_limit follows from window
SELECT w, o->'fill_limit' AS fill_limit FROM unnest('{1, 2, 5, 8}'::int[]) w, in_force(tiny() || jsonb_build_object('window', w)) o;

-- ---- parts of the network that are switched off

SELECT w, in_force(tiny() || jsonb_build_object('without', w))->'without' AS in_force
FROM unnest('{"[]", "[\"mixup\"]", "[\"multiscale\", \"automask\"]", "[\"automask\", \"mixup\", \"multiscale\"]"}'::jsonb[]) w;
SELECT w, verdict(tiny() || jsonb_build_object('without', w))
FROM unnest('{"\"mixup\"", "null", "1", "{}", "{\"mixup\": true}", "[\"contrast\"]", "[\"Mixup\"]", "[\"mix\"]", "[\"\"]", "[1]", "[null]", "[[\"mixup\"]]",
	"[\"mixup\", \"mixup\"]", "[\"mixup\", \"nosuch\"]"}'::jsonb[]) w;
-- without the AutoMask there is no discrepancy to weigh, whatever was given
SELECT o->'maxmin_weight' AS maxmin, o->'discrepancy_weight' AS discrepancy, o->'contrast_weight' AS contrast
FROM in_force(tiny() || '{"advanced": {"without": ["automask"], "maxmin_weight": 3, "discrepancy_weight": 2, "contrast_weight": 0.5}}') o;
-- what a part learns is 0 after a training without it, and nothing else is
CREATE TABLE w AS
SELECT part, (SELECT amad_fit(tiny() || jsonb_build_object('steps', 20, 'without', string_to_array(part, ' ')), n, a, b) FROM r) AS model
FROM unnest('{"",automask,mixup,multiscale,automask mixup multiscale}'::text[]) part;
CREATE FUNCTION zero(model amad_model, OUT mask text, OUT gate text, OUT earlier text, OUT latest text, OUT others text) LANGUAGE sql AS $$
	WITH values AS (
		SELECT CASE WHEN name LIKE '%.mask.%' THEN 'mask' WHEN name LIKE '%.gate.%' THEN 'gate' WHEN name NOT LIKE 'embed.%.weight' THEN 'others'
			WHEN i % shape[3] = 0 THEN 'latest' ELSE 'earlier' END AS kind, value
		FROM amad_weights(model), unnest(data) WITH ORDINALITY AS x(value, i)),
	kinds AS (SELECT kind, CASE WHEN bool_and(value = 0) THEN 'all' WHEN bool_or(value = 0) THEN 'some' ELSE 'none' END AS zero FROM values GROUP BY kind)
	SELECT min(zero) FILTER (WHERE kind = 'mask'), min(zero) FILTER (WHERE kind = 'gate'), min(zero) FILTER (WHERE kind = 'earlier'),
		min(zero) FILTER (WHERE kind = 'latest'), min(zero) FILTER (WHERE kind = 'others') FROM kinds $$;
SELECT part, z.* FROM w, zero(model) z ORDER BY part COLLATE "C";
-- weights of the discrepancy that are given beside it change nothing
SELECT amad_model_send(model) = (SELECT amad_model_send(amad_fit(tiny() || '{"steps": 20, "advanced": {"without": ["automask"], "maxmin_weight": 3, "discrepancy_weight": 2}}', n, a, b)) FROM r) AS same
FROM w WHERE part = 'automask';
-- such models score all rows after the warm-up, last a round trip, and come again from their options
SELECT part, count(s) = count(*) - max(warmup) AS scored, bool_and(same) AS same
FROM (SELECT part, amad_score(model, n, a, b) OVER (PARTITION BY part ORDER BY n) AS s, (amad_describe(model)->>'warmup')::int AS warmup,
		amad_model_send(model::text::amad_model) = amad_model_send(model) AS same FROM w, r) x GROUP BY part ORDER BY part COLLATE "C";
SELECT part, amad_model_send(amad_fit(amad_describe(model)->'options', n, a, b)) = amad_model_send(model) AS again
FROM w, r GROUP BY part, amad_model_send(model), amad_describe(model)->'options' ORDER BY part COLLATE "C";
-- the other methods have no such parts
SELECT method, (SELECT count(*) FROM (SELECT * FROM amad_weights(amad_fit(o, n, a, b)) EXCEPT SELECT * FROM amad_weights(amad_fit(o || '{"advanced": {"without": ["automask"]}}', n, a, b))) y) AS differences
FROM unnest('{pca,zscore}'::text[]) method, jsonb_build_object('method', method) o, r GROUP BY method, o ORDER BY method;
-- a warm start and a recalibration leave them off
SELECT amad_train('w', 'r', 'n', options => tiny() || '{"advanced": {"without": ["automask", "mixup"]}}')->'version' AS version;
SELECT amad_retrain('w', warm_start => true)->'version' AS version;
SELECT amad_recalibrate_bigint('w', options => '{"advanced": {"discrepancy_weight": 1}}')->'version' AS version;
SELECT version, options->'without' AS without, options->'discrepancy_weight' AS discrepancy_weight, amad_describe(model)->'options' = options AS told, z.mask, z.gate, z.earlier
FROM amad_models, zero(model) z WHERE model_name = 'w' ORDER BY version;
SELECT amad_drop('w');
DROP FUNCTION zero;
DROP TABLE w;

-- ---- missing, method, preset

SELECT m, verdict(tiny() || jsonb_build_object('missing', m))
FROM unnest('{"\"locf\"", "\"linear\"", "\"error\"", "\"LOCF\"", "\"\"", "\"zero\"", "null", "0"}'::jsonb[]) m;
SELECT m, verdict(tiny() || jsonb_build_object('method', m))
FROM unnest('{"\"amad\"", "\"pca\"", "\"zscore\"", "\"PCA\"", "\"\"", "\"ama\"", "\"amadx\"", "null", "1"}'::jsonb[]) m;
SELECT p, verdict(jsonb_build_object('preset', p)) FROM unnest('{"\"paper\"", "\"Paper\"", "\"fast\"", "null", "{}"}'::jsonb[]) p;
-- other keys override it, wherever they stand
SELECT o->'window' AS window, o->'d_model' AS d_model, o->'heads' AS heads, o->'layers' AS layers, o->'learning_rate' AS learning_rate, o ? 'preset' AS preset
FROM in_force(tiny() || '{"preset": "paper"}') o;
SELECT o->'window' AS window, o->'d_model' AS d_model, o->'heads' AS heads, o->'layers' AS layers, o->'learning_rate' AS learning_rate, o->'chunk_length' AS chunk_length
FROM in_force('{"preset": "paper", "d_model": 16, "steps": 1, "window": 10, "horizons": [1]}') o;

DROP FUNCTION verdict, in_force, tiny;
DROP TABLE r;
