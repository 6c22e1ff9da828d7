-- New scales and thresholds from recent rows; features that have drifted
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET client_min_messages = warning;
SET maintenance_work_mem = '64MB';
SET amad.max_parallel_workers = 0;
CREATE SCHEMA recalibration;
SET search_path = recalibration, public, helpers;
\set o '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 60, "contamination": 0.02}'

-- at n = 1000 flow's level shifts, and pressure's noise grows
CREATE TABLE readings AS
SELECT '2026-01-01 00:00+00'::timestamptz + n * interval '1 min' AS ts, n::bigint AS n,
	sin(n / 7.0) + 0.3 * noise(n) + CASE WHEN n > 1000 THEN 1.5 ELSE 0 END AS flow,
	cos(n / 9.0) + 0.3 * noise(n + 10000) * CASE WHEN n > 1000 THEN 12 ELSE 1 END AS pressure,
	n % 5 + 0.3 * noise(n + 20000) AS temp, 7.0::float8 AS fixed, false AS bad
FROM generate_series(1, 2500) n;
SELECT amad_train('m', 'SELECT ts, flow, pressure, temp, fixed FROM recalibration.readings WHERE n <= 1000',
	options => :'o')->'version' AS version;
CREATE VIEW recent AS SELECT ts, flow, pressure, temp, fixed, bad FROM readings;

-- how many of the rows are flagged, and by which version
CREATE FUNCTION flagged(since timestamptz DEFAULT '2026-01-02 09:00+00', OUT rows text, OUT version int)
LANGUAGE sql AS $$
	SELECT CASE WHEN avg(is_anomaly::int) < 0.07 THEN 'few' WHEN avg(is_anomaly::int) > 0.7 THEN 'most' ELSE 'some' END,
		max(model_version)
	FROM amad_detect('m', since => $1, source => 'recent')
$$;

-- ---- drift
-- before the shift, after it
SELECT feature, rows, drifted, action FROM amad_drift('m', until => '2026-01-01 16:00+00', source => 'recent');
SELECT feature, rows, flagged > 0.7 AS flagged, severity > 1 AS severe, round(shift::numeric) AS shift,
	scale > 1.5 AS scale, clipped < 0.1 AS clipped, residual_ratio > 4 AS residual, drifted, action
FROM amad_drift('m', since => '2026-01-01 20:00+00', source => 'recent');
-- a value beyond the clip needs a retraining, not a recalibration
SELECT feature, round(clipped::numeric, 1) AS clipped, drifted, action
FROM amad_drift('m', since => '2026-01-01 20:00+00',
	source => 'SELECT ts, flow, pressure, temp, fixed + 1 AS fixed FROM readings')
WHERE feature = 'fixed' OR feature IS NULL;
-- without rows, and with too few
SELECT count(*) FROM amad_drift('m', since => '2030-01-01', source => 'recent');
SELECT feature, rows, flagged, severity, clipped, drifted, action
FROM amad_drift('m', last_n => 5, source => 'SELECT * FROM recent ORDER BY ts LIMIT 5');
-- a feature that is never given
SELECT feature, rows, shift, clipped, residual_ratio, drifted
FROM amad_drift('m', source => 'SELECT ts, flow, pressure, NULL::float8 AS temp, fixed FROM readings WHERE n <= 1000')
WHERE feature = 'temp';

-- ---- recalibration
SELECT flagged();
SELECT s - '{seconds,threshold,threshold_ratio,flagged,flagged_before}'::text[] AS summary,
	(s->>'flagged_before')::float8 > 0.7 AS before,
	(s->>'flagged')::float8 < 0.05 AS flagged
