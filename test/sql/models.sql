--
-- Stored models: versions under a name, visible to their owner and to members of the owner's
-- role; what amad_describe and amad_weights show; and what the extension consists of.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE TABLE r AS
SELECT i::bigint AS n, sin(i * 0.3) AS a, cos(i * 0.17) * 10 + 100 AS b FROM generate_series(1, 200) i;
GRANT SELECT ON r TO PUBLIC;
CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "steps": 3, "horizons": [2, 4],
		"advanced": {"batch_size": 2}}'::jsonb $$;

-- ---- versions

SELECT amad_train('pump', tiny() || '{"seed": 1, "features": ["flow", "pressure"]}', n, a, b)->'version' AS version
FROM r;
SELECT amad_train('pump', tiny() || '{"seed": 2, "features": ["flow", "pressure"]}', n, a, b)->'version' AS version
FROM r;
SELECT amad_train('pump', tiny() || '{"seed": 3, "features": ["flow", "pressure"]}', n, a, b)->'version' AS version
FROM r;
SELECT amad_train('tank', tiny(), n, a)->'version' AS version FROM r;
SELECT owner = CURRENT_USER AS own, model_name, version, deployed, features, options->'seed' AS seed,
	options = amad_describe(model)->'options' AS options,
	training @> (amad_describe(model)->'training') AS training,
		created_at BETWEEN now() - interval '1 hour' AND now() + interval '1 hour' AS recent
FROM amad_models ORDER BY model_name, version;
SELECT DISTINCT k FROM amad_models, jsonb_object_keys(training) k ORDER BY k;
SELECT count(DISTINCT model::text) AS models, count(*) FROM amad_models;
-- a later version follows the highest, and takes over
DELETE FROM amad_models WHERE model_name = 'pump' AND version = 2;
UPDATE amad_models SET deployed = version = 1 WHERE model_name = 'pump';
SELECT amad_train('pump', tiny(), n, a, b)->'version' AS version FROM r;
SELECT version, deployed FROM amad_models WHERE model_name = 'pump' ORDER BY version;
-- two models with the same name in one statement are two versions
SELECT s->'version' AS version
FROM (SELECT n % 2, amad_train('twice', tiny(), n, a) AS s FROM r GROUP BY 1 ORDER BY 1) x ORDER BY 1;
SELECT version, deployed FROM amad_models WHERE model_name = 'twice' ORDER BY version;
-- any text is a valid name
SELECT s->'model_name' AS name, s->'version' AS version FROM (SELECT amad_train(name, tiny(), n, a) AS s
	FROM r, unnest('{"Pump", "pump ", "Pümpe \"1\"; --", "a.b"}'::text[]) name GROUP BY name
	ORDER BY name COLLATE "C") x;
SELECT amad_describe('Pümpe "1"; --')->'training'->'rows' AS rows, amad_describe('a.b')->'training'->'rows' AS rows;
SELECT amad_describe('PUMP');
-- a rollback leaves nothing behind
BEGIN;
SELECT amad_train('gone', tiny(), n, a)->'version' AS version FROM r;
SELECT count(*) FROM amad_models WHERE model_name = 'gone';
ROLLBACK;
SELECT count(*) FROM amad_models WHERE model_name = 'gone';
BEGIN;
SELECT amad_train('pump', tiny(), n, a, b)->'version' AS version FROM r;
SAVEPOINT s;
SELECT amad_train('pump', tiny(), n, a, b)->'version' AS version FROM r;
ROLLBACK TO s;
SELECT amad_train('pump', tiny(), n, a, b)->'version' AS version FROM r;
ROLLBACK;
SELECT version, deployed FROM amad_models WHERE model_name = 'pump' ORDER BY version;
-- rows that the table refuses
\set VERBOSITY terse
INSERT INTO amad_models (model_name, version, options, training, model) SELECT '', 1, options, training, model
FROM amad_models WHERE model_name = 'tank';
INSERT INTO amad_models (model_name, version, options, training, model) SELECT 'x', 0, options, training, model
FROM amad_models WHERE model_name = 'tank';
INSERT INTO amad_models (model_name, version, options, training, model) SELECT 'tank', 1, options, training, model
FROM amad_models WHERE model_name = 'tank';
INSERT INTO amad_models (model_name, version, options, training) VALUES ('x', 1, '{}', '{}');
\set VERBOSITY default
-- a copy under another name is a model
INSERT INTO amad_models (model_name, version, features, options, training, model) SELECT 'copy', 1, features, options,
	training, model FROM amad_models WHERE model_name = 'tank';
