# Citus: the examples of the documentation that need it run, in the order in which they are printed.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use CitusTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/..";
my @pages = sort glob "$root/docs/*.md";
plan skip_all => 'no documentation beside the tests' unless @pages;

my $citus = CitusTest->new;
my $number = 0;

foreach my $page (@pages)
{
	my ($text, $name) = (slurp_file($page), $page =~ m{([^/]+)$});

	while ($text =~ /^```sql needs=citus\n(.*?)^```/msg)
	{
		my $example = $1;

		$number++;
		is($citus->error($example), '', "example $number, $name");
		next unless $example =~ /^EXPLAIN.*?\n(.*);/s;
		ok($citus->pushed_down($1, 'amad_\w+'), "example $number is pushed down");
	}
}
cmp_ok($number, '>', 0, 'there are examples');

done_testing();
