-- Levels that move
--
-- A level that moves for good is drift: amad_recalibrate gives the column a new mean, and the model is as good as before.
-- An incident is not, even if it takes a third of a day: after a recalibration on it the next one is still found.

SELECT expect('moved', 'moved level: columns named by amad_drift', 'it reports the columns that have moved', '% of columns',
	at_least => 100);
SELECT expect('moved', 'moved level: rows flagged after a recalibration', 'on the day that it has moved', '% of rows',
	at_most => 3);
SELECT expect('moved', 'moved level: rows until a later shift of 4 sd is found', 'in the column that has moved',
	'rows', at_most => 32);
SELECT expect('moved', 'moved level: rows until a later outage is found', 'another column, two days later',
	'rows', at_most => 32);

-- The rows of 24 days of a host, with a change, as a source
CREATE FUNCTION level_source(m text, columns int, change text DEFAULT 'c') RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT n, ts, %s FROM (SELECT n, ts, %s AS c FROM rows WHERE model = %L) x',
		string_agg(format('c[%s] AS m%1$s', k), ', ' ORDER BY k), change, m) FROM generate_series(1, columns) k $$;

-- A model of its first 17 days
CREATE FUNCTION level_host(columns int, noise float8, seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text := format('levels %s %s %s', columns, noise, seed);
BEGIN
	IF EXISTS (SELECT FROM rows WHERE model = m) THEN
		PERFORM amad_deploy(m, 1);
		RETURN m;
	END IF;
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), array_agg(host_metric(columns, k, n, noise, seed) ORDER BY k)
	FROM generate_series(0, 24 * 288 - 1) n, generate_series(1, columns) k GROUP BY n;
	INSERT INTO deviations SELECT m, k, stddev(x) FROM rows, unnest(c) WITH ORDINALITY u(x, k)
	WHERE model = m AND n < 17 * 288 GROUP BY k;
	PERFORM amad_train(m, level_source(m, columns) || ' WHERE n < 17 * 288', 'ts',
		ARRAY(SELECT 'm' || k FROM generate_series(1, columns) k));
	RETURN m;
END $$;

-- Rows of a source from one day to another, scored by the version deployed
CREATE FUNCTION level_rows(m text, source text, first int, last int) RETURNS TABLE (n bigint, severity float8)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
	WITH s AS MATERIALIZED (
		SELECT (extract(epoch FROM ts - at(0)) / 300)::bigint AS n, d.severity
		FROM amad_detect(m, since => at(first * 288), until => at(last * 288), source => source, explain => false) d
	), seen AS (
		INSERT INTO severities_seen (highest, not_finite)
		SELECT max(s.severity), count(*) FILTER (WHERE s.severity IN ('NaN', 'Infinity', '-Infinity')) FROM s
	)
	SELECT * FROM s;
END $$;

