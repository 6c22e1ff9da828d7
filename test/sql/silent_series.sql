-- Silences of series with steps of their own and of features, and series that are retired.
\set VERBOSITY terse
SET timezone = 'UTC';
SELECT setval('amad_incidents_id_seq', 1, false);
CREATE FUNCTION at(i int) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT timestamptz '2026-05-01' + i * interval '1 minute' $$;
CREATE FUNCTION minute(t timestamptz) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT (extract(epoch FROM t - at(0)) / 60)::int $$;
CREATE FUNCTION minute(ts bigint) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT minute(timestamptz '2000-01-01 00:00+00' + ts * interval '1 microsecond') $$;
CREATE TABLE readings (device text, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
-- rows of devices, one each step minutes
CREATE FUNCTION feed(devices text[], first int, last int, step int DEFAULT 1) RETURNS void LANGUAGE sql AS $$
  INSERT INTO readings SELECT d, at(i), sin(i * 0.2), cos(i * 0.11) + (i * 7919 % 101) / 500.0
  FROM generate_series(first, last, step) i, unnest(devices) d ON CONFLICT DO NOTHING $$;
-- fast has a row each minute, slow one each hour
SELECT feed('{fast,other}', -6000, 0), feed('{slow}', -6000, 0, 60);
SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
DELETE FROM readings WHERE ts < at(-600);
SELECT amad_watch('m', target => 'scores', delay => '1 min')->'target' AS target;
SET client_min_messages = warning;
CREATE FUNCTION refresh(i int) RETURNS TABLE (incident bigint, transition text, incidents bigint, device text, feature text) LANGUAGE plpgsql AS $$ BEGIN
  CALL amad_refresh('m', as_of => at(i) + interval '1 min 1 second');
  RETURN QUERY SELECT d.incident, d.transition, d.incidents, message->'series'->>'device', message->>'feature' FROM amad_deliveries() d WHERE message->>'kind' = 'silent';
  PERFORM amad_delivered(d.incident, d.transition, d.number) FROM amad_deliveries() d; END $$;
CREATE VIEW shown AS SELECT id, series->>'device' AS device, feature, state, minute(started) AS started, minute(ended) AS ended
  FROM amad_incidents WHERE kind = 'silent' ORDER BY id;
CREATE VIEW ends AS SELECT series[1] AS device, minute(newest) AS newest, minute(heard) AS heard, step / 60000000 AS step, learning,
    (SELECT string_agg(concat_ws(' ', key, CASE WHEN value ? 'last' THEN coalesce(minute((value->>'last')::bigint)::text, 'none') END, 'usual ' || (value->'usual')::bigint / 60000000), ', ' ORDER BY key)
     FROM jsonb_each(features)) AS features, retired IS NOT NULL AS retired FROM amad_series ORDER BY 1;
-- what amad_series must have by the source
CREATE FUNCTION differing() RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM amad_series s FULL JOIN (SELECT device, max(ts) AS newest, max(ts) FILTER (WHERE a IS NOT NULL) AS a,
      max(ts) FILTER (WHERE b IS NOT NULL) AS b FROM readings JOIN scores USING (device, ts) GROUP BY 1) r ON r.device = s.series[1]
  WHERE s.newest IS DISTINCT FROM r.newest OR s.heard IS DISTINCT FROM coalesce(greatest(r.a, r.b), r.newest)
    OR minute(CASE WHEN s.features->'a' ? 'last' THEN (s.features->'a'->>'last')::bigint ELSE s.newest_ts END) IS DISTINCT FROM minute(r.a)
    OR minute(CASE WHEN s.features->'b' ? 'last' THEN (s.features->'b'->>'last')::bigint ELSE s.newest_ts END) IS DISTINCT FROM minute(r.b) $$;
SELECT * FROM refresh(0);
SELECT * FROM ends;
SELECT differing();

-- ---- each series by its step ---------------------------------------------------------------

SELECT feed('{other}', 1, 30);
SELECT * FROM refresh(20);
SELECT * FROM refresh(30);
SELECT * FROM shown;
-- slow is silent after 20 hours
SELECT feed('{fast,other}', 30, 1260);
SELECT * FROM refresh(1199);
SELECT * FROM refresh(1200);
SELECT silent_after, amad_silent_after('1 min', NULL, 3600000000) AS slow, amad_silent_after('1 min', '2 h', 3600000000) AS setting,
  amad_silent_after('1 min', NULL, NULL) AS unknown, amad_silent_after('1 min', NULL, -5) AS negative FROM amad_status;
SELECT * FROM refresh(1260);
SELECT feed('{slow}', 1260, 1260);
SELECT * FROM refresh(1260);
SELECT * FROM shown;
-- a setting applies to all of them
SELECT amad_watch('m', silence => '30 min')->'target' AS target;
SELECT feed('{fast,other}', 1261, 1300);
SELECT * FROM refresh(1300);
SELECT amad_watch('m', silence => '0')->'target' AS target;
SELECT feed('{slow}', 1300, 1300);
SELECT * FROM refresh(1300);

-- series that the model does not contain: the median distance of their rows, once there are eight
SELECT feed('{new}', 1000, 1060, 10), feed('{fresh}', 1001, 1300, 10);
SELECT * FROM refresh(1300);
SELECT device, step, learning FROM ends WHERE device IN ('new', 'fresh');
SELECT feed('{new}', 1070, 1070);
SELECT * FROM refresh(1300);
SELECT device, step, learning FROM ends WHERE device = 'new';
-- fresh has its last row at 1291
SELECT feed('{fast,other}', 1301, 1500);
SELECT * FROM refresh(1490);
SELECT * FROM refresh(1493);
DELETE FROM readings WHERE device IN ('new', 'fresh');
SELECT * FROM refresh(1500);
SELECT * FROM shown WHERE device IN ('new', 'fresh');

-- ---- features ------------------------------------------------------------------------------

-- b of other stops at 1500, and returns
SELECT feed('{fast,other}', 1501, 1540);
UPDATE readings SET b = NULL WHERE device = 'other' AND ts > at(1500);
SELECT * FROM refresh(1520);
SELECT * FROM refresh(1521);
SELECT * FROM refresh(1540);
SELECT * FROM ends WHERE device = 'other';
SELECT feed('{fast,other}', 1541, 1541);
SELECT * FROM refresh(1541);
SELECT * FROM shown WHERE feature IS NOT NULL;
-- late values
SELECT feed('{fast,other}', 1542, 1570);
UPDATE readings SET b = NULL WHERE device = 'other' AND ts > at(1541);
SELECT * FROM refresh(1570);
UPDATE readings SET b = 1 WHERE device = 'other' AND ts = at(1560);
SELECT * FROM refresh(1570);
SELECT * FROM ends WHERE device = 'other';
SELECT differing();
-- the values of a column are taken back, as far as 1530, or it loses all of them
UPDATE readings SET b = NULL WHERE device = 'other' AND ts > at(1530);
SELECT * FROM refresh(1570);
SELECT * FROM ends WHERE device = 'other';
UPDATE readings SET b = NULL WHERE device = 'other' AND ts > at(1400);
SELECT * FROM refresh(1570);
SELECT * FROM ends WHERE device = 'other';
SELECT differing();
UPDATE readings SET b = NULL WHERE device = 'other';
SELECT * FROM refresh(1570);
SELECT * FROM ends WHERE device = 'other';
SELECT * FROM shown WHERE feature IS NOT NULL;
SELECT differing();
UPDATE readings SET b = 1 WHERE device = 'other' AND ts < at(1560) AND ts > at(1000);
SELECT * FROM refresh(1570);
-- rows are deleted
DELETE FROM readings WHERE device = 'other' AND ts > at(1555);
SELECT * FROM refresh(1570);
SELECT * FROM ends WHERE device = 'other';
SELECT differing();
SELECT feed('{other}', 1556, 1570);
SELECT * FROM refresh(1570);

-- a series that stops is one incident; so are rows without any value
SELECT feed('{fast}', 1571, 1600);
SELECT * FROM refresh(1600);
SELECT feed('{other}', 1571, 1600);
UPDATE readings SET a = NULL, b = NULL WHERE device = 'other' AND ts > at(1571);
SELECT * FROM refresh(1600);
SELECT * FROM ends WHERE device = 'other';
SELECT differing();
-- a feature has some time after a silence of the series
SELECT feed('{fast,other}', 1601, 1640);
UPDATE readings SET b = NULL WHERE device = 'other' AND ts BETWEEN at(1601) AND at(1640);
SELECT * FROM refresh(1610);
SELECT * FROM refresh(1640);
SELECT feed('{fast,other}', 1641, 1641);
SELECT * FROM refresh(1641);
SELECT * FROM shown WHERE id > 11;

-- a feature that has a value each hour, until 2050
SELECT feed('{fast,other}', 1642, 2200);
UPDATE readings SET b = NULL WHERE device = 'fast' AND (ts > at(2050) OR ts > at(1641) AND extract(minute FROM ts) <> 0);
SELECT device, features FROM ends WHERE device = 'fast';
SELECT * FROM refresh(2100);
SELECT device, features FROM ends WHERE device = 'fast';
SELECT * FROM refresh(2160);
SELECT * FROM refresh(2161);
SELECT differing();

-- all devices lose a column: one announcement
SELECT amad_watch('m', silence => '30 min')->'target' AS target;
SELECT feed('{d1,d2,d3,d4,d5}', 2100, 2200);
SELECT * FROM refresh(2200);
SELECT feed('{fast,other,slow,d1,d2,d3,d4,d5}', 2201, 2240);
UPDATE readings SET a = NULL WHERE ts > at(2200);
SELECT * FROM refresh(2240);
SELECT feed('{fast,other,slow,d1,d2,d3,d4,d5}', 2241, 2241);
SELECT * FROM refresh(2241);
SELECT amad_watch('m', silence => '0')->'target' AS target;
DELETE FROM readings WHERE device LIKE 'd_';
SELECT * FROM refresh(2241);

-- ---- retired series --------------------------------------------------------------------------

CREATE ROLE amad_r_operator; CREATE ROLE amad_r_reader; CREATE ROLE amad_r_stranger;
SELECT amad_grant('m', 'amad_r_operator', 'operate'), amad_grant('m', 'amad_r_reader', 'read');
SELECT feed('{fast,slow}', 2242, 2280);
SELECT * FROM refresh(2280);
SET ROLE amad_r_stranger;
SELECT amad_retire('m', '{"device": "other"}');
SET ROLE amad_r_reader;
SELECT amad_retire('m', '{"device": "other"}');
SET ROLE amad_r_operator;
SELECT amad_retire('m', NULL);
SELECT amad_retire(NULL, '{"device": "other"}');
SELECT amad_retire('m', '["other"]');
SELECT amad_retire('m', '"other"');
SELECT amad_retire('none', '{"device": "other"}');
SELECT amad_retire('m', '{"device": "no such"}') AS unknown, amad_retire('m', '{"devcie": "other"}') AS misspelt,
  amad_retire('m', '{"device": "other"}') AS retired, amad_retire('m', '{"device": "other"}') AS again;
RESET ROLE;
SELECT incident, transition, message->'series' AS series FROM amad_deliveries();
SELECT device, feature, state, started, ended IS NOT NULL AS ended FROM shown WHERE device = 'other' AND state = 'closed' ORDER BY id DESC LIMIT 1;
SELECT * FROM refresh(2280);
SELECT feed('{fast,slow}', 2281, 2310);
SELECT * FROM refresh(2310);
SELECT device, retired FROM ends;
-- late rows do not take it back, newer rows do
UPDATE readings SET a = 1 WHERE device = 'other' AND ts > at(2200);
SELECT * FROM refresh(2310);
SELECT device, retired FROM ends WHERE device = 'other';
SELECT feed('{other}', 2285, 2285);
SELECT * FROM refresh(2310);
SELECT device, retired FROM ends WHERE device = 'other';
-- what counts for amad_status
SELECT series, silent_series FROM amad_status;
SELECT amad_retire('m', '{"device": ["other", "no such", null]}') AS one, amad_retire('m', '{"device": []}') AS none, amad_retire('m', '{}') AS others;
SELECT series, silent_series FROM amad_status;
SELECT * FROM refresh(9000);
SELECT feed('{fast,other}', 9001, 9001);
SELECT * FROM refresh(9001);
SELECT * FROM refresh(9030);
SELECT amad_retire('m', '{}');
SELECT * FROM refresh(9030);
BEGIN READ ONLY;
SELECT amad_retire('m', '{}');
ROLLBACK;
SELECT feed('{fast,other,slow}', 9031, 9031);
SELECT * FROM refresh(9031);

-- ---- rows that somebody has damaged -----------------------------------------------------------

UPDATE amad_series SET features = v FROM unnest('{"[1,2]","\"x\"","{\"a\": 5, \"b\": [1]}"}'::jsonb[], '{fast,other,slow}'::text[]) AS u(v, d) WHERE series[1] = d;
SELECT feed('{fast}', 9032, 9033), feed('{other,slow}', 9032, 9032);
SELECT * FROM refresh(9033);
UPDATE amad_series SET features = v, heard = NULL, step = -9223372036854775808, names = 1, key = NULL
  FROM unnest('{"{\"a\": {\"last\": 1e300, \"usual\": -1}}","{\"b\": {\"last\": \"x\", \"usual\": 1e40}}","{\"a\": {\"last\": {}}}"}'::jsonb[], '{fast,other,slow}'::text[]) AS u(v, d) WHERE series[1] = d;
SELECT * FROM refresh(9033);
SELECT amad_retire('m', '{"device": "fast"}');
SELECT silent_series FROM amad_status;
SELECT feed('{fast,other,slow}', 9034, 9034);
SELECT * FROM refresh(9034);
UPDATE amad_series SET features = NULL, heard_ts = NULL, newest_ts = 9223372036854775807;
SELECT feed('{fast,other,slow}', 9035, 9036);
SELECT * FROM refresh(9036);
SELECT differing();

-- ---- other features ---------------------------------------------------------------------------

ALTER TABLE readings ADD c float8;
UPDATE readings SET a = NULL WHERE device = 'fast' AND ts > at(9030);
SELECT * FROM refresh(9036);
SELECT device, features FROM ends WHERE device = 'fast';
UPDATE readings SET c = sin(extract(epoch FROM ts)) WHERE ts < at(-500);
SELECT amad_train('m', 'readings', feature_cols => '{b,c}', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
UPDATE readings SET c = NULL;
SELECT feed('{fast,other}', 9037, 9070);
SELECT * FROM refresh(9070);
SELECT device, features FROM ends;
UPDATE readings SET c = 1 WHERE ts = at(9050);
SELECT * FROM refresh(9070);
SELECT device, features FROM ends;
SELECT amad_deploy('m', 1);
SELECT feed('{fast,other}', 9071, 9072);
SELECT * FROM refresh(9072);
SELECT device, features FROM ends;
SELECT amad_drop('m');
DROP VIEW shown, ends;
DROP FUNCTION differing, refresh;
DROP TABLE readings, scores CASCADE;

-- ---- a narrow source, without series, and times without time zone -----------------------------

CREATE TABLE narrow (ts timestamp, metric text, value float8);
CREATE FUNCTION measure(first int, last int, metrics text[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO narrow SELECT at(i) AT TIME ZONE 'UTC', m, sin(i * 0.3) FROM generate_series(first, last) i, unnest(metrics) m $$;
SELECT measure(1, 300, '{flow,level}');
SELECT amad_train('n', 'narrow', 'ts', metric_col => 'metric', value_col => 'value', bucket => '1 min', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('n', target => 'scores')->'target' AS target;
CALL amad_refresh('n', as_of => at(301));
SELECT measure(301, 322, '{flow}');
CALL amad_refresh('n', as_of => at(321));
SELECT count(*) FROM amad_incidents WHERE kind = 'silent';
CALL amad_refresh('n', as_of => at(322));
SELECT series, feature, state, minute(started) AS started, first_ts = last_ts AS lasts FROM amad_incidents WHERE kind = 'silent';
SELECT measure(323, 323, '{level}');
CALL amad_refresh('n', as_of => at(324));
SELECT feature, state, minute(ended) AS ended FROM amad_incidents WHERE kind = 'silent';
SELECT amad_retire('n', '{"device": 1}'), amad_retire('n', '{}');
SELECT amad_drop('n');
DROP TABLE narrow, scores CASCADE;

-- ---- polled, with more rows that wait than scores depend on --------------------------------------

CREATE TABLE waiting AS SELECT d AS device, at(i) AS ts, sin(i * 0.3) AS a, cos(i * 0.2) AS b FROM generate_series(1, 600) i, generate_series(1, 2) d;
SELECT amad_train('w', 'waiting', 'ts', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('w', late => '1 hour', delay => '5 hours')->'target' AS target;
CALL amad_refresh('w', as_of => at(500));
SELECT key, minute(newest) AS newest FROM amad_series ORDER BY 1;
CALL amad_refresh('w', as_of => at(600));
SELECT key, minute(newest) AS newest FROM amad_series ORDER BY 1;
SELECT amad_drop('w');
DROP TABLE waiting, w_scores CASCADE;

-- ---- integers: no silences ----------------------------------------------------------------------

CREATE TABLE ticks AS SELECT d AS device, i AS number, sin(i * 0.3) AS a, cos(i * 0.2) AS b FROM generate_series(1, 300) i, generate_series(1, 2) d;
SELECT amad_train('t', 'ticks', 'number', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')->'version' AS version;
SELECT amad_watch('t')->'target' AS target;
CALL amad_refresh('t');
INSERT INTO ticks SELECT 1, i, 0, NULL FROM generate_series(301, 400) i;
CALL amad_refresh('t');
SELECT key, newest, newest_ts, heard, heard_ts, step, features FROM amad_series ORDER BY 1;
SELECT amad_retire('t', '{"device": 2}'), amad_retire('t', '{"device": "1"}');
SELECT count(*) FROM amad_incidents WHERE kind = 'silent';
SELECT silent_series FROM amad_status;
SELECT amad_drop('t');
DROP TABLE ticks, t_scores CASCADE;
DROP FUNCTION at, minute(timestamptz), minute(bigint), feed, measure;
DROP OWNED BY amad_r_operator, amad_r_reader, amad_r_stranger;
DROP ROLE amad_r_operator, amad_r_reader, amad_r_stranger;
RESET client_min_messages;
\set VERBOSITY default
