# shellcheck shell=bash disable=SC2016,SC2034 # text in single quotes is for another shell; variables for the sourcing script
# Sourced by scripts that work in chroots of Debian releases, after tools/tally.sh. A chroot is made by debootstrap from
# the mirror this machine's apt uses and kept in a cache for two weeks. The sourcing script defines
#
#   fill_root suite root uri    installs what the chroot of the cache has beside a minimal Debian, when it is made
#
# and calls unable, start_run, use_root, copy_tree and inside.
#
# AMAD_MATRIX_CACHE   where the chroots are kept: default ${XDG_CACHE_HOME:-/var/cache}/amad-matrix
# AMAD_MATRIX_MIRROR  a Debian mirror, if apt does not use one: http://host/debian
# AMAD_MATRIX_MAKE_LIMIT
#                     seconds that making a chroot may take

unset OPENBLAS_CORETYPE
export LC_ALL=C.UTF-8

cache=$(realpath -m "${AMAD_MATRIX_CACHE:-${XDG_CACHE_HOME:-/var/cache}/amad-matrix}")
limit_make=${AMAD_MATRIX_MAKE_LIMIT:-1200}
run=    # directory of this run in the cache
making= # process id of the shell that makes a chroot
summary= # a line for each suite

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

# Sets $run, a directory in the cache that is removed at the end
start_run() {
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  # left behind by a killed run
  find "$cache" -maxdepth 1 -name 'run.*' -mmin +120 -exec rm -rf --one-file-system {} +
  run=$(mktemp -d "$cache/run.XXXXXX")
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
  fill_root "$suite" "$root" "$uri"
}

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
  export -f settle_apt make_root fill_root
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

# use_root suite root: makes the chroot if necessary, and holds a lock on it until file descriptor 9 is closed. One process
# makes it while others wait; several can use it at the same time.
use_root() {
  exec 9>"$2.lock"
  flock 9
  if ! fresh_root "$@"; then
    summary+="$1: skipped: no chroot could be made, see above"$'\n'
    skipped=$((skipped + 1))
    return 1
  fi
  flock -s 9
}

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
