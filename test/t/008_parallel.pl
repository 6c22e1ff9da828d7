# Training on parallel workers: they are used, the model does not depend on their number, and the
# cancellation, failure or death of one of them ends the training cleanly.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('parallel');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
create_rows($node, 1500);

# large enough for workers to be started
my $options = '{"window": 16, "d_model": 32, "heads": 2, "layers": 1, "steps": 800, "horizons": [2, 4]}';
my $train = "SELECT amad_train('m', '$options', ts, a, b, c)->>'workers' FROM readings";
my $last = 'SELECT md5(model::text) FROM amad_models ORDER BY created_at DESC LIMIT 1';

sub trained
{
	my ($settings) = @_;
	my ($stdout, $stderr);

	$node->psql('postgres', "$settings; SET client_min_messages = debug1; $train; RESET client_min_messages; $last",
		stdout => \$stdout, stderr => \$stderr, on_error_die => 1);
	return (split(/\n/, $stdout), $stderr);
}

my ($none, $expected) = trained('SET amad.max_parallel_workers = 0');
is($none, 0, 'no workers if they are not allowed');

foreach my $workers (1 .. 3)
{
	my ($used, $model, $stderr) = trained("SET amad.max_parallel_workers = $workers");

	is($used, $workers, "$workers workers are used");
	like($stderr, qr/training with $workers parallel workers/, "and reported at DEBUG1");
	is($model, $expected, 'the model is the same');
}

# a batch of 8 chunks has 4 shards
my ($used, $model) = trained('SET amad.max_parallel_workers = 7');
is($used, 3, 'no more processes than shards');
is($model, $expected, 'the model is the same');

($used, $model) = trained('SET max_parallel_maintenance_workers = 1');
is($used, 1, 'max_parallel_maintenance_workers is the default');

foreach my $setting ('max_parallel_workers = 0', 'max_parallel_maintenance_workers = 0')
{
	($used, $model) = trained("SET $setting");
	is($used, 0, "alone with $setting");
	is($model, $expected, 'the model is the same');
}

# an odd last shard, and fewer chunks than a shard takes
foreach my $batch (1, 3, 5)
{
	my @models;

	foreach my $workers (0, 3)
	{
		push @models, $node->safe_psql('postgres', "SET amad.max_parallel_workers = $workers; "
			  . "SELECT md5(amad_fit('$options'::jsonb || '{\"steps\": 3000, \"advanced\": {\"batch_size\": $batch}}', ts, a, b, c)::text) FROM readings");
	}
	is($models[0], $models[1], "batches of $batch chunks: the model is the same");
}

# parts of the network that are switched off are switched off in every process
my @off = map { $node->safe_psql('postgres', "SET amad.max_parallel_workers = $_; "
		  . "SELECT md5(amad_fit('$options'::jsonb || '{\"advanced\": {\"without\": [\"automask\", \"mixup\", \"multiscale\"]}}', ts, a, b, c)::text) FROM readings") } (0, 3);
is($off[0], $off[1], 'without parts of the network: the model is the same');

# within other statements
is($node->safe_psql('postgres', "BEGIN; CREATE TABLE log (t text); INSERT INTO log SELECT amad_train('m', '$options', ts, a, b, c)->>'workers' FROM readings; "
		  . "SAVEPOINT s; $train; ROLLBACK TO s; COMMIT; SELECT t > '0' FROM log"),
	"2\nt", 'in a transaction that writes, and under a savepoint');
is($node->safe_psql('postgres', "BEGIN ISOLATION LEVEL SERIALIZABLE; $train; COMMIT"), 2, 'under SERIALIZABLE');

# ---- endings -----------------------------------------------------------------------------------

my $models = $node->safe_psql('postgres', 'SELECT count(*) FROM amad_models');
my $endless = $train =~ s/"steps": 800/"steps": 10000000/r;
my $workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'";

sub no_workers_left
{
	my ($what) = @_;

	ok($node->poll_query_until('postgres', "SELECT ($workers) = 0"), "no worker is left after $what");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM amad_models'), $models, 'and nothing stored');
	return;
}

my ($stdout, $stderr);
isnt($node->psql('postgres', "SET statement_timeout = '1s'; $endless", stderr => \$stderr), 0, 'a training is cancelled');
like($stderr, qr/statement timeout/, 'by its timeout');
no_workers_left('a cancel');

# a worker that is terminated, as on shutdown
my $session = $node->background_psql('postgres', on_error_stop => 0) if $node->can('background_psql');
SKIP:
{
	skip 'this PostgreSQL has no background_psql that waits', 2 unless $session && $session->can('query_until');
	$session->query_until(qr/begun/, "\\echo begun\n$endless;\n");
	$node->poll_query_until('postgres', "SELECT ($workers) > 0");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
	no_workers_left('the end of one');
	$session->quit;
}

# a caught error ends the workers, and the session can continue
my $caught = $node->safe_psql('postgres', "SET statement_timeout = '1s'; "
	  . "DO \$\$ BEGIN PERFORM ($endless); EXCEPTION WHEN query_canceled THEN SET statement_timeout = 0; END \$\$; "
	  . "SELECT current_setting('statement_timeout'), ($workers); $train");
is($caught, "0|0\n2", 'after a caught error no worker is left, and the session trains as before');
$models++;
no_workers_left('an error that was caught');
is($node->safe_psql('postgres', $train), 2, 'the next training succeeds');

$node->stop;
done_testing();
