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
SELECT series, status, count(*) > 500 AS many, avg((severity > 1)::int) > 0.9 AS severe, count(is_anomaly) > 0 AS judged
FROM amad_detect('f', source => 'fleet') WHERE severity IS NOT NULL GROUP BY series, status ORDER BY series;
SELECT count(*) FILTER (WHERE (series->>'device')::int > 4) AS learning, count(status) AS with_status
FROM amad_events('f', source => 'fleet');
SELECT series, status, n_points > 500 AS many, open FROM amad_events('f', source => 'fleet', learning => true)
WHERE peak_severity > 5 AND n_points > 500 ORDER BY series;
-- a new series has not drifted from anything
SELECT series, feature, drifted, action, rows > 500 AS many, clipped IS NOT NULL AS clipped
FROM amad_drift('f', source => 'fleet') WHERE (series->>'device')::int IN (4, 8) ORDER BY series, feature NULLS FIRST;
SELECT series, drifted, action FROM amad_drift('f', source => 'SELECT *, 5 AS new FROM fleet WHERE device = 9 LIMIT 10');

-- ---- adoption
-- the summary names the series, and those with too few rows; all others are calibrated, too
CREATE VIEW summary_keys AS SELECT '{seconds,threshold,flagged,flagged_before}'::text[] AS keys;
CREATE VIEW grown AS SELECT device, ts, flow, pressure FROM fleet
	UNION ALL SELECT 7, ts, flow, pressure FROM fleet WHERE device = 9 AND n <= 60;
CREATE TABLE before AS SELECT * FROM amad_detect('f', source => 'grown');
SELECT s - keys AS summary, (s->>'flagged')::float8 < 0.1 AS flagged, (s->>'flagged_before')::float8 < 0.1 AS before
FROM summary_keys, amad_recalibrate('f', source => 'grown') s;
SELECT jsonb_path_query_array(d, '$.series[*].series.device') AS series,
	(SELECT training->'recalibration'->'series_adopted' FROM amad_models WHERE model_name = 'f' AND deployed) AS adopted
