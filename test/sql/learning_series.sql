-- Series that the model does not contain: no alarms until amad_recalibrate adopts them.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET client_min_messages = warning;
SET maintenance_work_mem = '64MB';
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';
CREATE SCHEMA learning_series;
SET search_path = learning_series, public, helpers;
\set o '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 60, "contamination": 0.02}'

-- devices 1 to 4 are trained on; 8 and 9 come later, on levels of their own
CREATE TABLE fleet AS
SELECT d AS device, '2026-01-01'::timestamptz + n * interval '10 min' AS ts, n,
	d % 3 + sin(n / 7.0 + d) + 0.3 * noise(n + 20000 * d) + CASE WHEN d > 4 THEN 100 * d ELSE 0 END AS flow,
	(cos(n / 9.0) + 0.3 * noise(n + 20000 * d + 10000)) * CASE WHEN d > 4 THEN 30 ELSE 1 END AS pressure
FROM generate_series(1, 9) d, generate_series(1, 900) n WHERE d <= 4 OR d >= 8;
SELECT amad_train('f', 'SELECT device, ts, flow, pressure FROM learning_series.fleet WHERE device <= 4', 'ts',
	series_cols => '{device}', options => :'o')->'series' AS series;

-- ---- no alarms
SELECT series, status, count(*) > 500 AS many, avg((severity >= 1)::int) > 0.9 AS severe, count(is_anomaly) > 0 AS judged
FROM amad_detect('f', source => 'fleet') WHERE severity IS NOT NULL GROUP BY series, status ORDER BY series;
SELECT count(*) FILTER (WHERE (series->>'device')::int > 4) AS learning, count(status) AS with_status
FROM amad_events('f', source => 'fleet');
SELECT series, status, n_points > 500 AS many, open FROM amad_events('f', source => 'fleet', learning => true)
WHERE peak_severity > 5 AND n_points > 500 ORDER BY series;
-- a new series has not drifted from anything
SELECT series, feature, drifted, action, rows > 500 AS many, clipped IS NOT NULL AS clipped
FROM amad_drift('f', source => 'fleet') WHERE (series->>'device')::int IN (4, 8) ORDER BY series, feature NULLS FIRST;
SELECT series, drifted, action FROM amad_drift('f', source => 'SELECT *, 5 AS new FROM fleet WHERE device = 9 LIMIT 10');

-- ---- cleanup
DELETE FROM amad_models WHERE model_name = 'f';
SET client_min_messages = error;
DROP SCHEMA learning_series CASCADE;
