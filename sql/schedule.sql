-- ---- jobs that refresh watches ---------------------------------------------------------

CREATE FUNCTION amad_schedule(model_name text, schedule text DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_schedule' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_schedule IS
	'create the jobs that refresh a watch and care for its model, by pg_cron or TimescaleDB, or replace them; without them, return how an administrator can';

CREATE FUNCTION amad_unschedule(model_name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_unschedule' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_unschedule IS
	'remove the jobs of a watch; false if there are none';

CREATE FUNCTION amad_find_job(watch uuid, model_name text, owner name,
		OUT scheduler text, OUT job bigint, OUT state text, OUT message text)
	AS 'MODULE_PATHNAME', 'amad_find_job' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION amad_find_job IS
	'the job that refreshes a watch, as amad_status shows it';

CREATE PROCEDURE amad_job(job_id integer, config jsonb)
	AS 'MODULE_PATHNAME', 'amad_job' LANGUAGE C;
COMMENT ON PROCEDURE amad_job IS
	'amad_refresh() or amad_care() for jobs of TimescaleDB, which have the name of the model in their configuration';

CREATE FUNCTION amad_check_job(config jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_check_job' LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION amad_check_job IS
	'raise an error if amad_job() cannot have this configuration';

