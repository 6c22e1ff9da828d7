# Sources are dropped, created again, changed and renamed while other sessions train on them and score them: a
# clean error, or correct rows.
package FuzzDdl;

use strict;
use warnings;

use Fuzz;
use FuzzSession;
use Time::HiRes qw(time sleep);

use constant TIMEOUT_MS => 5000;

my $zscore = '{"method": "zscore", "horizons": [1]}';
my $tiny = '{"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 3, "horizons": [2, 4]}';
my $rows = "SELECT i::bigint AS ts, d AS dev, sin(i * 0.2)::float8 AS a, (i % 7)::float8 AS b FROM generate_series(1, 100) i, unnest('{x,y}'::text[]) d";

# Relations that are dropped and created. same has the same rows whenever it exists.
my %create = (
	same => "CREATE TABLE ddl.same AS $rows",
	t => "CREATE TABLE ddl.t AS $rows",
	v => 'CREATE VIEW ddl.v AS SELECT * FROM ddl.base',
	f => 'CREATE FUNCTION ddl.f() RETURNS TABLE (ts bigint, dev text, a float8, b float8) LANGUAGE sql AS $f$ SELECT * FROM ddl.base $f$',
	s => "CREATE SCHEMA gone; CREATE TABLE gone.t AS $rows",
	p => "CREATE TABLE ddl.p (ts bigint, dev text, a float8, b float8) PARTITION BY LIST (dev); CREATE TABLE ddl.p1 PARTITION OF ddl.p DEFAULT; INSERT INTO ddl.p $rows",
	pauses => 'CREATE VIEW ddl.pauses AS SELECT 10::bigint AS b, 20::bigint AS e',
);

my @setup = (
	'DROP SCHEMA IF EXISTS ddl CASCADE', 'DROP SCHEMA IF EXISTS gone CASCADE', 'CREATE SCHEMA ddl', "CREATE TABLE ddl.base AS $rows",
	values %create);

# The sources of models, by the name of the model
my %sources = (same => 'ddl.same', t => 'ddl.t', v => 'ddl.v', f => 'SELECT * FROM ddl.f()', s => 'gone.t', p => 'ddl.p', q => 'SELECT t.* FROM ddl.t t JOIN ddl.v v USING (ts, dev)');

