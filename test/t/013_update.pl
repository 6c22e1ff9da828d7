# An updated installation equals a fresh one: for every version that a script in sql/updates begins with, and for a
# version made here to test the comparison itself, which must find what is missing in an update script.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadCatalog;
use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = qx(pg_config --sharedir) =~ s/\n//r . '/extension';
my $version = extension_version('amad');
my $script = slurp_file("$folder/amad--$version.sql");
plan skip_all => "cannot write in $folder" unless -w $folder;

my $node = PostgreSQL::Test::Cluster->new('update');
my $made = '0.0.9';
my @files;

sub make_file
{
	my ($name, $text) = @_;

	open(my $out, '>', "$folder/$name") or die "$folder/$name: $!";
	print $out $text;
	close($out);
	push @files, "$folder/$name";
	return;
}

END
{
	unlink @files;
}

# Differences between a fresh installation and one of an older version that was updated
my $databases = 0;
my @fresh;

sub differences
{
	my ($old) = @_;
	my $db = 'update' . ++$databases;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION amad VERSION '$old'; ALTER EXTENSION amad UPDATE");
	is($node->safe_psql($db, q(SELECT extversion FROM pg_extension WHERE extname = 'amad')), $version, "$old is updated to $version");
	return catalog_differences(\@fresh, [ catalog($node, $db) ]);
}

$node->init;
configure($node);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION amad');
@fresh = catalog($node, 'postgres');

# ---- the catalog as text ---------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->safe_psql('again', 'CREATE TABLE first (a int); CREATE EXTENSION amad');
is(join("\n", catalog_differences(\@fresh, [ catalog($node, 'again') ])), '', 'two fresh installations are equal');
for my $kind (qw(pg_proc pg_aggregate pg_type pg_class pg_attribute pg_attrdef pg_constraint pg_index pg_policy
	pg_init_privs pg_description pg_depend pg_extension))
{
	cmp_ok(scalar(grep { /^$kind / } @fresh), '>', 0, "$kind is compared");
}
is_deeply([ grep { /\b\d{5,}\b/ && !/\b(1000000?|1048576)\b/ && !/ prosrc| pro(cost|rows)|^definition of rule / } @fresh ], [], 'no line has an oid');

# ---- a version made for the test -------------------------------------------------------

# What the version lacks or has otherwise: name, statement that takes it back, statements of the update
my ($function) = $script =~ /^(CREATE FUNCTION amad_version\(\).*?;\n)/ms or die 'amad_version';
my ($function_comment) = $script =~ /^(COMMENT ON FUNCTION amad_version.*?;\n)/ms or die 'comment of amad_version';
# one of the aggregates that the script makes in a loop
my $signature = $node->safe_psql('postgres',
	q(SELECT format('amad_evaluate(%s)', pg_get_function_arguments(oid)) FROM pg_proc WHERE proname = 'amad_evaluate' AND pronargs = 2
		ORDER BY oid LIMIT 1));
my $aggregate = "CREATE AGGREGATE $signature (SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,\n"
  . "\tFINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);\n";
