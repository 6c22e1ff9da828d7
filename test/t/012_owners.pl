# Owners of models: a database owner who is not a superuser creates, dumps and restores the extension;
# in another cluster, after a dump or by logical replication, the names of owners decide.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use File::Basename;
use File::Copy;
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;

# An installation in which the extension is trusted: copies of the server's programs with links to the
# rest, as programs find libraries and share files relative to themselves.  Returns the parent of its bin.
sub trusted_installation
{
	my %from;

	for my $what (qw(bindir pkglibdir sharedir))
	{
		my ($out) = run_command([ 'pg_config', "--$what" ]);
		$from{$what} = $out;
	}
	my $root = "$dir/pg";
	for my $what (qw(pkglibdir sharedir bindir))
	{
		my $to = "$root$from{$what}";
		make_path($what eq 'sharedir' ? "$to/extension" : $to);
		for my $file (glob("$from{$what}/*"), $what eq 'sharedir' ? glob("$from{$what}/extension/*") : ())
		{
			my $name = substr($file, length($from{$what}) + 1);
			next if $name eq 'extension' || $name eq 'extension/amad.control';
			if ($what eq 'bindir')
			{
				next unless -f $file;
				copy($file, "$to/$name") or die "$file: $!";
				chmod 0755, "$to/$name";
			}
			else
			{
				symlink($file, "$to/$name") or die "$file: $!";
			}
		}
	}
	append_to_file("$root$from{sharedir}/extension/amad.control",
		slurp_file("$from{sharedir}/extension/amad.control") . "trusted = true\n");
	return dirname("$root$from{bindir}");
}

my $node = PostgreSQL::Test::Cluster->new('trusted', install_path => trusted_installation());
$node->init;
AmadTest::configure($node);
$node->append_conf('postgresql.conf', "wal_level = logical\nmax_wal_senders = 4\nmax_replication_slots = 4\n");
$node->start;

sub sql
{
	my ($db, $role, $query) = @_;

	return $node->safe_psql($db, $query, extra_params => [ '-U', $role ]);
}

# ---- results of every kind of model, to the bit ------------------------------------------------

my $tiny = TINY;
my %kinds = (
	amad => ['readings', "'$tiny'"],
	season => ['readings', q('{"method": "zscore", "season": [31], "horizons": [1], "advanced": {"season_harmonics": 2}}')],
	pca => ['readings', q('{"method": "pca", "horizons": [1, 4]}')],
	lookahead => ['readings', "'$tiny'::jsonb || '{\"lookahead\": 2}'"],
	fleet => ['SELECT ts, device, a, b, c FROM readings_of', "'$tiny'"],
	fleet_zscore => ['SELECT ts, device, a, b, c FROM readings_of', q('{"method": "zscore", "horizons": [1]}')],
);

sub train_all
{
	my ($db, $role) = @_;

	for my $kind (sort keys %kinds)
	{
		my ($source, $options) = @{ $kinds{$kind} };
		my $series = $kind =~ /fleet/ ? q(series_cols => '{device}',) : '';
		sql($db, $role, "SELECT amad_train('$kind', source => '$source', timestamp_col => 'ts', feature_cols => '{a,b,c}', "
			  . "$series options => $options)");
	}
	sql($db, $role, "SELECT amad_recalibrate_bigint('pca', last_n => 300)");
	sql($db, $role, train('aggregate', '"seed": ' . length($role)));
	return;
}

