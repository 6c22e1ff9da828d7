# Dump and restore; schemas other than public; search paths set by others.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('dump');
my $dir = PostgreSQL::Test::Utils::tempdir;

sub sql
{
	my ($db, $query) = @_;

	return $node->safe_psql($db, $query);
}

sub fails_like
{
	my ($db, $query, $pattern, $name) = @_;
	my ($ret, $out, $err) = $node->psql($db, $query);

	isnt($ret, 0, $name);
	like($err, $pattern, "$name: message");
	return;
}

# ---- what is dumped ------------------------------------------------------------------

sql('postgres', 'CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE gone LOGIN; GRANT CREATE ON SCHEMA public TO ann');
create_rows($node, 500);
sql('postgres', "SET ROLE $_;" . train('m', '"seed": 1') . ';' . train('m', '"seed": 2')) for qw(ann bob gone);
sql('postgres', 'SET ROLE ann;' . train('n', '"features": ["a", "b", "c"]'));

# ann lets bob read, and the role that will be dropped operate
sql('postgres', q(SET ROLE ann; SELECT amad_grant('n', 'bob', 'read'), amad_grant('n', 'gone', 'operate')));

my $state = "SELECT string_agg(concat_ws(' ', owner, owner_oid, owner_cluster, model_name, version, deployed, features, options, training, "
  . "created_at, md5(model::text)), E'\\n' ORDER BY owner, model_name, version) FROM %samad_models";
my $models = sql('postgres', sprintf($state, ''));
my %scores = map { $_ => sql('postgres', "SET ROLE $_;" . checksum("'m'")) } qw(ann bob gone);

isnt(sql('postgres', 'SET ROLE ann;' . checksum("(SELECT model FROM amad_models WHERE model_name = 'm' AND version = 1)")),
	$scores{ann}, 'the models have different scores');

sub check_restored
{
	my ($db, $how) = @_;

	is(sql($db, sprintf($state, '')), $models, "$how: models, versions and facts are the same");
	for my $role (qw(ann bob))
	{
		is(sql($db, "SET ROLE $role;" . checksum("'m'")), $scores{$role}, "$how: the model of $role scores the same");
		is(sql($db, "SET ROLE $role;" . train('m')), 3, "$how: training gives $role the next version");
	}
	is(sql($db, 'SELECT count(*) FROM amad_models'), 9, "$how: there are two more models");
	is( sql($db, 'SELECT relrowsecurity FROM pg_class WHERE oid = \'amad_models\'::regclass'),
		't', "$how: row-level security is enabled");
	is(sql($db, 'SET ROLE bob; SELECT count(*) FROM amad_models'), 4, "$how: bob sees his own, and the one that he was granted");
	is(sql($db, q(SELECT string_agg(concat_ws(' ', owner, model_name, grantee, privilege), ', ' ORDER BY grantee) FROM amad_grants)),
		'ann n bob read, ann n gone operate', "$how: the grants are the same");
	is(sql($db, q(SET ROLE bob; SELECT amad_describe('n')->>'features')), '["a", "b", "c"]', "$how: and effective");
	return;
}

sub create_db
{
	sql('postgres', "CREATE DATABASE $_[0] TEMPLATE template0");
	return;
}

# ---- pg_restore and psql ---------------------------------------------------------------

$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", $node->connstr('postgres') ], 'pg_dump, custom format');
$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('postgres') ], 'pg_dump, plain');

create_db('custom');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('custom'), "$dir/custom" ], 'pg_restore');
check_restored('custom', 'pg_restore');

create_db('plain');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('plain'), '-f', "$dir/plain.sql" ], 'psql');
check_restored('plain', 'psql');

# dump and restore of a restored database
$node->command_ok([ 'pg_dump', '-Fc', '-j1', '-f', "$dir/again", $node->connstr('custom') ], 'pg_dump of the restored database');
create_db('again');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('again'), "$dir/again" ], 'pg_restore once more');
is(sql('again', sprintf($state, '')), sql('custom', sprintf($state, '')), 'a second dump and restore keep everything');

# ---- a missing owner -------------------------------------------------------------

