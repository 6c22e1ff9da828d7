-- New series
--
-- A device that the model was not trained on is put into service, on a level of its own. It is "learning": it has a
-- severity, but no anomalies, until amad_recalibrate adopts it. The other devices are not affected.

SELECT expect('learning', 'new device: learning',
	'its rows have the status "learning", and is_anomaly is null', '% of rows',
	at_least => 100);
SELECT expect('learning', 'new device: events without that status',
	'no event of it looks like an incident of a known device',
	'events', at_most => 0);
SELECT expect('learning', 'new device: other devices',
	'severities of known devices are equal bit for bit', 'rows that differ',
	at_most => 0);
SELECT expect('adoption', 'adopted device: rows flagged',
	'amad_recalibrate adopts it: its later rows are judged as usual',
	'% of rows', at_most => 5);
SELECT expect('adoption', 'adopted device: still learning', 'it is not learning any longer', 'rows', at_most => 0);
SELECT expect('adoption', 'adopted device: glitch found', 'a reading of + 10 sd in it is found', '', at_least => 1);
SELECT expect('adoption', 'adopted device: devices named',
	'the summary names the adopted device and the one with too few rows',
	'devices', at_least => 2);
SELECT expect('adoption', 'adopted device: the one with too few rows',
	'it remains learning', '% of rows', at_least => 100);
SELECT expect('adopt_one', 'recalibration of one device: rows flagged',
	'the device is adopted', '% of rows', at_most => 5);
SELECT expect('adopt_one', 'recalibration of one device: other devices', 'their severities are equal bit for bit',
	'rows that differ', at_most => 0);
SELECT expect('text_key', 'key becomes text: unknown rows',
	'device 1 is the device ''1'' that it was', 'rows', at_most => 0);
SELECT expect('text_key', 'key becomes text: severities',
	'they are equal bit for bit', 'rows that differ', at_most => 0);

-- Device d of a fleet with a row every quarter of an hour. Devices from 90 on are new; theirs is another level.
CREATE FUNCTION device_row(d int, n bigint, level float8, seed int, OUT a float8,
	OUT b float8) LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN d >= 90 THEN 200 ELSE 20 + d % 7 END + 5 * sin(2 * pi() * n / 96 + d)
			+ level * noise(seed * 100 + d, n),
		CASE WHEN d >= 90 THEN 30 ELSE 3 END + cos(2 * pi() * n / 96) + level * noise(seed * 100 + d + 1000, n) $$;

CREATE FUNCTION quarter(n bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT timestamptz '2026-11-01 00:00+00' + n * interval '15 min' $$;

-- Adds rows first to last of devices to a table
CREATE FUNCTION add_rows(name text, devices int[], first bigint, last bigint, noise float8, seed int) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %s SELECT d, quarter(n), r.* FROM unnest($1) d, generate_series($2, $3) n, '
		'device_row(d, n, $4, $5) r', name) USING devices, first, last, noise, seed;
END $$;

