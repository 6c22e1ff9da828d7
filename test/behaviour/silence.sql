-- Series and columns that stop
--
-- A series that has stopped has no rows that could be flagged. With `silence => '30 min'`, `amad_events` reports what has stopped,
-- because rows of others have arrived, or because the end of the range is given. What is usual is not reported.

SELECT expect('device_stops', 'device stops: found', 'an open event from its last row on', 'devices', at_least => 1);
SELECT expect('device_stops', 'device stops: others', 'nothing is reported of the other devices', 'events', at_most => 0);
SELECT expect('device_returns', 'device stops and returns: found',
	'one closed event, from the last row before to the first after', 'events', at_least => 1);
SELECT expect('column_stops', 'column stops: found', 'an event that names the column', 'columns', at_least => 1);
SELECT expect('column_stops', 'column stops: others',
	'nothing is reported of the device and its other columns', 'events', at_most => 0);
SELECT expect('source_stops', 'whole source stops: without until', 'no row notices it', 'events', at_most => 0);
SELECT expect('source_stops', 'whole source stops: found', 'with until => now(), all devices are silent', '% of devices',
	at_least => 100);
SELECT expect('never_seen', 'device without a row: found', 'a device of the model is silent for the whole range', 'devices',
	at_least => 1);
SELECT expect('slow_device', 'slower device: events', 'a device that reports hourly is not silent', 'events', at_most => 0);
SELECT expect('slow_device', 'slower device stops: found', 'after three hours it is', 'devices', at_least => 1);
SELECT expect('slow_column', 'slower column: events', 'a column that has a value every hour is not silent', 'events',
	at_most => 0);
SELECT expect('serviced', 'device in maintenance: events', 'silence in a maintenance window is not reported', 'events',
	at_most => 0);
SELECT expect('irregular', 'irregular device: events',
	'a device whose rows always came at odd times is not silent', 'events', at_most => 0);
SELECT expect('irregular', 'irregular device stops: found', 'after a day without a row it is', 'devices', at_least => 1);
SELECT expect('new_device', 'new device stops: events', 'a device that is still learning has no events', 'events',
	at_most => 0);

CREATE TABLE silence_rows (device int, ts timestamptz, a float8, b float8);

