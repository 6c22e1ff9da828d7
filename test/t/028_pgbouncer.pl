# pgbouncer in transaction mode: procedures that commit, their locks, and announcements, with server connections that clients share.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my ($bouncer) = grep { -x $_ } map { "$_/pgbouncer" } split(':', $ENV{PATH}), '/usr/sbin';
plan skip_all => 'pgbouncer is not installed' unless $bouncer;

my $node = new_node('pooled');
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $dir = $node->basedir . '/bouncer';
my $user = $node->safe_psql('postgres', 'SELECT current_user');
mkdir $dir or die "$dir: $!";
append_to_file("$dir/users", qq("$user" ""\n));
append_to_file("$dir/ini", join("\n", '[databases]', "postgres = host=" . $node->host . " port=" . $node->port . ' dbname=postgres',
	'[pgbouncer]', 'listen_addr =', "listen_port = $port", "unix_socket_dir = $dir", 'auth_type = trust', "auth_file = $dir/users",
	'pool_mode = transaction', 'default_pool_size = 2', "logfile = $dir/log", "pidfile = $dir/pid", ''));
my $process = IPC::Run::start([ $bouncer, '-q', "$dir/ini" ], '<', \undef, '>&', "$dir/out");
END { local $?; $process->kill_kill(grace => 5) if $process; }

# psql through the pooler: its output, with what went wrong
sub pooled
{
	my ($sql) = @_;
	my ($out, $err);

	IPC::Run::run([ 'psql', '-XqAt', '-h', $dir, '-p', $port, '-U', $user, '-c', $sql, 'postgres' ], '<', \undef, '>', \$out, '2>', \$err);
	chomp($out, $err);
	return $err eq '' ? $out : "$out$err";
}

my $until = time + 20;
sleep 0.1 while pooled('SELECT 1') ne '1' && time < $until;
is(pooled('SELECT 1'), '1', 'pgbouncer answers') or BAIL_OUT('no pooler');

$node->safe_psql('postgres', q(CREATE TABLE readings (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
INSERT INTO readings SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) + (i * 7919 % 101) / 500.0
FROM generate_series(0, 499) i, generate_series(1, 3) d));
my $trained = q(SELECT amad_train('m', 'readings', series_cols => '{device}', options => '{"method": "pca", "horizons": [1]}')->>'version');
is(pooled($trained), '1', 'a training');
is(pooled(q(SELECT amad_watch('m', target => 'scores', cooldown => '0')->>'changes')), 'logged by triggers', 'a watch');
is(pooled(q(CALL amad_refresh('m'))), '', 'a refresh, which commits');
is($node->safe_psql('postgres', 'SELECT count(*) FROM scores'), '1500', 'has scored all');
is(pooled(q(CALL amad_care('m', as_of => '2026-05-01 08:20'))), '', 'so does the care');

# no lock of a session may stay on a connection that another client gets
my $locks = q(SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'amad_watches'::regclass);
is($node->safe_psql('postgres', $locks), '0', 'no lock is left');

# many clients at a time
my @clients = map { my $n = $_; my ($out, $err) = ('', '');
	[ IPC::Run::start([ 'psql', '-XqAt', '-h', $dir, '-p', $port, '-U', $user, '-v', 'ON_ERROR_STOP=1',
		map({ ('-c', $_) } "INSERT INTO readings SELECT 1 + $n % 3, '2026-05-01 09:00'::timestamptz + $n * interval '1 minute', 40, 1", q(CALL amad_refresh('m')),
			q(SELECT count(*) > 0 FROM amad_detect('m', last_n => 5)), q(SELECT count(*) >= 0 FROM amad_status)), 'postgres' ], '<', \undef, '>', \$out, '2>', \$err), \$out, \$err ] } 1 .. 8;
$_->[0]->finish for @clients;
is(join(',', map { my $e = ${ $_->[2] }; $e =~ s/^NOTICE:  the watch of model "m" is being refreshed or altered by another session\n//mg; "${$_->[1]}$e" } @clients),
	join(',', ("t\nt\n") x 8), 'eight clients on two connections');
is(pooled(q(CALL amad_refresh('m'))), '', 'a last refresh');
is($node->safe_psql('postgres', q(SELECT count(*) FROM readings r FULL JOIN scores s USING (device, ts) WHERE r.a IS NULL OR s.ts IS NULL)), '0', 'each row has its score');
is($node->safe_psql('postgres', q(SELECT count(*) FROM scores s JOIN (SELECT (series->>'device')::int AS device, ts, severity FROM amad_detect('m')) d USING (device, ts)
	WHERE s.severity IS DISTINCT FROM d.severity)), '0', 'and it is the right one');
is($node->safe_psql('postgres', $locks), '0', 'no lock is left');

# a client that goes away in the middle
$node->safe_psql('postgres', q(CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON scores FOR EACH ROW EXECUTE FUNCTION slow(); INSERT INTO readings VALUES (1, '2026-05-01 10:00', 1, 1)));
my $gone = IPC::Run::start([ 'psql', '-XqAt', '-h', $dir, '-p', $port, '-U', $user, '-c', q(CALL amad_refresh('m')), 'postgres' ], '<', \undef, '>&', "$dir/gone");
ok($node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep')), 'a refresh that takes long');
$gone->kill_kill(grace => 1);
ok($node->poll_query_until('postgres', "SELECT ($locks) = 0"), 'its lock is released when the statement of a client that has gone ends');
$node->safe_psql('postgres', 'DROP TRIGGER slow ON scores');
is(pooled(q(CALL amad_refresh('m'))), '', 'the next one does its work');
is($node->safe_psql('postgres', q(SELECT count(*) FROM readings LEFT JOIN scores s USING (device, ts) WHERE s.ts IS NULL)), '0', 'nothing is lost');

# announcements are taken in one transaction
is(pooled(q(BEGIN; SELECT count(amad_delivered(incident, transition, number)) > 0 FROM amad_deliveries(); COMMIT)), 't', 'announcements');
is(pooled(q(SELECT count(*) FROM amad_deliveries())), '0', 'are delivered once');

done_testing();