FROM amad_describe('f') d;
-- its rows are like those of the others
SELECT series, status, count(*) > 500 AS many, avg((severity > 1)::int) < 0.1 AS few, count(is_anomaly) > 0 AS judged
FROM amad_detect('f', source => 'grown') WHERE severity IS NOT NULL GROUP BY series, status ORDER BY series;
SELECT count(*) FILTER (WHERE d.status IS DISTINCT FROM b.status) > 1000 AS new_status FROM before b
JOIN amad_detect('f', source => 'grown') d USING (series, ts);
-- and an anomaly is found
SELECT series, start_ts, end_ts > start_ts AS longer, top_features->0->'feature' AS feature, status
FROM amad_events('f', min_severity => 2, source => 'SELECT device, ts, flow,
	pressure + CASE WHEN device = 8 AND n BETWEEN 500 AND 503 THEN 900 ELSE 0 END AS pressure FROM fleet')
WHERE start_ts BETWEEN '2026-01-04 11:00' AND '2026-01-04 12:00' AND series->'device' = '8';
-- drift judges it, and the window functions find it
SELECT series, drifted, action FROM amad_drift('f', source => 'grown', series => '{"device": 8}') WHERE feature IS NULL;
SELECT count(*) AS rows, count(*) FILTER (WHERE s IS DISTINCT FROM d.severity) AS differ FROM (
	SELECT ts, amad_score('f', '8', ts, flow, pressure) OVER (ORDER BY ts) AS s FROM fleet WHERE device = 8) x
JOIN amad_detect('f', source => 'fleet', series => '{"device": 8}') d USING (ts);
-- a second time nothing is new; the same rows and options give the same bytes
SELECT amad_deploy('f', 1);
SELECT s->'version' AS version, s->'series_adopted' AS adopted FROM amad_recalibrate('f', source => 'grown') s;
SELECT count(DISTINCT model::text) AS models FROM amad_models WHERE model_name = 'f' AND version > 1;
SELECT s->'series' AS series, s->'adopted' AS adopted, s->'learning' AS learning
FROM amad_recalibrate('f', source => 'grown') s;
-- the decoder accepts the model, and a dump of it
SELECT count(*) AS models, count(amad_model_error(model::text::amad_model)) AS errors FROM amad_models
WHERE model_name = 'f';

-- the scaling is that of a training on the same rows
SELECT amad_train('z', 'SELECT device, ts, flow, pressure FROM fleet WHERE device <= 4', 'ts', series_cols => '{device}',
	options => '{"method": "zscore", "horizons": [1, 4]}')->'series' AS series;
SELECT amad_train('all', 'SELECT device, ts, flow, pressure FROM fleet', 'ts', series_cols => '{device}',
	options => '{"method": "zscore", "horizons": [1, 4]}')->'series' AS series;
SELECT s->'adopted' AS adopted FROM amad_recalibrate('z', source => 'fleet') s;
SELECT count(DISTINCT z.expected_values) AS values,
	count(*) FILTER (WHERE z.expected_values <> a.expected_values) AS differ
FROM amad_detect('z', source => 'fleet') z JOIN amad_detect('all') a USING (series, ts);
SELECT a.series->'series' AS series, a.series->'step' = z.series->'step' AS step,
	a.series->'max_gap' = z.series->'max_gap' AS max_gap
FROM jsonb_array_elements(amad_describe('all')->'series') a(series),
	jsonb_array_elements(amad_describe('z')->'series') z(series)
WHERE a.series->'series' = z.series->'series' ORDER BY 1;
-- rows before the range, labelled rows and duplicates do not count
SELECT amad_deploy('z', 1);
SELECT s->'rows' AS rows, s->'labelled_rows' AS labelled, s->'adopted' AS adopted
FROM amad_recalibrate('z', since => '2026-01-03', label_col => 'bad', source => 'SELECT device, ts,
	CASE WHEN ts < ''2026-01-03'' OR n % 50 = 0 THEN 1e9 ELSE flow END AS flow, pressure, n % 50 = 0 AS bad FROM fleet
	UNION ALL SELECT device, ts, 1e8, pressure, false FROM fleet WHERE n % 70 = 1') s;
SELECT count(*) FILTER (WHERE (z.expected_values->>'flow')::float8 BETWEEN 790 AND 810) AS as_normal, count(*) AS rows
FROM amad_detect('z', source => 'fleet', series => '{"device": 8}') z;
-- an incident does not become the unit of measurement
SELECT amad_deploy('f', 1);
SELECT s->'adopted' AS adopted FROM amad_recalibrate('f', source => 'SELECT device, ts, flow,
	pressure + CASE WHEN n BETWEEN 400 AND 430 THEN 1e6 ELSE 0 END AS pressure FROM fleet WHERE device = 8') s;
SELECT avg((severity > 1)::int) < 0.1 AS few, count(*) FILTER (WHERE is_anomaly AND ts = '2026-01-04 11:30') AS found
FROM amad_detect('f', source => 'SELECT device, ts, flow,
	pressure + CASE WHEN n BETWEEN 500 AND 503 THEN 900 ELSE 0 END AS pressure FROM fleet WHERE device = 8');
-- missing values, and a column that is missing in all rows
SELECT amad_deploy('f', 1);
SELECT s->'adopted' AS adopted FROM amad_recalibrate('f', source => 'SELECT device, ts, NULL::float8 AS flow,
	CASE WHEN n % 3 > 0 THEN pressure END AS pressure FROM fleet WHERE device > 7') s;
SELECT series, status, avg((severity > 1)::int) < 0.05 AS few FROM amad_detect('f', source => 'SELECT device, ts,
	NULL::float8 AS flow, CASE WHEN n % 3 > 0 THEN pressure END AS pressure FROM fleet WHERE device > 7')
WHERE severity IS NOT NULL GROUP BY series, status ORDER BY series;
-- constant columns
SELECT amad_deploy('f', 1);
SELECT s->'adopted' AS adopted FROM amad_recalibrate('f',
	source => 'SELECT device, ts, 3 AS flow, 0 AS pressure FROM fleet WHERE device > 8') s;
SELECT count(severity) > 500 AS scored, count(*) FILTER (WHERE severity > 1) AS flagged
FROM amad_detect('f', source => 'SELECT device, ts, 3 AS flow, 0 AS pressure FROM fleet WHERE device > 8');
-- trim 0 and threshold_only
SELECT amad_deploy('f', 1);
SELECT s->'adopted' AS adopted, (s->>'flagged')::float8 < 0.1 AS flagged
FROM amad_recalibrate('f', source => 'fleet', options => '{"trim": 0}') s;
SELECT amad_deploy('f', 1);
SELECT s->'adopted' AS adopted, (s->>'flagged')::float8 < 0.1 AS flagged
FROM amad_recalibrate('f', source => 'fleet', options => '{"threshold_only": true}') s;

-- too few rows: less than twice as many as figures need, or less than two periods of the season
SELECT amad_deploy('z', 1);
SELECT amad_recalibrate('z', source => 'SELECT * FROM fleet WHERE device > 4 AND n <= 202');
SELECT s->'adopted' AS adopted
FROM amad_recalibrate('z', source => 'SELECT * FROM fleet WHERE device > 4 AND n <= 203') s;
SELECT amad_deploy('f', 1);
SELECT amad_recalibrate('f', source => 'SELECT * FROM fleet WHERE device > 4 AND n < 288');
SELECT s->'adopted' AS adopted
FROM amad_recalibrate('f', source => 'SELECT * FROM fleet WHERE device > 4 AND n <= 288') s;
SELECT amad_deploy('f', 1);
SELECT amad_recalibrate('f', source => 'SELECT device, ts - n * interval ''9 min'' AS ts, flow, pressure FROM fleet
	WHERE device > 4');
SELECT amad_recalibrate('f', source => 'SELECT * FROM fleet WHERE device > 4 AND n < 10', series => '{"device": 8}');
-- their rows do not change the figures of all series
SELECT (SELECT s->'threshold' FROM amad_recalibrate('f', source => 'SELECT * FROM fleet WHERE device <= 4') s)
	= (SELECT s->'threshold' FROM amad_recalibrate('f', source => 'SELECT * FROM fleet WHERE device <= 4 OR n < 100') s)
	AS same;
-- lists of at most 20 series
SELECT amad_deploy('f', 1);
SELECT s->'series_adopted' AS adopted, jsonb_array_length(s->'adopted') AS named, s->'series_learning' AS learning,
	jsonb_array_length(s->'learning') AS learning_named
FROM amad_recalibrate('f', source => 'SELECT 100 * device + i AS device, ts, flow, pressure
	FROM fleet, generate_series(1, 23) i WHERE device = 8 OR (device = 9 AND n < 50)') s;

-- ---- a choice of series
SELECT amad_deploy('f', 1);
CREATE TABLE old AS SELECT series, ts, severity FROM amad_detect('f', source => 'fleet');
CREATE FUNCTION changes(OUT series jsonb, OUT changed bool) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT series, bool_or(float8send(o.severity) IS DISTINCT FROM float8send(d.severity))
	FROM old o JOIN amad_detect('f', source => 'learning_series.fleet') d USING (series, ts) GROUP BY series ORDER BY series
$$;
-- severities of the other series, known and new, stay as they are, to the last bit
SELECT s->'series' AS series, s->'series_unchanged' AS unchanged FROM amad_recalibrate('f', series => '{"device": 2}',
	source => 'SELECT device, ts, 3 * flow AS flow, pressure FROM fleet') s;
SELECT * FROM changes();
SELECT amad_describe('f', 1) - '{series,training}'::text[] = amad_describe('f') - '{series,training}'::text[] AS common;
SELECT amad_deploy('f', 1);
SELECT s->'adopted' AS adopted, s->'series_unchanged' AS unchanged
FROM amad_recalibrate('f', series => '{"device": 9}', source => 'fleet') s;
SELECT * FROM changes();
SELECT amad_describe('f', 1) - '{series,training}'::text[] = amad_describe('f') - '{series,training}'::text[] AS common;
-- errors
SELECT amad_recalibrate('f', series => '{"device": 1}', source => 'fleet', last_n => 20);
SELECT amad_recalibrate('f', series => '{"device": 1}', source => 'fleet', options => '{"contamination": 0.1}');
SELECT amad_recalibrate('f', series => '{"device": 1}', source => 'fleet', options => '{"advanced": {"release": 1}}');
SELECT amad_recalibrate('f', series => '{"site": 1}', source => 'fleet');
SELECT amad_recalibrate('f', series => '{"device": 77}', source => 'fleet');
SELECT amad_train('one', 'SELECT ts, flow FROM fleet WHERE device = 1',
	options => '{"method": "zscore"}')->'rows' AS rows;
SELECT amad_recalibrate('one', series => '{"device": 1}');

-- ---- another type of the series column: the same series
SELECT amad_deploy('f', 1);
CREATE VIEW as_text AS SELECT device::text, ts, flow, pressure FROM fleet;
SELECT s->'series' AS series, s->'adopted' AS adopted FROM amad_recalibrate('f', source => 'as_text') s;
SELECT jsonb_path_query_array(amad_describe('f'), '$.series[*].series.device') AS series;
SELECT series, drifted, action FROM amad_drift('f', source => 'fleet') WHERE feature IS NULL ORDER BY series::text;
SELECT amad_deploy('f', 1);
SELECT s->'series' AS series FROM amad_recalibrate('f', source => 'as_text', series => '{"device": "2"}') s;

-- ---- memory
\set VERBOSITY terse
SET maintenance_work_mem = '1MB';
SELECT amad_deploy('f', 1);
SELECT amad_recalibrate('f', source => 'SELECT 99 AS device, ''2026-01-01''::timestamptz + i * interval ''1 min'' AS ts,
	1 AS flow, i AS pressure FROM generate_series(1, 40000) i', last_n => 100000);
RESET maintenance_work_mem;
\set VERBOSITY default

-- ---- cleanup
DELETE FROM amad_models WHERE model_name IN ('f', 'z', 'all', 'one');
SET client_min_messages = error;
DROP SCHEMA learning_series CASCADE;
