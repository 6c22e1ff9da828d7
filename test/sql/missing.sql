--
-- Missing values in scoring: they are replaced by the last value for up to fill_limit rows, then by the mean, and do
-- not count in the score. A score is the same wherever the range of a query begins; from warmup + fill_limit rows after
-- that on, every row that can have a score has one.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
-- compiling would take longer than everything else: the planner overestimates the rows
SET jit = off;
CREATE TABLE r AS
SELECT n, n AS t, sin(n * 0.3) AS a, cos(n * 0.17) * 10 + 100 AS b, (hashint8(n) % 1000) / 1000.0::float8 AS c
FROM generate_series(1::bigint, 360) n;
CREATE FUNCTION small(more jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT merged(tiny('{"window": 4, "steps": 8, "horizons": [2, 5], "advanced": {"flatline_weight": 0, "relation_weight": 0}}'), more) $$;
-- all trained on the same rows, without missing values; the network's warm-up is 3 + 14 + 1 + 4 rows
CREATE TABLE m (what text, options jsonb, model amad_model);
INSERT INTO m SELECT what, o, amad_fit(small(o), t, a, b, c)
FROM r, (VALUES ('default', '{}'::jsonb), ('0', '{"fill_limit": 0}'), ('1', '{"fill_limit": 1}'),
	('3', '{"fill_limit": 3}'),
	('20', '{"fill_limit": 20}'), ('error', '{"missing": "error", "fill_limit": 3}'),
	('linear', '{"missing": "linear", "fill_limit": 3}'), ('single', '{"horizons": [1], "fill_limit": 3, "advanced": {"state_weight": 0}}'),
	('related', '{"fill_limit": 3, "advanced": {"relation_weight": 20}}'), ('pca', '{"method": "pca", "fill_limit": 3}'), ('zscore', '{"method": "zscore", "fill_limit": 3}')) AS v(what, o)
GROUP BY what, o;
SELECT what, d->'options'->'fill_limit' AS fill_limit, d->'context' AS context, d->'warmup' AS warmup
FROM m, amad_describe(model) d ORDER BY what COLLATE "C";
-- the row where the stretch of a row begins
CREATE FUNCTION stretch_of(n bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE WHEN n > 270 THEN 271 WHEN n > 200 THEN 201 ELSE 1 END::bigint $$;
-- number of rows that a model's scores depend on
CREATE TABLE depths AS
SELECT what, (d->>'warmup')::int AS warmup, (d->'options'->>'fill_limit')::int AS fill_limit
FROM m, amad_describe(model) d;

-- Rows with missing values: at random, in dead columns, in whole rows, in a column that starts late; and two gaps.
CREATE TABLE holes AS
SELECT n, CASE WHEN n > 270 THEN t + 1000 WHEN n > 200 THEN t + 100 ELSE t END AS t,
	CASE WHEN hashint8(n + 1000) % 7 <> 0 AND n NOT BETWEEN 60 AND 63 THEN a END AS a,
	CASE WHEN hashint8(n + 2000) % 5 <> 0 AND n NOT BETWEEN 100 AND 150 AND n NOT IN (61, 62, 63, 170) THEN b
		ELSE 'NaN' END AS b,
	CASE WHEN hashint8(n + 3000) % 9 <> 0 AND n >= 31 AND n NOT BETWEEN 60 AND 65 AND n NOT BETWEEN 271 AND 290
			AND n NOT BETWEEN 140 AND 144 THEN c ELSE 'Infinity' END AS c
FROM r;
SELECT count(*) FILTER (WHERE a IS NULL) AS a, count(*) FILTER (WHERE b = 'NaN') AS b,
	count(*) FILTER (WHERE c = 'Infinity') AS c,
	count(*) FILTER (WHERE a IS NULL AND b = 'NaN' AND c = 'Infinity') AS whole FROM holes;
CREATE TABLE results AS
SELECT what, n, (e).*
FROM (SELECT what, n, amad_explain(model, t, a, b, c) OVER (PARTITION BY what ORDER BY t) AS e
	FROM m, holes OFFSET 0) x;
SELECT what, count(*) AS rows, count(severity) AS scored, count(*) FILTER (WHERE status = 'null_input') AS null_input,
	count(*) FILTER (WHERE status = 'warmup') AS warmup, count(*) FILTER (WHERE status = 'gap') AS gap,
		count(imputed) AS imputed
FROM results GROUP BY what ORDER BY what COLLATE "C";

-- ---- wherever a range begins and ends

-- no score differs, and no score is missing if the range has the rows it depends on
CREATE TABLE ranges AS
SELECT i * 13 - 12 AS first, CASE i % 3 WHEN 0 THEN 360 ELSE i * 13 + 30 + abs(hashint4(i)) % 100 END AS last
FROM generate_series(1, 26) i;
SELECT what, count(*) AS ranges, sum(scored) AS scored, sum(differ) AS differ, sum(lacking) AS lacking
FROM m JOIN depths USING (what), ranges, LATERAL (
	SELECT count(s) AS scored,
		count(*) FILTER (WHERE s IS NOT NULL AND float8send(s) IS DISTINCT FROM float8send(severity)) AS differ,
		count(*) FILTER (WHERE s IS NULL AND severity IS NOT NULL
						 AND x.n - greatest(first, stretch_of(x.n)) >= warmup + fill_limit) AS lacking
	FROM (SELECT n, amad_score(model, t, a, b, c) OVER (ORDER BY t) AS s FROM holes WHERE n BETWEEN first AND last) x
		JOIN results ON results.n = x.n AND results.what = m.what) y
GROUP BY what ORDER BY what COLLATE "C";
-- every row that can have a score has one, warmup + fill_limit rows after its stretch began
SELECT what, count(severity) AS scored, count(*) FILTER (
	WHERE (severity IS NULL) <> (imputed = '{1,2,3}' OR (what = 'error' AND imputed IS NOT NULL)) IS TRUE) AS wrong
FROM results JOIN depths USING (what) WHERE n - stretch_of(n) >= warmup + fill_limit GROUP BY what
ORDER BY what COLLATE "C";
-- no row has one within `warmup` rows
SELECT count(severity) AS scored FROM results JOIN depths USING (what) WHERE n - stretch_of(n) < warmup;

-- ---- what replaces a missing value

-- by hand, column by column: the last value of the stretch, fill_limit rows old at most, else the mean
CREATE TABLE filled AS
WITH long AS (
	SELECT what, model, n, t, col, x, fill_limit, mean, stretch_of(n) AS begins
	FROM m JOIN depths USING (what), amad_describe(model) d, holes,
		LATERAL (VALUES ('a', a, (d->'scaling'->'mean'->>0)::float8),
			('b', nullif(b, 'NaN'), (d->'scaling'->'mean'->>1)::float8),
			('c', nullif(c, 'Infinity'), (d->'scaling'->'mean'->>2)::float8)) AS v(col, x, mean)
), last AS (
	SELECT *, max(n) FILTER (WHERE x IS NOT NULL) OVER (PARTITION BY what, col, begins ORDER BY n) AS known FROM long
), carried AS (
	SELECT l.what, l.n, l.t, l.col, CASE WHEN l.n - l.known <= l.fill_limit THEN k.x ELSE l.mean END AS x
	FROM last l LEFT JOIN long k ON k.what = l.what AND k.col = l.col AND k.n = l.known
)
SELECT what, n, t, max(x) FILTER (WHERE col = 'a') AS a, max(x) FILTER (WHERE col = 'b') AS b,
	max(x) FILTER (WHERE col = 'c') AS c
FROM carried GROUP BY what, n, t;
CREATE TABLE by_hand AS
SELECT what, n, (e).*
FROM (SELECT what, n, amad_explain(model, t, a, b, c) OVER (PARTITION BY what ORDER BY t) AS e
	FROM m JOIN filled USING (what) OFFSET 0) x;
-- the model expects the same
SELECT what, count(s.expected_values) AS expected,
	count(*) FILTER (WHERE s.expected_values = h.expected_values) AS same,
	bool_and(h.imputed IS NULL) AS all_given
FROM results s JOIN by_hand h USING (what, n) GROUP BY what ORDER BY what COLLATE "C";
-- The squared residuals that are usual while values are missing, relative to those in complete rows: the figures of the
-- model, weighted by the share of incomplete rows among the row and those it depends on, which are 64 rows at most.
CREATE TABLE usual AS
SELECT what, n, 1 + incomplete * (rho_a - 1) AS a, 1 + incomplete * (rho_b - 1) AS b, 1 + incomplete * (rho_c - 1) AS c
FROM m, LATERAL (SELECT (d->>'context')::int AS context,
		(d #>> '{calibration,rho_incomplete,0}')::float8 / (d #>> '{calibration,rho,0}')::float8 AS rho_a,
		(d #>> '{calibration,rho_incomplete,1}')::float8 / (d #>> '{calibration,rho,1}')::float8 AS rho_b,
		(d #>> '{calibration,rho_incomplete,2}')::float8 / (d #>> '{calibration,rho,2}')::float8 AS rho_c
	FROM amad_describe(model) d) f,
	LATERAL (SELECT x.n, count(*) FILTER (WHERE y.a IS NULL OR y.b = 'NaN' OR y.c = 'Infinity')::float8
			/ least(context + 1, 64) AS incomplete
		FROM holes x JOIN holes y ON y.n BETWEEN greatest(x.n - least(context, 63), stretch_of(x.n)) AND x.n
		GROUP BY x.n) i;
SELECT what, min(least(a, b, c)) >= 1 AS not_less FROM usual WHERE what IN ('default', 'single') GROUP BY what ORDER BY what;
-- Contributions of the values that are given, by hand: shares of a sum, given.
CREATE TABLE shares AS
SELECT what, n, k, (h.contributions->>k)::float8 / CASE k WHEN '1' THEN a WHEN '2' THEN b ELSE c END AS share
FROM by_hand h JOIN usual USING (what, n), unnest('{1,2,3}'::text[]) k WHERE h.contributions IS NOT NULL;
CREATE INDEX ON shares (what, n);
ANALYZE shares, results, by_hand;
-- so are the directions of the given values, and the proportions of their contributions
SELECT what, count(*) AS values,
	count(*) FILTER (WHERE s.direction->k IS DISTINCT
		FROM CASE WHEN k = ANY (s.imputed) THEN '0' ELSE h.direction->k END) AS wrong_directions,
	count(*) FILTER (WHERE k = ANY (s.imputed) AND s.contributions->>k <> '0.000000') AS imputed_blamed,
	count(*) FILTER (WHERE k <> ALL (s.imputed)
					 AND abs((s.contributions->>k)::float8 * given - share) > 5e-6) AS wrong_shares
FROM results s JOIN by_hand h USING (what, n) JOIN shares USING (what, n),
	LATERAL (SELECT sum(share) AS given FROM shares g WHERE g.what = s.what AND g.n = s.n AND g.k <> ALL (s.imputed)) g
WHERE what <> 'related' AND s.contributions IS NOT NULL AND s.imputed IS NOT NULL GROUP BY what ORDER BY what COLLATE "C";
-- The score of a single row (horizon 1) is the mean over the given values, that is, the score by hand times the share
-- of these values, times 3, divided by their number.
SELECT count(*) AS rows, count(DISTINCT cardinality(s.imputed)) AS numbers,
	count(*) FILTER (WHERE abs(s.anomaly_score - h.anomaly_score * given * 3 / (3 - cardinality(s.imputed)))
		> 1e-5 * h.anomaly_score) AS wrong
FROM results s JOIN by_hand h USING (what, n),
	LATERAL (SELECT sum(share) AS given FROM shares g WHERE g.what = s.what AND g.n = s.n AND g.k <> ALL (s.imputed)) g
WHERE what = 'single' AND s.imputed IS NOT NULL AND s.severity IS NOT NULL;
SELECT count(*) AS rows, count(*) FILTER (WHERE abs(s.anomaly_score - h.anomaly_score * given) > 1e-5 * h.anomaly_score) AS wrong
FROM results s JOIN by_hand h USING (what, n),
	LATERAL (SELECT sum(share) AS given FROM shares g WHERE g.what = s.what AND g.n = s.n) g
WHERE what = 'single' AND s.imputed IS NULL AND s.severity IS NOT NULL;

-- ---- policies

-- a line to the next value would look ahead: in scoring, "linear" is the same as "locf"
SELECT count(l.severity) AS scored,
	count(*) FILTER (WHERE float8send(l.severity) IS DISTINCT FROM float8send(c.severity)) AS differ
FROM results l JOIN results c USING (n) WHERE l.what = 'linear' AND c.what = '3';
-- with "error", rows with missing values have no score and the status null_input
SELECT count(e.severity) AS scored, count(*) FILTER (WHERE float8send(e.severity) IS DISTINCT FROM
		CASE WHEN c.imputed IS NULL THEN float8send(c.severity) END) AS differ,
	count(*) FILTER (WHERE e.severity IS NULL AND c.severity IS NOT NULL AND e.status <> 'null_input') AS wrong_status
FROM results c JOIN results e USING (n) WHERE c.what = '3' AND e.what = 'error';

-- ---- rows without any value

SELECT what, count(*) AS rows, count((e).severity) AS scored, string_agg(DISTINCT (e).status, ', ') AS status,
	count((e).expected_values) AS expected,
	count(*) FILTER (WHERE (e).imputed = '{1,2,3}') AS imputed
FROM (SELECT what, amad_explain(model, t, NULL::float8, NULL::float8, NULL::float8) OVER (PARTITION BY what
	ORDER BY t) AS e
	FROM m, r WHERE what IN ('0', 'default', 'zscore') AND n <= 100) x
GROUP BY what ORDER BY what;
-- they add nothing to the following scores: the raw scores of the horizons' other rows remain
SELECT count(severity) AS scored, count(DISTINCT round(severity::numeric, 12)) AS different,
	array_agg(n ORDER BY n) FILTER (WHERE severity IS NULL AND n > 10) AS without
FROM (SELECT n, amad_score(model, t, 2 + nothing, 110 + nothing, 1 + nothing) OVER (ORDER BY t) AS severity
	FROM m, (SELECT *, CASE WHEN n NOT IN (100, 102, 103) THEN 0 END AS nothing FROM r) r WHERE what = 'zscore') x;
-- also when they last as long as the longest horizon
SELECT count(severity) AS scored, count(DISTINCT round(severity::numeric, 12)) AS different,
	count(*) FILTER (WHERE severity IS NULL AND n BETWEEN 100 AND 120) AS without
FROM (SELECT n, amad_score(model, t, 2 + nothing, 110 + nothing, 1 + nothing) OVER (ORDER BY t) AS severity
	FROM m, (SELECT *, CASE WHEN n NOT BETWEEN 100 AND 120 THEN 0 END AS nothing FROM r) r WHERE what = 'zscore') x;

DROP FUNCTION small, stretch_of;
DROP TABLE r, m, depths, holes, results, ranges, filled, by_hand, usual, shares;
