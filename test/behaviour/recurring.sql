-- What recurs at its time
--
-- A nightly job, the start of the office day and a weekly batch are no alarm at their time. At another time they are.

SELECT expect('nightly', 'nightly job: nights alarmed',
	'of ten nights after the training, at most two', 'nights', at_most => 2);
SELECT expect('nightly', 'nightly job: rows flagged by day', 'rows away from the job', '% of rows', at_most => 3);
SELECT expect('nightly', 'nightly job: the same load at 14:00', 'is found', '', at_least => 1);
SELECT expect('nightly', 'nightly job: moved by three hours', 'is found', '', at_least => 1);
SELECT expect('nightly', 'nightly job: a night without it', 'is found', '', at_least => 1);
SELECT expect('nightly', 'nightly job: three times the load', 'is found at its time', '', at_least => 1);

-- Is a job running in row n? It runs at night, for 25 minutes from two o'clock (or longer, or once more).
CREATE FUNCTION job_runs(what text, n bigint, seed int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE what
		WHEN 'backup of 25 minutes' THEN n % 288 BETWEEN 24 AND 28
		WHEN 'backup of 2 hours' THEN n % 288 BETWEEN 24 AND 47
		-- the start varies by up to 15 minutes, the length by up to 10
		WHEN 'backup at irregular times' THEN
			n % 288 BETWEEN 24 + floor(4 * noise(seed, n / 288)) AND 28 + floor(6 * noise(seed, n / 288))
		WHEN 'one row' THEN n % 288 = 24 END $$;

CREATE FUNCTION nightly(what text, noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE plpgsql AS $$
DECLARE
	m text := format('nightly %s %s %s', what, noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[20 + 10 * daily(n) + 4 * noise * noise(seed + 1, n) + 60 * job,
		5 + 2 * noise * noise(seed + 2, n) + 80 * job, 40 + 5 * daily(n) + 2 * noise * noise(seed + 3, n)]
	FROM (SELECT n, job_runs(what, n, seed)::int AS job FROM generate_series(0, 40 * 288 - 1) n) q;
	PERFORM train(m, 30 * 288);
	RETURN QUERY
	SELECT 'nightly job: nights alarmed', count(DISTINCT n / 288)::float8 FROM rows
	WHERE model = m AND n >= 30 * 288 AND n % 288 BETWEEN 24 AND 59 AND base >= 1
	UNION ALL
	SELECT 'nightly job: rows flagged by day', percent(base >= 1) FROM rows
	WHERE model = m AND n >= 30 * 288 AND n % 288 NOT BETWEEN 24 AND 47 + 32
	UNION ALL
	-- day 34, 14:00
	SELECT 'nightly job: the same load at 14:00', max(severity)
	FROM severities(m, 'CASE WHEN n BETWEEN 9960 AND 9964 THEN ARRAY[c[1] + 60, c[2] + 80, c[3]] ELSE c END', 9600)
	WHERE n BETWEEN 9960 AND 9970
	UNION ALL
	-- day 34: not at 2:00, but at 5:00
	SELECT 'nightly job: moved by three hours', max(severity)
	FROM severities(m,
		format('CASE WHEN n BETWEEN 9792 AND 9850 AND job_runs(%1$L, n, %2$s) THEN ARRAY[c[1] - 60, c[2] - 80, c[3]] '
		'WHEN n BETWEEN 9792 AND 9892 AND job_runs(%1$L, n - 36, %2$s) THEN ARRAY[c[1] + 60, c[2] + 80, c[3]] '
		'ELSE c END',
		what, seed), 9600)
	WHERE n BETWEEN 9852 AND 9862
	UNION ALL
	SELECT 'nightly job: a night without it', max(severity)
	FROM severities(m,
		format('CASE WHEN n BETWEEN 9792 AND 9850 AND job_runs(%1$L, n, %2$s) THEN ARRAY[c[1] - 60, c[2] - 80, c[3]] '
		'ELSE c END',
		what, seed), 9600)
	WHERE n BETWEEN 9816 AND 9850
	UNION ALL
	SELECT 'nightly job: three times the load', max(severity)
	FROM severities(m,
		format('CASE WHEN n BETWEEN 9792 AND 9850 AND job_runs(%1$L, n, %2$s) THEN ARRAY[c[1] + 120, c[2] + 160, c[3]] '
		'ELSE c END',
		what, seed), 9600)
	WHERE n BETWEEN 9816 AND 9850;
END $$;

SELECT run('nightly', json_build_object('what', 'backup of 25 minutes', 'noise', 1, 'seed', 1));
\if :full
SELECT run('nightly', json_build_object('what', w, 'noise', n, 'seed', 1))
FROM unnest('{backup of 25 minutes,backup of 2 hours,backup at irregular times,one row}'::text[]) w,
	unnest('{0.2,1,5}'::float8[]) n;
\endif

-- ---- working hours

SELECT expect('office', 'office hours: rows flagged',
	'load comes at eight, Monday to Friday, and goes at six', '% of rows',
	at_most => 3);
SELECT expect('office', 'office hours: starts alarmed', 'at most one start of five working days', 'days', at_most => 1);
SELECT expect('office', 'office hours: work on a Sunday', 'is found', '', at_least => 1);

-- Day 0 is a Tuesday. 28 days of training, seven of judgement.
CREATE FUNCTION office(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('office %s %s', noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[10 + 60 * work + noise * (2 + 6 * work) * noise(seed + 1, n),
		200 + 900 * work + noise * (10 + 60 * work) * gauss(seed + 2, n)]
	FROM (SELECT n, (n % 288 BETWEEN 96 AND 215 AND n / 288 % 7 NOT IN (4, 5))::int AS work
		FROM generate_series(0, 35 * 288 - 1) n) q;
	PERFORM train(m, 28 * 288);
	RETURN QUERY
	SELECT 'office hours: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 28 * 288
	UNION ALL
	SELECT 'office hours: starts alarmed', count(DISTINCT n / 288)::float8 FROM rows
	WHERE model = m AND n >= 28 * 288 AND n % 288 BETWEEN 96 AND 107 AND base >= 1
	UNION ALL
	-- Sunday, day 33, ten o'clock to noon
	SELECT 'office hours: work on a Sunday', max(severity)
	FROM severities(m, 'CASE WHEN n BETWEEN 9624 AND 9648 THEN ARRAY[c[1] + 60, c[2] + 900] ELSE c END', 9400)
	WHERE n BETWEEN 9624 AND 9655;
END $$;

SELECT run('office', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('office', v) FROM grid(noise => '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- local time

SELECT expect('local_time', 'clocks change: nights alarmed',
	'a job at four, local time; of ten nights after the end of daylight saving time, at most two', 'nights', at_most => 2);
SELECT expect('local_time', 'clocks change: the job an hour late', 'is found', '', at_least => 1);

-- What a clock in Berlin shows in row n: summer time ends on 2026-10-25
CREATE FUNCTION berlin_row(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
	SELECT extract(epoch FROM at(n) AT TIME ZONE 'Europe/Berlin' - at(0) AT TIME ZONE 'UTC')::bigint / 300 $$;

CREATE FUNCTION local_time(noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE plpgsql AS $$
DECLARE
	m text := format('local time %s %s', noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[20 + 10 * daily(local) + 4 * noise * noise(seed + 1, n) + 60 * job,
		5 + 2 * noise * noise(seed + 2, n) + 80 * job]
	FROM (SELECT n, berlin_row(n) AS local, (berlin_row(n) % 288 BETWEEN 48 AND 52)::int AS job
		FROM generate_series(0, 65 * 288 - 1) n) q;
	-- until October 21
	PERFORM train(m, 50 * 288, '{"timezone": "Europe/Berlin"}');
	RETURN QUERY
	SELECT 'clocks change: nights alarmed', count(DISTINCT n / 288)::float8 FROM rows
	WHERE model = m AND n >= 55 * 288 AND berlin_row(n) % 288 BETWEEN 48 AND 83 AND base >= 1
	UNION ALL
	SELECT 'clocks change: the job an hour late', max(severity)
	FROM severities(m, 'CASE WHEN n / 288 = 58 AND berlin_row(n) % 288 BETWEEN 48 AND 52 THEN ARRAY[c[1] - 60, c[2] - 80] '
		'WHEN n / 288 = 58 AND berlin_row(n) % 288 BETWEEN 60 AND 64 THEN ARRAY[c[1] + 60, c[2] + 80] ELSE c END', 57 * 288)
	WHERE n / 288 = 58 AND berlin_row(n) % 288 BETWEEN 60 AND 70;
END $$;

SELECT run('local_time', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('local_time', v) FROM grid(noise => '{0.2,5}') v;
\endif

SELECT expect('holiday', 'holiday: rows flagged', 'no work on a Wednesday that is a holiday', '% of rows', at_most => 5);
SELECT expect('holiday', 'holiday: work', 'is found', '', at_least => 1);

-- Working days without those of a table. Days 35 and 50 are Tuesdays, 43 and 57 Wednesdays.
CREATE TABLE holidays AS SELECT (at(288 * d) AT TIME ZONE 'UTC')::date AS day FROM unnest('{12,35,43,50,57}'::int[]) d;

CREATE FUNCTION holiday(noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE plpgsql AS $$
DECLARE
	m text := format('holiday %s %s', noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[10 + 60 * work + noise * (2 + 6 * work) * noise(seed + 1, n),
		200 + 900 * work + noise * (10 + 60 * work) * gauss(seed + 2, n)]
	FROM (SELECT n, (n % 288 BETWEEN 96 AND 215 AND n / 288 % 7 NOT IN (4, 5) AND NOT EXISTS
			(SELECT FROM holidays WHERE day = (at(n) AT TIME ZONE 'UTC')::date))::int AS work
		FROM generate_series(0, 60 * 288 - 1) n) q;
	PERFORM train(m, 42 * 288, '{"holidays": "holidays"}');
	RETURN QUERY
	SELECT 'holiday: rows flagged', percent(base >= 1) FROM rows
	WHERE model = m AND n >= 42 * 288 AND n / 288 IN (43, 50, 57)
	UNION ALL
	SELECT 'holiday: work', max(severity)
	FROM severities(m, 'CASE WHEN n / 288 = 57 AND n % 288 BETWEEN 120 AND 144 THEN ARRAY[c[1] + 60, c[2] + 900] ELSE c END', 56 * 288)
	WHERE n / 288 = 57 AND n % 288 BETWEEN 120 AND 150;
END $$;

SELECT run('holiday', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('holiday', v) FROM grid(noise => '{0.2,5}') v;
\endif

-- ---- once a week

SELECT expect('weekly', 'weekly batch: weeks alarmed',
	'Sundays from one to three: of four weeks, at most one', 'weeks', at_most => 1);
SELECT expect('weekly', 'weekly batch: the same on a Wednesday', 'is found', '', at_least => 1);

-- Rows of an hour: 20 weeks of training, four of judgement
CREATE FUNCTION weekly(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('weekly %s %s', noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n * 12), ARRAY[20 + 10 * daily(n * 12) + 4 * noise * noise(seed + 1, n) + 60 * batch,
		5 + 2 * noise * noise(seed + 2, n) + 80 * batch]
	FROM (SELECT n, (n % 168 BETWEEN 121 AND 123)::int AS batch FROM generate_series(0, 24 * 168 - 1) n) q;
	PERFORM train(m, 20 * 168);
	RETURN QUERY
	SELECT 'weekly batch: weeks alarmed', count(DISTINCT n / 168)::float8 FROM rows
	WHERE model = m AND n >= 20 * 168 AND n % 168 BETWEEN 121 AND 127 AND base >= 1
	UNION ALL
	-- Wednesday of the third week
	SELECT 'weekly batch: the same on a Wednesday', max(severity)
	FROM severities(m, 'CASE WHEN n BETWEEN 3721 AND 3723 THEN ARRAY[c[1] + 60, c[2] + 80] ELSE c END', 3400)
	WHERE n BETWEEN 3721 AND 3726;
END $$;

SELECT run('weekly', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('weekly', v) FROM grid(noise => '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- once a month

SELECT expect('monthly', 'end of the month: months alarmed', 'of three months, at most one', 'months', at_most => 1);
SELECT expect('monthly', 'end of the month: the same on the fifteenth', 'is found', '', at_least => 1);

-- Rows of an hour: six months of training, three of judgement. Invoices on the last day from eight to eleven in the
-- evening, or on the first at three
CREATE FUNCTION monthly(what text, noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('monthly %s %s %s', what, noise, seed);
	months bigint[] := ARRAY(SELECT extract(epoch FROM timestamptz '2026-10-01 00:00+00' + month * interval '1 month' - at(0))::bigint / 3600
		FROM generate_series(0, 9) month);
	job bigint[] := ARRAY(SELECT hour FROM unnest(months) first, generate_series(first - 48, first + 48) hour
		WHERE CASE what WHEN 'last day' THEN hour - first BETWEEN -4 AND -2 ELSE hour - first BETWEEN 3 AND 4 END);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n * 12), ARRAY[20 + 10 * daily(n * 12) + 4 * noise * noise(seed + 1, n) + 60 * batch,
		5 + 2 * noise * noise(seed + 2, n) + 80 * batch]
	FROM (SELECT n, (n = ANY (job))::int AS batch FROM generate_series(0, months[9] + 48) n) q;
	PERFORM train(m, months[6] + 48);
	RETURN QUERY
	SELECT 'end of the month: months alarmed', count(DISTINCT first)::float8 FROM rows, unnest(months[7:9]) first
	WHERE model = m AND n BETWEEN first - 5 AND first + 12 AND base >= 1
	UNION ALL
	SELECT 'end of the month: the same on the fifteenth', max(severity)
	FROM severities(m, format('CASE WHEN n BETWEEN %1$s AND %1$s + 2 THEN ARRAY[c[1] + 60, c[2] + 80] ELSE c END',
		months[8] + 14 * 24 + 20), months[8] + 12)
	WHERE n BETWEEN months[8] + 14 * 24 + 20 AND months[8] + 14 * 24 + 26;
END $$;

SELECT run('monthly', json_build_object('what', 'last day', 'noise', 1, 'seed', 1));
\if :full
SELECT run('monthly', json_build_object('what', w, 'noise', n, 'seed', 1))
FROM unnest('{last day,first day}'::text[]) w, unnest('{0.2,1,5}'::float8[]) n;
\endif

-- ---- devices that restart every night, each at a minute of its own

SELECT expect('staggered', 'nightly restarts, each device at its own time: nights alarmed',
	'of five nights of eight devices, at most a fifth', '% of nights', at_most => 20);
SELECT expect('staggered', 'nightly restarts: a restart at noon',
	'is found in most devices', '% of devices', at_least => 75);

CREATE TABLE restarts (device int, ts timestamptz, load float8, memory float8);

CREATE FUNCTION staggered(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('restarts %s %s', noise, seed);
BEGIN
	TRUNCATE restarts;
	-- down for two rows
	INSERT INTO restarts
	SELECT d, at(n), up * (50 + 10 * daily(n) + 4 * staggered.noise * noise(seed * 50 + d, n)),
		up * (70 + d + staggered.noise * gauss(seed * 50 + d + 20, n))
	FROM (SELECT d, n, (n % 288 NOT BETWEEN 12 + 5 * d AND 13 + 5 * d AND n <> 22 * 288 + 144)::int AS up
		  FROM generate_series(1, 8) d, generate_series(0, 25 * 288 - 1) n) q;
	PERFORM amad_train(model_name => m, source => 'SELECT * FROM restarts WHERE ts < at(20 * 288)',
		series_cols => '{device}');
	CREATE TEMP TABLE s ON COMMIT DROP AS
	SELECT (series->>'device')::int AS device, (extract(epoch FROM ts - at(0)) / 300)::bigint AS n, is_anomaly, severity
	FROM amad_detect(m, since => at(20 * 288), source => 'restarts', explain => false);
	INSERT INTO severities_seen (highest, not_finite)
	SELECT max(severity), count(*) FILTER (WHERE severity IN ('NaN', 'Infinity', '-Infinity')) FROM s;
	RETURN QUERY
	SELECT 'nightly restarts, each device at its own time: nights alarmed', percent(alarmed)
	FROM (SELECT bool_or(is_anomaly) AS alarmed FROM s WHERE n % 288 BETWEEN 12 + 5 * device AND 16 + 5 * device
		  GROUP BY device, n / 288) x
	UNION ALL
	SELECT 'nightly restarts: a restart at noon', percent(is_anomaly) FROM s WHERE n = 22 * 288 + 144;
	DROP TABLE s;
END $$;

SELECT run('staggered', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('staggered', v) FROM grid(noise => '{0.2,5}') v;
\endif
