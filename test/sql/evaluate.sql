--
-- amad_evaluate: values of independent reference implementations, the definitions written out
-- in SQL on pseudo-random rows, and every case in which a metric is undefined.
--
SET timezone = 'UTC';
CREATE SCHEMA evaluate;
SET search_path = evaluate, public;
-- large plans of small tables
SET jit = off;

-- ---- reference values, to within 1e-6

\set reference `cat "$PG_ABS_SRCDIR/reference/metrics.json"`
CREATE TABLE reference AS
SELECT c->>'name' AS name, c - '{name,score,label}'::text[] AS expected, c->'score' AS score, c->>'label' AS label
FROM jsonb_array_elements(:'reference'::jsonb->'cases') c;
CREATE TABLE scored AS
SELECT name, i::int, s::float8 AS score, substr(label, i::int, 1)::int AS label
FROM reference, jsonb_array_elements(score) WITH ORDINALITY x(s, i);
CREATE TABLE evaluated AS
SELECT name, expected,
	amad_evaluate(score, label, jsonb_build_object('threshold', expected->'threshold') ORDER BY i) AS result
FROM (SELECT name, expected FROM reference) r JOIN scored USING (name) GROUP BY name, expected;
SELECT name, count(*) AS compared,
	count(*) FILTER (WHERE abs(got - want) <= 1e-6 OR (got IS NULL AND want IS NULL)) AS same
FROM evaluated, jsonb_each(expected) e(key, value),
	LATERAL (SELECT (result->>CASE key WHEN 'events_found' THEN 'events_detected' ELSE key END)::float8 AS got,
			 (expected->>key)::float8 AS want) x
GROUP BY name ORDER BY name COLLATE "C";
SELECT name, key, round(value::text::numeric, 3) AS value
FROM evaluated, jsonb_each(result - '{window,threshold,excluded}'::text[]) r(key, value)
WHERE name IN ('real_omi-2', 'ties') AND jsonb_typeof(value) = 'number' ORDER BY name COLLATE "C", key COLLATE "C";

-- ---- the definitions, on pseudo-random rows with ties and events close together

CREATE FUNCTION near(a jsonb, b float8) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
	SELECT abs(a::text::float8 - b) < 1e-9 $$;
CREATE TABLE r AS
SELECT i, ((i::bigint * i * 7919 + i * 104729) % 1009) % 37 / 10.0::float8 AS score,
	(i * i / 90 % 11 < 4)::int AS label, timestamptz '2026-01-01' + i * interval '1 min' AS ts
FROM generate_series(0, 299) i;
SELECT amad_evaluate(score, label ORDER BY i) AS e FROM r \gset
SELECT count(*) AS rows, count(DISTINCT score) AS scores, sum(label) AS anomalies, :'e'::jsonb->'events' AS events
FROM r;
-- average precision and best F1, rows of equal score together
WITH ranked AS (
	SELECT score, label, sum(label) OVER w AS hits, count(*) OVER w AS n, sum(label) OVER () AS p
	FROM r WINDOW w AS (ORDER BY score DESC)
), best AS (
	SELECT score, 2.0 * hits / (n + p) AS f1 FROM ranked ORDER BY f1 DESC, score DESC LIMIT 1
)
SELECT near(:'e'::jsonb->'auc_pr', (SELECT sum(label * hits::float8 / n) / sum(label) FROM ranked)) AS auc_pr,
	near(:'e'::jsonb->'best_f1', f1) AS best_f1, near(:'e'::jsonb->'best_f1_threshold', score) AS best_f1_threshold
FROM best;
-- the share of pairs in the right order; ties count as half
SELECT near(:'e'::jsonb->'auc_roc',
	avg(CASE WHEN a.score > b.score THEN 1.0 WHEN a.score = b.score THEN 0.5 ELSE 0 END)) AS auc_roc
