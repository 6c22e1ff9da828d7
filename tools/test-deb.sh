#!/bin/bash
# shellcheck disable=SC2016,SC2034 # text in single quotes is for another shell; indirect variables
# Builds the Debian packages on Debian releases, installs them on fresh ones and tests them there; ends with
# "N passed, N failed".
#
#   tools/test-deb.sh [suite ...]     default: bookworm trixie sid
#
# Each release is a minimal chroot (tools/chroots.sh). It is not changed: what is written goes to an overlay of it, one for
# building, where "make deb" installs what it needs, and another, in which only the package and its dependencies are
# installed, for test/install/package.sh. A suite that cannot be made here (no root, no namespaces, no network) is skipped.
#
# AMAD_MATRIX_TEST_LIMIT   seconds that the building and that the test may take
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/tally.sh
. tools/tally.sh
# shellcheck source=tools/chroots.sh
. tools/chroots.sh
exec </dev/null

limit_test=${AMAD_MATRIX_TEST_LIMIT:-1800}

fill_root() { :; }

# in_overlay root scratch archives script: runs the script in an overlay of the chroot. scratch/tmp is its /tmp, and
# archives keeps the packages that apt downloads.
in_overlay() {
  local root=$1 scratch=$2 archives=$3 script=$4 top=$2/root
  mkdir -p "$scratch"/{upper,work,root} "$archives/partial"
  chmod 1777 "$scratch/tmp"
  mount -t overlay -o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$top"
  mount -t proc proc "$top/proc"
  mount -t tmpfs -o mode=1777 tmpfs "$top/dev/shm"
  mount --bind "$scratch/tmp" "$top/tmp"
  mount --bind "$archives" "$top/var/cache/apt/archives"
  cp /etc/resolv.conf "$top/etc/" 2>/dev/null || true
  # no exec: the shell remains to reap the servers' processes
  chroot "$top" env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    bash -euo pipefail -c 'quiet() { "$@" >/tmp/quiet.log 2>&1 || { tail -n 30 /tmp/quiet.log; exit 1; }; }
      quiet apt-get -q update
      cd /tmp/amad
      '"$script"
}
export -f in_overlay

# Builds the packages; then an ordinary user runs their own test on the installed one
build='
  quiet apt-get -q -y install make
  make -s deb
  quiet apt-get -q -y install ./build/deb/postgresql-*-amad_*.deb
  useradd -m tester
  cp -r /tmp/amad ~tester/
  cd ~tester/amad
  chown -R tester: .
  if su tester -c debian/tests/installcheck >/tmp/installcheck.log 2>&1 && grep "^ok \|\.\.\. ok" /tmp/installcheck.log; then
    echo "2 passed, 0 failed"
  else
    cat /tmp/installcheck.log
    echo "1 passed, 1 failed"
  fi'

install='
  quiet apt-get -q -y install ./build/deb/postgresql-*-amad_*.deb
  for deb in build/deb/postgresql-*-amad_*.deb; do test/install/package.sh "$deb"; done'

# run_part suite root build|install: a script in an overlay, with the tree in /tmp/amad
run_part() {
  mkdir -p "$run/$3"
  mv "$run/tmp" "$run/$3/"
  tally "$1 $3" inside "$limit_test" bash -euo pipefail -c 'in_overlay "$@"' - "$2" "$run/$3" "$cache/$1-archives" "${!3}"
  mv "$run/$3/tmp" "$run/"
  rm -rf --one-file-system "${run:?}/$3"
}

one_suite() {
  local suite=$1 root=$cache/$1-bare before=("$passed" "$failed" "$skipped") start=$SECONDS
  use_root "$suite" "$root" || return 0
  mkdir "$run/tmp"
  copy_tree "$run/tmp/amad"
  run_part "$suite" "$root" build
  [ "$failed" != "${before[1]}" ] || run_part "$suite" "$root" install
  rm -rf "$run/tmp"
  exec 9>&-
  summary+="$suite: $((passed - before[0])) passed, $((failed - before[1])) failed, in $((SECONDS - start)) seconds"$'\n'
}

[ $# -gt 0 ] || set -- bookworm trixie sid
reason=$(unable)
if [ -n "$reason" ]; then
  skipped=$#
  summary="$*: skipped: $reason"$'\n'
  set --
else
  start_run
fi
for suite; do
  one_suite "$suite"
done
printf '%s' "$summary"
tally_total
