# Without enough shared memory, trainings and detections run without workers.
use strict;
use warnings;

# Limit of the size of files, including shared memory segments: a small segment fits, a large one does
# not. The server ignores the signal for exceeding it. The test restarts itself under the limit before its
# output is redirected.
use constant LIMIT => 12 * 1024 * 1024;

BEGIN
{
	if (!$ENV{AMAD_TEST_LIMITED} && system('prlimit --fsize=' . LIMIT . ' true 2>/dev/null') == 0)
	{
		$ENV{AMAD_TEST_LIMITED} = 1;
		exec 'prlimit', '--fsize=' . LIMIT, $^X, $0 or die "cannot run prlimit: $!";
	}
}

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'needs prlimit' if !$ENV{AMAD_TEST_LIMITED};

foreach my $type ('posix', 'mmap')
{
	my $node = new_node("shared_$type", extra => ['--wal-segsize=1'],
		conf => "dynamic_shared_memory_type = $type\nmax_worker_processes = 8\nmaintenance_work_mem = 512MB\nwork_mem = 256MB\n");
	create_rows($node, 1500);
	$node->safe_psql('postgres', q(
CREATE TABLE many AS SELECT i::bigint AS ts, sin(i * 0.2) AS a, cos(i * 0.11) AS b, (i * 7919 % 101)::float8 AS c FROM generate_series(1, 4000) i;
ANALYZE many;));

	# Messages of a training, and the digest of its model
	my $trained = sub {
		my ($workers, $options) = @_;
		my ($stdout, $stderr);

		$node->psql('postgres', "SET amad.max_parallel_workers = $workers; SET client_min_messages = debug1; "
			  . "SELECT md5(amad_fit('$options'::jsonb, ts, a, b, c)::text) FROM readings", stdout => \$stdout, stderr => \$stderr);
		return ($stdout, $stderr);
	};
	my $small = '{"window": 16, "d_model": 32, "heads": 2, "layers": 1, "steps": 800, "horizons": [2, 4]}';
	my ($model, $messages) = $trained->(2, $small);
	like($messages, qr/training with 2 parallel workers/, "$type: a small segment fits, workers are used");

	# gradients of 4 shards, twice, of a network of 1.3 million weights: 42 MB
	my $large = '{"window": 16, "d_model": 256, "heads": 4, "layers": 2, "steps": 8, "horizons": [2, 4]}';
	my ($alone) = $trained->(0, $large);
	($model, $messages) = $trained->(2, $large);
	like($alone, qr/^[0-9a-f]{32}$/, "$type: a large network is trained alone");
	is($model, $alone, "$type: with workers requested, the model is the same");
	like($messages, qr/no parallel workers, because \d+ bytes of shared memory are not available/, "$type: the lack of workers is reported");
	unlike($messages, qr/ERROR|WARNING|training with/, "$type: and no error");

	# the model fits into a file, but with the rows under way its 2.6 million weights do not
	$node->safe_psql('postgres', "SELECT amad_train(model_name => 'm', source => 'many', timestamp_col => 'ts', "
		  . "options => '{\"window\": 64, \"d_model\": 256, \"heads\": 4, \"layers\": 5, \"steps\": 1, \"advanced\": {\"batch_size\": 1}}')");
	my @detected;
	foreach my $workers (0, 2)
	{
		my ($stdout, $stderr);

		$node->psql('postgres', "SET amad.max_parallel_workers = $workers; SET client_min_messages = debug1; "
			  . "SELECT md5(string_agg(encode(float8send(severity), 'hex'), ' ' ORDER BY ts)) || ' ' || count(*) FROM amad_detect_bigint('m')",
			stdout => \$stdout, stderr => \$stderr);
		push @detected, $stdout;
		next if $workers == 0;
		like($stderr, qr/no parallel workers, because \d+ bytes of shared memory are not available/, "$type: the lack of workers of a detection is reported");
		unlike($stderr, qr/ERROR|WARNING|scoring with/, "$type: and no error");
	}
	like($detected[0], qr/^[0-9a-f]{32} 4000$/, "$type: all rows are scored");
	is($detected[1], $detected[0], "$type: the rows are the same");
	unlike(slurp_file($node->logfile), qr/could not remove shared memory segment/, "$type: nothing is left behind");
	$node->stop;
}

done_testing();
