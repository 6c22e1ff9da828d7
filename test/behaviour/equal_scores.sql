-- Equal scores
--
-- Rows that all have the same score are not above themselves: what is constant, idle or exactly periodic in training
-- and goes on like that is never flagged.

SELECT expect('still', 'series without news: rows flagged', 'it goes on exactly as in training', 'rows', at_most => 0);
SELECT expect('still', 'series without news: highest severity',
	'a margin remains below the threshold', '', at_most => .99);

CREATE FUNCTION still(what text, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := 'still ' || what;
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), CASE what
		WHEN 'constant' THEN ARRAY[42]
		WHEN 'three columns of zeros' THEN ARRAY[0, 0, 0]
		WHEN 'periodic sines' THEN ARRAY[sin(2 * pi() * (n % 48) / 48), cos(2 * pi() * (n % 48) / 48)]
		WHEN 'square wave' THEN ARRAY[(n % 24 < 8)::int, 5]
		WHEN 'staircase by day' THEN ARRAY[n % 288 / 36] END
	FROM generate_series(0, 3999) n;
	PERFORM train(m, 3000);
	RETURN QUERY
	SELECT 'series without news: rows flagged', (count(*) FILTER (WHERE base >= 1))::float8 FROM rows WHERE model = m
	UNION ALL
	SELECT 'series without news: highest severity', max(base) FROM rows WHERE model = m;
END $$;

SELECT run('still', v) FROM grid(what => '{constant,periodic sines}') v;
\if :full
SELECT run('still', v) FROM grid(what => '{square wave,three columns of zeros,staircase by day}') v;
\endif

-- ---- one idle device among others, as a user would run it

SELECT expect('idle', 'idle device: rows flagged', 'a device that is always 0 is normal', 'rows', at_most => 0);
SELECT expect('idle', 'idle device: events', 'it has no events', 'events', at_most => 0);
SELECT expect('idle', 'idle device: drift', 'amad_drift does not call it drifted', 'rows', at_most => 0);
SELECT expect('idle', 'idle device: found when it starts',
	'its first work is found within 4 rows', 'rows', at_most => 4);
SELECT expect('idle', 'all devices equal: rows flagged',
	'devices with exactly equal rows of a period', 'rows', at_most => 0);

CREATE TABLE idle (device int, ts timestamptz, a float8, b float8);
CREATE TABLE twins (device int, ts timestamptz, a float8, b float8);

CREATE FUNCTION idle(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('idle %s %s', noise, seed);
BEGIN
	TRUNCATE idle, twins;
	INSERT INTO idle
	SELECT d, at(n), CASE WHEN d = 3 THEN 0 ELSE 10 * d + 5 * sin(n / 40.0) + idle.noise * noise(seed * 100 + d, n) END,
		CASE WHEN d = 3 THEN 0 ELSE 3 + cos(n / 40.0) + idle.noise * gauss(seed * 100 + d + 50, n) END
	FROM generate_series(1, 4) d, generate_series(0, 2999) n;
	PERFORM amad_train(model_name => m, source => 'idle', series_cols => '{device}');
	CREATE TEMP TABLE s ON COMMIT DROP AS SELECT * FROM amad_detect(m, series => '{"device": 3}');
	INSERT INTO severities_seen (highest, not_finite)
	SELECT max(severity), count(*) FILTER (WHERE severity IN ('NaN', 'Infinity', '-Infinity')) FROM s;
	INSERT INTO twins
	SELECT d, at(n), sin(2 * pi() * (n % 48) / 48), (n % 48 < 12)::int
	FROM generate_series(1, 3) d, generate_series(0, 1999) n;
	PERFORM amad_train(model_name => m || ' twins', source => 'twins', series_cols => '{device}');
	RETURN QUERY
	SELECT 'idle device: rows flagged', (count(*) FILTER (WHERE is_anomaly))::float8 FROM s
	UNION ALL
	SELECT 'idle device: events', count(*)::float8 FROM amad_events(m, series => '{"device": 3}')
	UNION ALL
	SELECT 'idle device: drift', (count(*) FILTER (WHERE drifted))::float8 FROM amad_drift(m) d
	WHERE d.series = '{"device": 3}'
	UNION ALL
	SELECT 'all devices equal: rows flagged', (count(*) FILTER (WHERE is_anomaly))::float8
	FROM amad_detect(m || ' twins');
	INSERT INTO idle SELECT 3, at(n), 30 + sin(n / 40.0), 3 FROM generate_series(3000, 3031) n;
	RETURN QUERY
	SELECT 'idle device: found when it starts', extract(epoch FROM min(d.ts) - at(3000))::float8 / 300
	FROM amad_detect(m, since => at(3000), series => '{"device": 3}') d WHERE is_anomaly;
	DROP TABLE s;
END $$;

SELECT run('idle', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('idle', v) FROM grid(noise => '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- a column that is stuck at 0 for ever, beside live ones

SELECT expect('stuck_column', 'column of zeros beside live ones: contribution',
	'it is not blamed in flagged rows', '', at_most => .05);
SELECT expect('stuck_column', 'column of zeros beside live ones: rows flagged',
	'live columns are judged as usual', '% of rows',
	at_most => 3);

CREATE FUNCTION stuck_column(noise float8, seed int)
RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := format('zeros %s %s', noise, seed);
BEGIN
	INSERT INTO rows (model, n, ts, c)
	SELECT m, n, at(n), ARRAY[0, host_metric(3, 1, n, noise, seed), host_metric(3, 3, n, noise, seed)]
	FROM generate_series(0, 21 * 288 - 1) n;
	PERFORM train(m, 17 * 288);
	RETURN QUERY
	SELECT 'column of zeros beside live ones: contribution', coalesce(max(contribution), 0)
	FROM explanations(m) WHERE k = 1 AND severity >= 1
	UNION ALL
	SELECT 'column of zeros beside live ones: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 4896;
END $$;

SELECT run('stuck_column', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('stuck_column', v) FROM grid(noise => '{0.2,1,5}', seed => '{1,2}') v;
\endif
