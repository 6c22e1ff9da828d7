# Every SQL example of README.md and docs/ runs, in the order of the page, in a database of the page's own.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# the tests' copy has the pages beside it
my @pages = grep { -e } map { "$FindBin::RealBin/../$_" } 'README.md', map { "docs/$_" } qw(sql.md events.md
  recalibrate.md evaluate.md operations.md);
plan skip_all => 'no documentation beside the tests' unless @pages;

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
configure($node);
$node->start;

# What the examples speak of: readings of two devices, 15 minutes apart, up to the moment.  Their timestamps differ, so
# that examples of a single series may read all of them.
my $rows = q(
CREATE TABLE readings AS
SELECT device, date_trunc('hour', now()) - n * interval '15 min' - (device - 7) * interval '7 min' AS ts,
  sin(n / 10.0) * device + random() AS flow, (cos(n / 17.0) + random())::real AS pressure, (n % 9 + random())::numeric(10, 3) AS temp,
  false AS maintenance, NULL::float8 AS severity, n % 97 < 3 AS label
FROM generate_series(7, 8) device, generate_series(0, 1199) n;
INSERT INTO readings (device, ts, flow, pressure, temp, maintenance)
SELECT device, '2026-10-31 20:00'::timestamptz - n * interval '15 min' - (device - 7) * interval '7 min', sin(n / 10.0) * device + random(), cos(n / 17.0) + random(),
  n % 9 + random(), n = 100
FROM generate_series(7, 8) device, generate_series(0, 499) n
ON CONFLICT DO NOTHING;
CREATE TABLE readings_2 AS TABLE readings;
CREATE TABLE scored AS SELECT device, ts, abs(temp - 4)::float8 / 4 AS severity, label FROM readings WHERE device = 7 AND label IS NOT NULL;
CREATE TABLE maintenance (device int, begins timestamptz, ends timestamptz);
INSERT INTO maintenance SELECT 7, now() - interval '2 days', now() - interval '1 day';
);

# and the model that README.md trains, as often as recalibrate.md supposes
my $pump = q(SELECT amad_train('pump', 'readings', 'ts', '{flow,pressure,temp}', options => '{"steps": 20}') FROM generate_series(1, 3));

foreach my $page (@pages)
{
	my ($name) = $page =~ m{([^/]+)\.md$};
	my $db = lc "docs_$name";
	my $text = slurp_file($page);
	my $number = 0;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION amad') unless $text =~ /^CREATE EXTENSION amad/m;
	$node->safe_psql($db, $rows);
	$node->safe_psql($db, $pump) unless $text =~ /amad_train\((?:model_name => )?'pump'/;
	while ($text =~ /^```sql\n(.*?)^```/msg)
	{
		my $example = $1;
		my ($ret, $out, $err);

		# another page's words on the same statement
		$example =~ s/^CREATE EXTENSION amad/CREATE EXTENSION IF NOT EXISTS amad/mg;
		$number++;
		$ret = $node->psql($db, "SET amad.max_parallel_workers = 0; SET maintenance_work_mem = '256MB';\n$example",
			stdout => \$out, stderr => \$err, on_error_stop => 1);
		is($ret, 0, "example $number of $name.md") or diag("$example\n$err");
	}
	cmp_ok($number, '>', 0, "$name.md has examples");
}

done_testing();