-- A table and a model of 20 devices, with 600 rows to train on. Then device 99 begins, and 98, which has few rows.
CREATE FUNCTION fleet(noise float8, seed int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text := format('fleet_%s_%s', replace(noise::text, '.', '_'), seed);
	known int[] := ARRAY(SELECT generate_series(1, 20));
BEGIN
	IF to_regclass(m) IS NULL THEN
		EXECUTE format('CREATE TABLE %s (device int, ts timestamptz, a float8, b float8)', m);
		PERFORM add_rows(m, known, 0, 599, noise, seed);
		PERFORM amad_train(model_name => m, source => m, series_cols => '{device}');
		PERFORM add_rows(m, known, 600, 799, noise, seed);
		PERFORM add_rows(m, '{99}', 0, 1199, noise, seed);
		PERFORM add_rows(m, '{98}', 0, 199, noise, seed);
	END IF;
	RETURN m;
END $$;

CREATE FUNCTION known_severities(m text)
RETURNS TABLE (series jsonb, ts timestamptz, severity float8) LANGUAGE sql AS $$
	SELECT series, ts, severity FROM amad_detect(m, explain => false) WHERE (series->>'device')::int <= 20 $$;

CREATE FUNCTION learning(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := fleet(noise, seed);
BEGIN
	RETURN QUERY
	SELECT 'new device: learning', percent(status = 'learning' AND is_anomaly IS NULL)
	FROM amad_detect(m, series => '{"device": 99}') WHERE severity IS NOT NULL
	UNION ALL
	SELECT 'new device: events without that status', count(*)::float8
	FROM amad_events(m, series => '{"device": 99}') e WHERE to_jsonb(e)->>'status' IS DISTINCT FROM 'learning';
	CREATE TEMP TABLE before ON COMMIT DROP AS SELECT * FROM known_severities(m);
	EXECUTE format('DELETE FROM %s WHERE device > 20', m);
	RETURN QUERY
	SELECT 'new device: other devices', count(*)::float8 FROM before b FULL
		JOIN known_severities(m) a USING (series, ts)
	WHERE a.severity IS DISTINCT FROM b.severity;
	PERFORM add_rows(m, '{99}', 0, 1199, noise, seed);
	PERFORM add_rows(m, '{98}', 0, 199, noise, seed);
	DROP TABLE before;
END $$;

-- Rows 0 to 799 of the new device are for the recalibration, the others for judgement
CREATE FUNCTION adoption(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := fleet(noise, seed);
	summary jsonb := amad_recalibrate(m, until => quarter(800));
BEGIN
	CREATE TEMP TABLE after ON COMMIT DROP AS SELECT *
		FROM amad_detect(m, since => quarter(800), series => '{"device": 99}');
	EXECUTE format('UPDATE %s SET a = a + 50 WHERE device = 99 AND ts = quarter(1000)', m);
	RETURN QUERY
	SELECT 'adopted device: rows flagged', percent(severity >= 1) FROM after
	UNION ALL
	SELECT 'adopted device: still learning', (count(*) FILTER (WHERE is_anomaly IS NULL))::float8 FROM after
	UNION ALL
	SELECT 'adopted device: glitch found', severity
	FROM amad_detect(m, since => quarter(1000), until => quarter(1001), series => '{"device": 99}') WHERE is_anomaly
	UNION ALL
	SELECT 'adopted device: devices named',
		(summary::text LIKE '%"device": 99%')::int + (summary::text LIKE '%"device": 98%')::int
	UNION ALL
	SELECT 'adopted device: the one with too few rows', percent(status = 'learning' AND is_anomaly IS NULL)
	FROM amad_detect(m, series => '{"device": 98}') WHERE severity IS NOT NULL;
	EXECUTE format('UPDATE %s SET a = a - 50 WHERE device = 99 AND ts = quarter(1000)', m);
	PERFORM amad_deploy(m, 1);
	DROP TABLE after;
END $$;

CREATE FUNCTION adopt_one(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := fleet(noise, seed);
BEGIN
	CREATE TEMP TABLE before ON COMMIT DROP AS SELECT * FROM known_severities(m);
	PERFORM amad_recalibrate(m, until => quarter(800), series => '{"device": 99}');
	RETURN QUERY
	SELECT 'recalibration of one device: rows flagged', percent(severity >= 1)
	FROM amad_detect(m, since => quarter(800), series => '{"device": 99}')
	UNION ALL
	SELECT 'recalibration of one device: other devices', count(*)::float8
	FROM before b FULL JOIN known_severities(m) a USING (series, ts) WHERE a.severity IS DISTINCT FROM b.severity;
	PERFORM amad_deploy(m, 1);
	DROP TABLE before;
END $$;

CREATE FUNCTION text_key(noise float8, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := fleet(noise, seed);
BEGIN
	CREATE TEMP TABLE before ON COMMIT DROP AS SELECT * FROM known_severities(m);
	EXECUTE format('ALTER TABLE %s ALTER device TYPE text', m);
	RETURN QUERY
	SELECT 'key becomes text: unknown rows', count(*)::float8
	FROM amad_detect(m) WHERE (series->>'device')::int <= 20 AND status IN ('unknown_series', 'learning')
	UNION ALL
	SELECT 'key becomes text: severities', count(*)::float8
	FROM before b FULL JOIN known_severities(m) a ON (a.series->>'device', a.ts) = (b.series->>'device', b.ts)
	WHERE a.severity IS DISTINCT FROM b.severity;
	EXECUTE format('ALTER TABLE %s ALTER device TYPE int USING device::int', m);
	DROP TABLE before;
END $$;

SELECT run('learning', v) FROM grid(noise => '{1}') v;
SELECT run('adoption', v) FROM grid(noise => '{1}') v;
SELECT run('adopt_one', v) FROM grid(noise => '{1}') v;
SELECT run('text_key', v) FROM grid(noise => '{1}') v;
\if :full
SELECT run('learning', v) FROM grid(noise => '{0.2,5}', seed => '{1,2}') v;
SELECT run('adoption', v) FROM grid(noise => '{0.2,5}', seed => '{1,2}') v;
SELECT run('adopt_one', v) FROM grid(noise => '{0.2,5}', seed => '{1,2}') v;
SELECT run('text_key', v) FROM grid(noise => '{0.2,5}', seed => '{1,2}') v;
\endif
