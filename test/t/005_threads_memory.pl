# A backend stays single-threaded, and its memory does not grow by training and scoring.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

if (!-r '/proc/self/status' || !-d '/proc/self/task')
{
	plan skip_all => 'needs /proc as Linux has it';
}

my $node = new_node('memory');
create_rows($node, 500);
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');

# Private memory of the backend, without shared buffers
my $rss = defined memory($pid, 'RssAnon') ? 'RssAnon' : 'VmRSS';

sub threads
{
	return scalar(my @tasks = glob("/proc/$pid/task/*"));
}

# (kB resident, kB of memory contexts)
sub in_use
{
	my $contexts = $session->query_safe('SELECT (sum(total_bytes) / 1024)::int FROM pg_backend_memory_contexts');

	return (memory($pid, $rss), $contexts);
}

# Runs statements one by one in the session, without their output.
sub run
{
	my (@statements) = @_;

	$session->query("\\o /dev/null\n" . join('', map { "$_;\n" } @statements) . '\o');
	my $errors = () = $session->{stderr} =~ /ERROR:/g;
	note((split /\n/, $session->{stderr})[0] // '') if $errors;
	$session->{stderr} = '';
	return $errors;
}

# Runs statements twice, the first time as warm-up; the second run must not add memory. A leak adds some in
# each run, while malloc may keep more of the freed memory in one run than in another: so try again.
sub no_growth
{
	my ($name, $errors, $limit, @statements) = @_;
	my ($resident, $contexts, $growth, $context_growth);

	is(run(@statements), $errors, "$name: errors");
	($resident, $contexts) = in_use();
	note("$name: $rss $resident kB, contexts $contexts kB");
	for (2 .. 5)
	{
		my $wrong = run(@statements) != $errors;
		my ($resident_now, $contexts_now) = in_use();

		note("$name, again: $rss $resident_now kB, contexts $contexts_now kB");
		($growth, $context_growth) = ($resident_now - $resident, $contexts_now - $contexts);
		($resident, $contexts) = ($resident_now, $contexts_now);
		last if $wrong || $growth < $limit && $context_growth < $limit;
	}
	cmp_ok($growth, '<', $limit, "$name: resident memory does not grow");
	cmp_ok($context_growth, '<', $limit, "$name: memory contexts do not grow");
	return;
}

sub score
{
	my ($model) = @_;

	return 'SELECT count(score) FROM (' . scores($model) . ') s';
}

# ---- threads -------------------------------------------------------------------------------

is(threads(), 1, 'one thread before');
run(train('m'));
is(threads(), 1, 'one thread after training');
run(score("'m'"));
is(threads(), 1, 'one thread after scoring');
$session->query_until(qr/started/,
	"SET maintenance_work_mem = '1GB';\nSET statement_timeout = '1500 ms';\n\\echo started\n"
	  . "SELECT amad_train('m', '{\"d_model\": 256, \"window\": 100, \"horizons\": [2], \"steps\": 100000, \"layers\": 1}', ts, a, b, c) FROM readings;\n"
	  . "RESET statement_timeout;\nRESET maintenance_work_mem;\n");
my $most = 0;
for (1 .. 100)
{
	my $n = threads();

	$most = $n if $n > $most;
	select(undef, undef, undef, 0.01);
}
note("$most threads at most");
is($most, 1, 'one thread while training with large matrices');
$session->query('SELECT 1');
like($session->{stderr}, qr/statement timeout/, 'the training ran until its timeout');
$session->{stderr} = '';
is(threads(), 1, 'one thread after that');

# ---- many in one session -----------------------------------------------------------------------

run('DELETE FROM amad_models');
my @trainings = map { train('m' . $_ % 3, "\"seed\": $_, \"steps\": 2") } (1 .. 150);
no_growth('150 trainings', 0, 2048, @trainings);
no_growth('1000 scorings by name', 0, 1024, map { score("'m" . $_ % 3 . "'") } (1 .. 1000));
no_growth('300 scorings by value', 0, 1024,
	map { score("(SELECT model FROM amad_models WHERE model_name = 'm0' AND version = 1 + $_ % 50)") } (1 .. 300));
no_growth('200 trainings within one query', 0, 2048,
	'SELECT count(amad_fit) FROM (SELECT g, amad_fit(' . options('"steps": 2') . ', ts, a, b, c) '
	  . 'FROM readings, generate_series(1, 200) g GROUP BY g) s');
no_growth('2000 partitions in one query', 0, 1024,
	"SELECT count(score) FROM (SELECT amad_score('m0', ts, a, b, c) OVER (PARTITION BY g ORDER BY ts) AS score "
	  . 'FROM (SELECT * FROM readings WHERE ts <= 50) r, generate_series(1, 2000) g) s');

# every scored version is another model to cache; the cache is bounded
run(map { train("many$_", '"steps": 1') } (1 .. 300));
no_growth('300 models scored', 0, 1024, map { score("'many$_'") } (1 .. 300));
my $cached = $session->query_safe(
	"SELECT count(*) || ' models, ' || (sum(total_bytes) / 1024)::int || ' kB' FROM pg_backend_memory_contexts WHERE name = 'amad model'");
note("cached: $cached");
my ($kilobytes) = $cached =~ /(\d+) kB/;
cmp_ok($kilobytes, '<', 32 * 1024, 'the cache of models is bounded');

# ---- errors ---------------------------------------------------------------------------------------

my $from = 'FROM readings';
my @bad_trainings = (
	'SELECT amad_train(\'bad\', ' . options() . ", ts, a, b, 1 / (ts - 450)) $from",
	'SELECT amad_train(\'bad\', ' . options() . ", nullif(ts, 450), a, b, c) $from",
	'SELECT amad_train(\'bad\', ' . options() . ", ts / 2, a, b, c) $from",
	'SELECT amad_train(\'bad\', ' . options() . ", ts, a, b, c) $from WHERE ts < 30",
	'SELECT amad_train(\'bad\', ' . options('"missing": "error"') . ", ts, a, nullif(b, (SELECT b $from WHERE ts = 400)), c) $from",
	"SELECT amad_train('bad', '{\"what\": 1}', ts, a, b, c) $from",
	'SELECT 1 / (amad_train(\'bad\', ' . options('"steps": 2') . ", ts, a, b, c) IS NULL)::int $from",
	'SELECT amad_fit(' . options('"steps": 2') . ", ts, a, b, 1 / (ts + 100 * g - 1450)) $from, generate_series(1, 10) g GROUP BY g",
	'SELECT amad_train(\'\', ' . options() . ", ts, a, b, c) $from",
	'SELECT amad_train(\'bad\', ' . options('"d_model": 18') . ", ts, a, b, c) $from");
no_growth('100 trainings that fail', 100, 1024, (@bad_trainings) x 10);

my @bad_scorings = (
	"SELECT amad_score('m0', ts, a, b, 1 / (ts - 450)) OVER (ORDER BY ts) $from",
	"SELECT amad_score('m0', -ts, a, b, c) OVER (ORDER BY ts) $from",
	"SELECT amad_score('m0', ts, a, b, c) OVER (ORDER BY -ts) $from",
	"SELECT amad_score('m0', ts, a, b) OVER (ORDER BY ts) $from",
	"SELECT amad_score('nobody', ts, a, b, c) OVER (ORDER BY ts) $from",
	"SELECT amad_score(CASE WHEN ts < 300 THEN 'm0' ELSE 'm1' END, ts, a, b, c) OVER (ORDER BY ts) $from",
	"SELECT amad_score(model, ts, a, b, c / 0) OVER (ORDER BY ts) $from, (SELECT model FROM amad_models LIMIT 1) m",
	"SELECT 1 / (470 - ts) FROM (" . scores("'m0'") . ' OFFSET 0) s WHERE score IS NOT NULL',
	"SELECT amad_score('AMAD'::bytea::text, ts, a, b, c) OVER (ORDER BY ts) $from",
	"SELECT '\\x414d4144'::amad_model");
no_growth('200 scorings that fail', 200, 1024, (@bad_scorings) x 20);

# caught in the transaction in which they arise
no_growth('failures in subtransactions', 0, 1024, map { my $q = $_; map { "DO \$d\$ BEGIN EXECUTE \$q\$$q\$q\$; RAISE 'no error'; "
	  . "EXCEPTION WHEN raise_exception THEN RAISE; WHEN OTHERS THEN NULL; END \$d\$" } 1 .. 5 }
	grep { !/^SELECT (1|amad_(score|fit))/ } @bad_trainings, @bad_scorings);

# errors release the memory of rows that was counted against the limit: as many rows fit as before
run("SET maintenance_work_mem = '1MB'");
my $limit = 'SELECT amad_fit(' . options('"steps": 1') . ', ts, a, b, c, a + %s) FROM (SELECT r.ts + 500 * g AS ts, a, b, c FROM readings r, generate_series(0, %d) g) r';
my $groups = 0;
$groups++ while $groups < 100 && run(sprintf($limit, 0, $groups)) == 0;
cmp_ok($groups, '<', 100, "fits in 1 MB: up to $groups times 500 rows");
is(run(map { sprintf($limit, '1 / (ts - ' . ($groups * 500 - 10) . ')', $groups - 1) } 1 .. 50), 50, 'errors at the end of the rows');
is(run(sprintf($limit, 0, $groups - 1)), 0, 'do not reduce the number of rows that fit');
run('RESET maintenance_work_mem');

# cursors left open in the middle, closed by the transaction's end
no_growth('100 cursors, half read', 0, 1024,
	map { ('BEGIN', 'DECLARE c CURSOR FOR ' . scores("'m0'"), 'FETCH 200 FROM c', $_ % 2 ? 'COMMIT' : 'ROLLBACK') } 1 .. 100);
$session->quit;

# ---- many rows ---------------------------------------------------------------------------------------

SKIP:
{
	$session = $node->background_psql('postgres', on_error_stop => 0);
	$pid = $session->query_safe('SELECT pg_backend_pid()');
	skip 'cannot reset the peak of memory in use', 4 unless peak_reset($pid);

	my $rows = '(SELECT i::bigint AS ts, sin(i) AS a, cos(i) AS b, i % 7 AS c FROM generate_series(1, 300000) i)';
	run("SET work_mem = '2MB'", "SET max_parallel_workers_per_gather = 0");
	for my $case ([ 'by name', "'m0'" ], [ 'by value', "(SELECT model FROM amad_models WHERE model_name = 'm0' AND deployed)" ])
	{
		my ($name, $model) = @$case;

		run(score($model));
		peak_reset($pid);
		my $before = memory($pid, 'VmHWM');
		is( $session->query_safe(
				"SELECT count(score) FROM (SELECT amad_score($model, ts, a, b, c) OVER (ORDER BY ts) AS score FROM $rows r) s"),
			300000 - WARMUP, "300000 rows scored $name");
		my $growth = memory($pid, 'VmHWM') - $before;
		note("300000 rows $name: peak grew by $growth kB");
		cmp_ok($growth, '<', 32 * 1024, 'in bounded memory');
	}
	is(threads(), 1, 'by one thread');
	$session->quit;
}

$node->stop;
done_testing();