FROM r a, r b WHERE a.label = 1 AND b.label = 0;
-- point adjustment, at every threshold
CREATE TABLE event AS
SELECT min(i) AS s, max(i) AS e, max(score) AS peak
FROM (SELECT i, score, i - row_number() OVER (ORDER BY i) AS island FROM r WHERE label = 1) x GROUP BY island;
CREATE VIEW adjusted AS
SELECT t, tp, fp, tp::float8 / p AS recall, 2.0 * tp / (tp + fp + p) AS f1, tp::float8 / nullif(tp + fp, 0) AS precision
FROM (SELECT DISTINCT score AS t FROM r UNION SELECT 1) t,
	LATERAL (SELECT coalesce(sum(e - s + 1), 0) AS tp FROM event WHERE peak >= t) x,
	LATERAL (SELECT count(*) AS fp FROM r WHERE label = 0 AND score >= t) y, (SELECT sum(label) AS p FROM r) z;
SELECT near(:'e'::jsonb->'best_point_adjusted_f1', max(f1)) AS best FROM adjusted;
SELECT near(:'e'::jsonb->'point_adjusted_f1', f1) AS f1,
	near(:'e'::jsonb->'point_adjusted_precision', precision) AS precision,
	near(:'e'::jsonb->'point_adjusted_recall', recall) AS recall FROM adjusted WHERE t = 1;
-- affiliation: the integrands are linear between quarters of a row, so sums over their middles are exact
CREATE FUNCTION affiliation(threshold float8) RETURNS float8[] LANGUAGE sql AS $$
	WITH zone AS (
		SELECT s AS j0, e + 1.0 AS j1, coalesce((lag(e + 1) OVER w + s) / 2.0, 0) AS e0,
			coalesce((e + 1 + lead(s) OVER w) / 2.0, (SELECT count(*) FROM r)) AS e1
		FROM event WINDOW w AS (ORDER BY s)
	), point AS (
		SELECT z.*, i + q / 4.0 + 0.125 AS x, r.score >= threshold AS flagged
		FROM zone z, r, generate_series(0, 3) q WHERE i + q / 4.0 >= e0 AND i + q / 4.0 < e1
	), precise AS (
		SELECT j0, avg(CASE WHEN d = 0 THEN 1
			ELSE (greatest(0, j0 - d - e0) + greatest(0, e1 - j1 - d)) / (e1 - e0) END) AS p
		FROM point, LATERAL (SELECT greatest(0, j0 - x, x - j1) AS d) y WHERE flagged GROUP BY j0
	), recalled AS (
		SELECT j0, avg(CASE WHEN d IS NULL THEN 0 WHEN d = 0 THEN 1
					   ELSE (greatest(0, x - d - e0) + greatest(0, e1 - x - d)) / (e1 - e0) END) AS r
		FROM point y, LATERAL (SELECT CASE WHEN y.flagged THEN 0 ELSE min(abs(x.x - y.x)) - 0.125 END AS d
							   FROM point x WHERE x.j0 = y.j0 AND x.flagged) n
		WHERE x > j0 AND x < j1 GROUP BY j0
	)
	SELECT ARRAY[(SELECT avg(p) FROM precise), (SELECT avg(r) FROM recalled)] $$;
SELECT t, near(e->'affiliation_precision', a[1]) AS precision, near(e->'affiliation_recall', a[2]) AS recall,
	near(e->'affiliation_f1', 2 * a[1] * a[2] / (a[1] + a[2])) AS f1, e->'flagged' AS flagged
FROM (VALUES (0), (1), (2.5), (3.4), (3.6)) v(t), LATERAL (SELECT affiliation(t) AS a) x,
	LATERAL (SELECT amad_evaluate(score, label, jsonb_build_object('threshold', t) ORDER BY i) AS e FROM r) y;
