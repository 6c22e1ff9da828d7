#!/bin/bash
# Narrow tables (time, device, metric, value) against the wide table with the same values: rows that detection reads, and CPU
# time of the session for detection and for reading everything in a training.
#
#   bench/narrow.sh [DEVICES [DAYS]]      default 100 devices, 10 days of a row every 5 minutes, 6 metrics
#
# Connects by the usual PG* variables as a superuser to a database in which CREATE EXTENSION amad has been run; uses the
# schema amad_bench and leaves nothing behind. CPU time is that of /proc/self/schedstat, the best of three.
set -euo pipefail

psql -X -q -A -t -F ' ' -v devices="${1:-100}" -v days="${2:-10}" <<'SQL' | column -t -s '|'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE SCHEMA amad_bench;
SET search_path = amad_bench, public;
SET max_parallel_workers_per_gather = 0;
SET amad.max_parallel_workers = 0;
SET maintenance_work_mem = '1GB';
CREATE TABLE wide (ts timestamptz, device int, cpu float8, mem float8, io float8, net float8, latency float8, errors float8);
INSERT INTO wide SELECT t, d, sin(n / 40.0) + random(), cos(n / 50.0) + random(), random(), random() * d, random(), random()
FROM generate_series(1, :devices) d, generate_series(0, :days * 288 - 1) n,
  LATERAL (SELECT '2026-01-01 00:00+00'::timestamptz + n * interval '5 min' AS t) x ORDER BY t, d;
CREATE TABLE narrow AS SELECT ts, device, metric, value FROM wide,
  LATERAL (VALUES ('cpu', cpu), ('mem', mem), ('io', io), ('net', net), ('latency', latency), ('errors', errors)) v (metric, value);
-- the same values at other times of the same buckets
CREATE TABLE early AS SELECT ts + device * interval '1 s' AS ts, device, metric, value FROM narrow;
CREATE INDEX ON wide (device, ts);
CREATE INDEX ON wide (ts);
CREATE INDEX ON narrow (device, ts);
CREATE INDEX ON narrow (ts);
CREATE INDEX ON early (device, ts);
CREATE INDEX ON early (ts);
VACUUM ANALYZE wide, narrow, early;

CREATE FUNCTION cpu() RETURNS float8 LANGUAGE sql AS $$
  SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e6 $$;
-- CPU time of a statement in ms; the counter advances in steps of some ms, so short statements are repeated
CREATE FUNCTION cost(statement text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  least float8;
  began float8;
  n int;
BEGIN
  FOR i IN 1..3 LOOP
    began := cpu();
    n := 0;
    LOOP
      EXECUTE statement;
      n := n + 1;
      EXIT WHEN cpu() > began + 200;
    END LOOP;
    least := least(least, (cpu() - began) / n);
  END LOOP;
  RETURN least;
END $$;
-- rows that the scans of a query read, planned as detection does if it reads by count
CREATE FUNCTION rows_read(query text) RETURNS float8 LANGUAGE plpgsql SET random_page_cost = 0 SET seq_page_cost = 0 AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, TIMING off, FORMAT json) ' || query INTO plan;
  RETURN (SELECT sum(((n->>'Actual Rows')::float8 + coalesce((n->>'Rows Removed by Filter')::float8, 0)
      + coalesce((n->>'Rows Removed by Index Recheck')::float8, 0)) * (n->>'Actual Loops')::float8)
    FROM jsonb_path_query(plan::jsonb, 'strict $.**') n WHERE jsonb_typeof(n) = 'object' AND n ? 'Relation Name');
END $$;

\set options '{"method": "zscore", "horizons": [1]}'
CREATE TABLE forms (form text, source text, arguments text);
INSERT INTO forms VALUES ('wide', 'wide', ''),
  ('narrow', 'narrow', $$, metric_col => 'metric', value_col => 'value'$$),
  ('narrow, metrics named', 'narrow', $$, metric_col => 'metric', value_col => 'value', feature_cols => '{cpu,mem,io,net,latency,errors}'$$),
  ('narrow, buckets', 'early', $$, metric_col => 'metric', value_col => 'value', bucket => '5 min'$$);
CREATE TABLE results (form text, what text, rows float8, cpu float8);
INSERT INTO results SELECT form, 'training, zscore', NULL, cost(format(
  $$SELECT amad_train(%L, 'amad_bench.%s', 'ts', series_cols => '{device}', options => %L %s)$$,
  'bench_' || form, source, :'options', arguments)) FROM forms;
DELETE FROM amad_models WHERE model_name ~ '^bench_';
DO $do$
DECLARE
  f forms;
BEGIN
  FOR f IN SELECT * FROM forms LOOP
    EXECUTE format(
      $$SELECT amad_train(%L, 'amad_bench.%s', 'ts', series_cols => '{device}', options => '{"steps": 20}' %s)$$,
      'bench_' || f.form, f.source, f.arguments);
  END LOOP;
END $do$;
CREATE TABLE ranges (what text, arguments text);
INSERT INTO ranges SELECT v.* FROM (SELECT max(ts) AS newest FROM wide) w,
  LATERAL (VALUES ('detection, newest hour', format('since => %L', newest - interval '55 min')),
    ('detection, newest day', format('since => %L', newest - interval '1435 min')),
    ('detection, newest row', 'last_n => 1'),
    ('detection, newest row of one device', format('last_n => 1, series => %L', '{"device": 7}'))) v;
DO $do$
DECLARE
  f forms;
  r ranges;
  query text;
BEGIN
  FOR r IN SELECT * FROM ranges LOOP
    FOR f IN SELECT * FROM forms LOOP
      EXECUTE format('SELECT amad_detect_query(%L, %s)', 'bench_' || f.form, r.arguments) INTO query;
      INSERT INTO results VALUES (f.form, r.what, rows_read(query),
        cost(format('SELECT count(severity) FROM amad_detect(%L, %s, "explain" => false)', 'bench_' || f.form, r.arguments)));
    END LOOP;
  END LOOP;
END $do$;
SELECT 'what|form|rows read|of wide|CPU ms|of wide';
SELECT format('%s|%s|%s|%s|%s|%s', r.what, r.form, r.rows, round((r.rows / w.rows)::numeric, 2), round(r.cpu::numeric, 1),
  round((r.cpu / w.cpu)::numeric, 2))
FROM results r JOIN results w ON w.what = r.what AND w.form = 'wide' ORDER BY r.what, length(r.form);
DELETE FROM amad_models WHERE model_name ~ '^bench_';
DROP SCHEMA amad_bench CASCADE;
SQL
