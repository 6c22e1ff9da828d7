# tools/amad-notify: each announcement arrives, although the receiver fails, hangs, hangs up or is away, and the program is killed.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadReceiver;
use AmadTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

# tools/test.sh copies it
my $tool = "$FindBin::RealBin/../amad-notify";
plan skip_all => 'curl is not installed' if system('curl --version >/dev/null 2>&1') != 0;

my $node = new_node('notify');
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
local $ENV{TIMEOUT} = 1;

sub sql { return $node->safe_psql('postgres', $_[0]) }

# ---- incidents: rows of devices at minutes, some of them far too high --------------------------------

sql(q(CREATE TABLE readings (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
CREATE FUNCTION at(i int) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$ SELECT timestamptz '2026-05-01 00:00+00' + i * interval '1 minute' $$;
CREATE PROCEDURE step(i int, high int[]) LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO readings SELECT d, at(i), CASE WHEN d = ANY (high) THEN 50 ELSE sin(i * 0.2 + d) END, cos(i * 0.11) + (i * 7919 % 101) / 500.0
  FROM generate_series(1, 3) d;
  CALL amad_refresh('m m', as_of => at(i)); END $$;
INSERT INTO readings SELECT d, at(i), sin(i * 0.2 + d), cos(i * 0.11) + (i * 7919 % 101) / 500.0 FROM generate_series(0, 499) i, generate_series(1, 3) d;
SELECT amad_train('m m', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}');
SELECT amad_watch('m m', target => 'scores', merge_gap => '2 minutes', cooldown => '0', critical_severity => 1000,
  labels => '{"team": "plant", "site": "of the watch", "2nd-level": "x"}');
CALL amad_refresh('m m', as_of => at(499));));
my $minute = 500;
# two incidents, opened and closed
sub incidents
{
	for my $high ('{1,2}', '{}', '{}', '{}')
	{
		sql("SET client_min_messages = warning; CALL step($minute, '$high')");
		$minute++;
	}
	return;
}
my $waiting = 'SELECT count(*) FROM amad_outbox WHERE delivered IS NULL';

# ---- a receiver --------------------------------------------------------------------------------------------

my $log = $node->basedir . '/received';
my $port = PostgreSQL::Test::Cluster::get_free_port();

sub receiver { return start_receiver($port, $log, @_) }
sub stop { return stop_receiver(@_) }
sub received { return -e $log ? split /\n/, slurp_file($log) : () }

sub notify
{
	my (@args) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ $tool, '-1', @args, "http://127.0.0.1:$port/hook" ], '>', \$out, '2>', \$err);
	return ($out, $err);
}

# ---- each kind of receiver -----------------------------------------------------------------------------

incidents();
is(sql($waiting), 4, 'two incidents, opened and closed, are to be announced');
my ($out, $err) = notify('webhook');
is(sql($waiting), 4, 'without a receiver they wait');
like($err, qr/the receiver answered/, 'and a message says so');

my $pid = receiver(500, 'hang', 'hang up', 302, 404);
($out, $err) = notify('webhook');
# an incident whose opening has not arrived is not closed
is(sql($waiting), 4, 'they wait when the receiver fails or hangs');
notify('webhook') for 1 .. 3;
is(sql($waiting), 0, 'all arrive later');
my @ok = grep { s/^200 // } received();
is(scalar @ok, 4, 'each once, if nothing went wrong');
is(join(' ', map { /"transition": "(\w+)"/ } grep { /"device": 1\}/ } @ok), 'open closed', 'in their order');
like($ok[0], qr/"model": "m m"/, 'a message');
like($ok[0], qr/"class": "warning".*"labels": \{"site": "of the watch", "team": "plant", "2nd-level": "x"\}/, 'with a class, and the labels of the watch');
unlink $log;

