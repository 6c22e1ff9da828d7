--
-- Flatlines: features that vary less than they almost ever did in training.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA flatline_test;
SET search_path = flatline_test, public, helpers;

-- Three noisy sensors and a valve, every minute. In the last rows heat is stuck for an hour from 1300 on, at a usual
-- value, and everything is constant for an hour from 1420 on.
CREATE FUNCTION noise(n int, k int) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
	SELECT hashint4(n * 7 + k) % 1000 / 1000.0 $$;
CREATE TABLE r AS
SELECT n, timestamptz '2026-01-01' + n * interval '1 min' AS ts, n BETWEEN 1300 AND 1359 AS stuck,
	n BETWEEN 1420 AND 1479 AS quiet, noise(still, 1) AS flow,
	noise(CASE WHEN n BETWEEN 1300 AND 1359 THEN 7 ELSE still END, 2) AS heat, noise(still, 3) AS load,
	(still / 61 % 3 = 0)::int AS valve
FROM (SELECT n, CASE WHEN n BETWEEN 1420 AND 1479 THEN 7 ELSE n END AS still FROM generate_series(1, 1500) n) x;
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged('{"window": 16, "d_model": 16, "heads": 2, "layers": 2, "steps": 20, "season": "none",
		"horizons": [4, 16], "features": ["flow", "heat", "load", "valve"], "advanced": {"batch_size": 2}}', more) $$;
CREATE FUNCTION flagged(severity float8) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT (severity > 1)::int $$;
CREATE TABLE m AS SELECT w, amad_fit(small(advanced('flatline_weight', w)), ts, flow, heat, load, valve) AS model
FROM r, unnest('{0,0.6,2}'::numeric[]) w WHERE n <= 1000 GROUP BY w;

-- ---- the model

-- the network does not depend on the weight
SELECT count(DISTINCT d) AS different
FROM (SELECT md5(string_agg(t::text, ' ' ORDER BY t.name)) AS d FROM m, amad_weights(model) t GROUP BY w) x;
-- the evidence of a flatline is proportional to the weight
SELECT w, d ? 'flatline' AS flatline, jsonb_array_length(d->'activity') AS activities,
	round(((d->>'flatline')::float8 / max((d->>'flatline')::float8) OVER ())::numeric, 6) AS worth
FROM m, LATERAL (SELECT amad_describe(model)->'calibration' AS d) x ORDER BY w;
-- the activity of a feature is the quantile 0.01 of its mean steps in windows of 4 and of 32 rows
WITH steps AS (SELECT n, abs(flow - lag(flow) OVER (ORDER BY n)) AS step FROM r WHERE n <= 1000),
windows AS (SELECT n, avg(step) OVER (ORDER BY n ROWS 31 PRECEDING) AS many,
	avg(step) OVER (ORDER BY n ROWS 3 PRECEDING) AS few
	FROM steps)
SELECT abs((d->'calibration'->'activity'->>0)::float8 - (
		SELECT percentile_cont(0.01) WITHIN GROUP (ORDER BY greatest(many, few)) / (d->'scaling'->'std'->>0)::float8
		FROM windows WHERE n > (d->>'context')::int)) < 1e-5 AS flow
FROM m, LATERAL amad_describe(model) d WHERE w = 0.6;
-- a valve that is mostly constant cannot vary less
SELECT amad_describe(model)->'calibration'->'activity'->3 AS valve FROM m WHERE w = 0.6;
-- baselines do not have flatlines
SELECT amad_describe(amad_fit('{"method": "pca", "advanced": {"flatline_weight": 1}}'::jsonb, ts, flow, heat))
	->'calibration' ? 'flatline' AS pca FROM r;

-- ---- evidence

CREATE TABLE results AS SELECT w, n, stuck, quiet, (e).severity, (e).contributions
FROM (SELECT w, n, stuck, quiet, amad_explain(model, ts, flow, heat, load, valve) OVER (PARTITION BY w ORDER BY ts) AS e
	FROM m, r OFFSET 0) x;
-- both the stuck sensor and the hour without changes are found, and little else is flagged
SELECT w, avg(flagged(severity)) FILTER (WHERE stuck AND n > 1325) > 0.9 AS stuck,
	avg(flagged(severity)) FILTER (WHERE quiet AND n > 1445) > 0.9 AS quiet,
	avg(flagged(severity)) FILTER (WHERE n BETWEEN 1001 AND 1299) < 0.15 AS others_seldom
FROM results GROUP BY w ORDER BY w;
-- the stuck sensor has most of the contributions, and not the valve, which may be constant
SELECT w, count(*) AS rows, count(*) FILTER (WHERE (contributions->>'heat')::float8 > 0.5) > 20 AS heat,
	count(*) FILTER (WHERE (contributions->>'valve')::float8 > 0.5) = 0 AS not_valve
FROM results WHERE n BETWEEN 1330 AND 1359 GROUP BY w ORDER BY w;
-- rows are normal again once the values move and the longest horizon has passed
SELECT w, avg(flagged(severity)) < 0.2 AS over, max(severity) < 2 AS none
FROM results WHERE w < 2 AND n BETWEEN 1360 + 16 + 4 AND 1419 GROUP BY w ORDER BY w;

-- ---- a row's score does not depend on where reading begins, or on the function

SELECT count(*) AS rows, count(*) FILTER (WHERE x.s IS DISTINCT FROM y.severity) AS differ
FROM (SELECT n, amad_score(model, ts, flow, heat, load, valve) OVER (ORDER BY ts) AS s FROM m, r
	WHERE w = 0.6 AND n >= 1234) x JOIN results y USING (n) WHERE y.w = 0.6 AND x.s IS NOT NULL;

