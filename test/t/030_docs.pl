# Every SQL example of README.md, docs/ and SECURITY.md runs, in the order in which it is printed.  README.md begins in an
# empty database and creates all it uses, as does docs/operations.md; the other pages of docs/ run in copies of what
# README.md leaves behind.  The macro of Grafana for a range of time stands for the last day.  An
# example that cannot run here says so in its fence: ```sql needs=EXTENSION; those that need citus run in
# test/citus/docs.pl.  Every error message that the pages quote
# is raised by some test.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/..";
plan skip_all => 'no documentation beside the tests' unless -e "$root/README.md";

# the number of marked examples of each page: a new one is a decision
my %marked = ('README.md' => 1, 'docs/distributed.md' => 7);

# messages that no test raises: PostgreSQL's own, and one that takes a training that diverges
my @unraised = ('function amad_train(unknown, unknown, unknown, unknown) is not unique', 'training diverged in step …');

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
configure($node);
$node->start;

# Blocks of SQL: their text without the indentation of their fence, and what they need
sub examples
{
	my ($text) = @_;
	my @examples;

	while ($text =~ /^([ ]*)```sql([^\n]*)\n(.*?)^\1```/msg)
	{
		my ($indent, $attributes, $example) = ($1, $2, $3);

		push @examples, { text => $example =~ s/^\Q$indent\E//mgr, attributes => $attributes =~ s/^\s+|\s+$//gr };
	}
	return @examples;
}

sub run_page
{
	my ($page, $db) = @_;
	my $number = 0;
	my $needs = 0;

	foreach my $example (examples(slurp_file("$root/$page")))
	{
		my ($ret, $out, $err);

		$number++;
		next if $example->{attributes} eq 'needs=citus';
		if ($example->{attributes} =~ /^needs=(\w+)$/)
		{
			$needs++;
			next;
		}
		is($example->{attributes}, '', "attributes of example $number of $page");
		$example->{text} =~ s/\$__timeFilter\((\w+)\)/$1 BETWEEN now() - interval '1 day' AND now()/g;
		# the sessions of a page are one; workers would only take turns with other tests
		$ret = $node->psql($db, "SET amad.max_parallel_workers = 0;\n$example->{text}",
			stdout => \$out, stderr => \$err, on_error_stop => 1);
		is($ret, 0, "example $number of $page") or diag("$example->{text}\n$err");
		# all that score rows of README.md, except those that ask for anomalies of the last hour
		like($out, qr/\S/, "example $number of $page returns something")
		  if $page eq 'README.md' && $example->{text} =~ /amad_(events|detect|score)\(/ && $example->{text} !~ /severity > 1/;
	}
	cmp_ok($number - $needs, '>', 0, "$page has examples");
	is($needs, $marked{$page} // 0, "number of examples of $page that cannot run");
	return;
}

# The error messages that a page quotes: in tables with SQLSTATEs, and in bold in README.md
sub quoted_messages
{
	my ($text) = @_;
	my @cells = $text =~ /^\| [0-9A-Z]{5}[^|]*\|([^|]*)\|/mg;

	push @cells, $text =~ /^\*\*(`[^`]+`)\*\*/mg;
	return map { /`([^`]+)`/g } @cells;
}

# Each occurs in the expected output, where "…" may be any text within the line and a number any number
my $raised = join "\n", map { slurp_file($_) } glob "$root/expected/*.out";
$raised =~ s/\d+/N/g;
foreach my $page ('README.md', map { s/^\Q$root\E\///r } sort glob "$root/docs/*.md")
{
	foreach my $message (quoted_messages(slurp_file("$root/$page")))
	{
		my $pattern = join '.*', map { quotemeta s/\d+/N/gr } split /…/, $message;

		next if grep { $_ eq $message } @unraised;
		ok($raised =~ /$pattern/, "a test raises \"$message\", which $page quotes");
	}
}

$node->safe_psql('postgres', 'CREATE DATABASE readme TEMPLATE template0');
run_page('README.md', 'readme');

# What README.md shows is what its example gives: the clogged pump, and the column to look at
my $events = q(SELECT string_agg(concat_ws(' ', series->>'device', top_features->0->>'feature', peak_severity > 1.5), ', ' ORDER BY peak_severity DESC)
	FROM amad_events('pumps', since => now() - interval '3 days', merge_gap => '1 hour', min_duration => '2 hours'));
like($node->safe_psql('readme', $events), qr/^1 pressure t/, 'the first example finds the clogged pump');

foreach my $page (map { s/^\Q$root\E\///r } sort glob "$root/docs/*.md")
{
	next unless examples(slurp_file("$root/$page"));
	my ($name) = $page =~ m{([^/]+)\.md$};

	$node->safe_psql('postgres', "CREATE DATABASE $name TEMPLATE " . ($name eq 'operations' ? 'template0' : 'readme'));
	run_page($page, $name);
}

# docs/operations.md shows an anomaly of one device
is($node->safe_psql('operations', q(SELECT device FROM fleet_scores WHERE severity > 3 AND status IS NULL AND ts > now() - interval '2 hours'
	GROUP BY 1 HAVING count(*) > 4)), 3, 'the server with the busy disk is found');

# and watches the statistics of a server, whose counters are scored by their rates: after a table was read again and again, there is an incident
my %transforms = map { /^(\w+)=(\w+)/ ? ($1 => $2) : () } split / /, $node->safe_psql('operations',
	q(SELECT string_agg(key || '=' || value, ' ') FROM jsonb_each_text(amad_describe('server')->'transforms')));
is(join(' ', map { $transforms{$_} // 'none' } qw(commits blocks_read wal_bytes active)), 'rate rate rate none', 'counters are recognised');
is($node->safe_psql('operations', q(SELECT count(*) FROM samples WHERE ts > now() - interval '5 minutes' AND commits < 1e6)), 1, 'a sample of this server');
$node->safe_psql('operations', q(INSERT INTO samples SELECT ts + n * interval '1 min', commits + n * 6000, rollbacks + n * 2, blocks_read + n * 50000, blocks_hit + n * 90000,
	rows_read + n * 700000, rows_written + n * 4000, temp_bytes + n * 1000, wal_bytes + n * 500000, buffers + n * 400, 3
	FROM (SELECT * FROM samples ORDER BY ts DESC LIMIT 1) s, generate_series(1, 10) n));
$node->safe_psql('operations', q(CALL amad_refresh('server', as_of => now() + interval '10 min')));
is($node->safe_psql('operations', q(SELECT kind, top_features->0->>'feature' FROM amad_incidents JOIN amad_watches USING (watch)
	WHERE model_name = 'server' AND state = 'open')), 'anomaly|blocks_read', 'an incident of the server');

if (-e "$root/SECURITY.md")
{
	$node->safe_psql('postgres', 'CREATE DATABASE security TEMPLATE template0');
	run_page('SECURITY.md', 'security');
}

done_testing();
