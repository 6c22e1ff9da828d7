-- Incidents: found, extended, merged, split, closed and withdrawn as rows arrive, late or changed; silences; announcements.
\set VERBOSITY terse
SET timezone = 'UTC';
SELECT setval('amad_incidents_id_seq', 1, false);
CREATE FUNCTION at(i int) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT timestamptz '2026-05-01' + i * interval '1 minute' $$;
CREATE TABLE readings (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
-- rows of devices at minutes; up: added to a
CREATE FUNCTION feed(first int, last int, devices int[] DEFAULT '{1,2,3,4,5,6}', up float8 DEFAULT 0) RETURNS void LANGUAGE sql AS $$
  INSERT INTO readings SELECT d, at(i), sin(i * 0.2 + d) + up, cos(i * 0.11) + (i * 7919 % 101) / 500.0
  FROM generate_series(first, last) i, unnest(devices) d ON CONFLICT (device, ts) DO UPDATE SET a = excluded.a $$;
SELECT feed(0, 999);
-- z-scores do not depend on earlier rows
SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT feed(300, 301, '{2}', 50);
SELECT amad_watch('m', target => 'scores', min_severity => 0.5);
SELECT amad_watch('m', target => 'scores', min_rows => 0);
SELECT amad_watch('m', target => 'scores', merge_gap => '-1 s');
SELECT amad_watch('m', target => 'scores', merge_gap => '5 minutes', cooldown => '0')->'target' AS target;
CREATE FUNCTION refresh(i int) RETURNS TABLE (incident bigint, transition text, number int, incidents bigint) LANGUAGE plpgsql AS $$ BEGIN
  CALL amad_refresh('m', as_of => at(i) + interval '1 second');
  RETURN QUERY SELECT d.incident, d.transition, d.number, d.incidents FROM amad_deliveries() d;
  PERFORM amad_delivered(d.incident, d.transition, d.number) FROM amad_deliveries() d; END $$;
SET client_min_messages = warning;
-- anomalies that are incidents by the stored scores, and those of the table, must be the same
CREATE FUNCTION differing() RETURNS bigint LANGUAGE sql AS $$
  WITH rows AS (SELECT device, ts, severity, coalesce(ts - lag(ts) OVER w > interval '5 minutes', true) AS begins
      FROM scores WHERE severity > 1 AND status IS NULL WINDOW w AS (PARTITION BY device ORDER BY ts)),
    chains AS (SELECT device, min(ts) AS started, max(ts) AS ended, count(*) AS rows, max(severity) AS peak
      FROM (SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY device ORDER BY ts) AS chain FROM rows) r GROUP BY device, chain)
  SELECT count(*) FROM (SELECT (series->>'device')::int AS device, started, ended, i.rows, peak_severity AS peak FROM amad_incidents i
      WHERE kind = 'anomaly' AND state IN ('open', 'closed')) i FULL JOIN chains c
    ON (i.device, i.started, i.ended, i.rows, float8send(i.peak)) = (c.device, c.started, c.ended, c.rows, float8send(c.peak))
  WHERE i.device IS NULL OR c.device IS NULL $$;
CREATE VIEW shown AS SELECT id, series->>'device' AS device, kind, state, (extract(epoch FROM started - at(0)) / 60)::int AS started,
    (extract(epoch FROM ended - at(0)) / 60)::int AS ended, rows, leader, merged_into FROM amad_incidents ORDER BY id;

-- what was there before the watch is not announced
SELECT * FROM refresh(999);
SELECT * FROM shown;
SELECT differing();

-- an incident, extended by later rows, whose severity doubles, and that ends
SELECT feed(1000, 1009); UPDATE readings SET a = 2.08 WHERE device = 3 AND ts BETWEEN at(1005) AND at(1007); SELECT * FROM refresh(1009);
SELECT id, kind, state, rows, jsonb_pretty(top_features) ~ '"feature": "a"' AS feature, top_features->0->'direction' AS direction, acknowledged_by FROM amad_incidents WHERE id = 2;
SELECT feed(1010, 1012); UPDATE readings SET a = 2.2 WHERE device = 3 AND ts = at(1010); SELECT * FROM refresh(1012);
-- as if a smaller severity had been announced
UPDATE amad_incidents SET announced_severity = 1.01 WHERE id = 2;
SELECT feed(1013, 1013); SELECT feed(1013, 1013, '{3}', 200); SELECT * FROM refresh(1013);
SELECT feed(1014, 1018); SELECT * FROM refresh(1018);
SELECT feed(1019, 1019); SELECT * FROM refresh(1019);
SELECT * FROM shown WHERE id > 1;
SELECT differing();

