#!/bin/bash
# Tests the installed Debian package as root, in a chroot that may be changed: a database owner trains, scores and watches;
# the database is dumped and restored; the package is removed. Ends with "N passed, N failed".
#
#   test/install/package.sh FILE.deb
set -uo pipefail
deb=$(realpath "$1")
cd "$(dirname "$0")" || exit
exec </dev/null
unset "${!PG@}"

package=$(dpkg-deb -f "$deb" Package)
major=$(tr -cd 0-9 <<<"${package%-amad}")
passed=0 failed=0
check() {
  local name=$1
  shift
  if "$@" >/tmp/check.log 2>&1; then
    passed=$((passed + 1))
    echo "ok: $name"
  else
    failed=$((failed + 1))
    echo "not ok: $name: FAILED"
    tail -n 40 /tmp/check.log
  fi
}

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
# the superuser, and the owner of the database
super() { as_postgres psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
owner() { PGHOST=localhost PGUSER=operator PGPASSWORD=secret psql -Xq -v ON_ERROR_STOP=1 "$@"; }

documentation() {
  dpkg-deb -c "$deb" >/tmp/contents
  for f in README.md SECURITY.md docs/sql.md docs/watch.md changelog.gz copyright examples/amad.json; do
    grep -q " ./usr/share/doc/$package/$f\$" /tmp/contents || { echo "$f is not in the package"; return 1; }
  done
}
no_other_blas() {
  ! dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'lib*blas*' 'liblapack*' 2>/dev/null | grep '^installed' &&
    ! ldd "/usr/lib/postgresql/$major/lib/amad.so" | grep -e blas -e lapack -e 'not found'
}
smoke() {
  owner -a -d plant -f sql/smoke.sql 2>&1 | diff expected/smoke.out -
}
# the bits of all severities, and what the watch has stored
digest() {
  super -d "$1" -c "SET ROLE operator" -c "
    SELECT md5(string_agg(float8send(severity)::text, ',' ORDER BY series->>'device', ts)) FROM amad_detect('pumps')
    UNION ALL SELECT md5(string_agg(s::text, ',' ORDER BY device, ts)) FROM pumps_scores s
    UNION ALL SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM amad_incidents i"
}
restore() {
  as_postgres pg_dump -Fc -f /tmp/plant.dump plant && super -c 'CREATE DATABASE restored OWNER operator' &&
    as_postgres pg_restore --exit-on-error -d restored /tmp/plant.dump
}
same() {
  [ "$(digest plant | grep -c .)" = 3 ] && diff <(digest plant) <(digest restored)
}
watch_on() {
  owner -d restored -c "INSERT INTO readings SELECT device, ts + interval '1000 min', flow, pressure FROM readings" \
    -c "CALL amad_refresh('pumps', as_of => '2024-05-02 09:20')" &&
    [ "$(owner -At -d restored -c 'SELECT count(*) FROM pumps_scores' -c "SELECT series FROM amad_incidents
      WHERE started BETWEEN '2024-05-02 07:40+00' AND '2024-05-02 07:45+00'" | paste -sd' ')" = '4000 {"device": 1}' ]
}
removed() {
  apt-get -q -y remove "$package" && [ -z "$(find /usr/lib/postgresql /usr/share/postgresql -name '*amad*')" ]
}

check "the documentation is in the package" documentation
check "no BLAS is installed or needed" no_other_blas
check "a cluster starts" eval "pg_createcluster $major main && pg_ctlcluster $major main start"
check "a database has an owner who is no superuser" super \
  -c "CREATE ROLE operator LOGIN PASSWORD 'secret'" -c "CREATE DATABASE plant OWNER operator"
if grep -q '^trusted *= *true' "/usr/share/postgresql/$major/extension/amad.control"; then
  check "the owner creates the extension" owner -d plant -c 'CREATE EXTENSION amad'
else
  check "a superuser creates the extension" super -d plant -c 'CREATE EXTENSION amad'
fi
check "the owner trains, scores and watches" smoke
check "a dump is restored" restore
check "the restored database gives the same results" same
check "the restored watch goes on" watch_on
check "amad-notify shows its usage" bash -c "/usr/lib/postgresql/$major/bin/amad-notify 2>&1 | grep 'KIND URL'"
super -d plant -c 'SELECT amad_version()' | sed 's/^/# /'
check "the package is removed without a trace" removed
pg_dropcluster --stop "$major" main
echo "$passed passed, $failed failed"
[ $failed = 0 ]
