-- The rule for incidents by a number of alarms a day: amad_tune, and alerts_per_day of a watch.
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE FUNCTION at(i int) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT timestamptz '2026-05-01' + i * interval '10 minutes' $$;
CREATE TABLE readings AS SELECT d AS device, at(i) AS ts, sin(i * 0.2 + d) AS a, cos(i * 0.11) + (i * 7919 % 101) / 500.0 AS b
  FROM generate_series(0, 1440) i, generate_series(1, 5) d;
CREATE INDEX ON readings (device, ts);
SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('m', target => 'scores', cooldown => '0')->'target' AS target;
SELECT * FROM amad_tune('m', 3);                -- no scores yet
CALL amad_refresh('m', as_of => at(1440));

-- ten days: 40 weak incidents of one row, 20 strong ones of one row, 10 of five rows, and 2 of all devices at once
UPDATE scores SET severity = 0.5, status = NULL;
UPDATE scores SET severity = 1.2 FROM generate_series(1, 40) n WHERE device = 1 AND ts = at(n * 30);
UPDATE scores SET severity = 2.2 FROM generate_series(1, 20) n WHERE device = 2 AND ts = at(n * 60 + 7);
UPDATE scores SET severity = 1.6 FROM generate_series(1, 10) n WHERE device = 3 AND ts BETWEEN at(n * 120 + 3) AND at(n * 120 + 7);
UPDATE scores SET severity = 5 WHERE ts IN (at(1300), at(1400));
SELECT min_severity, min_rows, merge_gap, alarms, alarms_per_day FROM amad_tune('m', 100) WHERE merge_gap = '100 minutes' AND min_rows IN (1, 5) AND min_severity <= 3;
-- all of them; without the weak ones; the long ones and the common ones; the common ones; none
CREATE VIEW rule AS SELECT min_severity, min_rows, merge_gap, alerts_per_day, tuned_version FROM amad_watches;
SELECT alarms, alarms_per_day FROM amad_tune('m', 7.3) WHERE chosen; SELECT * FROM rule;
SELECT alarms, alarms_per_day FROM amad_tune('m', 7) WHERE chosen; SELECT * FROM rule;
SELECT alarms, alarms_per_day FROM amad_tune('m', 1) WHERE chosen; SELECT * FROM rule;
SELECT alarms, alarms_per_day FROM amad_tune('m', 0.5) WHERE chosen; SELECT * FROM rule;
SELECT alarms, alarms_per_day FROM amad_tune('m', 0.1) WHERE chosen; SELECT * FROM rule;
-- confirmed incidents, of which one has no anomaly, are kept if the number a day allows it; what was expected is no alarm
SELECT amad_feedback('m', '{"device": 1}', at(n * 30 - 1), at(n * 30 + 1)) IS NULL AS failed FROM generate_series(1, 2) n;
SELECT amad_feedback('m', '{"device": 3}', at(124), at(126)) IS NULL, amad_feedback('m', '{"device": 3}', at(128), at(129)) IS NULL,
  amad_feedback('m', '{"device": 4}', at(10), at(20)) IS NULL, amad_feedback('m', NULL, at(1299), at(1301)) IS NULL AS failed;
SELECT min_severity, min_rows, alarms, incidents FROM amad_tune('m', 100) WHERE merge_gap = '100 minutes' AND min_rows IN (1, 5) AND min_severity IN (1, 1.25, 2, 10);
SELECT min_severity, min_rows, alarms, incidents FROM amad_tune('m', 7) WHERE chosen;
SELECT min_severity, min_rows, alarms, incidents FROM amad_tune('m', 1) WHERE chosen;
SELECT amad_feedback('m', '{"device": 2}', at(0), at(1000), 'expected') IS NULL AS failed;
SELECT min_severity, min_rows, alarms, incidents FROM amad_tune('m', 7) WHERE chosen;
SELECT amad_drop_verdict(id) IS NULL AS failed FROM amad_verdicts;
-- part of the time
SELECT alarms, alarms_per_day FROM amad_tune('m', 1, since => at(1260)) WHERE chosen;
-- never few enough: a notice
UPDATE scores SET severity = 20 WHERE device = 5 AND ts BETWEEN at(100) AND at(1200) AND mod(extract(epoch FROM ts)::bigint / 600, 200) < 6;
SELECT alarms FROM amad_tune('m', 0.01) WHERE chosen;
SELECT * FROM amad_tune('m', 0);
SELECT * FROM amad_tune('m', 'NaN');
SELECT * FROM amad_tune('nothing', 1);
SELECT alerts_per_day FROM amad_status;

-- a refresh chooses it, and again when another version is deployed
SELECT amad_watch('m', alerts_per_day => -1);
SELECT amad_watch('m', alerts_per_day => 0, min_severity => 1, min_rows => 1, merge_gap => '0')->'target' AS target;
SELECT amad_tune('m');
UPDATE scores SET severity = 0.5 WHERE device = 5 AND severity = 20;
CALL amad_refresh('m', as_of => at(1441)); SELECT * FROM rule;
SELECT amad_watch('m', alerts_per_day => 3.5)->'target' AS target;
CALL amad_refresh('m', as_of => at(1441)); SELECT * FROM rule;
SELECT notices FROM amad_runs ORDER BY started DESC LIMIT 1;
UPDATE scores SET severity = 0.5 WHERE severity = 2.2;
CALL amad_refresh('m', as_of => at(1441)); SELECT * FROM rule;
SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
CALL amad_refresh('m', as_of => at(1441)); SELECT * FROM rule;
CREATE ROLE amad_t_other;
SET ROLE amad_t_other;
SELECT * FROM amad_tune('m', 3);
RESET ROLE;

SELECT amad_drop('m');
DROP VIEW rule;
DROP TABLE readings, scores CASCADE;
DROP FUNCTION at;
DROP ROLE amad_t_other;
\set VERBOSITY default
