# Notifications of a watch: listeners wake up while announcements wait, and a notification that fails harms nothing.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# from version 17 on, the queue of notifications can be small
my ($major) = `pg_config --version` =~ /(\d+)/;
my $small_queue = $major >= 17;
my $node = new_node('listen', conf => $small_queue ? "max_notify_queue_pages = 64\n" : '');
sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q(CREATE TABLE readings (ts timestamptz PRIMARY KEY, a float8, b float8);
CREATE FUNCTION at(i int) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT timestamptz '2026-05-01 00:00+00' + i * interval '1 minute' $$;
INSERT INTO readings SELECT at(i), sin(i * 0.2), cos(i * 0.11) + (i * 7919 % 101) / 500.0 FROM generate_series(0, 499) i;
SELECT amad_train('m', 'readings', options => '{"method": "zscore", "horizons": [1]}');
SELECT amad_watch('m', target => 'scores', notify => 'Plant 1', cooldown => '0', merge_gap => '10 seconds');
CALL amad_refresh('m', as_of => at(499));));
my $id = sql('SELECT watch FROM amad_watches');

is(sql(q(LISTEN "Plant 1"; INSERT INTO readings SELECT at(500), 0, 1; CALL amad_refresh('m', as_of => at(500)))), '', 'no notification without an announcement');
my $heard = sql(q(LISTEN "Plant 1"; INSERT INTO readings SELECT at(501), 90, 1; CALL amad_refresh('m', as_of => at(501))));
like($heard, qr/^Asynchronous notification "Plant 1" with payload "$id" received from server process with PID \d+\.$/, 'a notification with the identifier of the watch');
like(sql(q(LISTEN "Plant 1"; CALL amad_refresh('m', as_of => at(501)))), qr/"Plant 1"/, 'again while the announcement waits');
sql(q(SELECT amad_delivered(incident, transition, number) FROM amad_outbox));
is(sql(q(LISTEN "Plant 1"; CALL amad_refresh('m', as_of => at(501)))), '', 'no more when it has been delivered');
is(sql(q(LISTEN "Plant 1"; INSERT INTO readings SELECT at(502), 90, 1; BEGIN; CALL amad_refresh('m', as_of => at(502)); COMMIT)), '',
	'none in a transaction block, which a notification that fails would undo');
is(sql(q(SELECT notify_failures FROM amad_watches)), '0', 'none has failed');

SKIP:
{
	skip 'before version 17 the queue of notifications holds gigabytes', 5 unless $small_queue;
	# a listener in a transaction keeps the queue from being emptied
	my $listener = $node->background_psql('postgres');
	$listener->query_safe('LISTEN other');
	$listener->query_safe('BEGIN; SELECT 1');
	my $full = 0;
	for (1 .. 20)
	{
		my ($status, $out, $err) = $node->psql('postgres', q(SELECT count(pg_notify('other', repeat('x', 7900) || i)) FROM generate_series(1, 20) i));
		next if $status == 0;
		like($err, qr/too many notifications/, 'the queue is full');
		$full = 1;
		last;
	}
	ok($full, 'the queue can be filled');
	is(sql('SELECT count(*) > 0 FROM amad_outbox WHERE delivered IS NULL'), 't', 'an announcement waits');
	sql(q(CALL amad_refresh('m', as_of => at(503))));
	is(sql(q(SELECT state FROM amad_runs ORDER BY run DESC LIMIT 1)), 'done', 'a refresh whose notification failed is done');
	is(sql(q(SELECT notify_failures FROM amad_watches)), '1', 'and the failure is counted');
	$listener->query_safe('COMMIT');
	$listener->quit;
}

sql(q(SELECT amad_watch('m', notify => '')));
is(sql(q(LISTEN "Plant 1"; CALL amad_refresh('m', as_of => at(504)))), '', 'the setting can be taken back');
my ($status, $out, $err) = $node->psql('postgres', q(SELECT amad_watch('m', notify => repeat('x', 64))));
like($err, qr/notify must be the name of a channel, of less than 64 bytes/, 'a name that is too long is refused');

done_testing();
