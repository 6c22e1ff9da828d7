-- Growth
--
-- What grew in training goes on growing. A trend and a counter are learned as such.

SELECT expect('growing', 'growth that goes on: rows flagged',
	'less than a tenth of the rows of the five days after training',
	'% of rows', at_most => 10);
SELECT expect('growing', 'growth that goes on: last day', 'also on the fifth day', '% of rows', at_most => 10);
SELECT expect('growing', 'growth that goes on: jump found',
	'a jump of five times the noise is found within 32 rows', 'rows',
	at_most => 32);

-- Disk space used and cpu, for 15 days; the growth goes on for five
CREATE FUNCTION grown(what text, noise float8, seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text := format('growing %s %s %s', what, noise, seed);
BEGIN
	IF EXISTS (SELECT FROM rows WHERE model = m) THEN
		RETURN m;
	END IF;
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[CASE what
		WHEN 'disk' THEN 100 + 0.01 * n
		WHEN 'disk, by day' THEN 100 + 0.01 * n + daily(n)
		WHEN 'disk, less at weekends' THEN 100 + sum(CASE WHEN extract(isodow FROM at(n)) < 6 THEN 0.012 ELSE 0.004 END)
			OVER (ORDER BY n)
		WHEN 'disk that is free' THEN 100 - 0.01 * n
		WHEN 'slow growth' THEN 100 + 0.0005 * n
		WHEN 'leak that is emptied' THEN 100 + 0.05 * (n % 864) END
		+ noise * noise(seed + 8, n), 50 + 20 * daily(n) + 2 * noise * noise(seed, n)]
	FROM generate_series(0, 20 * 288 - 1) n;
	PERFORM train(m, 15 * 288);
	RETURN m;
END $$;

CREATE FUNCTION growing(what text, noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE plpgsql AS $$
DECLARE
	m text := grown(what, noise, seed);
BEGIN
	RETURN QUERY
	SELECT 'growth that goes on: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 15 * 288
	UNION ALL
	SELECT 'growth that goes on: last day', percent(base >= 1) FROM rows WHERE model = m AND n >= 19 * 288
	UNION ALL
	SELECT 'growth that goes on: jump found', min(n)::float8 - 4800
	FROM severities(m, format('CASE WHEN n >= 4800 THEN ARRAY[c[1] + %s, c[2]] ELSE c END', 5 * noise), 4500)
	WHERE n >= 4800 AND severity >= 1 AND base < 1;
END $$;

SELECT run('growing', json_build_object('what', 'disk', 'noise', 1, 'seed', 1));
\if :full
SELECT run('growing', json_build_object('what', w, 'noise', n, 'seed', 1))
FROM unnest('{disk,"disk, by day","disk, less at weekends",disk that is free,slow growth,leak that is emptied}'::text[]) w,
	unnest('{0.2,1,5}'::float8[]) n;
\endif

SELECT expect('faster', 'growth that is ten times as fast: found', 'from noon of a day on: found within a day', 'rows',
	at_most => 288);

CREATE FUNCTION faster(what text, noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE sql AS $$
	SELECT 'growth that is ten times as fast: found', min(n)::float8 - 4800
	FROM severities(grown(what, noise, seed), 'CASE WHEN n >= 4800 THEN ARRAY[c[1] + 0.09 * (n - 4800), c[2]] ELSE c END', 4500)
	WHERE n >= 4800 AND severity >= 1 AND base < 1 $$;

SELECT run('faster', json_build_object('what', 'disk', 'noise', 1, 'seed', 1));
\if :full
SELECT run('faster', json_build_object('what', w, 'noise', n, 'seed', 1))
FROM unnest('{disk,"disk, by day"}'::text[]) w, unnest('{0.2,1,5}'::float8[]) n;
\endif

SELECT expect('counter', 'counter: rows flagged',
	'bytes_total of an interface, as it is delivered', '% of rows', at_most => 5);
SELECT expect('counter', 'counter: no traffic found', 'the counter stops: found within 32 rows', 'rows', at_most => 32);
SELECT expect('counter', 'counter: reset', 'rows flagged in the day after it begins again at 0', 'rows', at_most => 40);

-- 15 days of training, six of judgement. Variants: resets, that is the counter begins again at 0 every five days or so; one of
-- 32 bits, which wraps around every day and a half; nights without traffic; one row in ten without a value; gauges beside it.
CREATE FUNCTION counter(what text, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('counter %s %s', what, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[CASE
		WHEN what = 'of 32 bits' THEN floor(100000 * total)::bigint % (1::bigint << 32)
		WHEN what = 'with nulls' AND noise(seed + 4, n) > 0.9 AND n <> 5399 THEN NULL
		ELSE total END]
		|| CASE WHEN what = 'beside gauges' THEN ARRAY[50 + 20 * daily(n) + 2 * noise(seed, n), 30 + 5 * noise(seed + 1, n)]
			ELSE '{}' END
	FROM (
		SELECT n, sum(CASE WHEN what = 'idle at night' AND n % 288 BETWEEN 0 AND 96 THEN 0
			ELSE 100 + 30 * daily(n) + 5 * noise(seed + 3, n) END)
			OVER (PARTITION BY CASE what WHEN 'with resets' THEN n / 1500 ELSE 0 END ORDER BY n) AS total
		FROM generate_series(0, 21 * 288 - 1) n) q;
	PERFORM train(m, 15 * 288);
	RETURN QUERY
	SELECT 'counter: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 15 * 288
	UNION ALL
	SELECT 'counter: no traffic found', min(n)::float8 - 5400
	FROM severities(m, format('CASE WHEN n >= 5400 THEN ARRAY[%s] || c[2:] ELSE c END',
		(SELECT c[1] FROM rows WHERE model = m AND n = 5399)), 5000)
	WHERE n >= 5400 AND severity >= 1 AND base < 1
	UNION ALL
	SELECT 'counter: reset', (count(*) FILTER (WHERE severity >= 1))::float8
	FROM severities(m, format('CASE WHEN n >= 5400 THEN ARRAY[c[1] - %s] || c[2:] ELSE c END',
		(SELECT c[1] FROM rows WHERE model = m AND n = 5399)), 5000) WHERE n BETWEEN 5400 AND 5687;
END $$;

SELECT run('counter', v) FROM grid(what => '{without resets}') v;
\if :full
SELECT run('counter', v)
FROM grid(what => '{without resets,with resets,of 32 bits,idle at night,with nulls,beside gauges}', seed => '{1,2}') v;
\endif

SELECT expect('traffic_grows', 'traffic that grows by 1 % a day: rows flagged',
	'the daily wave grows as in training', '% of rows',
	at_most => 10);

CREATE FUNCTION traffic_grows(noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('traffic %s %s', noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[(100 + 30 * daily(n) + 5 * noise * gauss(seed, n)) * 1.01 ^ (n / 288.0)]
	FROM generate_series(0, 26 * 288 - 1) n;
	PERFORM train(m, 21 * 288);
	RETURN QUERY
	SELECT 'traffic that grows by 1 % a day: rows flagged', percent(base >= 1) FROM rows WHERE model = m
		AND n >= 21 * 288;
END $$;

SELECT run('traffic_grows', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('traffic_grows', v) FROM grid(noise => '{0.2,1}', seed => '{1,2}') v;
\endif
