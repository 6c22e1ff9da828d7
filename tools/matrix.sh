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
# Each is a chroot, made by debootstrap from the mirror this machine's apt uses and kept in a cache for
# two weeks; the tests build and run there on a copy of this tree, uncommitted changes included.
# A suite that cannot be made here (no root, no namespaces, no network) is skipped with a message.
#
# AMAD_MATRIX_CACHE   where the chroots are kept: default ${XDG_CACHE_HOME:-/var/cache}/amad-matrix
# AMAD_MATRIX_MIRROR  a Debian mirror, if apt does not use one: http://host/debian
# AMAD_MATRIX_PART    part of the tests, arguments of tools/test.sh: "tap 020_timescaledb"
# AMAD_MATRIX_MAKE_LIMIT, AMAD_MATRIX_TEST_LIMIT
#                     seconds a suite may take to make (then it is skipped) and to test (then it fails)
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/tally.sh
. tools/tally.sh
exec </dev/null
unset OPENBLAS_CORETYPE
export LC_ALL=C.UTF-8

cache=$(realpath -m "${AMAD_MATRIX_CACHE:-${XDG_CACHE_HOME:-/var/cache}/amad-matrix}")
limit_make=${AMAD_MATRIX_MAKE_LIMIT:-1200} limit_test=${AMAD_MATRIX_TEST_LIMIT:-3000}
run=    # directory of this run in the cache
making= # process id of the shell that makes a chroot
read -ra part <<<"${AMAD_MATRIX_PART-}"

# inside seconds cmd ...: runs cmd in a namespace, so that its mounts and processes disappear when it ends or is
# killed, or when its caller is
inside() {
  local seconds=$1
  shift
  exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --ipc --mount-proc \
    timeout -k 5 "$seconds" "$@"
}

cleanup() {
  local status=$? p
  trap - EXIT
  trap '' INT TERM HUP
  # unshare blocks other signals; this one takes what it started along
  for p in $making $tally_child; do
    kill -KILL "$p" 2>/dev/null || true
    wait "$p" 2>/dev/null || true
  done
  [ -z "$run" ] || rm -rf --one-file-system "$run"
  exit "$status"
}

# unable: prints why a chroot cannot be made here; nothing if it can
unable() {
  if [ "$(id -u)" != 0 ]; then
    echo 'needs root, for chroot and mount'
  elif ! (inside 10 mount -t tmpfs tmpfs /mnt) >/dev/null 2>&1; then
    echo 'mounting is not allowed here'
  elif ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
    echo "cannot write in $cache"
  fi
}

# The Debian mirror that apt uses here, without its updates and security archives
mirror() {
  if [ -n "${AMAD_MATRIX_MIRROR-}" ]; then
    echo "$AMAD_MATRIX_MIRROR"
  elif [ -e /etc/debian_version ] && (. /etc/os-release && [ "$ID" = debian ]); then
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(RELEASE)' 'Created-By: Packages' |
      awk '$2 == "main" && $3 !~ /[-\/]/ && $1 ~ /^https?:/ { print $1; exit }'
  fi
}

# ---- making a chroot ----------------------------------------------------------------------------

# apt in the chroot uses the proxy and the certificates of apt here
settle_apt() {
  local root=$1
  apt-config dump 2>/dev/null |
    grep -E '^Acquire::(https?|Check-|Retries|ForceIPv|Max-)' >"$root/etc/apt/apt.conf.d/10host" || true
  cat >"$root/etc/apt/apt.conf.d/20matrix" <<'CONF'
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
CONF
  # a chroot for tests may lose data, and does not start services
  mkdir -p "$root/etc/dpkg/dpkg.cfg.d" "$root/etc/postgresql-common"
  cat >"$root/etc/dpkg/dpkg.cfg.d/matrix" <<'CONF'
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
CONF
  echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] ||
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
}

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

