-- Digests of the results of a revision: the bytes of models and the bits of severities.
-- Read by tools/compare-revisions.sh; the first word of a line is "model" or "scores".
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;

-- Three devices, two weeks, a gap, missing values, a column of two values, one incident
CREATE TABLE readings AS
SELECT device,
       timestamptz '2026-01-01 00:00+00' + n * interval '10 min' AS ts,
       sin(n * 0.2 + device) + (hashint8(n * 7 + device) & 65535) / 327675.0
         + CASE WHEN n BETWEEN 2700 AND 2720 THEN 2 ELSE 0 END AS a,
       cos(n * 2 * pi() / 144) + (hashint8(n * 11 + device) & 65535) / 327675.0 AS b,
       CASE WHEN n % 97 <> 5 THEN (hashint8(n + device) & 65535) / 65535.0 END AS c,
       n % 50 < 3 AS flag
FROM generate_series(1, 3) device, generate_series(1, 3000) n
WHERE n NOT BETWEEN 1500 AND 1540;

CREATE TABLE trainings (name text, series text[], options jsonb);
INSERT INTO trainings VALUES
  ('amad', NULL, '{"steps": 60}'),
  ('lookahead', NULL, '{"steps": 40, "lookahead": 8}'),
  ('fleet', '{device}', '{"steps": 40}'),
  ('wide_chunk', '{device}', '{"steps": 10, "window": 24, "d_model": 16, "heads": 2, "layers": 2}'),
  ('fill', '{device}', '{"steps": 10, "missing": "linear", "horizons": [1, 4]}'),
  ('pca', '{device}', '{"method": "pca"}'),
  ('zscore', '{device}', '{"method": "zscore"}'),
  ('season', '{device}', '{"method": "zscore", "season": ["1 day"]}'),
  ('recalibrated', '{device}', '{"steps": 30}');

SELECT count(amad_train(model_name => name,
                        source => CASE WHEN series IS NULL THEN 'SELECT * FROM readings WHERE device = 1' ELSE 'readings' END,
                        timestamp_col => 'ts', feature_cols => '{a,b,c,flag}', series_cols => series, options => options))
FROM trainings;
SELECT amad_recalibrate('recalibrated', since => '2026-01-12') IS NOT NULL;

SELECT 'model', model_name, version, md5(model::text), length(model::text) FROM amad_models ORDER BY model_name, version;
SELECT 'scores', 'detected', name, count(severity), round(sum(severity)::numeric, 6),
       md5(string_agg(encode(float8send(severity), 'hex'), '' ORDER BY d.series, ts))
FROM trainings t, amad_detect(t.name) d GROUP BY name ORDER BY name;
SELECT 'scores', 'explained', name, count(r.severity),
       md5(string_agg(r.s, '' ORDER BY device, ts))
FROM trainings t,
     LATERAL (SELECT device, ts, (e).severity, (to_jsonb(e) - 'ts')::text AS s
              FROM (SELECT device, ts, amad_explain(t.name, jsonb_build_object('device', device), ts, a, b, c, flag)
                                       OVER (PARTITION BY device ORDER BY ts) AS e FROM readings) x) r
WHERE series IS NOT NULL GROUP BY name ORDER BY name;

-- one pass without workers, one without a source
SET amad.max_parallel_workers = 0;
SELECT 'model', 'aggregate', md5(amad_fit('{"steps": 10}', ts, a, b ORDER BY ts)::text) FROM readings WHERE device = 2;
SELECT 'scores', 'serial', count(severity), md5(string_agg(encode(float8send(severity), 'hex'), '' ORDER BY d.series, ts))
FROM amad_detect('fleet') d;
