# grafana/amad.json: each of its queries runs, with Grafana's macros and variables replaced as Grafana does, as a role that may
# only read, and returns what there is to see.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# tools/test.sh copies it
my $file = "$FindBin::RealBin/../grafana/amad.json";
plan skip_all => 'no dashboard beside the tests' unless -e $file;
my $dashboard = JSON::PP->new->utf8->decode(slurp_file($file));
my $node = new_node('dashboard');

sub sql { return $node->safe_psql('postgres', $_[0]) }

# ---- a watch that has something to show -----------------------------------------------------------------

sql(q(CREATE TABLE readings (device text, ts timestamptz, a float8, b float8, PRIMARY KEY (device, ts));
CREATE FUNCTION feed(first int, last int, devices int[], up float8 DEFAULT 0) RETURNS void LANGUAGE sql AS $$
  INSERT INTO readings SELECT 'pump ' || d, date_trunc('minute', now()) + i * interval '1 minute', sin(i * 0.2 + d) + up, cos(i * 0.11) + (i * 7919 % 101) / 500.0
  FROM generate_series(first, last) i, unnest(devices) d ON CONFLICT (device, ts) DO UPDATE SET a = excluded.a $$;
SELECT feed(-3000, -61, '{1,2,3}');
SELECT amad_train('m ''1', 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}');
SELECT amad_watch('m ''1', target => '"Some Scores"', merge_gap => '5 minutes', min_severity => 1.5, cooldown => '0');
UPDATE amad_watches SET alerts_per_day = 5, tuned_version = 1;));
sql(q(CALL amad_refresh('m ''1', as_of => now() - interval '1 hour')));
# an incident that has ended, one that is open, a device that stops, and a new one
sql(q(SELECT feed(-60, -1, '{1,2,4}'); SELECT feed(-30, -25, '{1}', 50); SELECT feed(-2, -1, '{2}', 50)));
sql(q(CALL amad_refresh('m ''1')));
is(sql('SELECT count(*) FILTER (WHERE kind = \'anomaly\' AND state = \'closed\'), count(*) FILTER (WHERE kind = \'anomaly\' AND state = \'open\'),
	count(*) FILTER (WHERE kind = \'silent\') FROM amad_incidents'), '1|1|1', 'incidents');
# what docs/operations.md grants
sql(q(CREATE ROLE viewer LOGIN; SELECT amad_grant('m ''1', 'viewer', 'read');
	GRANT SELECT ON "Some Scores_grafana", "Some Scores_annotations" TO viewer; CREATE ROLE stranger LOGIN));

# ---- as Grafana does ----------------------------------------------------------------------------------------

my %variables;
my ($from, $to) = map { "'" . sql("SELECT to_char((now() + interval '$_') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')") . "'" } ('-6 hours', '1 minute');

sub literal { return "'" . $_[0] =~ s/'/''/gr . "'" }

sub replace
{
	my ($query) = @_;

	$query =~ s/\$__timeFilter\(([^()]*)\)/$1 BETWEEN $from AND $to/g;
	$query =~ s/\$__timeFrom\(\)/$from/g;
	$query =~ s/\$__timeTo\(\)/$to/g;
	$query =~ s/\$__timeGroupAlias\((\w+), \$__interval\)/floor(extract(epoch from $1)\/60)*60 AS "time"/g;
	# a value for all of a list is not quoted
	$query =~ s/\$\{(\w+):(\w+)\}/my ($n, $f) = ($1, $2); my $v = $variables{$n} \/\/ die "no variable $n";
		$f eq 'raw' || $v->{all} ? $v->{values}[0] : $f eq 'sqlstring' ? join(',', map { literal($_) } @{ $v->{values} }) : die "format $f"/ge;
	die "unknown macro or variable in $query" if $query =~ /\$__|\$\{/;
	return $query;
}

sub rows
{
	my ($role, $query) = @_;
	my ($ret, $out, $err) = $node->psql('postgres', replace($query), connstr => $node->connstr('postgres') . " user=$role", extra_params => [ '-F', "\t" ]);

	is($ret, 0, "runs as $role") or diag("$query\n$err");
	return split /\n/, $out;
}

for my $variable (@{ $dashboard->{templating}{list} })
{
	next if $variable->{type} ne 'query';
	my @values = rows('viewer', $variable->{query});

	cmp_ok(scalar @values, '>', 0, "variable $variable->{name} has values");
	$variables{ $variable->{name} } = { values => [ map { (split /\t/)[-1] } @values ] };
}
is_deeply($variables{severities}{values}, ['public."Some Scores_grafana"'], 'the view of the severities');
is_deeply([ sort @{ $variables{series}{values} } ], [ map { "pump $_" } 1 .. 4 ], 'series');

my (%result, %seen);
for my $target ((map { my $p = $_; map { [ $p->{title}, $_ ] } @{ $p->{targets} } } @{ $dashboard->{panels} }),
	map { [ "annotations: $_->{name}", $_->{target} ] } @{ $dashboard->{annotations}{list} })
{
	my ($title, $query) = ($target->[0], $target->[1]{rawSql});

	$result{$title} = [ rows('viewer', $query) ];
	cmp_ok(scalar @{ $result{$title} }, '>', 0, "$title: there are rows") if $title ne 'Runs that did not succeed';
	is_deeply([ rows('stranger', $query) ], [], 'but not for a stranger') if $query !~ /\$\{(severities|anomalies)/;
	is($target->[1]{datasource}{uid}, '${datasource}', 'from the data source that is chosen');
}
is(scalar(() = slurp_file($file) =~ /"rawSql"/g), scalar keys %result, 'there are no other queries');

# ---- what they show -----------------------------------------------------------------------------------------

like($result{Watches}[0], qr/\tm '1\tok\t/, 'the state of the watch');
is_deeply($result{'Open incidents'}, [2], 'open incidents');
is_deeply($result{'Alarms of the last day'}, [3], 'alarms');
is_deeply($result{Undelivered}, [4], 'announcements');
is_deeply($result{'Silent series'}, [1], 'silent series');
is_deeply($result{'Learning series'}, [1], 'learning series');
is_deeply([ sort map { (split /\t/)[0] . (split /\t/)[1] } @{ $result{'Silent and learning series'} } ], [ 'pump 3silent', 'pump 4learning' ], 'which');
is(scalar(grep { /pump 1\tanomaly\tclosed/ || /pump 2\tanomaly\topen/ || /pump 3\tsilent\topen/ } @{ $result{Incidents} }), 3, 'incidents');
like((grep { /pump 2/ } @{ $result{Incidents} })[0], qr/\ta\t5\d\.?\d*\t/, 'with the feature and its value');
my ($alarms, $budget) = (0, 0);
($alarms, $budget) = ($alarms + (split /\t/)[1], (split /\t/)[2]) for @{ $result{'Alarms a day'} };
is("$alarms $budget", '3 5', 'alarms and the budget');
is(scalar(grep { (split /\t/)[1] eq 'pump 1' && (split /\t/)[2] > 1.5 } @{ $result{Severity} }), 6, 'severities');
is(scalar @{ $result{Refreshes} }, 2, 'refreshes');
is(scalar @{ $result{'annotations: Incidents'} }, 3, 'annotations of incidents');
is(scalar(grep { /\tpump \d: a\tanomaly/ } @{ $result{'annotations: Anomalous rows'} }), 8, 'and of rows');

# a refresh that fails
sub panel { my ($title) = @_; return map { $_->{targets}[0]{rawSql} } grep { $_->{title} eq $title } @{ $dashboard->{panels} } }
sql('ALTER TABLE readings RENAME a TO other');
$node->psql('postgres', q(CALL amad_refresh('m ''1')), stderr => \my $failed);
like($failed, qr/required columns/, 'a refresh fails');
is(scalar(grep { /\trefresh\tfailed\t\w{5}\tsource public.readings/ } rows('viewer', panel('Runs that did not succeed'))), 1, 'it is shown');
like((rows('viewer', panel('Watches')))[0], qr/\tm '1\tfailing\t.*required columns/, 'and the state of the watch');

# all series, and some
$variables{series} = { values => [ (grep { $_->{name} eq 'series' } @{ $dashboard->{templating}{list} })[0]{allValue} ], all => 1 };
my ($severity) = panel('Severity');
is_deeply([ rows('viewer', $severity) ], $result{Severity}, 'all series');
$variables{series} = { values => ['pump 2'] };
is(scalar(grep { !/\tpump 2\t/ } rows('viewer', $severity)), 0, 'one series');

# ---- its layout ---------------------------------------------------------------------------------------------

my @overlaps;
for my $panel (@{ $dashboard->{panels} })
{
	my $p = $panel->{gridPos};

	$seen{ $panel->{id} }++;
	push @overlaps, $panel->{title} if $p->{x} + $p->{w} > 24;
	for my $other (map { $_->{gridPos} } grep { $_->{id} < $panel->{id} } @{ $dashboard->{panels} })
	{
		push @overlaps, $panel->{title}
		  if $p->{x} < $other->{x} + $other->{w} && $other->{x} < $p->{x} + $p->{w} && $p->{y} < $other->{y} + $other->{h} && $other->{y} < $p->{y} + $p->{h};
	}
}
is_deeply(\@overlaps, [], 'panels do not overlap');
is(scalar(grep { $_ > 1 } values %seen), 0, 'each has an identifier');

$node->stop;
done_testing();
