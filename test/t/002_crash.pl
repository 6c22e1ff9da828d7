# Crashes and restarts: stored models are intact and score as before, unfinished trainings leave nothing behind.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('crash');
create_rows($node, 500);
$node->safe_psql('postgres', train('m', '"seed": 1') . ';' . train('m', '"seed": 2') . ';' . train('other'));

# what must survive
my $state = "SELECT string_agg(concat_ws(' ', owner, model_name, version, deployed, md5(model::text)), ', ' ORDER BY model_name, owner, version) "
  . 'FROM amad_models';
my $models = $node->safe_psql('postgres', $state);
my $scores = $node->safe_psql('postgres', checksum("'m'"));

sub check
{
	my ($when) = @_;

	is($node->safe_psql('postgres', $state), $models, "$when: only the committed models exist");
	is($node->safe_psql('postgres', checksum("'m'")), $scores, "$when: their scores are the same");
	is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT count(*) FROM amad_models WHERE model_name > \'\''),
		3, "$when: the index agrees");
	return;
}

# A session that has stored a model without committing it, and is training another
sub session_in_training
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');

	$session->query_safe('BEGIN; ' . train('m', '"seed": 3') . '; ' . train('new'));
	$session->query_until(qr/started/, "\\echo started\n" . train('other', '"steps": 10000000') . ";\n");
	$node->poll_query_until('postgres',
		"SELECT state = 'active' AND clock_timestamp() - query_start > '200 ms' FROM pg_stat_activity WHERE pid = $pid")
	  or die 'the training does not start';
	return ($session, $pid);
}

my ($session, $pid) = session_in_training();
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $log = -s $node->logfile;
kill 'KILL', $pid;
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log);
# psql cannot connect until recovery is over
$node->poll_query_until('postgres', "SELECT NOT pg_is_in_recovery()") or die 'no recovery';
eval { $session->quit };
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server recovered without a restart of the postmaster');
check('a backend killed in training');

($session) = session_in_training();
$node->stop('immediate');
eval { $session->quit };
$node->start;
check('immediate shutdown in training');

($session) = session_in_training();
$node->stop('fast');
eval { $session->quit };
ok(1, 'a fast shutdown ends trainings');
$node->start;
check('restart');

is($node->safe_psql('postgres', train('m', '"seed": 4')), 3, 'the next version follows the last committed one');
is( $node->safe_psql('postgres', "SELECT version FROM amad_models WHERE model_name = 'm' AND deployed"),
	3, 'and is deployed');

$node->stop;
done_testing();