sql('postgres', 'REVOKE ALL ON SCHEMA public FROM ann');
sql('postgres', 'DROP ROLE gone; CREATE ROLE gone LOGIN');
is(sql('postgres', q(SET ROLE gone; SELECT count(*) FROM amad_models)), 0, 'a role with the name of a grantee that was dropped has no grant');
sql('postgres', 'DROP ROLE gone');
create_db('missing');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('missing'), "$dir/custom" ],
	'pg_restore where an owner does not exist');
is(sql('missing', sprintf($state, '')), $models, 'keeps the models of the missing role');
is(sql('missing', 'SET ROLE bob; SELECT count(*) FROM amad_models'), 3, 'other roles do not see them');
is(sql('missing', "SET ROLE ann;" . checksum("'m'")), $scores{ann}, 'and have their scores');
is(sql('missing', 'CREATE ROLE gone LOGIN; SET ROLE gone; SELECT count(*) FROM amad_models'), 0,
	'a new role of its name does not see them');
sql('missing', q(UPDATE amad_models SET owner_oid = NULL WHERE owner = 'gone'));
is(sql('missing', 'SET ROLE gone;' . checksum("'m'")), $scores{gone}, 'unless they are given to it');

# ---- a damaged model ----------------------------------------------------------------------

# in the plain dump, some bytes in the middle of ann's first m
my $plain = slurp_file("$dir/plain.sql");
is(($plain =~ s/^(ann\t\d+\t-?\d+\tm\t1\t.*\\\\x[0-9a-f]{5000})[0-9a-f]{8}/$1deadbeef/mg), 1, 'a model is damaged in the dump');
append_to_file("$dir/damaged.sql", $plain);
create_db('damaged');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('damaged'), '-f', "$dir/damaged.sql" ],
	'a dump with a damaged model is restored');
is( sql('damaged', 'SELECT owner, model_name, version, amad_model_error(model) FROM amad_models WHERE amad_model_error(model) IS NOT NULL'),
	'ann|m|1|The checksum is wrong.', 'amad_model_error() finds it');
is(sql('damaged', 'SELECT count(*) FROM amad_models'), 7, 'other models are restored');
is(sql('damaged', "SET ROLE $_;" . checksum("'m'")), $scores{$_}, "the model of $_ scores the same") for qw(ann bob);
fails_like('damaged', q(SET ROLE ann; SELECT amad_describe('m', 1)),
	qr/ERROR:  version 1 of model "m" of role "ann" is damaged\nDETAIL:  The checksum is wrong/, 'it is refused by name');
is(sql('damaged', q(SET ROLE ann; SELECT amad_drop('m', 1))), 1, 'and can be dropped');

# ---- a database in another encoding, in which series keys have another order -----------------

