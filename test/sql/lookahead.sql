--
-- Lookahead: a row's score uses rows after it; it is available when they are, and does not change any more.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA lookahead_test;
SET search_path = lookahead_test, public, helpers;

-- 500 rows with two gaps, the second after a short stretch
CREATE TABLE r AS
SELECT n, timestamptz '2026-01-01' + (n * 10 + CASE WHEN n > 300 THEN 10000 WHEN n > 220 THEN 5000 ELSE 0 END)
	* interval '1 s' AS ts, sin(n * 0.3) + CASE WHEN n % 83 < 3 THEN 2 ELSE 0 END AS a, cos(n * 0.17) * 10 + 100 AS b
FROM generate_series(1, 500) n;
-- validation_fraction is so large that the same rows are held out for all horizons, and the network is the same
CREATE FUNCTION small(more jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged(tiny('{"window": 5, "validation_fraction": 0.64, "advanced": {"release": 0, "fade": 0, "burst": 0}}'), more) $$;

-- ---- with one horizon, the score is that of the row `lookahead` rows later

CREATE TABLE m AS SELECT l, h,
	amad_fit(small(jsonb_build_object('lookahead', l, 'horizons', h::jsonb)), ts, a, b) AS model
FROM r, (VALUES (0, '[8]'), (1, '[8]'), (4, '[8]'), (0, '[2, 5, 12]'), (3, '[2, 5, 12]'), (6, '[2, 5, 12]')) v(l, h)
GROUP BY l, h;
CREATE TABLE results AS SELECT l, h, n, ts, (e).anomaly_score, (e).threshold, (e).severity, (e).is_anomaly,
	(e).expected_values, (e).contributions, (e).status
FROM (SELECT l, h, n, ts, amad_explain(model, ts, a, b) OVER (PARTITION BY l, h ORDER BY ts) AS e FROM m, r OFFSET 0) x;
ANALYZE r, m, results;
-- the last rows of the series are pending; the last rows before a gap are not, and use the rows that exist
CREATE FUNCTION later(n int, l int) RETURNS int IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE WHEN n <= 220 THEN least(n + l, 220) WHEN n <= 300 THEN least(n + l, 300) ELSE n + l END $$;
SELECT x.l, count(*) AS rows, count(x.anomaly_score) AS scored,
	string_agg(x.n::text, ' ' ORDER BY x.n) FILTER (WHERE x.status = 'pending') AS pending,
	count(*) FILTER (WHERE x.anomaly_score IS DISTINCT FROM y.anomaly_score) AS differ,
	count(*) FILTER (WHERE y.status IS DISTINCT FROM x.status) AS statuses
FROM results x LEFT JOIN results y ON y.l = 0 AND y.h = x.h AND y.n = later(x.n, x.l) AND x.anomaly_score IS NOT NULL
WHERE x.h = '[8]' AND (x.anomaly_score IS NOT NULL OR x.status = 'pending') GROUP BY x.l ORDER BY x.l;
SELECT l, h, warmup, min(n) FILTER (WHERE anomaly_score IS NOT NULL) AS first,
	count(*) FILTER (WHERE status = 'warmup') AS in_warmup, count(*) FILTER (WHERE status = 'gap') AS after_gaps,
	count(*) FILTER (WHERE status = 'pending') AS pending
FROM results JOIN (SELECT l, h, (amad_describe(model)->>'warmup')::int AS warmup FROM m) w USING (l, h)
GROUP BY l, h, warmup ORDER BY h DESC, l;
-- a pending row has expected values and contributions
SELECT count(*) AS rows, count(expected_values) AS expected, count(contributions) AS contributions,
	count(is_anomaly) AS judged, count(threshold) AS thresholds
FROM results WHERE status = 'pending';
-- with several horizons, each is centred on the row if lookahead allows: compared with models with one horizon
CREATE TABLE one_m AS SELECT h, amad_fit(small(jsonb_build_object('horizons', jsonb_build_array(h))), ts, a, b) AS model
FROM r, unnest('{2,5,12}'::int[]) h GROUP BY h;
CREATE TABLE one AS SELECT h, n, (e).anomaly_score AS s
FROM (SELECT h, n, amad_explain(model, ts, a, b) OVER (PARTITION BY h ORDER BY ts) AS e FROM r, one_m OFFSET 0) y;
SELECT l, count(*) AS rows, count(*) FILTER (WHERE abs(anomaly_score / most - 1) < 1e-6) AS equal
FROM (SELECT l, results.n, anomaly_score, max(s) AS most
	FROM results JOIN one ON one.n = results.n + least(l, one.h / 2)
	WHERE results.h = '[2, 5, 12]' AND l > 0 AND anomaly_score IS NOT NULL AND results.n BETWEEN 40 AND 200
	GROUP BY l, results.n, anomaly_score) x
GROUP BY l ORDER BY l;

-- with fade and burst: rows have less weight the farther they are from the row, and count as burst · h · theta at most, except
-- in the shortest horizon
CREATE TABLE raw AS
SELECT n, (amad_explain(model, ts, a, b) OVER (ORDER BY ts)).anomaly_score * theta AS raw
FROM r, (SELECT model, (amad_describe(model)->'calibration'->'theta'->>0)::float8 AS theta
	FROM (SELECT amad_fit(small('{"horizons": [1]}'), ts, a, b) AS model FROM r) x) y;
CREATE TABLE faded_m AS
SELECT l, amad_fit(small(jsonb_build_object('lookahead', l, 'horizons', '{2,5,12}'::int[],
	'advanced', '{"fade": 0.7, "burst": 0.05}'::jsonb)), ts, a, b) AS model
FROM r, unnest('{0,3,6}'::int[]) l GROUP BY l;
CREATE TABLE faded AS
SELECT l, n, (amad_explain(model, ts, a, b) OVER (PARTITION BY l ORDER BY ts)).anomaly_score AS s FROM r, faded_m;
WITH figures AS (
	SELECT l, h, theta::float8 FROM faded_m, unnest('{2,5,12}'::int[]) WITH ORDINALITY x(h, i)
		JOIN LATERAL jsonb_array_elements_text(amad_describe(model)->'calibration'->'theta') WITH ORDINALITY y(theta, i) USING (i)
), means AS (
	SELECT l, h, x.n, sum(CASE WHEN h > 2 THEN least(y.raw, 0.05 * h * theta) ELSE y.raw END * (1 - 0.7 * abs(y.n - x.n) / h))
			/ sum(1 - 0.7 * abs(y.n - x.n) / h) / theta AS mean, bool_or(h > 2 AND y.raw > 0.05 * h * theta) AS limited
	FROM figures, raw x, raw y
	WHERE x.n BETWEEN 40 AND 200 AND y.n BETWEEN x.n + least(l, h / 2) - h + 1 AND x.n + least(l, h / 2)
	GROUP BY l, h, x.n, theta
)
SELECT l, count(*) AS rows, count(*) FILTER (WHERE abs(s / most - 1) < 1e-6) AS equal, sum(limited) > 100 AS limited
FROM (SELECT l, n, max(mean) AS most, count(*) FILTER (WHERE limited) AS limited FROM means GROUP BY l, n) x
	JOIN faded USING (l, n) GROUP BY l ORDER BY l;

-- a lookahead longer than a block of rows that are scored together
CREATE TABLE z AS SELECT n, abs(hashint8(n)) % 100 AS a, sin(n) AS b FROM generate_series(1::bigint, 1500) n;
CREATE TABLE zm AS
SELECT l, amad_fit('{"method": "zscore", "horizons": [300], "advanced": {"fade": 0}}' || jsonb_build_object('lookahead', l), n, a, b) AS model
FROM z, unnest('{0,95,96,97,150}'::int[]) l GROUP BY l;
CREATE TABLE zs AS SELECT l, n, (e).anomaly_score AS s
FROM (SELECT l, n, amad_explain(model, n, a, b) OVER (PARTITION BY l ORDER BY n) AS e FROM z, zm OFFSET 0) x;
SELECT x.l, count(*) AS rows, count(x.s) AS scored,
	count(*) FILTER (WHERE x.s IS DISTINCT FROM y.s AND x.s IS NOT NULL) AS differ
FROM zs x JOIN zs y ON y.l = 0 AND y.n = x.n + x.l GROUP BY x.l ORDER BY x.l;

-- ---- same row, same score, to the bit, in any range that has the rows it depends on

SELECT l, count(*) AS ranges, sum(scored) > 1000 AS many, sum(differ) AS differ, sum(lacking) AS lacking
FROM (SELECT 1 + abs(hashint4(i)) % 480 AS first, abs(hashint4(-i)) % 300 AS rows FROM generate_series(1, 60) i) ranges,
	m, LATERAL (
	SELECT count(s) AS scored,
		count(*) FILTER (WHERE s IS NOT NULL AND float8send(s) IS DISTINCT FROM float8send(severity)) AS differ,
		count(*) FILTER (WHERE s IS NULL AND severity IS NOT NULL AND x.n >= first + 30
			AND x.n <= first + rows - l) AS lacking
	FROM (SELECT n, amad_score(model, ts, a, b) OVER (ORDER BY ts) AS s FROM r WHERE n BETWEEN first AND first + rows) x
		JOIN results ON results.n = x.n AND results.h = m.h AND results.l = m.l) y
WHERE l > 0 GROUP BY l ORDER BY l;
-- a scan that ends while rows are pending, and begins again with another partition
SELECT g, count(s) AS scored, count(*) FILTER (WHERE x.n >= g + 30 AND s IS DISTINCT FROM severity) AS differ
FROM unnest('{0,10,60}'::int[]) g, LATERAL (
	SELECT n, amad_score(model, ts, a, b) OVER (ORDER BY ts) AS s
	FROM r, m WHERE l = 6 AND n >= g AND n <= 200 ORDER BY ts LIMIT 40) x JOIN results USING (n)
WHERE results.l = 6 GROUP BY g ORDER BY g;

-- ---- amad_detect also reads the rows after its range

SELECT amad_train('look', 'lookahead_test.r', 'ts', '{a,b}',
	options => small('{"lookahead": 6, "horizons": [2, 5, 12]}'))->'warmup' AS warmup;
CREATE TABLE whole AS SELECT * FROM amad_detect('look');
SELECT count(*) AS rows, count(w.severity) AS scored,
	count(*) FILTER (WHERE w.severity IS DISTINCT FROM r.severity OR w.status IS DISTINCT FROM r.status) AS differ
FROM whole w JOIN results r USING (ts) WHERE l = 6;
-- random ranges have the same scores and statuses, including those that end less than 6 rows before a gap
SELECT count(*) AS ranges, sum(rows) > 3000 AS many, sum(wrong) AS wrong
FROM generate_series(1, 40) i,
	LATERAL (SELECT min(ts) AS since, max(ts) AS until
		FROM r WHERE n IN (1 + abs(hashint4(i)) % 480, 1 + abs(hashint4(-i)) % 500)) b,
	LATERAL (SELECT count(*) AS rows,
			count(*) FILTER (WHERE d.severity IS DISTINCT FROM w.severity OR d.status IS DISTINCT FROM w.status) AS wrong
		FROM amad_detect('look', since => b.since, until => b.until) d
			FULL JOIN (SELECT * FROM whole WHERE ts >= b.since AND ts < b.until) w USING (ts)) x;
-- last_n does not change a score
SELECT u.n, count(*) AS rows, count(d.severity) AS scored, count(*) FILTER (WHERE d IS DISTINCT FROM w) AS wrong
FROM r u, amad_detect('look', until => u.ts, last_n => 5) d LEFT JOIN whole w USING (ts)
WHERE u.n IN (100, 221, 226, 301, 500) GROUP BY u.n ORDER BY u.n;
-- bounds without rows beyond them
SELECT count(*) AS rows, count(severity) AS scored FROM amad_detect('look', until => 'infinity');
SELECT count(*) AS rows FROM amad_detect('look', until => '-infinity');
SELECT count(*) AS rows, count(severity) AS scored FROM amad_detect('look', until => '294276-12-31 23:59:59');
-- duplicates before and after the range do not count as rows that a score uses
CREATE TABLE twice AS SELECT r.* FROM r, generate_series(1, 3) WHERE n <= 220;
SELECT count(*) AS rows, count(d.severity) AS scored,
	count(*) FILTER (WHERE d.severity IS DISTINCT FROM results.severity AND d.status IS DISTINCT
		FROM 'duplicate_ts') AS differ
FROM amad_detect('look', source => 'lookahead_test.twice', since => (SELECT ts FROM r WHERE n = 100),
	until => (SELECT ts FROM r WHERE n = 150)) d JOIN results USING (ts) WHERE l = 6;
-- a gap settles the rows before it even if the first row after it has no values
SELECT count(*) FILTER (WHERE d.status = 'pending') AS pending,
	count(*) FILTER (WHERE d.severity IS DISTINCT FROM w.severity) AS differ, count(w.severity) AS scored
FROM amad_detect('look', source => 'SELECT ts, a, b FROM lookahead_test.r WHERE n <= 220
	UNION ALL SELECT ts, NULL, NULL FROM lookahead_test.r WHERE n = 221') d JOIN whole w USING (ts)
WHERE d.ts < '2026-01-01 01:00';
-- rows that have a score keep it when more rows arrive
CREATE TABLE live AS SELECT * FROM r WHERE n <= 450;
CREATE TABLE before AS SELECT * FROM amad_detect('look', source => 'lookahead_test.live');
INSERT INTO live SELECT * FROM r WHERE n > 450;
SELECT count(*) AS rows, count(b.severity) AS had, count(*) FILTER (WHERE b.severity <> d.severity) AS changed,
	count(d.severity) FILTER (WHERE b.status = 'pending') AS pending_then
FROM before b JOIN amad_detect('look', source => 'lookahead_test.live') d USING (ts);
-- an event followed by rows without a score is open
UPDATE live SET a = 50 WHERE n > 480;
SELECT end_ts = (SELECT ts FROM r WHERE n = 494) AS to_the_last_score, open
FROM amad_events('look', source => 'lookahead_test.live', since => (SELECT ts FROM r WHERE n = 470))
ORDER BY start_ts DESC LIMIT 1;

-- ---- pending rows are returned in their order, among rows with any status

CREATE TABLE odd AS SELECT n, ts, a, b FROM r WHERE n <= 220
UNION ALL SELECT n, CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN 'infinity' ELSE ts END, a, b FROM r
WHERE n BETWEEN 100 AND 119
UNION ALL SELECT n, ts + interval '1 s', NULL, CASE WHEN n % 2 = 0 THEN 'NaN'::float8 END FROM r
WHERE n BETWEEN 150 AND 160
UNION ALL SELECT n, ts, a, b FROM r, generate_series(1, 300) WHERE n = 215;
SELECT status, count(*) AS rows, count(severity) AS scored, count(expected_values) AS expected,
	count(*) FILTER (WHERE imputed IS NOT NULL) AS imputed
FROM amad_detect('look', source => 'lookahead_test.odd') GROUP BY status ORDER BY status;
SELECT count(*) AS rows, count(*) FILTER (WHERE (e).status = 'duplicate_ts') AS duplicates,
	count((e).severity) AS scored
FROM (SELECT ts, amad_explain('look', ts, a, b) OVER (ORDER BY ts) AS e FROM odd WHERE isfinite(ts) OFFSET 0) x;
-- a partition that begins while rows of another one are pending is independent of it
SELECT status, array_agg(n ORDER BY n) AS n
FROM (SELECT n, (amad_explain('look', ts, a, b) OVER (ORDER BY ts)).status FROM odd
	WHERE n BETWEEN 195 AND 220 AND isfinite(ts)
	UNION ALL SELECT n + 1000, (amad_explain('look', ts, a, b) OVER (ORDER BY ts)).status FROM r WHERE n IN (5, 6)) x
WHERE n > 1000 GROUP BY status;

-- pending rows that do not fit in memory are returned without a score; no score is wrong
SET work_mem = '128kB';
SELECT count(*) AS rows, count(*) FILTER (WHERE d.status = 'duplicate_ts') AS duplicates,
	string_agg(results.n::text, ' ' ORDER BY results.n) FILTER (WHERE d.status = 'pending') AS pending,
	count(*) FILTER (WHERE d.severity <> results.severity) AS differ, count(d.severity) AS scored
FROM amad_detect('look', source => 'SELECT ts, a, b FROM lookahead_test.r WHERE n <= 220
	UNION ALL SELECT ts, a, b FROM lookahead_test.r, generate_series(1, 8000) WHERE n = 150') d
	JOIN results USING (ts) WHERE l = 6;
RESET work_mem;

-- ---- series of a fleet, baselines

CREATE TABLE fleet AS SELECT d AS device, r.ts, r.a * d AS a, r.b FROM r, generate_series(1, 3) d
WHERE d < 3 OR n <= 40;
SELECT amad_train('look fleet', 'lookahead_test.fleet', 'ts', '{a,b}', '{device}',
	options => small('{"lookahead": 6, "horizons": [2, 5, 12]}'))->'series' AS series;
-- each series has its own pending rows, and amad_explain gives the same results
CREATE TABLE explained AS SELECT device, ts, (e).severity, (e).contributions
FROM (SELECT device, ts, amad_explain('look fleet', jsonb_build_object('device', device), ts, a, b)
		OVER (PARTITION BY device ORDER BY ts) AS e FROM fleet OFFSET 0) x;
SELECT d.series, count(*) AS rows, count(d.severity) AS scored, count(*) FILTER (WHERE d.status = 'pending') AS pending,
	max(d.ts) FILTER (WHERE d.severity IS NOT NULL) AS last_score,
	count(*) FILTER (WHERE e.severity IS DISTINCT FROM d.severity OR e.contributions IS DISTINCT
		FROM d.contributions) AS differ
FROM amad_detect('look fleet') d JOIN explained e ON (d.series->>'device')::int = e.device AND d.ts = e.ts
GROUP BY d.series ORDER BY d.series;
-- baselines
CREATE TABLE baselines AS SELECT method,
	amad_fit(jsonb_build_object('method', method, 'lookahead', 16), ts, a, b) AS model
FROM r, unnest('{pca,zscore}'::text[]) method WHERE n <= 220 GROUP BY method;
SELECT method, count(*) AS rows, count(s) AS scored
FROM (SELECT method, amad_score(model, ts, a, b) OVER (PARTITION BY method ORDER BY ts) AS s FROM r, baselines
	WHERE n <= 220) y
GROUP BY method ORDER BY method;

-- ---- a recalibration can set it, and leaves the network as it was

SELECT amad_train('live', 'lookahead_test.r', 'ts', '{a,b}',
	options => small('{"horizons": [2, 5, 12]}')) IS NOT NULL AS trained;
SELECT amad_recalibrate('live', since => '2026-01-01',
	options => '{"lookahead": 6, "trim": 0}') IS NOT NULL AS recalibrated;
SELECT amad_recalibrate('live', options => '{"lookahead": 7}');
SELECT version, options->'lookahead' AS lookahead FROM amad_models WHERE model_name = 'live' ORDER BY version;
SELECT count(*) AS weights, bool_and(x.data = y.data) AS same
FROM amad_models m1, amad_models m2, amad_weights(m1.model) x, amad_weights(m2.model) y
WHERE m1.model_name = 'live' AND m1.version = 1 AND m2.model_name = 'live' AND m2.version = 2 AND x.name = y.name;
SELECT count(*) FILTER (WHERE status = 'pending') AS pending FROM amad_detect('live');

-- ---- memory is checked before it is used

SET work_mem = '64kB';
SELECT amad_score(model, 1::bigint, 1, 1) OVER ()
FROM (SELECT amad_fit('{"method": "zscore", "horizons": [5000], "lookahead": 2500}'::jsonb, n, n % 7, n % 5) AS model
	FROM generate_series(1, 15000) n) x;
RESET work_mem;

DELETE FROM amad_models WHERE model_name IN ('look', 'look fleet', 'live');
SET client_min_messages = warning;
DROP SCHEMA lookahead_test CASCADE;
RESET client_min_messages;
RESET search_path;