my @changes_of_sources = (
	("BEGIN; DROP TABLE ddl.same; $create{same}; COMMIT") x 4,
	("DROP TABLE ddl.t; $create{t}") x 4,
	("BEGIN; DROP TABLE ddl.t CASCADE; $create{t}; COMMIT") x 2,
	'DROP TABLE IF EXISTS ddl.t; CREATE TABLE ddl.t (ts bigint, dev text, a float8, b float8)',
	"DROP TABLE IF EXISTS ddl.t; CREATE TABLE ddl.t AS SELECT ts, dev, a::numeric AS a, b::int AS b FROM ddl.base",
	"DROP TABLE IF EXISTS ddl.t; CREATE TABLE ddl.t AS SELECT ts::int AS ts, length(dev) AS dev, a::float4 AS a, b FROM ddl.base",
	"DROP TABLE IF EXISTS ddl.t; CREATE TABLE ddl.t AS SELECT timestamptz '2026-01-01 00:00+00' + ts * interval '1 s' AS ts, dev, a, b FROM ddl.base",
	'ALTER TABLE ddl.t ADD COLUMN z float8 DEFAULT 1', 'ALTER TABLE ddl.t DROP COLUMN IF EXISTS z', 'ALTER TABLE ddl.t DROP COLUMN b, ADD COLUMN b float8 DEFAULT 2',
	'ALTER TABLE ddl.t RENAME COLUMN a TO a2', 'ALTER TABLE ddl.t RENAME COLUMN a2 TO a', 'ALTER TABLE ddl.t RENAME TO t2; ALTER TABLE ddl.t2 RENAME TO t',
	'BEGIN; ALTER TABLE ddl.t RENAME TO t2; CREATE TABLE ddl.t AS SELECT * FROM ddl.base; DROP TABLE ddl.t2; COMMIT',
	'ALTER TABLE ddl.t ALTER COLUMN a TYPE numeric', 'ALTER TABLE ddl.t ALTER COLUMN a TYPE float8', 'ALTER TABLE ddl.t ALTER COLUMN b TYPE int USING b::int',
	'ALTER TABLE ddl.t ALTER COLUMN b TYPE text USING b::text', 'ALTER TABLE ddl.t ALTER COLUMN dev TYPE name', 'ALTER TABLE ddl.t ALTER COLUMN dev TYPE text',
	'ALTER TABLE ddl.t SET SCHEMA gone; ALTER TABLE gone.t SET SCHEMA ddl', 'TRUNCATE ddl.t', "INSERT INTO ddl.t $rows", 'VACUUM FULL ddl.t', 'CREATE INDEX ON ddl.t (ts)',
	'CREATE INDEX IF NOT EXISTS t_ts ON ddl.t (ts)', 'DROP INDEX IF EXISTS ddl.t_ts', 'ALTER TABLE ddl.t ADD PRIMARY KEY (dev, ts)', 'ANALYZE ddl.t', 'DELETE FROM ddl.t WHERE ts % 3 = 0',
	("DROP SCHEMA gone CASCADE; $create{s}") x 2, "BEGIN; DROP SCHEMA IF EXISTS gone CASCADE; $create{s}; COMMIT", 'ALTER SCHEMA gone RENAME TO gone2; ALTER SCHEMA gone2 RENAME TO gone',
	'CREATE OR REPLACE VIEW ddl.v AS SELECT * FROM ddl.base', ("DROP VIEW IF EXISTS ddl.v; $create{v}") x 2,
	'CREATE OR REPLACE VIEW ddl.v AS SELECT ts, dev, -a AS a, b FROM ddl.base WHERE ts > 5',
	'BEGIN; DROP VIEW IF EXISTS ddl.v; CREATE VIEW ddl.v AS SELECT ts, dev, a::numeric AS a, b FROM ddl.base; COMMIT',
	'BEGIN; DROP VIEW IF EXISTS ddl.v; CREATE VIEW ddl.v AS SELECT ts, 1.5::float8 AS dev, b::bigint AS a, a AS b FROM ddl.base; COMMIT',
	"BEGIN; DROP VIEW IF EXISTS ddl.v; CREATE MATERIALIZED VIEW ddl.v AS SELECT * FROM ddl.base; COMMIT; DROP MATERIALIZED VIEW ddl.v; $create{v}",
	'CREATE OR REPLACE FUNCTION ddl.f() RETURNS TABLE (ts bigint, dev text, a float8, b float8) LANGUAGE sql AS $f$ SELECT ts, dev, b, a FROM ddl.base $f$',
	'BEGIN; DROP FUNCTION IF EXISTS ddl.f(); CREATE FUNCTION ddl.f() RETURNS TABLE (ts bigint, dev int, a numeric, b int) LANGUAGE sql AS $f$ SELECT ts, 1, a::numeric, 1 FROM ddl.base $f$; COMMIT',
	"BEGIN; DROP FUNCTION IF EXISTS ddl.f(); $create{f}; COMMIT", "DROP FUNCTION IF EXISTS ddl.f(); $create{f}",
	"DROP TABLE IF EXISTS ddl.p; $create{p}", 'ALTER TABLE ddl.p DETACH PARTITION ddl.p1; ALTER TABLE ddl.p ATTACH PARTITION ddl.p1 DEFAULT', 'DROP TABLE IF EXISTS ddl.p1; CREATE TABLE ddl.p1 PARTITION OF ddl.p DEFAULT',
	"BEGIN; DROP VIEW IF EXISTS ddl.pauses; $create{pauses}; COMMIT", "DROP VIEW IF EXISTS ddl.pauses; $create{pauses}",
	"BEGIN; DROP VIEW IF EXISTS ddl.pauses; CREATE VIEW ddl.pauses AS SELECT 10::int AS b, 20::smallint AS e, 'x' AS dev; COMMIT",
	"BEGIN; DROP TABLE ddl.t CASCADE; SELECT pg_sleep(0.02); ROLLBACK", 'BEGIN; LOCK TABLE ddl.t; SELECT pg_sleep(0.02); COMMIT', 'GRANT SELECT ON ddl.t TO PUBLIC', 'COMMENT ON TABLE ddl.t IS \'x\'',
	'ALTER TABLE ddl.t DISABLE ROW LEVEL SECURITY', 'ALTER TABLE amad_models SET (autovacuum_enabled = true)', 'VACUUM amad_models', 'REINDEX TABLE amad_models');

