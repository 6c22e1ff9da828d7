--
-- Grants: what owner, member, operator, reader and stranger may do, and what they can not obtain by it
--
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE ROLE amad_g_owner;
CREATE ROLE amad_g_member IN ROLE amad_g_owner;
CREATE ROLE amad_g_operator;
CREATE ROLE amad_g_readers;
CREATE ROLE amad_g_reader IN ROLE amad_g_readers;
CREATE ROLE amad_g_stranger;
CREATE SCHEMA plant AUTHORIZATION amad_g_owner;
CREATE SCHEMA trap AUTHORIZATION amad_g_reader;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
GRANT CREATE ON SCHEMA public TO amad_g_owner;

-- a view over a table; nobody else may read either
SET ROLE amad_g_owner;
CREATE TABLE plant.raw AS SELECT d AS device, timestamptz '2024-05-01' + i * interval '1 minute' AS ts, sin(i * 0.2 + d) AS a,
	cos(i * 0.11) AS b, i % 40 = 0 AS bad, 'secret' || i AS note FROM generate_series(1, 200) i, generate_series(1, 3) d;
CREATE INDEX ON plant.raw (device, ts);
CREATE VIEW plant.readings AS SELECT device, ts, a, b, bad, ts + interval '1 day' AS seen FROM plant.raw WHERE device < 3;
CREATE FUNCTION plant.train(name text, source text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT amad_train(name, source, 'ts', '{a,b}', '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' $$;
SELECT plant.train('m', 'plant.readings'), plant.train('m', 'plant.readings');
SELECT amad_watch('m', target => 'plant.scores', late => '1 hour', "every" => '5 min') - 'watch' AS watch;
CALL amad_refresh('m');

-- ---- granting
SELECT amad_grant('m', 'amad_g_readers', 'read');
SELECT amad_grant('m', 'amad_g_readers', 'read');
SELECT amad_grant('m', 'amad_g_operator', 'operate');
SELECT amad_grant('m', 'no such role', 'read');
SELECT amad_grant('m', 'amad_g_reader', 'own');
SELECT amad_grant('no model', 'amad_g_reader', 'read');
SELECT owner, model_name, grantee, privilege, grantee_oid = grantee::text::regrole AS oid FROM amad_grants ORDER BY grantee;
SET ROLE amad_g_member;
SELECT amad_grant('m', 'amad_g_stranger', 'read');
SELECT count(*) AS seen FROM amad_grants;
SET ROLE amad_g_operator;
SELECT amad_grant('m', 'amad_g_stranger', 'read');
SELECT amad_revoke('m', 'amad_g_readers');
SELECT grantee, privilege FROM amad_grants;
INSERT INTO amad_grants SELECT * FROM amad_grants;
DELETE FROM amad_grants;
SET ROLE amad_g_stranger;
SELECT count(*) AS seen FROM amad_grants;
RESET ROLE;

-- ---- five roles
CREATE TABLE calls (n int, call text);
INSERT INTO calls VALUES
	(1, 'SELECT 1 / count(*) FROM amad_models'),
	(2, 'SELECT 1 / count(*) FROM amad_watches'),
	(3, 'SELECT 1 / count(*) FROM amad_status'),
	(4, 'SELECT 1 / count(*) FROM amad_runs'),
	(10, $$SELECT amad_describe('m')$$),
	(11, $$SELECT amad_score('m', n::timestamptz, 1.0, 1.0) OVER () FROM (SELECT '2025-01-01' AS n) s$$),
	(12, $$SELECT * FROM amad_detect('m')$$),
	(13, $$SELECT * FROM amad_events('m')$$),
	(14, $$SELECT * FROM amad_drift('m')$$),
	(15, $$SELECT * FROM amad_compare('m', 1, 2)$$),
	(16, $$SELECT amad_detect_query('m')$$),
	(20, $$SELECT * FROM amad_detect('m', source => 'plant.readings')$$),
	(21, $$SELECT amad_retrain('m')$$),
	(22, $$SELECT amad_recalibrate('m')$$),
	(30, $$SELECT amad_deploy('m', 1)$$),
	(31, $$SELECT amad_pause('m')$$),
	(32, $$SELECT amad_resume('m')$$),
	(33, $$CALL amad_refresh('m')$$),
	(34, $$SELECT amad_schedule('m')$$),
	(35, $$SELECT amad_unschedule('m')$$),
	(40, $$SELECT amad_drop('m', 1)$$),
	(41, $$SELECT 1 / count(*) FROM (SELECT amad_drop('m')) s$$),
	(42, $$SELECT amad_watch('m', retain => '1 day')$$),
	(43, $$SELECT amad_unwatch('m')$$),
	(44, $$SELECT amad_grant('m', 'amad_g_stranger', 'read')$$),
	(45, $$SELECT amad_revoke('m', 'amad_g_readers')$$),
	(46, $$WITH d AS (DELETE FROM amad_models RETURNING 1) SELECT 1 / count(*) FROM d$$);
GRANT SELECT ON calls TO PUBLIC;
-- yes, or the SQLSTATE; all is rolled back
CREATE FUNCTION outcome(role text, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SET ROLE %I', 'amad_g_' || role);
	EXECUTE call;
	RAISE EXCEPTION 'yes' USING ERRCODE = 'YES00';
EXCEPTION WHEN OTHERS THEN
	RETURN CASE sqlstate WHEN 'YES00' THEN 'yes' ELSE sqlstate END;
END $$;
SET client_min_messages = warning;
SELECT call, outcome('owner', call) AS owner, outcome('member', call) AS member, outcome('operator', call) AS operator,
	outcome('reader', call) AS reader, outcome('stranger', call) AS stranger FROM calls ORDER BY n;
-- the privileges of the readers remain those of the call
SELECT outcome('reader', $$SELECT * FROM plant.readings$$), outcome('reader', $$SELECT * FROM plant.raw$$);
RESET client_min_messages;
SET ROLE amad_g_reader;
SELECT amad_deploy('m', 1);
CALL amad_refresh('m');
SELECT amad_pause('m');
SELECT CURRENT_USER, current_setting('search_path');
RESET ROLE;
-- outside of a transaction block
SET ROLE amad_g_operator;
CALL amad_refresh('m', since => '2024-05-01 03:00+00');
SELECT state, rows_scored > 0 AS scored FROM amad_runs ORDER BY run DESC LIMIT 1;
RESET ROLE;
-- what a reader gets is what the owner gets
CREATE FUNCTION digest() RETURNS text LANGUAGE sql AS $$
	SELECT count(*) || ' ' || md5(string_agg(concat(series, ts, encode(float8send(severity), 'hex'), contributions, status), ' '
		ORDER BY series::text, ts)) FROM amad_detect('m', series => '{"device": [1, 2]}', since => '2024-05-01 02:00+00') $$;
CREATE TABLE digests (role text, digest text);
GRANT ALL ON digests TO PUBLIC;
SET ROLE amad_g_owner;
INSERT INTO digests SELECT 'owner', digest();
SET ROLE amad_g_reader;
INSERT INTO digests SELECT 'reader', digest();
RESET ROLE;
SELECT count(DISTINCT digest) AS digests, count(*) AS rows, bool_and(digest LIKE '162 %') AS all FROM digests;

-- ---- a model of one's own comes first, then those of roles one is a member of; two that are granted are ambiguous
CREATE ROLE amad_g_other;
GRANT USAGE, CREATE ON SCHEMA plant TO amad_g_other;
GRANT SELECT ON plant.readings TO amad_g_other;
SET ROLE amad_g_other;
SELECT plant.train('m', 'plant.readings'), plant.train('m', 'plant.readings'), plant.train('m', 'plant.readings');
SELECT amad_grant('m', 'amad_g_reader', 'operate'), amad_grant('m', 'amad_g_member', 'read');
SELECT amad_grant('m', 'amad_g_operator', 'read');
RESET ROLE;
\set VERBOSITY default
SET ROLE amad_g_reader;
SELECT amad_describe('m');
RESET ROLE;
\set VERBOSITY terse
SET ROLE amad_g_member;
SELECT amad_describe('m', 2) IS NOT NULL AS owners;
SELECT amad_describe('m', 3);
SET ROLE amad_g_operator;
-- of those granted, only one may be operated
SELECT amad_deploy('m', 1);
RESET ROLE;
SELECT owner, version FROM amad_models WHERE deployed ORDER BY owner;
SET ROLE amad_g_other;
-- its source is a view of another role, on which it has no more than SELECT
SELECT amad_revoke('m', 'amad_g_operator'), amad_revoke('m', 'amad_g_reader', 'operate');
SELECT amad_revoke('m', 'amad_g_reader', 'operate') AS again;
SELECT plant.train('view', 'plant.readings');
SELECT amad_grant('view', 'amad_g_reader', 'read');
SET ROLE amad_g_reader;
\set VERBOSITY default
SELECT count(*) FROM amad_detect('view');
\set VERBOSITY terse
RESET ROLE;
DELETE FROM amad_models WHERE owner = 'amad_g_other';
-- a grant does not survive the model, even if its rows were deleted by SQL
SELECT model_name, grantee FROM amad_grants WHERE owner = 'amad_g_other' ORDER BY 1, 2;
SET ROLE amad_g_other;
SELECT plant.train('m', 'plant.readings');
SELECT count(*) AS grants FROM amad_grants WHERE model_name = 'm' AND owner = 'amad_g_other';
SELECT amad_drop('m');
RESET ROLE;

-- ---- attacks on a source that is read as its owner
CREATE TABLE log (what text, who name);
GRANT INSERT, SELECT ON log TO PUBLIC;
GRANT USAGE ON SCHEMA plant TO amad_g_reader;
-- functions and operators of the reader, whose schema comes first
SET ROLE amad_g_owner;
CREATE FUNCTION plant.scaled(x float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RETURN halved(x); END $$;
CREATE FUNCTION public.halved(x float8) RETURNS float8 LANGUAGE sql AS 'SELECT x / 2';
CREATE VIEW plant.loose AS SELECT device, ts, plant.scaled(a) AS a, b FROM plant.raw;
SELECT plant.train('loose', 'plant.loose');
SELECT plant.train('query', 'SELECT device, ts, halved(a) AS a, b FROM plant.raw');
SELECT amad_grant('loose', 'amad_g_reader', 'read'), amad_grant('query', 'amad_g_reader', 'read');
SET ROLE amad_g_reader;
CREATE FUNCTION trap.halved(x float8) RETURNS float8 LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.log VALUES ('halved', CURRENT_USER); RETURN x; END $$;
CREATE FUNCTION trap.equal(a int, b int) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.log VALUES ('=', CURRENT_USER); RETURN true; END $$;
CREATE OPERATOR trap.= (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.equal);
SET search_path = trap, public, pg_catalog;
SELECT count(*) FROM amad_detect('query');
SELECT count(*) FROM amad_detect('query', series => '{"device": 1}');
SELECT count(*) FROM amad_detect('m', series => '{"device": 1}', last_n => 5);
-- without the owner's search_path its function does not find what it needs
SELECT count(*) FROM amad_detect('loose');
-- nor does it in a refresh that an operator calls
SET ROLE amad_g_owner;
SELECT amad_watch('loose', target => 'plant.loose_scores', late => '1 hour')->>'changes' AS changes;
SELECT amad_grant('loose', 'amad_g_reader', 'operate');
SET ROLE amad_g_reader;
CALL amad_refresh('loose');
SHOW search_path;
SET ROLE amad_g_owner;
RESET search_path;
CALL amad_refresh('loose');
SELECT state, sqlstate FROM amad_runs JOIN amad_watches USING (watch) WHERE model_name = 'loose' ORDER BY run;
SET ROLE amad_g_reader;
SELECT * FROM log;
-- temporary objects
CREATE TEMP VIEW raw AS SELECT 1 AS device, now() AS ts, 1.0 AS a, trap.halved(2) AS b;
SET search_path = pg_temp, plant, public;
SELECT count(*) FROM amad_detect('query');
RESET search_path;
DROP VIEW pg_temp.raw;
-- conditions that are not values of series columns, and columns that were not granted
SELECT count(*) FROM amad_detect('m', series => '{"note": "secret1"}');
SELECT count(*) FROM amad_detect('m', series => '{"device": "1) OR trap.halved(1"}');
SELECT count(*) FROM amad_detect('m', timestamp_col => 'seen');
SELECT count(*) FROM amad_drift('m', label_col => 'bad');
SELECT count(*) FROM amad_detect('m', source => 'plant.raw');
-- a maintenance query runs with the reader's privileges
SELECT count(*) FROM amad_events('m', maintenance => 'SELECT ts, ts AS until FROM plant.raw');
-- the cached plan of the owner is not a way around the checks, nor the reverse
RESET ROLE;
SET ROLE amad_g_owner;
SELECT count(*) FROM amad_detect('m', last_n => 1);
SET ROLE amad_g_stranger;
SELECT count(*) FROM amad_detect('m', last_n => 1);
SET ROLE amad_g_reader;
SELECT count(*) FROM amad_detect('m', last_n => 1);
RESET ROLE;

-- what the source uses has become the reader's
SET ROLE amad_g_owner;
CREATE TABLE public.shared AS SELECT device, ts, a, b FROM plant.raw;
SELECT plant.train('shared', 'public.shared'), amad_grant('shared', 'amad_g_reader', 'read');
DROP TABLE public.shared;
RESET ROLE;
GRANT CREATE ON SCHEMA public TO amad_g_reader;
SET ROLE amad_g_reader;
SELECT count(*) FROM amad_detect('shared');
CREATE VIEW public.shared AS SELECT 1 AS device, now() AS ts, trap.halved(1) AS a, 1.0::float8 AS b;
GRANT SELECT ON public.shared TO PUBLIC;
\set VERBOSITY default
SELECT count(*) FROM amad_detect('shared');
\set VERBOSITY terse
DROP VIEW public.shared;
-- a function that fits the stored query better than the owner's
CREATE FUNCTION public.halved(x numeric) RETURNS float8 LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.log VALUES ('better', CURRENT_USER); RETURN x; END $$;
RESET ROLE;
SET ROLE amad_g_owner;
CREATE TABLE plant.exact AS SELECT device, ts, a::numeric AS a, b FROM plant.raw;
CREATE FUNCTION public.halved_source() RETURNS text LANGUAGE sql AS
	$$SELECT 'SELECT device, ts, public.halved(a) AS a, b FROM plant.exact'$$;
SELECT plant.train('exact', public.halved_source()) IS NOT NULL AS trained;
SELECT amad_grant('exact', 'amad_g_reader', 'read');
RESET ROLE;
-- so far it has run in the training, for the owner
SELECT DISTINCT * FROM log;
TRUNCATE log;
SET ROLE amad_g_reader;
SELECT count(*) FROM amad_detect('exact');
SELECT * FROM log;
DROP FUNCTION public.halved(numeric);
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM amad_g_reader;

-- a table of the reader that it replaces by a view: not for a superuser, nor for a role that is a member of the reader's
CREATE ROLE amad_g_chief IN ROLE amad_g_reader;
GRANT CREATE ON SCHEMA public TO amad_g_chief;
SET ROLE amad_g_reader;
CREATE TABLE trap.lent AS SELECT 1 AS device, timestamptz '2024-05-01' + i * interval '1 minute' AS ts, sin(i * 0.2) AS a, 1.0::float8 AS b
FROM generate_series(1, 100) i;
RESET ROLE;
SELECT plant.train('lent', 'trap.lent'), amad_grant('lent', 'amad_g_reader', 'read');
SET ROLE amad_g_chief;
SELECT plant.train('chief', 'trap.lent'), amad_grant('chief', 'amad_g_reader', 'operate');
SELECT amad_watch('chief', target => 'public.chief_scores', late => '1 hour')->>'changes' AS changes;
SET ROLE amad_g_reader;
ALTER TABLE trap.lent RENAME TO kept;
CREATE VIEW trap.lent AS SELECT device, ts, trap.halved(a) AS a, b FROM trap.kept;
\set VERBOSITY default
DO $$ BEGIN PERFORM count(*) FROM amad_detect('lent'); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE 'refused'; END $$;
SELECT count(*) FROM amad_detect('chief');
-- nor in a refresh that it calls as an operator
CALL amad_refresh('chief');
\set VERBOSITY terse
RESET ROLE;
SELECT * FROM log;
-- a temporary view instead of a table that a function of the owner names without its schema
SET ROLE amad_g_owner;
CREATE TABLE plant.factors AS SELECT 2.0::float8 AS k;
CREATE FUNCTION plant.multiplied(x float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN RETURN x * (SELECT k FROM factors); END $$;
CREATE VIEW plant.multiplied AS SELECT device, ts, plant.multiplied(a) AS a, b FROM plant.raw;
SET search_path = plant, public;
SELECT train('multiplied', 'plant.multiplied'), amad_grant('multiplied', 'amad_g_reader', 'operate');
SELECT amad_watch('multiplied', target => 'plant.multiplied_scores', late => '1 hour')->>'changes' AS changes;
RESET search_path;
SET ROLE amad_g_reader;
CREATE TEMP VIEW factors AS SELECT trap.halved(2) AS k;
GRANT SELECT ON factors TO PUBLIC;
\set VERBOSITY default
SELECT count(*) FROM amad_detect('multiplied');
CALL amad_refresh('multiplied');
\set VERBOSITY terse
DISCARD TEMP;
RESET ROLE;
SELECT * FROM log;

-- an error on a row that the reader cannot read
SET ROLE amad_g_owner;
CREATE TABLE plant.texts AS SELECT ts, 'one' AS device, a::text AS a, b FROM plant.raw WHERE device = 1;
CREATE VIEW plant.parsed AS SELECT device, ts, a::float8 AS a, b FROM plant.texts;
SELECT plant.train('parsed', 'plant.parsed'), amad_grant('parsed', 'amad_g_reader', 'read');
UPDATE plant.texts SET a = 'top secret' WHERE ts = '2024-05-01 01:00+00';
\set VERBOSITY default
SELECT count(*) FROM amad_detect('parsed');
SET ROLE amad_g_reader;
SELECT count(*) FROM amad_detect('parsed');
SELECT count(*) FROM amad_detect('parsed', since => '2024-05-01 00:30+00', until => '2024-05-01 02:00+00');
\set VERBOSITY terse
RESET ROLE;
-- of any class
SET ROLE amad_g_owner;
CREATE FUNCTION plant.named(x float8, note text) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('grants.armed', true) = 'on' THEN
		EXECUTE format('SELECT 1 FROM %I', note);
	END IF;
	RETURN x;
END $$;
CREATE VIEW plant.named AS SELECT device, ts, plant.named(a, note) AS a, b FROM plant.raw;
SELECT plant.train('named', 'plant.named'), amad_grant('named', 'amad_g_reader', 'read');
SET ROLE amad_g_reader;
SET grants.armed = on;
\set VERBOSITY default
SELECT count(*) FROM amad_detect('named');
\set VERBOSITY terse
RESET grants.armed;
RESET ROLE;

-- code of the owner that runs for a reader cannot become the reader or the session's role
SET ROLE amad_g_owner;
CREATE FUNCTION plant.escape() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('grants.armed', true) = 'on' THEN
		EXECUTE 'RESET ROLE';
	END IF;
	RETURN true;
END $$;
CREATE VIEW plant.escaping AS SELECT device, ts, a, b FROM plant.raw WHERE plant.escape();
SELECT plant.train('escaping', 'plant.escaping'), amad_grant('escaping', 'public', 'read');
RESET ROLE;
SET grants.armed = on;
SELECT count(*) FROM amad_detect('escaping');
SET ROLE amad_g_stranger;
SELECT count(*) FROM amad_detect('escaping');
SELECT CURRENT_USER;
RESET grants.armed;
SELECT count(*) FROM amad_detect('escaping');
SELECT grantee, privilege FROM amad_grants;
RESET ROLE;
SET ROLE amad_g_owner;
SELECT amad_revoke('escaping', 'amad_g_stranger') AS not_that, amad_revoke('escaping', 'public') AS everybody;
SET ROLE amad_g_stranger;
SELECT count(*) FROM amad_detect('escaping');
RESET ROLE;

-- a view or function of another role lends its models, not its grants to whoever calls
SET ROLE amad_g_owner;
CREATE VIEW plant.models AS SELECT model_name FROM amad_models;
CREATE FUNCTION plant.lend() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public AS
	$$SELECT count(*) FROM amad_detect('m')$$;
GRANT SELECT ON plant.models TO PUBLIC;
GRANT USAGE ON SCHEMA plant TO PUBLIC;
SET ROLE amad_g_stranger;
SELECT count(*) FROM plant.models;
SELECT plant.lend();
RESET ROLE;

-- rows that the owner of the tables has forged: it gets no privileges that it does not have
CREATE ROLE amad_g_dba;
SELECT relowner::regrole AS extowner FROM pg_class WHERE oid = 'amad_models'::regclass \gset
ALTER TABLE amad_models OWNER TO amad_g_dba;
SET ROLE amad_g_reader;
-- amad_grants belongs to another role
SELECT count(*) FROM amad_models;
RESET ROLE;
ALTER TABLE amad_grants OWNER TO amad_g_dba;
GRANT CREATE, USAGE ON SCHEMA public TO amad_g_dba;
SET ROLE amad_g_dba;
CREATE FUNCTION public.forged() RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.log VALUES ('forged', CURRENT_USER); RETURN true; END $$;
UPDATE amad_models SET source = '{"source": "SELECT device, ts, a, b FROM plant.raw WHERE public.forged()", "search_path": "public"}'
WHERE model_name = 'm' AND owner = 'amad_g_owner';
RESET ROLE;
SET ROLE amad_g_reader;
\set VERBOSITY default
SELECT count(*) FROM amad_detect('m');
RESET ROLE;
UPDATE amad_models SET owner = CURRENT_USER, owner_oid = NULL WHERE model_name = 'm' AND owner = 'amad_g_owner';
UPDATE amad_grants SET owner = CURRENT_USER, owner_oid = NULL WHERE model_name = 'm' AND owner = 'amad_g_owner';
SET ROLE amad_g_reader;
\set VERBOSITY terse
DO $$ BEGIN PERFORM count(*) FROM amad_detect('m'); EXCEPTION WHEN insufficient_privilege THEN RAISE NOTICE 'refused'; END $$;
RESET ROLE;
UPDATE amad_models SET owner = 'amad_g_owner', owner_oid = NULL WHERE model_name = 'm';
UPDATE amad_grants SET owner = 'amad_g_owner', owner_oid = NULL WHERE model_name = 'm';
-- with the privileges of the owner it may; but its function is not among what the owner relies on
GRANT amad_g_owner TO amad_g_dba;
SET ROLE amad_g_reader;
SELECT count(*) FROM amad_detect('m');
RESET ROLE;
SELECT * FROM log;
UPDATE amad_models SET source = '{"source": "plant.readings", "timestamp_col": "ts"}' WHERE model_name = 'm';
SET ROLE amad_g_reader;
SELECT count(*) FROM amad_detect('m');
RESET ROLE;
-- the same with the tables of watches, in a refresh
REVOKE amad_g_owner FROM amad_g_dba;
UPDATE amad_models SET source = '{"source": "SELECT device, ts, a, b FROM plant.raw WHERE public.forged()", "search_path": "public"}'
WHERE model_name = 'm';
SET ROLE amad_g_operator;
\set VERBOSITY default
CALL amad_refresh('m');
RESET ROLE;
ALTER TABLE amad_models OWNER TO :extowner;
ALTER TABLE amad_grants OWNER TO :extowner;
ALTER TABLE amad_watches OWNER TO amad_g_dba;
ALTER TABLE amad_changes OWNER TO amad_g_dba;
ALTER TABLE amad_overflow OWNER TO amad_g_dba;
ALTER TABLE amad_pending OWNER TO amad_g_dba;
ALTER TABLE amad_series OWNER TO amad_g_dba;
ALTER TABLE amad_runs OWNER TO amad_g_dba;
ALTER TABLE amad_incidents OWNER TO amad_g_dba;
ALTER TABLE amad_outbox OWNER TO amad_g_dba;
ALTER TABLE amad_verdicts OWNER TO amad_g_dba;
SET ROLE amad_g_operator;
CALL amad_refresh('m');
\set VERBOSITY terse
RESET ROLE;
SELECT * FROM log;
ALTER TABLE amad_watches OWNER TO :extowner;
ALTER TABLE amad_changes OWNER TO :extowner;
ALTER TABLE amad_overflow OWNER TO :extowner;
ALTER TABLE amad_pending OWNER TO :extowner;
ALTER TABLE amad_series OWNER TO :extowner;
ALTER TABLE amad_runs OWNER TO :extowner;
ALTER TABLE amad_incidents OWNER TO :extowner;
ALTER TABLE amad_outbox OWNER TO :extowner;
ALTER TABLE amad_verdicts OWNER TO :extowner;
UPDATE amad_models SET source = '{"source": "plant.readings", "timestamp_col": "ts"}' WHERE model_name = 'm';
-- code attached to the table
CREATE TRIGGER t BEFORE INSERT OR DELETE ON amad_grants FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SET ROLE amad_g_owner;
SELECT amad_grant('m', 'amad_g_stranger', 'read');
SELECT amad_revoke('m', 'amad_g_readers');
RESET ROLE;
DROP TRIGGER t ON amad_grants;

-- ---- revoked while it is used
SET ROLE amad_g_reader;
PREPARE detection AS SELECT count(*) FROM amad_detect('m');
EXECUTE detection;
RESET ROLE;
SET ROLE amad_g_owner;
SELECT amad_revoke('m', 'amad_g_readers', 'operate') AS operate, amad_revoke('m', 'amad_g_readers', 'read') AS read;
SET ROLE amad_g_reader;
EXECUTE detection;
SELECT amad_describe('m');
DEALLOCATE detection;
SET ROLE amad_g_owner;
-- read includes operate
SELECT amad_revoke('m', 'amad_g_operator', 'read');
SET ROLE amad_g_operator;
SELECT amad_pause('m');
RESET ROLE;

-- ---- roles that are renamed, dropped, and created again
SET ROLE amad_g_owner;
SELECT amad_grant('m', 'amad_g_other', 'read'), amad_grant('m', 'amad_g_stranger', 'operate');
RESET ROLE;
DROP OWNED BY amad_g_other;
DROP ROLE amad_g_other;
CREATE ROLE amad_g_other;
ALTER ROLE amad_g_stranger RENAME TO amad_g_known;
CREATE ROLE amad_g_stranger;
SET ROLE amad_g_other;
SELECT amad_describe('m');
SET ROLE amad_g_stranger;
SELECT amad_describe('m');
SET ROLE amad_g_known;
SELECT count(*) AS seen FROM amad_models;
RESET ROLE;
SELECT grantee, privilege, grantee_oid IN (SELECT oid FROM pg_roles) AS role FROM amad_grants WHERE model_name = 'm' ORDER BY grantee;
SET ROLE amad_g_owner;
-- a grant corrects the names and forgets dropped roles
SELECT amad_grant('m', 'amad_g_stranger', 'read');
SELECT grantee, privilege FROM amad_grants WHERE model_name = 'm' ORDER BY grantee;
SELECT amad_revoke('m', 'amad_g_stranger') AS one, amad_revoke('m', 'amad_g_known') AS other, amad_revoke('m', 'amad_g_known') AS again;
-- grants of another cluster, as after a restore: the names count, and a grant makes them those of this one
SELECT amad_grant('m', 'amad_g_reader', 'read');
RESET ROLE;
UPDATE amad_grants SET owner_oid = 1, owner_cluster = 42, grantee_oid = 1, grantee_cluster = 42 WHERE model_name = 'm';
SET ROLE amad_g_reader;
SELECT count(*) FROM amad_detect('m');
SET ROLE amad_g_owner;
SELECT amad_grant('m', 'amad_g_reader', 'operate');
RESET ROLE;
SELECT privilege, owner_cluster = system_identifier AS owner, grantee_oid = 'amad_g_reader'::regrole AS grantee
FROM amad_grants, pg_control_system() WHERE model_name = 'm' ORDER BY 1;

-- ---- a model that is dropped takes its grants with it
SET ROLE amad_g_owner;
SELECT amad_drop('m', 2) AS one;
SELECT count(*) AS grants FROM amad_grants WHERE model_name = 'm';
SELECT amad_drop('m') AS last;
SELECT count(*) AS grants FROM amad_grants WHERE model_name = 'm';
SELECT plant.train('m', 'plant.readings');
SET ROLE amad_g_reader;
SELECT amad_describe('m');
RESET ROLE;
SET ROLE amad_g_owner;
BEGIN READ ONLY;
SELECT amad_grant('m', 'amad_g_reader', 'read');
ROLLBACK;
SELECT amad_revoke(NULL, 'amad_g_reader') IS NULL AS none;
RESET ROLE;

SET ROLE amad_g_owner;
SELECT amad_unwatch('loose'), amad_unwatch('multiplied');
SET ROLE amad_g_chief;
SELECT amad_unwatch('chief');
RESET ROLE;
SELECT amad_drop('lent');
SELECT count(*) AS watches FROM amad_watches;
DELETE FROM amad_models WHERE owner = 'amad_g_chief';
DELETE FROM amad_models WHERE owner = 'amad_g_owner';
DELETE FROM amad_grants;
SET client_min_messages = warning;
DROP SCHEMA plant, trap CASCADE;
DROP TABLE calls, digests, log;
DROP FUNCTION outcome, digest, forged, halved_source, halved(float8);
DROP OWNED BY amad_g_owner, amad_g_member, amad_g_operator, amad_g_readers, amad_g_reader, amad_g_stranger, amad_g_known, amad_g_other,
	amad_g_dba, amad_g_chief CASCADE;
DROP ROLE amad_g_owner, amad_g_member, amad_g_operator, amad_g_readers, amad_g_reader, amad_g_stranger, amad_g_known, amad_g_other, amad_g_dba,
	amad_g_chief;
