# Forged models, unusual options, sources and series keys, a few of each (test/fuzz/README.md); and statements
# that once crashed the server, hung it or lost a model.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin, "$FindBin::RealBin/../fuzz";

use AmadTest;
use FuzzKnown;
use FuzzRun;
use PostgreSQL::Test::Cluster;
use Test::More;

my $seed = 1;
my %cases = (models => 500, options => 400, sources => 250, keys => 130);

my $node = new_node('fuzz', conf => "log_min_error_statement = panic\nautovacuum = on\n");
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;

sub run
{
	my ($part, %which) = @_;

	return FuzzRun::run_cases(part => $part, seed => $seed, log => $node->logfile, %which,
		report => FuzzRun::report_to(part => $part, seed => $seed, say => sub { diag(@_) }));
}

my $n = 0;
for my $name (FuzzKnown::names())
{
	my $figures = run('known', first => $n++, cases => 1, jobs => 1);

	ok(FuzzRun::failures($figures) == 0 && $figures->{cases}, $name);
}

for my $part (qw(models options sources keys))
{
	FuzzRun::setup($part, 2);
	my $figures = run($part, cases => $cases{$part}, jobs => 2);

	is(FuzzRun::failures($figures), 0, "$part: no failures");
	is($figures->{cases}, $cases{$part}, "$part: all cases were run");
	# otherwise the cases no longer serve their purpose
	cmp_ok($figures->{accepted} // 0, '>', $cases{$part} / 20, "$part: some were accepted");
	note("$part: ", join(', ', map { "$_ $figures->{$_}" } grep { !/^state/ } sort keys %$figures));
}

$node->stop;
done_testing();
