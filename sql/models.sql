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

-- Only functions insert and update rows.
ALTER TABLE amad_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY amad_models_select ON amad_models FOR SELECT USING (amad_may_use(owner, owner_oid, owner_cluster));
CREATE POLICY amad_models_delete ON amad_models FOR DELETE USING (amad_may_use(owner, owner_oid, owner_cluster));
COMMENT ON POLICY amad_models_select ON amad_models IS 'models owned by the role or by roles that it is a member of';
COMMENT ON POLICY amad_models_delete ON amad_models IS 'models owned by the role or by roles that it is a member of';
GRANT SELECT, DELETE ON amad_models TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_models', '');