FROM amad_recalibrate('m', since => '2026-01-01 17:00+00', until => '2026-01-02 09:00+00', source => 'recent') s;
SELECT flagged();
SELECT feature, drifted, action FROM amad_drift('m', since => '2026-01-02 09:00+00', source => 'recent');
-- the network, the scaling, the source and the facts of the training do not change
SELECT a.version, b.version, a.source = b.source AS source, a.options = b.options AS options, b.deployed,
	a.training = b.training - 'recalibration' AS training, b.training->'recalibration' AS recalibration,
	amad_describe(a.model)->'scaling' = amad_describe(b.model)->'scaling' AS scaling,
	amad_describe(a.model)->'calibration' = amad_describe(b.model)->'calibration' AS calibration,
	(SELECT bool_and(x.data = y.data) FROM amad_weights(a.model) x JOIN amad_weights(b.model) y USING (name)) AS weights
FROM amad_models a, amad_models b WHERE a.model_name = 'm' AND b.model_name = 'm' AND a.version = 1 AND b.version = 2;
-- the same rows give the same bytes
SELECT amad_deploy('m', 1);
SELECT amad_recalibrate('m', since => '2026-01-01 17:00+00', until => '2026-01-02 09:00+00',
	source => 'recent')->'version' AS version;
SELECT count(DISTINCT model::text) FROM amad_models WHERE model_name = 'm' AND version IN (2, 3);
-- recalibration of a recalibrated version: its facts are replaced
SELECT amad_recalibrate('m', last_n => 600, source => 'recent', options => '{"trim": 0}')->'from_version'
	AS from_version;
SELECT training->'recalibration' AS recalibration FROM amad_models WHERE model_name = 'm' AND version = 4;
-- a rollback leaves nothing behind
BEGIN;
SELECT amad_recalibrate('m', source => 'recent')->'version' AS version;
ROLLBACK;
SELECT max(version), max(version) FILTER (WHERE deployed) AS deployed FROM amad_models WHERE model_name = 'm';

-- ---- anomalies among the recent rows
-- where nothing has drifted, an incident does not make the model blind
CREATE VIEW incident AS
SELECT ts, flow + CASE WHEN n BETWEEN 500 AND 514 THEN 8 ELSE 0 END AS flow, pressure, temp, fixed
FROM readings WHERE n <= 1000;
BEGIN;
SELECT amad_deploy('m', 1);
SELECT (s->>'flagged_before')::float8 BETWEEN 0.01 AND 0.05 AS before,
	(s->>'flagged')::float8 / (s->>'flagged_before')::float8 BETWEEN 0.8 AND 1.25 AS as_before
FROM amad_recalibrate('m', since => '2026-01-01', source => 'incident') s;
ROLLBACK;
-- a tenth of them, in bursts, neither raises the threshold nor widens the scales …
CREATE VIEW spoiled AS
SELECT ts, flow + CASE WHEN n % 100 < 10 THEN 8 ELSE 0 END AS flow, pressure, temp, fixed, n % 100 < 10 AS bad
FROM readings;
CREATE FUNCTION rho_of(v int) RETURNS float8 LANGUAGE sql AS $$
	SELECT (amad_describe('m', v)->'calibration'->'rho'->>0)::float8 $$;
SELECT amad_drop('m', 4) FROM amad_deploy('m', 1);
SELECT amad_recalibrate('m', since => '2026-01-01 17:00+00', until => '2026-01-02 09:00+00',
	source => 'spoiled')->'version' AS version;
SELECT rho_of(4) / rho_of(2) BETWEEN 0.7 AND 1.4 AS rho;
SELECT flagged();
-- … as it does without trimming
SELECT amad_deploy('m', 1);
SELECT amad_recalibrate('m', since => '2026-01-01 17:00+00', until => '2026-01-02 09:00+00', source => 'spoiled',
	options => '{"trim": 0}')->'version' AS version;
SELECT rho_of(5) / rho_of(2) > 1.5 AS rho;
-- labelled anomalies do not count at all
SELECT amad_deploy('m', 1);
SELECT s->'rows' AS rows, s->'labelled_rows' AS labelled
FROM amad_recalibrate('m', since => '2026-01-01 17:00+00', until => '2026-01-02 09:00+00', source => 'spoiled',
	label_col => 'bad') s;
