-- The class and the labels of announcements.
\set VERBOSITY terse
SET timezone = 'UTC';
CREATE FUNCTION at(i int) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT timestamptz '2026-05-01' + i * interval '1 minute' $$;
CREATE TABLE readings (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
CREATE FUNCTION feed(first int, last int, devices int[] DEFAULT '{1,2,3,4,5,6}', up float8 DEFAULT 0) RETURNS void LANGUAGE sql AS $$
  INSERT INTO readings SELECT d, at(i), sin(i * 0.2 + d) + up, cos(i * 0.11) + (i * 7919 % 101) / 500.0
  FROM generate_series(first, last) i, unnest(devices) d ON CONFLICT (device, ts) DO UPDATE SET a = excluded.a $$;
-- what is to be announced, and that it was
CREATE FUNCTION announced() RETURNS TABLE (kind text, series jsonb, transition text, incidents bigint, class text, labels jsonb) LANGUAGE plpgsql AS $$ BEGIN
  RETURN QUERY SELECT m->>'kind', m->'series', m->>'transition', d.incidents, m->>'class', m->'labels'
    FROM amad_deliveries() d, LATERAL (SELECT d.message AS m) x ORDER BY d.incident, d.transition;
  PERFORM amad_delivered(d.incident, d.transition, d.number) FROM amad_deliveries() d; END $$;
SELECT feed(0, 499);
SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('m', target => 'scores', merge_gap => '2 minutes', cooldown => '0')->'target' AS target;

-- ---- the settings --------------------------------------------------------------------------

SELECT critical_severity, labels FROM amad_watches;
\set VERBOSITY default
SELECT amad_watch('m', critical_severity => 0.5);
SELECT amad_watch('m', critical_severity => 'NaN');
SELECT amad_watch('m', labels => '["team"]');
SELECT amad_watch('m', labels => '{"team": "plant", "floor": 1}');
SELECT amad_watch('m', labels => '{"team": {"name": "plant"}}');
SELECT amad_watch('m', labels => 'null');
\set VERBOSITY terse
SELECT critical_severity, labels FROM amad_watches;
SELECT amad_watch('m', critical_severity => 1.8, labels => '{"team": "plant", "line \"1\"": "north\nside"}')->'target' AS target;
-- other settings are kept
SELECT amad_watch('m', min_rows => 1)->'target' AS target;
SELECT critical_severity, labels FROM amad_watches;

-- ---- classes -------------------------------------------------------------------------------

CALL amad_refresh('m', as_of => at(499));
SELECT count(*) FROM announced();
-- by severity
SELECT feed(500, 502), feed(502, 502, '{2}', 500);
UPDATE readings SET a = 2.6 WHERE device = 1 AND ts = at(502);
CALL amad_refresh('m', as_of => at(502));
SELECT series, round(peak_severity::numeric, 1) AS severity FROM amad_incidents ORDER BY 2;
SELECT * FROM announced();
-- the setting at the time of the announcement counts
SELECT amad_watch('m', critical_severity => 'infinity', labels => '{}')->'target' AS target;
SELECT feed(503, 510);
CALL amad_refresh('m', as_of => at(510));
SELECT * FROM announced();
-- a group has the class of its worst, which need not be the incident that is announced for it
SELECT amad_watch('m', critical_severity => 1.8)->'target' AS target;
SELECT feed(511, 530); UPDATE readings SET a = 2.6 WHERE device < 4 AND ts = at(530); SELECT feed(530, 530, '{6}', 500);
CALL amad_refresh('m', as_of => at(530));
SELECT max(peak_severity) FILTER (WHERE id = leader) < 1.8 AS first, max(peak_severity) > 1.8 AS worst FROM amad_incidents WHERE state = 'open';
SELECT * FROM announced();
-- a series is silent, and all are
SELECT feed(531, 580, '{1,2,3,4,5}');
CALL amad_refresh('m', as_of => at(580));
SELECT * FROM announced();
CALL amad_refresh('m', as_of => at(700));
SELECT * FROM announced();

SELECT amad_drop('m');
DROP TABLE readings, scores CASCADE;
DROP FUNCTION at, feed, announced;
-- for tests that show identifiers
SELECT setval('amad_incidents_id_seq', 1, false);
\set VERBOSITY default
