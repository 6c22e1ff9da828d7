-- Features whose level has moved, and what a recalibration must not adapt to
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET client_min_messages = warning;
SET maintenance_work_mem = '64MB';
SET amad.max_parallel_workers = 0;
CREATE SCHEMA levels;
SET search_path = levels, public, helpers;
\set o '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 60, "contamination": 0.02}'

CREATE TABLE readings AS
SELECT '2026-01-01 00:00+00'::timestamptz + n * interval '1 min' AS ts, n::bigint AS n,
	10 + sin(n / 7.0) + 0.3 * noise(n) AS flow, cos(n / 9.0) + 0.3 * noise(n + 10000) AS pressure,
	n % 5 + 0.3 * noise(n + 20000) AS temp, 7.0::float8 AS fixed, false AS bad
FROM generate_series(1, 2500) n;
SELECT amad_train('m', 'SELECT ts, flow, pressure, temp, fixed FROM levels.readings WHERE n <= 1000',
	options => :'o')->'version' AS version;

-- rows of a situation, and what a version makes of the last 900 of them
CREATE FUNCTION rows_with(flow text, fixed text DEFAULT 'fixed') RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT n, ts, %s AS flow, pressure, temp, %s AS fixed, bad FROM levels.readings', flow, fixed) $$;
CREATE FUNCTION flagged(source text, OUT rows text) LANGUAGE sql AS $$
	SELECT CASE WHEN avg((severity > 1)::int) < 0.07 THEN 'few' WHEN avg((severity > 1)::int) > 0.7 THEN 'most' ELSE 'some' END
	FROM amad_detect('m', since => '2026-01-02 02:40+00', source => source) $$;
-- a recalibration on the rows from n = 1000 to 1600; what it reports
CREATE FUNCTION recalibrated(source text, options jsonb DEFAULT '{}', OUT rescaled jsonb, OUT as_before boolean,
	OUT few_flagged boolean) LANGUAGE plpgsql AS $$
DECLARE
	s jsonb := amad_recalibrate('m', since => '2026-01-01 16:40+00', until => '2026-01-02 02:40+00', source => source,
		options => options);
BEGIN
	rescaled := (SELECT jsonb_agg(jsonb_set(x, '{shift}', coalesce(to_jsonb(round((x->>'shift')::numeric)), 'null')))
		FROM jsonb_array_elements(s->'rescaled') x);
	as_before := (s->>'threshold_ratio')::float8 BETWEEN 0.999 AND 1.001;
	few_flagged := (s->>'flagged')::float8 < 0.05;
END $$;
CREATE FUNCTION scaling(what text) RETURNS TABLE (version int, flow numeric, others text) LANGUAGE sql AS $$
	SELECT version, round((amad_describe(model)->'scaling'->what->>0)::numeric, 1),
		md5(((amad_describe(model)->'scaling'->what) - 0)::text)
	FROM amad_models WHERE model_name = 'm' $$;

-- ---- the level of a feature moves for good
\set moved 'flow + CASE WHEN n > 1000 THEN 12 ELSE 0 END'
SELECT feature, round(clipped::numeric, 1) AS clipped, drifted, action
FROM amad_drift('m', since => '2026-01-01 16:40+00', source => rows_with(:'moved'))
WHERE feature IN ('flow', 'fixed') OR feature IS NULL;
SELECT flagged(rows_with(:'moved'));
SELECT recalibrated(rows_with(:'moved'));
SELECT flagged(rows_with(:'moved'));
SELECT feature FROM amad_drift('m', since => '2026-01-02 02:40+00', source => rows_with(:'moved')) WHERE drifted;
-- a later incident is found, as one at the old level would have been
SELECT flagged(rows_with(format('%s + CASE WHEN n BETWEEN 1700 AND 2400 THEN 4 * noise(n) ELSE 0 END', :'moved')));
-- only the mean of the feature has changed
SELECT count(DISTINCT others) AS others, count(DISTINCT flow) AS flow FROM scaling('mean');
SELECT count(DISTINCT others) AS others, count(DISTINCT flow) AS flow FROM scaling('std');
-- it moves back
SELECT recalibrated(rows_with('flow'));
SELECT max(flow) - min(flow) < 1 AS back FROM scaling('mean') WHERE version <> 2;