sql('postgres', q(CREATE DATABASE utf8 TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'));
sql('utf8', q(SET client_encoding = UTF8; CREATE EXTENSION amad; CREATE TABLE coins AS SELECT i::bigint AS ts, device, sin(i * 0.2) * length(device || 'x') AS a,
  cos(i * 0.11) AS b FROM generate_series(1, 500) i, unnest('{ä,€,z}'::text[]) device));
sql('utf8', q(SELECT amad_train('coins', 'SELECT * FROM coins', 'ts', '{a,b}', '{device}', options => '{"method": "zscore", "horizons": [1, 4]}')));
my $coins = q(SET client_encoding = UTF8;
  SELECT md5(convert_to(string_agg(series::text || ts || coalesce(encode(float8send(severity), 'hex'), '-'), ' ' ORDER BY convert_to(series::text, 'UTF8'), ts), 'UTF8'))
  FROM amad_detect_bigint('coins'));
my $coin_scores = sql('utf8', $coins);
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/coins", $node->connstr('utf8') ], 'pg_dump of a fleet');
sql('postgres', q(CREATE DATABASE win1252 TEMPLATE template0 ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C'));
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('win1252'), "$dir/coins" ], 'pg_restore into WIN1252');
is(sql('win1252', q(SET client_encoding = UTF8; SELECT 'ä' > '€')), 't', 'letters have another order in WIN1252');
is(sql('utf8', q(SET client_encoding = UTF8; SELECT convert_to('ä', 'UTF8') > convert_to('€', 'UTF8'))), 'f', 'from that in UTF8');
is(sql('win1252', 'SELECT count(*) FROM amad_models WHERE amad_model_error(model) IS NOT NULL'), 0, 'no model is damaged');
is(sql('win1252', $coins), $coin_scores, 'and the fleet scores the same');

# ---- pg_dump by an ordinary role -----------------------------------------------------------

$node->command_fails_like([ 'pg_dump', '-U', 'ann', '--extension', 'amad', '-d', $node->connstr('postgres') ],
	qr/row-level security/, 'a dump that cannot see all rows fails');
my ($stdout, $stderr) = run_command([ 'pg_dump', '-U', 'ann', '--extension', 'amad', '--enable-row-security', '-d', $node->connstr('postgres') ]);
like($stdout, qr/^COPY public\.amad_models /m, 'a dump of the visible rows succeeds');
is(scalar(() = $stdout =~ /^ann\t\d+\t-?\d+\t/mg), 5, 'and has the rows of the role: three models, two grants');
unlike($stdout, qr/^bob\t/m, 'and no others');
is($stderr, '', 'without messages');

# ---- another schema --------------------------------------------------------------------------

create_db('ml');
sql('ml', 'CREATE SCHEMA "m l"; CREATE EXTENSION amad SCHEMA "m l"; GRANT USAGE ON SCHEMA "m l" TO ann');
create_rows($node, 500, 'ml');

# qualifies the names of the extension's objects
sub in_ml
{
	my ($query) = @_;

	$query =~ s/\b(amad_(?!m\b)\w+)/"m l".$1/g;
	return $query;
}

my $train_ml = in_ml(train('m', '"seed": 1'));
is(sql('ml', 'SHOW search_path'), '"$user", public', 'search_path without the schema');
is(sql('ml', $train_ml), 1, 'amad_train, qualified');
is(sql('ml', $train_ml), 2, 'once more');
my $ml = sql('ml', in_ml(checksum("'m'")));
is($ml, sql('postgres', 'SET ROLE ann; ' . checksum("(SELECT model FROM amad_models WHERE model_name = 'm' AND version = 1)")),
	'scores by name are those of the same model in public');
is(sql('ml', 'SET search_path = \'\';' . in_ml(checksum("'m'")) =~ s/FROM readings/FROM public.readings/r), $ml, 'empty search_path');
is(sql('ml', in_ml("SELECT amad_describe('m')->'options'->'seed'")), 1, 'amad_describe, qualified');
is(sql('ml', 'SET ROLE ann; SET search_path = "m l", public;' . train('m')), 1, 'an ordinary role, by search_path');
is(sql('ml', 'SET ROLE ann;' . in_ml('SELECT count(*) FROM amad_models')), 1, 'sees its own model');

$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/ml", $node->connstr('ml') ], 'pg_dump');
create_db('ml2');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('ml2'), "$dir/ml" ], 'pg_restore');
is(sql('ml2', sprintf($state, '"m l".')), sql('ml', sprintf($state, '"m l".')), 'models are the same');
is(sql('ml2', $train_ml), 3, 'and the next version follows');

# within a session, which has prepared its statements and cached the model
my $session = $node->background_psql('ml2', on_error_stop => 0);
$session->query_safe(in_ml(checksum("'m'")));
$session->query_safe('DROP EXTENSION amad; CREATE EXTENSION amad');
is($session->query_safe(train('m', '"seed": 1')), 1, 'dropped and created in another schema within a session');
is($session->query_safe(checksum("'m'")), $ml, 'scores with the new model');
$session->query_safe('DROP EXTENSION amad; CREATE EXTENSION amad');
is($session->query_safe(train('m', '"seed": 2')), 1, 'dropped and created in the same schema');
isnt($session->query_safe(checksum("'m'")), $ml, 'scores with the new model');
$session->quit;

# ---- search paths set by others ----------------------------------------------------------------

