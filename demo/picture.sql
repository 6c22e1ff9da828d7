-- An SVG of the demo's result: the metrics above, severity (log scale) below, labelled anomalies
-- shaded in both, rows over the threshold in red. Panels: x 60..1180; metrics y 40..220, severity
-- y 250..450.

WITH span AS (
  SELECT min(ts) AS t0, extract(epoch FROM max(ts) - min(ts))::float8 AS secs,
         greatest(10, max(severity) * 1.1) AS top, 0.05::float8 AS bottom
  FROM scored
), s AS (
  SELECT round((60 + 1120 * extract(epoch FROM ts - t0) / secs)::numeric, 1) AS x, severity,
         round((450 - 200 * (ln(greatest(severity, bottom)) - ln(bottom)) / (ln(top) - ln(bottom)))::numeric, 1) AS y,
         row_number() OVER (ORDER BY ts) AS n
  FROM scored, span
), axis AS (
  SELECT v AS value,
         round((450 - 200 * (ln(v) - ln(bottom)) / (ln(top) - ln(bottom)))::numeric, 1) AS y
  FROM span, unnest('{0.1,1,10,100,1000,10000}'::float8[]) AS v WHERE v <= top
), metric AS (
  -- means of 30 minutes, drawn between the first and last percentile of all metrics
  SELECT f.key, avg(f.value::text::float8) AS v,
         (60 + 1120 * extract(epoch FROM date_bin('30 min', ts, t0) - t0) / secs)::numeric(8,1) AS x
  FROM test, span, LATERAL jsonb_each(to_jsonb(test) - 'ts' - 'label') AS f
  GROUP BY f.key, date_bin('30 min', ts, t0), t0, secs
), range AS (
  SELECT percentile_cont(0.001) WITHIN GROUP (ORDER BY v) AS lo, percentile_cont(0.999) WITHIN GROUP (ORDER BY v) AS hi
  FROM metric
), line AS (
  SELECT key, string_agg(x || ',' || (220 - 180 * greatest(0, least(1, (v - lo) / (hi - lo))))::numeric(6,1),
                         ' ' ORDER BY x) AS points
  FROM metric, range GROUP BY key
), part(n, xml) AS (
  SELECT 0, '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 500" font-family="sans-serif" font-size="13" fill="#333">'
            '<rect width="1200" height="500" fill="white"/>'
  UNION ALL
  SELECT 1, format('<rect x="%s" y="%s" width="%s" height="%s" fill="#f4b6b0" opacity="0.75"/>',
                   round((60 + 1120 * extract(epoch FROM start_ts - t0) / secs)::numeric, 1), p.y,
                   round((greatest(2, 1120 * extract(epoch FROM end_ts - start_ts) / secs))::numeric, 1), p.height)
  FROM event, span, (VALUES (40, 180), (250, 200)) AS p(y, height) WHERE what = 'label'
  UNION ALL
  SELECT 2, format('<polyline points="%s" fill="none" stroke="hsl(%s,45%%,45%%)" stroke-width="0.8" opacity="0.6"/>',
                   points, 19 * row_number() OVER (ORDER BY key))
  FROM line
  UNION ALL
  SELECT 3, format('<line x1="60" x2="1180" y1="%s" y2="%1$s" stroke="%s" stroke-dasharray="%s"/>'
                   '<text x="52" y="%s" text-anchor="end">%s</text>',
                   y, CASE WHEN value = 1 THEN '#c0392b' ELSE '#ddd' END, CASE WHEN value = 1 THEN '6 4' ELSE 'none' END,
                   y + 4, value)
  FROM axis
  UNION ALL
  SELECT 4, format('<polyline points="%s" fill="none" stroke="#2c5f8a" stroke-width="1"/>',
                   string_agg(x || ',' || y, ' ' ORDER BY n))
  FROM s WHERE severity IS NOT NULL
  UNION ALL
  SELECT 5, format('<circle cx="%s" cy="%s" r="1.6" fill="#c0392b"/>', x, y) FROM s WHERE severity > 1
  UNION ALL
  SELECT 6, format('<line x1="%s" x2="%1$s" y1="450" y2="455" stroke="#999"/>'
                   '<text x="%1$s" y="471" text-anchor="middle">%s</text>',
                   round((60 + 1120 * extract(epoch FROM d - t0) / secs)::numeric, 1), to_char(d, 'Mon DD'))
  FROM span, generate_series(t0, t0 + secs * interval '1 s', '2 days') AS d
  UNION ALL
  SELECT 7, format('<rect x="60" y="%s" width="1120" height="%s" fill="none" stroke="#999"/>', p.y, p.height)
  FROM (VALUES (40, 180), (250, 200)) AS p(y, height)
  UNION ALL
  SELECT 8, format('<text x="60" y="28" font-size="15" font-weight="bold">%s: 19 metrics</text>'
                   '<text x="60" y="242" font-size="15" font-weight="bold">severity</text>'
                   '<text x="1180" y="28" text-anchor="end">shaded: labelled anomalies</text>'
                   '<text x="1180" y="242" text-anchor="end" fill="#c0392b">dashed: threshold</text>'
                   '<text x="60" y="492" font-size="11" fill="#777">amad on Application Server Dataset %1$s'
                   ' (InterFusion, KDD 2021); timestamps made up</text>', :'entity')
  UNION ALL
  SELECT 9, '</svg>'
)
SELECT xml FROM part ORDER BY n;
