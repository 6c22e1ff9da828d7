--
-- Gaps: a series starts again after one, in scoring and in training.  A score depends on the rows since the last
-- gap, and is the same wherever a query's range begins.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
-- compiling would take longer than everything else: the planner overestimates the rows
SET jit = off;
SET timezone = 'UTC';
-- Rows at uneven distances, median 10, and larger gaps of several sizes.
CREATE TABLE r AS
SELECT n, sum(step) OVER w::bigint AS t, timestamptz '2026-01-01' + sum(step) OVER w * interval '1 s' AS ts,
	sin(n * 0.3) AS a, cos(n * 0.17) * 10 + 100 AS b
FROM (SELECT n, CASE WHEN n IN (150, 151, 230, 330) THEN 101 WHEN n = 190 THEN 100 WHEN n = 290 THEN 5000
		ELSE 9 + abs(hashint8(n)) % 3 END AS step FROM generate_series(1::bigint, 420) n) x
WINDOW w AS (ORDER BY n);
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged(tiny('{"window": 5}'), more) $$;
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY d) AS median, max(d) AS most
FROM (SELECT t - lag(t) OVER (ORDER BY n) AS d FROM r) x;
-- max_gap 0: the default
CREATE TABLE m AS
SELECT max_gap, amad_fit(small(CASE WHEN max_gap > 0 THEN jsonb_build_object('max_gap', max_gap) ELSE '{}' END), t, a,
	b) AS model
FROM r, unnest('{0,11,99.5,101,4999,5000}'::float8[]) max_gap GROUP BY max_gap;

-- ---- gaps are by default longer than ten times the median step

CREATE TABLE steps AS SELECT n, t - lag(t, 1, t) OVER (ORDER BY n) AS d FROM r;
SELECT max_gap, amad_describe(model)->'training'->'gaps' AS gaps,
	(SELECT count(*) FROM steps WHERE d > coalesce(nullif(max_gap, 0), 100)) AS by_hand,
		amad_describe(model)->'warmup' AS warmup
FROM m ORDER BY max_gap;
-- rows since the last gap, by hand
CREATE TABLE since AS
SELECT max_gap, n, n - max(CASE WHEN is_gap THEN n ELSE 1 END) OVER w AS before, bool_or(is_gap) OVER w AS after_gap
FROM m, steps, LATERAL (SELECT d > coalesce(nullif(max_gap, 0), 100) AS is_gap) g
WINDOW w AS (PARTITION BY max_gap ORDER BY n);
CREATE TABLE results AS
SELECT max_gap, n, (e).severity, (e).status, (e).expected_values
FROM (SELECT max_gap, n, amad_explain(model, t, a, b) OVER (PARTITION BY max_gap ORDER BY t) AS e FROM m, r OFFSET 0) x;
-- a row has a score if `warmup` rows precede it, and otherwise a status
SELECT max_gap, count(*) AS rows, count(severity) AS scored,
	count(*) FILTER (WHERE status IS DISTINCT FROM
		CASE WHEN before >= 19 + 3 THEN NULL WHEN after_gap THEN 'gap' ELSE 'warmup' END) AS wrong
FROM results JOIN since USING (max_gap, n) GROUP BY max_gap ORDER BY max_gap;
-- it has expected values after the context
SELECT max_gap, count(expected_values) AS expected,
	count(*) FILTER (WHERE (severity IS NULL) <> (before < 19 + 3) OR (expected_values IS NULL) <> (before
		< 19)) AS wrong_nulls
FROM results JOIN since USING (max_gap, n) GROUP BY max_gap ORDER BY max_gap;
-- each stretch has the same scores as when it is scored alone
SELECT max_gap, count(s) AS scored,
	count(*) FILTER (WHERE float8send(s) IS DISTINCT FROM float8send(severity)) AS differ
FROM (SELECT max_gap, n, amad_score(model, t, a, b) OVER (PARTITION BY max_gap, n - before ORDER BY t) AS s
	FROM m JOIN since USING (max_gap) JOIN r USING (n)) x
