-- What operators look for
--
-- Incidents that must be found, soon: shifts that stay, leaks, deploys, outages, traffic that stops. And situations in
-- which a detector must not lose its head: a short training, a host that was away.

SELECT expect('incident', 'incident: rows until found', 'found within 32 rows', 'rows', at_most => 32);
SELECT expect('incident', 'incident: right column named', 'a column of the incident has the largest contribution',
	'% of flagged rows', at_least => 75);

-- Incidents from row 5450 on. A row counts as found if it would not be flagged without the incident.
CREATE FUNCTION incident(columns int, noise float8, what text, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
	sd float8[] := (SELECT array_agg(d.sd ORDER BY k) FROM deviations d WHERE model = m);
	k int := 1;
	new_row text := CASE what
		WHEN 'level shift of 3 sd' THEN format('with_value(c, 1, c[1] + %s)', 3 * sd[1])
		WHEN 'level shift of −2 sd' THEN format('with_value(c, 1, c[1] - %s)', 2 * sd[1])
		-- every column by 1 sd, up or down
		WHEN 'deploy' THEN (SELECT format('ARRAY[%s]', string_agg(format('c[%s] + %s', i, sd[i] * (-1) ^ i),
			', ' ORDER BY i))
							FROM generate_series(1, columns) i)
		WHEN 'traffic stops' THEN 'with_value(c, 1, 0)'
		WHEN 'three rows of zeros' THEN 'CASE WHEN n < 5453 THEN with_value(c, 1, 0) ELSE c END'
		WHEN 'noise of a column × 5' THEN format('with_value(c, 1, c[1] + %s * gauss(77, n))', 5 * noise) END;
	change text := format('CASE WHEN n >= 5450 THEN %s ELSE c END', new_row);
BEGIN
	RETURN QUERY
	SELECT 'incident: rows until found', min(n)::float8 - 5450 FROM severities(m, change)
	WHERE n >= 5450 AND severity >= 1 AND base < 1
	UNION ALL
	SELECT 'incident: right column named', CASE what WHEN 'deploy' THEN 100 ELSE percent(top = 1) END
	FROM (SELECT DISTINCT ON (n) n, x.k AS top FROM explanations(m, change) x
		  WHERE n BETWEEN 5450 AND CASE what WHEN 'three rows of zeros' THEN 5452 ELSE 5481 END AND severity >= 1
		  ORDER BY n, contribution DESC) t;
END $$;

SELECT run('incident', v) FROM grid('{3}', '{1}', '{level shift of 3 sd,deploy,traffic stops,three rows of zeros}') v;
SELECT run('incident', v) FROM grid('{10}', '{1}', '{level shift of −2 sd,noise of a column × 5}') v;
\if :full
SELECT run('incident', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', '{level shift of 3 sd,level shift of −2 sd,deploy,'
	'traffic stops,three rows of zeros,noise of a column × 5}', '{1,2}') v;
\endif

-- ---- the alarm ends with the incident

SELECT expect('over', 'incident of two hours is over: rows flagged after it',
	'the longest horizon has 32 rows', 'rows', at_most => 32);

CREATE FUNCTION over(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
BEGIN
	RETURN QUERY
	SELECT 'incident of two hours is over: rows flagged after it',
		(count(*) FILTER (WHERE severity >= 1 AND base < 1))::float8
	FROM severities(m, format('CASE WHEN n BETWEEN 5450 AND 5473 THEN with_value(c, 1, c[1] + %s) ELSE c END',
		4 * deviation(m, 1)))
	WHERE n > 5473;
END $$;

SELECT run('over', v) FROM grid('{3,10}', '{1}') v;
\if :full
SELECT run('over', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- a leak that grows by 5 sd in three days

SELECT expect('leak', 'slow leak: size when found', 'found before it has grown by 2.5 sd', 'sd', at_most => 2.5);
SELECT expect('leak', 'slow leak: flagged on its last day', 'and it remains flagged', '% of rows', at_least => 90);

CREATE FUNCTION leak(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
BEGIN
	RETURN QUERY
	WITH s AS MATERIALIZED (
		SELECT * FROM severities(m,
			format('CASE WHEN n >= 5184 THEN with_value(c, 1, c[1] + (n - 5184) / 864.0 * %s) ELSE c END',
			5 * deviation(m, 1)))
	)
	SELECT 'slow leak: size when found', 5 * (min(n)::float8 - 5184) / 864 FROM s
	WHERE n >= 5184 AND severity >= 1 AND base < 1
	UNION ALL
	SELECT 'slow leak: flagged on its last day', percent(severity >= 1) FROM s WHERE n >= 5760;
END $$;

SELECT run('leak', v) FROM grid('{3,10}', '{1}') v;
\if :full
SELECT run('leak', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- a rolling restart in a fleet

SELECT expect('rolling', 'rolling restart: devices in which it is found',
	'two rows of zeros in each device', '% of devices',
	at_least => 100);
SELECT expect('rolling', 'rolling restart: rows flagged in the worst device',
	'the two rows and the longest horizon', 'rows',
	at_most => 34);

CREATE TABLE rolling (device int, ts timestamptz, load float8, memory float8);

CREATE FUNCTION rolling(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('rolling %s %s', noise, seed);
BEGIN
	TRUNCATE rolling;
	INSERT INTO rolling
	SELECT d, at(n), 50 + 10 * daily(n) + 4 * rolling.noise * noise(seed * 50 + d, n),
		70 + d + rolling.noise * gauss(seed * 50 + d + 20, n)
	FROM generate_series(1, 8) d, generate_series(0, 14 * 288 - 1) n;
	PERFORM amad_train(model_name => m, source => 'SELECT * FROM rolling WHERE ts < at(12 * 288)',
		series_cols => '{device}');
	CREATE TEMP TABLE before ON COMMIT DROP AS
	SELECT series, ts, severity FROM amad_detect(m, since => at(12 * 288), source => 'rolling', explain => false);
	-- device d restarts 20 minutes after device d - 1
	UPDATE rolling SET load = 0, memory = 0
	WHERE ts BETWEEN at(12 * 288 + 120 + 4 * device) AND at(12 * 288 + 121 + 4 * device);
	CREATE TEMP TABLE after ON COMMIT DROP AS
	SELECT series, ts, severity, (series->>'device')::int AS device
	FROM amad_detect(m, since => at(12 * 288), source => 'rolling', explain => false);
	INSERT INTO severities_seen (highest, not_finite)
	SELECT max(severity), count(*) FILTER (WHERE severity IN ('NaN', 'Infinity', '-Infinity')) FROM after;
	RETURN QUERY
	SELECT 'rolling restart: devices in which it is found', percent(hit)
	FROM (SELECT bool_or(severity >= 1) FILTER (WHERE ts BETWEEN at(12 * 288 + 120 + 4 * device)
			AND at(12 * 288 + 121 + 4 * device)) AS hit FROM after GROUP BY device) x
	UNION ALL
	SELECT 'rolling restart: rows flagged in the worst device', max(newly)::float8
	FROM (SELECT count(*) FILTER (WHERE a.severity >= 1 AND b.severity < 1) AS newly
		  FROM after a JOIN before b USING (series, ts) GROUP BY series) x;
	DROP TABLE before, after;
END $$;

SELECT run('rolling', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('rolling', v) FROM grid(noise => '{0.2,5}', seed => '{1,2}') v;
\endif

-- ---- short trainings

SELECT expect('short', 'short training: rows flagged', 'of 400 ordinary rows after it', '% of rows', at_most => 10);
SELECT expect('short', 'short training: shift of 6 sd found', 'within 32 rows', 'rows', at_most => 32);

-- A wave of four hours and noise. With too few rows for the defaults, the preset for short series is used.
CREATE FUNCTION short(columns int, what text, noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE plpgsql AS $$
DECLARE
	training int := replace(what, ' rows', '');
	m text := format('short %s %s %s %s', columns, what, noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), array_agg(10 * k + 2 * sin(2 * pi() * n / 48 + k) + short.noise * gauss(seed * 100 + k,
		n) ORDER BY k)
	FROM generate_series(0, training + 399) n, generate_series(1, columns) k GROUP BY n;
	BEGIN
		PERFORM train(m, training);
	EXCEPTION WHEN invalid_parameter_value THEN
		-- too few rows for the default window and horizons
		PERFORM train(m, training, '{"preset": "short"}');
	END;
	RETURN QUERY
	SELECT 'short training: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= training
	UNION ALL
	SELECT 'short training: shift of 6 sd found', min(n)::float8 - (training + 200)
	FROM severities(m, format('CASE WHEN n >= %s THEN with_value(c, 1, c[1] + %s) ELSE c END', training + 200,
		6 * deviation(m, 1)), 0)
	WHERE n >= training + 200 AND severity >= 1 AND base < 1;
END $$;

SELECT run('short', json_build_object('columns', 3, 'what', w, 'noise', 0.5, 'seed', 1))
FROM unnest('{200 rows,400 rows}'::text[]) w;
\if :full
SELECT run('short', json_build_object('columns', k, 'what', w, 'noise', n, 'seed', 1))
FROM unnest('{1,3,10}'::int[]) k, unnest('{200 rows,300 rows,400 rows,1000 rows}'::text[]) w,
	unnest('{0.1,0.5,2}'::float8[]) n;
\endif

SELECT expect('short_real', 'short training on real servers: rows flagged',
	'three days of training, 400 ordinary rows after it',
	'% of rows', at_most => 10);

CREATE FUNCTION short_real(what text, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := 'short ' || what;
BEGIN
	INSERT INTO rows (model, n, ts, c) SELECT m, n, ts, c FROM real_rows r WHERE r.what = short_real.what
		AND n < 864 + 400;
	PERFORM train(m, 864);
	RETURN QUERY
	SELECT 'short training on real servers: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 864;
END $$;

SELECT run('short_real', v) FROM grid(what => '{omi-2}') v;
\if :full
SELECT run('short_real', v) FROM grid(what => '{omi-2,omi-4}') v;
\endif

-- ---- a host that was away for a day

SELECT expect('away', 'host away for a day: rows flagged after its return',
	'as often as before, by 5 points at most', 'points',
	at_most => 5);

CREATE FUNCTION away(columns int, noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
BEGIN
	RETURN QUERY
	SELECT 'host away for a day: rows flagged after its return', percent(severity >= 1) - percent(base >= 1)
	FROM (SELECT n, base, amad_score(m, ts, VARIADIC c) OVER (ORDER BY ts) AS severity FROM rows
		  WHERE model = m AND n >= 4608 AND n NOT BETWEEN 5184 AND 5471) s
	WHERE n > 5471 AND severity IS NOT NULL;
END $$;

SELECT run('away', v) FROM grid('{3}', '{1}') v;
\if :full
SELECT run('away', v) FROM grid('{3,10}', '{0.2,1,5}', seed => '{1,2}') v;
\endif