SELECT amad_describe('copy') = amad_describe('tank') AS same;

-- ---- describe

SELECT jsonb_object_keys(amad_describe('pump')) AS key ORDER BY 1;
SELECT amad_describe('pump', v)->'options'->'seed' AS seed, amad_describe('pump', v)->'features' AS features
FROM unnest('{1, 3, 4, NULL}'::int[]) v;
SELECT amad_describe('pump') = amad_describe('pump', NULL) AS in_use,
	amad_describe(model_name => 'pump', version => 4) = amad_describe('pump') AS named,
	amad_describe(NULL::text) IS NULL AS no_name, amad_describe(NULL::text, 1) IS NULL AS no_name;
SELECT amad_describe('pump', 2);
SELECT amad_describe('pump', 0);
SELECT amad_describe('pump', -1);
SELECT amad_describe('nobody');
SELECT amad_describe('nobody', 1);
-- by name and by value the same, but by name also with the facts of the run
SELECT amad_describe(model) - 'training' = amad_describe('tank') - 'training' AS same,
	(amad_describe('tank')->'training') - '{seconds,workers}'::text[] = amad_describe(model)->'training' AS training,
	amad_describe('tank')->'training' ?& '{seconds,workers}' AS run FROM amad_models WHERE model_name = 'tank';
SELECT (d->'training') - '{loss,seconds}'::text[] AS training, jsonb_array_length(d->'training'->'loss') AS losses,
	d->'format_version' AS format_version, d->>'core' LIKE '%_/_%' AS core
FROM amad_describe('pump') d;
-- figures per feature, block and horizon
SELECT jsonb_array_length(d->'scaling'->'mean') AS mean, jsonb_array_length(d->'scaling'->'std') AS std,
	jsonb_array_length(d->'calibration'->'rho') AS rho, jsonb_array_length(d->'calibration'->'mu_d') AS mu_d,
	jsonb_array_length(d->'calibration'->'theta') AS theta
FROM amad_describe('pump') d;
-- scaling is that of the training rows
SELECT bool_and(abs(m - x.mean) < 1e-9 AND abs(s - x.std) < 1e-9) AS right
FROM (SELECT 1 AS i, avg(a) AS mean, stddev_pop(a) AS std FROM r UNION ALL SELECT 2, avg(b), stddev_pop(b) FROM r) x,
	LATERAL (SELECT (amad_describe('pump')->'scaling'->'mean'->>(i - 1))::float8 AS m,
		(amad_describe('pump')->'scaling'->'std'->>(i - 1))::float8 AS s) d;
-- the threshold follows from the scores of all rows and of those held out
SELECT abs(threshold_of(array_agg(ratio_of(s)), array_agg(is_held_out(n, 200, 0.1, 8, 25)), 1.5 * 0.5) - 1) < 1e-9
	AS threshold
FROM (SELECT n, amad_score((SELECT amad_fit(tiny() || '{"contamination": 0.5}', n, a) FROM r), n, a)
		OVER (ORDER BY n) AS s FROM r) x
WHERE s IS NOT NULL;
-- held-out rows that are all equal do not make the threshold 0
SELECT avg((s > 1)::int) < 0.75 AS not_all FROM (
	SELECT n, amad_score((SELECT amad_fit('{"method": "zscore", "horizons": [1]}'::jsonb, n,
		CASE WHEN n > 170 THEN 0 ELSE sin(n) END) FROM r), n, sin(n)::float8) OVER (ORDER BY n) AS s FROM r) x;

-- ---- damaged models: each use is an error that names the model; other models and versions work

