# A detection on a range has the scores and statuses of a detection on all rows, bit for bit: for random series with gaps,
# missing values, duplicates and nulls, random ranges and options, and for any index and plan.
#
# SEED=n chooses other cases, ROUNDS=n more of them.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{SEED} // 17;
my $rounds = $ENV{ROUNDS} // 12;
srand($seed);
note("SEED=$seed ROUNDS=$rounds");

my $node = new_node('reading', conf => 'client_min_messages = warning');

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

sub one_of
{
	return $_[ int(rand(@_)) ];
}

sql(q(
CREATE FUNCTION noise(n bigint) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT (hashint8($1) & 65535) / 65535.0';

-- Rows of eight series, each with its own step, gaps, duplicates, missing values, and a shift that lasts
CREATE FUNCTION make_rows(seed int) RETURNS TABLE (site text, device int, ts timestamptz, a float8, b float8, c float8)
LANGUAGE sql AS $$
	SELECT CASE WHEN d <> 4 THEN 's' || (d + d / 6) % 2 END, CASE WHEN d <> 3 THEN d % 6 END,
		timestamptz '2026-01-01' + n * step - interval '1 day' * (n < begins)::int
			- CASE WHEN noise(n * 31 + d + seed) < dup THEN step ELSE interval '0' END,
		CASE WHEN noise(n * 7 + seed) >= missing
			THEN sin(n / 7.0) + noise(n + seed) + CASE WHEN n BETWEEN shift AND shift + 260 THEN 6 ELSE 0 END END,
		CASE WHEN noise(n * 11 + seed) >= missing THEN cos(n / 9.0) + noise(n + 1000 + d) END,
		n % 5 + noise(n + d + 77) + n * 0.01
	FROM (SELECT d, (ARRAY[interval '1 min', '1 min', '7 min', '1 hour', '1 min 10 s'])[1 + d % 5] AS step,
			0.08 * (d % 3 = 1)::int AS dup, 0.15 * (d % 3 = 2)::int AS missing, 300 + (noise(seed + d) * 200)::int AS shift,
			(noise(seed * 3 + d) * 250)::int AS begins, (noise(seed * 5 + d) * 500)::int AS hole
		FROM generate_series(0, 7) d) s, generate_series(1, CASE WHEN d = 5 THEN 90 ELSE 600 END) n
	WHERE n NOT BETWEEN hole AND hole + 40 AND noise(n * 13 + d + seed) > 0.02 $$;

-- What amad_detect returns for rows with a finite time, with the given arguments
CREATE FUNCTION detected(arguments text) RETURNS TABLE (series jsonb, ts timestamptz, anomaly_score float8, severity float8,
	is_anomaly boolean, status text, expected_values jsonb, imputed text[]) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'SELECT series, ts, anomaly_score, severity, is_anomaly, status, expected_values, imputed FROM amad_detect('
		|| arguments || ') WHERE ts IS NOT NULL';
END $$;

-- Compares it with the rows of the whole detection that meet a condition; with last, the newest timestamps of each series
CREATE FUNCTION compare(arguments text, inside text, last bigint, OUT rows bigint, OUT different bigint, OUT example text)
LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE got AS SELECT * FROM detected(arguments);
	EXECUTE 'CREATE TEMP TABLE expected AS SELECT series, ts, anomaly_score, severity, is_anomaly, status, expected_values, imputed
		FROM (SELECT *, dense_rank() OVER (PARTITION BY series ORDER BY ts DESC) AS number FROM whole WHERE ' || inside || ') w
		WHERE number <= ' || coalesce(last, 1000000) || ' AND isfinite(ts)';
	SELECT count(*) INTO rows FROM expected;
	SELECT count(*), min(concat_ws(' ', kind, e.series, e.ts, e.status, e.severity)) INTO different, example FROM (
		(SELECT 'expected' AS kind, e.* FROM (TABLE expected EXCEPT ALL TABLE got) e) UNION ALL
		(SELECT 'got' AS kind, e.* FROM (TABLE got EXCEPT ALL TABLE expected) e)) e;
	DROP TABLE got, expected;
END $$;
));