-- volume under the surface
ANALYZE r, event;
CREATE FUNCTION vus(most int) RETURNS float8[] LANGUAGE sql AS $$
	WITH buffer AS (
		SELECT generate_series(0, most) AS w
	), weight AS MATERIALIZED (
		SELECT w, i, score, least(1, label + (SELECT coalesce(sum(sqrt(1 - d::float8 / w)), 0) FROM event,
											  LATERAL (SELECT greatest(s - i, i - e) AS d) x
											  WHERE d BETWEEN 1 AND w / 2)) AS weight, label
		FROM buffer, r
	), widened AS (
		SELECT w, min(s) - w / 2 AS s, max(e) + w / 2 AS e
		FROM (SELECT *, sum(fresh::int) OVER (PARTITION BY w ORDER BY s) AS island
			  FROM (SELECT w, s, e, coalesce(lag(e) OVER (PARTITION BY w ORDER BY s) + w / 2 < s - w / 2, true) AS fresh
					FROM buffer, event) x) y
		GROUP BY w, island
	), peaks AS MATERIALIZED (
		SELECT w, (SELECT max(score) FROM r WHERE i BETWEEN s AND e) AS peak FROM widened
	), level AS MATERIALIZED (
		-- a repeated threshold adds nothing to an area
		SELECT row_number() OVER (ORDER BY t DESC) AS k, t
		FROM (SELECT DISTINCT (array_agg(score ORDER BY score DESC))[1 + floor(j * ((count(*) - 1) / 249::float8))] AS t
			  FROM r, generate_series(0, 249) j GROUP BY j) x
	), counted AS (
		SELECT w, k, count(*) AS flagged, sum(weight) AS tp, sum(weight) FILTER (WHERE label = 0) AS extra,
			(SELECT avg((peak >= t)::int) FROM peaks x WHERE x.w = y.w) AS found
		FROM weight y, level WHERE score >= t GROUP BY w, k, t
	), curve AS (
		SELECT w, k, recall, (flagged - tp) / (n - positives) AS fallout, tp / flagged AS precision
		FROM counted, LATERAL (SELECT p + coalesce(extra, 0) / 2 AS positives, n
			FROM (SELECT sum(label) AS p, count(*) AS n FROM r) x) y,
			LATERAL (SELECT least(1, tp / positives) * found AS recall) z
		UNION ALL SELECT w, 0, 0, 0, NULL FROM buffer
		UNION ALL SELECT w, 251, 1, 1, 0 FROM buffer
	)
	SELECT ARRAY[sum((recall - lag_recall) * precision) FILTER (WHERE k < 251) / (most + 1),
				 sum((fallout - lag_fallout) * (recall + lag_recall) / 2) / (most + 1)]
	FROM (SELECT *, lag(recall) OVER o AS lag_recall, lag(fallout) OVER o AS lag_fallout
		FROM curve WINDOW o AS (PARTITION BY w ORDER BY k)) x $$;
SELECT most, near(e->'vus_pr', v[1]) AS vus_pr, near(e->'vus_roc', v[2]) AS vus_roc, e->'window' AS window
FROM (VALUES (0), (1), (12), (25)) m(most), LATERAL (SELECT vus(most) AS v) x,
	LATERAL (SELECT amad_evaluate(score, label, jsonb_build_object('window', most) ORDER BY i) AS e FROM r) y;
-- events, alarms and delays
WITH alarm AS (
	SELECT min(i) AS s, sum(label) AS touched
	FROM (SELECT i, label, i - row_number() OVER (ORDER BY i) AS island FROM r WHERE score >= 1) x GROUP BY island
), delay AS (
	SELECT (SELECT min(i) FROM r WHERE i BETWEEN s AND e AND score >= 1) - s AS delay FROM event
)
SELECT (SELECT count(*) FROM alarm) = (:'e'::jsonb->'alarms')::int AS alarms,
	(SELECT count(*) FROM alarm WHERE touched = 0) = (:'e'::jsonb->'false_alarms')::int AS false_alarms,
	count(delay) = (:'e'::jsonb->'events_detected')::int AS events_detected,
	near(:'e'::jsonb->'event_recall', count(delay)::float8 / count(*)) AS event_recall,
	near(:'e'::jsonb->'delay_rows_mean', avg(delay)) AS mean,
	near(:'e'::jsonb->'delay_rows_median', percentile_cont(0.5) WITHIN GROUP (ORDER BY delay)) AS median