-- Ten devices with rows of five minutes: ten days to train on, two to judge. Device 8 reports hourly, 9 at random times,
-- on average three times an hour, and column b of 7 has a value only every hour.
CREATE FUNCTION silence_fleet(noise float8, seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text := format('silence_%s_%s', replace(noise::text, '.', '_'), seed);
	v_noise float8 := noise;
BEGIN
	TRUNCATE silence_rows;
	INSERT INTO silence_rows
	SELECT d, at(n), 20 + d + 5 * daily(n) + v_noise * noise(seed * 100 + d, n),
		CASE WHEN d <> 7 OR n % 12 = 0 THEN 3 * d + daily(n, 1) + v_noise * noise(seed * 100 + d + 50, n) END
	FROM generate_series(1, 10) d, generate_series(0, 12 * 288 - 1) n
	WHERE CASE d WHEN 8 THEN n % 12 = 5 WHEN 9 THEN noise(seed * 100 + 99, n) < 0.25 ELSE true END;
	IF NOT EXISTS (SELECT FROM amad_models WHERE model_name = m) THEN
		PERFORM amad_train(model_name => m, source => 'SELECT * FROM silence_rows WHERE ts < at(10 * 288)',
			series_cols => '{device}', options => '{"method": "zscore"}');
	END IF;
	RETURN m;
END $$;

-- Silences of the two days
CREATE FUNCTION silences(m text, OUT device int, OUT column_name text, OUT first timestamptz, OUT last timestamptz,
	OUT is_open boolean, maintenance text DEFAULT NULL, until timestamptz DEFAULT NULL)
RETURNS SETOF record LANGUAGE sql AS $$
	SELECT (series->>'device')::int, top_features->0->>'feature', start_ts, end_ts, open
	FROM amad_events(m, silence => '30 min', since => at(10 * 288), until => silences.until, source => 'silence_rows',
		maintenance => silences.maintenance)
	WHERE kind = 'silent' $$;

CREATE FUNCTION device_stops(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	DELETE FROM silence_rows WHERE device = 3 AND ts > at(12 * 288 - 10);
	RETURN QUERY
	SELECT 'device stops: found', (count(*) FILTER (WHERE device = 3 AND is_open AND first = at(12 * 288 - 10)))::float8
	FROM silences(m)
	UNION ALL
	SELECT 'device stops: others', (count(*) FILTER (WHERE device <> 3))::float8 FROM silences(m);
END $$;

CREATE FUNCTION device_returns(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	DELETE FROM silence_rows WHERE device = 3 AND ts > at(11 * 288) AND ts < at(11 * 288 + 24);
	RETURN QUERY
	SELECT 'device stops and returns: found', (count(*) FILTER (WHERE device = 3 AND NOT is_open AND first = at(11 * 288)
		AND last = at(11 * 288 + 24)))::float8 / count(*) FROM silences(m);
END $$;

CREATE FUNCTION column_stops(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	UPDATE silence_rows SET b = NULL WHERE device = 3 AND ts > at(12 * 288 - 10);
	RETURN QUERY
	SELECT 'column stops: found', (count(*) FILTER (WHERE device = 3 AND column_name = 'b' AND is_open))::float8
	FROM silences(m)
	UNION ALL
	SELECT 'column stops: others', (count(*) FILTER (WHERE device <> 3 OR column_name IS DISTINCT FROM 'b'))::float8
	FROM silences(m);
END $$;

CREATE FUNCTION source_stops(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	-- eight hours ago
	UPDATE silence_rows SET ts = ts + (now() - interval '8 hours' - at(12 * 288));
	RETURN QUERY
	SELECT 'whole source stops: without until', count(*)::float8
	FROM amad_events(m, silence => '30 min', since => now() - interval '32 hours', source => 'silence_rows')
	WHERE kind = 'silent'
	UNION ALL
	SELECT 'whole source stops: found', 100.0 * count(*) / 10
	FROM amad_events(m, silence => '30 min', since => now() - interval '32 hours', until => now(), source => 'silence_rows')
	WHERE kind = 'silent' AND open AND top_features = '[]';
END $$;

CREATE FUNCTION never_seen(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	DELETE FROM silence_rows WHERE device = 3;
	RETURN QUERY
	SELECT 'device without a row: found', (count(*) FILTER (WHERE device = 3 AND is_open AND first = at(10 * 288)))::float8
	FROM silences(m);
END $$;

CREATE FUNCTION slow_device(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	RETURN QUERY SELECT 'slower device: events', (count(*) FILTER (WHERE device = 8))::float8 FROM silences(m);
	DELETE FROM silence_rows WHERE device = 8 AND ts > at(12 * 288 - 36);
	RETURN QUERY SELECT 'slower device stops: found', (count(*) FILTER (WHERE device = 8 AND is_open))::float8
	FROM silences(m);
END $$;

CREATE FUNCTION slow_column(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	RETURN QUERY SELECT 'slower column: events', (count(*) FILTER (WHERE device = 7))::float8 FROM silences(m);
END $$;

CREATE FUNCTION serviced(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	DELETE FROM silence_rows WHERE device = 3 AND ts > at(11 * 288) AND ts < at(11 * 288 + 24);
	UPDATE silence_rows SET b = NULL WHERE device = 4 AND ts > at(11 * 288) AND ts < at(11 * 288 + 24);
	RETURN QUERY
	SELECT 'device in maintenance: events', count(*)::float8
	FROM silences(m, maintenance => 'SELECT d AS device, at(11 * 288), at(11 * 288 + 23) FROM unnest(''{3,4}''::int[]) d')
	WHERE device IN (3, 4);
END $$;

CREATE FUNCTION irregular(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	RETURN QUERY SELECT 'irregular device: events', (count(*) FILTER (WHERE device = 9))::float8 FROM silences(m);
	DELETE FROM silence_rows WHERE device = 9 AND ts > at(11 * 288);
	RETURN QUERY SELECT 'irregular device stops: found', (count(*) FILTER (WHERE device = 9 AND is_open))::float8
	FROM silences(m);
END $$;

CREATE FUNCTION new_device(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := silence_fleet(noise, seed);
BEGIN
	INSERT INTO silence_rows SELECT 99, ts, a, b FROM silence_rows WHERE device = 1 AND ts BETWEEN at(10 * 288) AND at(11 * 288);
	RETURN QUERY SELECT 'new device stops: events', (count(*) FILTER (WHERE device = 99))::float8 FROM silences(m);
END $$;

SELECT run(situation, v)
FROM grid(noise => '{1}') v, unnest('{device_stops,device_returns,column_stops,source_stops,never_seen,slow_device,slow_column,
	serviced,irregular,new_device}'::text[]) situation;
\if :full
SELECT run(situation, v)
FROM grid(noise => '{0.2,5}', seed => '{1,2,3}') v, unnest('{device_stops,device_returns,column_stops,source_stops,never_seen,
	slow_device,slow_column,serviced,irregular,new_device}'::text[]) situation;
\endif
