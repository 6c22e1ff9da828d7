#!/bin/bash
# Runs the tests and ends with "N passed, N failed".
#
#   tools/test.sh [unit|sql|isolation|tap|citus|behaviour|most|asan|asan-server [name ...]]
#
# unit       programs of test/unit (TAP)           asan  the same under sanitizers
# sql        test/sql/*.sql against expected/*.out, by pg_regress
# isolation  test/isolation/specs/*.spec against test/isolation/expected/*.out
# tap        test/t/*.pl, with PostgreSQL::Test::Cluster
# citus      test/citus/*.pl, likewise, if the installation that PG_CONFIG belongs to has Citus
# behaviour  some variants of the scenarios of test/behaviour, by tools/behaviour.sh
# most       everything that runs without an argument, except behaviour and slow tests of what does not depend on the
#            version of PostgreSQL
# asan-server
#            as sql, in a server that runs the whole extension under sanitizers, then MINUTES=n (1) of
#            tools/fuzz.sh there; AMAD_SANITIZE=1 does that to the servers of the other parts
#
# ACCEPT=1 writes the output of SQL and isolation tests to the expected files: read the diff before
# committing it.
set -euo pipefail
# shellcheck source=tools/private-server.sh
. "$(dirname "$0")/private-server.sh"
# shellcheck source=tools/tally.sh
. tools/tally.sh
exec </dev/null

path=$PATH # without the private server's programs
part=${1:-all}
shift || true

