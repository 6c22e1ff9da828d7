# postgres_fdw: a partitioned table whose partitions lie on another server gives the same bits as a local table; what is
# pushed down; a watch polls it; the other server is lost in the middle of a refresh; scoring on the other server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no postgres_fdw' unless defined extension_version('postgres_fdw');

my $remote = new_node('remote');
my $node = new_node('local');
my $columns = 'device int NOT NULL, ts timestamptz NOT NULL, a float8, b float8, c float8';
my $options = '\'{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 20, "horizons": [2, 4], "seed": 3}\'';

# ann owns all; her user mapping leads to a role of the same name
sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql, extra_params => [ '-U', 'ann' ]); }
sub there { my ($sql) = @_; return $remote->safe_psql('postgres', $sql, extra_params => [ '-U', 'ann' ]); }

# the error of a statement of ann
sub error
{
	my ($sql) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'ann' ], on_error_stop => 1);
	return $err;
}

$remote->safe_psql('postgres', 'CREATE ROLE ann LOGIN; GRANT CREATE ON SCHEMA public TO ann');
there(qq(CREATE TABLE half ($columns, PRIMARY KEY (device, ts)); CREATE TABLE old (LIKE half INCLUDING ALL)));
$node->safe_psql('postgres', 'CREATE ROLE ann LOGIN; GRANT CREATE ON SCHEMA public TO ann; CREATE EXTENSION postgres_fdw; '
	  . 'CREATE SERVER remote FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host \'' . $remote->host . '\', port \'' . $remote->port
	  . "', dbname 'postgres', extensions 'amad'); GRANT USAGE ON FOREIGN SERVER remote TO ann; "
	  . "CREATE USER MAPPING FOR ann SERVER remote OPTIONS (user 'ann', password_required 'false')");

# Devices with a gap, missing values, a row that comes twice and an anomaly; in one local table; in partitions by device; and by time.
sql(qq(
CREATE TABLE one ($columns);
CREATE INDEX ON one (device, ts);
INSERT INTO one
  SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), CASE WHEN i % 97 > 2 THEN cos(i * 0.11) END + (i * 7919 % 101) / 500.0,
    (i * 104729 % 1009) / 1009.0 + CASE WHEN d = 2 AND i BETWEEN 700 AND 720 THEN 9 ELSE 0 END
  FROM generate_series(0, 799) i, generate_series(1, 6) d WHERE NOT (d = 3 AND i BETWEEN 300 AND 400);
INSERT INTO one SELECT device, ts, a + 1, b, c FROM one WHERE device = 4 AND ts = '2026-05-01 02:00';

CREATE TABLE by_device ($columns) PARTITION BY HASH (device);
CREATE FOREIGN TABLE by_device_0 PARTITION OF by_device FOR VALUES WITH (MODULUS 2, REMAINDER 0) SERVER remote OPTIONS (table_name 'half');
CREATE TABLE by_device_1 PARTITION OF by_device FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE by_time ($columns) PARTITION BY RANGE (ts);
CREATE FOREIGN TABLE by_time_old PARTITION OF by_time FOR VALUES FROM (MINVALUE) TO ('2026-05-01 03:00') SERVER remote OPTIONS (table_name 'old');
CREATE TABLE by_time_new PARTITION OF by_time FOR VALUES FROM ('2026-05-01 03:00') TO (MAXVALUE);
CREATE INDEX ON by_device_1 (device, ts);
CREATE INDEX ON by_time_new (device, ts);));
there('ALTER TABLE half DROP CONSTRAINT half_pkey; ALTER TABLE old DROP CONSTRAINT old_pkey; CREATE INDEX ON half (device, ts); CREATE INDEX ON old (device, ts)');
sql("INSERT INTO $_ SELECT * FROM one") foreach qw(by_device by_time);
is(sql('SELECT count(DISTINCT device), count(DISTINCT tableoid) FROM by_device'), '6|2', 'rows are in both partitions by device');
is(sql('SELECT count(DISTINCT device), count(DISTINCT tableoid) FROM by_time'), '6|2', 'and by time');

# ---- the same bits -------------------------------------------------------------------------------

