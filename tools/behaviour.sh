#!/bin/bash
# Runs the scenarios of test/behaviour in a private server and prints TAP: a test point for each scenario and variant.
#
#   tools/behaviour.sh [--full] [--docs] [--accept] [name ...]
#
# name       files of test/behaviour, without .sql; default: all
# --full     all variants (half an hour) instead of a few of each scenario
# --docs     write the measured values to docs/behaviour.md; implies --full, unless QUICK=1
# --accept   rewrite test/behaviour/known_failures.txt: add the variants that fail, remove those that pass
#
# A failure that is listed in known_failures.txt is printed as "not ok … # TODO"; a listed variant that passes is
# noted at the end. WORKERS=n sets amad.max_parallel_workers (0), which does not change results.
set -euo pipefail
# shellcheck source=tools/private-server.sh
. "$(dirname "$0")/private-server.sh"

full=0 docs='' accept=''
while [[ ${1-} == --* ]]; do
  case $1 in
    --full) full=1 ;;
    --docs) docs=yes; [ -n "${QUICK-}" ] || full=1 ;;
    --accept) accept=yes ;;
    *)
      sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
      exit 2
      ;;
  esac
  shift
done

dir=test/behaviour
known=$dir/known_failures.txt
if [ $# = 0 ]; then
  for f in "$dir"/*.sql; do
    case $f in
      */harness.sql | */generators.sql | */report.sql) ;;
      *) set -- "$@" "$(basename "$f" .sql)" ;;
    esac
  done
fi

scratch_make
build_and_install
server_start
createdb behaviour
export PGDATABASE=behaviour
export PGOPTIONS="-c behaviour.kind=none -c amad.max_parallel_workers=${WORKERS:-0}"
run_psql() { psql -qXAt -v ON_ERROR_STOP=1 "$@"; }

run_psql -c 'CREATE EXTENSION amad'
run_psql -f "$dir/harness.sql" >/dev/null
run_psql -f "$dir/generators.sql" >/dev/null
{ grep -v -e '^#' -e '^$' "$known" || true; } |
  run_psql -c "\\copy known_failures FROM pstdin (FORMAT csv, DELIMITER '|', QUOTE E'\\b')"

# test/data/ASD/NAME: train.csv.gz and test.csv.gz, which has a column more, the label
for d in test/data/ASD/*/; do
  for part in train test; do
    gzip -dc "$d/$part.csv.gz" | tail -n +2 | awk -F, -v name="$(basename "$d")" -v part="$part" '
      { n = NR - 1 + (part == "test" ? 8640 : 0); label = part == "test" ? $NF : 0
        c = $2; for (i = 3; i <= 20; i++) c = c "," $i
        print name "\t" n "\t" $1 "\t{" c "}\t" label }'
  done
done | run_psql -c '\copy real_rows FROM pstdin'

# A point for each variant, numbered over all files
points=0
failed=0
point() {
  points=$((points + 1))
  echo "$1 $points - $2"
  [[ $1 == ok || $2 == *"# TODO"* ]] || failed=$((failed + 1))
}

for name in "$@"; do
  export PGOPTIONS="-c behaviour.kind=$name -c amad.max_parallel_workers=${WORKERS:-0}"
  started=$SECONDS
  if run_psql -v full=$full -f "$dir/$name.sql" >"$scratch/out" 2>&1; then
    run_psql -c 'SELECT check_severities()' >/dev/null
  else
    point "not ok" "$name.sql runs to its end"
    sed 's/^/# /' "$scratch/out"
  fi
  while IFS=$'\t' read -r ok text; do
    point "$ok" "$text"
  done < <(run_psql -F $'\t' -c "
    SELECT CASE WHEN passed THEN 'ok' ELSE 'not ok' END, scenario || ' [' || variant || ']: ' || coalesce(error,
      measured_text || ', right is ' || bound) || CASE WHEN NOT passed AND reason IS NOT NULL THEN ' # TODO known failure'
      ELSE '' END
    FROM points WHERE kind = '$name' ORDER BY number, variant")
  echo "# $name: $((SECONDS - started)) seconds"
done
run_psql -c "SELECT '# passes now, remove it from $known: ' || scenario || ' [' || variant || ']' FROM points
  WHERE passed AND reason IS NOT NULL AND ($full = 1 OR variant <> 'all') ORDER BY number, variant"
echo "1..$points"

if [ -n "$accept" ]; then
  # comments, then the variants that fail and those that were not run
  {
    grep -e '^#' -e '^$' "$known" 2>/dev/null || true
    run_psql -F '|' -c "
      WITH failing AS (
        SELECT scenario, variant, passed, coalesce(reason, error, measured_text || ', right is ' || bound) AS reason,
          $full = 1 AND count(*) OVER w > 1 AND bool_and(NOT passed) OVER w AS always
        FROM points WINDOW w AS (PARTITION BY scenario)
      )
      SELECT scenario, variant, reason FROM failing WHERE NOT passed AND NOT always
      UNION ALL
      SELECT scenario, '*', CASE WHEN count(DISTINCT reason) = 1 THEN min(reason)
        ELSE 'all ' || count(*) || ' variants, such as: ' || min(reason) END FROM failing WHERE always GROUP BY scenario
      UNION ALL
      SELECT * FROM known_failures k WHERE NOT EXISTS (SELECT FROM points p
        WHERE p.scenario = k.scenario AND ($full = 1 OR k.variant = p.variant))
      ORDER BY 1, 2"
  } >"$scratch/known"
  cp "$scratch/known" "$known"
fi
if [ -n "$docs" ]; then
  {
    cat <<'HEAD'
# Behaviour

What deserves an alarm, as scenarios: each is a situation of daily operation with the outcome that is right, measured at
default options in variants: noise levels (.2, 1 and 5 times), 1 to 20 columns, and several seeds, on generated series and
on the two servers of `test/data`.

`make behaviour` runs all variants and writes this page. `make test` runs some variants of each scenario. A variant passes
if its measured value is within the limit. Those that fail are listed in
[test/behaviour/known_failures.txt](../test/behaviour/known_failures.txt): `make test` reports any other failure. The files of
`test/behaviour` contain the scenarios in SQL, with the generators of the series.

*Worst* is the value that is furthest on the wrong side. *None* means that nothing could be measured, for example because
an incident was not found or a function raised an error. *Flagged* rows have a severity of at least 1.
HEAD
    [ $full = 1 ] || echo "
The figures are those of the variants that \`make test\` runs, not of all."
    for name in "$@"; do
      awk '!/^--/ { exit } { sub(/^-- ?/, "") } NR == 1 { $0 = "\n## " $0 } { print }' "$dir/$name.sql"
      echo
      PGOPTIONS="-c behaviour.kind=$name" run_psql -f "$dir/report.sql"
    done
    echo
    run_psql -c "SELECT format('%s of %s variants pass.', count(*) FILTER (WHERE passed), count(*)) FROM points"
  } >"$scratch/report"
  cp "$scratch/report" docs/behaviour.md
fi
[ $failed = 0 ]