FROM delay;

-- ---- rows in any order, labels and scores of any type

CREATE FUNCTION same(VARIADIC results jsonb[]) RETURNS boolean LANGUAGE sql AS $$
	SELECT count(*) = cardinality(results) AND count(DISTINCT e) = 1 FROM unnest(results) e $$;
SELECT same(:'e', amad_evaluate(score, label ORDER BY ts), amad_evaluate(score, label = 1 ORDER BY i),
			amad_evaluate(score, label::smallint ORDER BY i), amad_evaluate(score, label::bigint ORDER BY i),
			amad_evaluate(score, label::real ORDER BY i), amad_evaluate(score, label::float8 ORDER BY i),
			amad_evaluate(score, label::numeric ORDER BY i), amad_evaluate(score::numeric, label ORDER BY i),
			amad_evaluate(score, label, NULL ORDER BY i), amad_evaluate(score, label, '{}' ORDER BY i),
			amad_evaluate(score, label, '{"threshold": 1.0, "window": 100}' ORDER BY i),
			amad_evaluate(score, label = 1, '{"threshold": 1}' ORDER BY i)) AS untimed,
	same(amad_evaluate(score::real, label ORDER BY i), amad_evaluate(score::real::float8, label ORDER BY i)) AS real,
	same(amad_evaluate(round(score)::int, label ORDER BY i), amad_evaluate(round(score), label ORDER BY i)) AS int
	FROM r;
SELECT same(amad_evaluate(ts, score, label), amad_evaluate(ts, score, label ORDER BY score),
		amad_evaluate(ts, score, label = 1 ORDER BY ts DESC), amad_evaluate(ts::timestamp, score, label::numeric),
		amad_evaluate(ts, score, label, '{"threshold": 1}' ORDER BY score DESC),
		amad_evaluate(ts::timestamp, score, label = 1, '{"window": 100}'),
		amad_evaluate(ts, score, label::smallint, NULL)) AS timed,
	amad_evaluate(ts, score, label) - '{delay_seconds_mean,delay_seconds_median,false_alarms_per_day}'::text[]
		= :'e'::jsonb - '{delay_seconds_mean,delay_seconds_median,false_alarms_per_day}'::text[] AS as_untimed FROM r;
-- these metrics do not depend on the order of rows
SELECT count(DISTINCT e) FROM (SELECT n, (SELECT amad_evaluate(score, label ORDER BY (i * n) % 307) FROM r) AS r
	FROM generate_series(1, 5) n) x,
	LATERAL (SELECT (SELECT jsonb_object_agg(key, value) FROM jsonb_each(r)
		WHERE key = ANY ('{auc_pr,auc_roc,best_f1,best_f1_threshold,precision,recall,f1,flagged,anomalies}')) AS e) y;
-- only the order of scores and the threshold matter
SELECT same(:'e'::jsonb - '{best_f1_threshold,threshold}'::text[],
	amad_evaluate(exp(score) - 7, label, jsonb_build_object('threshold', exp(1::float8) - 7) ORDER BY i)
		- '{best_f1_threshold,threshold}'::text[]) AS monotone FROM r;

-- ---- time

CREATE TABLE t (ts timestamptz, score float8, label boolean);
INSERT INTO t VALUES
	('2026-01-01 00:00', 0.5, false), ('2026-01-01 01:00', 1.5, false), ('2026-01-01 02:00', 0.4, true),
	('2026-01-01 02:30', 0.9, true), ('2026-01-01 02:31', 1, true), ('2026-01-01 03:00', 3, false),
	('2026-01-01 04:00', 2, true), ('2026-01-01 05:00', 0, false), ('2026-01-01 06:00', 0, true),
	('2026-01-01 07:00', 0, false), ('2026-01-01 08:00', 1, false), ('2026-01-01 22:00', 1, false);
