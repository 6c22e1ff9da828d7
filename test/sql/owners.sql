--
-- Owners of models: roles that are renamed, swap their names, are dropped and created again;
-- rows of another cluster; and a table whose owner is hostile.
--
CREATE TABLE r AS SELECT i::bigint AS n, sin(i * 0.3) AS a FROM generate_series(1, 120) i;
GRANT SELECT ON r TO PUBLIC;
CREATE FUNCTION train(name text, seed int) RETURNS jsonb LANGUAGE sql AS $$
	SELECT amad_train(name, '{"method": "zscore", "horizons": [1]}' || jsonb_build_object('seed', seed), n,
		a)->'version'
	FROM r $$;
CREATE FUNCTION seed(name text) RETURNS jsonb LANGUAGE sql AS $$ SELECT amad_describe(name)->'options'->'seed' $$;
-- the rows, with the names of roles instead of oids, and whether the cluster is this one
CREATE FUNCTION rows(OUT owner name, OUT role name, OUT here boolean, OUT model_name text, OUT version int,
	OUT deployed boolean, OUT seed jsonb)
	RETURNS SETOF record LANGUAGE sql SECURITY DEFINER AS $$
	SELECT owner, (SELECT rolname FROM pg_roles r WHERE r.oid = owner_oid), owner_cluster = system_identifier,
		model_name, version, deployed, options->'seed'
	FROM amad_models, pg_control_system() ORDER BY owner COLLATE "C", model_name, version $$;

CREATE ROLE amad_owner_a;
CREATE ROLE amad_owner_b;
SET ROLE amad_owner_a;
SELECT train('m', 1), train('m', 2), train('n', 3);
SET ROLE amad_owner_b;
SELECT train('m', 11);
RESET ROLE;
SELECT * FROM rows();

-- ---- a renamed role keeps its models
ALTER ROLE amad_owner_a RENAME TO amad_owner_c;
SET ROLE amad_owner_c;
SELECT count(*) AS seen FROM amad_models;
SELECT seed('m') AS two, amad_describe('m', 1)->'options'->'seed' AS one, seed('n') AS three;
-- a new role with the old name does not get them
RESET ROLE;
CREATE ROLE amad_owner_a;
SET ROLE amad_owner_a;
SELECT count(*) AS seen FROM amad_models;
SELECT seed('m');
SELECT amad_drop('m');
DELETE FROM amad_models RETURNING model_name;
-- its first change corrects the names in the keys of the renamed role
SELECT train('m', 21);
SELECT seed('m'), count(*) AS seen FROM amad_models;
RESET ROLE;
SELECT * FROM rows();
SET ROLE amad_owner_c;
SELECT train('n', 4);
RESET ROLE;
SELECT * FROM rows();
SET ROLE amad_owner_c;
SELECT amad_deploy('m', 1);
SELECT seed('m') AS one;
SELECT amad_drop('m', 2);
RESET ROLE;

-- ---- roles that swap their names keep their models
SET ROLE amad_owner_b;
SELECT train('n', 12);
RESET ROLE;
ALTER ROLE amad_owner_c RENAME TO amad_owner_x;
ALTER ROLE amad_owner_b RENAME TO amad_owner_c;
ALTER ROLE amad_owner_x RENAME TO amad_owner_b;
SET ROLE amad_owner_c;
SELECT seed('m') AS eleven, seed('n') AS twelve;
SET ROLE amad_owner_b;
SELECT seed('m') AS one, seed('n') AS four;
SELECT train('m', 5);
SELECT seed('m') AS five;
RESET ROLE;
-- all names are correct, although the roles exchanged keys
SELECT * FROM rows();
SET ROLE amad_owner_c;
SELECT seed('m') AS eleven;
RESET ROLE;

-- ---- a transaction with a single snapshot leaves the correction to the next
ALTER ROLE amad_owner_c RENAME TO amad_owner_d;
SET ROLE amad_owner_d;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT train('o', 13);
COMMIT;
RESET ROLE;
SELECT owner, role, model_name, version FROM rows() WHERE role = 'amad_owner_d';
SET ROLE amad_owner_d;
SELECT train('o', 14);
RESET ROLE;
SELECT owner, role, model_name, version FROM rows() WHERE role = 'amad_owner_d';

