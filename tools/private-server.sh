# shellcheck shell=bash disable=SC2034 # variables for those who source it
# Sourced by the other tools: builds amad and runs a private PostgreSQL server that does not touch other
# installations or servers: a copy of the server's programs with amad, a data directory and a socket, all in
# one scratch directory that is removed afterwards. No port is opened.
#
#   scratch_make          $scratch, removed on exit
#   build_and_install     into the private tree; sets $bindir, $pgxs_src
#   server_start, server_stop
#   as_server cmd ...     runs cmd as the account that owns the server
#
# AMAD_SANITIZE=1 builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer and starts
# every server with their runtime. An error that they find ends the server process and fails the run:
#
#   sanitizer_reports     prints the reports so far; fails if there are any

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Variables of the caller may point to another server, or choose a kernel of the BLAS.
for v in ${!PG@}; do [ "$v" = PG_CONFIG ] || unset "$v"; done
unset OPENBLAS_CORETYPE v
export LC_ALL=C.UTF-8 PG_CONFIG="${PG_CONFIG:-pg_config}"
# Removes the job server of a calling make, which is not reachable here, but keeps its variables
MAKEFLAGS=$(sed -E 's/(^| )(-j[0-9]*|--jobserver-[^ ]*)//g' <<<"${MAKEFLAGS-}")
export MAKEFLAGS
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

scratch=
server_running=

# The server refuses to run as root
if [ "$(id -u)" != 0 ]; then
  account=
elif id postgres >/dev/null 2>&1; then
  account=postgres
else
  account=nobody
fi

as_server() {
  if [ -z "$account" ]; then
    "$@"
  elif command -v setpriv >/dev/null; then
    HOME=$scratch setpriv --reuid="$account" --regid="$(id -g "$account")" --init-groups -- "$@"
  else
    HOME=$scratch runuser -u "$account" -- "$@"
  fi
}

cleanup() {
  local status=$? p
  trap - EXIT
  trap '' INT TERM HUP
  # tests that run beside others stop their servers
  for p in $(jobs -p); do
    pkill -TERM -P "$p" 2>/dev/null || kill "$p" 2>/dev/null || true
    wait "$p" 2>/dev/null || true
  done
  server_stop
  cd /
  [ -z "$scratch" ] || rm -rf "$scratch"
  exit "$status"
}

scratch_make() {
  # /tmp, not TMPDIR: the account needs access, and paths of sockets must be short
  scratch=$(mktemp -d "${AMAD_SCRATCH:-/tmp}/amad.XXXXXX")
  trap cleanup EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  [ -z "$account" ] || chown "$account:" "$scratch"
}

# Makes only the server's program start with the sanitizers: a wrapper in its place preloads them, so pg_ctl,
# initdb and TAP tests work unchanged.
sanitize_install() {
  local root=$1 libdir=$2 preload
  preload="$("${CC:-gcc}" -print-file-name=libasan.so) $root/first.so"
  cp build/asan/amad.so "$root$libdir/amad.so"
  cp build/asan/first.so "$root/first.so"
  mv "$bindir/postgres" "$bindir/postgres.sanitized"
  # No search for leaks: a server process does not free its memory when it ends. Reports go to its log.
  cat >"$bindir/postgres" <<PROGRAM
#!/bin/bash
export LD_PRELOAD='$preload'
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:detect_odr_violation=0:quarantine_size_mb=64
export UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1
exec -a "\$0" "\$0.sanitized" "\$@"
PROGRAM
  chmod 755 "$bindir/postgres"
}

sanitizer_reports() {
  local log found=
  [ -n "${AMAD_SANITIZE-}" ] || return 0
  while read -r log; do
    found=yes
    grep -aE -A 40 'runtime error: |ERROR: AddressSanitizer' "$log" | head -n 100
  done < <(grep -arlE --include='*.log' 'runtime error: |ERROR: AddressSanitizer' "$scratch" 2>/dev/null)
  [ -z "$found" ]
}

build() {
  make -s -j"$jobs" "$@"
}

# PostgreSQL finds its libraries and share files relative to its programs, so copies of the programs
# with links to the rest are an installation to which files can be added. Programs are copied, because a
# link would lead back to the original place.
build_and_install() {
  build all
  [ -z "${AMAD_SANITIZE-}" ] || build asan-module

  local root=$scratch/pg libdir sharedir f
  bindir=$("$PG_CONFIG" --bindir)
  libdir=$("$PG_CONFIG" --pkglibdir)
  sharedir=$("$PG_CONFIG" --sharedir)
  pgxs_src=$(dirname "$("$PG_CONFIG" --pgxs)")/..
  if [ ! -x "$bindir/postgres" ]; then
    echo "no PostgreSQL server in $bindir" >&2
    exit 1
  fi

  mkdir -p "$root$bindir" "$root$libdir" "$root$sharedir/extension"
  cp "$bindir"/* "$root$bindir/"
  for f in "$libdir"/* "$sharedir"/* "$sharedir"/extension/*; do
    case $f in
      */extension | */amad.so | */extension/amad*) ;;
      *) ln -s "$f" "$root$f" ;;
    esac
  done
  make -s install DESTDIR="$root" >/dev/null
  bindir=$root$bindir
  PATH=$bindir:$PATH
  [ -z "${AMAD_SANITIZE-}" ] || sanitize_install "$root" "$libdir"
}

server_start() {
  as_server "$bindir/initdb" -D "$scratch/data" -U postgres -A trust -E UTF8 --no-locale --no-sync \
    >"$scratch/initdb.log" 2>&1 || { cat "$scratch/initdb.log" >&2; exit 1; }
  {
    echo "listen_addresses = ''"
    echo "unix_socket_directories = '$scratch'"
    echo "timezone = 'UTC'"
    echo "fsync = off"
    echo "max_worker_processes = 16"
    if [ -n "${TEMP_CONFIG-}" ]; then cat "$TEMP_CONFIG"; fi
  } | as_server tee -a "$scratch/data/postgresql.conf" >/dev/null
  server_running=yes
  as_server "$bindir/pg_ctl" -s -w -D "$scratch/data" -l "$scratch/server.log" start </dev/null ||
    { cat "$scratch/server.log" >&2; exit 1; }
  export PGHOST=$scratch PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

server_stop() {
  [ -n "$server_running" ] || return 0
  server_running=
  as_server "$bindir/pg_ctl" -s -w -t 30 -D "$scratch/data" -m fast stop >/dev/null 2>&1 ||
    as_server "$bindir/pg_ctl" -s -w -D "$scratch/data" -m immediate stop >/dev/null 2>&1 || true
}