CREATE FUNCTION detected(e jsonb) RETURNS TABLE (events jsonb, found jsonb, recall jsonb, rows_mean jsonb,
	rows_median jsonb, seconds_mean jsonb, seconds_median jsonb,
	alarms jsonb, false_alarms jsonb, a_day jsonb, a_1000 jsonb, excluded jsonb) LANGUAGE sql AS $$
	SELECT e->'events', e->'events_detected', e->'event_recall', e->'delay_rows_mean', e->'delay_rows_median',
		e->'delay_seconds_mean', e->'delay_seconds_median',
		e->'alarms', e->'false_alarms', e->'false_alarms_per_day', e->'false_alarms_per_1000_rows', e->'excluded' $$;
-- three events, detected after 31 minutes, at once and never; two false alarms, as an alarm that starts in an event is
-- not false; 12 rows that span 22 hours count as 24 hours
SELECT d.* FROM (SELECT amad_evaluate(ts, score, label) AS e FROM t) x, detected(e) d;
SELECT d.* FROM (SELECT amad_evaluate(score, label ORDER BY ts) AS e FROM t) x, detected(e) d;
SELECT d.* FROM (SELECT amad_evaluate(score, label, '{"rows_per_day": 6}' ORDER BY ts) AS e FROM t) x, detected(e) d;
SELECT d.* FROM (SELECT amad_evaluate(score, label, '{"threshold": 9}' ORDER BY ts) AS e FROM t) x, detected(e) d;
SELECT amad_evaluate(date '2026-01-01' + i, score, label)->'false_alarms_per_day' AS days FROM r
WHERE i BETWEEN 10 AND 30;
-- integers order the rows like ORDER BY; their unit is unknown
SELECT same(amad_evaluate(score, label ORDER BY i), amad_evaluate(i, score, label),
		amad_evaluate(i::bigint, score, label = 1 ORDER BY score),
		amad_evaluate(i::smallint, score, label, NULL)) AS any_integer FROM r;
SELECT same(amad_evaluate(score, label, '{"rows_per_day": 6}' ORDER BY i),
		amad_evaluate(i, score, label, '{"rows_per_day": 6}')) AS rows_per_day FROM r;
-- one row spans no time
SELECT amad_evaluate(ts, score, label)->'false_alarms_per_day' AS one_row FROM t WHERE score = 3;
-- rows without a score or a label are counted and excluded
SELECT same(amad_evaluate(score, label ORDER BY ts) - 'excluded',
	(SELECT amad_evaluate(score, label ORDER BY ts, o) - 'excluded'
	FROM (SELECT ts, 0 AS o, score, label FROM t
		UNION ALL SELECT ts, 1, s, l FROM t, (VALUES (NULL::float8, true), ('NaN', false), (0, NULL)) v(s, l)) x))
	AS left_out FROM t;
SELECT amad_evaluate(score, l)->'excluded' AS nan_label FROM t, (VALUES (1::float8), ('NaN'), (NULL)) v(l);

-- ---- where metrics are undefined

CREATE TABLE edge (n int, what text, scores float8[], labels int[]);
INSERT INTO edge VALUES
	(1, 'no_anomalies', '{0,1,2,0}', '{0,0,0,0}'),
	(2, 'no_anomalies_no_flags', '{0,0.5,0,0}', '{0,0,0,0}'),
	(3, 'no_normal_rows', '{0,1,2,0}', '{1,1,1,1}'),
	(4, 'constant', '{1,1,1,1}', '{0,1,0,0}'),
	(5, 'constant_below', '{0,0,0,0}', '{0,1,0,0}'),
	(6, 'infinite', '{-Infinity,Infinity,0,-Infinity}', '{0,1,0,0}'),
	(7, 'nothing_left', '{NULL,NaN}', '{0,1}'),
	(8, 'one_anomaly', '{1}', '{1}'),
	(9, 'one_normal', '{1}', '{0}');
