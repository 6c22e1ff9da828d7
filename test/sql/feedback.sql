-- Verdicts on incidents: confirmed ones are not learned from, false alarms mute others, what is expected is no incident.
\set VERBOSITY terse
SET timezone = 'UTC';
SELECT setval('amad_incidents_id_seq', 1, false), setval('amad_verdicts_id_seq', 1, false);
CREATE FUNCTION at(i int) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT timestamptz '2026-05-01' + i * interval '1 minute' $$;
CREATE TABLE readings (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
-- rows of devices at minutes; up: added to a, more: to b
CREATE FUNCTION feed(first int, last int, devices int[] DEFAULT '{1,2,3,4}', up float8 DEFAULT 0, more float8 DEFAULT 0) RETURNS void LANGUAGE sql AS $$
  INSERT INTO readings SELECT d, at(i), sin(i * 0.2 + d) + up, cos(i * 0.11) + (i * 7919 % 101) / 500.0 + more
  FROM generate_series(first, last) i, unnest(devices) d ON CONFLICT (device, ts) DO UPDATE SET a = excluded.a, b = excluded.b $$;
SELECT feed(0, 1499);
SELECT feed(300, 301, '{2}', 50);
SELECT feed(400, 401, '{3}', -50);
-- z-scores do not depend on earlier rows
SELECT amad_train('m', 'readings', series_cols => '{device}', until => at(300), options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('m', target => 'scores', merge_gap => '5 minutes', cooldown => '0')->'target' AS target;
CREATE FUNCTION refresh(i int) RETURNS TABLE (incident bigint, transition text, number int, incidents bigint) LANGUAGE plpgsql AS $$ BEGIN
  CALL amad_refresh('m', as_of => at(i) + interval '1 second');
  RETURN QUERY SELECT d.incident, d.transition, d.number, d.incidents FROM amad_deliveries() d;
  PERFORM amad_delivered(d.incident, d.transition, d.number) FROM amad_deliveries() d; END $$;
SET client_min_messages = warning;
-- anomalies outside of what is expected that are incidents by the stored scores, and those of the table, must be the same
CREATE FUNCTION differing() RETURNS bigint LANGUAGE sql AS $$
  WITH rows AS (SELECT device, ts, severity, coalesce(ts - lag(ts) OVER w > interval '5 minutes', true) AS begins
      FROM scores s WHERE severity > 1 AND status IS NULL AND NOT EXISTS (SELECT FROM amad_verdicts v
        WHERE v.verdict = 'expected' AND (series IS NULL OR (series->>'device')::int = s.device)
          AND (extract(epoch FROM s.ts) - extract(epoch FROM timestamptz '2000-01-01')) * 1000000 BETWEEN first_ts AND last_ts)
      WINDOW w AS (PARTITION BY device ORDER BY ts)),
    chains AS (SELECT device, min(ts) AS started, max(ts) AS ended, count(*) AS rows, max(severity) AS peak
      FROM (SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY device ORDER BY ts) AS chain FROM rows) r GROUP BY device, chain)
  SELECT count(*) FROM (SELECT (series->>'device')::int AS device, started, ended, i.rows, peak_severity AS peak FROM amad_incidents i
      WHERE kind = 'anomaly' AND state IN ('open', 'closed') AND verdict IS DISTINCT FROM 'expected') i FULL JOIN chains c
    ON (i.device, i.started, i.ended, i.rows, float8send(i.peak)) = (c.device, c.started, c.ended, c.rows, float8send(c.peak))
  WHERE i.device IS NULL OR c.device IS NULL $$;
CREATE VIEW shown AS SELECT id, series->>'device' AS device, state, (extract(epoch FROM started - at(0)) / 60)::int AS started,
    (extract(epoch FROM ended - at(0)) / 60)::int AS ended, rows, top_features->0->>'feature' AS feature, verdict, muted, note
  FROM amad_incidents ORDER BY id;
CREATE VIEW verdicts AS SELECT id, incident, series, verdict, (extract(epoch FROM started - at(0)) / 60)::int AS started,
    (extract(epoch FROM ended - at(0)) / 60)::float8 AS ended, feature, direction, training_version AS training, until, note, given_by = current_user AS mine
  FROM amad_verdicts ORDER BY id;
SELECT * FROM refresh(1499);
SELECT * FROM shown;
SELECT round(peak_severity::numeric, 1) AS severity FROM amad_incidents ORDER BY id;

-- ---- what is refused -----------------------------------------------------------------------

SELECT amad_feedback(NULL, 'incident');
SELECT amad_feedback(1, 'good');
SELECT amad_feedback(99, 'incident');
SELECT amad_feedback(1, 'incident', until => at(2000));
SELECT amad_feedback(1, 'expected', until => at(100));
SELECT amad_feedback(NULL::text, NULL, at(0), at(1));
SELECT amad_feedback('n', NULL, at(0), at(1));
SELECT amad_feedback('m', NULL, at(0), NULL, 'incident');
SELECT amad_feedback('m', NULL, at(1), at(1));
SELECT amad_feedback('m', NULL, at(0), at(1), NULL);
SELECT amad_feedback('m', NULL, at(0), at(1), 'bad');
SELECT amad_feedback('m', NULL, at(0), at(1), 'false_alarm');
SELECT amad_feedback('m', '[1]', at(0), at(1));
SELECT amad_feedback('m', '{"site": 1}', at(0), at(1));
SELECT amad_feedback('m', '{"device": "x"}', at(0), at(1));
SELECT amad_feedback('m', '{"device": [1, 2]}', at(0), at(1));
SELECT amad_drop_verdict(99);
SELECT amad_drop_verdict(NULL) IS NULL AS nothing;
SELECT count(*) FROM amad_verdicts;

-- ---- confirmed incidents -------------------------------------------------------------------

CREATE TABLE before AS SELECT * FROM amad_detect('m');
SELECT amad_feedback(1, 'incident', 'bearing');
SELECT amad_feedback('m', '{"device": "3"}', at(400), at(402), note => 'missed');
SELECT amad_feedback('m', NULL, at(700), at(705));
SELECT * FROM verdicts;
SELECT * FROM shown WHERE id = 1;
-- two rows of device 2, two of device 3, and five of all
SELECT s->'labelled_rows' AS left_out, s->'rows' AS rows FROM amad_retrain('m', deploy => false) AS s;
SELECT s->'labelled_rows' AS left_out FROM amad_train('m', 'readings', series_cols => '{device}', deploy => false,
  options => '{"method": "zscore", "horizons": [1]}') AS s;
SELECT s->'labelled_rows' AS left_out FROM amad_train('other', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}') AS s;
SELECT s->'labelled_rows' AS left_out FROM amad_recalibrate('m', since => at(0), deploy => false) AS s;
SELECT s->'labelled_rows' AS left_out FROM amad_recalibrate('m', since => at(0), series => '{"device": 2}', deploy => false) AS s;
-- drift does not count them
SELECT series, rows FROM amad_drift('m', since => at(0)) WHERE feature IS NULL;
-- scores do not change
SELECT count(*) AS different FROM (SELECT d::text FROM amad_detect('m') AS d EXCEPT ALL SELECT before::text FROM before) AS d;
-- a duplicate row in such a time does not change which of them counts
CREATE TABLE twice AS SELECT ts, a, b FROM readings WHERE device = 1 UNION ALL SELECT ts, a + 1, b FROM readings WHERE device = 1 AND ts IN (at(701), at(900));
SELECT s->'labelled_rows' AS left_out, s->'duplicate_rows' AS duplicates FROM amad_train('m', 'twice', deploy => false, options => '{"method": "zscore", "horizons": [1]}') AS s;
-- a version that misses a confirmed incident is not better
SELECT amad_feedback(2, 'incident');
SELECT s->'deployed' AS deployed, s->'deploy'->'reason' AS reason FROM amad_train('m', 'readings', series_cols => '{device}',
  options => '{"method": "zscore", "horizons": [200]}', deploy => 'if_better') AS s;
SELECT s->'deploy'->'incidents' AS incidents, s->'deploy'->'old'->'incidents' AS old, s->'deploy'->'new'->'incidents' AS new FROM amad_retrain('m', deploy => 'if_better') AS s;
SELECT amad_deploy('m', 1);
-- it does not count rows at other times with a verdict: ten of each series
SELECT (s->'deploy'->'new'->'rows')::int AS rows FROM amad_retrain('m', deploy => 'if_better') AS s;
SELECT amad_deploy('m', 1);
SELECT amad_feedback('m', NULL, at(1480), at(1490), 'expected') AS verdict \gset
SELECT (s->'deploy'->'new'->'rows')::int AS rows, s->'labelled_rows' AS left_out FROM amad_retrain('m', deploy => 'if_better') AS s;
SELECT amad_deploy('m', 1);
SELECT amad_drop_verdict(:verdict);
-- what was given is replaced, and taken back
SELECT amad_feedback(2, 'false_alarm', 'test');
SELECT * FROM verdicts WHERE incident = 2;
SELECT amad_feedback(2, NULL, 'not sure');
SELECT * FROM shown WHERE id = 2;
SELECT amad_drop_verdict(id) FROM amad_verdicts;
SELECT count(*) AS verdicts FROM amad_verdicts;
SELECT verdict, note FROM amad_incidents ORDER BY id;
SELECT s->'labelled_rows' AS left_out FROM amad_retrain('m', deploy => false) AS s;

-- ---- false alarms --------------------------------------------------------------------------

-- an incident is announced and closed by its verdict
SELECT feed(1500, 1510); UPDATE readings SET a = 2.5 WHERE device = 1 AND ts BETWEEN at(1505) AND at(1506); SELECT * FROM refresh(1510);
SELECT amad_feedback(3, 'false_alarm', 'load test');
SELECT incident, transition, number, message->'state' AS state FROM amad_deliveries();
SELECT * FROM verdicts; SELECT * FROM shown WHERE id > 2;
SELECT * FROM refresh(1510);
SELECT amad_feedback(3, 'false_alarm', 'load test');
SELECT * FROM refresh(1510);
-- rows are added to it, and the like follows; nothing is announced
SELECT feed(1511, 1512); UPDATE readings SET a = 2.52 WHERE device = 1 AND ts = at(1511); SELECT * FROM refresh(1512);
SELECT feed(1513, 1527); UPDATE readings SET a = 2.55 WHERE device = 1 AND ts = at(1525); SELECT * FROM refresh(1527);
SELECT * FROM shown WHERE id > 2;
SELECT started, ended FROM verdicts;
SELECT differing();
-- one that grows is announced then, and closed
SELECT feed(1528, 1528, '{2,3,4}'), feed(1528, 1528, '{1}', 50); SELECT * FROM refresh(1528);
SELECT feed(1529, 1540); SELECT * FROM refresh(1540);
SELECT * FROM shown WHERE id > 3;
-- so is another direction, another feature, and another series
SELECT feed(1541, 1550); UPDATE readings SET a = -2.5 WHERE device = 1 AND ts = at(1545); SELECT * FROM refresh(1550);
SELECT feed(1551, 1560); UPDATE readings SET b = 2.5 WHERE device = 1 AND ts = at(1558); SELECT * FROM refresh(1560);
SELECT feed(1561, 1570); UPDATE readings SET a = 2.5 WHERE device = 2 AND ts = at(1565); SELECT * FROM refresh(1570);
SELECT feed(1571, 1580); SELECT * FROM refresh(1580);
SELECT * FROM shown WHERE id > 4;
SELECT differing();
-- the marked one grows beyond it: it is announced once more, and closed once more
SELECT feed(1581, 1590); UPDATE readings SET a = 2.5 WHERE device = 4 AND ts = at(1588); SELECT * FROM refresh(1590);
SELECT amad_feedback(max(id), 'false_alarm') FROM amad_incidents; SELECT * FROM refresh(1590);
SELECT feed(1591, 1591, '{1,2,3}'), feed(1591, 1591, '{4}', 50); SELECT * FROM refresh(1591);
SELECT feed(1592, 1600); SELECT * FROM refresh(1600);
SELECT * FROM shown ORDER BY id DESC LIMIT 1;
SELECT amad_feedback(max(id), NULL) FROM amad_incidents;

-- a date, a recalibration, and a training
SELECT amad_feedback(3, 'false_alarm', until => at(1640));
SELECT feed(1601, 1620); UPDATE readings SET a = 2.5 WHERE device = 1 AND ts = at(1615); SELECT * FROM refresh(1620);
SELECT feed(1621, 1650); UPDATE readings SET a = 2.5 WHERE device = 1 AND ts = at(1645); SELECT * FROM refresh(1650);
SELECT feed(1651, 1660); SELECT * FROM refresh(1660);
SELECT amad_feedback(3, 'false_alarm');
SELECT s->'from_version' AS from_version FROM amad_recalibrate('m', since => at(500), options => '{"threshold_only": true}') AS s;
SELECT feed(1661, 1680); UPDATE readings SET a = 2.5 WHERE device = 1 AND ts = at(1675); SELECT * FROM refresh(1680);
SELECT training FROM verdicts WHERE incident = 3;
SELECT amad_train('m', 'readings', series_cols => '{device}', until => at(300), options => '{"method": "zscore", "horizons": [1]}')->'deployed' AS deployed;
SELECT feed(1681, 1700); UPDATE readings SET a = 2.5 WHERE device = 1 AND ts = at(1695); SELECT * FROM refresh(1700);
SELECT feed(1701, 1710); SELECT * FROM refresh(1710);
SELECT started, muted FROM shown WHERE device = '1' AND started > 1600;
SELECT differing();
SELECT amad_drop_verdict(id) FROM amad_verdicts;

-- ---- what is expected ----------------------------------------------------------------------

-- an incident, and the time after it; other series, and what comes later, are announced
SELECT feed(1711, 1720), feed(1715, 1716, '{2}', 50); SELECT * FROM refresh(1720);
SELECT amad_feedback(max(id), 'expected', until => at(1740)) FROM amad_incidents; SELECT * FROM refresh(1720);
SELECT id, incident - (SELECT max(id) FROM amad_incidents) AS incident, series, started, ended FROM verdicts;
SELECT feed(1721, 1739), feed(1718, 1725, '{2}', 50), feed(1725, 1725, '{3}', 50); SELECT * FROM refresh(1739);
SELECT feed(1740, 1744), feed(1740, 1740, '{2}', 50), feed(1744, 1744, '{3}', 50); SELECT * FROM refresh(1744);
SELECT device, state, started, ended, rows, verdict, muted FROM shown WHERE started > 1711;
SELECT differing();
-- a window that was specified: an incident in it is withdrawn when rows are scored
SELECT amad_feedback('m', '{"device": 3}', at(1742), at(1760), 'expected', 'new firmware');
SELECT feed(1745, 1750), feed(1748, 1748, '{3}', 50); SELECT * FROM refresh(1750);
SELECT device, state, started, ended, rows, verdict, muted FROM shown WHERE started > 1730;
SELECT differing();
-- all series, in the future; without its verdict a row counts when it is scored
SELECT amad_feedback('m', NULL, at(1770), at(1780), 'expected');
SELECT amad_feedback('m', '{}', at(1790), 'infinity', 'expected');
SELECT feed(1751, 1800), feed(1775, 1775, '{1,2,3,4}', 50), feed(1795, 1795, '{1}', 50); SELECT * FROM refresh(1800);
SELECT differing();
SELECT amad_drop_verdict(max(id)) FROM amad_verdicts;
SELECT differing();
SELECT feed(1795, 1796, '{1}', 51); SELECT * FROM refresh(1800);
SELECT differing();
-- the verdict on an incident is taken back
SELECT amad_feedback(incident, NULL) FROM amad_verdicts WHERE incident IS NOT NULL;
SELECT feed(1716, 1716, '{2}', 50.5); SELECT * FROM refresh(1800);
SELECT device, state, started, ended, rows, verdict, muted FROM shown WHERE started BETWEEN 1711 AND 1730;
-- what has ended is merged into the oldest, or withdrawn
SELECT state, count(*) FROM amad_incidents WHERE state IN ('merged', 'withdrawn') GROUP BY state ORDER BY state;
SELECT amad_feedback(id, 'incident') FROM amad_incidents WHERE state = 'withdrawn' LIMIT 1;
UPDATE amad_incidents SET state = 'merged', merged_into = 1 WHERE id = 2;
SELECT amad_feedback(2, 'incident');
SELECT amad_feedback(2, NULL);
UPDATE amad_incidents SET state = 'closed', merged_into = NULL WHERE id = 2;

-- silences stay open in the table; none is found while it is expected
SELECT amad_feedback('m', '{"device": 4}', at(1800), at(1860), 'expected');
SELECT feed(1801, 1850, '{1,2,3}'); SELECT * FROM refresh(1850);
SELECT feed(1851, 1900, '{1,2,3}'); SELECT * FROM refresh(1900);
SELECT amad_feedback(id, 'false_alarm') FROM amad_incidents WHERE kind = 'silent' AND state = 'open';
SELECT * FROM refresh(1900);
SELECT kind, state, verdict, muted FROM amad_incidents WHERE kind = 'silent';
SELECT feed(1801, 1901, '{4}'), feed(1901, 1901); SELECT * FROM refresh(1901);
SELECT kind, state, verdict, muted FROM amad_incidents WHERE kind = 'silent';
DELETE FROM amad_verdicts;
-- another kind
INSERT INTO amad_incidents (id, watch, series_id, kind, state, first_ts, last_ts, opened_at, announced_severity)
  SELECT 1000, watch, '', 'job', 'open', 0, 0, now(), 0 FROM amad_watches WHERE model_name = 'm';
SELECT amad_feedback(1000, 'expected', 'I know');
SELECT incident, transition FROM amad_deliveries();
SELECT amad_delivered(1000, 'closed');
SELECT state, verdict, muted, note, (SELECT count(*) FROM amad_verdicts) AS verdicts FROM amad_incidents WHERE id = 1000;
SELECT amad_feedback(1000, NULL);
SELECT state, verdict, muted FROM amad_incidents WHERE id = 1000;
DELETE FROM amad_incidents WHERE id = 1000;

-- ---- rights --------------------------------------------------------------------------------

CREATE ROLE amad_f_operator; CREATE ROLE amad_f_reader; CREATE ROLE amad_f_stranger;
SELECT amad_grant('m', 'amad_f_operator', 'operate'), amad_grant('m', 'amad_f_reader', 'read');
SET ROLE amad_f_stranger;
SELECT amad_feedback(1, 'incident');
SELECT amad_feedback('m', NULL, at(0), at(1));
SELECT amad_drop_verdict(1);
SELECT count(*) FROM amad_verdicts;
INSERT INTO amad_verdicts (watch, verdict, first_ts, last_ts, given_at, given_by) VALUES (gen_random_uuid(), 'incident', 0, 0, now(), 'me');
SET ROLE amad_f_operator;
-- the actual value at the peak is read as the owner
SELECT amad_feedback(1, 'false_alarm', 'me');
SELECT amad_feedback(1, 'expected', until => at(310));
SELECT amad_feedback('m', '{"device": 1}', at(0), at(1)) > 0 AS given;
SELECT incident, verdict, given_by FROM amad_verdicts ORDER BY id;
SET ROLE amad_f_reader;
SELECT amad_feedback(1, 'incident');
SELECT amad_feedback('m', NULL, at(0), at(1));
SELECT amad_drop_verdict(id) FROM amad_verdicts;
SELECT count(*) FROM amad_verdicts;
SET ROLE amad_f_operator;
SELECT amad_drop_verdict(id) FROM amad_verdicts;
SELECT count(*) FROM amad_verdicts;
RESET ROLE;
-- a member of the owner's role
SELECT quote_ident(current_user) AS owner \gset
GRANT :owner TO amad_f_stranger;
SET ROLE amad_f_stranger;
SELECT amad_feedback('m', '{"device": 4}', at(0), at(1)) > 0 AS given;
SELECT amad_drop_verdict(id) FROM amad_verdicts;
RESET ROLE;
REVOKE :owner FROM amad_f_stranger;
BEGIN READ ONLY;
SELECT amad_feedback(1, 'incident');
ROLLBACK;
BEGIN READ ONLY;
SELECT amad_feedback('m', NULL, at(0), at(1));
ROLLBACK;
BEGIN READ ONLY;
SELECT amad_drop_verdict(1);
ROLLBACK;

-- ---- forged rows ---------------------------------------------------------------------------

ALTER TABLE amad_verdicts ALTER first_ts DROP NOT NULL, ALTER last_ts DROP NOT NULL, ALTER verdict DROP NOT NULL, ALTER given_by DROP NOT NULL;
INSERT INTO amad_verdicts (watch, incident, series_id, series, verdict, first_ts, last_ts, started, feature, direction, peak_severity, training_version, until, given_at)
SELECT w.watch, NULL, s.id, s.series, v.verdict, t.first_ts, t.last_ts, '-infinity', f.feature, f.direction, f.severity, f.version, NULL, now()
FROM amad_watches w,
  (VALUES ('\x'::bytea, NULL::jsonb), (repeat('x', 1000)::bytea, '{"device": 1e300}'), (NULL, '{"device": {"device": [1]}}'), (NULL, '[1]'), (NULL, '"x"'), (NULL, '{"": null}'),
    (NULL, '{"device": null}')) s(id, series),
  (VALUES ('incident'), ('false_alarm'), ('expected'), (NULL), ('nonsense'), ('')) v(verdict),
  (VALUES (NULL::bigint, NULL::bigint), (1, NULL), (NULL, 1), (2, 1), (-9223372036854775808, -9223372036854775808), (9223372036854775807, 9223372036854775807)) t(first_ts, last_ts),
  (VALUES (NULL, NULL, NULL::float8, NULL::int), ('a', 'above', 'NaN', 0), ('a', 'sideways', 1, -1), (repeat('a', 10000), 'below', 'Infinity', 2147483647), ('', '', 0, 1)) f(feature, direction, severity, version)
WHERE w.model_name = 'm';
SELECT count(*) FROM amad_verdicts;
SELECT s->'labelled_rows' AS left_out FROM amad_retrain('m', deploy => false) AS s;
SELECT s->'deploy'->'decision' AS decision FROM amad_retrain('m', deploy => 'if_better') AS s;
SELECT feed(1902, 1910), feed(1905, 1905, '{1}', 50); SELECT count(*) FROM refresh(1910);
SELECT count(*) FROM amad_tune('m', 10);
SELECT started, rows, muted FROM shown WHERE started > 1901;
-- all times are expected, or nothing is, because the columns are others
UPDATE amad_verdicts SET series = NULL, verdict = 'expected', first_ts = -9223372036854775808, last_ts = 9223372036854775807;
SELECT feed(1911, 1920), feed(1915, 1915, '{2}', 50); SELECT count(*) FROM refresh(1920);
SELECT started, rows, muted FROM shown WHERE started > 1910;
SELECT s->'deploy'->'decision' AS decision FROM amad_retrain('m', deploy => 'if_better') AS s;
ALTER TABLE amad_verdicts RENAME first_ts TO last; ALTER TABLE amad_verdicts RENAME last_ts TO first_ts;
SELECT s->'labelled_rows' AS left_out FROM amad_retrain('m', deploy => false) AS s;
SELECT amad_feedback(1, 'incident');
ALTER TABLE amad_verdicts RENAME first_ts TO last_ts; ALTER TABLE amad_verdicts RENAME last TO first_ts;
BEGIN;
DROP VIEW verdicts;
ALTER TABLE amad_verdicts ALTER series TYPE text;
SELECT s->'labelled_rows' AS left_out FROM amad_retrain('m', deploy => false) AS s;
SELECT amad_feedback(1, 'incident');
ROLLBACK;
BEGIN;
CREATE TRIGGER t BEFORE INSERT ON amad_verdicts FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT amad_feedback(1, 'incident');
ROLLBACK;
DELETE FROM amad_verdicts;
UPDATE amad_incidents SET top_features = '[[1]]', series = '[7]', peak_ts = 9223372036854775807 WHERE id = 1;
UPDATE amad_incidents SET top_features = '{"a": 1}', series = '7', peak_severity = 'NaN' WHERE id = 2;
SET client_min_messages = notice;
SELECT amad_feedback(1, 'false_alarm'), amad_feedback(2, 'false_alarm');
SET client_min_messages = warning;
ALTER TABLE amad_verdicts ALTER first_ts SET NOT NULL, ALTER last_ts SET NOT NULL, ALTER verdict SET NOT NULL, ALTER given_by SET NOT NULL;

-- ---- another time column -------------------------------------------------------------------

CREATE TABLE ticks AS SELECT i AS number, sin(i * 0.3) AS a, cos(i * 0.2) AS b FROM generate_series(1, 500) i;
SELECT amad_train('t', 'ticks', 'number', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('t', target => 'tick_scores')->'target' AS target;
CALL amad_refresh('t');
INSERT INTO ticks VALUES (501, 90, 1), (502, 90, 1);
CALL amad_refresh('t');
SELECT max(id) AS tick FROM amad_incidents \gset
SELECT amad_feedback('t', NULL, at(0), at(1));
SELECT amad_feedback(:tick, 'expected', until => at(0));
SELECT amad_feedback(:tick, 'incident');
SELECT series, first_ts, last_ts, started FROM amad_verdicts WHERE incident = :tick;
SELECT s->'labelled_rows' AS left_out FROM amad_retrain('t', deploy => false) AS s;
SELECT amad_feedback(:tick, 'false_alarm');
INSERT INTO ticks VALUES (530, 90, 1); CALL amad_refresh('t');
SELECT first_ts, muted FROM amad_incidents WHERE id > :tick;
SELECT amad_feedback(:tick, 'expected');
CALL amad_refresh('t');
SELECT count(*) FROM amad_incidents WHERE id > :tick;

-- ---- buckets; series of several columns, which can be null -----------------------------------

CREATE TABLE narrow (up boolean, site text, ts timestamp, metric text, value float8);
CREATE INDEX ON narrow (up, site, ts);
INSERT INTO narrow SELECT i % 2 = 0, CASE s WHEN 1 THEN 'a' WHEN 2 THEN 'b c' END, timestamp '2026-05-01' + i * interval '1 minute', m, sin(i * 0.02 + s) + (i * 7919 % 101) / 500.0
FROM generate_series(0, 4000) i, generate_series(1, 3) s, unnest('{x,y}'::text[]) m;
SELECT amad_train('n', 'narrow', series_cols => '{up,site}', metric_col => 'metric', value_col => 'value', bucket => '10 min',
  options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('n', target => 'narrow_scores', silence => '30 days')->'target' AS target;
CALL amad_refresh('n', as_of => '2026-05-04');
-- two buckets of a series, one of two series, and one of three
SELECT amad_feedback('n', '{"up": true, "site": "b c"}', since => '2026-05-02 10:05', until => '2026-05-02 10:15') > 0 AS given;
SELECT amad_feedback('n', '{"site": null}', since => '2026-05-02 12:00', until => '2026-05-02 12:10') > 0 AS given;
SELECT amad_feedback('n', '{"up": "f"}', since => '2026-05-02 14:00', until => '2026-05-02 14:10') > 0 AS given;
SELECT v.series, (last_ts - first_ts + 1) / 60000000 AS minutes FROM amad_verdicts v JOIN amad_watches w USING (watch) WHERE model_name = 'n' ORDER BY id;
SELECT s->'labelled_rows' AS left_out FROM amad_retrain('n', deploy => false) AS s;
SELECT s->'labelled_rows' AS left_out FROM amad_recalibrate('n', since => '2026-05-01', deploy => false) AS s;
UPDATE narrow SET value = value + 100 WHERE (site IS NULL OR site = 'b c') AND up AND ts = '2026-05-03 01:00';
CALL amad_refresh('n', as_of => '2026-05-04');
SELECT amad_feedback(id, 'false_alarm') FROM amad_incidents JOIN amad_watches USING (watch) WHERE model_name = 'n';
UPDATE narrow SET value = value + 100 WHERE up AND ts = '2026-05-03 03:00';
CALL amad_refresh('n', as_of => '2026-05-04');
SELECT series, started, i.muted FROM amad_incidents i JOIN amad_watches USING (watch) WHERE model_name = 'n' ORDER BY started, series;

SELECT amad_drop(m) FROM unnest('{m,n,t,other}'::text[]) m;
SELECT (SELECT count(*) FROM amad_incidents) AS incidents, (SELECT count(*) FROM amad_verdicts) AS verdicts;
DROP VIEW shown, verdicts;
DROP TABLE readings, scores, narrow, narrow_scores, ticks, tick_scores, before, twice CASCADE;
DROP FUNCTION at, feed, refresh, differing;
DROP ROLE amad_f_operator, amad_f_reader, amad_f_stranger;
RESET client_min_messages;
\set VERBOSITY default
