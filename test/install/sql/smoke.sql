-- Does the installed extension work? "make installcheck" runs this, and the tests of the Debian package; "make test" runs the tests.
SET timezone = 'UTC';
SELECT amad_version()->>'amad' = extversion AS one_version, amad_version()->'blas'->'threads' AS blas_threads
FROM pg_extension WHERE extname = 'amad';

-- two pumps; the pressure of the first is too high for twenty minutes
CREATE TABLE readings AS
SELECT device, timestamptz '2024-05-01' + n * interval '1 minute' AS ts, flow,
       flow / 4 + CASE WHEN device = 1 AND n BETWEEN 900 AND 919 THEN 6 ELSE 0 END AS pressure
FROM generate_series(1, 2) AS device, generate_series(0, 999) AS n,
     LATERAL (SELECT 20 + 5 * sin(n / 15.28 + device) + n * 7919 % 101 / 200.0 AS flow) AS f;

SELECT summary->'rows' AS rows, summary->'features' AS features
FROM amad_train('pumps', 'readings', timestamp_col => 'ts', series_cols => '{device}', until => '2024-05-01 14:00',
                options => '{"window": 16, "d_model": 16, "heads": 2, "layers": 1, "steps": 100}') AS summary;

SELECT series, start_ts BETWEEN '2024-05-01 15:00' AND '2024-05-01 15:05' AS started, top_features->0->'feature' AS feature
FROM amad_events('pumps', since => '2024-05-01 14:00', min_duration => '10 minutes');

-- the window function and the stored source agree
SELECT count(*) AS rows, count(d.severity) > 1500 AS scored, count(*) FILTER (WHERE s.severity IS DISTINCT FROM d.severity) AS differ
FROM amad_detect('pumps') AS d
JOIN (SELECT device, ts, amad_score('pumps', jsonb_build_object('device', device), ts, flow, pressure)
             OVER (PARTITION BY device ORDER BY ts) AS severity FROM readings) AS s
  ON d.series = jsonb_build_object('device', s.device) AND d.ts = s.ts;

SELECT amad_watch('pumps', min_rows => 10) IS NOT NULL AS watched;
CALL amad_refresh('pumps', as_of => '2024-05-01 16:40');
SELECT count(*) FROM pumps_scores;
SELECT series, kind, state FROM amad_incidents ORDER BY started;
