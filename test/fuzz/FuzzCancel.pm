# Statements are cancelled, and sessions and parallel workers ended, at any moment; afterwards nothing is
# left behind and stored models score as before.
package FuzzCancel;

use strict;
use warnings;

use Fuzz;
use FuzzSession;
use Time::HiRes qw(time sleep);

# A timeout much longer than any statement takes
use constant TIMEOUT_MS => 20000;
# A cancelled statement must end within this time
use constant STUCK_MS => 2000;

my $tiny = '{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 60, "horizons": [2, 4], "advanced": {"batch_size": 4}}';

my @setup = (
	'CREATE EXTENSION IF NOT EXISTS amad', 'DROP SCHEMA IF EXISTS fuzz CASCADE', 'CREATE SCHEMA fuzz', 'DELETE FROM amad_models',
	q(CREATE TABLE fuzz.readings AS SELECT i::bigint AS ts, d AS device, sin(i * 0.2 + d) AS a, cos(i * 0.11) + (i * 7919 % 101) / 500.0 AS b,
		(i * 104729 % 1009) / 1009.0 AS c FROM generate_series(1, 5000) i, generate_series(1, 3) d),
	'CREATE TABLE fuzz.pauses AS SELECT 10::bigint AS b, 20::bigint AS e', 'VACUUM ANALYZE',
	"SELECT amad_train(model_name => 'kept', source => 'fuzz.readings', timestamp_col => 'ts', feature_cols => '{a,b,c}', series_cols => '{device}', options => '$tiny')",
	# signals n times; stuck names the statement that does not end
	sprintf(q(CREATE FUNCTION fuzz.disturb(n int, pause float8, OUT sent int, OUT to_workers int, OUT most_ms float8, OUT stuck text, OUT stuck_pid int) LANGUAGE plpgsql AS $$
DECLARE
	target record;
	began timestamptz;
	ms float8;
BEGIN
	sent := 0; to_workers := 0; most_ms := 0;
	-- or when nobody is there to be disturbed
	WHILE sent < n AND clock_timestamp() < statement_timestamp() + '2 s' LOOP
		PERFORM pg_sleep(random() * pause);
		PERFORM pg_stat_clear_snapshot();
		SELECT a.pid, a.backend_start, a.query_start, a.backend_type, a.query INTO target FROM pg_stat_activity a
			WHERE a.application_name = 'fuzz target' AND a.state = 'active' ORDER BY random() * (a.backend_type <> 'client backend')::int, random() LIMIT 1;
		CONTINUE WHEN target IS NULL;
		IF random() < 0.5 AND EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'parallel worker' AND application_name = 'fuzz target') THEN
			SELECT a.pid, a.backend_start, a.query_start, a.backend_type, a.query INTO target FROM pg_stat_activity a
				WHERE a.application_name = 'fuzz target' AND a.backend_type = 'parallel worker' ORDER BY random() LIMIT 1;
		END IF;
		CONTINUE WHEN target IS NULL;
		IF target.backend_type = 'client backend' AND random() < 0.7 THEN
			CONTINUE WHEN NOT pg_cancel_backend(target.pid);
		ELSE
			CONTINUE WHEN NOT pg_terminate_backend(target.pid);
		END IF;
		sent := sent + 1;
		to_workers := to_workers + (target.backend_type <> 'client backend')::int;
		began := clock_timestamp();
		LOOP
			PERFORM pg_stat_clear_snapshot();
			EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_get_activity(target.pid) s WHERE s.backend_start = target.backend_start
				AND s.query_start = target.query_start AND s.state = 'active');
			ms := extract(epoch FROM clock_timestamp() - began) * 1000;
			IF ms > %d THEN
				stuck := target.backend_type || ': ' || target.query;
				stuck_pid := target.pid;
				RETURN;
			END IF;
			PERFORM pg_sleep(0.001);
		END LOOP;
		most_ms := greatest(most_ms, extract(epoch FROM clock_timestamp() - began) * 1000);
	END LOOP;
END $$), STUCK_MS));

my $digest = q(SELECT md5(string_agg(encode(float8send(s), 'hex'), ' ' ORDER BY device, ts)) FROM
	(SELECT device, ts, amad_score('kept', jsonb_build_object('device', device), ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) AS s FROM fuzz.readings WHERE ts < 300) x);

