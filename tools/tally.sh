# shellcheck shell=bash disable=SC2034 # variables for the sourcing script
# Sourced by scripts that run tools/test.sh several times: adds up its last lines.
#
#   tally NAME cmd ...    runs cmd and prints its output; adds the "N passed, N failed[, N skipped]" in it to
#                         $passed, $failed and $skipped, and prints that line as "[NAME] N passed, …", so that
#                         it is not counted twice. A command that fails without this line is one failure.
#   tally_total           prints the last line of all of them; fails if anything failed

passed=0 failed=0 skipped=0
tally_child= # process id of the command, for traps

tally() {
  local name=$1 log status=0 p=0 f=0 s=0 line
  shift
  log=$(mktemp)
  # in the background, because a shell does not run traps while it waits for a foreground command
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
