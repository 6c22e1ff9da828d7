-- ---- the table of models -----------------------------------------------------

-- The owner's name comes with its oid and the cluster in which that oid holds: there the oid decides, so
-- renamed roles keep their models; elsewhere (a restored dump, a subscriber, another node) the name does.
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
COMMENT ON COLUMN amad_models.owner IS 'role that trained the model; it and its members see the row';
COMMENT ON COLUMN amad_models.owner_oid IS 'oid of that role in owner_cluster, where it decides; null: the name decides';
COMMENT ON COLUMN amad_models.owner_cluster IS 'system identifier of the cluster in which owner_oid holds';
COMMENT ON COLUMN amad_models.model_name IS 'name, chosen in amad_train()';
COMMENT ON COLUMN amad_models.version IS 'counts the trainings of owner under model_name, from 1';
COMMENT ON COLUMN amad_models.deployed IS 'whether this is the version that scoring by name uses';
COMMENT ON COLUMN amad_models.features IS 'names of the features, in order; null if not known';
COMMENT ON COLUMN amad_models.options IS 'all options in force in the training';
COMMENT ON COLUMN amad_models.training IS 'facts of the training: rows, steps, loss curve, seconds …';
COMMENT ON COLUMN amad_models.source IS 'relation or query that the rows came from, with its columns; null if not known';
COMMENT ON COLUMN amad_models.model IS 'the model itself';
COMMENT ON COLUMN amad_models.created_at IS 'time the model was stored';

-- Of a trusted extension, too, which a superuser's rights install: who created it can dump the table.
ALTER TABLE amad_models OWNER TO @extowner@;

CREATE FUNCTION amad_may_use(owner name, owner_oid oid, owner_cluster bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_may_use' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_may_use(owner name, owner_oid oid, owner_cluster bigint) IS
	'whether the current role has the rights of the owner of a row of amad_models';

-- Rows are made and changed by functions only.
ALTER TABLE amad_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY amad_models_select ON amad_models FOR SELECT USING (amad_may_use(owner, owner_oid, owner_cluster));
CREATE POLICY amad_models_delete ON amad_models FOR DELETE USING (amad_may_use(owner, owner_oid, owner_cluster));
COMMENT ON POLICY amad_models_select ON amad_models IS 'models of the role and of roles it is a member of';
COMMENT ON POLICY amad_models_delete ON amad_models IS 'models of the role and of roles it is a member of';
GRANT SELECT, DELETE ON amad_models TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_models', '');