SELECT rho_of(6) / rho_of(2) BETWEEN 0.7 AND 1.4 AS rho;

-- ---- options
SELECT amad_deploy('m', 1);
SELECT amad_recalibrate('m', since => '2026-01-01 17:00+00', source => 'recent',
	options => '{"threshold_only": true}')->'version' AS version;
SELECT amad_describe(a.model)->'calibration' = amad_describe(b.model)->'calibration' AS calibration,
	amad_describe(b.model)->'threshold' > amad_describe(a.model)->'threshold' AS threshold
FROM amad_models a, amad_models b WHERE a.model_name = 'm' AND b.model_name = 'm' AND a.version = 1 AND b.version = 7;
SELECT amad_recalibrate('m', since => '2026-01-01 17:00+00', source => 'recent', options => '{"contamination": 0.1,
	"advanced": {"discrepancy_weight": 0, "residual_floor": 0.5, "horizon_quantile": 0.5}}')->'version' AS version;
SELECT o->'contamination' AS contamination, a->'discrepancy_weight' AS discrepancy_weight,
	a->'residual_floor' AS residual_floor, a->'horizon_quantile' AS horizon_quantile, o->'steps' AS steps
FROM (SELECT options AS o, options->'advanced' AS a FROM amad_models WHERE model_name = 'm' AND version = 8) x;
SELECT flagged('2026-01-01 17:00+00');
SELECT amad_recalibrate('m', source => 'recent', options => '{"window": 8}');
-- advanced options, and only these, are written in "advanced", which is an object
SELECT amad_recalibrate('m', source => 'recent', options => '{"release": 1}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"advanced": {"contamination": 0.1}}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"advanced": {"trim": 0.1}}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"advanced": {"clip": 5}}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"advanced": {"advanced": {}}}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"advanced": null}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"advanced": [], "threshold_only": true}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"advanced": {"release": -1}}');
-- "release" can be combined with "threshold_only", as it affects only the threshold
BEGIN;
SELECT amad_recalibrate('m', since => '2026-01-01 17:00+00', source => 'recent',
	options => '{"threshold_only": true, "advanced": {"release": 1}}')->'version' AS version;
SELECT options->'advanced'->'release' AS release FROM amad_models WHERE model_name = 'm' AND version = 9;
ROLLBACK;
SELECT amad_recalibrate('m', source => 'recent', options => '[1]');
SELECT amad_recalibrate('m', source => 'recent', options => '{"trim": 0.6}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"trim": "a"}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"threshold_only": 1}');
SELECT amad_recalibrate('m', source => 'recent', options => '{"contamination": 2}');
SELECT amad_recalibrate('m', source => 'recent',
	options => '{"threshold_only": true, "advanced": {"residual_floor": 0.1}}');

-- ---- a quiet time: figures can only grow, unless trim is 0 or contamination is greater
-- rows half as far from the means as the training rows
CREATE VIEW quiet AS
SELECT ts + interval '2000 min' AS ts, flow / 2 AS flow, pressure / 2 AS pressure, 1 + temp / 2 AS temp, fixed
FROM readings WHERE n <= 1000;
SELECT amad_train('q', 'SELECT ts, flow, pressure, temp, fixed FROM recalibration.readings WHERE n <= 1000',
	options => :'o'::jsonb || '{"method": "zscore"}')->'version' AS version;
