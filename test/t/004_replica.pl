# A streaming standby: models are replicated, and score by name and by value; what reads works there, what writes is refused;
# promoted, it goes on with the watches.
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

# ---- a source, its watch and its incidents -----------------------------------------------------------

$primary->safe_psql('postgres', q(
CREATE TABLE fleet (device int, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
INSERT INTO fleet SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) FROM generate_series(0, 479) i, generate_series(1, 3) d;
DO $$ BEGIN
  PERFORM amad_train('fleet', 'fleet', 'ts', series_cols => '{device}', options => '{"method": "pca", "horizons": [1]}');
  PERFORM amad_watch('fleet', "every" => '1 day', labels => '{"team": "x"}');
END $$;
CALL amad_refresh('fleet', as_of => '2026-05-01 08:00');
INSERT INTO fleet SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) + CASE WHEN d = 2 THEN 5 ELSE 0 END
  FROM generate_series(480, 499) i, generate_series(1, 3) d;
CALL amad_refresh('fleet', as_of => '2026-05-01 08:20')));
$primary->wait_for_catchup($standby);
my $digest = 'SELECT count(*), md5(string_agg(r::text, chr(10) ORDER BY r::text)) FROM %s r';
my %same = (
	'amad_detect' => sprintf($digest, q(amad_detect('fleet'))),
	'amad_detect of a range' => sprintf($digest, q(amad_detect('fleet', since => '2026-05-01 08:00'))),
	'amad_detect on parallel workers' => 'SET amad.max_parallel_workers = 2; SET min_parallel_table_scan_size = 0; ' . sprintf($digest, q(amad_detect('fleet'))),
	'amad_events' => sprintf($digest, q(amad_events('fleet'))),
	'amad_drift' => sprintf($digest, q(amad_drift('fleet', since => '2026-05-01 08:00'))),
	'amad_compare' => sprintf($digest, q(amad_compare('fleet', version => 1))),
	'amad_evaluate' => 'SELECT amad_evaluate(a, b > 2) FROM fleet',
	'amad_describe' => q(SELECT md5(amad_describe('fleet')::text)),
	'amad_weights' => sprintf($digest, q(amad_weights((SELECT model FROM amad_models WHERE model_name = 'fleet')))),
	'amad_detect_query' => q(SELECT amad_detect_query('fleet', last_n => 5)),
	'amad_estimate' => q(SELECT rows FROM amad_estimate('fleet')),
	'scores' => sprintf($digest, 'fleet_scores'),
	'incidents' => sprintf($digest, 'amad_incidents'),
	'announcements' => sprintf($digest, 'amad_outbox'),
	'runs' => sprintf($digest, 'amad_runs'),
	'amad_status' => sprintf($digest, '(SELECT state, newest, last_run, last_state, last_rows, model_version, changes, series, open_incidents, undelivered, unseen FROM amad_status)'),
	'amad_metrics' => q(SELECT string_agg(line, chr(10)) FROM regexp_split_to_table(amad_metrics(), chr(10)) line WHERE line !~ 'seconds'));
foreach my $what (sort keys %same)
{
	my $there = $standby->safe_psql('postgres', $same{$what});

	is($there, $primary->safe_psql('postgres', $same{$what}), "$what is the same on the standby");
	like($there, qr/[1-9]/, 'and is not empty');
}
is($standby->safe_psql('postgres', q(SELECT state, open_incidents, undelivered FROM amad_status)), 'ok|1|1', 'with an incident');
is($standby->safe_psql('postgres', q(SELECT count(*) FROM amad_progress)), '0', 'amad_progress works there');

# ---- what writes is refused -------------------------------------------------------------------------

