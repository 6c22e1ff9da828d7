#!/bin/bash
# Detection quality on labelled series, all in SQL: amad, its baselines and chance, by amad_evaluate.
#
#   bench/quality.sh DIR [SEEDS]      SEEDS: one word, default "0 1 2"
#
# DIR holds <set>/<entity>/{train,test}.csv.gz with a header ts,f0,...,fN; test ends with label (1 = anomalous).
# Trains on train, scores test alone, so that its first rows are warm-up and take no part. Every line is a mean
# over the seeds (baselines do not depend on seeds) with the standard deviation of the average precision.
# Connects by the usual PG* variables to a database in which CREATE EXTENSION amad has been run; leaves
# nothing behind. Environment:
#   METHODS        default "amad pca zscore random"; fleet: one amad model for all entities of a set
#   AMAD_OPTIONS   jsonb of further training options, merged over {"seed": ..., "method": ...}
#   ONLY           shell pattern of <set>/<entity> to run, default *
set -euo pipefail
# shellcheck source=bench/features.sh
. "$(dirname "$0")/features.sh"

dir=${1:?usage: quality.sh DIR [SEEDS]}
seeds=${2:-0 1 2}
methods=${METHODS:-amad pca zscore random}
only=${ONLY:-*}
extra=${AMAD_OPTIONS:-"{}"}
model=bench_quality_$$

# SQL that makes the tables of a set; $1 feature list
create_sql() {
  local columns=${1//,/ float8, }
  cat <<SQL
\\set ON_ERROR_STOP on
\\set QUIET on
SET client_min_messages = warning;
CREATE TEMP TABLE train (ts timestamptz, $columns float8, entity text DEFAULT 'none');
CREATE TEMP TABLE test (ts timestamptz, $columns float8, label int, entity text DEFAULT 'none');
SQL
}

# SQL that loads an entity; $1 folder, $2 feature list
load_sql() {
  local entity=${1##*/}
  cat <<SQL
\\copy train (ts, $2) FROM PROGRAM 'gzip -dc "$1/train.csv.gz"' (FORMAT csv, HEADER)
\\copy test (ts, $2, label) FROM PROGRAM 'gzip -dc "$1/test.csv.gz"' (FORMAT csv, HEADER)
UPDATE train SET entity = '$entity' WHERE entity = 'none';
UPDATE test SET entity = '$entity' WHERE entity = 'none';
SQL
}

# SQL that prints a line for each entity of table scored: entity method ap vus_pr auc_roc f1 event_recall
# false alarms a day, share of normal and of anomalous rows flagged, seconds of training
evaluate_sql() {
  cat <<SQL
SELECT entity, '$1', e->>'auc_pr', e->>'vus_pr', e->>'auc_roc', e->>'f1', e->>'event_recall', e->>'false_alarms_per_day', normal, anomalous,
  extract(epoch FROM :'t1'::timestamptz - :'t0'::timestamptz)
FROM (SELECT entity, amad_evaluate(ts, severity, label) AS e, avg((severity >= 1)::int) FILTER (WHERE label = 0) AS normal,
        avg((severity >= 1)::int) FILTER (WHERE label = 1) AS anomalous
      FROM scored GROUP BY entity) x ORDER BY entity;
SQL
}

# SQL of a run; $1 method, $2 seed, $3 feature list. The rollback takes the model away again.
run_sql() {
  local options="jsonb '{\"seed\": $2, \"method\": \"${1/fleet/amad}\"}' || jsonb '${extra//\'/\'\'}'"
  echo "BEGIN; SELECT clock_timestamp() AS t0 \\gset"
  case $1 in
    random)
      echo "SELECT setseed(0.$2) \\gset"
      echo "CREATE TEMP TABLE scored ON COMMIT DROP AS SELECT entity, ts, label, random() AS severity FROM test;" ;;
    fleet)
      echo "SELECT amad_train('$model', 'pg_temp.train', 'ts', '{$3}', '{entity}', options => $options) AS summary \\gset"
      echo "CREATE TEMP TABLE scored ON COMMIT DROP AS SELECT entity, ts, label, amad_score('$model', to_jsonb(entity), ts, $3)
        OVER (PARTITION BY entity ORDER BY ts) AS severity FROM test;" ;;
    *)
      echo "SELECT amad_train('$model', $options, ts, $3) AS summary FROM train \\gset"
      echo "CREATE TEMP TABLE scored ON COMMIT DROP AS SELECT entity, ts, label, amad_score('$model', ts, $3) OVER (ORDER BY ts) AS severity FROM test;" ;;
  esac
  echo "SELECT clock_timestamp() AS t1 \\gset"
  evaluate_sql "$1"
  echo "ROLLBACK;"
}