CREATE TABLE edges AS
SELECT n, what, amad_evaluate(s, l ORDER BY i) AS e FROM edge, LATERAL unnest(scores, labels) WITH ORDINALITY x(s, l, i)
GROUP BY n, what;
SELECT key, max(v) FILTER (WHERE n = 1) AS no_anomalies, max(v) FILTER (WHERE n = 2) AS and_no_flags,
	max(v) FILTER (WHERE n = 3) AS no_normal_rows, max(v) FILTER (WHERE n = 4) AS constant,
	max(v) FILTER (WHERE n = 5) AS constant_below, max(v) FILTER (WHERE n = 6) AS infinite,
	max(v) FILTER (WHERE n = 7) AS nothing_left, max(v) FILTER (WHERE n = 8) AS one_anomaly,
	max(v) FILTER (WHERE n = 9) AS one_normal
FROM edges, jsonb_each(e) j(key, value), LATERAL (
	SELECT CASE jsonb_typeof(value) WHEN 'number' THEN round(value::text::numeric, 4)::text ELSE value::text END AS v) x
GROUP BY key ORDER BY key COLLATE "C";
-- an infinite threshold can be read back
SELECT (e->>'best_f1_threshold')::float8 FROM edges WHERE what = 'infinite';
SELECT amad_evaluate(score, label) IS NULL AS no_rows, amad_evaluate(ts, score, label, '{"x": 1}') IS NULL AS timed
FROM t WHERE false;
-- VUS without normal rows, with events in every second row and at both ends, with a window wider than the series
SELECT w, near(e->'vus_pr', 1) AS one, e->'vus_roc' AS roc FROM (VALUES (0), (10), (1000)) v(w),
	LATERAL (SELECT amad_evaluate(i, true, jsonb_build_object('window', w)) AS e FROM generate_series(1, 10) i) x;
SELECT w, e->'events' AS events, round((e->>'vus_pr')::numeric, 4) AS pr, round((e->>'vus_roc')::numeric, 4) AS roc
FROM (VALUES (0), (10), (1000)) v(w),
	LATERAL (SELECT amad_evaluate(1 + i % 2, i % 2, jsonb_build_object('window', w) ORDER BY i) AS e
		FROM generate_series(1, 1001) i) x;

-- ---- random scores: point adjustment makes them look good

SELECT round((e->>'f1')::numeric, 2) AS f1, (e->>'point_adjusted_f1')::float8 > 0.8 AS adjusted_f1_is_high,
	(e->>'auc_roc')::float8 BETWEEN 0.45 AND 0.55 AS by_chance
FROM (SELECT amad_evaluate(i::bigint * i * 7919 % 10007 / 10007.0, i % 2000 < 200,
		'{"threshold": 0.97}' ORDER BY i) AS e
	FROM generate_series(1, 20000) i) x;

-- ---- groups, filters, plans

SELECT same(:'e', amad_evaluate(score, label ORDER BY i) FILTER (WHERE g = 1)) AS filtered,
	count(*) FILTER (WHERE g = 2) = 300 AS rest FROM r, generate_series(1, 2) g;
SELECT count(*) AS groups, count(DISTINCT e) AS results
FROM (SELECT amad_evaluate(ts, score, label) AS e FROM r, generate_series(1, 50) g GROUP BY g) x;
SELECT amad_evaluate(score, label) OVER (ORDER BY i) FROM r;
SELECT DISTINCT proparallel, provolatile FROM pg_proc WHERE proname LIKE 'amad\_evaluate%';
SELECT count(*) AS aggregates,
	count(*) FILTER (WHERE aggcombinefn = 0 AND aggfinalmodify = 'w'
		AND obj_description(aggfnoid, 'pg_proc') <> '') AS as_declared
FROM pg_aggregate JOIN pg_proc p ON p.oid = aggfnoid WHERE proname = 'amad_evaluate';

-- ---- errors

