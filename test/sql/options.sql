--
-- Options: every key can be set and is shown by amad_describe.  Unknown keys, keys at the wrong level,
-- wrong types, values out of range and combinations that contradict each other are errors that say
-- what is valid.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE TABLE r AS
SELECT i::bigint AS n, sin(i * 0.3) AS a, cos(i * 0.17) AS b FROM generate_series(1, 200) i;

-- Options of few weights and steps, to which the keys under test are added.
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged(tiny('{"window": 4, "steps": 2}'), more) $$;
-- Options of a model trained with these.
CREATE FUNCTION in_force(options jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT amad_describe(amad_fit(options, n, a, b))->'options' FROM r $$;
-- Options on one level, for comparisons.
CREATE FUNCTION flat(options jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT options - 'advanced' || (options->'advanced') $$;
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

SELECT jsonb_pretty(amad_describe(amad_fit('{"steps": 1}'::jsonb, i, sin(i), cos(i)))->'options')
FROM generate_series(1, 400) i;
SELECT verdict(NULL);
SELECT verdict('{}');
SELECT verdict('{"advanced": {}}');

-- ---- every key

-- all keys, their levels, and for each a value and a value that makes a difference
CREATE TABLE keys (key text, advanced boolean, value jsonb, changes jsonb);
INSERT INTO keys VALUES
	('window', false, '5', NULL),
	('d_model', false, '12', NULL),
	('heads', false, '1', NULL),
	('layers', false, '2', NULL),
	('steps', false, '3', '3'),
	('learning_rate', false, '0.01', '0.01'),
	('contamination', false, '0.05', '0.5'),
	('lookahead', false, '2', '2'),
	('fill_limit', false, '9', '0'),
	('max_gap', false, '30', '1'),
	('validation_fraction', false, '0.3', '0.3'),
	('seed', false, '9007199254740991', '1'),
	('horizons', false, '[1, 3, 9]', '[1, 3]'),
	('season', false, '[20]', NULL),
	('method', false, '"pca"', NULL),
	('missing', false, '"linear"', '"linear"'),
	('transform', false, '"detrend"', '"rate"'),
	('features', false, '["flow", "pressure"]', '["flow", "pressure"]'),
	('batch_size', true, '3', '3'),
	('chunk_length', true, '20', '20'),
	('ahead', true, '0', '0'),
	('maxmin_weight', true, '0.5', '50'),
	('contrast_weight', true, '0', '10'),
	('input_missing', true, '1', '0'),
	('input_outliers', true, '0.5', '1'),
	('clip', true, '3.5', '1'),
	('variance', true, '0.5', '0.5'),
	('discrepancy_weight', true, '1', '1'),
	('residual_floor', true, '0.2', '1'),
	('state_weight', true, '1', '2'),
	('flatline_weight', true, '1', '2'),
	('relation_weight', true, '1', '2'),
	('flag_weight', true, '1', '2'),
	('recurrence', true, '0.5', NULL),
	('level_weight', true, '1', '2'),
	('horizon_quantile', true, '0.5', '0.5'),
	('release', true, '1.5', '1'),
	('fade', true, '0.25', '0.5'),
	('burst', true, '1.5', '0.1'),
	('season_harmonics', true, '2', NULL),
	('season_weight', true, '1', NULL),
	('without', true, '["mixup"]', '["mixup"]');
-- An option at its level.
CREATE FUNCTION option(name text, value jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE WHEN advanced THEN advanced(key, option.value) ELSE jsonb_build_object(key, option.value) END
	FROM keys WHERE key = name $$;

-- each is in force as given; the others do not change, except for defaults that follow from it
SELECT key, flat(o)->key AS in_force, flat(o)->key = value AS as_given,
	(SELECT string_agg(k, ', ' ORDER BY k) FROM jsonb_each(flat(o)) AS changed(k, v)
	 WHERE k <> key AND v IS DISTINCT FROM flat(usual)->k) AS moves
FROM keys, in_force(small()) usual, LATERAL in_force(small(option(key, value))) o
ORDER BY key COLLATE "C";
-- no key is missing in the table, and each is shown at its level
SELECT count(*) AS not_tested
FROM in_force(small('{"features": ["x", "y"], "max_gap": 30, "advanced": {"without": ["mixup"]}}')) o,
	LATERAL (SELECT k, false FROM jsonb_object_keys(o - 'advanced') k
			 UNION ALL SELECT k, true FROM jsonb_object_keys(o->'advanced') k) AS shown(key, advanced)
WHERE NOT EXISTS (SELECT FROM keys k WHERE k.key = shown.key AND k.advanced = shown.advanced);
-- the options shown can be given again and make the same model
SELECT amad_model_send(amad_fit(o, n, a, b)) = amad_model_send(amad_fit(given, n, a, b)) AS again
FROM r, small('{"learning_rate": 0.1, "advanced": {"clip": 2, "release": 1}}') given, LATERAL in_force(given) o
GROUP BY o, given;
-- options of the training change the weights, options of the score do not
-- (horizons do, as more rows are held out for longer ones, and fill_limit does, as inputs are missing in the training)
CREATE TABLE usual AS SELECT amad_fit(small(), n, a, b) AS model FROM r;
CREATE TABLE changed AS SELECT key, amad_fit(small(option(key, changes)), n, a, b) AS model
FROM keys, r WHERE changes IS NOT NULL GROUP BY key;
SELECT key, (SELECT bool_or(x.data <> y.data)
			 FROM amad_weights(usual.model) x JOIN amad_weights(changed.model) y USING (name)) AS weights,
	u->'calibration' <> c->'calibration' AS calibration, u->'threshold' <> c->'threshold' AS threshold
FROM usual, changed, amad_describe(usual.model) u, LATERAL amad_describe(changed.model) c ORDER BY key COLLATE "C";
DROP TABLE usual, changed;

-- ---- levels

-- advanced options, and only these, are written in "advanced"
SELECT key, verdict(CASE WHEN advanced THEN jsonb_build_object(key, value) ELSE advanced(key, value) END)
FROM keys ORDER BY key COLLATE "C";
SELECT verdict('{"advanced": {"epochs": 1}}');
SELECT verdict('{"advanced": {"preset": "paper"}}');
-- also if the value is wrong, or is given at the right level as well
SELECT verdict('{"clip": "5"}');
SELECT verdict('{"clip": 5, "advanced": {"clip": 5}}');
-- "advanced" is an object
SELECT o, verdict(jsonb_build_object('advanced', o))
FROM (VALUES ('null'::jsonb), ('1'), ('"clip"'), ('true'), ('[]'), ('["clip"]'), ('[{"clip": 5}]')) AS v(o);
-- of options, not of further levels
SELECT verdict('{"advanced": {"advanced": {}}}');
SELECT verdict('{"advanced": {"advanced": {"clip": 5}}}');
SELECT verdict('{"advanced": {"clips": 5}}');
SELECT verdict('{"advanced": {"": 5}}');
SELECT verdict('{"Advanced": {"clip": 5}}');
-- the last of duplicate keys is in force, as always in jsonb
SELECT o->'advanced'->'clip' AS clip, o->'advanced'->'release' AS release
FROM in_force(small() || '{"advanced": {"clip": 2}, "advanced": {"release": 1, "release": 2}}') o;
-- some constants, whose names are not options
SELECT key, verdict(jsonb_build_object(key, 1)) LIKE '22023 unrecognized option "' || key || '" | Valid options are: %'
	AND verdict(advanced(key, 1)) LIKE '22023 unrecognized advanced option "' || key || '" | %' AS refused
FROM unnest('{skip,pct_start,div_factor,final_div_factor,adam_beta1,adam_beta2,adam_epsilon,gradient_clip,
	contrast_temperature}'::text[]) key;

-- ---- numbers: type and range

CREATE TABLE ranges (key text, least jsonb, most jsonb, below jsonb, above jsonb);
INSERT INTO ranges VALUES
	('window', '1', '4096', '0', '4097'),
	('d_model', '4', '2048', '3', '2049'),
	('heads', '1', '64', '0', '65'),
	('layers', '1', '16', '0', '17'),
	('batch_size', '1', '1024', '0', '1025'),
	('chunk_length', '2', '16384', '1', '16385'),
	('ahead', '0', '1', '-1', '2'),
	('steps', '1', '10000000', '0', '10000001'),
	('epochs', '0.001', '1e6', '0', '1.1e6'),
	('learning_rate', '1e-8', '1', '0', '1.01'),
	('maxmin_weight', '0', '100', '-1', '101'),
	('contrast_weight', '0', '100', '-1', '101'),
	('input_missing', '0', '1', '-0.1', '1.1'),
	('input_outliers', '0', '1', '-0.1', '1.1'),
	('validation_fraction', '0.01', '0.9', '0', '0.91'),
	('seed', '0', '9007199254740991', '-1', '9007199254740992'),
	('clip', '0.1', '1000', '0', '1001'),
	('contamination', '1e-6', '0.5', '0', '0.51'),
	('discrepancy_weight', '0', '4', '-0.1', '4.1'),
	('fill_limit', '0', '65536', '-1', '65537'),
	('max_gap', '1e-6', '1e15', '0', '1.1e15'),
	('variance', '0.01', '1', '0', '1.01'),
	('residual_floor', '0', '1', '-0.1', '1.1'),
	('horizon_quantile', '0.01', '0.9999', '0', '1'),
	('lookahead', '0', '32768', '-1', '32769'),
	('release', '0', '1e6', '-1', '1.1e6'),
	('fade', '0', '1', '-0.1', '1.1'),
	('burst', '0', '1e6', '-1', '1.1e6'),
	('relation_weight', '0', '1000', '-1', '1001'),
	('recurrence', '0', '1', '-0.1', '1.1'),
	('level_weight', '0', '10', '-1', '11'),
	('state_weight', '0', '4', '-0.1', '4.1'),
	('flatline_weight', '0', '100', '-0.1', '100.1'),
	('flag_weight', '0.001', '10000', '0', '10000.1'),
	('season_harmonics', '1', '24', '0', '25'),
	('season_weight', '0', '100', '-1', '101');
INSERT INTO keys VALUES ('epochs', false, '1');
-- values below or above the range are refused, the least and the greatest value are not
SELECT key, verdict(option(key, below)) AS below,
	verdict(option(key, above)) LIKE '22023 invalid value for option "' || key || '": %' AS above,
	verdict(option(key, least)) LIKE '22023 invalid value for option "' || key || '"%must be a% from%' AS least_refused,
	verdict(option(key, most)) LIKE '22023 invalid value for option "' || key || '"%must be a% from%' AS most_refused
FROM ranges ORDER BY key COLLATE "C";
-- all numbers are tested
SELECT key FROM keys WHERE jsonb_typeof(value) = 'number' AND key NOT IN (SELECT key FROM ranges);
SELECT left(o::text, 60) AS o, left(verdict(o), 140) AS verdict
FROM (VALUES ('{"window": 64.5}'::jsonb), ('{"window": "64"}'), ('{"window": null}'), ('{"window": true}'),
	('{"window": [64]}'), ('{"window": {"rows": 64}}'), ('{"window": 1e400}'), ('{"window": -1e400}'),
	('{"window": 1e-400}'), ('{"steps": 1.5}'), ('{"learning_rate": null}'), ('{"fill_limit": 2.5}'),
	('{"max_gap": null}'), ('{"max_gap": [60]}'), ('{"advanced": {"clip": "5"}}'), ('{"advanced": {"clip": 1e400}}'),
	('{"advanced": {"variance": "0.9"}}'), ('{"advanced": {"ahead": true}}')) AS v(o);
SELECT in_force(small('{"window": 4.0, "steps": 2e0}'))->'window' AS four;

-- ---- names of options

SELECT amad_fit('{"windows": 64}'::jsonb, n, a) FROM r;
SELECT amad_train('x', '{"Window": 64}'::jsonb, n, a) FROM r;
SELECT amad_fit('{"": 64}'::jsonb, n, a) FROM r;
SELECT amad_fit('[]'::jsonb, n, a) FROM r;
SELECT amad_fit('64'::jsonb, n, a) FROM r;
SELECT amad_fit('null'::jsonb, n, a) FROM r;
SELECT amad_fit('"paper"'::jsonb, n, a) FROM r;

-- ---- relations

SELECT o, verdict(small(o))
FROM (VALUES ('{"d_model": 10}'::jsonb), ('{"d_model": 12, "heads": 5}'), ('{"heads": 3}'), ('{"heads": 16}'),
	('{"d_model": 20, "heads": 5}'), ('{"advanced": {"chunk_length": 2}}'),
	('{"advanced": {"chunk_length": 2, "ahead": 0}}'), ('{"advanced": {"chunk_length": 3}}'), ('{"epochs": 1}'),
	('{"lookahead": 2}'), ('{"lookahead": 3}'), ('{"lookahead": 1, "horizons": [1]}')) AS v(o);
-- chunk_length follows from window
SELECT w, o->'advanced'->'chunk_length' AS chunk_length
FROM unnest('{1, 2, 5, 8}'::int[]) w, in_force(small(jsonb_build_object('window', w))) o;
-- epochs: passes over the 180 rows that are not held out, in chunks of 8, 2 per step
SELECT e, d->'options' ? 'steps' AS steps, d->'options'->'epochs' AS epochs, d->'training'->'steps' AS taken,
	(d->'training'->>'rows')::int - (d->'training'->>'held_out')::int AS rows
FROM unnest('{0.001, 1, 2.5}'::float8[]) e,
	LATERAL (SELECT amad_describe(amad_fit(small() - 'steps' || jsonb_build_object('epochs', e), n, a, b)) AS d
		FROM r) x;
-- the loss curve has 20 points at most
SELECT s, jsonb_array_length(d->'training'->'loss') AS points, d->'training'->'steps' AS taken
FROM unnest('{1, 2, 19, 20, 21, 50}'::int[]) s,
	LATERAL (SELECT amad_describe(amad_fit(small(jsonb_build_object('steps', s)), n, a, b)) AS d FROM r) x;

-- ---- horizons

SELECT h, in_force(small(jsonb_build_object('horizons', h)))->'horizons' AS in_force
FROM (VALUES ('[4]'::jsonb), ('[4, 2]'), ('[3, 1, 2]'), ('[1.0]'),
	('[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]')) AS v(h);
SELECT left(h::text, 60) AS h, left(verdict(small(jsonb_build_object('horizons', h))), 200) AS verdict
FROM (VALUES ('[]'::jsonb), ('4'), ('null'), ('{"a": 4}'), ('"[4]"'), ('[0]'), ('[-4]'), ('[2, 2]'), ('[1.5]'),
	('["4"]'), ('[null]'), ('[[4]]'), ('[65537]'), ('[65536]'), ('[1e400]'),
	('[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]')) AS v(h);
-- the warm-up is the context and the longest horizon, less 1; each horizon has a scale theta
SELECT d->'warmup' AS warmup, d->'context' AS context, jsonb_array_length(d->'calibration'->'theta') AS thetas
FROM (SELECT amad_describe(amad_fit(small('{"horizons": [10, 1, 5], "layers": 2}'), n, a, b)) AS d FROM r) x;

-- ---- names of features

SELECT d->'features' AS features, d->'options'->'features' AS option
FROM (SELECT amad_describe(amad_fit(small('{"features": ["Druck \"außen\"", "p\\q"]}'), n, a, b)) AS d FROM r) x;
SELECT d->'features' AS features, d->'options'->'features' AS option
FROM (SELECT amad_describe(amad_fit(small(), n, a, b)) AS d FROM r) x;
SELECT f, verdict(small(jsonb_build_object('features', f)))
FROM (VALUES ('[]'::jsonb), ('"a,b"'), ('{}'), ('null'), ('["a"]'), ('["a", "b", "c"]'), ('["a", "a"]'), ('["a", ""]'),
	('["a", 2]'), ('["a", null]'), ('["a", ["b"]]'), ('["a", "A"]')) AS v(f);

-- ---- gaps: a number, or an interval, whose months have 30 days

SELECT g, in_force(small(jsonb_build_object('max_gap', g)))->'max_gap' AS in_force
FROM (VALUES ('60'::jsonb), ('1.5'), ('"1 minute"'), ('"00:01:30.5"'), ('"1 day 1 s"'), ('"P1M"'), ('"30"')) AS v(g);
SELECT g, verdict(small(jsonb_build_object('max_gap', g)))
FROM (VALUES ('"-1 minute"'::jsonb), ('"0"'), ('""'), ('"soon"'), ('"178000000 years"'), ('true'), ('{}')) AS v(g);
-- fill_limit follows from window
SELECT w, o->'fill_limit' AS fill_limit
FROM unnest('{1, 2, 5, 8}'::int[]) w, in_force(small(jsonb_build_object('window', w))) o;

-- ---- parts of the network that are switched off

SELECT w, in_force(small(advanced('without', w)))->'advanced'->'without' AS in_force
FROM (VALUES ('[]'::jsonb), ('["mixup"]'), ('["multiscale", "automask"]'),
	('["automask", "mixup", "multiscale"]')) AS v(w);
SELECT w, verdict(small(advanced('without', w)))
FROM (VALUES ('"mixup"'::jsonb), ('null'), ('1'), ('{}'), ('{"mixup": true}'), ('["contrast"]'), ('["Mixup"]'),
	('["mix"]'), ('[""]'), ('[1]'), ('[null]'), ('[["mixup"]]'), ('["mixup", "mixup"]'),
		('["mixup", "nosuch"]')) AS v(w);
-- without the AutoMask there is no discrepancy: its weights are 0, even if others are given
SELECT o->'maxmin_weight' AS maxmin, o->'discrepancy_weight' AS discrepancy, o->'contrast_weight' AS contrast
FROM (SELECT in_force(small('{"advanced": {"without": ["automask"], "maxmin_weight": 3, "discrepancy_weight": 2,
	"contrast_weight": 0.5}}'))->'advanced' AS o) x;
-- the weights of a part that is switched off are 0, and no others
CREATE TABLE w AS
SELECT part, amad_fit(small(merged('{"steps": 20}', advanced('without', string_to_array(part, ' ')))), n, a, b) AS model
FROM unnest('{"",automask,mixup,multiscale,automask mixup multiscale}'::text[]) part, r GROUP BY part;
CREATE FUNCTION zero(model amad_model, OUT mask text, OUT gate text, OUT earlier text, OUT latest text, OUT others text)
LANGUAGE sql AS $$
	WITH values AS (
		SELECT CASE WHEN name LIKE '%.mask.%' THEN 'mask' WHEN name LIKE '%.gate.%' THEN 'gate'
			WHEN name NOT LIKE 'embed.%.weight' THEN 'others'
			WHEN i % shape[3] = 0 THEN 'latest' ELSE 'earlier' END AS kind, value
		FROM amad_weights(model), unnest(data) WITH ORDINALITY AS x(value, i)),
	kinds AS (
		SELECT kind, CASE WHEN bool_and(value = 0) THEN 'all' WHEN bool_or(value = 0) THEN 'some'
			ELSE 'none' END AS zero
		FROM values GROUP BY kind)
	SELECT min(zero) FILTER (WHERE kind = 'mask'), min(zero) FILTER (WHERE kind = 'gate'),
		min(zero) FILTER (WHERE kind = 'earlier'), min(zero) FILTER (WHERE kind = 'latest'),
		min(zero) FILTER (WHERE kind = 'others')
	FROM kinds $$;
SELECT part, z.* FROM w, zero(model) z ORDER BY part COLLATE "C";
-- weights of the discrepancy that are given with it have no effect
SELECT amad_model_send(model) = (SELECT amad_model_send(amad_fit(small('{"steps": 20,
	"advanced": {"without": ["automask"], "maxmin_weight": 3, "discrepancy_weight": 2}}'), n, a, b)) FROM r) AS same
FROM w WHERE part = 'automask';
-- such models score all rows after the warm-up
SELECT part, count(s) = count(*) - max(warmup) AS scored
FROM (SELECT part, amad_score(model, n, a, b) OVER (PARTITION BY part ORDER BY n) AS s,
		(amad_describe(model)->>'warmup')::int AS warmup FROM w, r) x GROUP BY part ORDER BY part COLLATE "C";
-- they survive a round trip
SELECT part, amad_model_send(model::text::amad_model) = amad_model_send(model) AS same FROM w ORDER BY part COLLATE "C";
-- and can be trained again from the options that amad_describe shows
SELECT part, amad_model_send(amad_fit(amad_describe(model)->'options', n, a, b)) = amad_model_send(model) AS again
FROM w, r GROUP BY part, amad_model_send(model), amad_describe(model)->'options' ORDER BY part COLLATE "C";
-- the other methods have no such parts
SELECT method, (SELECT count(*) FROM (SELECT * FROM amad_weights(amad_fit(o, n, a, b))
	EXCEPT SELECT * FROM amad_weights(amad_fit(o || '{"advanced": {"without": ["automask"]}}', n, a,
		b))) y) AS differences
FROM unnest('{pca,zscore}'::text[]) method, jsonb_build_object('method', method) o, r
GROUP BY method, o ORDER BY method;
-- a warm start and a recalibration leave them off
SELECT amad_train('w', 'r', 'n', options => small('{"advanced": {"without": ["automask", "mixup"]}}'))->'version'
	AS version;
SELECT amad_retrain('w', warm_start => true)->'version' AS version;
SELECT amad_recalibrate_bigint('w', options => '{"advanced": {"discrepancy_weight": 1}}')->'version' AS version;
SELECT version, o->'without' AS without, o->'discrepancy_weight' AS discrepancy_weight,
	amad_describe(model)->'options' = options AS described, z.mask, z.gate, z.earlier
FROM amad_models, zero(model) z, LATERAL (SELECT options->'advanced' AS o) x WHERE model_name = 'w' ORDER BY version;
SELECT amad_drop('w');
DROP FUNCTION zero;
DROP TABLE w;

-- ---- missing, method, preset

SELECT m, verdict(small(jsonb_build_object('missing', m)))
FROM (VALUES ('"locf"'::jsonb), ('"linear"'), ('"error"'), ('"LOCF"'), ('""'), ('"zero"'), ('null'), ('0')) AS v(m);
SELECT m, verdict(small(jsonb_build_object('method', m)))
FROM (VALUES ('"amad"'::jsonb), ('"pca"'), ('"zscore"'), ('"PCA"'), ('""'), ('"ama"'), ('"amadx"'), ('null'),
	('1')) AS v(m);
SELECT p, verdict(jsonb_build_object('preset', p))
FROM (VALUES ('"paper"'::jsonb), ('"short"'), ('"Paper"'), ('"fast"'), ('null'), ('{}')) AS v(p);
-- other keys override it, in any order
SELECT o->'window' AS window, o->'d_model' AS d_model, o->'heads' AS heads, o->'layers' AS layers,
	o->'learning_rate' AS learning_rate, o ? 'preset' AS preset
FROM in_force(small('{"preset": "paper"}')) o;
SELECT o->'window' AS window, o->'d_model' AS d_model, o->'heads' AS heads, o->'layers' AS layers,
	o->'learning_rate' AS learning_rate, o->'advanced'->'chunk_length' AS chunk_length
FROM in_force('{"preset": "paper", "d_model": 16, "steps": 1, "window": 10, "horizons": [1]}') o;
SELECT o->'window' AS window, o->'d_model' AS d_model, o->'layers' AS layers, o->'horizons' AS horizons, o->'steps' AS steps,
	o->'advanced'->'flatline_weight' AS flatline_weight, o->'advanced'->'chunk_length' AS chunk_length
FROM (VALUES ('{"preset": "short"}'::jsonb),
	('{"advanced": {"flatline_weight": 0.5, "chunk_length": 40}, "steps": 3, "preset": "short"}')) AS v(given), in_force(given) o;
SELECT o->'steps' AS steps, o->'epochs' AS epochs FROM in_force('{"preset": "short", "epochs": 1}') o;

DROP FUNCTION verdict, in_force, flat, option, small;
DROP TABLE r, keys, ranges;