# Statements that take a while; own is a name that no other session trains
sub statements
{
	my ($own) = @_;
	my $source = "source => 'fuzz.readings', timestamp_col => 'ts', feature_cols => '{a,b,c}', series_cols => '{device}'";

	return (
		"SELECT amad_train('$own', '$tiny', ts, a, b, c) FROM fuzz.readings WHERE device = 1",
		"SELECT amad_train(model_name => '$own', $source, options => '$tiny')",
		"SELECT amad_train(model_name => '$own', $source, options => '{\"method\": \"pca\", \"horizons\": [1, 2]}')",
		"SELECT amad_train(model_name => '$own', $source, options => '{\"method\": \"zscore\", \"horizons\": [1]}')",
		"SELECT length(amad_fit('$tiny'::jsonb, ts, a, b, c)::text) FROM fuzz.readings WHERE device = 2",
		"SELECT device, length(amad_fit('$tiny'::jsonb, ts, a, b, c)::text) FROM fuzz.readings GROUP BY device",
		"SELECT count(amad_score) FROM (SELECT amad_score('kept', ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) FROM fuzz.readings) x",
		"SELECT count(e) FROM (SELECT amad_explain('kept', ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) AS e FROM fuzz.readings) x",
		"SELECT count(*) FROM amad_detect_bigint('kept')",
		"SELECT count(*) FROM amad_detect_bigint('kept', last_n => 500)",
		"SELECT count(*) FROM amad_detect_bigint('kept', source => 'SELECT r.* FROM fuzz.readings r, pg_sleep(0.01)', timestamp_col => 'ts')",
		"SELECT * FROM amad_detect_bigint('kept') LIMIT 10",
		"SELECT count(*) FROM amad_events_bigint('kept', maintenance => 'fuzz.pauses')",
		"SELECT count(*) FROM amad_drift_bigint('kept', since => 1000)",
		"BEGIN; SELECT amad_recalibrate_bigint('kept', since => 1000); ROLLBACK",
		"BEGIN; SELECT amad_retrain('kept', true); ROLLBACK",
		"BEGIN; SELECT amad_watch('kept', target => 'fuzz.scores'); CALL amad_refresh('kept'); ROLLBACK",
		"SELECT amad_watch('kept', target => 'fuzz.scores'); CALL amad_refresh('kept'); UPDATE fuzz.readings SET a = a; CALL amad_refresh('kept'); SELECT amad_unwatch('kept')",
		"BEGIN; SELECT amad_retrain_bigint('kept', until => 4000, deploy => 'if_better', keep => 1); ROLLBACK",
		"BEGIN; SELECT amad_recalibrate_bigint('kept', since => 1000, deploy => 'if_better'); ROLLBACK",
		"SELECT count(*) FROM amad_compare_bigint('kept', NULL)",
		"SELECT amad_evaluate(sin(i), i % 100 = 0) FROM generate_series(1, 200000) i",
		"SELECT amad_evaluate(sin(i), i % 100 = 0) FROM generate_series(1, 200000) i GROUP BY i % 3",
		"BEGIN; DECLARE c CURSOR FOR SELECT * FROM amad_detect_bigint('kept'); FETCH 10 FROM c; SAVEPOINT s; SELECT count(*) FROM amad_detect_bigint('kept'); ROLLBACK TO s; FETCH 10 FROM c; COMMIT",
		"DO \$\$ BEGIN FOR i IN 1..3 LOOP BEGIN PERFORM amad_train(model_name => '$own', $source, options => '$tiny'); EXCEPTION WHEN query_canceled THEN EXIT; END; END LOOP; END \$\$",
		"SELECT count(amad_describe(model)), count(w.data) FROM amad_models, amad_weights(model) w",
	);
}

# Forms for a time column of type bigint, for functions that have them
sub adapt
{
	my ($names, @statements) = @_;

	s/\b(amad_\w+)_bigint\b/my $f = $1; $names =~ m{\b${f}_bigint\b} ? "${f}_bigint" : $f/ge for @statements;
	return @statements;
}