SELECT amad_train('hurt', tiny() || jsonb_build_object('seed', i), n, a)->'version' AS version
FROM r, generate_series(1, 2) i GROUP BY i;
UPDATE amad_models SET model = left(model::text, -2)::amad_model WHERE model_name = 'hurt' AND version = 2;
SELECT model_name, version, amad_model_error(model) FROM amad_models WHERE amad_model_error(model) IS NOT NULL;
SELECT amad_describe('hurt');
SELECT amad_score('hurt', n, a) OVER (ORDER BY n) FROM r;
SELECT count(*) FROM amad_detect('hurt', source => 'r');
SELECT amad_describe('hurt', 1)->'options'->'seed' AS seed, amad_describe('tank') IS NOT NULL AS tank;
SELECT amad_deploy('hurt', 1);
SELECT amad_deploy('hurt', 2);
SELECT amad_deploy('hurt', 1);
SELECT amad_drop('hurt', 2);
SELECT count(amad_score) FROM (SELECT amad_score('hurt', n, a) OVER (ORDER BY n) FROM r) x;
-- a column "training" that is not an object
UPDATE amad_models SET training = '[1]' WHERE model_name = 'hurt';
SELECT amad_describe('hurt');
SELECT amad_drop('hurt');

-- ---- weights

SELECT name, shape, array_length(data, 1) = (SELECT round(exp(sum(ln(dim))))::int FROM unnest(shape) dim) AS size
FROM amad_weights((SELECT model FROM amad_models WHERE model_name = 'pump' AND version = 4));
SELECT sum(array_length(data, 1)) = (amad_describe('pump')->>'weights')::bigint AS all_weights,
	bool_and(array_ndims(data) = 1) AS flat
FROM amad_weights((SELECT model FROM amad_models WHERE model_name = 'pump' AND version = 4));
SELECT count(*) AS tensors, count(DISTINCT w.name) AS names
FROM (SELECT amad_fit(tiny() || '{"layers": 3}', n, a, b) AS m FROM r) x, amad_weights(m) w;
SELECT count(*) FILTER (WHERE w IN ('NaN', 'Infinity', '-Infinity')) AS not_finite, count(*) > 500 AS many,
	avg(abs(w)) BETWEEN 0.01 AND 1 AS size
FROM amad_weights((SELECT model FROM amad_models WHERE model_name = 'pump' AND version = 4)), unnest(data) w;
-- the layer norms begin at 1 and 0 and have changed by less than 0.1
SELECT name, min(w) > 0.9 AND max(w) < 1.1 AS one, min(w) > -0.1 AND max(w) < 0.1 AS zero
FROM amad_weights((SELECT model FROM amad_models WHERE model_name = 'pump' AND version = 4)), unnest(data) w
WHERE name LIKE '%ln%' GROUP BY name ORDER BY name;
SELECT name, (amad_weights(model)).name = name AS also
FROM amad_models, LATERAL (SELECT name FROM amad_weights(model) LIMIT 1) w WHERE model_name = 'tank' LIMIT 2;

-- ---- read-only transactions

BEGIN READ ONLY;
SELECT amad_fit(tiny(), n, a) IS NOT NULL AS fits FROM r;
SELECT count(amad_score) FROM (SELECT amad_score('tank', n, a) OVER (ORDER BY n) FROM r) x;
SELECT amad_describe('tank')->'training'->'rows' AS rows;
SELECT amad_train('tank', tiny(), n, a) FROM r;
ROLLBACK;

-- ---- roles: ann and ben have models of their own; both see those of the team, but not each other's

DELETE FROM amad_models;
CREATE ROLE amad_regress_team NOLOGIN NOSUPERUSER;
CREATE ROLE amad_regress_ann NOSUPERUSER IN ROLE amad_regress_team;
CREATE ROLE amad_regress_ben NOSUPERUSER IN ROLE amad_regress_team;
CREATE ROLE amad_regress_eve NOSUPERUSER;