JOIN results USING (max_gap, n) GROUP BY max_gap ORDER BY max_gap;

-- ---- wherever a range begins and ends

-- random ranges: no score differs, and no score is missing if the range has the rows it needs
SELECT max_gap, count(*) AS ranges, sum(scored) AS scored, sum(differ) AS differ, sum(lacking) AS lacking
FROM (SELECT 1 + abs(hashint4(i)) % 400 AS first, abs(hashint4(-i)) % 200 AS rows FROM generate_series(1, 60) i) ranges,
	m, LATERAL (
	SELECT count(s) AS scored,
		count(*) FILTER (WHERE s IS NOT NULL AND float8send(s) IS DISTINCT FROM float8send(severity)) AS differ,
		count(*) FILTER (WHERE s IS NULL AND severity IS NOT NULL AND x.n >= first + 22) AS lacking
	FROM (SELECT n, amad_score(model, t, a, b) OVER (ORDER BY t) AS s FROM r WHERE n BETWEEN first AND first + rows) x
		JOIN results ON results.n = x.n AND results.max_gap = m.max_gap) y
GROUP BY max_gap ORDER BY max_gap;

-- ---- seconds of timestamps, units of integers, intervals

CREATE TABLE units (what text, model amad_model);
INSERT INTO units
SELECT 'default', amad_fit(small(), ts, a, b) FROM r
UNION ALL SELECT 'timestamp', amad_fit(small(), ts::timestamp, a, b) FROM r
UNION ALL SELECT 'seconds', amad_fit(small('{"max_gap": 101}'), ts, a, b) FROM r
UNION ALL SELECT 'fraction', amad_fit(small('{"max_gap": 99.999999}'), ts, a, b) FROM r
UNION ALL SELECT 'interval', amad_fit(small('{"max_gap": "1 minute 40 seconds"}'), ts, a, b) FROM r
UNION ALL SELECT 'ISO 8601', amad_fit(small('{"max_gap": "PT1H23M19S"}'), ts, a, b) FROM r
UNION ALL SELECT 'a day', amad_fit(small('{"max_gap": "1 day"}'), ts, a, b) FROM r;
SELECT what, amad_describe(model)->'training'->'gaps' AS gaps, amad_describe(model)->'options'->'max_gap' AS max_gap,
	(SELECT string_agg(n::text, ' ' ORDER BY n)
	 FROM (SELECT n, (amad_explain(model, ts, a, b) OVER (ORDER BY ts)).status AS s FROM r) x
	 WHERE s = 'gap' AND n IN (150, 151, 190, 230, 290, 330)) AS begins
FROM units ORDER BY what;
-- seconds of an interval are units of integers
SELECT amad_describe(amad_fit(small('{"max_gap": "1 minute 40 seconds"}'), t, a, b))->'training'->'gaps' AS units
FROM r;
-- the timestamps of a model on integers may be as far apart as they can be
CREATE TABLE far AS SELECT n, 9223372036854775807 - 10000 + t AS late, -9223372036854775807 + t AS early, t, a, b
FROM r;
SELECT count(*) AS rows, count((e).severity) AS scored, string_agg(DISTINCT (e).status, ' ') AS status
FROM (SELECT amad_explain(model, CASE WHEN n < 200 THEN t ELSE late END, a, b) OVER (ORDER BY t) AS e
	FROM m, far WHERE max_gap = 0 AND n BETWEEN 190 AND 229) x;
SELECT count(*) AS rows, count((e).severity) AS scored, string_agg(DISTINCT (e).status, ' ') AS status
FROM (SELECT amad_explain(model, CASE WHEN n < 200 THEN early ELSE late END, a, b) OVER (ORDER BY t) AS e
	FROM m, far WHERE max_gap = 0 AND n BETWEEN 151 AND 229) x;

-- ---- training

CREATE FUNCTION figures(m amad_model) RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat_ws(' ', d->'scaling', d->'calibration', d->'threshold',
		(SELECT string_agg(w::text, '') FROM amad_weights(m) w))) FROM amad_describe(m) d $$;
