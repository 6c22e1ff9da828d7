# A streaming standby: models are replicated, and score by name and by value; amad_fit works, amad_train does not.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_node('primary', allows_streaming => 1);
create_rows($primary, 500);
$primary->safe_psql('postgres', train('m', '"seed": 1'));
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# one session on the standby all the time, so that it has models cached
my $session = $standby->background_psql('postgres', on_error_stop => 0);

sub scores_equal
{
	my ($version) = @_;

	$primary->wait_for_catchup($standby);
	is($session->query_safe("SELECT amad_describe('m')->'options'->'seed'"), $version, "version $version is in use on the standby");
	is( $session->query_safe(checksum("'m'")),
		$primary->safe_psql('postgres', checksum("'m'")),
		"version $version scores there as on the primary");
	return;
}

scores_equal(1);
$primary->safe_psql('postgres', train('m', '"seed": 2'));
scores_equal(2);
is( $session->query_safe(checksum("(SELECT model FROM amad_models WHERE version = 1)")),
	$primary->safe_psql('postgres', checksum("(SELECT model FROM amad_models WHERE version = 1)")),
	'a model by value scores there as on the primary');

$primary->safe_psql('postgres', 'UPDATE amad_models SET deployed = version = 1');
scores_equal(1);

# roles and their models are the same on the standby
$primary->safe_psql('postgres', 'CREATE ROLE ann; CREATE ROLE bob; GRANT SELECT ON readings TO PUBLIC; SET ROLE ann; ' . train('m', '"seed": 7'));
$primary->safe_psql('postgres', 'ALTER ROLE ann RENAME TO anna');
$primary->wait_for_catchup($standby);
is($session->query_safe("SET ROLE anna; SELECT amad_describe('m')->'options'->'seed'"), 7, 'a renamed role keeps its model on the standby');
is($session->query_safe('SET ROLE bob; SELECT count(*) FROM amad_models'), 0, 'and others do not see it');
is($session->query_safe('RESET ROLE; SELECT count(*), count(amad_model_error(model)) FROM amad_models'), '3|0', 'models are checked on the standby');

my $fit = 'SELECT md5(amad_fit(' . options() . ', ts, a, b, c)::text) FROM readings';
is($session->query_safe($fit), $primary->safe_psql('postgres', $fit), 'amad_fit gives the same model on the standby');

my ($ret, $out, $err) = $standby->psql('postgres', train('m'));
isnt($ret, 0, 'amad_train is refused on the standby');
like($err, qr/ERROR:  cannot execute amad_train\(\) in a read-only transaction/, 'with the error of read-only transactions');

($ret, $out, $err) = $primary->psql('postgres', 'BEGIN READ ONLY; ' . train('m'));
like($err, qr/ERROR:  cannot execute amad_train\(\) in a read-only transaction/, 'as in a read-only transaction on the primary');

$primary->safe_psql('postgres', 'DELETE FROM amad_models');
$primary->wait_for_catchup($standby);
$session->query(checksum("'m'"));
like($session->{stderr}, qr/ERROR:  model "m" does not exist/, 'a deleted model is also gone on the standby');
$session->{stderr} = '';
$primary->safe_psql('postgres', train('m', '"seed": 1'));
scores_equal(1);
$session->quit;

$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', train('m', '"seed": 2')), 2, 'promoted, the standby trains the next version');

$standby->stop;
done_testing();