my ($compared, $drift, %forms) = (0, 0);
for my $round (1 .. $rounds)
{
	# a model
	my $series = one_of('device', 'device', 'site, device', '');
	my $options = join(', ', one_of('"horizons": [1]', '"horizons": [2, 8]', '"horizons": [2, 8], "lookahead": 3'),
		'"fill_limit": ' . one_of(0, 5, 20), one_of('"seed": 1', '"transform": {"c": "detrend", "b": "rate"}'),
		one_of('"missing": "locf"', '"missing": "linear"'), '"contamination": 0.05, "advanced": {"batch_size": 2'
		  . one_of('', '', ', "level_weight": 0', ', "flatline_weight": 0') . '}');

	# a table
	my $not_null = one_of(0, 1);
	my $where = $series eq '' ? 'device = 1 AND site = \'s1\'' : $not_null ? 'device IS NOT NULL AND site IS NOT NULL' : 'true';
	$where .= q( AND (site = 's' || device % 2) IS NOT false) if $series eq 'device';
	my $index = one_of('key', 'key', 'key', 'both', 'time', 'none');
	my $partitions = one_of('', '', 'RANGE (ts)', 'LIST (device)');
	my $key = $series eq '' ? '' : "$series, ";
	my @table = ('DROP TABLE IF EXISTS r, whole',
		'CREATE TABLE r (site text, device int, ts timestamptz, a float8, b float8, c float8)' . ($partitions && " PARTITION BY $partitions"));
	push @table, "CREATE TABLE r1 PARTITION OF r FOR VALUES FROM ('2026-01-01 04:00') TO ('2026-01-02')" if $partitions =~ /RANGE/;
	push @table, 'CREATE TABLE r1 PARTITION OF r FOR VALUES IN (1, 2, NULL)' if $partitions =~ /LIST/;
	push @table, 'CREATE TABLE r2 PARTITION OF r DEFAULT' if $partitions;
	push @table, "INSERT INTO r SELECT * FROM make_rows($seed * 100 + $round) WHERE $where ORDER BY noise(hashtext(ts::text))",
	  $not_null
	  ? ('ALTER TABLE r ALTER ts SET NOT NULL', $series eq '' ? () : 'ALTER TABLE r ALTER site SET NOT NULL, ALTER device SET NOT NULL')
	  : "INSERT INTO r SELECT site, device, t, a, b, c FROM (SELECT DISTINCT ON (site, device) * FROM r) x, unnest('{NULL,infinity,-infinity}'::timestamptz[]) t";
	push @table, "CREATE INDEX ON r (${key}ts)" if $index =~ /key|both/;
	push @table, 'CREATE INDEX ON r (ts)' if $index =~ /time|both/;
	push @table, 'ANALYZE r' if one_of(0, 1);
	my $cols = $series eq '' ? '' : ", series_cols => '{" . $series =~ s/ //gr . "}'";
	sql(join('; ', @table,
			'SELECT count(amad_drop(model_name)) FROM (SELECT DISTINCT model_name FROM amad_models) m',
			"SELECT amad_train('m', 'SELECT * FROM r WHERE isfinite(ts) AND (a < 4) IS NOT false AND device IS DISTINCT FROM 2', 'ts', '{a,b,c}'$cols, "
			  . "options => '{\"window\": 8, \"d_model\": 8, \"heads\": 2, \"layers\": 1, \"steps\": 20, $options}')",
			"CREATE TABLE whole AS SELECT * FROM detected(\$\$'m', source => 'r'\$\$)",
			# a rank for rows at infinity
			$not_null ? () : "INSERT INTO whole (series, ts) SELECT DISTINCT series, timestamptz 'infinity' FROM whole"));
	my @ts = split /\n/, sql('SELECT DISTINCT ts FROM whole WHERE isfinite(ts) ORDER BY ts');
	$drift += sql("SELECT count(*) FROM whole WHERE status = 'drift'");

	# ranges
	my $setup = join('; ', map { "SET $_" } grep { rand() < 0.15 } map { "enable_$_ = off" }
		  qw(seqscan indexscan bitmapscan sort hashagg incremental_sort nestloop material));
	my (@queries, @names);
	for (1 .. 14)
	{
		my $kind = one_of('since', 'since', 'between', 'between', 'last', 'last', 'last until');
		my ($from, $to) = map { $ts[$_] } sort { $a <=> $b } int(rand(@ts)), int(rand(@ts));
		my $last = 1 + int(rand()**3 * 700);
		my (@arguments, @inside);
		if ($kind =~ /since|between/) { push @arguments, "since => '$from'"; push @inside, "ts >= '$from'"; }
		if ($kind =~ /until|between/) { push @arguments, "until => '$to'"; push @inside, "ts < '$to'"; }
		if ($kind =~ /last/) { push @arguments, "last_n => $last"; }
		if ($series ne '' && rand() < 0.5)
		{
			my %values = (device => one_of(0 .. 5, 'null'), site => one_of('"s0"', '"s1"', 'null'));
			delete $values{site} if $series eq 'device' || one_of(0, 1);
			push @arguments, "series => '{" . join(', ', map { "\"$_\": $values{$_}" } sort keys %values) . "}'";
			push @inside, map { "series->'$_' = '$values{$_}'" } sort keys %values;
		}
		my $arguments = join(', ', "'m'", "source => 'r'", @arguments);
		push @names, join(', ', @arguments);
		push @queries, sprintf('SELECT * FROM compare($$%s$$, $$%s$$, %s)', $arguments, join(' AND ', 'true', @inside), $kind =~ /last/ ? $last : 'NULL'),
		  "SELECT amad_detect_query($arguments)";
	}
	my @out = split /\n/, sql(join('; ', $setup || (), @queries));
	my $bad = 0;
	for my $i (0 .. $#names)
	{
		my ($rows, $different, $example) = split /\|/, $out[ 2 * $i ];
		my $query = $out[ 2 * $i + 1 ];
		my $form = $query =~ /WITH RECURSIVE/ ? 'steps' : $query =~ /LATERAL/ ? 'in range' : $query =~ /LIMIT/ ? 'single' : 'once';

		$compared += $rows;
		$forms{$form}++;
		next if $different == 0;
		$bad++;
		diag("$different of $rows rows are different ($form): $names[$i]: $example\n$query");
	}
	is($bad, 0, "round $round: series ($series), $options, index $index, partitions '$partitions', NOT NULL $not_null, $setup");
}
cmp_ok($compared, '>', 1000 * $rounds, "$compared rows were compared");
cmp_ok($drift, '>', 10 * $rounds, "$drift rows have drifted");
is(join(', ', sort keys %forms), 'in range, once, single, steps', 'in all forms: ' . join(', ', map { "$_ $forms{$_}" } sort keys %forms));

$node->stop;
done_testing();
