-- Flatlines
--
-- A sensor that sticks is found. What stands still for a while as a matter of course is not flagged.

SELECT expect('stuck', 'stuck sensor: found',
	'the value no longer changes: found within 64 rows', 'rows', at_most => 64);
SELECT expect('stuck', 'stuck sensor: named', 'the stuck column has the largest contribution', '% of flagged rows',
	at_least => 75);

-- The column keeps the value of row 5400. Rows that would be flagged anyway do not count.
CREATE FUNCTION stuck(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
	k int := replace(what, 'column ', '');
	change text := format('CASE WHEN n >= 5400 THEN with_value(c, %s, %s) ELSE c END', k,
		(SELECT c[k] FROM rows WHERE model = m AND n = 5400));
BEGIN
	RETURN QUERY
	SELECT 'stuck sensor: found', min(n)::float8 - 5400 FROM severities(m, change)
	WHERE n >= 5400 AND severity >= 1 AND base < 1
	UNION ALL
	SELECT 'stuck sensor: named', percent(top = k)
	FROM (SELECT DISTINCT ON (n) n, x.k AS top FROM explanations(m, change) x
		WHERE n BETWEEN 5400 AND 5500 AND severity >= 1
		  ORDER BY n, contribution DESC) t;
END $$;

SELECT run('stuck', v) FROM grid('{3}', '{1,5}', '{column 1}') v;
SELECT run('stuck', v) FROM grid('{10}', '{1}', '{column 4}') v;
\if :full
SELECT run('stuck', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', '{column 1}', '{1,2}') v;
SELECT run('stuck', v) FROM grid('{10,20}', '{0.2,1,5}', '{column 4,column 5}', '{1,2}') v;
\endif

-- ---- what stands still as a matter of course

SELECT expect('rests', 'at rest as a matter of course: rows flagged',
	'it was like that in training', '% of rows', at_most => 3);

-- A tank that fills, rests at an irregular level for an irregular time, and empties; the sensor is exact
CREATE FUNCTION tank(n bigint, seed int) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT 100 * CASE
		WHEN n % 200 < fill THEN n % 200 / 60.0
		WHEN n % 200 < 200 - fill THEN fill / 60.0
		ELSE (200 - n % 200) / 60.0 END
	FROM (SELECT 40 + floor(40 * noise(seed, n / 200)) AS fill) f $$;

CREATE FUNCTION rests(what text, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('rests %s %s %s', what, noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), CASE what
		-- beside it, a noisy metric
		WHEN 'plateau of a ramp' THEN ARRAY[tank(n, seed), 50 + 5 * daily(n) + noise * gauss(seed, n)]
		-- requests and bytes are 0 from one to five at night
		WHEN 'quiet nights' THEN ARRAY[awake * (40 + 20 * daily(n, -1.5) + noise * 4 * noise(seed, n)),
			awake * (90 + 45 * daily(n, -1.5) + noise * 9 * noise(seed + 1, n))]
		-- a thermometer of whole degrees, 20 to 23
		WHEN 'whole degrees' THEN ARRAY[round(21.5 + daily(n) + 0.4 * noise * (noise(seed, n) - 0.5))]
		-- a setting that changes every three days or so, beside live metrics
		WHEN 'rare moves' THEN ARRAY[10 * floor(4 * noise(seed, n / 800)), host_metric(3, 1, n, noise, seed),
			host_metric(3, 3, n, noise, seed)]
		-- users logged in: a small count
		WHEN 'small counts' THEN ARRAY[greatest(0, round(1.2 + 1.2 * daily(n) + 0.8 * noise * gauss(seed, n))),
			host_metric(3, 1, n, noise, seed)] END
	FROM (SELECT n, (n % 288 NOT BETWEEN 12 AND 59)::int AS awake FROM generate_series(0, 26 * 288 - 1) n) q;
	PERFORM train(m, 21 * 288);
	RETURN QUERY
	SELECT 'at rest as a matter of course: rows flagged', percent(base >= 1) FROM rows WHERE model = m
		AND n >= 21 * 288;
END $$;

SELECT run('rests', json_build_object('what', w, 'noise', 1, 'seed', 1))
FROM unnest('{plateau of a ramp,quiet nights,whole degrees,rare moves}'::text[]) w;
\if :full
SELECT run('rests', json_build_object('what', w, 'noise', n, 'seed', s))
FROM unnest('{plateau of a ramp,quiet nights,whole degrees,rare moves,small counts}'::text[]) w,
	unnest('{0.2,1,5}'::float8[]) n, unnest('{1,2}'::int[]) s WHERE NOT (s = 2 AND n = 5);
\endif
