# shellcheck shell=bash disable=SC2034 # variables for those who source it
# Sourced by those who run tests.sh several times: adds up the closing lines.
#
#   tally NAME cmd ...    runs cmd, shows its output, adds the "N passed, N failed[, N skipped]" in it to
#                         $passed, $failed and $skipped; it is shown as "[NAME] N passed, …", so that
#                         nobody counts it twice. A command that ends badly without saying so is one failure.
#   tally_total           the closing line of them all; fails if anything did

passed=0 failed=0 skipped=0
tally_child= # process id of the command, for traps

tally() {
  local name=$1 log status=0 p=0 f=0 s=0 line
  shift
  log=$(mktemp)
  # in the background, since a shell runs no trap while it waits for a command in front
  "$@" </dev/null > >(tee "$log" | sed -u -E "s/^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?\$/[$name] &/") 2>&1 &
  tally_child=$!
  wait "$tally_child" || status=$?
  tally_child=
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?$' "$log" | tail -n 1 || true)
  rm -f "$log"
  if [ -n "$line" ]; then
    read -r p f s < <(tr -cs '0-9\n' ' ' <<<"$line")
  fi
  if [ "$f" = 0 ] && { [ "$status" != 0 ] || [ -z "$line" ]; }; then
    f=1
    echo "$name: ended with status $status: FAILED"
  fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + ${s:-0}))
}

tally_total() {
  local total="$passed passed, $failed failed"
  [ "$skipped" = 0 ] || total+=", $skipped skipped"
  echo "$total"
  [ "$failed" = 0 ]
}
