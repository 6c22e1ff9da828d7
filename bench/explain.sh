#!/bin/bash
# Do explanations point at the causes?  For every labelled anomaly whose k causing columns the data set names, the share
# of these among the k columns with the greatest contributions, compared with chance.
#
#   bench/explain.sh DIR/SET [SEED]
#
# SET/<entity> holds train.csv.gz, test.csv.gz and interpretation_label.txt: lines first-last:columns, rows counted from
# the first test row (1), columns from 1. Contributions are those of amad_explain, their mean over the anomaly's rows weighted
# by severity. Connects by the usual PG* variables to a database in which CREATE EXTENSION amad has been run; leaves nothing behind.
set -euo pipefail
# shellcheck source=bench/features.sh
. "$(dirname "$0")/features.sh"

set=${1:?usage: explain.sh DIR/SET [SEED]}
seed=${2:-0}
for labels in "$set"/*/interpretation_label.txt; do
  folder=${labels%/interpretation_label.txt}
  columns=$(features "$folder/train.csv.gz")
  psql -X -q -A -t -F ' ' <<SQL
\\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TEMP TABLE train (ts timestamptz, ${columns//,/ float8, } float8);
CREATE TEMP TABLE test (n bigint GENERATED ALWAYS AS IDENTITY, ts timestamptz, ${columns//,/ float8, } float8, label int);
CREATE TEMP TABLE lines (line text);
\\copy train FROM PROGRAM 'gzip -dc "$folder/train.csv.gz"' (FORMAT csv, HEADER)
\\copy test (ts, $columns, label) FROM PROGRAM 'gzip -dc "$folder/test.csv.gz"' (FORMAT csv, HEADER)
\\copy lines FROM PROGRAM 'tr -d "\\r" < "$labels"' (FORMAT csv, DELIMITER E'\\x01')
BEGIN;
SELECT amad_train('bench_explain_$$', jsonb_build_object('seed', $seed, 'features', string_to_array('$columns', ',')), ts, $columns) FROM train \\gset
CREATE TEMP TABLE anomaly ON COMMIT DROP AS
  SELECT split_part(line, '-', 1)::bigint AS first, split_part(split_part(line, ':', 1), '-', 2)::bigint AS last,
    (SELECT array_agg((string_to_array('$columns', ','))[c::int]) FROM unnest(string_to_array(split_part(line, ':', 2), ',')) c) AS causes
  FROM lines WHERE line <> '';
WITH explained AS (
  SELECT n, (amad_explain('bench_explain_$$', ts, $columns) OVER (ORDER BY ts)).* FROM test
), shares AS (
  SELECT a.first, a.causes, c.key AS feature, sum(c.value::text::float8 * e.severity) AS share
  FROM anomaly a JOIN explained e ON e.n BETWEEN a.first AND a.last AND e.severity IS NOT NULL, jsonb_each(e.contributions) c
  GROUP BY 1, 2, 3
), ranked AS (
  SELECT *, row_number() OVER (PARTITION BY first ORDER BY share DESC) AS place FROM shares
), hits AS (
  SELECT first, cardinality(causes) AS k, count(*) FILTER (WHERE place <= cardinality(causes) AND feature = ANY(causes)) AS hits,
    bool_or(place = 1 AND feature = ANY(causes)) AS top FROM ranked GROUP BY 1, 2
)
SELECT '${folder##*/}', count(*), round(avg(hits::numeric / k), 2), round(avg(k::numeric / $(tr , '\n' <<<"$columns" | wc -l)), 2),
  round(avg(top::int), 2) FROM hits;
ROLLBACK;
SQL
done | awk '
  BEGIN { printf "%-16s %9s %14s %7s %18s\n", "entity", "anomalies", "causes in top k", "chance", "first is a cause" }
  { printf "%-16s %9d %15.2f %7.2f %18.2f\n", $1, $2, $3, $4, $5; n += $2; s += $2 * $3; c += $2 * $4; t += $2 * $5 }
  END { if (n) printf "%-16s %9d %15.2f %7.2f %18.2f\n", "all", n, s / n, c / n, t / n }'