-- a late row joins two incidents, of which the older remains; another change splits it again
SELECT feed(1020, 1039); SELECT feed(1022, 1022, '{4}', 10); SELECT feed(1030, 1030, '{4}', 10); SELECT * FROM refresh(1039);
SELECT feed(1026, 1026, '{4}', 10); SELECT * FROM refresh(1039);
SELECT * FROM shown WHERE device = '4';
SELECT feed(1026, 1026, '{4}', 0); SELECT * FROM refresh(1039);
SELECT * FROM shown WHERE device = '4';
SELECT differing();

-- rows are corrected
SELECT feed(1020, 1039, '{4}', 0); SELECT * FROM refresh(1039);
SELECT * FROM shown WHERE device = '4';
DELETE FROM readings WHERE device = 2; SELECT * FROM refresh(1039);
SELECT * FROM shown WHERE device = '2';
SELECT differing();

-- many devices at once are announced as one, and end as one
SELECT feed(1040, 1042, '{1,3,4,5,6}', 10); CALL amad_refresh('m', as_of => at(1042));
SELECT message->'series' AS series, message->'all_series' AS all_series FROM amad_deliveries();
SELECT * FROM refresh(1042);
SELECT feed(1043, 1060, '{1,3,4,5}'); SELECT feed(1043, 1049, '{6}', 10); SELECT feed(1050, 1051, '{6}'); SELECT * FROM refresh(1051);
SELECT feed(1052, 1060, '{6}'); SELECT * FROM refresh(1060);
SELECT differing();

-- a device stops, and comes back; then all stop
SELECT feed(1061, 1100, '{1,3,4,5}'); SELECT * FROM refresh(1100);
SELECT * FROM shown WHERE kind = 'silent';
SELECT feed(1101, 1101); SELECT * FROM refresh(1101);
SELECT * FROM refresh(1200);
SELECT * FROM refresh(1300);
SELECT * FROM shown WHERE kind = 'silent';
SELECT feed(1301, 1301); SELECT * FROM refresh(1301);

-- the rule
SELECT amad_watch('m', min_rows => 3, min_severity => 1.5, min_duration => '3 minutes')->'target' AS target;
SELECT feed(1302, 1330); SELECT feed(1305, 1306, '{1}', 50); SELECT feed(1305, 1307, '{3}', 50); SELECT feed(1305, 1308, '{4}', 50); SELECT * FROM refresh(1330);
SELECT * FROM shown WHERE started > 1302;

-- ---- roles ---------------------------------------------------------------------------------

CREATE ROLE amad_i_operator; CREATE ROLE amad_i_reader;
SELECT amad_grant('m', 'amad_i_operator', 'operate'), amad_grant('m', 'amad_i_reader', 'read');
SELECT feed(1331, 1340); SELECT feed(1334, 1338, '{5}', 50);
CALL amad_refresh('m', as_of => at(1340));
SET ROLE amad_i_reader;
SELECT count(*) FROM amad_incidents WHERE state = 'open';
SELECT count(*) FROM amad_deliveries();
SELECT amad_acknowledge(max(id)) FROM amad_incidents;
SELECT amad_delivered(max(id), 'open') FROM amad_incidents;
SET ROLE amad_i_operator;
SELECT amad_acknowledge(max(id), 'on my way') FROM amad_incidents;
SELECT acknowledged_by, note FROM amad_incidents ORDER BY id DESC LIMIT 1;
SELECT transition, message->'acknowledged' AS acknowledged FROM amad_deliveries(1);
SELECT amad_delivered(max(id), 'open'), amad_delivered(max(id), 'open') FROM amad_incidents;
SELECT count(*) FROM amad_deliveries(0);
SELECT amad_acknowledge(NULL), amad_acknowledge(-1);
RESET ROLE;
SELECT open_incidents, undelivered FROM amad_status;

-- ---- the same trouble again -------------------------------------------------------------------

-- within the cooldown, with the same leading feature and less than twice the severity: not announced, led by the first one
SELECT amad_watch('m', cooldown => '-1 s');
SELECT amad_watch('m', min_rows => 1, min_severity => 1, min_duration => '0', cooldown => '1 hour')->'target' AS target;
CREATE VIEW troubles AS SELECT (extract(epoch FROM started - at(0)) / 60)::int AS started, top_features->0->>'feature' AS lead, round(peak_severity::numeric, 1) AS severity,
  announced_severity IS NOT NULL AS announced, (SELECT (extract(epoch FROM l.started - at(0)) / 60)::int FROM amad_incidents l WHERE l.id = i.leader AND l.id <> i.id) AS leader
  FROM amad_incidents i WHERE series->>'device' = '6' AND started >= at(1341) ORDER BY i.started;
