# Models that earlier versions stored are read: their severities are the same, and they are written as they were.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $folder = "$FindBin::RealBin/../updates";
my $node = PostgreSQL::Test::Cluster->new('old_models');

$node->init;
configure($node);
$node->start;
foreach my $file (sort glob "$folder/models-*.sql")
{
	my ($version) = $file =~ /models-(.*)\.sql$/;
	my $db = "models_$version" =~ tr/./_/r;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, q(CREATE EXTENSION amad;
		CREATE TABLE old_models (name text, model text);
		CREATE TABLE old_severities (name text, d int, n bigint, severity float8);));
	$node->safe_psql($db, slurp_file("$folder/rows.sql"));
	$node->safe_psql($db, slurp_file($file));
	is($node->safe_psql($db, 'SELECT string_agg(name, $$ $$ ORDER BY name) FROM old_models WHERE model::amad_model::text = model'),
		$node->safe_psql($db, 'SELECT string_agg(name, $$ $$ ORDER BY name) FROM old_models'), "models of $version are written as they were");
	# in a row of amad_models, so that they are scored by name
	$node->safe_psql($db, q(
		SELECT amad_train(name, '{"method": "zscore"}', ts, a) FROM old_rows, old_models WHERE d = 1 AND n < 600 GROUP BY name;
		UPDATE amad_models SET model = old_models.model::amad_model FROM old_models WHERE name = model_name;));
	# kernels differ by CPU
	is($node->safe_psql($db, q(
		SELECT o.name, count(*) > 10, count(*) FILTER (WHERE abs(s.severity - o.severity) <= 1e-3 * (0.1 + o.severity)) = count(*)
		FROM old_severities o LEFT JOIN (SELECT * FROM old_scores UNION ALL SELECT * FROM old_scores_of_counter) s USING (name, d, n)
		GROUP BY o.name ORDER BY o.name)),
		join("\n", map { "$_|t|t" } split(/ /, $node->safe_psql($db, 'SELECT string_agg(name, $$ $$ ORDER BY name) FROM old_models'))),
		"severities with models of $version");
	cmp_ok($node->safe_psql($db, q(SELECT max(get_byte(amad_model_send(model::amad_model), 52)) FROM old_models)), '>', 0,
		"a model of $version has a profile of recurrence");
}
done_testing();
