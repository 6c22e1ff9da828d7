#!/bin/bash
# Builds the Debian packages of the tree, uncommitted changes included, for each PostgreSQL of this Debian release, and
# checks them with lintian. They are left in build/deb, with the log; nothing else in the tree is written.
#
# Run by root, it installs the packages that are missing for that.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/chroots.sh
. tools/chroots.sh
exec </dev/null
unset "${!PG@}" MAKEFLAGS MAKELEVEL MFLAGS

out=$PWD/build/deb
log=$out/build.log
scratch=$(mktemp -d "${AMAD_SCRATCH:-/tmp}/amad-deb.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch" # the server of the test reads in it
rm -rf "$out"
mkdir -p "$out"
copy_tree "$scratch/amad"

if [ "$(id -u)" = 0 ] && ! { dpkg-checkbuilddeps debian/control.in && command -v lintian; } >/dev/null 2>&1; then
  apt() { DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"; }
  echo "installing what is missing to build the packages"
  {
    apt update && apt install --no-install-recommends build-essential lintian &&
      apt satisfy --no-install-recommends "$(perl -0ne 'print $1 =~ s/\n//gr if /^Build-Depends:(.*?)^\S/ms' debian/control.in)"
  } >"$log" 2>&1 || { tail -n 20 "$log"; exit 1; }
fi

(
  cd "$scratch/amad"
  pg_buildext updatecontrol
  dpkg-buildpackage -us -uc -b "-j$(getconf _NPROCESSORS_ONLN)"
) >"$log" 2>&1 || { tail -n 40 "$log"; exit 1; }
cp "$scratch"/*.deb "$scratch"/*.changes "$scratch"/*.buildinfo "$out/"
ls -l "$out"/*.deb
if command -v lintian >/dev/null; then
  # the packages are not for an upload to Debian
  lintian --allow-root --suppress-tags initial-upload-closes-no-bugs --fail-on error,warning "$out"/*.changes
else
  echo "lintian is not installed: the packages have not been checked"
fi