my $race = 'DROP TABLE IF EXISTS ddl.race; CREATE TABLE ddl.race (ts timestamptz, a float8)';

# Changes of the extension, in a separate database
my @extension_changes = ('DROP EXTENSION amad CASCADE; CREATE EXTENSION amad', 'BEGIN; DROP EXTENSION amad CASCADE; CREATE EXTENSION amad; COMMIT', 'BEGIN; DROP EXTENSION amad CASCADE; SELECT pg_sleep(0.05); ROLLBACK',
	"DROP EXTENSION IF EXISTS amad CASCADE; CREATE SCHEMA IF NOT EXISTS other; CREATE EXTENSION amad SCHEMA other", 'DROP EXTENSION IF EXISTS amad CASCADE; SELECT pg_sleep(0.05); CREATE EXTENSION amad SCHEMA public',
	'SELECT pg_sleep(0.1)', 'SELECT pg_sleep(0.3)');

# A statement of a session: its SQL, and whether it names the source itself, so that races of the server are possible
sub statement
{
	my ($form) = @_;
	my $name = pick(sort keys %sources, 'same', 't', 't');
	my $source = literal($sources{$name});
	my $bad = Fuzz::bad_severities('s');
	my $columns = "timestamp_col => 'ts', feature_cols => '{a,b}', series_cols => " . pick("'{dev}'", "'{dev}'", "'{}'");
	my $model = "'" . pick($name, $name, "$name of all") . "'";

	return pick(
		sub { ("SELECT amad_train(model_name => $model, source => $source, $columns, options => '" . pick($zscore, $zscore, $tiny) . "') IS NOT NULL", 'train') },
		sub { ("SELECT count(*), $bad FROM (SELECT severity AS s FROM amad_detect$form($model) x) x", 'detect') },
		sub { ("SELECT count(*), $bad FROM (SELECT severity AS s FROM amad_detect$form($model, source => $source, timestamp_col => 'ts', last_n => 10) x) x", 'detect') },
		sub { ("SELECT count(*), $bad FROM (SELECT peak_severity AS s FROM amad_events$form($model, maintenance => 'ddl.pauses') x) x", 'events') },
		sub { ("SELECT count(*), $bad FROM (SELECT peak_severity AS s FROM amad_events$form($model) x) x", 'events') },
		sub { ("SELECT count(*), $bad FROM (SELECT severity AS s FROM amad_drift$form($model) x) x", 'drift') },
		sub { ("SELECT length(amad_recalibrate$form($model)::text)", 'recalibrate') },
		sub { ("SELECT length(amad_retrain$form($model, last_n => 100, deploy => " . pick("'if_better'", 'false', 'true') . ', keep => '
			  . pick('NULL', 1, 2) . ')::text)', 'retrain') },
		sub { ("SELECT count(*) FROM amad_compare$form($model, " . pick('NULL', 1, 2, 3) . ')', 'compare') },
		sub { ("SELECT length(amad_detect_query$form($model))", 'detect query') },
		sub { ("SELECT amad_deploy($model, 1)", 'deploy') },
		sub { ('SELECT count(amad_delivered(incident, transition, number)) FROM amad_deliveries(' . pick('', 'NULL', 0, 2) . ')', 'deliveries') },
		sub { ("SELECT count(*) FROM amad_tune($model, " . pick('NULL', 0.1, 10, 1e300) . pick('', ", since => '2024-05-02'") . ')', 'tune') },
		sub { ("SELECT amad_acknowledge(max(id), 'x') FROM amad_incidents WHERE id > " . pick(0, 1e9), 'acknowledge') },
		sub { ("SELECT amad_feedback(max(id), '" . pick(qw(incident false_alarm expected)) . "') FROM amad_incidents WHERE id > " . pick(0, 1e9), 'feedback') },
		sub { ("SELECT amad_feedback($model, " . pick('NULL', "'{\"dev\": \"x\"}'") . ", '2024-05-01', '2024-05-03', '" . pick(qw(incident expected)) . "')", 'feedback') },
		sub { ('SELECT amad_drop_verdict(id) FROM amad_verdicts', 'drop verdict') },
		sub { ("SELECT amad_grant($model, 'public', 'operate')", 'grant') },
		sub { ("SELECT amad_revoke($model, 'public')", 'revoke') },
		sub { ("SELECT count(amad_describe(model)) FROM amad_models", 'describe') },
		sub { ("SELECT count(s), $bad FROM (SELECT amad_score($model, ts, a, b) OVER (PARTITION BY dev ORDER BY ts) AS s FROM ddl.t) x", 'direct score') },
		sub { ("SELECT amad_train($model, '$zscore', ts, a, b) IS NOT NULL FROM ddl.t WHERE dev = 'x'", 'direct train') },
		sub { ("SELECT length(amad_watch($model, target => 'ddl.scores'" . pick('', ", late => '1 day'", ", late => '0'", ", silence => '1 day'", ", min_severity => 1.5, min_rows => 2", ", merge_gap => '1 hour', min_duration => '0'", ', alerts_per_day => ' . pick(0, 0.5, 100), ", notify => 'fuzz', care => true", ', labels => jsonb_build_object()') . ')::text)', 'watch') },
		sub { ("SELECT length(amad_schedule($model" . pick('', ", '7 min'", ", '*/5 * * * *'", ", '1'") . ')::text)', 'schedule') },
		sub { ("CALL amad_refresh($model)", 'refresh') },
		sub { ("CALL amad_refresh($model)", 'refresh') },
		sub { ("CALL amad_care($model, as_of => timestamptz '2024-05-01' + " . pick(1 .. 60) . " * interval '1 day')", 'care') },
		sub { ("SELECT count(*) FROM amad_status", 'status') },
		sub { ('SELECT ' . pick('amad_unwatch', 'amad_unschedule', 'amad_pause', 'amad_resume') . "($model)", 'unwatch') },
		sub { ("SELECT amad_drop($model)", 'drop') })->();
}

