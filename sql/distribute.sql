-- ---- models on all nodes of a Citus cluster ---------------------------------------

CREATE FUNCTION amad_distribute() RETURNS void
	AS 'MODULE_PATHNAME', 'amad_distribute' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_distribute IS
	'make amad_models and amad_grants reference tables of Citus, which have a copy on each node, nodes added later included';

CREATE FUNCTION amad_undistribute() RETURNS void
	AS 'MODULE_PATHNAME', 'amad_undistribute' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_undistribute IS
	'undo amad_distribute(): the models are on the coordinator only';