-- By 12 sd on day 17: a column, or all. Recalibrated on that day.
CREATE FUNCTION moved(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := level_host(columns, noise, seed);
	first int := 17 * 288 + CASE what WHEN 'a column at noon' THEN 100 ELSE 0 END;
	moving int[] := CASE what WHEN 'all columns' THEN ARRAY(SELECT generate_series(1, columns))
		WHEN 'a constant' THEN '{7}' ELSE '{1}' END;
	new_row text := (SELECT format('ARRAY[%s]', string_agg(CASE WHEN k = ANY (moving)
		THEN format('c[%s] + %s', k, CASE WHEN sd = 0 THEN 1 ELSE 12 * sd END) ELSE format('c[%s]', k) END, ', ' ORDER BY k))
		FROM deviations WHERE model = m);
	change text := format('CASE WHEN n >= %s THEN %s ELSE c END', first, new_row);
	-- after it, what follows on day 20 and day 22
	later text := format('CASE WHEN n >= 20 * 288 THEN with_value(%s, %s, (%1$s)[%2$s] + %3$s) ELSE %1$s END', new_row,
		moving[1], greatest(4 * deviation(m, moving[1]), 1));
	outage text := format('CASE WHEN n >= 22 * 288 THEN with_value(%s, %s, 0) ELSE %1$s END', new_row,
		CASE WHEN columns > 1 THEN 2 ELSE 1 END);
BEGIN
	RETURN QUERY
	SELECT 'moved level: columns named by amad_drift', percent(action IS NOT DISTINCT FROM 'recalibrate')
	FROM amad_drift(m, since => at(17 * 288), until => at(18 * 288), source => level_source(m, columns, change))
	WHERE feature = ANY (ARRAY(SELECT 'm' || k FROM unnest(moving) k));
	PERFORM amad_recalibrate(m, since => at(17 * 288), until => at(18 * 288), source => level_source(m, columns, change));
	RETURN QUERY
	SELECT 'moved level: rows flagged after a recalibration', percent(severity >= 1)
	FROM level_rows(m, level_source(m, columns, change), 18, 24)
	UNION ALL
	SELECT 'moved level: rows until a later shift of 4 sd is found', min(n)::float8 - 20 * 288
	FROM level_rows(m, level_source(m, columns, later), 20, 21) WHERE severity >= 1
	UNION ALL
	SELECT 'moved level: rows until a later outage is found', min(n)::float8 - 22 * 288
	FROM level_rows(m, level_source(m, columns, outage), 22, 23) WHERE severity >= 1;
END $$;

SELECT run('moved', v) FROM grid('{3}', '{1}', '{a column,a column at noon,all columns}') v;
SELECT run('moved', v) FROM grid('{10}', '{1}', '{a column,a constant}') v;
\if :full
SELECT run('moved', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', '{a column,a column at noon,all columns}', '{1,2}') v;
SELECT run('moved', v) FROM grid('{10,20}', '{0.2,1,5}', '{a constant}', '{1,2}') v;
\endif

-- ---- recalibrations on incidents

SELECT expect('on_incident', 'recalibrated on an incident: threshold raised', 'in one recalibration', '×', at_most => 3);
SELECT expect('on_incident', 'recalibrated on an incident: rows flagged later', 'on ordinary days', '% of rows',
	at_most => 3);
SELECT expect('on_incident', 'recalibrated on an incident: rows until a like one is found',
	'a shift of half the size, three recalibrations later', 'rows', at_most => 32);
SELECT expect('on_incident', 'recalibrated on an incident: rows until another is found',
	'a shift of 3 sd in another column', 'rows', at_most => 32);

-- On each of the days 17 to 19 a column is higher by 6 sd for a part of the day. Recalibrated after each.
CREATE FUNCTION on_incident(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := level_host(columns, noise, seed);
	last int := CASE what WHEN '7 hours a day' THEN 184 ELSE 126 END;
	change text := format('CASE WHEN n < 20 * 288 AND n %% 288 BETWEEN 100 AND %s AND n >= 17 * 288 '
		'THEN with_value(c, 1, c[1] + %s) ELSE c END', last, 6 * deviation(m, 1));
	other int := CASE WHEN columns > 1 THEN 2 ELSE 1 END;
	ratio float8 := 1;
BEGIN
	FOR day IN 17 .. 19 LOOP
		ratio := greatest(ratio, (amad_recalibrate(m, since => at(day * 288), until => at((day + 1) * 288),
			source => level_source(m, columns, change))->>'threshold_ratio')::float8);
	END LOOP;
	RETURN QUERY
	SELECT 'recalibrated on an incident: threshold raised', ratio
	UNION ALL
	SELECT 'recalibrated on an incident: rows flagged later', percent(severity >= 1)
	FROM level_rows(m, level_source(m, columns), 20, 24)
	UNION ALL
	SELECT 'recalibrated on an incident: rows until a like one is found', min(n)::float8 - 21 * 288
	FROM level_rows(m, level_source(m, columns, format('CASE WHEN n >= 21 * 288 THEN with_value(c, 1, c[1] + %s) ELSE c END',
		3 * deviation(m, 1))), 21, 22) WHERE severity >= 1
	UNION ALL
	SELECT 'recalibrated on an incident: rows until another is found', min(n)::float8 - 22 * 288
	FROM level_rows(m, level_source(m, columns, format('CASE WHEN n >= 22 * 288 THEN with_value(c, %s, c[%1$s] - %s) ELSE c END',
		other, 3 * deviation(m, other))), 22, 23) WHERE severity >= 1;
END $$;

SELECT run('on_incident', v) FROM grid('{3,10}', '{1}', '{2 hours a day,7 hours a day}') v;
\if :full
SELECT run('on_incident', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', '{2 hours a day,7 hours a day}', '{1,2}') v;
\endif
