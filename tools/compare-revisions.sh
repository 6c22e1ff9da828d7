#!/bin/bash
# Compares the results of two revisions on this machine: the bytes of models, the bits of severities.
#
#   tools/compare-revisions.sh BASE [REVISION]    REVISION: default is the working tree
#   MODELS=differ tools/compare-revisions.sh …    bytes of models may differ (a commit of the format)
#
# Both are built from clean checkouts with the same compiler and run tools/compare-revisions.sql of the
# working tree. Prints the lines that differ; exits with 1 if there are any.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
base=$(git rev-parse --verify "$1^{commit}")
revision=${2-}

work=$(mktemp -d "${AMAD_SCRATCH:-/tmp}/amad-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cp tools/compare-revisions.sql "$work/"

# checkout revision directory: the files of a revision; of the working tree if it is empty
checkout() {
  mkdir "$2"
  if [ -n "$1" ]; then
    git archive "$1" | tar -x -C "$2"
  else
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
      if [ -e "$f" ]; then printf '%s\0' "$f"; fi
    done | tar --null -T - -c | tar -x -C "$2"
  fi
}

# digests name revision: into $work/NAME.txt
digests() {
  checkout "$2" "$work/$1"
  "$work/$1/tools/server.sh" psql -qX -v ON_ERROR_STOP=1 -f "$work/compare-revisions.sql" >"$work/$1.txt"
}

digests base "$base"
digests revision "$revision"
grep -c . "$work/base.txt" >/dev/null

pattern=.
[ "${MODELS-}" != differ ] || pattern='^scores'
if diff <(grep "$pattern" "$work/base.txt") <(grep "$pattern" "$work/revision.txt"); then
  echo "equal: $(grep -c "$pattern" "$work/base.txt") lines of $1 and ${revision:-the working tree}"
else
  echo "different: $1 and ${revision:-the working tree}" >&2
  exit 1
fi