my $aggregate_comment = $node->safe_psql('postgres',
	"SELECT format('COMMENT ON AGGREGATE $signature IS %L;', obj_description(oid, 'pg_proc')) FROM pg_proc
		WHERE 'amad_evaluate(' || pg_get_function_arguments(oid) || ')' = '$signature'");
my ($policy) = $script =~ /^(CREATE POLICY amad_models_delete.*?;\n)/ms or die 'amad_models_delete';
my ($policy_comment) = $script =~ /^(COMMENT ON POLICY amad_models_delete.*?;\n)/ms or die 'comment of amad_models_delete';
my ($default) = $script =~ /^\tcreated_at timestamptz NOT NULL DEFAULT (.*?),?\n/m or die 'created_at';
my ($column_comment) = $script =~ /^(COMMENT ON COLUMN amad_models\.created_at.*?;\n)/ms or die 'comment of created_at';
my @changes = (
	[ 'function', 'DROP FUNCTION amad_version();', $function ],
	[ 'comment of a function', '', $function_comment ],
	[ 'aggregate', "DROP AGGREGATE $signature;", $aggregate ],
	[ 'comment of an aggregate', '', $aggregate_comment ],
	[ 'policy', 'DROP POLICY amad_models_delete ON amad_models;', $policy ],
	[ 'comment of a policy', '', $policy_comment ],
	[ 'privilege', 'REVOKE DELETE ON amad_models FROM PUBLIC;', 'GRANT DELETE ON amad_models TO PUBLIC;' ],
	[ 'volatility', 'ALTER FUNCTION amad_may_use(name, oid, bigint) VOLATILE;', 'ALTER FUNCTION amad_may_use(name, oid, bigint) STABLE;' ],
	[ 'cost', 'ALTER FUNCTION amad_deploy(text, integer) COST 7;', 'ALTER FUNCTION amad_deploy(text, integer) COST 1;' ],
	[ 'column', 'ALTER TABLE amad_models DROP COLUMN created_at;', 'ALTER TABLE amad_models ADD COLUMN created_at timestamptz;' ],
	[ 'NOT NULL', '', 'ALTER TABLE amad_models ALTER COLUMN created_at SET NOT NULL;' ],
	[ 'default', '', "ALTER TABLE amad_models ALTER COLUMN created_at SET DEFAULT $default;" ],
	[ 'comment of a column', '', $column_comment ],
	[ 'constraint', 'ALTER TABLE amad_models DROP CONSTRAINT amad_models_version_check;',
		'ALTER TABLE amad_models ADD CHECK (version OPERATOR(pg_catalog.>) 0);' ],
	[ 'row-level security', 'ALTER TABLE amad_models DISABLE ROW LEVEL SECURITY;', 'ALTER TABLE amad_models ENABLE ROW LEVEL SECURITY;' ],
	[ 'configuration table', q(SELECT pg_catalog.pg_extension_config_dump('amad_models', 'WHERE version > 1');),
		q(SELECT pg_catalog.pg_extension_config_dump('amad_models', '');) ],
	[ 'index', 'CREATE INDEX amad_models_old ON amad_models (version);', 'DROP INDEX amad_models_old;' ]);
my %needs = (
	'comment of a function' => 'function', 'comment of an aggregate' => 'aggregate', 'comment of a policy' => 'policy',
	'NOT NULL' => 'column', 'default' => 'column', 'comment of a column' => 'column');

make_file("amad--$made.sql", $script . join('', map { "$_->[1]\n" } @changes));
make_file("amad--$made--$version.sql", join('', map { "$_->[2]\n" } @changes));
is(join("\n", differences($made)), '', 'a complete update equals a fresh installation');

foreach my $change (@changes)
{
	my ($name) = @$change;

	# all except this one, and those that need it
	make_file("amad--$made--$version.sql",
		join('', map { "$_->[2]\n" } grep { $_->[0] ne $name && ($needs{ $_->[0] } // '') ne $name } @changes));
	cmp_ok(scalar(differences($made)), '>', 0, "an update without a change is found: $name");
}

# something that a fresh installation does not have
make_file("amad--$made--$version.sql", join('', map { "$_->[2]\n" } @changes) . "CREATE FUNCTION amad_left() RETURNS int LANGUAGE sql AS 'SELECT 1';\n");
like(join("\n", differences($made)), qr/^\+ pg_proc function public\.amad_left/m, 'an additional object is found');

# only the changed line differs
make_file("amad--$made--$version.sql", join('', map { "$_->[2]\n" } @changes) . "ALTER FUNCTION amad_version() PARALLEL UNSAFE;\n");
is(join("\n", differences($made)), "- pg_proc function public.amad_version() proparallel: s\n+ pg_proc function public.amad_version() proparallel: u",
	'a difference is reported by its object, its property and both values');

# ---- released versions ---------------------------------------------------------------------

my %old = map { m{amad--([^/]+?)--[^/]+\.sql$} && $1 ne $made ? ($1 => 1) : () } glob "$folder/amad--*--*.sql";
foreach my $old (sort keys %old)
{
	ok(-e "$folder/amad--$old.sql", "the install script of version $old is installed") or next;
	is(join("\n", differences($old)), '', "version $old, updated, equals a fresh installation");

	# until then, its functions call the new library
	$node->safe_psql('postgres', "CREATE DATABASE old$databases");
	is($node->safe_psql("old$databases", qq(CREATE EXTENSION amad VERSION '$old';
		CREATE TABLE r AS SELECT timestamptz '2026-01-01' + n * interval '1 min' AS ts, n, sin(n * 0.1) AS a, cos(n * 0.1) AS b
			FROM generate_series(1, 1000) n;
		SELECT amad_train('m', 'r', 'ts', feature_cols => '{a,b}', options => '@{[TINY]}') IS NOT NULL;
		SELECT amad_retrain('m') ->> 'version';
		SELECT amad_recalibrate('m', last_n => 500) ->> 'version';
		SELECT count(*) FROM amad_detect('m');
		SELECT count(*) > 0 FROM amad_drift('m', last_n => 500);
		SELECT count(*) >= 0 FROM amad_events('m', silence => '1 hour');
		SELECT amad_detect_query('m', last_n => 1) LIKE '%SELECT%';
		SELECT amad_train('i', 'r', 'n', feature_cols => '{a,b}', options => '@{[TINY]}') IS NOT NULL;
		SELECT amad_recalibrate_bigint('i', last_n => 500) ->> 'version';
		SELECT count(*) FROM amad_detect_bigint('i', last_n => 10);
		SELECT count(*) >= 0 FROM amad_events_bigint('i');
		SELECT count(*) > 0 FROM amad_drift_bigint('i', last_n => 500);
		SELECT amad_detect_query_bigint('i', last_n => 1) LIKE '%SELECT%')),
		join("\n", qw(t 2 3 1000 t t t t 2 10 t t t)), "the functions of version $old work with the new library");
}

done_testing();
