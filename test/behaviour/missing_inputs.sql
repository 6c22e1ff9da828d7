-- Missing inputs
--
-- A collector dies, and its column is null for days, or metrics arrive at different intervals. Missing values take no
-- part in the judgement, and the other columns are judged as before.

-- ---- one column dies for three days: the others are as ever

SELECT expect('one_dies', 'one column dies: rows flagged in excess',
	'rows of healthy columns are not flagged more often than before, by 5 points at most', 'points', at_most => 5);
SELECT expect('one_dies', 'one column dies: rise of severity',
	'the median severity of the rows does not rise by half', '×', at_most => 1.5);
SELECT expect('one_dies', 'one column dies: it returns',
	'on the day after its return, rows are flagged as often as before, by 5 points at most', 'points', at_most => 5);

CREATE FUNCTION one_dies(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
BEGIN
	CREATE TEMP TABLE s ON COMMIT DROP AS
	SELECT * FROM severities(m, 'CASE WHEN n BETWEEN 4896 AND 5759 THEN with_value(c, 2, NULL) ELSE c END');
	RETURN QUERY
	SELECT 'one column dies: rows flagged in excess', percent(severity >= 1) - percent(base >= 1)
	FROM s WHERE n BETWEEN 4896 AND 5759
	UNION ALL
	SELECT 'one column dies: rise of severity', percentile_cont(.5) WITHIN GROUP (ORDER BY severity / base)
	FROM s WHERE n BETWEEN 4896 AND 5759
	UNION ALL
	SELECT 'one column dies: it returns', percent(severity >= 1) - percent(base >= 1) FROM s WHERE n >= 5760;
	DROP TABLE s;
END $$;

SELECT run('one_dies', v) FROM grid('{3,10,20}', '{1}') v;
SELECT run('one_dies', v) FROM grid('{3}', '{5}') v;
\if :full
SELECT run('one_dies', v) FROM grid('{3,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- while a column is dead, an incident of another one is found and explained by that one

SELECT expect('beside_dead', 'incident beside a dead column: found', 'a shift of column 1 is found within 32 rows',
	'rows', at_most => 32);
SELECT expect('beside_dead', 'incident beside a dead column: named',
	'most flagged rows of the shift have column 1 as their largest contribution', '% of rows', at_least => 75);
SELECT expect('beside_dead', 'incident beside a dead column: contribution of the dead one',
	'the dead column is not blamed',
	'', at_most => 0);

CREATE FUNCTION beside_dead(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
	change text := format('CASE WHEN n >= 4896 THEN with_value(with_value(c, 2, NULL), 1, c[1] + CASE WHEN n >= 5500 '
		'THEN %s ELSE 0 END) ELSE c END', 3 * deviation(m, 1));
BEGIN
	CREATE TEMP TABLE x ON COMMIT DROP AS SELECT * FROM explanations(m, change) WHERE n BETWEEN 5500 AND 5563;
	RETURN QUERY
	SELECT 'incident beside a dead column: found', min(n)::float8 - 5500 FROM x WHERE severity >= 1
	UNION ALL
	SELECT 'incident beside a dead column: named', percent(top = 1)
	FROM (SELECT DISTINCT ON (n) n, k AS top FROM x WHERE severity >= 1 ORDER BY n, contribution DESC) t
	UNION ALL
	SELECT 'incident beside a dead column: contribution of the dead one', coalesce(max(contribution), 0) FROM x
	WHERE k = 2;
	DROP TABLE x;
END $$;

SELECT run('beside_dead', v) FROM grid('{3,10}', '{1}') v;
\if :full
SELECT run('beside_dead', v) FROM grid('{3,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- two columns die

SELECT expect('two_die', 'two columns die: rows flagged in excess',
	'rows of healthy columns are not flagged more often than before, by 5 points at most', 'points', at_most => 5);

CREATE FUNCTION two_die(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE sql AS $$
	SELECT 'two columns die: rows flagged in excess', percent(severity >= 1) - percent(base >= 1)
	FROM severities(host(columns, noise, seed),
		'CASE WHEN n >= 4896 THEN with_value(with_value(c, 2, NULL), 3, NULL) ELSE c END')
	WHERE n >= 4896 $$;

SELECT run('two_die', v) FROM grid('{3,10}', '{1}') v;
\if :full
SELECT run('two_die', v) FROM grid('{3,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- metrics of different intervals in one model, in training and later

SELECT expect('intervals', 'different intervals: rows flagged',
	'metrics may have intervals of their own', '% of rows', at_most => 5);
SELECT expect('intervals', 'different intervals: incident found',
	'a shift of the metric with the long interval is found within five of its readings', 'readings', at_most => 5);

-- Column 2 is known in every nth row, and in the variant 2, 12 also column 3 in every twelfth
CREATE FUNCTION intervals(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	every int[] := ('{' || replace(what, 'every ', '') || '}')::int[];
	m text := format('intervals %s %s %s %s', columns, noise, what, seed);
	shift float8;
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), array_agg(CASE WHEN k = 2 AND n % every[1] <> 0 OR k = 3
		AND n % coalesce(every[2], 1) <> 0 THEN NULL
		ELSE host_metric(columns, k, n, noise, seed) END ORDER BY k)
	FROM generate_series(0, 21 * 288 - 1) n, generate_series(1, columns) k GROUP BY n;
	PERFORM train(m, 17 * 288);
	shift := 4 * deviation(m, 2);
	RETURN QUERY
	SELECT 'different intervals: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 4896
	UNION ALL
	SELECT 'different intervals: incident found', ceil((min(n)::float8 - 5520) / every[1]) + 1
	FROM severities(m, format('CASE WHEN n >= 5520 THEN with_value(c, 2, c[2] + %s) ELSE c END', shift))
	WHERE n >= 5520 AND severity >= 1;
END $$;

SELECT run('intervals', v) FROM grid('{3}', '{1}', '{every 5,"every 2, 12"}') v;
\if :full
SELECT run('intervals', v) FROM grid('{3,10}', '{1,5}', '{every 2,every 5,every 12,"every 2, 12"}') v;
\endif

-- ---- real servers: one of 19 columns dies

SELECT expect('real_dies', 'one of 19 real columns dies: rows flagged in excess',
	'normal rows are not flagged more often than before, by 5 points at most', 'points', at_most => 5);

CREATE FUNCTION real_dies(what text, k int, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE sql AS $$
	SELECT 'one of 19 real columns dies: rows flagged in excess', percent(severity >= 1) - percent(base >= 1)
	FROM severities(server(what), format('CASE WHEN n >= 9500 THEN with_value(c, %s, NULL) ELSE c END', k), 9300)
	WHERE n >= 9500 AND NOT is_bad(what, n) $$;

SELECT run('real_dies', json_build_object('what', w, 'k', k, 'seed', 1))
FROM unnest('{omi-2}'::text[]) w, unnest('{1,10}'::int[]) k;
\if :full
SELECT run('real_dies', json_build_object('what', w, 'k', k, 'seed', 1))
FROM unnest('{omi-2,omi-4}'::text[]) w, generate_series(1, 19, 3) k;
\endif