# Errors of the server for objects that its parser looked up and another session dropped: in statements that name
# the relation or a function of the extension, and for functions and aggregates, which are not locked
my $own_race = join('|', 'cache lookup failed for [a-z][a-z ]*\\d', 'could not open relation with OID',
	'tuple concurrently (?:updated|deleted)', 'could not find (?:tuple|pg_)', '(?:type|function|schema|relation) with OID \d+ does not exist', 'could not open extension');

# Query for a digest of the results of amad_detect for the model fixed, whose source always has the same rows
sub digest
{
	my ($form) = @_;

	return "SELECT coalesce(md5(string_agg(concat(series, ' ', ts, ' ', encode(float8send(severity), 'hex')), ' ' ORDER BY series, ts)), 'empty') "
	  . "FROM amad_detect$form('fixed')";
}

# from number 301 on: only trainings on a table that is dropped and created as fast as possible
sub worker
{
	my ($number, $form, $expected, $seed, $fuzz, $database) = @_;
	my $session;
	my $extension = $database ne 'postgres';

	for (my $n = 0; $fuzz->{send}->(); $n++)
	{
		if (!$session)
		{
			wait_for_server() or die "the server does not come back\n";
			$session = FuzzSession->new(dbname => $database, appname => 'fuzz ddl worker',
				setup => [ 'SET statement_timeout = ' . TIMEOUT_MS, 'SET lock_timeout = 3000', 'SET amad.max_parallel_workers = ' . pick(0, 0, 1), 'SET search_path = public, other' ]) or next;
		}
		my ($sql, $what) = statement($form);
		$fuzz->{failures} = [];
		# rows of the newest snapshot: an older one does not see rows of a table created later
		my $check = !$extension && chance(15);
		my $race = $number > 300;
		($sql, $what) = (digest($form), 'check') if $check;
		($sql, $what) = ("SELECT amad_train(model_name => 'race', source => 'ddl.race', timestamp_col => 'ts', feature_cols => '{a}')", 'race') if $race;
		my $result = $session->run($sql, (TIMEOUT_MS + Fuzz::HANG_MS + Fuzz::LOST_MS) / 1000);
		my $message = FuzzSession::message($result);

		$fuzz->count('cases');
		$fuzz->count('calls');
		$fuzz->count("state $what $result->{state}");
		$fuzz->count('done') if $result->{state} eq '00000';
		# the extension does not exist
		sleep 0.01 if $extension && $result->{state} eq '42883';
		if ($result->{state} eq 'LOST')
		{
			$fuzz->fail('crash', $sql, 'the connection is lost') if crashed($fuzz, $session->{backend});
			$session = undef;
		}
		elsif ($result->{state} eq 'HUNG' || $result->{ms} > TIMEOUT_MS + Fuzz::HANG_MS)
		{
			$fuzz->fail('hang', $sql, sprintf('%.0f ms with a statement_timeout of %d ms', $result->{ms}, TIMEOUT_MS));
			if ($result->{state} eq 'HUNG')
			{
				$fuzz->{session} = $session;
				$fuzz->kill_backend;
				$fuzz->{session} = $session = undef;
			}
		}
		elsif ($result->{state} =~ /^XX/)
		{
			if ($message =~ /$own_race/ && $message !~ /registry\.c/ && ($extension || $what =~ /^direct/ || $message =~ /for (?:function|aggregate)|function with OID/))
			{
				$fuzz->count('races of the server');
			}
			else
			{
				$fuzz->fail('XX', $sql, $message);
			}
		}
		elsif ($result->{out} =~ /^WARNING:(?!.*repeat a timestamp)/m)
		{
			$fuzz->fail('leak', $sql, $result->{out});
		}
		elsif ($result->{out} =~ /\bbad=[1-9]/)
		{
			$fuzz->fail('severity', $sql, 'severities are negative or not finite');
		}
		elsif ($check && !$race && $result->{state} eq '00000' && $result->{out} !~ /^(?:\Q$expected\E|empty)$/m)
		{
			$fuzz->fail('wrong', $sql, "other rows than there ever were: $result->{out}");
		}
		if (@{ $fuzz->{failures} })
		{
			$fuzz->{send}->({ failure => $fuzz->{failures}[0] });
			$fuzz->count('failed');
			$fuzz->count("failed by $fuzz->{failures}[0]{kind}");
		}
	}
	return;
}

