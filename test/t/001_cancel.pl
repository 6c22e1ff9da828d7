# Cancelling takes effect at once, at any moment of training or scoring, and leaves nothing behind.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The promise is 100 ms; machines that run tests are shared.
my $limit = 2000;

my $node = new_node('cancel');
create_rows($node, 1500);
$node->safe_psql(
	'postgres', q(
ALTER SYSTEM SET maintenance_work_mem = '2GB';
ALTER SYSTEM SET work_mem = '64MB';
SELECT pg_reload_conf();

-- milliseconds from the statement's timeout to the end of the query, null if it ended before
CREATE FUNCTION cancelled(query text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE query;
  RAISE 'ended';
EXCEPTION WHEN raise_exception THEN
  RETURN NULL;
WHEN query_canceled THEN
  RETURN extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000
    - (SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout');
END $$;));

# as wide as it can be: about a gigabyte
my $widest = '"d_model": 2048, "layers": 1, "window": 16, "horizons": [2, 4], "advanced": {"chunk_length": 512, "batch_size": 2}';
my ($tiny) = TINY =~ /\{(.*)\}/;
my $default = '"horizons": [4, 16, 32]';
my $large = '"preset": "paper", "horizons": [2, 4], "steps": 1, "advanced": {"batch_size": 1}';
my $wide = '"window": 1024, "d_model": 128, "layers": 1, "steps": 1, '
  . '"horizons": [2, 4], "advanced": {"chunk_length": 1100, "batch_size": 1}';
$node->safe_psql('postgres', train('tiny'));
$node->safe_psql('postgres', "SELECT amad_train('large', '{$large}', ts, a, b, c) FROM readings");
$node->safe_psql('postgres', "SELECT amad_train('wide', '{$wide}', i::bigint, sin(i), cos(i), 1 - sin(i)) "
	  . "FROM generate_series(1, 2500) i");
my $before = $node->safe_psql('postgres', checksum("'tiny'"));
my $models = $node->safe_psql('postgres', 'SELECT count(*) FROM amad_models');

my $more_rows = '(SELECT i::bigint AS ts, sin(i) AS a, cos(i) AS b, i % 7 AS c FROM generate_series(1, %d) i'
  . ' ORDER BY i % 1000)';
# rows that are scored while they are generated
my $endless = '(SELECT ts, sin(ts) AS a, cos(ts) AS b, ts % 7 AS c FROM '
  . '(SELECT generate_series(1::bigint, 1000000000) AS ts) g)';

# options, and the number of steps to use instead of theirs
sub train_query
{
	my ($options, $steps, $rows) = @_;
	my $from = $rows ? sprintf($more_rows, $rows) : 'readings';

	return "SELECT amad_train('cancelled', '{$options}'::jsonb || '{\"steps\": $steps}', ts, a, b, c) FROM $from r";
}

sub score_query
{
	my ($model) = @_;

	return "SELECT count(score) FROM (SELECT amad_score($model, ts, a, b, c) OVER () AS score FROM $endless r) s";
}

# name, query, timeouts in ms
my @cases = (
	[ 'training, tiny network', train_query($tiny, 10000000), 60, 150 ],
	[ 'training, default network', train_query($default, 10000000), 200, 333 ],
	[ 'training, large network', train_query($large, 10000000), 300, 500, 700, 900, 1100 ],
	[ 'training, large network and batch', train_query("$large, \"advanced\": {}", 10000000), 500, 900 ],
	[ 'training, long chunks', train_query($wide, 10000000, 5000), 300, 500, 700, 900 ],
	[ 'training, many rows: collecting, sorting, calibrating', train_query($tiny, 1, 1000000),
		300, 900, 1200, 1500, 1800, 2200 ],
	[ 'training, large network, calibrating', train_query($large, 1, 20000), 600, 1000, 1400 ],
	[ 'training, the widest network', train_query($widest, 1), 300, 1000, 2000, 3000 ],
	[ 'training, principal components', 'SELECT amad_fit(\'{"method": "pca", "horizons": [1]}\'::jsonb, i::bigint, '
		  . 'VARIADIC array_fill(sin(i), ARRAY[1024])) FROM generate_series(1, 5000) i', 300, 500, 700, 900 ],
	[ 'training, z-scores', "SELECT amad_fit('{\"method\": \"zscore\"}'::jsonb, i::bigint, sin(i), -i) FROM generate_series(1, 2000000) i",
		600, 900, 1200, 1500, 1800 ],
	[ 'calibrating a series', "SELECT amad_calibrate((SELECT model FROM amad_models WHERE model_name = 'tiny'), ts, a, b, c) "
		  . 'FROM ' . sprintf($more_rows, 1000000) . ' r', 300, 900, 1500, 2200, 3000 ],
	[ 'evaluating', 'SELECT amad_evaluate(sin(i * i), i % 997 < 13, \'{"window": 1000, "rows_per_day": 1440}\'::jsonb) FROM generate_series(1::bigint, 2000000) i',
		600, 900, 1200, 1500, 1800 ],
	[ 'scoring, tiny network', score_query("'tiny'"), 60, 150 ],
	[ 'scoring, model by value', score_query("(SELECT model FROM amad_models WHERE model_name = 'tiny')"), 150 ],
	[ 'scoring, large network', score_query("'large'"), 200, 333, 500 ],
	[ 'scoring, wide window', score_query("'wide'"), 200, 333, 500 ],
	[ 'scoring, sorted first', "SELECT count(score) FROM (SELECT amad_score('tiny', ts, a, b, c) OVER (ORDER BY ts) AS score "
		  . 'FROM ' . sprintf($more_rows, 10000000) . ' r) s', 500 ],
	[ 'scoring, a cross join', "SELECT count(score) FROM (SELECT amad_score('tiny', row_number, a, b, c) OVER () AS score "
		  . 'FROM (SELECT row_number() OVER () AS row_number, r.* FROM generate_series(1, 100000) g, readings r) r) s', 500 ],
);

for my $case (@cases)
{
	my ($name, $query, @timeouts) = @$case;
	my @latencies = split /\n/, $node->safe_psql('postgres',
		join('', map { "SET statement_timeout = $_; SELECT coalesce(cancelled(\$q\$$query\$q\$)::text, 'ended');\n" } @timeouts));
	my ($worst) = sort { $b <=> $a } map { $_ eq 'ended' ? 0 : $_ } @latencies;
	my $ended = grep { $_ eq 'ended' } @latencies;

	# a fast machine may finish before the longer timeouts
	ok($ended < @latencies && $worst < $limit, "statement_timeout: $name");
	note("cancelled after @latencies ms: $name");
}

# From another session
my @ways = (
	[ 'pg_cancel_backend', 'training', train_query($tiny, 10000000) ],
	[ 'pg_cancel_backend', 'training a large network', train_query($large, 10000000) ],
	[ 'pg_cancel_backend', 'scoring with a large network', score_query("'large'") ],
	[ 'pg_terminate_backend', 'training a large network', train_query($large, 10000000) ],
);
for my $way (@ways)
{
	my ($function, $name, $query) = @$way;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	$session->query_until(qr/started/, "\\echo started\n$query;\n\\echo ended\n");
	$node->poll_query_until('postgres',
		"SELECT state = 'active' AND query ~ 'amad' AND clock_timestamp() - query_start > '200 ms' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the query does not start';
	my $latency = $node->safe_psql(
		'postgres', qq(
DO \$\$
DECLARE
  start timestamptz := clock_timestamp();
BEGIN
  PERFORM $function($pid);
  WHILE EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active') LOOP
    PERFORM pg_sleep(0.002);
    PERFORM pg_stat_clear_snapshot();
  END LOOP;
  PERFORM set_config('amad_test.latency', (extract(epoch FROM clock_timestamp() - start) * 1000)::int::text, false);
END \$\$;
SELECT current_setting('amad_test.latency');));
	cmp_ok($latency, '<', $limit, "$function: $name");
	note("$function took $latency ms: $name");
	if ($function eq 'pg_cancel_backend')
	{
		$session->query_until(qr/ended/, '');
		like($session->{stderr}, qr/canceling statement due to user request/, 'as the message says');
		$session->{stderr} = '';
		is($session->query_safe(checksum("'tiny'")), $before, 'the session scores as before');
		is($session->query_safe('BEGIN; ' . train('tiny') . '; ROLLBACK'), 2, 'and trains');
		$session->quit;
	}
	else
	{
		eval { $session->quit };
	}
}

# Cancelled inside a transaction: after a rollback to a savepoint it continues, and the name is not blocked
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN; ' . train('kept') . '; SAVEPOINT s; SET LOCAL statement_timeout = 100');
$session->query(train_query($tiny, 10000000));
like($session->{stderr}, qr/statement timeout/, 'cancelled after a savepoint');
$session->{stderr} = '';
$session->query_safe('ROLLBACK TO s; COMMIT');
is($session->query_safe(train('cancelled')), 1, 'version 1: the cancelled training left nothing behind');
is($session->query_safe(checksum("'kept'")), $before, 'the model trained before the savepoint exists');
is( $session->query_safe("DELETE FROM amad_models WHERE model_name IN ('kept', 'cancelled'); SELECT count(*) FROM amad_models"),
	$models, 'no other model was stored');
$session->quit;

$node->stop;
done_testing();
