# Memory beyond a limit is refused, with numbers and a hint, before it is used; limits hold for a whole query.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('lowmemory');
create_rows($node, 1000);

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

sub refused
{
	my ($query, $message, $hint, $name) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$query");

	isnt($ret, 0, "$name: refused");
	like($err, qr/ERROR:  54000: $message/, "$name: with numbers");
	like($err, qr/HINT:  .*$hint/, "$name: and a hint");
	note((split /\n/, $err)[0]) if $err;
	return;
}

my $training = qr/memory required for [\w ]+ is \d+ MB, maintenance_work_mem is/;

# ---- networks ---------------------------------------------------------------------------------

sql(train('m'));
my $network = '"preset": "paper", "steps": 1, "horizons": [2, 4], "advanced": {"batch_size": 1}';
refused("SET maintenance_work_mem = '1MB'; SELECT amad_train('big', '{$network}', ts, a, b, c) FROM readings",
	qr/$training 1 MB/, 'Raise maintenance_work_mem', 'a large network in 1 MB');
refused("SELECT amad_train('big', '{\"d_model\": 2048, \"layers\": 16, \"window\": 16}', ts, a, b, c) FROM readings",
	qr/$training 64 MB|a model of \d+ weights is too large/, '.', 'a huge one by default');
refused("SELECT amad_train('big', '{\"window\": 300, \"layers\": 1, \"horizons\": [2], \"d_model\": 512, \"advanced\": {\"chunk_length\": 900}}', i::bigint, sin(i), cos(i)) "
	  . 'FROM generate_series(1, 3000) i',
	qr/$training 64 MB/, 'Raise maintenance_work_mem', 'long chunks by default');
is(sql('SELECT count(*) FROM amad_models'), 1, 'nothing was stored');

sql("SET maintenance_work_mem = '1GB'; SELECT amad_train('big', '{$network}', ts, a, b, c) FROM readings");
refused("SET work_mem = '64kB'; " . checksum("'big'"), qr/memory required to score is \d+ kB, work_mem is 64 kB/,
	'Raise work_mem', 'scoring with a large network in 64 kB');
refused("SET work_mem = '64kB'; " . checksum("(SELECT model FROM amad_models WHERE model_name = 'big')"),
	qr/memory required to score is \d+ kB, work_mem is 64 kB/, 'Raise work_mem', 'the same by value');
my ($needed) = ($node->psql('postgres', "SET work_mem = '64kB'; " . checksum("'big'")))[2] =~ /is (\d+) kB, work_mem/;
note("scoring with the large network needs $needed kB");
refused("SET work_mem = " . ($needed - 1) . '; ' . checksum("'big'"), qr/memory required to score/, 'Raise work_mem', 'one kB too few');
like(sql("SET work_mem = $needed; " . checksum("'big'")), qr/ \d+$/, 'the amount in the message is enough');

# after an error the whole limit is available again
is( $node->psql('postgres', "SET work_mem = '64kB';" . checksum("'big'") . "; RESET work_mem;" . checksum("'m'"), on_error_stop => 0),
	0, 'the session can score again');

# ---- groups -----------------------------------------------------------------------------------

# Each group is small, but the planner chooses a hash aggregate: all groups need memory at once.
my $groups = 'SELECT count(amad_fit) FROM (SELECT g, amad_fit(' . options('"steps": 1')
  . ', ts, a, b, c) FROM generate_series(1, %d) g, readings GROUP BY g) s';
my $hash = 'SET enable_sort = off;';
like(sql("$hash EXPLAIN " . sprintf($groups, 3000)), qr/HashAggregate/, 'a plan that keeps all groups');
is(sql($hash . sprintf($groups, 3000)), 3000, 'spilled to disk, as they do not fit in work_mem');
$hash .= "SET work_mem = '16GB';";
refused($hash . sprintf($groups, 3000), qr/$training 64 MB/, 'Raise maintenance_work_mem', 'many groups at once');
is(sql('SET enable_hashagg = off;' . sprintf($groups, 300)), 300, 'many groups, one after the other');
is(sql("SET maintenance_work_mem = '4MB'; SET enable_hashagg = off;" . sprintf($groups, 300)), 300,
	'each within the limit, since the memory of one is given back before the next');

# two aggregates of one query share the limit
refused("SET maintenance_work_mem = '1MB'; SELECT " . join(', ', map { 'amad_fit(' . options("\"seed\": $_") . ', ts + 1000 * g, a, b, c)' } 1 .. 12)
	  . ' FROM readings, generate_series(1, 2) g',
	qr/$training 1 MB/, 'Raise maintenance_work_mem', 'many aggregates at once');

# ---- rows --------------------------------------------------------------------------------------

my $rows = 1000000;
my $session = $node->background_psql('postgres', on_error_stop => 0, timeout => 600);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
my $measured = defined memory($pid, 'VmHWM') && peak_reset($pid);

# generated while they are read, so that all memory is that of the training
my $from = 'FROM (SELECT generate_series(1::bigint, %d) AS ts) g';
my $features = 'sin(ts), cos(ts), ts %% 7, ts %% 11, ts %% 13';
my $train = "SELECT amad_train('rows', " . options('"steps": 1') . ", ts, $features)->'rows' $from";
my $before;

$session->query(sprintf($train, 1000));
$session->{stderr} = '';
peak_reset($pid) if $measured;
$before = memory($pid, 'VmHWM') if $measured;
$session->query(sprintf($train, $rows));
like($session->{stderr}, qr/$training 64 MB/, 'a million rows: refused by default');
like($session->{stderr}, qr/HINT:  Raise maintenance_work_mem, or train on fewer rows/, 'a million rows: with a hint');
note((split /\n/, $session->{stderr})[0]);
$session->{stderr} = '';
SKIP:
{
	skip 'cannot measure memory', 1 unless $measured;
	my $growth = memory($pid, 'VmHWM') - $before;
	note("refused after $growth kB");
	cmp_ok($growth, '<', 80 * 1024, 'a million rows: before memory exceeds the limit');
}
is($session->query_safe("SELECT version FROM amad_models WHERE model_name = 'rows'"), 1, 'a million rows: nothing stored');

# the required amount, found by raising the limit
my $limit = 64;
my $out = '';
while ($out eq '' && $limit < 1024)
{
	$limit *= 1.25;
	peak_reset($pid) if $measured;
	$out = $session->query(sprintf("SET maintenance_work_mem = '%dMB';\n", $limit) . sprintf($train, $rows));
	note($session->{stderr} =~ /ERROR:  (.*)/ ? $1 : '') if $out eq '';
	$session->{stderr} = '';
}
is($out, $rows, sprintf('a million rows: trained with %d MB', $limit));
SKIP:
{
	skip 'cannot measure memory', 1 unless $measured;
	my $growth = memory($pid, 'VmHWM') - $before;
	note(sprintf('trained with %d MB allowed, peak grew by %d kB', $limit, $growth));
	cmp_ok($growth, '<', ($limit + 32) * 1024, 'a million rows: within the limit');
}
$session->quit;

$node->stop;
done_testing();
