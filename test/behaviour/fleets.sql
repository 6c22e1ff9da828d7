-- Ordinary days
--
-- Nothing happens. Rows that were not part of the training are flagged about as often as `contamination`, .01, says,
-- and an operator has time to look at each event.

SELECT expect('ordinary', 'ordinary fleet: rows flagged', 'at most twice the contamination', '% of rows', at_most => 2);
SELECT expect('ordinary', 'ordinary fleet: worst device',
	'no device is flagged all the time', '% of its rows', at_most => 10);
SELECT expect('ordinary', 'ordinary fleet: events a day', 'reported only', 'for each 10 devices');

-- Devices with rows of five minutes: 20 days to train on, 10 to judge. Each has its own levels, phases and noise; some
-- have a weekend, some work in bursts.
CREATE TABLE ordinary (model text, device int, ts timestamptz, cpu float8, requests float8, latency float8);

CREATE FUNCTION ordinary(devices int, noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE plpgsql AS $$
DECLARE
	m text := format('ordinary_%s_%s_%s', devices, replace(noise::text, '.', '_'), seed);
	v_noise float8 := noise;
BEGIN
	TRUNCATE ordinary;
	INSERT INTO ordinary
	SELECT m, d, at(n), 30 + d + load * 20 + v_noise * 3 * noise(seed * 1000 + d, n),
		greatest(0, 100 + 10 * d + load * 80 + v_noise * 8 * gauss(seed * 1000 + d + 100, n)),
		5 + d % 5 + load * 2 + v_noise * exp(0.5 * gauss(seed * 1000 + d + 200, n))
	FROM (SELECT d, n, daily(n, d % 6 * 0.3) * CASE WHEN d % 4 = 0 AND n / 288 % 7 IN (4, 5) THEN 0.3 ELSE 1 END
		+ CASE WHEN d % 5 = 0 AND noise(seed + d, n / 6) < 0.05 THEN 1 ELSE 0 END AS load
		  FROM generate_series(1, devices) d, generate_series(0, 30 * 288 - 1) n) q;
	PERFORM amad_train(model_name => m,
		source => 'SELECT device, ts, cpu, requests, latency FROM ordinary WHERE ts < at(20 * 288)',
		series_cols => '{device}');
	CREATE TEMP TABLE s ON COMMIT DROP AS
	SELECT * FROM amad_detect(m, since => at(20 * 288), explain => false,
		source => 'SELECT device, ts, cpu, requests, latency FROM ordinary');
	INSERT INTO severities_seen (highest, not_finite)
	SELECT max(severity), count(*) FILTER (WHERE severity IN ('NaN', 'Infinity', '-Infinity')) FROM s;
	RETURN QUERY
	SELECT 'ordinary fleet: rows flagged', percent(is_anomaly) FROM s
	UNION ALL
	SELECT 'ordinary fleet: worst device', max(flagged) FROM (SELECT percent(is_anomaly) AS flagged
		FROM s GROUP BY series) x
	UNION ALL
	SELECT 'ordinary fleet: events a day', count(*)::float8 / devices
	FROM amad_events(m, since => at(20 * 288), source => 'SELECT device, ts, cpu, requests, latency FROM ordinary');
	DROP TABLE s;
END $$;

SELECT run('ordinary', json_build_object('devices', 10, 'noise', 1, 'seed', 1));
\if :full
SELECT run('ordinary', json_build_object('devices', d, 'noise', n, 'seed', 1))
FROM unnest('{20,50}'::int[]) d, unnest('{0.2,1,5}'::float8[]) n;
\endif

-- ---- single hosts

SELECT expect('ordinary_host', 'ordinary host: rows flagged',
	'a share near the contamination', '% of rows', at_most => 3);

CREATE FUNCTION ordinary_host(columns int, noise float8, seed int) RETURNS TABLE (scenario text, measured float8)
LANGUAGE plpgsql AS $$
DECLARE
	m text := host(columns, noise, seed);
BEGIN
	RETURN QUERY SELECT 'ordinary host: rows flagged', percent(base >= 1) FROM rows WHERE model = m AND n >= 4896;
END $$;

SELECT run('ordinary_host', v) FROM grid('{1,3,10,20}', '{1}') v;
\if :full
SELECT run('ordinary_host', v) FROM grid('{1,3,10,20}', '{0.2,1,5}', seed => '{1,2}') v;
\endif

-- ---- real servers

SELECT expect('real_days', 'real servers: normal rows flagged',
	'the 15 days after the training, without labelled rows and the '
	'31 after them', '% of rows', at_most => 5);
SELECT expect('real_days', 'real servers: labelled incidents found',
	'a row of each is flagged', '% of incidents', at_least => 50);

CREATE FUNCTION real_days(what text, seed int) RETURNS TABLE (scenario text, measured float8) LANGUAGE plpgsql AS $$
DECLARE
	m text := server(what);
BEGIN
	RETURN QUERY
	SELECT 'real servers: normal rows flagged', percent(base >= 1) FROM rows
	WHERE model = m AND n >= 8640 AND NOT is_bad(what, n)
	UNION ALL
	SELECT 'real servers: labelled incidents found', percent(hit)
	FROM (SELECT bool_or(base >= 1) AS hit
		  FROM (SELECT r.n, r.base, r.n - row_number() OVER (ORDER BY r.n) AS incident
				FROM rows r JOIN real_rows l ON l.what = r.model AND l.n = r.n WHERE r.model = m AND l.label) x
		  GROUP BY incident) y;
END $$;

SELECT run('real_days', v) FROM grid(what => '{omi-2,omi-4}') v;