SELECT amad_evaluate(score, 2) FROM r;
SELECT amad_evaluate(score, -1.0) FROM r;
SELECT amad_evaluate(score, label::text) FROM r;
SELECT amad_evaluate(ts, score, label, '{"rows_per_day": 24}') FROM r;
SELECT amad_evaluate(NULL::timestamptz, score, label) FROM r;
SELECT amad_evaluate(timestamptz '-infinity', score, label) FROM r;
SELECT amad_evaluate(timestamp '200000-01-01', score, label) FROM r;
SELECT amad_evaluate(timestamptz '2026-01-01', score, label) FROM r;
SELECT amad_evaluate(7, score, label) FROM r;
SELECT amad_evaluate(1::bigint << 62, score, label) FROM r;
SELECT amad_evaluate(-1::bigint << 62, score, label) FROM r;
SELECT amad_evaluate(label::numeric, score, label) FROM r;
SELECT amad_evaluate(label > 0, score, label) FROM r;
SELECT amad_evaluate('yesterday at noon', score, label) FROM r;
\set times '{delay_seconds_mean,delay_seconds_median,false_alarms_per_day}'
SELECT same(amad_evaluate(CASE i WHEN 0 THEN '4713-01-01 BC' WHEN 299 THEN '147999-01-01' ELSE ts END, score, label)
		- :'times'::text[], amad_evaluate(ts, score, label) - :'times'::text[]) AS far_times FROM r;
SELECT amad_evaluate(score, label, '{"treshold": 1}') FROM r;
SELECT amad_evaluate(score, label, '[1]') FROM r;
SELECT amad_evaluate(score, label, '{"threshold": "high"}') FROM r;
SELECT amad_evaluate(score, label, '{"threshold": 1e999}') FROM r;
SELECT amad_evaluate(score, label, '{"window": 1001}') FROM r;
SELECT amad_evaluate(score, label, '{"window": 1.5}') FROM r;
SELECT amad_evaluate(score, label, '{"window": null}') FROM r;
SELECT amad_evaluate(score, label, '{"rows_per_day": 0}') FROM r;
SELECT amad_evaluate(score, label, jsonb_build_object('threshold', i)) FROM r;
SELECT amad_evaluate(score, label, jsonb_build_object('threshold', i - i) ORDER BY i)->'threshold' AS same_in_all_rows
FROM r;

-- ---- memory: 16 bytes a row, 40 an event; all groups of a query together

CREATE ROLE amad_regress_low LOGIN;
ALTER ROLE amad_regress_low SET maintenance_work_mem = '1MB';
SELECT current_user AS me \gset
\c - amad_regress_low
SHOW maintenance_work_mem;
SELECT (amad_evaluate(i, i % 1000 < 10)->'rows')::int AS fits FROM generate_series(1, 40000) i;
SELECT amad_evaluate(i, i % 1000 < 10) FROM generate_series(1, 70000) i;
-- after an error, and after each group, the memory is available again
SELECT (amad_evaluate(i, i % 1000 < 10)->'rows')::int AS fits FROM generate_series(1, 40000) i;
SET enable_hashagg = off;
SELECT count(amad_evaluate) AS one_after_another
FROM (SELECT amad_evaluate(i, i % 1000 < 10) FROM generate_series(1, 200000) i GROUP BY i % 5) x;
SET enable_hashagg = on;
SET enable_sort = off;
SELECT count(amad_evaluate) AS at_once
FROM (SELECT amad_evaluate(i, i % 1000 < 10) FROM generate_series(1, 200000) i GROUP BY i % 5) x;
RESET enable_sort;
SELECT amad_evaluate(i, i % 2) FROM generate_series(1, 40000) i;
SELECT amad_evaluate(i, i % 1000 < 10, '{"window": 1000}') FROM generate_series(1, 100) i;
SET maintenance_work_mem = '8MB';
SELECT (amad_evaluate(i, i % 1000 < 10, '{"window": 1000}')->'rows')::int AS fits FROM generate_series(1, 100) i;
\c - :me
DROP ROLE amad_regress_low;
SET client_min_messages = warning;
DROP SCHEMA evaluate CASCADE;