my $hostile = q(
CREATE SCHEMA evil;
CREATE TABLE evil.amad_models (LIKE public.amad_models);
CREATE FUNCTION evil.trap(what text) RETURNS bool LANGUAGE plpgsql AS
  $$ BEGIN RAISE 'trapped in %', what; END $$;
CREATE FUNCTION evil.eq(text, text) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('text = text') $$;
CREATE FUNCTION evil.eq(name, name) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('name = name') $$;
CREATE FUNCTION evil.eq(int, int) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('int = int') $$;
CREATE FUNCTION evil.eq(bigint, bigint) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('bigint = bigint') $$;
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = name, RIGHTARG = name);
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION evil.neq(text, text) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('text <> text') $$;
CREATE OPERATOR evil.<> (FUNCTION = evil.neq, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION evil.gt(int, int) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('int > int') $$;
CREATE OPERATOR evil.> (FUNCTION = evil.gt, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION evil.max_step(int, int) RETURNS int LANGUAGE sql AS $$ SELECT 1000 WHERE evil.trap('max') $$;
CREATE AGGREGATE evil.max(int) (SFUNC = evil.max_step, STYPE = int, INITCOND = '1000');
CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() WHERE evil.trap('clock_timestamp') $$;
CREATE FUNCTION evil.pg_has_role(oid, text) RETURNS bool LANGUAGE sql AS $$ SELECT evil.trap('pg_has_role') $$;
CREATE VIEW evil.pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE evil.trap('pg_roles');
CREATE DOMAIN evil.amad_model AS text;
CREATE DOMAIN evil.jsonb AS text;
CREATE DOMAIN evil.int4 AS text;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC;
);
my $path = 'SET search_path = evil, pg_temp, pg_catalog, public;';

# made before the extension, so that its script meets it
create_db('hostile');
sql('hostile', $hostile =~ s/\(LIKE public\.amad_models\)/(n bigint)/r);
fails_like('hostile', "$path SELECT 'm'::pg_catalog.text = 'm'", qr/trapped in text = text/, 'the traps work');
is($node->psql('hostile', "$path CREATE EXTENSION amad SCHEMA public"), 0, 'CREATE EXTENSION avoids the traps');
sql('hostile', 'DROP TABLE evil.amad_models; CREATE TABLE evil.amad_models (LIKE public.amad_models);'
	  . 'GRANT ALL ON evil.amad_models TO PUBLIC');
create_rows($node, 500, 'hostile');

my $sum = "SELECT pg_catalog.sum(amad_score) FROM (SELECT amad_score('m', ts, a, b, c) OVER (ORDER BY ts) "
  . 'FROM public.readings) s';
for my $role (qw(postgres ann))
{
	my $train = train('m', '"seed": 1');
	my $plain = sql('hostile', "SET ROLE $role; $train; $sum");

	# the test's own queries must avoid the traps
	$train =~ s/::jsonb/::pg_catalog.jsonb/g;
	$train =~ s/ FROM readings/ FROM public.readings/;
	is(sql('hostile', "SET ROLE $role; $path $train; $sum"), $plain =~ s/^1$/2/mr, "$role: trains and scores the same");
	is(sql('hostile', "SET ROLE $role; $path SELECT amad_describe('m')->'options'->'seed'"), 1, "$role: describes");
	is(sql('hostile', "SET ROLE $role; $path SELECT pg_catalog.count(*) FROM public.amad_models"), 2, "$role: sees the rows");
}
is(sql('hostile', 'SELECT count(*) FROM evil.amad_models'), 0, 'the other table with the same name stays empty');
is(sql('hostile', "SELECT string_agg(owner || ' ' || version, ', ' ORDER BY created_at) FROM public.amad_models"),
	'postgres 1, postgres 2, ann 1, ann 2', 'models are in the table of the extension');

# a temporary table with the same name, which is searched first
is( sql('hostile', 'SET ROLE ann; CREATE TEMP TABLE amad_models (n bigint);' . train('m')), 3, 'a temporary table with the same name is not used');

$node->stop;
done_testing();