my %writes = (
	amad_train => q(SELECT amad_train('fleet', 'fleet', 'ts')),
	amad_retrain => q(SELECT amad_retrain('fleet')),
	amad_recalibrate => q(SELECT amad_recalibrate('fleet')),
	amad_deploy => q(SELECT amad_deploy('fleet', 1)),
	amad_drop => q(SELECT amad_drop('fleet')),
	amad_grant => q(SELECT amad_grant('fleet', 'public', 'read')),
	amad_revoke => q(SELECT amad_revoke('fleet', 'public')),
	amad_watch => q(SELECT amad_watch('fleet')),
	amad_unwatch => q(SELECT amad_unwatch('fleet')),
	amad_pause => q(SELECT amad_pause('fleet')),
	amad_resume => q(SELECT amad_resume('fleet')),
	amad_refresh => q(CALL amad_refresh('fleet')),
	amad_care => q(CALL amad_care('fleet')),
	amad_retire => q(SELECT amad_retire('fleet', '{"device": 1}')),
	amad_tune => q(SELECT amad_tune('fleet', 1)),
	amad_deliveries => q(SELECT amad_deliveries()),
	amad_delivered => q(SELECT amad_delivered(1, 'opened')),
	amad_acknowledge => q(SELECT amad_acknowledge(1)),
	amad_feedback => q(SELECT amad_feedback('fleet', '{"device": 1}', '2026-05-01', '2026-05-02', 'expected')),
	amad_drop_verdict => q(SELECT amad_drop_verdict(1)));
foreach my $function (sort keys %writes)
{
	foreach my $statement ($writes{$function}, "BEGIN; $writes{$function}; COMMIT")
	{
		($ret, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$statement");
		like($err, qr/ERROR:  25006: cannot execute \Q$function\E\(\) in a read-only transaction/, "$function is refused on the standby: $statement");
	}
}

# ---- promotion ----------------------------------------------------------------------------------------

# changes that nobody has scored, and a run that ends with the primary
$primary->safe_psql('postgres', q(INSERT INTO fleet SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) + CASE WHEN d > 1 THEN 5 ELSE 0 END
  FROM generate_series(500, 509) i, generate_series(1, 3) d; UPDATE fleet SET a = 0.5 WHERE device = 1 AND ts = '2026-05-01 04:00';
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(100); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT ON fleet_scores FOR EACH ROW EXECUTE FUNCTION slow()));
my $running = $primary->background_psql('postgres', on_error_stop => 0);
$running->query_until(qr/begun/, "\\echo begun\nCALL amad_refresh('fleet', as_of => '2026-05-01 08:30');\n");
ok($primary->poll_query_until('postgres', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep')), 'a refresh runs on the primary');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT state, last_state, pending > 0 FROM amad_status'), 'ok|running|t', 'as the standby shows');
$primary->stop('immediate');
$standby->promote;
eval { $running->quit };
is($standby->safe_psql('postgres', train('m', '"seed": 2')), 2, 'promoted, the standby trains the next version');
$standby->safe_psql('postgres', q(DROP TRIGGER slow ON fleet_scores; INSERT INTO fleet VALUES (1, '2026-05-01 08:30', 0.5, 0.5);
CALL amad_refresh('fleet', as_of => '2026-05-01 08:40')));
is($standby->safe_psql('postgres', q(SELECT string_agg(state, ',' ORDER BY run) FROM amad_runs)), 'done,done,killed,done', 'and a refresh there replaces the one that was lost');
is($standby->safe_psql('postgres', q(SELECT count(*), count(*) FILTER (WHERE s.severity IS DISTINCT FROM d.severity) FROM fleet_scores s
	FULL JOIN (SELECT (series->>'device')::int AS device, ts, severity FROM amad_detect('fleet')) d USING (device, ts))), '1531|0', 'all changes are scored, before and after');
is($standby->safe_psql('postgres', q(SELECT string_agg(series->>'device', ',' ORDER BY series) FROM amad_incidents)), '2,3', 'incidents go on');
is($standby->safe_psql('postgres', q(SELECT count(*), count(amad_delivered(incident, transition, number)) FROM amad_deliveries())), '2|2', 'and announcements, one of the old primary and one of the new one');
$standby->safe_psql('postgres', q(CALL amad_care('fleet', as_of => '2026-05-01 08:40')));
is($standby->safe_psql('postgres', q(SELECT kind, state FROM amad_runs WHERE kind <> 'refresh')), 'recalibrate|done', 'and the care of the model');

$standby->stop;
done_testing();