# Whether the backend was killed by a signal
sub crashed
{
	my ($fuzz, $pid) = @_;

	for (1 .. 20)
	{
		return 1 if Fuzz::read_from($fuzz->{log}, 0 + ($fuzz->{log_at} // 0)) =~ /\(PID $pid\) was terminated by signal/;
		sleep 0.1;
	}
	return 0;
}

sub changer
{
	my ($fuzz, $database, @changes) = @_;
	my $session;

	while ($fuzz->{send}->())
	{
		if (!$session)
		{
			wait_for_server() or die "the server does not come back\n";
			$session = FuzzSession->new(dbname => $database, appname => 'fuzz ddl changer', setup => [ 'SET statement_timeout = ' . TIMEOUT_MS, 'SET lock_timeout = 1000' ]) or next;
		}
		my $result = $session->run(pick(@changes), 60);
		$fuzz->count('changes');
		# errors of these statements are not failures of the extension
		if ($result->{state} ne '00000')
		{
			$fuzz->count('changes refused');
			$fuzz->count("state change in $database $result->{state}");
		}
		$session = undef if $result->{state} eq 'LOST' || $result->{state} eq 'HUNG';
		$session->run('ROLLBACK', 60) if $session;
		# creates again what other sessions dropped
		if ($session && chance(10) && @changes == @changes_of_sources)
		{
			$session->run($_, 60) for values %create;
			$session->run("INSERT INTO ddl.t $rows", 60);
		}
		sleep pick(0, 0, 0.005, 0.02, 0.05) if @changes > 1;
	}
	return;
}

sub run
{
	my (%params) = @_;

	wait_for_server() or die "no server\n";
	my $session = FuzzSession->new(setup => [ 'CREATE EXTENSION IF NOT EXISTS amad', 'DELETE FROM amad_models' ]);
	$session->run($_, 60) for @setup;
	$session->run('DROP DATABASE IF EXISTS fuzz_extension WITH (FORCE)', 60);
	$session->run('CREATE DATABASE fuzz_extension', 60);
	my $form = $session->run("SELECT count(*) FROM pg_proc WHERE proname = 'amad_detect_bigint'", 60)->{out} =~ /^[1-9]/ ? '_bigint' : '';
	my $other = FuzzSession->new(dbname => 'fuzz_extension') or die "no database\n";
	$other->run($_, 60) for 'CREATE EXTENSION amad', @setup;
	for my $name ('fixed', sort keys %sources)
	{
		my $result = $session->run("SELECT amad_train(model_name => '$name', source => " . literal($sources{ $name eq 'fixed' ? 'same' : $name })
			  . ", timestamp_col => 'ts', feature_cols => '{a,b}', series_cols => '{dev}', options => '$zscore')", 60);
		die "$name: $result->{out}" if $result->{state} ne '00000';
	}
	my ($expected) = $session->run(digest($form), 60)->{out}
	  =~ /^(\w{32})$/m or die 'no digest';
	my $log_at = -s $params{log};
	my @subs;
	my $add = sub {
		my ($number, $work) = @_;
		push @subs, sub {
			my ($send) = @_;
			my $fuzz = Fuzz::context(part => 'ddl', seed => $params{seed}, log => $params{log}, log_at => $log_at, send => $send);
			Fuzz::seed_case($params{seed}, 'ddl', $number);
			$work->($fuzz);
			$send->({ figures => $fuzz->{figures} });
		};
	};
	for my $number (1 .. $params{sessions})
	{
		$add->($number, sub { worker($number, $form, $expected, $params{seed}, $_[0], 'postgres') });
	}
	$add->(101, sub { changer($_[0], 'postgres', @changes_of_sources) });
	$add->(102, sub { changer($_[0], 'postgres', @changes_of_sources) });
	$add->(201, sub { worker(201, $form, $expected, $params{seed}, $_[0], 'fuzz_extension') });
	$add->(202, sub { changer($_[0], 'fuzz_extension', @extension_changes) });
	$add->(301, sub { worker(301, $form, $expected, $params{seed}, $_[0], 'postgres') });
	$add->(302, sub { changer($_[0], 'postgres', $race) });
	return run_processes(subs => \@subs, seconds => $params{seconds}, log => $params{log}, report => $params{report});
}

1;
