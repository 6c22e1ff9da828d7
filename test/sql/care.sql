-- amad_care: series that have drifted are recalibrated, new ones are adopted, the model is trained again each week, and a
-- version that was deployed by hand is not replaced; incidents of the kinds drift and job.
\set VERBOSITY terse
SET timezone = 'UTC';
-- eight devices, a row every ten minutes for 40 days; device 8 begins on day 8
CREATE FUNCTION at(days float8) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT timestamptz '2024-05-01' + days * interval '1 day' $$;
CREATE FUNCTION noise(device int, i int) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$ SELECT (abs(hashint8(device * 1000003::bigint + i)) % 2001 - 1000) / 1000.0 $$;
CREATE TABLE feed AS
SELECT d AS device, at(0) + i * interval '10 min' AS ts, 10 * d + 3 * sin(i * 2 * pi() / 144) + noise(d, i) AS a, 5 + noise(d + 50, i) AS b
FROM generate_series(1, 8) d, generate_series(0, 40 * 144 - 1) i WHERE d < 8 OR i >= 8 * 144;
-- from day 9 on, feature b of devices 1 to 5 has another level; on day 30 device 6 breaks for good
UPDATE feed SET b = b + 12 WHERE device <= 5 AND ts >= at(9);
CREATE TABLE readings (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
CREATE FUNCTION feed(until float8) RETURNS bigint LANGUAGE sql AS $$
  WITH n AS (INSERT INTO readings SELECT * FROM feed WHERE ts < at(until) AND ts > coalesce((SELECT max(ts) FROM readings), '-infinity') RETURNING 1)
  SELECT count(*) FROM n $$;
SELECT feed(7);
SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "pca", "horizons": [1], "season": []}')->'version' AS version;
SELECT amad_watch('m', target => 'scores', "every" => '1 hour')->'changes' AS changes;
CALL amad_refresh('m', as_of => at(7));
CREATE VIEW care AS SELECT kind, run, state, extract(day FROM as_of - at(0)) AS day, series, model_version, notices, message FROM amad_runs WHERE kind <> 'refresh' ORDER BY run;
CREATE VIEW shown AS SELECT id, series->>'device' AS device, kind, state, extract(day FROM started - at(0)) AS day, coalesce(leader, id) = id AS alone, detail FROM amad_incidents
  WHERE kind <> 'anomaly' ORDER BY id;

CALL amad_care('none');
CALL amad_care(NULL);
CALL amad_care('m', as_of => at(7));
SELECT * FROM care;
-- not due again on the same day
CALL amad_care('m', as_of => at(7.5));
SELECT count(*) FROM care;

-- the shift, a day later; the other devices are as before
SELECT feed(10) > 0 AS fed;
CALL amad_refresh('m', as_of => at(10));
CALL amad_care('m', as_of => at(10));
SELECT * FROM care WHERE run = (SELECT max(run) FROM care);
SELECT feed(11) > 0 AS fed;
CALL amad_refresh('m', as_of => at(11));
SELECT device, count(*) FILTER (WHERE severity > 1 AND model_version = 1 AND ts >= at(9)) > 100 AS before, count(*) FILTER (WHERE severity > 1 AND ts >= at(10)) < 10 AS after
FROM scores WHERE device <= 5 GROUP BY 1 ORDER BY 1;
SELECT device, learning FROM amad_series s, LATERAL (SELECT (key->>'device')::int AS device) d WHERE device >= 7 ORDER BY 1;
CALL amad_care('m', as_of => at(11));
SELECT feed(12) > 0 AS fed;
CALL amad_refresh('m', as_of => at(12));
SELECT device, learning FROM amad_series s, LATERAL (SELECT (key->>'device')::int AS device) d WHERE device >= 7 ORDER BY 1;
SELECT * FROM care;
SELECT * FROM shown;