-- ---- models of a dropped role are visible to the table's owner; a new role with its name can train
DROP ROLE amad_owner_d;
CREATE ROLE amad_owner_d;
SET ROLE amad_owner_d;
SELECT count(*) AS seen FROM amad_models;
SELECT amad_score('o', n, a) OVER (ORDER BY n) FROM r;
SELECT train('o', 31), train('p', 32);
SELECT seed('o') AS thirty_one, count(*) AS seen FROM amad_models;
SELECT amad_drop('o', 1);
RESET ROLE;
SELECT * FROM rows() WHERE owner = 'amad_owner_d';
SELECT seed('p'), amad_describe('o', 2)->'options'->'seed' AS gone;
-- both have a model o: two owners with the same name
SELECT seed('o');
-- the statement that gives models to another role
WITH moved AS (UPDATE amad_models SET owner = 'amad_owner_a', owner_oid = NULL
	WHERE owner = 'amad_owner_d' AND model_name <> 'm' AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = owner_oid)
	RETURNING model_name, version) SELECT * FROM moved ORDER BY 1, 2;
SET ROLE amad_owner_a;
SELECT seed('o') AS fourteen, seed('n') AS twelve;
RESET ROLE;

-- ---- rows of another cluster, or restored without oids: the name decides, and the next change adopts them
DELETE FROM amad_models;
SET ROLE amad_owner_a;
SELECT train('m', 1), train('m', 2), train('q', 3);
SET ROLE amad_owner_b;
SELECT train('m', 11);
RESET ROLE;
UPDATE amad_models SET owner_oid = (SELECT oid FROM pg_roles WHERE rolname = 'amad_owner_b'), owner_cluster = 42
WHERE owner = 'amad_owner_a';
UPDATE amad_models SET owner_oid = NULL, owner_cluster = NULL WHERE owner = 'amad_owner_a' AND version = 1;
INSERT INTO amad_models SELECT 'amad no such role', 77, 42, model_name, version, deployed, features, options, training,
	source, model FROM amad_models WHERE owner = 'amad_owner_b';
SET ROLE amad_owner_a;
SELECT seed('m') AS two, count(*) AS seen FROM amad_models;
SET ROLE amad_owner_b;
SELECT seed('m') AS eleven, count(*) AS seen FROM amad_models;
SET ROLE amad_owner_a;
SELECT train('m', 4);
RESET ROLE;
SELECT * FROM rows();
-- they now follow the role
ALTER ROLE amad_owner_a RENAME TO amad_owner_e;
SET ROLE amad_owner_e;
SELECT seed('m') AS four, seed('q') AS three;
RESET ROLE;
ALTER ROLE amad_owner_e RENAME TO amad_owner_a;
-- unusual rows
SELECT amad_may_use(NULL, 10, 1), amad_may_use('amad no such role', NULL, NULL),
	amad_may_use('amad_owner_a', 999999, NULL) AS by_name,
	amad_may_use('amad_owner_a', NULL, system_identifier) AS by_name,
	amad_may_use('amad_owner_a', 999999, system_identifier) AS no_role
FROM pg_control_system();
-- a correction cannot take an existing key: the oid decides, the name remains
DELETE FROM amad_models;
SET ROLE amad_owner_a;
SELECT train('m', 1), train('n', 2);
RESET ROLE;
ALTER ROLE amad_owner_a RENAME TO amad_owner_e;
INSERT INTO amad_models SELECT 'amad_owner_e', 999999, system_identifier, model_name, version, deployed, features,
	options, training, source, model FROM amad_models, pg_control_system() WHERE model_name = 'm';
SET ROLE amad_owner_e;
SELECT train('n', 3), train('m', 4);
SELECT seed('m') AS four, seed('n') AS three;
RESET ROLE;
SELECT * FROM rows();
DELETE FROM amad_models;

