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
-- from day 9 on, feature b of devices 1 to 5 has another level
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
CREATE VIEW shown AS SELECT series->>'device' AS device, kind, state, extract(day FROM started - at(0)) AS day, coalesce(leader, id) = id AS alone, detail FROM amad_incidents
  WHERE kind <> 'anomaly' ORDER BY id;

CALL amad_care('none');
CALL amad_care(NULL);
CALL amad_care('m', as_of => at(7));
SELECT * FROM care;
-- not due again on the same day
CALL amad_care('m', as_of => at(7.5));
SELECT count(*) FROM care;

-- the shift, a day later; device 8 has enough rows to be adopted
SELECT feed(10) > 0 AS fed;
CALL amad_refresh('m', as_of => at(10));
SELECT learning FROM amad_series WHERE key->>'device' = '8';
CALL amad_care('m', as_of => at(10));
SELECT * FROM care WHERE run = (SELECT max(run) FROM care);
SELECT feed(11) > 0 AS fed;
CALL amad_refresh('m', as_of => at(11));
SELECT device, avg((severity > 1)::int) FILTER (WHERE ts < at(10)) > 0.5 AS before, avg((severity > 1)::int) FILTER (WHERE ts >= at(10)) < 0.05 AS after
FROM scores WHERE ts >= at(9) AND device IN (1, 5, 6) GROUP BY 1 ORDER BY 1;
SELECT learning FROM amad_series WHERE key->>'device' = '8';
CALL amad_care('m', as_of => at(11));
SELECT kind, day, notices FROM care WHERE day = 11;
SELECT * FROM shown;

-- an older version that was deployed by hand is kept, with series that have drifted
SELECT amad_deploy('m', 1);
SELECT feed(14) > 0 AS fed;
CALL amad_refresh('m', as_of => at(14));
CALL amad_care('m', as_of => at(14));
SELECT kind, day, series, model_version, notices FROM care WHERE day = 14;
SELECT version, rolled_back, last_care IS NOT NULL AS cared_for FROM amad_models, amad_status WHERE deployed;
SELECT device, day, detail FROM shown WHERE state = 'open' ORDER BY device;
-- a drift is announced when it is found on a second day, here for all series as one
SELECT count(*) FROM amad_deliveries() WHERE message->>'kind' = 'drift';
SELECT feed(15) > 0 AS fed;
CALL amad_refresh('m', as_of => at(15));
CALL amad_care('m', as_of => at(15));
SELECT transition, incidents FROM amad_deliveries() WHERE message->>'kind' = 'drift';

-- until a version that is at least as new is deployed; the training of this week, which was skipped, comes with the next
SELECT max(version) AS newest FROM amad_models \gset
SELECT amad_deploy('m', :newest);
SELECT feed(21) > 0 AS fed;
CALL amad_refresh('m', as_of => at(21));
CALL amad_care('m', as_of => at(21));
SELECT kind, day, state, model_version > :newest AS newer, notices ~ 'version \d+ was trained' AS trained FROM care WHERE day = 21;
SELECT count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE state = 'closed') AS closed FROM shown;
SELECT transition, incidents FROM amad_deliveries() WHERE message->>'kind' = 'drift';
CALL amad_care('m', as_of => at(21.5));
SELECT count(*) FROM care WHERE day = 21;

-- what fails is recorded and reported: refreshes when they fail again, the care at once
ALTER TABLE readings RENAME b TO c;
CALL amad_refresh('m', as_of => at(21.6));
SELECT * FROM shown WHERE kind = 'job';
CALL amad_refresh('m', as_of => at(21.7));
CALL amad_care('m', as_of => at(22));
SELECT * FROM shown WHERE kind = 'job';
SELECT kind, day, state, message FROM care WHERE day = 22;
-- not again within a day
CALL amad_care('m', as_of => at(22.1));
ALTER TABLE readings RENAME c TO b;
CALL amad_refresh('m', as_of => at(22.2));
CALL amad_care('m', as_of => at(23));
SELECT * FROM shown WHERE kind = 'job';
SELECT transition, kind, detail FROM amad_outbox o JOIN amad_incidents i ON i.id = incident WHERE kind = 'job' ORDER BY o.created;
SELECT state, failures, last_state FROM amad_status;

-- paused, switched off, in a transaction, by a stranger
SELECT amad_pause('m');
CALL amad_care('m', as_of => at(24));
SELECT amad_resume('m');
SELECT amad_watch('m', care => false)->'changes' AS changes;
CALL amad_care('m', as_of => at(24));
SELECT amad_watch('m', care => true)->'changes' AS changes;
BEGIN; CALL amad_care('m', as_of => at(24)); ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ; CALL amad_care('m', as_of => at(24)); ROLLBACK;
SELECT count(*) FROM care WHERE day = 24;
-- it would never be due again
CALL amad_care('m', as_of => 'infinity');
-- a process that was killed has failed, too
INSERT INTO amad_runs (watch, kind, run, started, state, as_of) SELECT watch, 'recalibrate', 1000, clock_timestamp(), 'running', at(24) FROM amad_watches;
CALL amad_care('m', as_of => at(24.5));
SELECT state FROM care WHERE run >= 1000;
DELETE FROM amad_runs WHERE run = 1000;
CREATE ROLE regress_amad_stranger;
SET ROLE regress_amad_stranger;
CALL amad_care('m');
RESET ROLE;
-- an operator
CREATE ROLE regress_amad_operator;
SELECT amad_grant('m', 'regress_amad_operator', 'operate');
SET ROLE regress_amad_operator;
CALL amad_care('m', as_of => at(24));
RESET ROLE;
SELECT kind, day, state FROM care WHERE day = 24;
SELECT amad_revoke('m', 'regress_amad_operator');
DROP ROLE regress_amad_stranger, regress_amad_operator;

-- without series columns, and with an integer time column
CREATE TABLE alone AS SELECT ts, a, b FROM readings WHERE device = 7 AND ts < at(7);
CREATE TABLE counted AS SELECT row_number() OVER (ORDER BY ts) AS n, a, b FROM alone;
SELECT amad_train('a', 'alone', options => '{"method": "pca", "horizons": [1]}')->'version' AS version,
  amad_train('n', 'counted', 'n', options => '{"method": "pca", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('a')->'changes' AS changes, amad_watch('n')->'changes' AS changes;
CALL amad_refresh('a', as_of => at(7));
CALL amad_refresh('n');
INSERT INTO alone SELECT ts, a + 100, b FROM feed WHERE device = 7 AND ts >= at(7) AND ts < at(9);
CALL amad_refresh('a', as_of => at(9));
CALL amad_care('a', as_of => at(9));
CALL amad_care('n', as_of => at(9));
SELECT model_name, r.kind, series, r.notices FROM amad_runs r JOIN amad_watches USING (watch) WHERE r.kind <> 'refresh' AND model_name IN ('a', 'n');

-- what the test leaves behind
SELECT amad_unwatch('m'), amad_unwatch('a'), amad_unwatch('n');
DROP VIEW care, shown;
DROP TABLE feed, readings, alone, counted, scores, a_scores, n_scores CASCADE;
DROP FUNCTION at, noise, feed(float8);
DELETE FROM amad_models;