sub target
{
	my ($number, $names, $expected, $seed, $fuzz) = @_;
	my @statements = adapt($names, statements("own $number"));
	my $session;
	my $since_check = 0;
	my $run = sub {
		my ($sql) = @_;
		my $result = $session->run($sql, (TIMEOUT_MS + Fuzz::HANG_MS + Fuzz::LOST_MS) / 1000);

		if ($result->{state} eq 'LOST')
		{
			$session = undef;
			# the report on a crash comes from the log
			$fuzz->count($result->{out} =~ /57P01/ ? 'sessions ended' : 'connections lost');
			return undef;
		}
		return $result;
	};

	Fuzz::seed_case($seed, 'cancel', $number);
	for (my $n = $number; $fuzz->{send}->(); $n += 100)
	{
		if (!$session)
		{
			wait_for_server() or die "the server does not come back\n";
			$session = FuzzSession->new(appname => 'fuzz target', setup => [ 'SET statement_timeout = ' . TIMEOUT_MS,
					'SET amad.max_parallel_workers = ' . pick(0, 2, 2), 'SET parallel_setup_cost = 0', 'SET parallel_tuple_cost = 0',
					'SET min_parallel_table_scan_size = 0', 'SET work_mem = ' . pick("'4MB'", "'1MB'", "'64MB'") ]) or next;
		}
		my $sql = pick(@statements);
		$fuzz->{failures} = [];
		# in one message: psql would send what follows a cancelled BEGIN, too
		my $result = $run->($sql =~ /^BEGIN;/ ? $sql =~ s/; /\\; /gr : $sql) // next;
		$fuzz->count('calls');
		$fuzz->count("state $result->{state}");
		if ($result->{state} eq 'HUNG')
		{
			$fuzz->fail('hang', $sql, sprintf('no answer in %.0f ms', $result->{ms}));
			$fuzz->{session} = $session;
			$fuzz->kill_backend;
			$fuzz->{session} = $session = undef;
		}
		elsif ($result->{state} =~ /^XX/ || $result->{out} =~ /^WARNING:(?!.*repeat a timestamp)/m)
		{
			$fuzz->fail($result->{state} =~ /^XX/ ? 'XX' : 'leak', $sql, join ' / ', FuzzSession::message($result), $result->{out} =~ /^(WARNING:.*)/mg);
		}
		elsif ($result->{state} =~ /^57/)
		{
			$fuzz->count('cancelled');
		}
		# without the watch whose creation was cancelled, later statements fail
		elsif ($result->{state} !~ /^(?:00000|55000|08006|55P03|40001|40P01|25P02)/
			&& !($result->{state} eq '42704' && $sql =~ /amad_watch/))
		{
			$fuzz->fail('wrong', $sql, FuzzSession::message($result));
		}
		if ($session && $result->{state} ne '00000')
		{
			$run->('ROLLBACK') // next;
		}
		if (++$since_check >= 25)
		{
			# cancelled like any other
			$result = $run->($digest) // next;
			$since_check = 0 if $result->{state} eq '00000';
			if ($result->{state} eq '00000' && $result->{out} !~ /^\Q$expected\E$/m)
			{
				$fuzz->fail('wrong', $digest, "the stored model scores otherwise: $result->{out}, not $expected");
			}
			$fuzz->count('checks');
		}
		if ($since_check == 12)
		{
			$run->("DELETE FROM amad_models WHERE model_name = 'own $number'") // next;
		}
		$fuzz->count('cases');
		if (@{ $fuzz->{failures} })
		{
			$fuzz->{send}->({ failure => $fuzz->{failures}[0] });
			$fuzz->count('failed');
			$fuzz->count("failed by $fuzz->{failures}[0]{kind}");
		}
	}
	return;
}