SET ROLE amad_regress_ann;
SELECT amad_train('pump', tiny(), n, a, b)->'version' AS version FROM r;
SELECT amad_train('pump', tiny(), n, a, b)->'version' AS version FROM r;
SET ROLE amad_regress_ben;
SELECT count(*) AS seen FROM amad_models;
SELECT amad_describe('pump');
SELECT amad_score('pump', n, a, b) OVER (ORDER BY n) FROM r;
DELETE FROM amad_models RETURNING model_name;
-- his versions are numbered independently
SELECT amad_train('pump', tiny() || '{"seed": 7}', n, a, b)->'version' AS version FROM r;
SELECT amad_train('bens', tiny(), n, a)->'version' AS version FROM r;
SELECT owner, model_name, version FROM amad_models ORDER BY 1, 2, 3;
-- rows, even one's own, are inserted and updated only by functions
INSERT INTO amad_models (model_name, version, options, training, model) SELECT 'x', 1, options, training, model
FROM amad_models LIMIT 1;
UPDATE amad_models SET owner = 'amad_regress_ann';
UPDATE amad_models SET deployed = true;
TRUNCATE amad_models;
-- models of the team
SET ROLE amad_regress_team;
SELECT count(*) AS seen FROM amad_models;
SELECT amad_train('shared', tiny() || '{"seed": 1}', n, a, b)->'version' AS version FROM r;
SELECT amad_train('pump', tiny() || '{"seed": 9}', n, a, b)->'version' AS version FROM r;
SET ROLE amad_regress_ben;
SELECT owner, model_name, version FROM amad_models ORDER BY 1, 2, 3;
SELECT amad_describe('shared')->'options'->'seed' AS seed;
SELECT count(amad_score) AS scored FROM (SELECT amad_score('shared', n, a, b) OVER (ORDER BY n) FROM r) x;
-- one's own model takes precedence
SELECT amad_describe('pump')->'options'->'seed' AS seed;
-- training under the name of a model of the team makes a model of one's own
SELECT amad_train('shared', tiny() || '{"seed": 2}', n, a, b)->'version' AS version FROM r;
SELECT amad_describe('shared')->'options'->'seed' AS seed;
SET ROLE amad_regress_ann;
SELECT amad_describe('shared')->'options'->'seed' AS seed;
SET ROLE amad_regress_eve;
SELECT count(*) AS seen FROM amad_models;
SELECT amad_score('shared', n, a, b) OVER (ORDER BY n) FROM r;
-- the message does not reveal whether a name exists
SELECT amad_score('nobody', n, a, b) OVER (ORDER BY n) FROM r;
-- two versions of one owner that were deployed by hand are not ambiguous
SET ROLE amad_regress_ann;
SELECT amad_train('solo', tiny() || '{"seed": 3}', n, a, b)->'version' AS version FROM r;
SELECT amad_train('solo', tiny() || '{"seed": 4}', n, a, b)->'version' AS version FROM r;
RESET ROLE;
UPDATE amad_models SET deployed = true WHERE model_name = 'solo' RETURNING version;
CREATE ROLE amad_regress_ida NOSUPERUSER IN ROLE amad_regress_ann;
SET ROLE amad_regress_ida;
SELECT amad_describe('solo')->'options'->'seed' AS seed;
-- a version that one's own model does not have is not looked up in another owner's
SELECT amad_train('solo', tiny(), n, a, b)->'version' AS version FROM r;
SELECT amad_describe('solo', 2);
DELETE FROM amad_models WHERE model_name = 'solo';
RESET ROLE;
DROP ROLE amad_regress_ida;
-- two other owners are ambiguous
CREATE ROLE amad_regress_fay NOSUPERUSER IN ROLE amad_regress_ann, amad_regress_ben;
SET ROLE amad_regress_fay;
SELECT count(*) AS seen FROM amad_models;
SELECT amad_describe('pump');
SELECT amad_score('pump', n, a, b) OVER (ORDER BY n) FROM r;
SELECT amad_describe('bens')->'training'->'rows' AS rows;
-- without inheritance a member has to become the owner
RESET ROLE;
CREATE ROLE amad_regress_gil NOSUPERUSER NOINHERIT IN ROLE amad_regress_ann;
SET ROLE amad_regress_gil;
SELECT count(*) AS seen FROM amad_models;
RESET ROLE;
-- a superuser sees all
SELECT owner, count(*) AS models FROM amad_models GROUP BY owner ORDER BY owner;
SELECT amad_describe('bens')->'training'->'rows' AS rows;
SELECT amad_describe('pump');
SELECT amad_train('pump', tiny(), n, a, b)->'version' AS version FROM r;
SELECT amad_describe('pump')->'options'->'seed' AS seed;
-- a cached model does not outlive the right to see it
SELECT count(amad_score) AS scored FROM (SELECT amad_score('bens', n, a) OVER (ORDER BY n) FROM r) x;
SET ROLE amad_regress_eve;
SELECT amad_score('bens', n, a) OVER (ORDER BY n) FROM r;
RESET ROLE;
PREPARE bens AS SELECT count(amad_score) AS scored FROM (SELECT amad_score('bens', n, a) OVER (ORDER BY n) FROM r) x;
EXECUTE bens;
SET ROLE amad_regress_eve;
EXECUTE bens;
SET ROLE amad_regress_ben;
EXECUTE bens;
RESET ROLE;
-- models of a dropped role remain, visible to superusers
REVOKE amad_regress_team FROM amad_regress_ann, amad_regress_ben;
DROP ROLE amad_regress_gil, amad_regress_fay, amad_regress_ben;
SELECT count(*) AS models FROM amad_models WHERE owner = 'amad_regress_ben';
SET ROLE amad_regress_ann;
SELECT count(*) AS seen FROM amad_models;
RESET ROLE;
DELETE FROM amad_models;
DROP ROLE amad_regress_ann, amad_regress_team, amad_regress_eve;