-- a gap makes a difference, but its length does not
CREATE TABLE shifts AS
SELECT shift, figures(amad_fit(small(), CASE WHEN n > 200 THEN n + shift ELSE n END, a, b)) AS f
FROM r, unnest('{0,5,9,1000,2000,1000000000000}'::bigint[]) shift GROUP BY shift;
SELECT shift >= 1000 AS gap, count(*) AS shifts, count(DISTINCT f) AS different FROM shifts GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT f) AS different FROM shifts;
-- the same for all three kinds of time
SELECT count(DISTINCT f) AS different FROM (
	SELECT figures(amad_fit(small(), t, a, b)) AS f FROM r
	UNION ALL SELECT figures(amad_fit(small(), ts, a, b)) FROM r
	UNION ALL SELECT figures(amad_fit(small(), ts::timestamp, a, b)) FROM r) x;
-- Rows of three pieces, each feature as often 1 as -1, so that mean and deviation stay to the bit
-- when the rows of a piece are turned round.
CREATE FUNCTION weights(m amad_model) RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(w::text, '')) FROM amad_weights(m) w $$;
CREATE FUNCTION pieces(one int, two int, three int, turned bool, gap int) RETURNS TABLE (t bigint, a int, b int)
LANGUAGE sql AS $$
	SELECT n + CASE WHEN n > one + two THEN 2 * gap WHEN n > one THEN gap ELSE 0 END,
		1 - 2 * (row_number() OVER (ORDER BY hashint8(m)) % 2)::int,
		1 - 2 * (row_number() OVER (ORDER BY hashint8(-m)) % 2)::int
	FROM (SELECT n, CASE WHEN turned AND n > one AND n <= one + two THEN 2 * one + two + 1 - n ELSE n END AS m
		FROM generate_series(1::bigint, one + two + three) n) x $$;
-- chunks of 10 rows do not cross a gap: a shorter piece has no part in the weights, a longer one has
SELECT two, count(DISTINCT w) AS different
FROM (SELECT two, turned, weights(amad_fit(small(), t, a, b)) AS w
	FROM unnest('{9,30}'::int[]) two, unnest('{f,t}'::bool[]) turned, pieces(0, two, 80 - two % 2, turned, 1000)
	GROUP BY two, turned) x
GROUP BY two ORDER BY two;
-- nor does the context of a row of the calibration: nine rows before the last piece have a part only without the gap
SELECT gap, count(DISTINCT f) AS different
FROM (SELECT gap, turned, figures(amad_fit(small(), t, a, b)) AS f
	FROM unnest('{0,1000}'::int[]) gap, unnest('{f,t}'::bool[]) turned, pieces(100, 9, 41, turned, gap)
	GROUP BY gap, turned) x
GROUP BY gap ORDER BY gap;
-- training is refused if all pieces are shorter than a chunk, which has 10 rows
SELECT amad_fit(small(), n / 9 * 1000 + n, a, b) FROM r;
SELECT amad_train('short', small(), n / 9 * 1000 + n, a, b) FROM r;
SELECT amad_fit(small('{"max_gap": 0.5}'), n, a, b) FROM r;
-- also if they are long enough for chunks, but not for a score, which needs 23 rows
SELECT amad_fit(small(), n / 15 * 1000 + n, a, b) FROM r;
SELECT (amad_describe(amad_fit(small(), n / 23 * 1000 + n, a, b))->'training') - 'loss' AS training FROM r;
-- where no held-out row has a score, all rows calibrate
SELECT amad_describe(m)->'training'->'gaps' AS gaps, (amad_describe(m)->>'threshold')::float8 > 0 AS threshold
FROM (SELECT amad_fit(small(), CASE WHEN n > 370 THEN n / 15 * 1000 + n ELSE n END, a, b) AS m FROM r) x;

DROP FUNCTION small, figures, weights, pieces;
DROP TABLE r, m, steps, since, results, units, far, shifts;