-- ---- missing values are not a flatline

CREATE TABLE missing AS SELECT n, ts, flow, CASE WHEN n BETWEEN 1200 AND 1239 THEN NULL ELSE heat END AS heat,
	load, valve
FROM r WHERE n <= 1290;
SELECT count(*) AS rows, max(s) < 2 AS quiet
FROM (SELECT n, amad_score(model, ts, flow, heat, load, valve) OVER (ORDER BY ts) AS s FROM m, missing WHERE w = 2) x
WHERE n > 1240 AND s IS NOT NULL;
-- a feature given in three of four rows has an activity; one given in every second row, and so without known steps,
-- does not have one
CREATE TABLE holes AS SELECT n, ts, flow, CASE WHEN n % 4 > 0 THEN heat END AS heat,
	CASE WHEN n % 2 = 0 THEN load END AS load,
	valve FROM r WHERE n <= 1000;
SELECT (a->>1)::float8 > 0 AS three_of_four, (a->>2)::float8 AS seconds
FROM (SELECT amad_describe(amad_fit(small(), ts, flow, heat, load, valve))->'calibration'->'activity' AS a
	FROM holes) x;
-- no evidence while the values are missing, nor in the ten rows after a long hole, as half of a window's steps must be
-- known
CREATE TABLE long_hole AS SELECT n, ts, flow, CASE WHEN n NOT BETWEEN 1325 AND 1345 THEN heat END AS heat, load, valve
FROM r;
CREATE TABLE heat AS SELECT n, (c->>'heat')::float8 AS share
FROM (SELECT n, (amad_explain(model, ts, flow, heat, load, valve) OVER (ORDER BY ts)).contributions AS c
	FROM m, long_hole WHERE w = 2) x;
SELECT count(*) FILTER (WHERE share > 0) > 0 AS before,
	count(*) FILTER (WHERE n BETWEEN 1330 AND 1345 AND share > 0.5) AS missing,
	count(*) FILTER (WHERE n BETWEEN 1346 AND 1355 AND share > 0.5) AS returned
FROM heat;

-- ---- short contexts, few rows, constants: scores are numbers

CREATE TABLE few AS SELECT n, CASE WHEN n > 250 THEN 0 ELSE noise(n, 1) END AS a, 7 AS b FROM generate_series(1, 300) n;
CREATE TABLE few_m AS SELECT amad_fit('{"layers": 1, "d_model": 4, "heads": 1, "steps": 2, "horizons": [1, 2],
	"advanced": {"chunk_length": 8, "batch_size": 1}}' || jsonb_build_object('window', w), n, a, b) AS model
FROM few, unnest('{1,4,20,64}'::int[]) w WHERE n <= 200 GROUP BY w;
SELECT context, count(s) AS scored, count(*) FILTER (WHERE s = 'NaN' OR s = 'Infinity') AS not_finite
FROM (SELECT (amad_describe(model)->>'context')::int AS context,
		amad_score(model, n, a, b) OVER (PARTITION BY model::text ORDER BY n) AS s FROM few, few_m) y
GROUP BY context ORDER BY context;

-- ---- fleets, lookahead, recalibration

CREATE TABLE fleet AS SELECT s, n, ts, flow * k AS flow, heat * k AS heat, load
FROM r, (VALUES ('a', 1), ('b', 50)) v(s, k);
SELECT amad_train('flatline', 'SELECT * FROM flatline_test.fleet WHERE n <= 1000', 'ts', '{flow,heat,load}', '{s}',
	options => small('{"lookahead": 4}') - 'features')->'series' AS series;
-- the stuck sensor is found in each series, and few other rows are flagged
SELECT s, avg(flagged(severity)) FILTER (WHERE n BETWEEN 1330 AND 1355) > 0.9 AS stuck,
	avg(flagged(severity)) FILTER (WHERE n BETWEEN 1001 AND 1299) < 0.15 AS others_seldom
FROM (SELECT s, n, amad_score('flatline', jsonb_build_object('s', s), ts, flow, heat, load) OVER (PARTITION BY s
	ORDER BY ts)
		AS severity FROM fleet) x GROUP BY s ORDER BY s;
-- a series may become slow without a fault: recalibrated on its new rows, it is not flagged any more
CREATE TABLE slow AS SELECT s, n, ts + interval '2 days' AS ts, CASE WHEN n > 400 THEN flow / 20 ELSE flow END AS flow,
	CASE WHEN n > 400 THEN heat / 20 ELSE heat END AS heat, load FROM fleet WHERE n <= 1200;
SELECT amad_recalibrate('flatline', source => 'flatline_test.slow',
	since => (SELECT ts FROM slow WHERE n = 500 LIMIT 1),
	until => (SELECT ts FROM slow WHERE n = 900 LIMIT 1))->'flagged_before' AS flagged_before;
SELECT avg(flagged(severity)) < 0.2 AS seldom
FROM (SELECT n, amad_score('flatline', jsonb_build_object('s', s), ts, flow, heat, load) OVER (PARTITION BY s
	ORDER BY ts)
		AS severity FROM slow) x WHERE n > 900;
SELECT version, round_trip(model) FROM amad_models WHERE model_name = 'flatline' ORDER BY version;
SELECT amad_drop('flatline');

SET client_min_messages = warning;
DROP SCHEMA flatline_test CASCADE;