sub digests
{
	my ($db, $role, $on) = @_;
	my $detect = q(SELECT md5(string_agg(concat(series, ts, encode(float8send(severity), 'hex'), contributions, status), ' ' ORDER BY series, ts)) )
	  . q(|| ' ' || count(severity) FROM amad_detect_bigint('%s'));

	return join("\n", map { "$_ " . ($on // $node)->safe_psql($db, sprintf($detect, $_), extra_params => [ '-U', $role ]) } sort keys %kinds)
	  . "\n" . ($on // $node)->safe_psql($db, checksum("'aggregate'"), extra_params => [ '-U', $role ]);
}

# ---- a database owner who is not a superuser ---------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE dba LOGIN; CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE DATABASE d OWNER dba');
sql('d', 'dba', 'CREATE EXTENSION amad');
is(sql('d', 'dba', q(SELECT relowner::regrole FROM pg_class WHERE oid = 'amad_models'::regclass)), 'dba',
	'who creates the extension owns the table');
sql('d', 'dba', q(CREATE TABLE readings AS SELECT i::bigint AS ts, sin(i * 0.2) AS a, cos(i * 0.11) + (i * 7919 % 101) / 500.0 AS b,
  (i * 104729 % 1009) / 1009.0 AS c FROM generate_series(1, 500) i;
  CREATE VIEW readings_of AS SELECT ts, device, a * length(device) AS a, b, c FROM readings, unnest('{one,three}'::text[]) device;
  GRANT SELECT ON readings, readings_of TO PUBLIC));

my %digests;
for my $role (qw(ann bob))
{
	train_all('d', $role);
	$digests{$role} = digests('d', $role);
	is(sql('d', $role, 'SELECT count(*) FROM amad_models'), 8, "$role sees its own models");
}
is(scalar(() = $digests{ann} =~ /^\w+ [0-9a-f]{32} [1-9]\d+$/mg), 6, 'there are scores of every kind');
is(sql('d', 'dba', 'SELECT count(*) FROM amad_models'), 16, 'the owner of the table sees all models');

my $state = "SELECT string_agg(concat_ws(' ', owner, owner_oid, owner_cluster, model_name, version, deployed, features, options, training, "
  . "source, created_at, md5(model::text)), E'\\n' ORDER BY owner, model_name, version) FROM amad_models";
my $models = sql('d', 'dba', $state);
$node->command_ok([ 'pg_dump', '-U', 'dba', '-Fc', '-f', "$dir/d", $node->connstr('d') ], 'pg_dump by the owner of the database');
$node->safe_psql('postgres', 'CREATE DATABASE d2 OWNER dba TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-U', 'dba', '--exit-on-error', '-d', $node->connstr('d2'), "$dir/d" ],
	'pg_restore by the owner of the database');
is(sql('d2', 'dba', $state), $models, 'every model is restored');
for my $role (qw(ann bob))
{
	is(digests('d2', $role), $digests{$role}, "the models of $role score the same");
	is(sql('d2', $role, train('aggregate')), 2, 'and the next version follows');
}
like(
	($node->psql('d2', q(SET ROLE dba; UPDATE amad_models SET owner = 'postgres', owner_oid = NULL WHERE model_name = 'fleet' AND owner = 'ann';
	  RESET ROLE; SELECT count(*) FROM amad_detect_bigint('fleet'))))[2],
	qr/ERROR:  the stored source of model "fleet" is not executed with the privileges of a superuser/,
	'a superuser does not run what the owner of the table has written');

# ---- renamed, then dumped: the names are correct in another cluster -----------------------------

$node->safe_psql('postgres', 'ALTER ROLE bob RENAME TO bert; CREATE ROLE bob LOGIN');
is(sql('d', 'bob', 'SELECT count(*) FROM amad_models'), 0, 'a new role with the old name does not see the models');
is(digests('d', 'bert'), $digests{bob}, 'a renamed role keeps its models');
sql('d', 'ann', q(SELECT amad_deploy('amad', 1)));
is(sql('d', 'dba', q(SELECT string_agg(DISTINCT owner, ' ') FROM amad_models)), 'ann bert', 'the next change corrects the names');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/renamed", $node->connstr('d') ], 'pg_dump');

my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
AmadTest::configure($other);
$other->start;
# the oids belong to other roles
$other->safe_psql('postgres', join(';', map { "CREATE ROLE $_ LOGIN" } qw(dba bert eve bob ann)));
$other->safe_psql('postgres', 'CREATE DATABASE d TEMPLATE template0');
$other->command_ok([ 'pg_restore', '--exit-on-error', '-d', $other->connstr('d'), "$dir/renamed" ], 'pg_restore in another cluster');
for my $role (qw(ann bert))
{
	is($other->safe_psql('d', 'SELECT count(*) FROM amad_models', extra_params => [ '-U', $role ]), 8, "$role sees its own models");
	is(digests('d', $role, $other), $digests{ $role eq 'ann' ? 'ann' : 'bob' }, 'which score the same');
}
for my $role (qw(dba eve bob))
{
	is($other->safe_psql('d', 'SELECT count(*) FROM amad_models', extra_params => [ '-U', $role ]), 0, "$role sees no models");
}
is($other->safe_psql('d', train('new'), extra_params => [ '-U', 'ann' ]), 1, 'the role can train');
is( $other->safe_psql('d', q(SELECT bool_and(owner_oid = 'ann'::regrole AND owner_cluster = system_identifier) FROM amad_models, pg_control_system() WHERE owner = 'ann')),
	't', 'and the models are bound to the role of this cluster');
$other->safe_psql('postgres', 'ALTER ROLE ann RENAME TO anna');
is( $other->safe_psql('d', checksum("'aggregate'"), extra_params => [ '-U', 'anna' ]),
	sql('d', 'ann', checksum("'aggregate'")), 'and remain its own when it is renamed');

# ---- a subscriber: models are replicated, and can be retrained there when it takes over ----------

$node->safe_psql('d', 'CREATE PUBLICATION models FOR TABLE amad_models');
$other->safe_psql('postgres', 'ALTER ROLE anna RENAME TO ann; CREATE DATABASE s TEMPLATE template0');
$other->safe_psql('s', 'CREATE EXTENSION amad');
$other->safe_psql('s', q(CREATE TABLE readings AS SELECT i::bigint AS ts, sin(i * 0.2) AS a, cos(i * 0.11) + (i * 7919 % 101) / 500.0 AS b,
  (i * 104729 % 1009) / 1009.0 AS c FROM generate_series(1, 500) i;
  CREATE VIEW readings_of AS SELECT ts, device, a * length(device) AS a, b, c FROM readings, unnest('{one,three}'::text[]) device;
  GRANT SELECT ON readings, readings_of TO PUBLIC));
$other->safe_psql('s', q(CREATE SUBSCRIPTION models CONNECTION $$) . $node->connstr('d') . q($$ PUBLICATION models));
$other->wait_for_subscription_sync($node, 'models', 's');
is(digests('s', 'ann', $other), $digests{ann}, 'a subscriber scores the same');
sql('d', 'ann', train('aggregate', '"seed": 77'));
$node->wait_for_catchup('models');
is($other->safe_psql('s', q(SELECT amad_describe('aggregate')->'options'->'seed'), extra_params => [ '-U', 'ann' ]), 77, 'a new version arrives');
$node->stop;
$other->safe_psql('s', 'ALTER SUBSCRIPTION models DISABLE; ALTER SUBSCRIPTION models SET (slot_name = NONE); DROP SUBSCRIPTION models');
is($other->safe_psql('s', q(SELECT amad_retrain('amad')->'version'), extra_params => [ '-U', 'ann' ]), 2, 'retraining works without the publisher');

$other->stop;
done_testing();