# names dir ext: the tests there, or those asked for
names() {
  local dir=$1 ext=$2 f
  shift 2
  if [ $# -gt 0 ]; then
    printf '%s\n' "$@"
    return
  fi
  for f in "$dir"/*"$ext"; do
    [ ! -e "$f" ] || basename "$f" "$ext"
  done
}

# run_tap name cmd ...: runs a program that writes TAP and counts its test points
run_tap() {
  local name=$1 log=$scratch/tap.log status=0 start=$SECONDS p f s plan
  shift
  "$@" >"$log" 2>&1 || status=$?
  read -r p f s plan < <(awk '
    /^(not )?ok/ && toupper($0) ~ /# *SKIP/ { s++; next }
    /^not ok/ && toupper($0) ~ /# *TODO/ { p++; next }
    /^not ok/ { f++; next }
    /^ok/ { p++; next }
    /^1\.\.0 *# *[Ss][Kk][Ii][Pp]/ { s++; plan = 1; next }
    /^1\.\.[0-9]+/ { plan = substr($1, 4) }
    END { print p + 0, f + 0, s + 0, plan == "" ? -1 : plan }' "$log")
  # it died or stopped early without reporting a failure
  if [ "$f" = 0 ] && { [ $status != 0 ] || [ $((p + s)) != "$plan" ]; }; then
    f=1
    echo "# exit status $status, $((p + s)) of $plan test points seen" >>"$log"
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  printf '%-44s %4d ok in %d s' "$name" "$p" $((SECONDS - start))
  [ "$s" = 0 ] || printf ', %d skipped' "$s"
  if [ "$f" = 0 ]; then
    echo
  else
    printf ', %d FAILED\n' "$f"
    # the first failures; sessions that stay open add notes to the end of the log
    grep -A 8 '^not ok' "$log" | head -n 100 || true
    echo ...
    grep -v '^ok' "$log" | tail -n 30
    return 1
  fi
}

# run_regress driver inputdir expecteddir name ...: pg_regress or a relative of it
run_regress() {
  local driver=$1 inputdir=$2 expected=$3 out=$scratch/out n f
  shift 3
  n=$#
  [ "$n" -gt 0 ] || return 0
  as_server mkdir -p "$out"
  if [ -n "${ACCEPT-}" ]; then
    # the drivers stop if there is no expected file
    mkdir -p "$expected"
    for f in "$@"; do
      [ -e "$inputdir/expected/$f.out" ] || as_server touch "$inputdir/expected/$f.out"
    done
  fi
  # regression.out and the results are written to $out; lines are printed as they come
  (cd "$out" && as_server "$driver" --bindir="$bindir" --inputdir="$inputdir" --outputdir="$out" \
    --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" --dbname=amad_regress \
    --load-extension=amad "$@") 2>&1 | tee "$scratch/regress.log" |
    grep --line-buffered -E '^(test |ok |not ok )' || true
  # PostgreSQL 16 and later print TAP; a client that died is a failure even if its output is right
  f=$(grep -cE '^(test .* FAILED|not ok |.*\(test process (exited|was terminated))' "$scratch/regress.log" || true)
  if [ "$f" = 0 ] && ! grep -qE 'All [0-9]+ tests passed' "$scratch/regress.log"; then
    cat "$scratch/regress.log"
    tail -n 30 "$scratch/server.log"
    f=$n
  fi
  passed=$((passed + n - f)) failed=$((failed + f))
  if [ "$f" != 0 ] && [ -s "$out/regression.diffs" ]; then
    cat "$out/regression.diffs"
  fi
  if [ -n "${ACCEPT-}" ]; then
    cp "$out"/results/*.out "$expected/"
  fi
  rm -rf "$out"
}

# amad.control has the version and debian/pgversions the oldest PostgreSQL; other files must repeat them
test_version() {
  local v oldest
  v=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" amad.control)
  oldest=$(sed 's/+$//' debian/pgversions)
  if [ "$(grep -c "\"version\": \"$v\"" META.json)" = 2 ] && grep -q "\"PostgreSQL\": \"$oldest.0.0\"" META.json &&
    [[ $(grep -m 1 '^## ' CHANGELOG.md) =~ ^"## $v"( |$) ]] && head -n 1 debian/changelog | grep -q "^amad ($v-[0-9]*)"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "META.json, CHANGELOG.md or debian/changelog do not say version $v, or META.json not PostgreSQL $oldest: FAILED"
  fi
}

test_wings() {
  run_tap "wings" perl tools/check-wings.pl || true
  run_tap "drawing of the wings" perl tools/draw-wings.pl --check || true
}

# only version 14 of clang-format formats as tools/format.pl expects
test_format() {
  if [[ $("${CLANG_FORMAT:-clang-format}" --version 2>/dev/null) != *"version 14."* ]]; then
    skipped=$((skipped + 1))
    echo "format: skipped, there is no clang-format 14"
  elif tools/format.pl --check; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "C files that \"make format\" would change: FAILED"
  fi
}

test_unit() {
  local t dir=build/unit target=unit-tests
  if [ "$part" = asan ]; then
    dir=build/asan target=asan-tests
    # the network does not allocate memory, and leak checks need ptrace
    export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
  fi
  build "$target"
  for t in $(names test/unit .c "$@"); do
    case $t in
      test_*) run_tap "$part $t" timeout 900 "$dir/$t" || true ;;
    esac
  done
}

test_sql() {
  # shellcheck disable=SC2046 # names have no spaces
  run_regress "$pgxs_src/test/regress/pg_regress" "$tests" expected $(names test/sql .sql "$@")
}

test_isolation() {
  # shellcheck disable=SC2046
  run_regress "$pgxs_src/test/isolation/pg_isolation_regress" "$tests/isolation" \
    test/isolation/expected $(names test/isolation/specs .spec "$@")
}

# tap_program folder name: runs a test of test/t or test/citus as the account of servers
tap_program() {
  as_server env -u PGHOST -u PGPORT -u PGUSER -u PGDATABASE \
    TESTDIR="$scratch/tap" TESTDATADIR="$scratch/tap" TESTLOGDIR="$scratch/tap/log" \
    TMPDIR="$scratch" PG_TEST_PORT_DIR="$scratch/tap/ports" PG_ABS_SRCDIR="$tests" \
    PG_REGRESS="$pgxs_src/test/regress/pg_regress" PERL5LIB="$pgxs_src/test/perl" \
    timeout 900 perl "$tests/$1/$2.pl"
}

# the result of a test that runs beside the others
finish_beside() {
  local status=0
  wait "${beside_pid[$2]}" || status=$?
  cat "$scratch/$2.log"
  return $status
}

test_tap() {
  local t all=()
  declare -A beside_pid=()
  as_server mkdir -p "$scratch/tap"
  for t in $(names test/t .pl "$@"); do
    # slow ones that do not depend on the version of PostgreSQL
    if [[ $part == most && $t =~ ^(005|006|007|009|010|011|014|015|018|019|026|027|028|029|030|031|040|041|042)_ ]]; then continue; fi
    case $t in
      # these are the last: one waits for the next minute most of its time, the other is one session's work
      022_pg_cron | 030_docs)
        tap_program t "$t" >"$scratch/$t.log" 2>&1 &
        beside_pid[$t]=$!
        ;;
      *) all+=("$t") ;;
    esac
  done
  for t in "${all[@]}"; do
    run_tap "tap $t" tap_program t "$t" || tail_logs "$t"
  done
  for t in "${!beside_pid[@]}"; do
    run_tap "tap $t" finish_beside t "$t" || tail_logs "$t"
  done
}

tail_logs() {
  tail -n 40 "$scratch"/tap/{tmp_check/,}log/"regress_log_$1" 2>/dev/null || true
}

test_citus() {
  local t
  if [ ! -e "$("$PG_CONFIG" --pkglibdir)/citus.so" ]; then
    skipped=$((skipped + 1))
    echo "citus: skipped, $PG_CONFIG belongs to an installation without Citus"
    return
  fi
  as_server mkdir -p "$scratch/tap"
  for t in $(names test/citus .pl "$@"); do
    run_tap "citus $t" tap_program citus "$t" || tail_logs "$t"
  done
}

# It builds an installation and runs a server of its own
test_behaviour() {
  run_tap "behaviour" env PATH="$path" timeout 1800 tools/behaviour.sh "$@" || true
}

# A report of the sanitizers in a server is a failure, even if all clients succeed
test_sanitizers() {
  if [ -z "${AMAD_SANITIZE-}" ]; then
    return
  fi
  server_stop
  if sanitizer_reports; then
    passed=$((passed + 1))
    echo "no reports of the sanitizers"
  else
    failed=$((failed + 1))
    echo "reports of the sanitizers: FAILED"
  fi
}

scratch_make
case $part in
  unit | behaviour | asan) ;;
  all | most | sql | isolation | tap | citus | asan-server)
    [ "$part" != asan-server ] || export AMAD_SANITIZE=1
    build_and_install
    # a copy that the server's account can read and write
    tests=$scratch/test
    cp -r test "$tests"
    for d in expected docs grafana README.md SECURITY.md tools/amad-notify; do
      if [ -e $d ]; then cp -r $d "$tests/"; fi
    done
    # PostgreSQL 19 reports unknown functions and operators in other words
    if [ "$("$PG_CONFIG" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 19 ]; then
      sed -i -E 's/^HINT:  No (function|operator) matches the given name and argument types\. (You .*)$/DETAIL:  No \1 of that name accepts the given argument types.\nHINT:  \2/' \
        "$tests"/expected/*.out
    fi
    # test/t/013_update.pl adds install scripts to the private installation
    [ -z "$account" ] || chown -R "$account:" "$tests" "$("$bindir/pg_config" --sharedir)/extension"
    server_start
    ;;
  *)
    sed -n '2,19s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

case $part in
  all | most)
    test_version
    test_wings
    test_format
    [ "$part" = most ] || with_behaviour=yes
    part=unit test_unit "$@"
    test_sql "$@"
    test_isolation "$@"
    server_stop
    test_tap "$@"
    test_citus "$@"
    [ -z "${with_behaviour-}" ] || test_behaviour "$@"
    ;;
  asan) test_unit "$@" ;;
  asan-server)
    test_sql "$@"
    if [ $# = 0 ] && [ -x tools/fuzz.sh ]; then
      tally fuzz env PATH="$path" MINUTES="${MINUTES:-1}" tools/fuzz.sh
    fi
    ;;
  *) "test_$part" "$@" ;;
esac
test_sanitizers

tally_total
