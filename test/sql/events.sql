--
-- amad_events: flagged rows combined into intervals, compared with the same done by window functions.  Models have the
-- method zscore and are trained on features that are 1 or -1, so that the anomaly score of a row is (a² + b²) / 2 and does
-- not depend on the rows before it.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET timezone = 'UTC';
CREATE TABLE normal AS
SELECT s.site, s.device, i::bigint AS n, timestamptz '2026-01-01' + i * interval '1 min' AS ts,
	(CASE WHEN i % 2 = 0 THEN 1 ELSE -1 END)::float8 AS a, (CASE WHEN i / 2 % 2 = 0 THEN 1 ELSE -1 END)::float8 AS b
FROM generate_series(0, 199) i, (VALUES (1, 'x'), (1, 'y'), (2, 'x')) s(site, device);
CREATE FUNCTION zscore() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT '{"method": "zscore", "horizons": [1], "advanced": {"clip": 1000}}'::jsonb $$;
-- all scores of the training are 1; with few rows the threshold is greater
CREATE FUNCTION threshold(rows int) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT 1 + 30 / sqrt(rows) $$;
SELECT amad_train('m', $$SELECT ts, a, b FROM normal WHERE site = 1 AND device = 'x'$$, options => zscore())->'warmup'
	AS warmup;
SELECT amad_train('fleet', 'normal', 'ts', '{a,b}', '{site,device}', options => zscore())->'rows' AS rows;
SELECT round(((amad_describe('m')->>'threshold')::float8 / threshold(200))::numeric, 6) AS m,
	round(((amad_describe('fleet')->'series'->2->>'threshold')::float8 / threshold(200))::numeric, 6) AS of_a_series;

-- ---- by hand: one row per minute; a digit is its severity, "." is 0.5, "-" is null

CREATE FUNCTION drawn(picture text) RETURNS TABLE (ts timestamptz, a float8, b float8) LANGUAGE sql AS $$
	SELECT timestamptz '2026-02-01' + (i - 1) * interval '1 min',
		CASE c WHEN '-' THEN NULL WHEN '.' THEN sqrt(threshold(200)) ELSE sqrt(2 * threshold(200) * ratio_of(c::float8)) END, CASE c WHEN '-' THEN NULL ELSE 0 END
	FROM regexp_split_to_table(picture, '') WITH ORDINALITY AS r(c, i) WHERE c <> ' ' $$;