SELECT feed(1341, 1349); SELECT feed(1343, 1344, '{6}', 30); SELECT * FROM refresh(1349);
SELECT feed(1350, 1369); SELECT feed(1360, 1361, '{6}', 31); SELECT * FROM refresh(1369);
-- once more, an hour and more after the first one, but not after the second one
SELECT feed(1370, 1419); SELECT feed(1410, 1411, '{6}', 29); SELECT * FROM refresh(1419);
SELECT * FROM troubles;
-- when it is twice as severe as what was announced, it is announced alone
UPDATE amad_incidents SET announced_severity = 1.01 WHERE started = at(1343) AND series->>'device' = '6';
SELECT feed(1412, 1412, '{6}', 30); SELECT * FROM refresh(1420);
SELECT * FROM troubles;
-- another feature, and the same one after the cooldown
SELECT feed(1420, 1439); UPDATE readings SET b = 40 WHERE device = 6 AND ts = at(1430); SELECT * FROM refresh(1439);
SELECT feed(1440, 1519); SELECT feed(1515, 1515, '{6}', 30); SELECT * FROM refresh(1519);
SELECT * FROM troubles;
-- not after one that was planned
SELECT feed(1520, 1539); SELECT amad_feedback(max(id), 'expected') FROM amad_incidents WHERE series->>'device' = '6'; SELECT * FROM refresh(1539);
SELECT feed(1540, 1559); SELECT feed(1550, 1550, '{6}', 30); SELECT * FROM refresh(1559);
SELECT * FROM troubles OFFSET 5;
-- a trouble that comes back is no group
SELECT feed(1560, 1700); SELECT feed(1700, 1700, '{6}', 30); CALL amad_refresh('m', as_of => at(1700));
SELECT feed(1701, 1715); SELECT feed(1710, 1710, '{6}', 30); CALL amad_refresh('m', as_of => at(1715));
SELECT feed(1716, 1730); SELECT feed(1725, 1725, '{6}', 30); CALL amad_refresh('m', as_of => at(1730));
SELECT feed(1731, 1750); SELECT * FROM refresh(1750);
DROP VIEW troubles;
-- contributions that anybody has written, and the longest interval
UPDATE scores SET contributions = '[1]', expected = '"x"', severity = 9 WHERE device = 6 AND ts = at(1550);
SELECT feed(1551, 1551, '{6}', 30); SELECT * FROM refresh(1751);
SELECT amad_watch('m', cooldown => '1001 years');
SELECT amad_watch('m', "every" => '1000 years', cooldown => '1000 years')->'target' AS target;
SELECT * FROM refresh(1752);
SELECT state FROM amad_status;
-- the same trouble, but it lasts longer than merge_gap and twice as long as before
SELECT amad_watch('m', "every" => '0', cooldown => '30 minutes')->'target' AS target;
SELECT feed(1753, 1779); SELECT feed(1755, 1756, '{6}', 30); SELECT feed(1765, 1774, '{6}', 30); SELECT * FROM refresh(1769); SELECT * FROM refresh(1774);
SELECT amad_watch('m', "every" => '0', cooldown => '0')->'target' AS target;

-- integers, without series
CREATE TABLE ticks AS SELECT i AS number, sin(i * 0.3) AS a, cos(i * 0.2) AS b FROM generate_series(1, 500) i;
SELECT amad_train('t', 'ticks', 'number', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('t')->'target' AS target;
CALL amad_refresh('t');
INSERT INTO ticks VALUES (501, 90, 1), (502, 90, 1);
CALL amad_refresh('t');
SELECT series, kind, state, started, first_ts, last_ts, rows FROM amad_incidents JOIN amad_watches USING (watch) WHERE model_name = 't';
SELECT message->'started' AS started, message->'series' AS series FROM amad_deliveries() WHERE model_name = 't';

SELECT amad_drop(m) FROM unnest('{m,t}'::text[]) m;
SELECT (SELECT count(*) FROM amad_incidents) AS incidents, (SELECT count(*) FROM amad_outbox) AS outbox;
DROP TABLE readings, scores, ticks, t_scores CASCADE;
DROP VIEW shown;
DROP FUNCTION at, feed, refresh, differing;
DROP ROLE amad_i_operator, amad_i_reader;
RESET client_min_messages;
\set VERBOSITY default