CREATE FUNCTION compared(options jsonb, OUT rho text, OUT threshold text, OUT flagged text) LANGUAGE sql AS $$
	SELECT amad_deploy('q', 1);
	SELECT amad_recalibrate('q', since => '2026-01-02', source => 'quiet', options => options);
	SELECT (SELECT CASE WHEN bool_and(new = old) THEN 'same' WHEN bool_and(new >= old) THEN 'not less'
				WHEN bool_and(new <= old) THEN 'not more' ELSE 'other' END
			FROM jsonb_array_elements(o->'calibration'->'rho') WITH ORDINALITY x(old, i)
				JOIN jsonb_array_elements(d->'calibration'->'rho') WITH ORDINALITY y(new, i) USING (i)),
		CASE WHEN abs((d->>'threshold')::float8 / (o->>'threshold')::float8 - 1) < 1e-9 THEN 'same'
			WHEN d->'threshold' > o->'threshold' THEN 'more' ELSE 'less' END,
		(SELECT CASE WHEN count(*) FILTER (WHERE is_anomaly) = 0 THEN 'none'
				WHEN avg(is_anomaly::int) < 0.1 THEN 'few' ELSE 'many' END
			FROM amad_detect('q', since => '2026-01-02', source => 'quiet'))
	FROM amad_describe('q') d, amad_describe('q', 1) o
$$;
SELECT options, c.* FROM (VALUES ('{}'::jsonb), ('{"threshold_only": true}'),
	('{"threshold_only": true, "contamination": 0.05}'), ('{"trim": 0}')) AS v(options), compared(options) c;

-- ---- errors
SELECT amad_deploy('m', 1);
SELECT amad_recalibrate(NULL);
SELECT amad_recalibrate('no such');
SELECT amad_recalibrate('m', source => 'no_such');
SELECT amad_recalibrate('m', since => '2026-01-01', last_n => 5, source => 'recent');
SELECT amad_recalibrate('m', last_n => 0, source => 'recent');
SELECT amad_recalibrate('m', since => '2030-01-01', source => 'recent');
SELECT amad_recalibrate('m', last_n => 40, source => 'recent');
SELECT amad_recalibrate_bigint('m', since => 1, source => 'recent');
SELECT amad_recalibrate('m', source => 'recent', label_col => 'no_such');
SET maintenance_work_mem = '1MB';
SELECT amad_recalibrate('m', since => '2026-01-01', source =>
	$$SELECT ts + d * interval '10 days' AS ts, flow, pressure, temp, fixed FROM readings, generate_series(0, 5) d$$);
SET maintenance_work_mem = '64MB';
SELECT amad_drift(NULL);
SELECT * FROM amad_drift('m', since => '2026-01-01', last_n => 5, source => 'recent');
BEGIN TRANSACTION READ ONLY;
SELECT count(*) FROM amad_drift('m', source => 'recent');
SELECT amad_recalibrate('m', source => 'recent');
ROLLBACK;