for my $kind ([ 'slack', qr/^\{"text": "m m: open anomaly \{\\"device\\": \d\} severity [\d.]+ from 2026-05-01T08:\d\d.* a 50 \(expected / ],
	[ 'alertmanager', qr/^\[\{"endsAt": ".*"labels": \{.*"alertname": "amad_anomaly".*"startsAt": "2026-05-01T08:/ ])
{
	local $ENV{LABELS} = '{"site": "plant \'1\'"}';
	incidents();
	notify($kind->[0]);
	@ok = grep { s/^200 // } received();
	is(scalar @ok, 4, "$kind->[0]: all arrive");
	like($ok[0], $kind->[1], 'in its form');
	next if $kind->[0] ne 'alertmanager';
	my $tomorrow = sql("SELECT to_char(now() + interval '1 day', 'YYYY-MM-DD')");
	is(scalar(grep { /^\[\{"endsAt": "([^"]*)"/ && $1 lt $tomorrow } @ok), 2, 'with an end that has come, if they have ended');
	like($ok[0], qr/"site": "plant '1'", "team": "plant", "model": "m m", "series": .*, "_2nd_level": "x"/, 'and labels, those of the environment first');
	is(scalar(grep { /"severity": "warning".*"severity": "critical"/ && (() = /"endsAt"/g) == 2 } @ok), 2,
		'when they have ended, alerts of both classes are closed');
}
continue { unlink $log }

# ---- classes and kinds -------------------------------------------------------------------------------------

# as other kinds of incidents are written; the last column is the expected text
my @kinds = (
	[ 'job', 'NULL', 'NULL', 'critical: open failure of a job from', 'critical' ],
	[ 'silent', 'NULL', 0, 'critical: open silence of the source from', 'critical' ],
	[ 'silent', q('{"device": 1}'), 0, 'open silence {"device": 1} from', 'warning' ],
	[ 'drift', q('{"device": 1}'), 'NULL', 'open drift {"device": 1} from', 'warning' ],
	[ 'anomaly', q('{"device": 1}'), 999, 'open anomaly {"device": 1} severity 999.0 from', 'warning' ],
	[ 'anomaly', q('{"device": 1}'), 1000, 'critical: open anomaly {"device": 1} severity 1000.0 from', 'critical' ],
	[ 'anomaly', q('{"device": 1}'), q('NaN'), 'critical: open anomaly {"device": 1} severity NaN from', 'critical' ]);
for my $kind (@kinds)
{
	my ($name, $series, $peak, $text, $class) = @$kind;

	sql(qq(WITH i AS (INSERT INTO amad_incidents (watch, series_id, series, kind, state, started, first_ts, last_ts, opened_at, announced_severity, peak_severity, detail)
		SELECT watch, '\\x00', $series, '$name', 'open', at(0), 0, 0, now(), 0, $peak, CASE WHEN '$name' IN ('job', 'drift') THEN 'what to do' END FROM amad_watches RETURNING id, watch)
		INSERT INTO amad_outbox SELECT id, 'open', 0, watch, id, now(), now() FROM i));
	is(sql("SELECT message->>'class' FROM amad_deliveries()"), $class, "class of an incident of the kind $name");
	notify('slack');
	my $expected = quotemeta $text =~ s/"/\\"/gr;
	my $detail = $name =~ /^(job|drift)$/ ? ' what to do' : '';
	like((received())[-1], qr/^200 \{"text": "m m: $expected 2026\S*$detail"\}/, 'and its text');
}
# a message that is longer than a variable of the environment may be, and has marks of Slack
sql(q(UPDATE amad_incidents SET series = jsonb_build_object('device', '<!channel> & ' || repeat('x', 300000)) WHERE kind = 'drift';
	UPDATE amad_outbox SET delivered = NULL WHERE incident = (SELECT id FROM amad_incidents WHERE kind = 'drift')));
notify('slack');
like((received())[-1], qr/"m m: open drift \{\\"device\\": \\"&lt;!channel&gt; &amp; @{[ "x" x 300000 ]}\\"\}/, 'a long message arrives');
is(sql($waiting), 0, 'and is confirmed');
# of a group, the class is that of its worst
sql(q(UPDATE amad_incidents SET leader = (SELECT min(id) FROM amad_incidents WHERE kind = 'drift') WHERE kind = 'drift' OR peak_severity = 1000;
	UPDATE amad_outbox SET delivered = NULL WHERE incident = (SELECT min(id) FROM amad_incidents WHERE kind = 'drift')));
is(sql("SELECT message->>'class' FROM amad_deliveries()"), 'critical', 'class of a group');
notify('slack');
sql(q(DELETE FROM amad_incidents WHERE kind <> 'anomaly' OR peak_severity >= 999));
unlink $log;

# ---- a real Alertmanager -----------------------------------------------------------------------------------

SKIP:
{
	my $program = (grep { -x } map { ("$_/prometheus-alertmanager", "$_/alertmanager") } split /:/, "$ENV{PATH}:/usr/bin:/usr/local/bin")[0];

	skip 'Alertmanager is not installed', 6 if !defined $program;
	my $am_port = PostgreSQL::Test::Cluster::get_free_port();
	my $dir = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$dir/conf.yml", "global:\n  resolve_timeout: 1s\nroute:\n  receiver: none\nreceivers:\n  - name: none\n");
	my $am = IPC::Run::start([ $program, "--config.file=$dir/conf.yml", "--storage.path=$dir", "--web.listen-address=127.0.0.1:$am_port",
		'--cluster.listen-address='], '>', "$dir/log", '2>&1');
	my $alerts = sub {
		my $out = qx(curl -sS --max-time 5 'http://127.0.0.1:$am_port/api/v2/alerts?active=true' 2>&1);
		return join ' ', sort $out =~ /"severity":"(\w+)"/g;
	};
	my $send = sub {
		my ($err) = ('');
		IPC::Run::run([ $tool, '-1', 'alertmanager', "http://127.0.0.1:$am_port/api/v2/alerts" ], '>', \my $sent, '2>', \$err);
		is($err, '', 'Alertmanager accepts everything');
	};
	for (1 .. 100) { last if qx(curl -sS http://127.0.0.1:$am_port/-/ready 2>&1) =~ /^OK/; sleep 0.1 }
	sql("SET client_min_messages = warning; CALL step($minute, '{1,2}')");
	$minute++;
	$send->();
	sleep 2;
	is($alerts->(), 'warning warning', 'open incidents stay open');
	sql("SELECT amad_watch('m m', critical_severity => 1);
		INSERT INTO amad_outbox SELECT id, 'peak', 1, watch, id, now(), now() FROM amad_incidents WHERE state = 'open' ORDER BY id LIMIT 1");
	$send->();
	is($alerts->(), 'critical warning', 'one becomes critical');
	sql("SET client_min_messages = warning; CALL step($_, '{}')") for $minute .. $minute + 2;
	$minute += 3;
	$send->();
	is($alerts->(), '', 'and all are closed');
	sql("SELECT amad_watch('m m', critical_severity => 1000)");
	$am->kill_kill;
}

# ---- a watch that fails, in a program that goes on running ------------------------------------------------

sub running
{
	my $child = fork;

	die if !defined $child;
	return $child if $child;
	$ENV{INTERVAL} = 0.1;
	open STDOUT, '>', '/dev/null';
	open STDERR, '>', '/dev/null';
	exec $tool, 'webhook', "http://127.0.0.1:$port/hook";
}

sub wait_for
{
	my ($condition) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	sleep 0.05 while !$condition->() && time < $end;
	return $condition->();
}

# the name of a model is not a program
my $trap = $node->basedir . '/trap';
sql("CREATE TABLE others AS SELECT * FROM readings; SELECT amad_train('x]\$(touch $trap)', 'others', series_cols => '{device}',
	options => '{\"method\": \"zscore\", \"horizons\": [1]}'); SELECT amad_watch('x]\$(touch $trap)', target => 'other_scores');
	ALTER TABLE others RENAME a TO b2");
$node->psql('postgres', "CALL amad_refresh('x]\$(touch $trap)')");

my $child = running();
ok(wait_for(sub { grep { /touch.*"state": "failing"/ } received() }), 'a watch with a hostile name is announced');
sql("ALTER TABLE others RENAME b2 TO a; CALL amad_refresh('x]\$(touch $trap)', as_of => at($minute))");
ok(wait_for(sub { grep { /touch.*"state": "ok"/ } received() }), 'and that it is well again');
ok(!-e $trap, 'and its name is not executed');
sql("SELECT amad_drop('x]\$(touch $trap)')");
unlink $log;
sql('ALTER TABLE readings RENAME a TO other');
$node->psql('postgres', "CALL amad_refresh('m m')");
ok(wait_for(sub { grep { /"state": "failing"/ } received() }), 'a watch that fails is announced');
sql('ALTER TABLE readings RENAME other TO a');
sql("CALL amad_refresh('m m', as_of => at($minute))");
ok(wait_for(sub { grep { /"state": "ok"/ } received() }), 'and that it is well again');
my @failing = grep { /"state": "failing"/ } received();
is(scalar @failing, 1, 'once');
like($failing[0], qr/"class": "critical".*"labels": \{"site": "of the watch"/, 'as critical, with the labels of the watch');

# ---- everything is killed at random ----------------------------------------------------------------------

my $first = $minute;
srand 1;
for my $round (1 .. 12)
{
	incidents();
	sleep rand 0.3;
	if ($round % 3 == 0)
	{
		stop($pid);
		sleep rand 0.2;
		$pid = receiver(('hang up') x int(rand 3), 503);
	}
	elsif ($round % 3 == 1)
	{
		kill 'KILL', $child;
		waitpid $child, 0;
		$child = running();
	}
	elsif ($round == 5)
	{
		$node->stop('immediate');
		$node->start;
	}
}
ok(wait_for(sub { sql($waiting) == 0 }), 'everything is delivered in the end');
kill 'TERM', $child;
waitpid $child, 0;
my %arrived;
for (received())
{
	next if !/^200 / || !/"kind": "anomaly"/;
	my ($incident) = /"incident": (\d+)/;
	my ($transition) = /"transition": "(\w+)"/;
	$arrived{"$incident $transition"}++;
}
my @lost = grep { !$arrived{$_} } split /\n/, sql("SELECT incident || ' ' || transition FROM amad_outbox o JOIN amad_incidents i ON i.id = o.incident
	WHERE o.leader = o.incident AND started >= at($first)");
is("@lost", '', 'no transition is lost');
cmp_ok(scalar(keys %arrived), '>=', 40, 'there were many');

stop($pid);
$node->stop;
done_testing();