make_root() {
  local suite=$1 root=$2 uri=$3
  # debootstrap downloads with wget, which does not read apt.conf
  if [ -z "${http_proxy-}" ]; then
    http_proxy=$(apt-config dump 2>/dev/null | sed -n 's/^Acquire::http::Proxy "\(http.*\)";/\1/p')
    if [ -n "$http_proxy" ]; then export http_proxy; fi
  fi
  debootstrap --variant=minbase "${suite/experimental/sid}" "$root" "$uri"
  settle_apt "$root"
  mount -t proc proc "$root/proc"
  [ "$suite" != experimental ] || settle_experimental "$root" "$uri"
  install_packages "$root"
}
# for the shell inside
export -f settle_apt settle_experimental install_packages make_root

# fresh_root suite root: makes the chroot unless there is one that is at most two weeks old
fresh_root() {
  local suite=$1 root=$2 uri log=$run/make.log start=$SECONDS status
  if [ -n "$(find "$root.made" -mtime -14 2>/dev/null)" ]; then
    return 0
  fi
  uri=$(mirror)
  if [ -z "$uri" ]; then
    echo "$suite: apt has no Debian mirror here; name one in AMAD_MATRIX_MIRROR"
    return 1
  fi
  if ! command -v debootstrap >/dev/null &&
    ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends debootstrap; } >"$log" 2>&1; then
    tail -n 5 "$log"
    echo "$suite: debootstrap is not installed and could not be"
    return 1
  fi
  echo "$suite: making a chroot in $root"
  # in the background, because a shell does not run traps while it waits for a foreground command
  inside "$limit_make" bash -euo pipefail -c 'make_root "$@"' - "$suite" "$run/root" "$uri" >"$log" 2>&1 &
  making=$!
  status=0
  wait $making || status=$?
  making=
  if [ $status = 0 ]; then
    rm -rf --one-file-system "$root"
    mv "$run/root" "$root"
    touch "$root.made"
    echo "$suite: made in $((SECONDS - start)) seconds"
  else
    tail -n 20 "$log"
    [ $status != 124 ] || echo "$suite: making it took longer than $limit_make seconds"
    if [ ! -e "$root.made" ]; then
      echo "$suite: no chroot could be made (status $status)"
      return 1
    fi
    echo "$suite: could not be made again; using the one of $(date -r "$root.made" +%F)"
  fi
}

# ---- testing in it ------------------------------------------------------------------------------

# All files that are not ignored
copy_tree() {
  local to=$1
  mkdir "$to"
  if git -c safe.directory='*' rev-parse 2>/dev/null; then
    git -c safe.directory='*' ls-files -z --cached --others --exclude-standard
  else
    find . -name '*.o' -prune -o -path ./build -prune -o -type f -print0
  fi | xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' - |
    tar -c --null -T - | tar -x --no-same-owner -C "$to"
}

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
  # one process makes it while others wait; several can test in it at the same time
  exec 9>"$cache/$suite.lock"
  flock 9
  if ! fresh_root "$suite" "$root"; then
    summary+="$suite: skipped: no chroot could be made, see above"$'\n'
    skipped=$((skipped + 1))
    return
  fi
  flock -s 9
  mkdir "$run/tmp"
  copy_tree "$run/tmp/amad"
  tally "$suite" inside "$limit_test" bash -euo pipefail -c 'test_root "$@"' - "$root" "$run/tmp" "${part[@]}"
  rm -rf --one-file-system "$run/tmp"
  exec 9>&-
  summary+="$suite ($(versions "$root")): $((passed - before[0])) passed, $((failed - before[1])) failed,"
  summary+=" $((skipped - before[2])) skipped, in $((SECONDS - start)) seconds"$'\n'
}

summary=
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ $# -gt 0 ] || set -- trixie sid
reason=$(unable)
if [ -n "$reason" ]; then
  skipped=$#
  summary="$*: skipped: $reason"$'\n'
  set --
else
  # left behind by a killed run
  find "$cache" -maxdepth 1 -name 'run.*' -mmin +120 -exec rm -rf --one-file-system {} +
  run=$(mktemp -d "$cache/run.XXXXXX")
fi
for suite; do
  one_suite "$suite"
done
printf '%s' "$summary"
tally_total