-- ---- rows from before it moved do not count for the new mean, wherever it moved
SELECT amad_deploy('m', 1);
SELECT recalibrated(rows_with('flow + CASE WHEN n > 1250 THEN 12 ELSE 0 END'));
SELECT abs(a.flow - b.flow) < 0.3 AS same FROM scaling('mean') a, scaling('mean') b WHERE a.version = 2 AND b.version = 4;
-- labelled rows do not count either
SELECT amad_deploy('m', 1);
SELECT s->'rescaled'->0->'feature' AS feature, s->'labelled_rows' AS labelled
FROM amad_recalibrate('m', since => '2026-01-01 16:40+00', until => '2026-01-02 02:40+00', label_col => 'bad',
	source => 'SELECT ts, flow + CASE WHEN n > 1000 THEN 12 ELSE 0 END + CASE WHEN n % 5 < 2 THEN 40 ELSE 0 END AS flow,
		pressure, temp, fixed, n % 5 < 2 AS bad FROM levels.readings') s;
SELECT abs(a.flow - b.flow) < 0.3 AS same FROM scaling('mean') a, scaling('mean') b WHERE a.version = 2 AND b.version = 5;

-- ---- the deviation changes only if values spread much more than before
SELECT amad_deploy('m', 1);
SELECT recalibrated(rows_with('CASE WHEN n > 1000 THEN flow * 8 ELSE flow END'));
SELECT max(flow) / min(flow) BETWEEN 6 AND 14 AS wider FROM scaling('std');
SELECT amad_deploy('m', 1);
SELECT rescaled FROM recalibrated(rows_with('CASE WHEN n > 1000 THEN 22 + (flow - 10) / 20 ELSE flow END'));
SELECT a.flow = b.flow AS same FROM scaling('std') a, scaling('std') b WHERE a.version = 1 AND b.version = 7;

-- ---- a constant that becomes another constant
SELECT amad_deploy('m', 1);
SELECT flagged(rows_with('flow', 'CASE WHEN n > 1000 THEN 0.1 ELSE fixed END'));
SELECT recalibrated(rows_with('flow', 'CASE WHEN n > 1000 THEN 0.1 ELSE fixed END'));
SELECT flagged(rows_with('flow', 'CASE WHEN n > 1000 THEN 0.1 ELSE fixed END'));
SELECT amd->'mean'->3 AS mean, amd->'std'->3 AS std FROM (SELECT amad_describe('m')->'scaling' AS amd) d;

-- ---- nothing is rescaled
-- with threshold_only
SELECT amad_deploy('m', 1);
SELECT rescaled FROM recalibrated(rows_with(:'moved'), '{"threshold_only": true}');
-- on values beyond the clip on both sides, which another mean does not help against
SELECT amad_deploy('m', 1);
SELECT feature, drifted, action FROM amad_drift('m', since => '2026-01-01 16:40+00',
	source => rows_with('CASE WHEN n > 1000 THEN 10 + 12 * (-1) ^ n ELSE flow END')) WHERE feature = 'flow';
SELECT rescaled FROM recalibrated(rows_with('CASE WHEN n > 1000 THEN 10 + 12 * (-1) ^ n ELSE flow END'));

-- ---- an incident is not drift: the threshold stays, and later incidents are found
\set incident 'flow + CASE WHEN n BETWEEN 1100 AND 1270 THEN 12 ELSE 0 END'
SELECT amad_deploy('m', 1);
SELECT rows, flagged > 0.25 AS flagged, severity < 0.5 AS severity, drifted, action
FROM amad_drift('m', since => '2026-01-01 16:40+00', until => '2026-01-02 02:40+00', source => rows_with(:'incident'))
WHERE feature IS NULL;
SELECT recalibrated(rows_with(:'incident'));
SELECT flagged(rows_with('flow + CASE WHEN n > 1600 THEN 12 ELSE 0 END'));
SELECT flagged(rows_with('flow'));
-- one after another does not blind the model
SELECT recalibrated(rows_with(:'incident')) FROM generate_series(1, 3);
SELECT flagged(rows_with('flow + CASE WHEN n > 1600 THEN 12 ELSE 0 END'));

-- ---- fleets: the series in which the level has moved
CREATE VIEW fleet AS
SELECT d AS device, n, ts, flow * CASE d WHEN 'a' THEN 1 ELSE 10 END + CASE WHEN d = 'b' AND n > 1000 THEN 120 ELSE 0 END
	AS flow, pressure FROM readings, unnest('{a,b,c}'::text[]) d;
SELECT amad_train('f', 'SELECT ts, device, flow, pressure FROM levels.fleet WHERE n <= 1000', series_cols => '{device}',
	options => :'o')->'series' AS series;
SELECT series, feature, drifted, action FROM amad_drift('f', since => '2026-01-01 16:40+00', source => 'fleet')
WHERE drifted ORDER BY 1, 2 NULLS FIRST;
SELECT r->'series' AS series, r->'feature' AS feature, abs((r->>'shift')::float8) > 5 AS far
FROM amad_recalibrate('f', since => '2026-01-01 16:40+00', until => '2026-01-02 02:40+00', source => 'fleet') s,
	jsonb_array_elements(s->'rescaled') r;
-- the common scaling does not change
SELECT amad_describe('f', 1)->'scaling' = amad_describe('f', 2)->'scaling' AS same;
SELECT series, avg(is_anomaly::int) < 0.07 AS few
FROM amad_detect('f', since => '2026-01-02 02:40+00', source => 'fleet') GROUP BY series ORDER BY series;
-- only series asked for are
SELECT amad_deploy('f', 1);
SELECT s->'rescaled' AS rescaled, s->'series' AS series
FROM amad_recalibrate('f', since => '2026-01-01 16:40+00', source => 'fleet', series => '{"device": "a"}') s;

-- ---- rows are read twice, but kept in memory once

CREATE TABLE long AS SELECT '2026-01-01 00:00+00'::timestamptz + n * interval '1 min' AS ts, n,
	10 + sin(n / 7.0) + 0.3 * noise(n) AS flow, cos(n / 9.0) + 0.3 * noise(n + 10000) AS pressure FROM generate_series(1, 12000) n;
SELECT amad_train('long', 'SELECT ts, flow, pressure FROM levels.long WHERE n <= 1000', options => :'o')->'version' AS version;
SET maintenance_work_mem = '1MB';
SELECT jsonb_array_length(amad_recalibrate('long', last_n => 9500,
	source => 'SELECT ts, flow + 12 AS flow, pressure FROM levels.long')->'rescaled') AS rescaled;
SET maintenance_work_mem = '64MB';

-- ---- weights of evidence
SELECT amad_deploy('m', 1);
SELECT amad_recalibrate('m', since => '2026-01-01 16:40+00', source => 'readings', options => '{"advanced":
	{"fade": 0.5, "burst": 2, "flatline_weight": 2.4, "relation_weight": 10, "state_weight": 0.5}}')->'version' AS version
\gset
SELECT a->'fade' AS fade, a->'burst' AS burst, a->'flatline_weight' AS flatline, a->'relation_weight' AS relation,
	a->'state_weight' AS state
FROM (SELECT options->'advanced' AS a FROM amad_models WHERE model_name = 'm' AND version = :version) x;
SELECT round(((b->>'flatline')::float8 / (a->>'flatline')::float8)::numeric, 6) AS flatline,
	round(((b->>'relation')::float8 / (a->>'relation')::float8)::numeric, 6) AS relation
FROM (SELECT amad_describe('m', 1)->'calibration' AS a, amad_describe('m', :version)->'calibration' AS b) x;
SELECT amad_recalibrate('m', source => 'readings', options => '{"advanced": {"flatline_weight": 0}}');
SELECT amad_recalibrate('m', source => 'readings', options => '{"advanced": {"state_weight": 0}}');
SELECT amad_recalibrate('m', source => 'readings', options => '{"threshold_only": true, "advanced": {"fade": 0}}');

-- ---- cleanup
DELETE FROM amad_models WHERE model_name IN ('m', 'f', 'long');
SET client_min_messages = error;
DROP SCHEMA levels CASCADE;