sub disturber
{
	my ($cancels, $seed, $fuzz) = @_;
	my $session;

	while ($fuzz->{send}->() && (!$cancels || ($fuzz->{figures}{cancels} // 0) < $cancels))
	{
		if (!$session)
		{
			wait_for_server() or die "the server does not come back\n";
			$session = FuzzSession->new(appname => 'fuzz disturber') or next;
		}
		my $result = $session->run('SELECT * FROM fuzz.disturb(20, ' . pick(0, 0.003, 0.01, 0.05) . ')', 600);
		if ($result->{state} ne '00000')
		{
			# the server went down
			$session = undef if $result->{state} eq 'LOST';
			die "fuzz.disturb: $result->{out}\n" if $session;
			next;
		}
		my ($sent, $to_workers, $ms, $stuck, $pid) = $result->{out} =~ /^(\d+)\|(\d+)\|([\d.e+-]+)\|([^|]*)\|?(\d*)/m or die $result->{out};
		$fuzz->count('cancels', $sent);
		$fuzz->count('of them to parallel workers', $to_workers);
		$ms = 0 + sprintf('%.0f', $ms);
		$fuzz->{figures}{'most ms to obey'} = $ms if $ms > ($fuzz->{figures}{'most ms to obey'} // 0);
		if ($pid)
		{
			$fuzz->{send}->({ failure => { kind => 'hang', statement => $stuck, detail => 'not cancelled within ' . STUCK_MS . ' ms' } });
			$fuzz->count('failed');
			$fuzz->count('failed by hang');
			# most end later
			for (1 .. 150)
			{
				last if $session->run("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND state = 'active'", 60)->{out} !~ /^1$/m;
				sleep 0.1;
				if ($_ == 150)
				{
					$fuzz->{send}->({ own_kill => $pid });
					kill 'KILL', $pid;
					$session = undef;
				}
			}
		}
	}
	$fuzz->{send}->({ stop => 1 });
	return;
}

# What must be gone when all sessions have ended: name and query for a number
my %left = (
	'segments of shared memory' => "SELECT count(*) FROM pg_ls_dir('pg_dynshmem') d WHERE current_setting('dynamic_shared_memory_type') = 'mmap' AND d ~ '^mmap'",
	'temporary files' => 'SELECT count(*) FROM pg_ls_tmpdir()',
	'locks' => "SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype IN ('object', 'relation', 'advisory')
		AND pid IN (SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'fuzz%')",
	'parallel workers' => "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'",
);

sub run
{
	my (%params) = @_;

	wait_for_server() or die "no server\n";
	my $session = FuzzSession->new;
	for (@setup)
	{
		my $result = $session->run($_, 120);
		die "$_: $result->{out}" if $result->{state} ne '00000';
	}
	my ($expected) = $session->run($digest, 120)->{out} =~ /^(\w{32})$/m or die 'no digest';
	my $names = $session->run("SELECT string_agg(DISTINCT proname, ' ') FROM pg_proc WHERE proname LIKE 'amad\\_%'", 60)->{out};
	for my $sql (adapt($names, statements('own')))
	{
		my $result = $session->run($sql, 120);
		die "$sql: $result->{out}" if $result->{state} ne '00000';
	}
	my $segments = ($session->run($left{'segments of shared memory'}, 60)->{out} =~ /^(\d+)$/m)[0];
	my @subs;
	for my $number (0 .. $params{sessions})
	{
		push @subs, sub {
			my ($send) = @_;
			my $fuzz = Fuzz::context(part => 'cancel', seed => $params{seed}, log => $params{log}, send => $send);
			Fuzz::seed_case($params{seed}, 'cancel', $number);
			$number == 0 ? disturber($params{cancels}, $params{seed}, $fuzz) : target($number, $names, $expected, $params{seed}, $fuzz);
			$send->({ figures => $fuzz->{figures} });
		};
	}
	my $figures = run_processes(subs => \@subs, seconds => $params{seconds}, log => $params{log}, report => $params{report});

	wait_for_server();
	$session = FuzzSession->new or die "no server\n";
	for my $what (sort keys %left)
	{
		my $n;
		# sessions whose clients are gone may need a moment
		for (1 .. 100)
		{
			($n) = $session->run($left{$what}, 60)->{out} =~ /^(\d+)$/m;
			$n -= $segments if $what =~ /segments/ && defined $n;
			last if defined $n && $n <= 0;
			sleep 0.1;
		}
		$figures->{cases}++;
		next if defined $n && $n <= 0;
		$params{report}->({ failure => { kind => 'leak', statement => $left{$what}, detail => ($n // 'unknown') . " $what are left" } });
		$figures->{failed}++;
		$figures->{'failed by leak'}++;
	}
	return $figures;
}

1;