-- ---- gaps and missing values
SELECT amad_deploy('m', 1);
SELECT s->'rows' AS rows FROM amad_recalibrate('m', since => '2026-01-01 17:00+00',
	source => 'SELECT ts, CASE WHEN n % 7 > 0 THEN flow END AS flow, pressure, temp, fixed FROM readings
		WHERE n < 1500 OR n > 1700') s;
SELECT flagged();

-- ---- fleets: each series is recalibrated from its own rows; one without enough rows keeps its figures
CREATE VIEW fleet AS
SELECT d AS device, n, ts, flow * CASE d WHEN 'a' THEN 1 ELSE 10 END AS flow, pressure, temp, false AS bad
FROM readings, unnest('{a,b,c}'::text[]) d WHERE n <= 1000 OR d <> 'c';
SELECT amad_train('f', 'SELECT ts, device, flow, pressure, temp FROM recalibration.fleet WHERE n <= 1000',
	series_cols => '{device}',
	options => :'o')->'series' AS series;
SELECT s - '{seconds,threshold,threshold_ratio,flagged,flagged_before}'::text[] AS summary
FROM amad_recalibrate('f', since => '2026-01-01 16:00+00',
	source => 'SELECT * FROM fleet UNION ALL SELECT ''d'', n, ts, flow, pressure, temp, bad FROM readings') s;
SELECT v1.value->'series' AS series, v1.value->'threshold' = v2.value->'threshold' AS kept
FROM amad_models a, amad_models b, jsonb_array_elements(amad_describe(a.model)->'series') WITH ORDINALITY v1,
	jsonb_array_elements(amad_describe(b.model)->'series') WITH ORDINALITY v2
WHERE a.model_name = 'f' AND b.model_name = 'f' AND a.version = 1 AND b.version = 2 AND v1.ordinality = v2.ordinality
ORDER BY v1.ordinality;
SELECT series, avg(is_anomaly::int) < 0.05 AS few
FROM amad_detect('f', since => '2026-01-02 09:00+00', source => 'fleet') GROUP BY series ORDER BY series;
SELECT amad_deploy('f', 1);
SELECT series, feature, drifted, action FROM amad_drift('f', since => '2026-01-01 17:00+00', source => 'fleet');

-- ---- the stored source, its labels, and other types of time and methods
SELECT amad_train('own', 'SELECT * FROM recalibration.spoiled', 'ts', '{flow,pressure,temp}', label_col => 'bad',
	options => :'o'::jsonb || '{"method": "pca"}')->'labelled_rows' AS labelled;
SELECT s->'rows' AS rows, s->'labelled_rows' AS labelled FROM amad_recalibrate('own', last_n => 500) s;
SELECT rows, drifted FROM amad_drift('own', last_n => 500) WHERE feature IS NULL;
SELECT amad_train('int', 'SELECT n, flow, pressure FROM recalibration.readings', 'n', '{flow,pressure}',
	options => :'o'::jsonb || '{"method": "zscore"}')->'rows' AS rows;
SELECT s->'rows' AS rows FROM amad_recalibrate_bigint('int', since => 2000, until => 2400) s;
SELECT rows, drifted FROM amad_drift_bigint('int', since => 2000, until => 2400) WHERE feature IS NULL;
SELECT amad_train('stamp', 'SELECT ts::timestamp AS ts, flow FROM recalibration.readings', 'ts', '{flow}',
	options => :'o'::jsonb || '{"method": "zscore"}')->'rows' AS rows;
SELECT s->'rows' AS rows FROM amad_recalibrate('stamp', last_n => 300) s;
SELECT rows, drifted FROM amad_drift('stamp', last_n => 300) WHERE feature IS NULL;

-- ---- rights
CREATE ROLE amad_recalibrator;
GRANT USAGE ON SCHEMA recalibration TO amad_recalibrator;
GRANT SELECT ON recent TO amad_recalibrator;
SET ROLE amad_recalibrator;
SELECT amad_recalibrate('m', source => 'recalibration.recent');
RESET ROLE;
-- a member of the owner's role sees the model, but must become the owner to add a version
CREATE ROLE amad_recalibration_owner;
GRANT USAGE, CREATE ON SCHEMA recalibration TO amad_recalibration_owner;
GRANT SELECT ON recent TO amad_recalibration_owner;
GRANT amad_recalibration_owner TO amad_recalibrator;
SET ROLE amad_recalibration_owner;
SELECT amad_train('theirs', 'recalibration.recent', 'ts', '{flow}',
	options => :'o'::jsonb || '{"method": "zscore"}')->'version' AS version;
SET ROLE amad_recalibrator;
SELECT amad_recalibrate('theirs', source => 'recalibration.recent');
SELECT rows > 0 AS rows FROM amad_drift('theirs', source => 'recalibration.recent') WHERE feature IS NULL;
SET ROLE amad_recalibration_owner;
SELECT amad_recalibrate('theirs')->'version' AS version;
RESET ROLE;

-- ---- cleanup
DELETE FROM amad_models WHERE model_name IN ('m', 'f', 'q', 'own', 'int', 'stamp', 'theirs');
DROP OWNED BY amad_recalibrator, amad_recalibration_owner;
DROP ROLE amad_recalibrator, amad_recalibration_owner;
SET client_min_messages = error;
DROP SCHEMA recalibration CASCADE;
