-- One bad row
--
-- A single wrong reading, with normal rows before and after it. It is found where it is, and the alarm ends when the
-- longest horizon, of 32 rows, has passed.

SELECT expect('bad_row', 'one bad row: rows newly flagged', 'the longest horizon has 32 rows',
	'rows', at_most => 32);
SELECT expect('bad_row', 'one bad row: distance of the peak',
	'the highest severity is at the row or next to it', 'rows',
	at_most => 1);
SELECT expect('bad_row', 'one bad row: its severity', 'the row itself is flagged', '', at_least => 1);

-- The glitch is in row 5412, in the third column if there are three
CREATE FUNCTION bad_row(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
	k int := CASE columns WHEN 2 THEN 1 ELSE least(columns, 3) END;
	value text := CASE what
		WHEN '×3' THEN format('3 * c[%s]', k)
		WHEN '×1000' THEN format('1000 * c[%s]', k)
		WHEN '+10 sd' THEN format('c[%s] + %s', k, 10 * deviation(m, k))
		WHEN '−10 sd' THEN format('c[%s] - %s', k, 10 * deviation(m, k))
		WHEN 'two columns, +10 sd' THEN format('c[%s] + %s', k, 10 * deviation(m, k)) END;
	row_then text := format('with_value(c, %s, %s)', k, value);
BEGIN
	IF what LIKE 'two columns%' THEN
		row_then := format('with_value(%s, 1, c[1] + %s)', row_then, 10 * deviation(m, 1));
	END IF;
	RETURN QUERY
	WITH s AS MATERIALIZED (
		SELECT * FROM severities(m, format('CASE WHEN n = 5412 THEN %s ELSE c END', row_then)) WHERE n >= 4896
	)
	SELECT 'one bad row: rows newly flagged', (count(*) FILTER (WHERE severity >= 1 AND base < 1))::float8 FROM s
	UNION ALL
	SELECT 'one bad row: distance of the peak', abs((array_agg(n ORDER BY severity DESC))[1] - 5412)::float8
	FROM s WHERE n >= 5412 - 32
	UNION ALL
	SELECT 'one bad row: its severity', severity FROM s WHERE n = 5412;
END $$;

SELECT run('bad_row', v) FROM grid('{3}', '{1}', '{×3,−10 sd,×1000}') v;
SELECT run('bad_row', v) FROM grid('{1,10,20}', '{1}', '{+10 sd}') v;
SELECT run('bad_row', v) FROM grid('{3}', '{5}', '{×3,"two columns, +10 sd"}') v;
\if :full
SELECT run('bad_row', v)
FROM grid('{1,3,10,20}', '{0.2,1,5}', '{×3,+10 sd,−10 sd,×1000,"two columns, +10 sd"}', '{1,2}') v
WHERE NOT (v->>'what' LIKE 'two%' AND v->>'columns' = '1');
\endif

-- ---- a column that has been constant for ever moves in one row

SELECT expect('twitch', 'a constant moves once: rows newly flagged', 'the longest horizon has 32 rows',
	'rows', at_most => 32);
SELECT expect('twitch', 'a constant moves once: distance of the peak',
	'the highest severity is at the row or next to it',
	'rows', at_most => 1);
SELECT expect('twitch', 'a constant moves once: its severity', 'the row itself is flagged', '', at_least => 1);
SELECT expect('twitch', 'a constant moves once: 250 to 7.001',
	'a jump to 250 has a higher severity than a twitch, from 7 to 7.001',
	'×', at_least => 1.1);

CREATE FUNCTION twitch(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
	k int := CASE columns WHEN 2 THEN 2 ELSE 7 END;
	change text := 'CASE WHEN n = 5412 THEN with_value(c, %s, %s) ELSE c END';
	jump float8;
BEGIN
	SELECT severity INTO jump FROM severities(m, format(change, k, 250)) WHERE n = 5412;
	RETURN QUERY
	WITH s AS MATERIALIZED (SELECT * FROM severities(m, format(change, k, 7.001)) WHERE n >= 4896)
	SELECT 'a constant moves once: rows newly flagged', (count(*) FILTER (WHERE severity >= 1 AND base < 1))::float8
	FROM s
	UNION ALL
	SELECT 'a constant moves once: distance of the peak', abs((array_agg(n ORDER BY severity DESC))[1] - 5412)::float8
	FROM s WHERE n >= 5412 - 32
	UNION ALL
	SELECT 'a constant moves once: its severity', severity FROM s WHERE n = 5412
	UNION ALL
	SELECT 'a constant moves once: 250 to 7.001', jump / severity FROM s WHERE n = 5412;
END $$;

SELECT run('twitch', v) FROM grid('{2,10}', '{1}') v;
\if :full
SELECT run('twitch', v) FROM grid('{2,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- a bad row does not hide what comes after it

SELECT expect('after_bad_row', 'shift four hours after a bad row: found',
	'a shift of another column is found within 32 rows',
	'rows', at_most => 32);

CREATE FUNCTION after_bad_row(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
	bad text := 'WHEN n = 5412 THEN with_value(c, 3, 1000 * c[3])';
BEGIN
	CREATE TEMP TABLE without_shift ON COMMIT DROP AS SELECT * FROM severities(m, format('CASE %s ELSE c END', bad));
	-- rows that are flagged for the bad row alone do not count
	RETURN QUERY SELECT 'shift four hours after a bad row: found', min(n)::float8 - 5460
	FROM severities(m, format('CASE %s WHEN n >= 5460 THEN with_value(c, 1, c[1] + %s) ELSE c END', bad,
		3 * deviation(m, 1))) s
	JOIN without_shift w USING (n) WHERE n >= 5460 AND s.severity >= 1 AND s.severity >= 2 * w.severity;
	DROP TABLE without_shift;
END $$;

SELECT run('after_bad_row', v) FROM grid('{3}', '{1}') v;
\if :full
SELECT run('after_bad_row', v) FROM grid('{3,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- real servers

SELECT expect('real_bad_row', 'one bad row on real servers: rows newly flagged',
	'the longest horizon has 32 rows', 'rows', at_most => 32);
SELECT expect('real_bad_row', 'one bad row on real servers: distance of the peak',
	'the highest severity is at the row or next to it', 'rows', at_most => 1);

-- Row 10500 and the 300 rows around it are normal
CREATE FUNCTION real_bad_row(what text, k int, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := server(what);
BEGIN
	RETURN QUERY
	WITH s AS MATERIALIZED (
		SELECT *
		FROM severities(m, format('CASE WHEN n = 10500 THEN with_value(c, %s, c[%1$s] + %s) ELSE c END', k,
			10 * deviation(m, k)), 10000)
		WHERE n BETWEEN 10200 AND 10800
	)
	SELECT 'one bad row on real servers: rows newly flagged',
		(count(*) FILTER (WHERE severity >= 1 AND base < 1))::float8 FROM s
	UNION ALL
	SELECT 'one bad row on real servers: distance of the peak',
		abs((array_agg(n ORDER BY severity DESC))[1] - 10500)::float8
	FROM s WHERE n BETWEEN 10468 AND 10600;
END $$;

SELECT run('real_bad_row', json_build_object('what', 'omi-2', 'k', k, 'seed', 1)) FROM unnest('{1,10}'::int[]) k;
\if :full
SELECT run('real_bad_row', json_build_object('what', w, 'k', k, 'seed', 1))
FROM unnest('{omi-2,omi-4}'::text[]) w, generate_series(1, 19, 3) k;
\endif
