-- Train on 30 days of normal operation, score the 15 days that follow, compare with the labels.

\pset footer off
\pset border 1
\pset null '-'
SELECT count(*) AS train_rows FROM train \gset
SELECT count(*) AS test_rows, sum(label) AS labelled FROM test \gset

\echo
\echo '1. Train' :entity: '19 server metrics,' :train_rows 'rows of normal operation'
\echo
\set ECHO queries
SELECT amad_train(:'entity', ts, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9,
                  f10, f11, f12, f13, f14, f15, f16, f17, f18) AS summary FROM train \gset
\set ECHO none
\pset format unaligned
\pset tuples_only on
\echo
SELECT jsonb_pretty(:'summary');
\pset tuples_only off
\pset format aligned

\echo
\echo '2. Score' :test_rows 'new rows; severity 1.0 is the threshold of the model'
\echo
SELECT clock_timestamp() AS began \gset
\set ECHO queries
CREATE TABLE scored AS
SELECT ts, label, amad_score(:'entity', ts, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9,
                             f10, f11, f12, f13, f14, f15, f16, f17, f18) OVER (ORDER BY ts) AS severity
FROM test;
\set ECHO none
\echo
SELECT round(extract(epoch FROM clock_timestamp() - :'began')::numeric, 3) AS score_seconds,
       round(:test_rows / extract(epoch FROM clock_timestamp() - :'began')) AS score_rate \gset

-- Events: runs of rows over the threshold, joined over gaps of up to an hour. Labelled anomalies
-- likewise, without joining. verdict pairs them by overlap in time.
CREATE TABLE event AS
WITH marked AS (
  SELECT 'found' AS what, ts, severity, interval '1 hour' AS gap FROM scored WHERE severity > 1
  UNION ALL
  SELECT 'label', ts, severity, interval '5 min' FROM scored WHERE label = 1
), numbered AS (
  SELECT *, ts - lag(ts) OVER w > gap AS is_new FROM marked WINDOW w AS (PARTITION BY what ORDER BY ts)
), grouped AS (
  SELECT *, count(*) FILTER (WHERE is_new) OVER (PARTITION BY what ORDER BY ts) AS n FROM numbered
)
SELECT what, n + 1 AS n, min(ts) AS start_ts, max(ts) AS end_ts, count(*) AS n_points, max(severity) AS peak
FROM grouped GROUP BY what, n;

\echo '3. Labelled anomalies, and whether the model found them'
SELECT l.n AS anomaly, to_char(l.start_ts, 'Mon DD HH24:MI') AS "from", to_char(l.end_ts, 'Mon DD HH24:MI') AS "to",
       l.n_points AS rows, round(l.peak::numeric, 2) AS peak_severity,
       CASE WHEN f.start_ts IS NULL THEN 'missed'
            WHEN f.start_ts <= l.start_ts THEN 'found at once'
            ELSE 'found after ' || extract(epoch FROM f.start_ts - l.start_ts)::int / 60 || ' min' END AS verdict
FROM event l
LEFT JOIN LATERAL (SELECT min(start_ts) AS start_ts FROM event f
                   WHERE f.what = 'found' AND f.start_ts <= l.end_ts AND f.end_ts >= l.start_ts) f ON true
WHERE l.what = 'label' ORDER BY l.n;

\echo '4. Events detected: severity > 1, gaps of up to an hour joined'
SELECT f.n AS event, to_char(f.start_ts, 'Mon DD HH24:MI') AS "from", to_char(f.end_ts, 'Mon DD HH24:MI') AS "to",
       f.n_points AS rows, round(f.peak::numeric, 2) AS peak_severity,
       coalesce('anomaly ' || string_agg(l.n::text, ', ' ORDER BY l.n), 'not labelled') AS verdict,
       repeat('#', least(30, round(5 * f.peak))::int) AS severity
FROM event f
LEFT JOIN event l ON l.what = 'label' AND f.start_ts <= l.end_ts AND f.end_ts >= l.start_ts
WHERE f.what = 'found' GROUP BY f.n, f.start_ts, f.end_ts, f.n_points, f.peak ORDER BY f.n;

\echo '5. Quality and speed'
WITH ranked AS (
  SELECT label, sum(label) OVER w AS hits, count(*) OVER w AS n
  FROM scored WHERE severity IS NOT NULL WINDOW w AS (ORDER BY severity DESC)
), quality AS (
  SELECT sum(label * hits::numeric / n) / nullif(sum(label), 0) AS ap, avg(label) AS random_ap FROM ranked
), flagged AS (
  SELECT count(*) FILTER (WHERE severity > 1 AND label = 0)::numeric / count(*) FILTER (WHERE label = 0) AS fp
  FROM scored WHERE severity IS NOT NULL
)
SELECT v.* FROM quality, flagged, LATERAL (VALUES
  ('average precision (no point adjustment)', round(ap, 3)::text),
  ('average precision of a random score', round(random_ap, 3)::text),
  ('normal rows flagged', round(100 * fp, 1) || ' %'),
  ('training time', round((:'summary'::jsonb->>'seconds')::numeric, 1) || ' s'),
  ('scoring time', :'score_seconds' || ' s, ' || :'score_rate' || ' rows/s')
) AS v(what, value);