-- ---- settings

SELECT jsonb_object_keys(amad_version()) AS key ORDER BY 1;
SELECT amad_version()->>'amad' = extversion AS version,
	amad_version()->>'postgresql' LIKE current_setting('server_version') || '%' AS postgresql,
	amad_version()->'blas'->'threads' AS threads FROM pg_extension WHERE extname = 'amad';
SELECT jsonb_object_keys(amad_version()->'blas') AS key ORDER BY 1;
SHOW amad.report_progress;
SET amad.report_progress = 'loud';
SET amad.nonsense = 1;
-- progress is reported every five seconds, so not here
SET amad.report_progress = on;
SELECT amad_fit(tiny() || '{"steps": 2}', n, a) IS NOT NULL AS done FROM r;
RESET amad.report_progress;
SET ROLE pg_monitor;
SET amad.report_progress = on;
RESET amad.report_progress;
RESET ROLE;

-- ---- what the extension consists of

SELECT p.oid::regprocedure AS function, prokind AS kind, provolatile AS volatile, proisstrict AS strict,
	proparallel AS parallel, prosecdef AS definer,
	pg_get_function_result(p.oid) AS result
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'amad')
	AND d.classid = 'pg_proc'::regclass
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT pg_describe_object(classid, objid, objsubid) COLLATE "C" AS other
FROM pg_depend WHERE refclassid = 'pg_extension'::regclass
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'amad') AND deptype = 'e'
	AND classid <> 'pg_proc'::regclass
	-- PostgreSQL 17 lists types of rows and arrays, too
	AND (classid <> 'pg_type'::regclass OR objid = 'amad_model'::regtype)
ORDER BY 1;
-- no object is without a comment
SELECT pg_describe_object(classid, objid, objsubid) AS object
FROM pg_depend d WHERE refclassid = 'pg_extension'::regclass
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'amad') AND deptype = 'e'
AND NOT EXISTS (SELECT FROM pg_description c WHERE c.objoid = d.objid AND c.classoid = d.classid AND c.objsubid = 0)
AND (classid <> 'pg_type'::regclass OR objid = 'amad_model'::regtype)
ORDER BY 1;
SELECT attname FROM pg_attribute
WHERE attrelid = 'amad_models'::regclass AND attnum > 0 AND NOT attisdropped
AND col_description(attrelid, attnum) IS NULL;
SELECT polname FROM pg_policy WHERE polrelid = 'amad_models'::regclass AND obj_description(oid, 'pg_policy') IS NULL;
-- privileges and policies
SELECT relname, relrowsecurity AS rls,
	(SELECT string_agg(privilege_type, ', ' ORDER BY privilege_type) FROM aclexplode(relacl)
	WHERE grantee = 0) AS public
FROM pg_class WHERE oid = 'amad_models'::regclass;
SELECT polname, polcmd, pg_get_expr(polqual, polrelid) AS using FROM pg_policy WHERE polrelid = 'amad_models'::regclass
ORDER BY polname;
-- tables that a dump must hold
SELECT unnest(extconfig)::regclass AS dumped FROM pg_extension WHERE extname = 'amad';

DROP FUNCTION tiny();
DROP TABLE r;
