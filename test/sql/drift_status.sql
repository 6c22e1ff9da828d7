--
-- Levels: a change that stays is an anomaly at first, and then the status drift.  It does not depend on where the range begins.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
SET client_min_messages = warning;
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA drift_test;
SET search_path = drift_test, public, helpers;

CREATE FUNCTION at(n bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
	SELECT timestamptz '2026-01-01 00:00+00' + n * interval '1 min' $$;
CREATE TABLE r AS SELECT n, at(n) AS ts, sin(n / 7.0) + 0.3 * noise(n) AS a, cos(n / 9.0) + 0.3 * noise(-n) AS b,
	sin(n / 5.0) + 0.5 * noise(n + 77777) AS c FROM generate_series(0, 3199) n;
\set o '{"steps": 100, "horizons": [2, 8], "contamination": 0.02}'
SELECT amad_train('m', 'SELECT * FROM drift_test.r WHERE n < 1200', 'ts', '{a,b,c}', options => tiny(:'o')) IS NOT NULL AS trained;
SELECT amad_train('without', 'SELECT * FROM drift_test.r WHERE n < 1200', 'ts', '{a,b,c}',
	options => tiny(merged(:'o', advanced('level_weight', 0)))) IS NOT NULL AS trained;

-- ---- a column moves for good at row 1500
CREATE VIEW moved AS SELECT n, ts, a + CASE WHEN n >= 1500 THEN 8 ELSE 0 END AS a, b, c FROM r;

-- what a model makes of the rows of a source, with their numbers
CREATE FUNCTION judged(model text, source text, first bigint DEFAULT 0)
RETURNS TABLE (n bigint, severity float8, status text, is_anomaly boolean) LANGUAGE sql AS $$
	SELECT (extract(epoch FROM s.ts - at(0)) / 60)::bigint, s.severity, s.status, s.is_anomaly
	FROM amad_detect(model, since => at(first), source => source) s $$;

-- an anomaly until the level follows, which it does from row 1500 + 64 + 54 on
SELECT status, is_anomaly, min(severity) > 1 AS high, count(*) > 1000 AS many, min(n) >= 1610 AS late, max(n) < 1625 AS early
FROM judged('m', 'moved', 1500) GROUP BY 1, 2 ORDER BY 1 NULLS FIRST, 2;
SELECT status, count(DISTINCT is_anomaly) AS kinds FROM judged('m', 'moved', 1400) WHERE n < 1500 OR n >= 1650 GROUP BY 1 ORDER BY 1 NULLS FIRST;
-- severities are those of a model without levels, in which each row is an anomaly
SELECT count(*) AS rows, count(*) FILTER (WHERE x.severity IS DISTINCT FROM y.severity) AS different,
	count(*) FILTER (WHERE y.is_anomaly) AS anomalies, count(*) FILTER (WHERE y.status = 'drift') AS drift
FROM judged('m', 'moved', 1500) x JOIN judged('without', 'moved', 1500) y USING (n);
-- one event, which ends, instead of one that does not
SELECT kind, start_ts = at(1500) AS starts, end_ts BETWEEN at(1610) AND at(1625) AS ends, n_points BETWEEN 110 AND 125 AS points, open
FROM amad_events('m', since => at(1400), source => 'moved');
SELECT count(*) AS events, max(n_points) AS points, bool_or(open) AS open FROM amad_events('without', since => at(1400), source => 'moved');
SELECT count(*) AS events FROM amad_events('m', since => at(1700), source => 'moved');

-- ---- a larger incident during the drift is an anomaly, and one event
CREATE VIEW incident AS SELECT n, ts, a, b + i * 30 * noise(n) AS b, c - i * 30 * noise(n + 9) AS c
FROM moved, LATERAL (SELECT (n BETWEEN 2500 AND 2509)::int AS i) i;
SELECT count(*) FILTER (WHERE is_anomaly AND n BETWEEN 2500 AND 2509) >= 8 AS found,
	count(*) FILTER (WHERE is_anomaly AND n NOT BETWEEN 2500 AND 2520) AS others,
	count(*) FILTER (WHERE status = 'drift' AND n NOT BETWEEN 2500 AND 2520) > 1450 AS drift
FROM judged('m', 'incident', 1700);
SELECT start_ts BETWEEN at(2500) AND at(2503) AS starts, end_ts BETWEEN at(2507) AND at(2520) AS ends, open
FROM amad_events('m', since => at(1700), source => 'incident');
-- a short incident without drift is not taken for one
SELECT count(*) FILTER (WHERE status = 'drift') AS drift, count(*) FILTER (WHERE is_anomaly) > 60 AS found
FROM judged('m', 'SELECT n, ts, a + CASE WHEN n BETWEEN 1500 AND 1599 THEN 8 ELSE 0 END AS a, b, c FROM drift_test.r', 1400);

-- ---- the same severity and status for any beginning of the range, and by any function

SELECT amad_train('transformed', 'SELECT * FROM drift_test.r WHERE n < 1200', 'ts', '{a,b,c}', options =>
	tiny(merged(:'o', '{"lookahead": 3, "fill_limit": 3, "transform": {"b": "rate", "c": "detrend"}}'))) IS NOT NULL AS trained;
-- with gaps and missing values; rows every second instead of every minute; at twice the step, where too few rows are
-- recent enough for a level; in pairs
CREATE VIEW gaps AS SELECT n, ts, a, CASE WHEN n % 13 NOT IN (3, 4) THEN b END AS b, CASE WHEN n % 7 > 0 THEN c END AS c
FROM moved WHERE n % 700 NOT BETWEEN 100 AND 118 AND n % 11 <> 5;
CREATE VIEW dense AS SELECT n, CASE WHEN n < 1500 THEN ts ELSE at(1500) + (n - 1500) * interval '1 s' END AS ts, a, b, c FROM moved;
CREATE VIEW sparse AS SELECT n, CASE WHEN n < 1500 THEN ts ELSE at(1500) + (n - 1500) * interval '2 min 20 s' END AS ts, a, b, c FROM moved;
CREATE VIEW pairs AS SELECT n, ts - n % 2 * interval '50 s' AS ts, a, b, c FROM moved;

CREATE FUNCTION compare(model text, source text, last timestamptz, step interval, OUT many boolean, OUT drift boolean, OUT different bigint)
LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE whole AS SELECT * FROM amad_detect(model, source => source);
	SELECT count(*) > 10000, count(*) FILTER (WHERE whole.status = 'drift') > 2000, count(*) FILTER (WHERE s IS DISTINCT FROM whole)
	INTO many, drift, different
	FROM generate_series(at(10), last, step) since, LATERAL amad_detect(model, since => since, source => source) s
		JOIN whole ON whole.ts = s.ts AND whole.series IS NOT DISTINCT FROM s.series;
	DROP TABLE whole;
END $$;
SELECT model, source, c.* FROM unnest('{m,transformed}'::text[]) model, unnest('{moved,gaps,dense,sparse,pairs}'::text[]) source,
	LATERAL compare(model, source, at(3100), '133 min 7 s') c ORDER BY model, source;
-- a fleet with different steps, and with a series that the model does not contain
CREATE TABLE fleet AS SELECT d, n, at(n * (CASE d WHEN 'x' THEN 1 WHEN 'y' THEN 7 ELSE 60 END)) AS ts,
	a + CASE WHEN n >= 1300 THEN 8 ELSE 0 END AS a, b FROM unnest('{x,y,z}'::text[]) d, r WHERE n < 2400;
SELECT amad_train('fleet', 'SELECT * FROM drift_test.fleet WHERE n < 1200', 'ts', '{a,b}', '{d}', options => tiny(:'o'))->'series' AS series;
SELECT * FROM compare('fleet', 'fleet', at(144000), '61 hours 7 min');
SELECT * FROM compare('fleet', 'SELECT replace(d, ''z'', ''new'') AS d, ts, a, b FROM drift_test.fleet', at(144000), '61 hours 7 min');
-- the newest rows, and window functions
SELECT source, count(*) AS rows, count(*) FILTER (WHERE s IS DISTINCT FROM w) AS different
FROM unnest('{gaps,dense}'::text[]) source, LATERAL amad_detect('m', last_n => 300, source => source) s
	JOIN LATERAL amad_detect('m', source => source) w USING (ts) GROUP BY source ORDER BY source;
SELECT count(*) FILTER (WHERE status = 'drift') > 1000 AS drift, count(*) FILTER (WHERE s IS DISTINCT FROM x.severity) AS score,
	count(*) FILTER (WHERE (e).severity IS DISTINCT FROM x.severity OR (e).status IS DISTINCT FROM x.status
		OR (e).is_anomaly IS DISTINCT FROM x.is_anomaly) AS explain
FROM (SELECT ts, amad_score('m', ts, a, b, c) OVER w AS s, amad_explain('m', ts, a, b, c) OVER w AS e FROM gaps WINDOW w AS (ORDER BY ts)) y
	JOIN amad_detect('m', source => 'gaps') x USING (ts);
-- a model is the same after it has been written and read
SELECT bool_and(round_trip(model)) AS same FROM amad_models;

SELECT count(amad_drop(model_name)) AS dropped FROM (SELECT DISTINCT model_name FROM amad_models) m;
DROP SCHEMA drift_test CASCADE;
