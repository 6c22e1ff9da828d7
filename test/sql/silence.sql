--
-- amad_events with silence: series and columns that stop
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
-- devices a, b and c with a row per minute, and d with one in an hour
CREATE TABLE r (device text, ts timestamptz, x float8, y float8);
CREATE FUNCTION add_rows(d text, first timestamptz, last timestamptz, step interval DEFAULT '1 min') RETURNS void
LANGUAGE sql AS $$
	INSERT INTO r SELECT d, ts, 5 + sin(n), noise(n + hashtext(d))
	FROM generate_series(first, last, step) WITH ORDINALITY g(ts, n) $$;
SELECT add_rows(d, '2026-01-01 00:00', '2026-01-01 05:59') FROM unnest('{a,b,c}'::text[]) d;
SELECT add_rows('d', '2025-12-28 00:00', '2026-01-01 05:00', '1 hour');
SELECT amad_train('fleet', 'r', 'ts', '{x,y}', '{device}', options => '{"method": "zscore"}')->'series' AS series;
SELECT amad_train('one', 'SELECT * FROM r WHERE device = ''a''', 'ts', '{x,y}', options => '{"method": "zscore"}')->'rows'
	AS rows;
TRUNCATE r;

-- Silences of a model from 06:00 on
CREATE FUNCTION silences(model text, arguments text DEFAULT '', rows text DEFAULT 'r')
RETURNS TABLE (device text, start_ts text, end_ts text, n bigint, feature text, open boolean, more text)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($q$
		SELECT series->>'device', to_char(start_ts, 'HH24:MI'), to_char(end_ts, 'HH24:MI'), n_points,
			top_features->0->>'feature', open,
			nullif(concat_ws(' ', status, peak_ts, peak_severity, top_features#>>'{0,share}',
				top_features#>>'{0,direction}'), '')
		FROM amad_events(%L, source => %L, silence => '30 min' %s) WHERE kind = 'silent' $q$,
		model, rows, CASE WHEN arguments LIKE '%since%' THEN '' ELSE ', since => ''2026-01-01 06:00''' END || arguments);
END $$;

-- ---- series

-- a is silent for 29 and for 31 minutes; b stops; c reports until 10:00; d in its hours
SELECT add_rows('a', '2026-01-01 06:00', '2026-01-01 07:00');
SELECT add_rows('a', '2026-01-01 07:29', '2026-01-01 08:00');
SELECT add_rows('a', '2026-01-01 08:31', '2026-01-01 09:59');
SELECT add_rows('b', '2026-01-01 06:00', '2026-01-01 07:45');
SELECT add_rows('c', '2026-01-01 06:00', '2026-01-01 10:00');
SELECT add_rows('d', '2026-01-01 06:00', '2026-01-01 09:00', '1 hour');
SELECT * FROM silences('fleet');
-- at the end of a range
SELECT * FROM silences('fleet', $$, until => '2026-01-01 08:16'$$);
SELECT * FROM silences('fleet', $$, until => '2026-01-01 08:14'$$);
SELECT device, start_ts, end_ts, open FROM silences('fleet', $$, until => '2026-01-01 12:00'$$);
-- the end of a range in the future does not count
SELECT count(*) FROM silences('fleet', format(', until => %L', now() + interval '1 year'));
SELECT device, end_ts = to_char(now(), 'HH24:MI') AS now
FROM silences('fleet', ', until => now()') WHERE open ORDER BY device;
-- with a filter, the rows of the others still count
SELECT * FROM silences('fleet', $$, series => '{"device": "b"}'$$);
-- without silence, none; all are of the kind anomaly
SELECT count(*) FILTER (WHERE kind <> 'anomaly') AS others
FROM amad_events('fleet', since => '2026-01-01 06:00', source => 'r', min_severity => 0);
-- other arguments do not affect silences
SELECT count(*) FROM silences('fleet', $$, min_severity => 1e300, cooldown => '1 day', min_duration => '1 day',
	merge_gap => '1 day', direction => 'up', k => 5, n => 5$$);
-- duplicates and rows without a finite time do not end a silence
BEGIN;
INSERT INTO r VALUES ('b', NULL, 1, 1), ('b', 'infinity', 1, 1), ('b', '-infinity', 1, 1),
	('b', '2026-01-01 07:45', 9, 9);
SELECT * FROM silences('fleet') WHERE device = 'b';
ROLLBACK;
-- the order of the rows in the source does not matter
SELECT count(*) AS silences, count(*) FILTER (WHERE s = t) AS same
FROM silences('fleet') s FULL JOIN silences('fleet', '', 'SELECT * FROM r ORDER BY ts DESC') t USING (device, start_ts);

-- ---- series without rows

-- a known series without a row in the range is silent in all of it; without since, from the first row on
BEGIN;
DELETE FROM r WHERE device IN ('b', 'd');
SELECT device, start_ts, end_ts, open FROM silences('fleet');
SELECT device, start_ts, end_ts, open FROM silences('fleet', $$, series => '{"device": "b"}'$$);
SELECT series->>'device' AS device, start_ts, end_ts, open
FROM amad_events('fleet', silence => '30 min', source => 'SELECT * FROM r WHERE ts > ''2026-01-01 06:30''')
WHERE kind = 'silent' ORDER BY device, start_ts;
-- without any row, silences are reported only if the end of the range is given
TRUNCATE r;
SELECT device, start_ts, end_ts, open FROM silences('fleet');
SELECT device, start_ts, end_ts, open FROM silences('fleet', $$, until => '2026-01-01 07:00'$$);
SELECT device, start_ts, end_ts, open FROM silences('one', $$, until => '2026-01-01 07:00'$$);
SELECT count(*) FROM amad_events('one', silence => '30 min', until => '2026-01-01 07:00', source => 'r');
ROLLBACK;

-- ---- series that the model does not contain: only with learning

SELECT add_rows('new', '2026-01-01 07:00', '2026-01-01 08:00');
SELECT count(*) FROM silences('fleet') WHERE device = 'new';
-- it has no silence before its first row
SELECT * FROM silences('fleet', ', learning => true') WHERE device = 'new';
DELETE FROM r WHERE device = 'new';

-- ---- maintenance: silence inside windows does not count, that after them does

SELECT device, start_ts, end_ts, open FROM silences('fleet', $$, maintenance =>
	'SELECT ''a'' AS device, timestamptz ''2026-01-01 08:00'', timestamptz ''2026-01-01 08:02''
	UNION ALL SELECT ''b'', ''2026-01-01 07:40'', ''2026-01-01 09:00'''$$);
SELECT device, start_ts, end_ts, open FROM silences('fleet', $$, maintenance =>
	'SELECT timestamptz ''2026-01-01 08:30'', timestamptz ''2026-01-01 09:50'''$$);
SELECT count(*)
FROM silences('fleet', $$, maintenance => 'SELECT timestamptz ''2026-01-01 07:30'', NULL::timestamptz'$$);

-- ---- columns

-- x of a is missing for 31 rows, y for 30 (29 minutes), both for some minutes; y of c until the end
UPDATE r SET x = NULL WHERE device = 'a' AND ts BETWEEN '2026-01-01 09:00' AND '2026-01-01 09:30';
UPDATE r SET y = 'NaN' WHERE device = 'a' AND ts BETWEEN '2026-01-01 06:10' AND '2026-01-01 06:39';
UPDATE r SET y = NULL WHERE device = 'c' AND ts >= '2026-01-01 09:20';
SELECT * FROM silences('fleet') WHERE feature IS NOT NULL;
-- a column that does not begin
BEGIN;
UPDATE r SET x = NULL WHERE device = 'c';
SELECT * FROM silences('fleet') WHERE device = 'c';
-- a row without any value is ignored: the series is silent, not its columns
UPDATE r SET y = NULL WHERE device = 'c';
SELECT * FROM silences('fleet') WHERE device = 'c';
ROLLBACK;
-- rows in maintenance end the silence of a column
SELECT * FROM silences('fleet', $$, maintenance =>
	'SELECT timestamptz ''2026-01-01 09:15'', timestamptz ''2026-01-01 09:25'''$$) WHERE feature IS NOT NULL;
-- while there are no rows, columns are not silent
BEGIN;
UPDATE r SET y = NULL WHERE device = 'a' AND ts IN ('2026-01-01 08:00', '2026-01-01 08:31');
UPDATE r SET x = NULL WHERE device = 'a' AND ts = '2026-01-01 08:31';
SELECT * FROM silences('fleet') WHERE device = 'a';
ROLLBACK;

-- values without a transformed value, and the first rows after a gap, are no silence
SELECT amad_train('transformed', 'SELECT *, exp(y) AS z FROM r WHERE device = ''a''', 'ts', '{x,y,z}',
	options => '{"method": "zscore", "transform": {"y": "detrend", "z": "log"}, "window": 40}')->'transforms' AS transforms;
SELECT feature, start_ts, end_ts FROM silences('transformed', '',
	'SELECT ts, x, y, CASE WHEN ts < ''2026-01-01 07:40'' THEN 0 WHEN ts < ''2026-01-01 09:20'' THEN exp(y) END AS z
	FROM r WHERE device = ''c'' AND ts NOT BETWEEN ''2026-01-01 08:00'' AND ''2026-01-01 08:30''');

-- ---- what is usual

-- a column that has a value every hour, until it stops
BEGIN;
SELECT add_rows('b', '2026-01-01 07:46', '2026-01-01 18:00');
SELECT add_rows('a', '2026-01-01 10:00', '2026-01-01 18:00');
UPDATE r SET y = NULL WHERE device = 'b' AND (extract(minute FROM ts) <> 0 OR ts > '2026-01-01 15:00');
SELECT * FROM silences('fleet') WHERE device = 'b';
-- a device that is silent for 50 minutes of each hour: only longer silences are reported
DELETE FROM r WHERE device = 'a'
	AND (extract(minute FROM ts) NOT IN (0, 5, 10) OR ts BETWEEN '2026-01-01 11:30' AND '2026-01-01 15:30');
SELECT * FROM silences('fleet') WHERE device = 'a';
ROLLBACK;
-- more silences than are kept at a time, all of them usual, and one that is not
BEGIN;
SELECT add_rows('a', '2026-01-02 00:00', '2026-08-01 00:00', '1 hour');
SELECT add_rows('c', '2026-08-01 00:00', '2026-08-01 05:00');
SELECT device, start_ts, end_ts, open FROM silences('fleet', $$, since => '2026-01-02'$$) WHERE device = 'a';
ROLLBACK;

-- ---- other time columns

CREATE TABLE ints AS SELECT device, extract(epoch FROM ts)::bigint AS ts, x, y FROM r;
CREATE TABLE trained AS SELECT d AS device, 1767225600 - 60 * n AS ts, sin(n) AS x, noise(n) AS y
FROM unnest('{a,b}'::text[]) d, generate_series(1, 300) n;
SELECT amad_train('ints', 'trained', 'ts', '{x,y}', '{device}', options => '{"method": "zscore"}')->'series' AS series;
SELECT series, kind, to_timestamp(start_ts) AS start_ts, to_timestamp(end_ts) AS end_ts, n_points, open
FROM amad_events_bigint('ints', silence => 1800, since => 1767247200, source => 'ints') WHERE kind = 'silent';
-- integers have no present: until counts
SELECT series, end_ts
FROM amad_events_bigint('ints', silence => 1800, since => 1767247200, until => 4000000000, source => 'ints')
WHERE open AND kind = 'silent';
-- the longest silence
SELECT series, start_ts, end_ts, open FROM amad_events_bigint('ints', silence => 9223372036854775807,
	source => 'SELECT * FROM (VALUES (''a'', ''-9223372036854775808''::bigint, 1.0, 1.0), (''a'', 9223372036854775807, 1, 1),
		(''b'', 9223372036854775807, 1, 1)) AS v(device, ts, x, y)')
WHERE kind = 'silent';
-- timestamps and dates, in any time zone
BEGIN;
SET LOCAL timezone = 'America/New_York';
SELECT series->>'device' AS device, start_ts AT TIME ZONE 'America/New_York' AS start_ts, open
FROM amad_events('fleet', silence => '30 min', since => '2026-01-01 06:00', series => '{"device": "b"}',
	source => 'SELECT device, ts AT TIME ZONE ''UTC'' AS ts, x, y FROM r') WHERE kind = 'silent';
SELECT series->>'device' AS device, start_ts::date AS start_ts, end_ts::date AS end_ts
FROM amad_events('fleet', silence => '30 min',
	source => 'SELECT device, ''2026-01-01''::date + (extract(epoch FROM ts)::int / 60 % 1440 - 360) AS ts, x, y FROM r
		WHERE device IN (''b'', ''c'') UNION ALL VALUES (''b'', date ''infinity'', 1, 1)')
WHERE kind = 'silent' AND series = '{"device": "b"}';
ROLLBACK;

-- domains, with the index that serves their ends
BEGIN;
CREATE DOMAIN moment AS timestamptz;
CREATE DOMAIN small_number AS smallint;
CREATE TABLE moments AS SELECT device, ts::moment, x, y FROM r;
SELECT count(*) FROM silences('fleet', '', 'moments');
CREATE TABLE numbers AS SELECT device, ((ts - 1767247200) / 60)::small_number AS ts, x, y FROM ints;
SELECT series, start_ts, end_ts, open FROM amad_events_bigint('ints', silence => 130, source => 'numbers')
WHERE kind = 'silent';
ROLLBACK;

-- ---- one series

SELECT * FROM silences('one', '', 'SELECT * FROM r WHERE device = ''b''');
SELECT * FROM silences('one', $$, until => '2026-01-01 08:30'$$, 'SELECT * FROM r WHERE device = ''b''');

-- ---- bad arguments

SELECT * FROM amad_events('fleet', silence => '0', source => 'r');
SELECT * FROM amad_events('fleet', silence => '-1 hour', source => 'r');
SELECT * FROM amad_events_bigint('ints', silence => 0, source => 'ints');
SELECT count(*) FROM amad_events('fleet', silence => NULL, source => 'r') WHERE kind = 'silent';
SELECT count(*) FROM amad_events('fleet', silence => '300000 years', source => 'r') WHERE kind = 'silent';

DROP FUNCTION silences, add_rows;
DROP TABLE r, ints, trained;
DELETE FROM amad_models;