# Results of training on a relation and of using the model, to the bit
sub results
{
	my ($table) = @_;
	my $name = "'m_$table'";
	my $digest = 'SELECT count(*), md5(string_agg(r::text, chr(10) ORDER BY r::text)) FROM %s r';
	my $value = "SELECT version, md5(model::text) FROM amad_models WHERE model_name = $name ORDER BY version DESC LIMIT 1";
	my @queries = (
		'amad_train' => "SELECT amad_train($name, '$table', 'ts', '{a,b,c}', '{device}', options => $options, until => '2026-05-01 10:00')->'rows'",
		'the model' => $value,
		'amad_detect' => sprintf($digest, "amad_detect($name)"),
		'amad_detect of a range' => sprintf($digest, "amad_detect($name, since => '2026-05-01 02:30', until => '2026-05-01 04:00')"),
		'amad_detect of the last rows' => sprintf($digest, "amad_detect($name, last_n => 9)"),
		'amad_detect of a series' => sprintf($digest, "amad_detect($name, series => '{\"device\": 2}')"),
		'amad_events' => "SELECT series, start_ts, end_ts, peak_severity FROM amad_events($name) ORDER BY peak_severity DESC LIMIT 1",
		'all of amad_events' => sprintf($digest, "amad_events($name, min_severity => 0.5)"),
		'amad_drift' => sprintf($digest, "amad_drift($name, since => '2026-05-01 08:00')"),
		'amad_score' => "SELECT count(score), md5(string_agg(concat_ws(' ', device, ts, score), chr(10) ORDER BY device, ts, score)) FROM (SELECT device, ts, "
		  . "amad_score($name, ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) AS score FROM $table) s",
		'amad_fit' => "SELECT md5(string_agg(model::text, ' ' ORDER BY device)) FROM (SELECT device, amad_fit($options, ts, a, b, c) AS model FROM $table "
		  . "WHERE device <> 4 GROUP BY device) s",
		'amad_recalibrate' => "SELECT amad_recalibrate($name, since => '2026-05-01 04:00')->'version'",
		'the recalibrated model' => $value,
		'amad_retrain' => "SELECT amad_retrain($name, last_n => 500)->'version'",
		'the retrained model' => $value);
	my %queries = @queries;
	my @names = @queries[ grep { $_ % 2 == 0 } 0 .. $#queries ];
	return (\@names, { map { $_ => sql("SET enable_partitionwise_aggregate = on; $queries{$_}") } @names });
}

my ($names, $one) = results('one');
is((split(/\|/, $one->{amad_events}))[0], '{"device": 2}', 'an event is found');
like($one->{amad_recalibrate}, qr/^2$/, 'a model is recalibrated');
foreach my $table (qw(by_device by_time))
{
	my ($same, $results) = results($table);
	is($results->{$_}, $one->{$_}, "$table: $_") foreach @$names;
}

# ---- what is pushed down -------------------------------------------------------------------------

sub explained { my ($query, $setup) = @_; return sql(($setup // '') . "EXPLAIN (VERBOSE, COSTS OFF) $query"); }
my $partitionwise = 'SET enable_partitionwise_aggregate = on; ';
my $fit = "SELECT device, amad_fit($options, ts, a, b, c) FROM by_device WHERE device <> 4 GROUP BY device";

like(explained($fit, $partitionwise), qr/Remote SQL: SELECT device, public\.amad_fit\(.*GROUP BY 1/, 'amad_fit by device is computed on the other server');
unlike(explained($fit), qr/Remote SQL: .*amad_fit/, 'not without partition-wise aggregates');
like(explained('SELECT device, amad_evaluate(a, b > 0.9) FROM by_device GROUP BY device', $partitionwise), qr/Remote SQL: SELECT device, public\.amad_evaluate\(/, 'so is amad_evaluate');
$node->safe_psql('postgres', "ALTER SERVER remote OPTIONS (DROP extensions)");
unlike(explained($fit, $partitionwise), qr/Remote SQL: .*amad_fit/, 'not if the server is not said to have the extension');
$node->safe_psql('postgres', "ALTER SERVER remote OPTIONS (ADD extensions 'amad')");

my $train = "SELECT device, amad_train('d' || device, $options, ts, a, b, c)->'version' FROM by_device WHERE device <> 4 GROUP BY device";
unlike(explained($train, $partitionwise), qr/Remote SQL: .*amad_train/, 'amad_train is not');
is(sql("$partitionwise$train ORDER BY 1"), join("\n", map { "$_|1" } 1, 2, 3, 5, 6), 'it trains');
is(sql(q(SELECT count(*) FROM amad_models WHERE model_name LIKE 'd_')) . '|' . there('SELECT count(*) FROM amad_models'), '5|0', 'and stores all models here');

my $range = explained(sql(q(SELECT amad_detect_query('m_by_device', since => '2026-05-01 09:00', until => '2026-05-01 10:00'))));
like($range, qr/Remote SQL: SELECT .* WHERE \(\(ts >= '2026-.*\(ts < '2026-/, 'amad_detect reads only a range of time from the other server');
like(explained(sql(q(SELECT amad_detect_query('m_by_device', series => '{"device": 2}')))), qr/Remote SQL: SELECT .* WHERE \(\(device = 2\)\)/, 'and only the series that are asked for');
unlike(explained(sql(q(SELECT amad_detect_query('m_by_time', since => '2026-05-01 13:00')))), qr/Foreign Scan/, 'of partitions by time only those that the range needs');
like(explained(q(SELECT amad_score('m_by_device', ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) FROM by_device)),
	qr/WindowAgg.*Remote SQL: SELECT device, ts, a, b, c FROM public\.half/s, 'window functions are computed here');

# a role that may read the model reads the source as its owner, by the owner's user mapping
$node->safe_psql('postgres', 'CREATE ROLE bob LOGIN');
sql(q(SELECT amad_grant('m_by_device', 'bob', 'read')));
my $detected = q(SELECT count(*), md5(string_agg(d::text, chr(10) ORDER BY d::text)) FROM amad_detect('m_by_device') d);
is($node->safe_psql('postgres', $detected, extra_params => [ '-U', 'bob' ]), sql($detected), 'a role with a grant and no user mapping detects');

# ---- scoring on the other server --------------------------------------------------------------------

# The model is sent there once, as a value; only scores come back.
there('CREATE TABLE deployed (name text PRIMARY KEY, model amad_model); '
	  . "CREATE VIEW half_scores AS SELECT device, ts, amad_score((SELECT model FROM deployed WHERE name = 'fleet'), ts, a, b, c) "
	  . 'OVER (PARTITION BY device ORDER BY ts) AS score FROM half');
sql('CREATE FOREIGN TABLE remote_deployed (name text, model amad_model) SERVER remote OPTIONS (table_name \'deployed\'); '
	  . 'CREATE FOREIGN TABLE half_scores (device int, ts timestamptz, score float8) SERVER remote; '
	  . q(INSERT INTO remote_deployed SELECT 'fleet', model FROM amad_models WHERE model_name = 'm_by_device' AND deployed));
my $here = q(SELECT device, ts, amad_score('m_by_device', ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) AS score FROM by_device_0);
my $scores = 'SELECT count(score), md5(string_agg(concat_ws(\' \', device, ts, score), chr(10) ORDER BY device, ts, score)) FROM ';
is(sql("$scores half_scores"), sql("$scores ($here) s"), 'a view there scores the same');
like(explained('SELECT * FROM half_scores WHERE device = 2 AND score > 1'), qr/Remote SQL: SELECT device, ts, score FROM public\.half_scores WHERE \(\(score > 1.*\(device = 2\)/,
	'only anomalies of the series are sent');
like(there('EXPLAIN (COSTS OFF) SELECT device, ts, score FROM public.half_scores WHERE score > 1 AND device = 2'), qr/Filter: .*score.*WindowAgg.*(Index Cond|Filter): \(.*device = 2\)/s,
	'and only its rows are scored there');
my $anomalies = 'SELECT count(*) > 0, count(*) FROM %s WHERE device = 2 AND score > 1';
is(sql(sprintf($anomalies, 'half_scores')), sql(sprintf($anomalies, "($here) s")), 'they are the same');

# a watch there keeps its target up to date, which is a table like others
there("DO \$\$ BEGIN PERFORM amad_train('half', 'half', 'ts', '{a,b,c}', '{device}', options => $options); "
	  . "PERFORM amad_watch('half', target => 'half_stored'); END \$\$; CALL amad_refresh('half')");
sql('CREATE FOREIGN TABLE half_stored (device int, ts timestamptz, severity float8, status text) SERVER remote');
my $stored = 'SELECT count(severity), max(severity) FROM ';
is(sql("$stored half_stored"), there("$stored amad_detect('half')"), 'stored scores are read from there');

# a view of amad_detect reads only the rows of its range there
there(q(CREATE VIEW half_recent AS SELECT * FROM amad_detect('half', since => '2026-05-01 12:30')));
sql('CREATE FOREIGN TABLE half_recent (series jsonb, ts timestamptz, severity float8, is_anomaly boolean, status text) SERVER remote');
is(sql('SELECT count(*), max(severity) FROM half_recent'), there(q(SELECT count(*), max(severity) FROM amad_detect('half') WHERE ts >= '2026-05-01 12:30')), 'a view of a detection there');
like(explained('SELECT * FROM half_recent WHERE is_anomaly'), qr/Remote SQL: SELECT .* FROM public\.half_recent WHERE \(is_anomaly\)/, 'of which only anomalies are sent');

# ---- collations ---------------------------------------------------------------------------------------

# The other server sorts by its collation; rows of partitions by time would be merged in another order.
SKIP:
{
	skip 'there are no collations of ICU', 4 unless $node->safe_psql('postgres', q(SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'));
	there(qq(CREATE TABLE words_old (device text COLLATE "en-x-icu", ts timestamptz, a float8, b float8); CREATE TABLE words_new (LIKE words_old)));
	sql(qq(CREATE TABLE words_one (device text COLLATE "en-x-icu", ts timestamptz, a float8, b float8); INSERT INTO words_one
	  SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + ascii(d)), cos(i * 0.11) FROM generate_series(0, 199) i, unnest('{a,B,c,A,b,C}'::text[]) d));
	foreach my $how ([ 'other', '' ], [ 'same', 'COLLATE "en-x-icu"' ])
	{
		my ($name, $collate) = @$how;

		sql(qq(CREATE TABLE words_$name (device text $collate, ts timestamptz, a float8, b float8) PARTITION BY RANGE (ts);
		  CREATE FOREIGN TABLE words_${name}_old PARTITION OF words_$name FOR VALUES FROM (MINVALUE) TO ('2026-05-01 02:00') SERVER remote OPTIONS (table_name 'words_old');
		  CREATE FOREIGN TABLE words_${name}_new PARTITION OF words_$name FOR VALUES FROM ('2026-05-01 02:00') TO (MAXVALUE) SERVER remote OPTIONS (table_name 'words_new')));
	}
	sql('INSERT INTO words_same SELECT * FROM words_one; SET enable_sort = off');
	my $words = q(SELECT amad_train('words', 'words_%s', 'ts', '{a,b}', '{device}', options => '{"method": "pca", "horizons": [1]}')->'rows');
	is(sql(sprintf($words, 'same')), '1200', 'a training on columns with the collation of the other server');
	my $value = q(SELECT md5(model::text) FROM amad_models WHERE model_name = 'words' ORDER BY version DESC LIMIT 1);
	my $model = sql($value);
	is(sql(sprintf($words, 'one')) . sql($value), "1200$model", 'gives the model of a local table');
	my $wrong_order = qr/ERROR:  rows of source public\.words_other are not in the order of their series\nDETAIL:  The series \{"device": "A"\} comes after \{"device": "a"\}\.\nHINT:  Columns of foreign tables need the collations/;
	like(error('SET enable_sort = off; ' . sprintf($words, 'other')), $wrong_order, 'with another collation a training is refused');
	like(error(q(SET enable_sort = off; SELECT count(*) FROM amad_detect('words', source => 'words_other'))), $wrong_order, 'and a detection');
}

# ---- watches ------------------------------------------------------------------------------------------

# Triggers that see rows would let INSERT into the table fail.
my $not_logged = qr/ERROR:  changes of "by_device" cannot be logged\nDETAIL:  "by_device_0" is a foreign table\.\nHINT:  Specify late, /;
like(error(q(SELECT amad_watch('m_by_device'))), $not_logged, 'a watch by triggers is refused');
is(sql(q(SELECT count(*) FROM amad_watches) . '') . sql(q(SELECT count(*) FROM pg_trigger WHERE tgfoid = 'amad_log_change'::regproc)), '00', 'and leaves nothing');
is(sql(q(SELECT amad_watch('m_one', target => 'scores_one')->>'changes')), 'logged by triggers', 'one table has triggers');
is(sql("SELECT amad_watch('m_$_', target => 'scores_$_', late => '2 hours')->>'changes'"), 'polled', "$_ is polled") foreach qw(by_device by_time);

# Refreshes and compares scores and incidents
sub refreshed
{
	my ($as_of, $what) = @_;
	my %results;

	foreach my $table (qw(one by_device by_time))
	{
		sql("CALL amad_refresh('m_$table', as_of => '$as_of')");
		$results{$table} = sql("SELECT count(*), count(severity), md5(string_agg(s::text, chr(10) ORDER BY device, ts)) FROM scores_$table s; "
			  . 'SELECT kind, state, series, first_ts, last_ts, peak_severity FROM amad_incidents JOIN amad_watches USING (watch) '
			  . "WHERE model_name = 'm_$table' ORDER BY 1, 3, 4");
	}
	is($results{$_}, $results{one}, "$_: $what") foreach qw(by_device by_time);
	return $results{one};
}

sql("SELECT amad_deploy('m_$_', 1)") foreach qw(one by_device by_time);
like(refreshed('2026-05-01 13:20', 'the first refresh'), qr/^4699\|\d+\|\w+\nanomaly\|closed\|\{"device": 2\}/, 'all is scored, with an incident');
foreach my $table (qw(one by_device by_time))
{
	sql("INSERT INTO $table SELECT d, '2026-05-01 13:20'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), 1, CASE WHEN d = 4 THEN 12 ELSE 0.5 END "
		  . 'FROM generate_series(0, 29) i, generate_series(1, 6) d');
	sql("UPDATE $table SET c = 0.25 WHERE device = 2 AND ts = '2026-05-01 13:00'; DELETE FROM $table WHERE device = 5 AND ts = '2026-05-01 12:50'");
}
like(refreshed('2026-05-01 13:50', 'rows that are new, updated and deleted within late'), qr/"device": 4/, 'another incident');
like(sql(q(SELECT unseen FROM amad_status WHERE model_name = 'm_by_device')), qr/rows more than 02:00:00 late/, 'the status says what a watch cannot see');
is(sql(q(SELECT count(*) FROM amad_runs WHERE kind = 'refresh' AND state <> 'done')), '0', 'all refreshes were done');

# a foreign partition that comes later
sql(qq(CREATE TABLE grown ($columns) PARTITION BY LIST (device); CREATE TABLE grown_1 PARTITION OF grown FOR VALUES IN (1, 3, 5);
INSERT INTO grown SELECT * FROM one WHERE device IN (1, 3)));
sql("DO \$\$ BEGIN PERFORM amad_train('grown', 'grown', 'ts', '{a,b,c}', '{device}', options => $options); PERFORM amad_watch('grown'); END \$\$; CALL amad_refresh('grown')");
there('CREATE TABLE grown_2 (LIKE half)');
sql(q(CREATE FOREIGN TABLE grown_2 PARTITION OF grown FOR VALUES IN (2, 4, 6) SERVER remote; INSERT INTO grown_2 SELECT * FROM one WHERE device IN (4, 6)));
like(error(q(CALL amad_refresh('grown'))), qr/ERROR:  changes of "grown" cannot be logged\nDETAIL:  "grown_2" is a foreign table/, 'makes the refresh fail');
is(sql(q(SELECT state, last_state, message FROM amad_status WHERE model_name = 'grown')), 'failing|failed|changes of "grown" cannot be logged', 'as the status says');
is(sql(q(SELECT amad_watch('grown', late => '1 hour')->>'changes')), 'polled', 'until it is polled');
sql(q(INSERT INTO grown VALUES (2, '2026-05-01 15:00', 1, 1, 1)));
sql(q(CALL amad_refresh('grown', since => '-infinity')));
is(sql(q(SELECT count(DISTINCT device) FROM grown_scores)), '5', 'then all is scored, and rows can be inserted');

# ---- the other server is lost ----------------------------------------------------------------------------

# Many series, so that a refresh takes several transactions; the rows of the last one come slowly.
sql(q(CREATE TABLE many (device int, ts timestamptz, a float8, b float8); INSERT INTO many
  SELECT d, '2026-05-01'::timestamptz + i * interval '1 minute', sin(i * 0.2 + d), cos(i * 0.11) FROM generate_series(0, 59) i, generate_series(1, 100) d));
sql(q(SELECT amad_train('many', 'many', 'ts', '{a,b}', '{device}', options => '{"method": "pca", "horizons": [1]}')));
there(q(CREATE TABLE many (device int, ts timestamptz, a float8, b float8); CREATE TABLE brake (seconds float8);
CREATE FUNCTION slow() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(seconds) IS NOT NULL FROM public.brake';
CREATE VIEW slow_many AS SELECT * FROM many WHERE device <> 99 OR slow()));
sql(q(CREATE FOREIGN TABLE slow_many (device int, ts timestamptz, a float8, b float8) SERVER remote; INSERT INTO slow_many SELECT * FROM many));
there(q(INSERT INTO brake VALUES (0)));
sql(q(SELECT amad_train('many', 'slow_many', 'ts', '{a,b}', '{device}', options => '{"method": "pca", "horizons": [1]}')));
sql(q(SELECT amad_watch('many', target => 'scores_many', late => '10 min')));
there(q(UPDATE brake SET seconds = 0.05));
my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'ann' ]);
$session->query_until(qr/begun/, "\\echo begun\nCALL amad_refresh('many', as_of => '2026-05-01 01:00');\n");
ok($node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM scores_many'), 'some series are scored');
$remote->stop('immediate');
$session->query('SELECT 1');
like($session->{stderr}, qr/ERROR:  server closed the connection unexpectedly.*CONTEXT:  remote SQL command: /s, 'the refresh fails by the error of postgres_fdw');
unlike($session->{stderr}, qr/you don't own a lock/, 'and nothing else');
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'amad_watches'::regclass)), '0', 'its lock is released');
$session->{stderr} = '';
my $state = q(SELECT r.state, r.sqlstate, rows_scored = (SELECT count(*) FROM scores_many), rows_scored % 60, (SELECT count(*) FROM amad_pending p WHERE p.watch = w.watch) > 0
	FROM amad_runs r JOIN amad_watches w USING (watch) WHERE model_name = 'many' ORDER BY run DESC LIMIT 1);
is(sql($state), 'failed|08006|t|0|t', 'whole batches are scored, the others wait, and the run is recorded');
like(error(q(CALL amad_refresh('many', as_of => '2026-05-01 01:00'))), qr/ERROR:  could not connect to server "remote"\nDETAIL:  /, 'the next one says that the server cannot be reached');
like(sql($state), qr/^failed\|08001\|/, 'and is recorded');
like(error(q(CALL amad_care('many', as_of => '2026-05-01 01:00'))), qr/ERROR:  could not connect to server "remote"/, 'the care of the model fails');
is(sql(q(SELECT state, sqlstate FROM amad_runs JOIN amad_watches USING (watch) WHERE model_name = 'many' AND kind = 'recalibrate')), 'failed|08001', 'and is recorded');
is(sql(q(SELECT state, detail ~ 'could not connect to server "remote"' FROM amad_incidents JOIN amad_watches USING (watch) WHERE model_name = 'many' AND kind = 'job' ORDER BY detail)),
	"open|t\nopen|t", 'refreshes that fail, and care that does, are incidents');
like(error(q(SELECT amad_retrain('many'))), qr/ERROR:  could not connect to server "remote"/, 'a training fails');
like(error(q(SELECT amad_detect('many'))), qr/ERROR:  could not connect to server "remote"/, 'and so does a detection');
is(sql(q(SELECT count(*) FROM amad_models WHERE model_name = 'many')), '2', 'no version is stored');
$remote->start;
there(q(UPDATE brake SET seconds = 0));
is($session->query(q(CALL amad_refresh('many', as_of => '2026-05-01 01:00'))) . $session->{stderr}, '', 'the watch recovers when the server is back, in the same session');
is(sql(q(SELECT count(*), count(DISTINCT device), count(*) FILTER (WHERE d.severity IS DISTINCT FROM s.severity) FROM scores_many s
	FULL JOIN (SELECT (series->>'device')::int AS device, ts, severity FROM amad_detect('many')) d USING (device, ts))), '6000|100|0', 'all is scored as by amad_detect');
is(sql(q(SELECT state FROM amad_incidents JOIN amad_watches USING (watch) WHERE model_name = 'many' AND kind = 'job' AND detail ~ '^refresh')), 'closed', 'the incident is closed');

# a server that is shut down in order tells its clients
there(q(UPDATE brake SET seconds = 0.05));
$session->query_until(qr/begun/, "\\echo begun\nCALL amad_refresh('many', since => '2026-05-01', as_of => '2026-05-01 01:00');\n");
ok($remote->poll_query_until('postgres', q(SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep')), 'a refresh that takes long');
$remote->stop('fast');
$session->query('SELECT 1');
like($session->{stderr}, qr/terminating connection due to administrator command.*CONTEXT:  remote SQL command: /s, 'the error comes from the other server');
like(sql($state), qr/^failed\|(08006|57P01)\|/, 'the run has failed, and is not cancelled');
$session->quit;

done_testing();
