\echo Use "CREATE EXTENSION amad" to load this file. \quit

-- ---- the type of a model -----------------------------------------------------

CREATE TYPE amad_model;

CREATE FUNCTION amad_model_in(cstring) RETURNS amad_model
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_out(amad_model) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_recv(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_send(amad_model) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION amad_model_in IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_out IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_recv IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_send IS 'I/O function of amad_model';

CREATE TYPE amad_model (
	INPUT = amad_model_in,
	OUTPUT = amad_model_out,
	RECEIVE = amad_model_recv,
	SEND = amad_model_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = external
);
COMMENT ON TYPE amad_model IS
	'trained anomaly detection model: options, scaling, weights, calibration, threshold';

CREATE FUNCTION amad_model_error(model amad_model) RETURNS text
	AS 'MODULE_PATHNAME', 'amad_model_error' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_model_error IS
	'reason why a model cannot be used; null if it is intact';

-- ---- the table of models -----------------------------------------------------

-- The owner is identified by oid in the cluster in which the row was stored, so that a renamed role keeps its
-- models, and by name elsewhere (after a restore, on a subscriber or another node).
CREATE TABLE amad_models (
	owner name NOT NULL DEFAULT CURRENT_USER,
	owner_oid oid,
	owner_cluster bigint,
	model_name text NOT NULL CHECK (model_name OPERATOR(pg_catalog.<>) ''),
	version integer NOT NULL CHECK (version OPERATOR(pg_catalog.>) 0),
	deployed boolean NOT NULL DEFAULT true,
	features text[],
	options jsonb NOT NULL,
	training jsonb NOT NULL,
	source jsonb,
	model amad_model NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (model_name, owner, version)
);

COMMENT ON TABLE amad_models IS 'trained models, versioned by name and owner';
COMMENT ON COLUMN amad_models.owner IS 'role that trained the model; the row is visible to it and its members';
COMMENT ON COLUMN amad_models.owner_oid IS 'oid of that role in owner_cluster; elsewhere, or if null, the name counts';
COMMENT ON COLUMN amad_models.owner_cluster IS 'system identifier of the cluster to which owner_oid belongs';
COMMENT ON COLUMN amad_models.model_name IS 'name given to amad_train()';
COMMENT ON COLUMN amad_models.version IS 'number of the version among those of owner and model_name, from 1';
COMMENT ON COLUMN amad_models.deployed IS 'whether scoring by name uses this version';
COMMENT ON COLUMN amad_models.features IS 'names of the features, in order; null if unknown';
COMMENT ON COLUMN amad_models.options IS 'all options used in training, defaults included';
COMMENT ON COLUMN amad_models.training IS 'statistics of the training: rows, steps, loss curve, seconds …';
COMMENT ON COLUMN amad_models.source IS
	'relation or query that the model was trained on, with its columns; null if unknown';
COMMENT ON COLUMN amad_models.model IS 'the model itself';
COMMENT ON COLUMN amad_models.created_at IS 'time at which the model was stored';

-- A trusted extension is installed with a superuser's privileges; its creator must be able to dump the table.
ALTER TABLE amad_models OWNER TO @extowner@;

CREATE FUNCTION amad_may_use(owner name, owner_oid oid, owner_cluster bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_may_use' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_may_use IS
	'whether the current role has the privileges of the owner of a row of amad_models';

CREATE FUNCTION amad_may_read(owner name, owner_oid oid, owner_cluster bigint, model_name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_may_read' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_may_read IS
	'whether the current role has the privileges of the owner of a model, or a grant on the model';

-- Only functions insert and update rows.
ALTER TABLE amad_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY amad_models_select ON amad_models FOR SELECT
	USING (amad_may_read(owner, owner_oid, owner_cluster, model_name));
CREATE POLICY amad_models_delete ON amad_models FOR DELETE USING (amad_may_use(owner, owner_oid, owner_cluster));
COMMENT ON POLICY amad_models_select ON amad_models IS
	'models owned by the role or by roles that it is a member of, and those that it has a grant on';
COMMENT ON POLICY amad_models_delete ON amad_models IS 'models owned by the role or by roles that it is a member of';
GRANT SELECT, DELETE ON amad_models TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_models', '');

-- ---- versions of a model ---------------------------------------------------------

CREATE FUNCTION amad_deploy(model_name text, version integer) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_deploy' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_deploy IS
	'deploy a version of a model that you own or may operate: scoring by name then uses it';

CREATE FUNCTION amad_drop(model_name text, version integer DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'amad_drop' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_drop IS
	'drop a version of one of your own models, or all versions (null); returns the number of versions dropped';

-- ---- grants ------------------------------------------------------------------------

-- granted_at is part of the key, because a new role can have the old name of one that was renamed.
CREATE TABLE amad_grants (
	owner name NOT NULL,
	owner_oid oid,
	owner_cluster bigint,
	model_name text NOT NULL,
	grantee name NOT NULL,
	grantee_oid oid,
	grantee_cluster bigint,
	privilege text NOT NULL CHECK (privilege OPERATOR(pg_catalog.=) 'read' OR privilege OPERATOR(pg_catalog.=) 'operate'),
	granted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (model_name, owner, grantee, privilege, granted_at)
);
COMMENT ON TABLE amad_grants IS 'what owners of models allow other roles to do with them';
COMMENT ON COLUMN amad_grants.owner IS 'owner of the model';
COMMENT ON COLUMN amad_grants.owner_oid IS 'oid of that role in owner_cluster; elsewhere, or if null, the name counts';
COMMENT ON COLUMN amad_grants.owner_cluster IS 'system identifier of the cluster to which owner_oid belongs';
COMMENT ON COLUMN amad_grants.model_name IS 'name of the model; a grant is on all of its versions';
COMMENT ON COLUMN amad_grants.grantee IS 'role that has the privilege, with its members; public: all roles';
COMMENT ON COLUMN amad_grants.grantee_oid IS 'oid of that role in grantee_cluster; elsewhere, or if null, the name counts';
COMMENT ON COLUMN amad_grants.grantee_cluster IS 'system identifier of the cluster to which grantee_oid belongs';
COMMENT ON COLUMN amad_grants.privilege IS 'read: see the model and its watch, and score by it; operate: also deploy, refresh, pause and schedule';
COMMENT ON COLUMN amad_grants.granted_at IS 'time at which it was granted';

ALTER TABLE amad_grants OWNER TO @extowner@;

-- Only functions write.
ALTER TABLE amad_grants ENABLE ROW LEVEL SECURITY;
CREATE POLICY amad_grants_select ON amad_grants FOR SELECT
	USING (amad_may_use(owner, owner_oid, owner_cluster) OR amad_may_use(grantee, grantee_oid, grantee_cluster)
		OR grantee OPERATOR(pg_catalog.=) 'public');
COMMENT ON POLICY amad_grants_select ON amad_grants IS
	'grants by and to the role and roles that it is a member of, and grants to all roles';
GRANT SELECT ON amad_grants TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_grants', '');

CREATE FUNCTION amad_grant(model_name text, role name, privilege text) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_grant' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_grant IS
	'grant a role, or public, the privilege read or operate on one of your own models';

CREATE FUNCTION amad_revoke(model_name text, role name, privilege text DEFAULT NULL) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_revoke' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_revoke IS
	'revoke a privilege on one of your own models, and those that include it; null: all; false if the role did not have it';

-- ---- contents of a model --------------------------------------------------------

CREATE FUNCTION amad_describe(model amad_model) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_describe' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION amad_describe(model amad_model) IS
	'options, scaling, calibration, threshold and training statistics of a model';

CREATE FUNCTION amad_describe(model_name text, version integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_describe_name' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_describe(model_name text, version integer) IS
	'options, scaling, calibration, threshold and training statistics of a stored model; default: the deployed version';

CREATE FUNCTION amad_weights(model amad_model, OUT name text, OUT shape integer[], OUT data real[]) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'amad_weights' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 60;
COMMENT ON FUNCTION amad_weights IS
	'weights of a model, one row per tensor, in row-major order';

-- ---- progress of long commands ---------------------------------------------------

CREATE FUNCTION amad_progress() RETURNS TABLE (pid integer, datid oid, usesysid oid, command text, phase text,
		share double precision, started timestamptz, eta timestamptz, rows_done bigint, rows_total bigint, workers integer)
	AS 'MODULE_PATHNAME', 'amad_progress' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION amad_progress IS
	'progress of the trainings, detections and recalibrations that run now; the view amad_progress also has names';

CREATE VIEW amad_progress AS
	SELECT p.pid, p.datid, d.datname, pg_catalog.pg_get_userbyid(p.usesysid) AS usename, p.command, p.phase, p.share, p.started,
		p.eta, p.rows_done, p.rows_total, p.workers
	FROM amad_progress() AS p LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) p.datid;
COMMENT ON VIEW amad_progress IS 'progress of the trainings, detections and recalibrations that run now, in all databases';
COMMENT ON COLUMN amad_progress.pid IS 'process of the backend, as in pg_stat_activity';
COMMENT ON COLUMN amad_progress.datid IS 'database';
COMMENT ON COLUMN amad_progress.datname IS 'name of the database';
COMMENT ON COLUMN amad_progress.usename IS 'role of the session';
COMMENT ON COLUMN amad_progress.command IS
	'train, retrain, detect, events, drift, recalibrate, evaluate or estimate; null, like all that follows, without privileges of the role';
COMMENT ON COLUMN amad_progress.phase IS
	'starting, reading rows, preparing rows, training, calibrating, storing or scoring rows';
COMMENT ON COLUMN amad_progress.share IS 'time spent as a share of the expected time, 0 to 1; null: not known yet';
COMMENT ON COLUMN amad_progress.started IS 'time at which the command began';
COMMENT ON COLUMN amad_progress.eta IS 'time at which the command is expected to end';
COMMENT ON COLUMN amad_progress.rows_done IS 'rows processed in this phase; in training, each time that a row is used';
COMMENT ON COLUMN amad_progress.rows_total IS 'rows to process in this phase, partly estimated';
COMMENT ON COLUMN amad_progress.workers IS 'parallel workers at work, without the backend itself';
GRANT SELECT ON amad_progress TO PUBLIC;