CREATE FUNCTION show(picture text, arguments text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format($q$ SELECT string_agg(format('%%s-%%s peak %%s at %%s, %%s rows%%s', to_char(start_ts, 'HH24:MI'),
			to_char(end_ts, 'HH24:MI'), round(peak_severity::numeric, 3), to_char(peak_ts, 'HH24:MI'), n_points,
			CASE WHEN open THEN ', open' END), '; ' ORDER BY start_ts)
		FROM amad_events('m', source => %L, timestamp_col => 'ts'%s) $q$,
		format('SELECT * FROM drawn(%L)', picture), ', ' || arguments) INTO result;
	RETURN coalesce(result, 'none');
END $$;
-- a maintenance window of that day
CREATE FUNCTION span(begins text, ends text) RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT timestamptz %L, timestamptz %L', '2026-02-01 ' || begins, '2026-02-01 ' || ends) $$;
-- "-" has neither feature: no severity
SELECT to_char(ts, 'HH24:MI') AS ts, round(severity::numeric, 6) AS severity, status
FROM amad_detect('m', source => 'SELECT * FROM drawn(''.2-9'')', timestamp_col => 'ts');

SELECT i, picture, arguments, show(picture, arguments) FROM (VALUES
	(10, '....', NULL),
	(11, '2', NULL),
	(12, '2222', NULL),
	(13, '2..3', NULL),
	(14, '.2373.4.', NULL),
	-- rows without severity within an event, before it, after it
	(20, '.23--4.', NULL),
	(21, '--23.', NULL),
	(22, '.23--', NULL),
	(23, '.23-.-5.', NULL),
	-- a gap in the timestamps of ten times the step, and a longer one
	(30, '.2         3.', NULL),
	(31, '.2          3.', NULL),
	(32, '.2          3.', $$merge_gap => '11 min'$$),
	(33, '.2          3.', $$merge_gap => '10 min'$$),
	-- merge_gap
	(40, '.22..33...44.', $$merge_gap => NULL$$),
	(41, '.22..33...44.', $$merge_gap => '0'$$),
	(42, '.22..33...44.', $$merge_gap => '2 min 59.999999 s'$$),
	(43, '.22..33...44.', $$merge_gap => '3 min'$$),
	(44, '.22..33...44.', $$merge_gap => '4 min'$$),
	(45, '.22..', $$merge_gap => '2 min'$$),
	(46, '.22...', $$merge_gap => '2 min'$$),
	(47, '.22------', $$merge_gap => '2 min'$$),
	-- min_duration
	(50, '2.22.222.2222', $$min_duration => NULL$$),
	(51, '2.22.222.2222', $$min_duration => '0'$$),
	(52, '2.22.222.2222', $$min_duration => '1 min'$$),
	(53, '2.22.222.2222', $$min_duration => '2 min 0.000001 s'$$),
	(54, '2.22.222.2222', $$min_duration => '1 hour'$$),
	-- cooldown: from the end of the last reported event; an event that is too short does not begin one
	(60, '22.2.2222.2...2.', $$cooldown => NULL$$),
	(61, '22.2.2222.2...2.', $$cooldown => '0'$$),
	(62, '22.2.2222.2...2.', $$cooldown => '2 min'$$),
	(63, '22.2.2222.2...2.', $$cooldown => '3 min'$$),
	(64, '22.2.2222.2...2.', $$cooldown => '4 min'$$),
	(65, '22.2.2222.2...2.', $$cooldown => '1 day'$$),
	(66, '22.2.2222.2...2.', $$cooldown => '3 min', min_duration => '2 min'$$),
	-- min_severity
	(70, '.2345432.', $$min_severity => 4.5$$),
	(71, '.2345432.', $$min_severity => 0$$),
	(72, '.2345432.', $$min_severity => 'infinity'$$),
	(73, '.2345432.', $$min_severity => NULL$$),
	(74, '2354', $$min_severity => 2.5, merge_gap => '1 min'$$),
	-- k of n: the row itself must be one of them
	(80, '.2.22.222.2.2.', $$k => 2, n => 2$$),
	(81, '.2.22.222.2.2.', $$k => 2, n => 3$$),
	(82, '.2.22.222.2.2.', $$k => 3, n => 3$$),
	(83, '.2.22.222.2.2.', $$k => 3, n => 5$$),
	(84, '.2.22.222.2.2.', $$k => 1, n => 5$$),
	(85, '.2.22.222.2.2.', $$k => NULL, n => NULL$$),
	-- rows without severity count as rows that do not reach it; counting starts again after a gap
	(86, '.2-2', $$k => 2, n => 2$$),
	(87, '.2-2', $$k => 2, n => 3$$),
	(88, '.22          222', $$k => 3, n => 3$$),
	(89, '.22         222', $$k => 3, n => 3$$),
	(90, '.22.22...2', $$k => 2, n => 2, merge_gap => '3 min', min_duration => '3 min'$$),
	-- the range cuts events
	(100, '.22222.', $$since => '2026-02-01 00:02'$$),
	(101, '.22222.', $$until => '2026-02-01 00:04'$$),
	(102, '.22222.', $$since => '2026-02-01 00:01', until => '2026-02-01 00:06'$$),
	(103, '.22222.', $$since => '2026-02-01 00:03', until => '2026-02-01 00:04'$$),
	(104, '.22222.', $$since => '2026-02-01 00:04', until => '2026-02-01 00:03'$$),
	(105, '.22222.', $$since => '2026-02-01 00:02', k => 3, n => 3$$),
	-- maintenance: half-open intervals; a row inside one is not flagged
	(110, '.22222222.', $$maintenance => span('00:03', '00:05')$$),
	(111, '.22222222.', $$maintenance => span('00:03', '00:05'), merge_gap => '3 min'$$),
	(112, '.22222222.', $$maintenance => span('00:03', '00:03')$$),
	(113, '.22222222.', $$maintenance => 'SELECT timestamptz ''2026-02-01 00:07'', NULL::timestamptz'$$),
	(114, '.22222222.', $$maintenance => 'SELECT NULL::timestamp, timestamp ''2026-02-01 00:07'''$$),
	(115, '.22222222.', $$maintenance => 'SELECT date ''2026-02-01'', date ''2026-02-02'''$$),
	(116, '.22222222.', $$maintenance => 'SELECT date ''2026-02-02'', date ''2026-02-03'''$$),
	(117, '.22222222.', $$maintenance => 'SELECT ts, ts + interval ''1 min'' AS "end"
		FROM drawn(''....'') WHERE false'$$),
	(118, '.22222222.', $$maintenance => 'VALUES (timestamptz ''2026-02-01 00:06'', timestamptz ''infinity''),
		(''-infinity'', ''2026-02-01 00:02''), (''2026-02-01 00:01'', ''2026-02-01 00:03'');'$$),
	(119, '.22----22.', $$maintenance => span('00:04', '00:06')$$),
	(120, '.22222222.', $$maintenance => span('00:03', '00:05'), k => 3, n => 3$$)
) AS v(i, picture, arguments) ORDER BY i;

-- ---- features: top three, by their share in the severities

CREATE TABLE wide AS SELECT n, v[1] AS a, v[2] AS b, v[3] AS c, v[4] AS d FROM (
	SELECT n, array_agg((CASE WHEN n / (1 << f) % 2 = 0 THEN 1 ELSE -1 END)::float8 ORDER BY f) AS v
	FROM generate_series(0, 159) n, generate_series(0, 3) f GROUP BY n) x;
-- a source with the given rows, in units in which the threshold is 1
CREATE FUNCTION rows(vals text) RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT n, a * f AS a, b * f AS b, c * f AS c, d * f AS d FROM (VALUES %s) v(n, a, b, c, d),
		(SELECT sqrt(%s) AS f) x', vals, threshold(160)) $$;
SELECT amad_train('wide', 'wide', 'n', '{a,b,c,d}', options => zscore())->'rows' AS rows;
-- scores (16 + 9 + 4 + 1) / 4 and (4 + 0 + 16 + 0) / 4, shares in thirtieths and twentieths
SELECT start_ts, end_ts, peak_ts, round(peak_severity::numeric, 6) AS peak_severity, n_points, jsonb_array_length(top_features) AS top, f.*,
	round(e.share::numeric, 6) AS expected
FROM amad_events_bigint('wide', source => rows('(1000, 4, -3, 2, 1), (1001, 2, 0, -4, 0)'), timestamp_col => 'n'),
	jsonb_to_recordset(top_features) AS f(feature text, share numeric, direction int)
	JOIN (SELECT feature, (s1 * share1 / 30 + s2 * share2 / 20) / (s1 + s2) AS share
		FROM (SELECT severity_of(7.5) AS s1, severity_of(5) AS s2) s,
			(VALUES ('a', 16, 4), ('b', 9, 0), ('c', 4, 16), ('d', 1, 0)) v(feature, share1, share2)) e USING (feature);
-- the first among equals; no feature without a share; as many decimals as contributions have
SELECT n, top_features
FROM (VALUES (1, '(1000, 2, 2, 2, 2)'), (2, '(1000, 0, 3, 0, 0)'), (3, '(1000, -3, 0.001, 0.004, 0)'),
		(4, '(1000, 0, 0, 0, 0)')) v(n, vals),
	amad_events_bigint('wide', min_severity => 0, source => rows(vals), timestamp_col => 'n') ORDER BY n;
-- a feature that is above as often as below has no direction
SELECT top_features
FROM amad_events_bigint('wide', source => rows('(1000, 3, 0, 0, 1), (1001, -3, 0, 0, 1)'), timestamp_col => 'n');

-- direction: of the feature with the greatest share in the row
SELECT d, start_ts, end_ts, n_points, top_features FROM (VALUES (1, NULL), (2, 'up'), (3, 'down')) v(i, d),
	amad_events_bigint('wide', direction => d, timestamp_col => 'n', source => rows('(1000, 4, -3, 0, 0),
		(1001, 3, -4, 0, 0), (1002, 4, 4, 0, 0), (1003, 0, 0, -4, -4), (1004, 0, 0, 0, 0)'))
ORDER BY i, start_ts;

-- ---- by window functions: the parameters in combination

-- Bursts of either sign, of changing severity; null, duplicate and missing rows, gaps;
-- the series (3, 'z') is not in the model.
CREATE TABLE r AS
SELECT site, device, i::bigint AS n, timestamptz '2026-03-01' + i * interval '1 min' AS ts,
	CASE WHEN h % 37 <> 0 THEN a * sqrt(threshold(200)) END AS a,
	CASE WHEN h % 37 <> 0 THEN b * sqrt(threshold(200)) END AS b
FROM (SELECT *, CASE WHEN burst % 4 = 0 AND h % 4 <> 0
			THEN (1.2 + (h / 7 % 30) / 10.0) * (CASE WHEN h / 3 % 3 = 0 THEN -1 ELSE 1 END) ELSE 0.5 END::float8 AS a,
		CASE WHEN burst % 8 = 0 AND h % 5 <> 0
			THEN (1.5 + (h / 11 % 25) / 10.0) * (CASE WHEN burst % 16 = 0 THEN -1 ELSE 1 END) ELSE -0.3 END::float8 AS b
	FROM (SELECT *, abs(hashint4(i * 10 + site * 3 + ascii(device))) AS h,
			abs(hashint4(-(i / 9) * 10 - site * 3 - ascii(device))) AS burst
		FROM generate_series(0, 399) i, (VALUES (1, 'x'), (1, 'y'), (2, 'x'), (3, 'z')) s(site, device)) x) y
WHERE h % 41 <> 0 AND i NOT BETWEEN 100 + site AND 125 AND i NOT BETWEEN 250 AND 253;
-- duplicates, and a row without a timestamp
INSERT INTO r SELECT * FROM r WHERE n % 50 = 7;
INSERT INTO r SELECT site, device, NULL, NULL, 5, 5 FROM r WHERE n = 50;
CREATE INDEX ON r (site, device, ts);

CREATE TABLE maintenance (site int, note text, begins timestamptz, ends timestamptz);
INSERT INTO maintenance VALUES
	(NULL, 'all', '2026-03-01 00:30', '2026-03-01 00:50'),
	(1, 'site 1', '2026-03-01 01:00', '2026-03-01 01:33'),
	(1, 'overlaps', '2026-03-01 01:30', '2026-03-01 01:40'),
	(2, 'site 2', '2026-03-01 02:30', '2026-03-01 05:10'),
	(3, 'to the end', '2026-03-01 06:00', NULL),
	(9, 'nowhere', NULL, NULL);

-- The severity of each row and its attributes, without a detector. An unknown series has the threshold of all rows.
CREATE TABLE truth AS
SELECT DISTINCT site, device, ts, a, b, severity_of((a * a + b * b) / 2 / CASE WHEN site = 3 THEN threshold(600) ELSE threshold(200) END) AS severity,
	a * a / (a * a + b * b) AS share_a, CASE WHEN a * a >= b * b THEN sign(a) ELSE sign(b) END AS direction,
	EXISTS (SELECT FROM maintenance m WHERE (m.site = r.site OR m.site IS NULL)
		AND ts >= coalesce(begins, '-infinity') AND ts < coalesce(ends, 'infinity')) AS maintained
FROM r WHERE ts IS NOT NULL;
SELECT count(*) AS rows, count(*) FILTER (WHERE d.severity IS NOT NULL) AS scored,
	count(*) FILTER (WHERE abs(d.severity - t.severity) > 1e-5 * t.severity
		OR (d.severity IS NULL) <> (t.severity IS NULL)) AS differ,
	count(*) FILTER (WHERE abs(t.severity - 1) < 1e-4 OR abs(t.severity - 2) < 1e-4) AS at_a_limit
FROM amad_detect('fleet', source => 'r', timestamp_col => 'ts') d
JOIN truth t ON t.ts = d.ts AND t.site = (d.series->>'site')::int AND t.device = d.series->>'device'
WHERE d.status IS DISTINCT FROM 'duplicate_ts';

CREATE FUNCTION expected(since timestamptz, until timestamptz, min_duration interval, merge_gap interval,
	cooldown interval, min_severity float8, wanted text, k int, n int, maintained boolean,
	OUT site int, OUT device text, OUT start_ts timestamptz, OUT end_ts timestamptz, OUT peak_ts timestamptz,
	OUT peak_severity float8, OUT n_points bigint, OUT share_a float8, OUT balance_a float8, OUT balance_b float8,
	OUT open boolean) RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	x record;
	reported text := '';
	reported_end timestamptz;
BEGIN
	FOR x IN
		WITH stretches AS (	-- a gap of more than ten minutes begins a stretch
			SELECT *, count(*) FILTER (WHERE gap > interval '10 min')
				OVER (PARTITION BY t.site, t.device ORDER BY ts) AS stretch
			FROM (SELECT *, ts - lag(ts) OVER (PARTITION BY t.site, t.device ORDER BY ts) AS gap FROM truth t
				WHERE (since IS NULL OR ts >= since) AND (until IS NULL OR ts < until)) t
		), hits AS (
			SELECT *, expected.maintained AND s.maintained AS off,
				coalesce(severity > min_severity, false) AND NOT (expected.maintained AND s.maintained)
				AND (wanted IS NULL OR (wanted = 'up') = (direction > 0)) AS hit FROM stretches s
		), flags AS (
			SELECT *, hit AND count(*) FILTER (WHERE hit) OVER (PARTITION BY h.site, h.device, stretch
				ORDER BY ts ROWS expected.n - 1 PRECEDING) >= expected.k AS flagged FROM hits h
		), broken AS (	-- how many rows end an event, up to a row
			SELECT *, count(*) FILTER (WHERE NOT flagged AND (severity IS NOT NULL OR off))
					OVER (PARTITION BY f.site, f.device ORDER BY ts) AS breaks,
				max(ts) OVER (PARTITION BY f.site, f.device) AS last_ts FROM flags f
		), ends AS (
			SELECT *, max(breaks) OVER (PARTITION BY b.site, b.device) AS last_breaks,
				max(stretch) OVER (PARTITION BY b.site, b.device) AS last_stretch FROM broken b
		), begun AS (
			SELECT *, NOT coalesce((breaks = lag(breaks) OVER w AND stretch = lag(stretch) OVER w)
				OR ts <= lag(ts) OVER w + merge_gap, false) AS begins
			FROM ends b WHERE flagged WINDOW w AS (PARTITION BY b.site, b.device ORDER BY ts)
		), islands AS (
			SELECT *, count(*) FILTER (WHERE begins) OVER (PARTITION BY b.site, b.device ORDER BY ts) AS island
			FROM begun b
		)
		SELECT i.site, i.device, min(ts) AS start_ts, max(ts) AS end_ts,
			(array_agg(ts ORDER BY severity DESC, ts))[1] AS peak_ts, max(severity) AS peak_severity,
			count(*) AS n_points, sum(severity * i.share_a) / sum(severity) AS share_a,
			sum(severity * i.share_a * sign(a)) AS balance_a, sum(severity * (1 - i.share_a) * sign(b)) AS balance_b,
			max(breaks) = max(last_breaks) AND max(stretch) = max(last_stretch)
			OR coalesce(max(last_ts) <= max(ts) + merge_gap, false) AS open
		FROM islands i GROUP BY i.site, i.device, island ORDER BY i.site, i.device, min(ts)
	LOOP
		CONTINUE WHEN x.start_ts + min_duration > x.end_ts;
		CONTINUE WHEN reported = x.site || x.device AND x.start_ts < reported_end + cooldown;
		reported := x.site || x.device; reported_end := x.end_ts;
		site := x.site; device := x.device; start_ts := x.start_ts; end_ts := x.end_ts; peak_ts := x.peak_ts;
		peak_severity := x.peak_severity; n_points := x.n_points; share_a := x.share_a; balance_a := x.balance_a;
		balance_b := x.balance_b; open := x.open;
		RETURN NEXT;
	END LOOP;
END $$;

CREATE TABLE grid AS
SELECT row_number() OVER () AS id, * FROM (
	SELECT * FROM
		(VALUES (NULL::timestamptz, NULL::timestamptz), ('2026-03-01 01:17', NULL), (NULL, '2026-03-01 04:44'),
			('2026-03-01 00:40', '2026-03-01 05:55')) r(since, until),
		(VALUES (NULL::interval), ('0'), ('2 min'), ('10 min')) d(min_duration),
		(VALUES (NULL::interval), ('0'), ('3 min'), ('25 min')) g(merge_gap),
		(VALUES (NULL::interval), ('10 min'), ('1 hour')) c(cooldown),
		(VALUES (1.0::float8), (2.0)) s(min_severity),
		(VALUES (NULL), ('up'), ('down')) w(direction),
		(VALUES (1, 1), (2, 3), (1, 3), (3, 3), (3, 7)) k(k, n),
		(VALUES (false), (true)) m(maintained)
	ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10) g;
-- all defaults, each parameter alone, and one of 67 combinations
CREATE TABLE picked AS SELECT * FROM grid
WHERE id % 67 = 0 OR (since IS NULL)::int + (until IS NULL)::int + (min_duration IS NULL)::int
	+ (merge_gap IS NULL)::int + (cooldown IS NULL)::int + (min_severity = 1)::int
	+ (direction IS NULL)::int + (n = 1)::int + (NOT maintained)::int >= 8;
CREATE TABLE found AS SELECT g.id, (e.series->>'site')::int AS site, e.series->>'device' AS device, e.*
FROM picked g, amad_events('fleet', source => 'r', timestamp_col => 'ts', since => g.since, until => g.until,
	min_duration => g.min_duration, merge_gap => g.merge_gap, cooldown => g.cooldown, min_severity => g.min_severity,
	direction => g.direction, k => g.k, n => g.n, maintenance => CASE WHEN g.maintained THEN 'maintenance' END,
	learning => true) e;
CREATE TABLE wanted AS SELECT g.id, x.*
FROM picked g, expected(g.since, g.until, g.min_duration, g.merge_gap, g.cooldown, g.min_severity, g.direction, g.k,
	g.n, g.maintained) x;
-- the grid is large
SELECT count(DISTINCT id) > 140 AS combinations, count(*) > 2000 AS events, count(*) FILTER (WHERE open) > 100 AS open,
	count(DISTINCT (site, device)) AS series
FROM wanted;
-- the events are the same
SELECT count(*) FILTER (WHERE f.n_points IS NULL) AS missing, count(*) FILTER (WHERE w.n_points IS NULL) AS extra,
	count(*) FILTER (WHERE (f.end_ts, f.peak_ts, f.n_points, f.open)
		IS DISTINCT FROM (w.end_ts, w.peak_ts, w.n_points, w.open)) AS differ,
	count(*) FILTER (WHERE abs(f.peak_severity - w.peak_severity) < 1e-5 * w.peak_severity) = count(*) AS same_severity
FROM found f FULL JOIN wanted w USING (id, site, device, start_ts);
-- and so are their features
SELECT count(*) FILTER (WHERE abs(coalesce(t.share_a, 0) - w.share_a) < 3e-6) = count(*) AS same_share,
	bool_and(t.same_direction) AS same_direction, bool_and(t.ordered) AS ordered
FROM found f JOIN wanted w USING (id, site, device, start_ts), LATERAL (
	SELECT max((x->>'share')::float8) FILTER (WHERE x->>'feature' = 'a') AS share_a,
		bool_and((x->>'direction')::int
			= sign(CASE x->>'feature' WHEN 'a' THEN w.balance_a ELSE w.balance_b END)) AS same_direction,
		(f.top_features #>> '{0,share}')::float8 >= coalesce((f.top_features #>> '{1,share}')::float8, 0) AS ordered
	FROM jsonb_array_elements(f.top_features) x) t;
-- the parameters make a difference
SELECT count(DISTINCT md5) > 100 AS results
FROM (SELECT id, md5(string_agg(format('%s %s %s', series, start_ts, end_ts), ',' ORDER BY series, start_ts))
	FROM found GROUP BY id) x;

-- The rows of the events are the rows that amad_detect flags, all of them, and no others.
CREATE TABLE detected AS SELECT series, ts, severity, is_anomaly
FROM amad_detect('fleet', source => 'r', timestamp_col => 'ts') WHERE is_anomaly IS NOT NULL;
CREATE TABLE events AS SELECT * FROM amad_events('fleet', source => 'r', timestamp_col => 'ts');
SELECT count(*) FILTER (WHERE is_anomaly) = (SELECT sum(n_points) FROM events) AS points,
	count(*) FILTER (WHERE is_anomaly AND events <> 1) AS outside,
	count(*) FILTER (WHERE NOT is_anomaly AND events > 0) AS others
FROM detected d, LATERAL (SELECT count(*) AS events FROM events e
	WHERE e.series = d.series AND d.ts BETWEEN e.start_ts AND e.end_ts) x;
-- A series that the model does not contain has no events; with learning they are reported, with a status.
SELECT count(*) FILTER (WHERE is_anomaly) AS anomalies, count(*) FILTER (WHERE severity > 1) > 50 AS severe
FROM amad_detect('fleet', source => 'r', timestamp_col => 'ts', series => '{"site": 3}');
SELECT count(*) FILTER (WHERE site = 3) AS learning, count(*) FILTER (WHERE status IS NOT NULL) AS with_status FROM (
	SELECT (series->>'site')::int AS site, status FROM events) e;
SELECT status, count(*) FILTER (WHERE site = 3) > 10 AS learning, count(*) FILTER (WHERE site <> 3) > 10 AS others FROM (
	SELECT (series->>'site')::int AS site, status FROM found) e GROUP BY status ORDER BY status;
SELECT count(*) FROM amad_events('fleet', source => 'r', timestamp_col => 'ts', series => '{"site": 3}', min_severity => 0);
-- The peak is the greatest severity of an event's rows.
SELECT count(*) AS other_peaks FROM events e WHERE peak_severity <> (
	SELECT max(severity) FROM detected d WHERE d.series = e.series AND d.ts BETWEEN e.start_ts AND e.end_ts);

-- ---- fleets

SELECT series, count(*) AS events
FROM amad_events('fleet', source => 'r', timestamp_col => 'ts', series => '{"site": 1}')
GROUP BY series ORDER BY series;
SELECT count(*) AS of_one, count(*) FILTER (WHERE e = f) AS same
FROM amad_events('fleet', source => 'r', timestamp_col => 'ts', series => '{"device": "x", "site": 2}') e
	LEFT JOIN events f ON f.series = e.series AND f.start_ts = e.start_ts;
-- maintenance: columns restrict it to series, by value; without them, and where they are null, it applies to all
CREATE TABLE windows (device varchar, site numeric, "to" timestamp, "from" timestamp);
INSERT INTO windows VALUES
	('x', 1.0, 'infinity', '-infinity'),
	('y', 2.00, NULL, NULL),
	(NULL, 3, 'infinity', '2026-03-01 03:00');
SELECT what, string_agg(format('%s%s %s', series->>'site', series->>'device', events), ', ' ORDER BY series) AS events
FROM (VALUES
		(1, NULL),
		(2, 'SELECT "from", "to", device, site FROM windows'),
		(3, 'SELECT "from", "to", device FROM windows'),
		(4, 'SELECT "from", "to", site FROM windows'),
		(5, 'SELECT "from", "to" FROM windows'),
		(6, 'SELECT "from", "to", device, site::text FROM windows'),
		(7, 'SELECT "from", "to", site::int AS site FROM windows'),
		(8, 'SELECT "from", "to", upper(device) AS device FROM windows')) v(what, query),
	LATERAL (SELECT series, count(*) AS events
		FROM amad_events('fleet', source => 'r', timestamp_col => 'ts', maintenance => query, learning => true)
		GROUP BY series) e
GROUP BY what ORDER BY what;
-- to a series whose column is null only a null applies
SELECT query, (SELECT count(*) FROM amad_events('fleet',
	source => $$SELECT NULL::int AS site, 'q' AS device, ts, a, b FROM drawn('.2.')$$, maintenance => query,
	learning => true)) AS events
FROM (VALUES ('SELECT NULL::timestamptz, NULL::timestamptz, 1 AS site'),
	('SELECT NULL::timestamptz, NULL::timestamptz, NULL::int AS site')) v(query);

-- ---- other types of time

SELECT amad_train('n', 'normal', 'n', '{a,b}', '{site,device}', options => zscore())->'rows' AS rows;
CREATE TABLE as_timestamptz AS
SELECT series, start_ts, end_ts, peak_ts, peak_severity, n_points, top_features, open
FROM amad_events('fleet', source => 'r', timestamp_col => 'ts', since => '2026-03-01 00:20',
	until => '2026-03-01 05:00', min_duration => '1 min', merge_gap => '2 min', cooldown => '3 min',
	min_severity => 1.5, maintenance => 'maintenance');
SELECT count(*) > 10 AS events FROM as_timestamptz;
-- the same events with times without time zone
SELECT count(*) AS different
FROM (SELECT series, start_ts, end_ts, peak_ts, peak_severity, n_points, top_features, open
	FROM amad_events('fleet', source => 'SELECT site, device, ts::timestamp AS at, a, b FROM r',
		since => '2026-03-01 00:20', until => '2026-03-01 05:00', min_duration => '1 min', merge_gap => '2 min',
		cooldown => '3 min', min_severity => 1.5, maintenance => 'maintenance')) t
FULL JOIN as_timestamptz e USING (series, start_ts) WHERE t IS DISTINCT FROM e;
-- and with numbers
SELECT count(*) AS different
FROM (SELECT series, timestamptz '2026-03-01' + start_ts * interval '1 min' AS start_ts,
		timestamptz '2026-03-01' + end_ts * interval '1 min' AS end_ts,
		timestamptz '2026-03-01' + peak_ts * interval '1 min' AS peak_ts, peak_severity, n_points, top_features, open
	FROM amad_events_bigint('n', source => 'r', timestamp_col => 'n', since => 20, until => 300, min_duration => 1,
		merge_gap => 2, cooldown => 3, min_severity => 1.5, maintenance => 'SELECT site,
			extract(epoch FROM begins - ''2026-03-01'')::int / 60 AS b,
			extract(epoch FROM ends - ''2026-03-01'')::int / 60 AS e FROM maintenance')) n
FULL JOIN as_timestamptz e USING (series, start_ts) WHERE n IS DISTINCT FROM e;
-- durations beyond the range of bigint
SELECT start_ts, end_ts, open
FROM amad_events_bigint('wide', merge_gap => 9223372036854775807, cooldown => 9223372036854775807, timestamp_col => 'n',
	source => rows('(1, 4, 0, 0, 0), (2, 0, 0, 0, 0), (9000000000000000000, 4, 0, 0, 0),
		(9000000000000000001, 0, 0, 0, 0)'));
SELECT count(*) AS events FROM amad_events_bigint('wide', min_duration => 9223372036854775807, timestamp_col => 'n',
	source => rows('(1, 4, 0, 0, 0), (2, 0, 0, 0, 0)'));

-- a day is 24 hours, also where the clocks go forward; a month is one of the calendar, in UTC
SET timezone = 'Europe/Berlin';
CREATE TABLE hours AS
SELECT ts, CASE WHEN ts IN ('2026-03-28 12:00', '2026-03-29 13:00', '2026-04-28 12:00') THEN 3 ELSE 0 END AS a, 0 AS b
FROM generate_series(timestamptz '2026-03-28 11:00', '2026-04-28 13:00', '1 hour') ts;
SELECT what, string_agg(format('%s-%s', start_ts, end_ts), ', ' ORDER BY start_ts) AS events
FROM (VALUES
		(1, NULL::interval, NULL::interval, NULL::interval),
		(2, '24 hours', NULL, NULL),
		(3, '1 day', NULL, NULL),
		(4, '1 day 1 hour', NULL, NULL),
		(5, '2 days', '24 hours', NULL),
		(6, '2 days', '25 hours', NULL),
		(7, '2 days', '1 day 1 hour', NULL),
		(8, NULL, NULL, '24 hours'),
		(9, NULL, NULL, '1 day'),
		(10, NULL, NULL, '25 hours'),
		(11, NULL, NULL, '1 day 1 hour'),
		(12, NULL, NULL, '1 month'),
		(13, '2 days', '1 day 2 hours', NULL)) v(what, merge_gap, min_duration, cooldown),
	amad_events('m', merge_gap => v.merge_gap, min_duration => v.min_duration, cooldown => v.cooldown,
		timestamp_col => 'ts', source => 'hours')
GROUP BY what ORDER BY what;
SET timezone = 'UTC';

-- ---- edges, errors

SELECT count(*) AS none FROM amad_events('m', source => 'SELECT ts, a, b FROM normal WHERE false');
SELECT count(*) AS none FROM amad_events('m', since => '2030-01-01');
SELECT count(*) AS none FROM amad_events('fleet', source => 'r', timestamp_col => 'ts', series => '{"site": 77}');
SELECT count(*) AS none FROM amad_events('m', source => $$SELECT ts, a, b FROM drawn('------')$$, timestamp_col => 'ts',
	min_severity => 0);
-- the stored source of the model, in which every row has the same severity
SELECT count(*) AS events, sum(n_points) AS points, min(peak_ts) AS peak FROM amad_events('m', min_severity => 0.3);
SELECT count(*) AS events, sum(n_points) AS points FROM amad_events('fleet', min_severity => 0.3);
SELECT series, start_ts, end_ts, peak_ts, round(peak_severity::numeric, 6) AS peak_severity, n_points, top_features, open, status
FROM amad_events('m', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
	$$SELECT ts, 3 AS a, 1 AS b FROM drawn('.')$$, NULL);
SELECT provolatile, proparallel, proretset, count(*) FROM pg_proc WHERE proname LIKE 'amad\_events%' GROUP BY 1, 2, 3;
-- several calls in one query
SELECT severity, count(*)
FROM generate_series(1, 3) severity,
	amad_events('fleet', source => 'r', timestamp_col => 'ts', min_severity => severity)
GROUP BY 1 ORDER BY 1;

SELECT amad_events(NULL);
SELECT amad_events('nobody');
SELECT amad_events('m', min_duration => '-1 s');
SELECT amad_events('m', merge_gap => '1 hour -1 day');
SELECT amad_events('m', cooldown => '-1 month');
SELECT amad_events_bigint('n', cooldown => -1);
SELECT amad_events('m', min_severity => -1);
SELECT amad_events('m', min_severity => 'NaN');
SELECT amad_events('m', direction => 'UP');
SELECT amad_events('m', k => 0);
SELECT amad_events('m', k => 2);
SELECT amad_events('m', k => 1, n => 0);
SELECT amad_events('m', n => 65537);
SELECT amad_events('m', series => '{"site": 1}');
SELECT amad_events('m', source => 'nowhere');
SELECT amad_events('m', maintenance => 'nowhere');
SELECT amad_events('m', maintenance => 'SELECT 1; SELECT 2');
SELECT amad_events('m', maintenance => 'SELECT now()');
SELECT amad_events('m', maintenance => 'SELECT 1 AS x');
SELECT amad_events('m', maintenance => 'SELECT ts, ts AS "to", ts AS created FROM normal');
SELECT amad_events('m', maintenance => 'SELECT timestamp ''2026-02-02'', timestamp ''2026-02-01''');
SELECT start_ts, end_ts, n_points FROM amad_events('m', min_severity => 0.3,
	maintenance => 'SELECT now(), NULL::timestamptz, 1 / 0');
SELECT amad_events('m', maintenance => 'DELETE FROM normal RETURNING ts, ts + interval ''1 h''');
SELECT amad_events_bigint('n', maintenance => 'SELECT now() AS a, now() AS b');
SELECT amad_events_bigint('n', maintenance => 'SELECT 1 AS id, 2 AS a, 3 AS b, 4 AS site');
SELECT amad_events('fleet', maintenance => 'SELECT now(), now(), 1 AS site, 2 AS site');
SELECT amad_events('fleet', maintenance => 'SELECT now(), now(), 1 AS site, 2 AS site, ''x'' AS device');
SELECT amad_events_bigint('m');
SELECT count(*) AS still_there FROM normal;
-- windows do not grow beyond work_mem
SET work_mem = '1MB';
CREATE TABLE moments AS SELECT i, timestamptz '2020-01-01' + i * interval '1 s' AS ts FROM generate_series(1, 100000) i;
SELECT count(*) FROM amad_events('m', maintenance => 'SELECT ts, ts FROM moments');
SELECT count(*) FROM amad_events('m', min_severity => 0.3,
	maintenance => 'SELECT ts, ts FROM moments WHERE i <= 5000');
RESET work_mem;

DROP TABLE normal, wide, r, maintenance, windows, truth, grid, picked, found, wanted, detected, events, as_timestamptz,
	hours, moments;
DROP FUNCTION zscore, threshold, drawn, show, span, rows, expected;
DELETE FROM amad_models;