# lines of all runs with the tables at hand; $1 feature list, $2 methods
runs_sql() {
  local method seed
  for method in $2; do
    for seed in $seeds; do
      run_sql "$method" "$seed" "$1"
      # baselines have no seed
      case $method in pca | zscore) break ;; esac
    done
  done
}

# lines of runs -> a line for each entity and method, then means of each set and method
summarise() {
  awk -v set="$1" '
    NF != 11 { print "quality.sh: unexpected line: " $0 > "/dev/stderr"; exit bad = 1 }
    { key = $1 " " $2; if (!(key in n)) order[++keys] = key
      n[key]++; square[key] += $3 * $3
      for (i = 3; i <= 11; i++) sum[key, i] += $i }
    function line(name, method, count, ap, deviation, v,    i) {
      printf "%-20s %-7s %6.3f %6s", name, method, ap, deviation
      for (i = 4; i <= 8; i++) printf " %8.3f", v[i]
      printf " %7.1f%% %7.1f%% %8.1f\n", 100 * v[9], 100 * v[10], v[11]
    }
    END {
      if (bad || keys == 0) exit 1
      for (k = 1; k <= keys; k++) {
        key = order[k]; split(key, part, " ")
        for (i = 3; i <= 11; i++) { v[i] = sum[key, i] / n[key]; total[part[2], i] += v[i] }
        entities[part[2]]++; if (entities[part[2]] == 1) method[++methods] = part[2]
        variance = square[key] / n[key] - v[3] * v[3]
        line(set "/" part[1], part[2], n[key], v[3], n[key] > 1 ? sprintf("%.3f", sqrt(variance > 0 ? variance : 0)) : "", v)
      }
      for (m = 1; m <= methods; m++) {
        for (i = 3; i <= 11; i++) v[i] = total[method[m], i] / entities[method[m]]
        line(set ", mean of " entities[method[m]], method[m], 1, v[3], "", v)
      }
    }'
}

printf '%-20s %-7s %6s %6s %8s %8s %8s %8s %8s %8s %8s %8s\n' \
  entity method AP sd VUS-PR AUC-ROC F1 events alarms normal anomal. training
printf '%-20s %-7s %6s %6s %8s %8s %8s %8s %8s %8s %8s %8s\n' \
  '' '' '' '' '' '' 'at 1' found 'a day' flagged flagged s
found=
for set in "$dir"/*/; do
  set=${set%/}
  folders=()
  for train in "$set"/*/train.csv.gz; do
    [ -f "$train" ] || continue
    # shellcheck disable=SC2254 # a pattern on purpose
    case ${set##*/}/$(basename "${train%/train.csv.gz}") in $only) folders+=("${train%/train.csv.gz}") ;; esac
  done
  [ ${#folders[@]} -gt 0 ] || continue
  found=yes
  {
    for folder in "${folders[@]}"; do
      columns=$(features "$folder/train.csv.gz")
      alone=${methods//fleet/}
      [ -z "${alone// /}" ] || { create_sql "$columns"; load_sql "$folder" "$columns"; echo 'ANALYZE train, test;'
        runs_sql "$columns" "$alone"; } | psql -X -q -A -t -F ' ' -f -
    done
    case " $methods " in *' fleet '*)
      columns=$(features "${folders[0]}/train.csv.gz")
      { create_sql "$columns"; for folder in "${folders[@]}"; do load_sql "$folder" "$columns"; done; echo 'ANALYZE train, test;'
        runs_sql "$columns" fleet; } | psql -X -q -A -t -F ' ' -f - ;;
    esac
  } | sed 's/  / NaN /g; s/  / NaN /g' | summarise "${set##*/}"
  echo
done
[ -n "$found" ] || { echo "quality.sh: no <set>/<entity>/train.csv.gz in $dir matches $only" >&2; exit 1; }
