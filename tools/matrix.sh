#!/bin/bash
# shellcheck disable=SC2016 # text in single quotes is for another shell
# Runs the tests on other Debian releases, with other PostgreSQL versions, TimescaleDB and pg_cron, and ends with "N passed, N failed".
#
#   tools/matrix.sh [suite ...]       default: trixie sid; also experimental
#
# trixie  Debian 13: PostgreSQL 17, TimescaleDB (Apache edition), pg_cron
# sid     Debian unstable: its PostgreSQL, TimescaleDB and pg_cron if it has them
# experimental
#         Debian unstable with the PostgreSQL of Debian experimental, the next major version
#
# Each is a chroot (tools/chroots.sh); the tests build and run there on a copy of this tree, uncommitted changes
# included. A suite that cannot be made here (no root, no namespaces, no network) is skipped with a message.
#
# AMAD_MATRIX_PART    part of the tests, arguments of tools/test.sh: "tap 020_timescaledb"
# AMAD_MATRIX_MAKE_LIMIT, AMAD_MATRIX_TEST_LIMIT
#                     seconds a suite may take to make (then it is skipped) and to test (then it fails)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/tally.sh
. tools/tally.sh
# shellcheck source=tools/chroots.sh
. tools/chroots.sh
exec </dev/null

limit_test=${AMAD_MATRIX_TEST_LIMIT:-3000}
read -ra part <<<"${AMAD_MATRIX_PART-}"

# The PostgreSQL that is in experimental but not in sid, if there is one, and nothing else of experimental
settle_experimental() {
  local root=$1 uri=$2 major
  echo "deb $uri experimental main" >"$root/etc/apt/sources.list.d/experimental.list"
  chroot "$root" apt-get -q update
  major=$(chroot "$root" apt-cache pkgnames postgresql-server-dev- | sed -n 's/^postgresql-server-dev-\([0-9]*\)$/\1/p' |
    sort -n | tail -n 1)
  printf 'Package: src:postgresql-%s\nPin: release a=experimental\nPin-Priority: 990\n' "$major" \
    >"$root/etc/apt/preferences.d/experimental"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 install \
    "postgresql-$major" "postgresql-server-dev-$major"
}

# The packages that the tests need, and TimescaleDB and pg_cron if this release has them
install_packages() {
  local root=$1
  mkdir "$root/tmp/tools"
  cp tools/packages.sh "$root/tmp/tools/"
  chroot "$root" /bin/bash -euc '
    /tmp/tools/packages.sh
    major=$(ls /usr/lib/postgresql)
    neighbours=
    for p in postgresql-$major-timescaledb postgresql-$major-cron; do
      # sid may not have one, or one that cannot be installed
      if apt-get install -s $p >/dev/null 2>&1; then neighbours+=" $p"; else echo "no $p there"; fi
    done
    [ -z "$neighbours" ] || DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 install $neighbours
    apt-get clean'
  rm -rf "$root/tmp/tools"
}

fill_root() {
  [ "$1" != experimental ] || settle_experimental "$2" "$3"
  install_packages "$2"
}
# for the shell inside
export -f settle_experimental install_packages

test_root() {
  local root=$1 tmp=$2
  shift 2
  chmod 1777 "$tmp"
  mount -t proc proc "$root/proc"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount --bind "$tmp" "$root/tmp"
  cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
  # no exec: the shell remains to reap the servers' processes
  chroot "$root" env -i HOME=/root LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    bash -c 'cd /tmp/amad && tools/packages.sh >/tmp/packages.log 2>&1 || { cat /tmp/packages.log; exit 1; }; tools/test.sh "$@"' - "$@"
}
export -f test_root

# The versions tested against: "PostgreSQL 17.6, TimescaleDB 2.19.3, pg_cron 1.6.5"
versions() {
  chroot "$1" dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' 2>/dev/null | sed -n -E '
    s/^postgresql-[0-9]+ ([0-9.]+(~?(beta|rc)[0-9]+)?).* installed/1PostgreSQL \1/p
    s/^postgresql-[0-9]+-timescaledb ([0-9.]+).* installed/2TimescaleDB \1/p
    s/^postgresql-[0-9]+-cron ([0-9.]+).* installed/3pg_cron \1/p' | sort | cut -c 2- | paste -sd, | sed 's/,/, /g'
}

one_suite() {
  local suite=$1 root=$cache/$1 before=("$passed" "$failed" "$skipped") start=$SECONDS
  use_root "$suite" "$root" || return 0
  mkdir "$run/tmp"
  copy_tree "$run/tmp/amad"
  tally "$suite" inside "$limit_test" bash -euo pipefail -c 'test_root "$@"' - "$root" "$run/tmp" "${part[@]}"
  rm -rf --one-file-system "$run/tmp"
  exec 9>&-
  summary+="$suite ($(versions "$root")): $((passed - before[0])) passed, $((failed - before[1])) failed,"
  summary+=" $((skipped - before[2])) skipped, in $((SECONDS - start)) seconds"$'\n'
}

[ $# -gt 0 ] || set -- trixie sid
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