-- ---- functions work with row_security = off; SELECT obeys it
SET ROLE amad_owner_b;
SET row_security = off;
SELECT train('m', 1);
SELECT seed('m');
SELECT amad_drop('m');
SELECT count(*) FROM amad_models;
RESET row_security;
RESET ROLE;
-- an error that is caught leaves nothing behind
SET ROLE amad_owner_b;
DO $$
BEGIN
	PERFORM amad_describe('no such');
EXCEPTION WHEN undefined_object THEN
	RAISE NOTICE '% % %', CURRENT_USER, SESSION_USER = 'amad_owner_b', current_setting('search_path');
END $$;
CREATE TEMP TABLE not_restricted (n int);
DROP TABLE not_restricted;
RESET ROLE;
-- privileges on the table are checked
REVOKE SELECT ON amad_models FROM PUBLIC;
SET ROLE amad_owner_b;
SELECT train('m', 1);
SELECT seed('m');
RESET ROLE;
GRANT SELECT ON amad_models TO PUBLIC;
REVOKE DELETE ON amad_models FROM PUBLIC;
SET ROLE amad_owner_b;
SELECT train('m', 1);
SELECT amad_drop('m');
RESET ROLE;
GRANT DELETE ON amad_models TO PUBLIC;

-- ---- code that the owner of the table attaches to it runs with the owner's privileges
CREATE ROLE amad_owner_evil NOSUPERUSER;
ALTER TABLE amad_models OWNER TO amad_owner_evil;
CREATE SCHEMA evil AUTHORIZATION amad_owner_evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
SET ROLE amad_owner_evil;
CREATE TABLE evil.log (what text, who name);
GRANT SELECT ON evil.log TO PUBLIC;
CREATE FUNCTION evil.note(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('evil.armed', true) IS DISTINCT FROM 'on' THEN
		RETURN true;
	END IF;
	INSERT INTO evil.log VALUES (what, CURRENT_USER);
	-- this setting must not outlive the function call, either
	PERFORM set_config('search_path', 'evil', false);
	BEGIN
		EXECUTE 'RESET ROLE';
		INSERT INTO evil.log VALUES (what || ' escaped', CURRENT_USER);
	EXCEPTION WHEN insufficient_privilege THEN NULL;
	END;
	BEGIN
		EXECUTE 'ALTER ROLE amad_owner_evil SUPERUSER';
		INSERT INTO evil.log VALUES (what || ' rose', CURRENT_USER);
	EXCEPTION WHEN insufficient_privilege THEN NULL;
	END;
	RETURN true;
END $$;
CREATE FUNCTION evil.number() RETURNS int LANGUAGE sql AS $$ SELECT 1 FROM evil.note('default') $$;
ALTER TABLE amad_models ADD COLUMN extra int DEFAULT evil.number(), ADD CHECK (evil.note('check'));
CREATE POLICY evil ON amad_models FOR SELECT USING (evil.note('policy'));
ALTER TABLE amad_models FORCE ROW LEVEL SECURITY;
CREATE POLICY evil_insert ON amad_models FOR INSERT WITH CHECK (evil.note('policy'));
CREATE POLICY evil_update ON amad_models FOR UPDATE USING (evil.note('policy'));
CREATE POLICY evil_delete ON amad_models FOR DELETE USING (evil.note('policy'));
RESET ROLE;
-- as a superuser and as another role
SET evil.armed = on;
SELECT train('m', 1), train('m', 2);
SELECT amad_deploy('m', 1), seed('m');
SELECT amad_drop('m', 2);
SELECT amad_drop('m');
SET ROLE amad_owner_b;
SELECT train('m', 1), train('m', 2);
SELECT amad_deploy('m', 1);
SELECT amad_drop('m');
SHOW search_path;
RESET ROLE;
SELECT who, count(*) > 0 AS noted FROM evil.log GROUP BY who;
SELECT what FROM evil.log WHERE who = 'amad_owner_evil' GROUP BY what ORDER BY what COLLATE "C";
SELECT rolsuper FROM pg_roles WHERE rolname = 'amad_owner_evil';
SET evil.armed = off;
-- deferred triggers, which would run as the role that is current at the end of the transaction, are refused
SET ROLE amad_owner_evil;
CREATE TABLE evil.other (n int);
CREATE FUNCTION evil.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON evil.other DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION evil.fire();
CREATE FUNCTION evil.detour() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO evil.other VALUES (1); RETURN 1; END $$;
ALTER TABLE amad_models ALTER extra SET DEFAULT evil.detour();
RESET ROLE;
SELECT train('m', 1);
-- an expression that invalidates plans and uses models
SET ROLE amad_owner_evil;
CREATE FUNCTION evil.recursive() RETURNS int LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		GRANT SELECT ON amad_models TO amad_owner_evil;
		PERFORM count(*) FROM amad_models;
		BEGIN
			PERFORM amad_describe('no such');
		EXCEPTION WHEN undefined_object THEN NULL;
		END;
		BEGIN
			PERFORM amad_drop('no such');
		EXCEPTION WHEN undefined_object THEN NULL;
		END;
	END LOOP;
	RETURN 1;
END $$;
ALTER TABLE amad_models ALTER extra SET DEFAULT evil.recursive();
RESET ROLE;
SELECT train('again', 1), train('again', 2), train('again', 3);
SELECT seed('again');
SET ROLE amad_owner_evil;
ALTER TABLE amad_models ALTER extra SET DEFAULT evil.number();
RESET ROLE;

-- triggers would run with the owner's privileges, and other roles may be allowed to create them
SELECT train('kept', 1), train('kept', 2);
GRANT TRIGGER, REFERENCES ON amad_models TO amad_owner_b;
GRANT CREATE ON SCHEMA evil TO amad_owner_b;
SET ROLE amad_owner_b;
CREATE FUNCTION evil.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER nothing BEFORE INSERT OR UPDATE OR DELETE ON amad_models FOR EACH ROW EXECUTE FUNCTION evil.nothing();
RESET ROLE;
SELECT train('m', 1);
SELECT amad_deploy('kept', 1);
SELECT amad_drop('kept');
-- reading still works
SELECT seed('kept');
ALTER TABLE amad_models DISABLE TRIGGER nothing;
SELECT train('m', 1);
SELECT amad_drop('m');
DROP TRIGGER nothing ON amad_models;
-- a cascade fires triggers of the table that refers to it
SET ROLE amad_owner_b;
CREATE TABLE evil.attached (m text, o name, v int,
	FOREIGN KEY (m, o, v) REFERENCES amad_models (model_name, owner, version) ON DELETE CASCADE);
RESET ROLE;
DO $$
BEGIN
	PERFORM amad_drop('kept');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	-- the trigger's name contains an oid
	RAISE NOTICE '%', regexp_replace(SQLERRM, '\d+', 'N');
END $$;
DROP TABLE evil.attached;
REVOKE TRIGGER, REFERENCES ON amad_models FROM amad_owner_b;
-- a change that a policy suppresses is an error
SET ROLE amad_owner_evil;
CREATE POLICY evil_none ON amad_models AS RESTRICTIVE FOR UPDATE USING (false);
RESET ROLE;
SELECT amad_deploy('kept', 1);
SET ROLE amad_owner_evil;
DROP POLICY evil_none ON amad_models;
CREATE RULE nothing AS ON INSERT TO amad_models DO INSTEAD NOTHING;
RESET ROLE;
SELECT train('m', 1);
SET ROLE amad_owner_evil;
DROP RULE nothing ON amad_models;
CREATE RULE also AS ON INSERT TO amad_models DO ALSO INSERT INTO evil.other VALUES (1);
RESET ROLE;
SELECT train('m', 1);
SET ROLE amad_owner_evil;
DROP RULE also ON amad_models;
DROP POLICY evil ON amad_models;
DROP POLICY evil_insert ON amad_models;
DROP POLICY evil_update ON amad_models;
DROP POLICY evil_delete ON amad_models;
ALTER TABLE amad_models NO FORCE ROW LEVEL SECURITY, DROP COLUMN extra, DROP CONSTRAINT amad_models_check;
RESET ROLE;

-- ---- a source that the table's owner can change is not executed as a superuser
SELECT amad_train('own', 'r', 'n', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT count(*) FROM amad_detect_bigint('own');
SELECT amad_retrain('own');
SELECT count(*) FROM amad_detect_bigint('own', source => 'r', timestamp_col => 'n');
SELECT amad_drop('own');
-- the table's owner sees all models, but does not execute the sources of other roles
GRANT USAGE, CREATE ON SCHEMA public TO amad_owner_b, amad_owner_evil;
SET ROLE amad_owner_b;
SELECT amad_train('own', 'r', 'n', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT count(*) FROM amad_detect_bigint('own');
SET ROLE amad_owner_evil;
SELECT count(*) AS seen FROM amad_models;
SELECT amad_describe('own')->'training'->'rows' AS rows;
SELECT count(*) FROM amad_detect_bigint('own');

-- ---- columns that have changed
CREATE FUNCTION evil.attempt(change text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	EXECUTE 'ALTER TABLE public.amad_models ' || change;
	RETURN 'changed';
END $$;
GRANT ALL ON FUNCTION evil.attempt TO PUBLIC;
-- makes the change, calls each function by name as another role, and rolls back
CREATE FUNCTION evil.verdicts(change text, OUT what text, OUT verdict text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	query text;
BEGIN
	BEGIN
		PERFORM evil.attempt(change);
		FOREACH query IN ARRAY string_to_array(
			$q$amad_describe('own');amad_deploy('own', 1);amad_retrain('own');amad_drop('own')$q$, ';')
		LOOP
			what := split_part(query, '(', 1);
			BEGIN
				EXECUTE 'SELECT ' || query;
				verdict := 'works';
			EXCEPTION WHEN OTHERS THEN
				verdict := sqlstate || ' ' || sqlerrm;
			END;
			RETURN NEXT;
		END LOOP;
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN NULL;
	END;
END $$;
GRANT ALL ON FUNCTION evil.verdicts TO PUBLIC;
ALTER TABLE amad_models DROP CONSTRAINT amad_models_pkey;
DROP POLICY amad_models_select ON amad_models;
DROP POLICY amad_models_delete ON amad_models;
RESET ROLE;
-- what depends on the columns
ALTER EXTENSION amad DROP FUNCTION amad_metrics;
DROP FUNCTION amad_metrics;
ALTER EXTENSION amad DROP VIEW amad_status;
DROP VIEW amad_status;
SET ROLE amad_owner_b;
\pset format unaligned
SELECT change, v.* FROM unnest(ARRAY[
	'ALTER model TYPE text',
	'ALTER model TYPE bytea USING NULL, ALTER model DROP NOT NULL',
	'ALTER training TYPE json',
	'ALTER options TYPE text',
	'ALTER source TYPE jsonb[] USING NULL',
	'ALTER version TYPE bigint',
	'ALTER deployed DROP DEFAULT, ALTER deployed TYPE int USING 1',
	'ALTER features TYPE int[] USING NULL',
	'ALTER created_at DROP DEFAULT, ALTER created_at TYPE date',
	'ALTER owner_oid TYPE bigint',
	'ALTER owner_cluster TYPE numeric',
	'ALTER deployed DROP NOT NULL, ALTER deployed TYPE boolean USING NULL',
	'ALTER owner DROP NOT NULL, ALTER owner TYPE name USING NULL',
	'ALTER training DROP NOT NULL, ALTER training TYPE jsonb USING NULL',
	'ALTER model DROP NOT NULL, ALTER model TYPE public.amad_model USING NULL',
	'DROP source',
	'DROP model',
	'DROP created_at',
	'RENAME model_name TO name',
	'RENAME TO amad_models_2']) change, evil.verdicts(change) v;
\pset format aligned
RESET ROLE;

-- ---- restore the extension
SET client_min_messages = warning;
DROP EXTENSION amad CASCADE;
DROP SCHEMA evil CASCADE;
CREATE EXTENSION amad;
RESET client_min_messages;
DROP FUNCTION train, seed, rows;
DROP TABLE r;
DROP OWNED BY amad_owner_b, amad_owner_d, amad_owner_e, amad_owner_evil;
DROP ROLE amad_owner_b, amad_owner_d, amad_owner_e, amad_owner_evil;
