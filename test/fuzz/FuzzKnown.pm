# Statements that once crashed the server, hung it or lost a model. Each is a separate case.
package FuzzKnown;

use strict;
use warnings;

use Fuzz;

sub timeout { return 1500 }

my $minutes = "timestamptz '2026-01-01 00:00+00' + i * interval '1 minute'";
my $zscore = q('{"method": "zscore", "horizons": [1]}');

# Extreme values of bigint; the distance between any two neighbours exceeds the range of bigint
my $ends = 'CASE i % 3 WHEN 0 THEN 9223372036854775807 - i WHEN 1 THEN -9223372036854775808 + i ELSE i END::bigint';

# Two devices; the first under two names that are equal, one after the other or alternating
sub equal_keys
{
	my ($type, $one, $other, $third, $when) = @_;

	return (
		"CREATE TEMP TABLE k AS SELECT i::bigint AS ts, (CASE WHEN $when THEN '$one' ELSE '$other' END)::$type AS dev, sin(i / 10.0) AS a FROM generate_series(1, 600) i "
		  . "UNION ALL SELECT i, '$third'::$type, sin(i / 10.0) FROM generate_series(1, 600) i",
		"SELECT 'series=' || coalesce(d->>'series', '') FROM amad_train(model_name => 'k', source => 'k', timestamp_col => 'ts', feature_cols => '{a}', series_cols => '{dev}', options => $zscore) d",
		"SELECT 'rows=' || count(*) || ' unknown=' || count(*) FILTER (WHERE status = 'learning') FROM FORM('k')",
		"SELECT 'same=' || bool_and(model::text::amad_model::text = model::text) FROM amad_models WHERE model_name = 'k'");
}

my @equal = (qr/series=2\b/, qr/rows=1200 unknown=0\b/, qr/same=true/);

# name, statements, settings, pattern of their output, milliseconds of statement_timeout
my @known = (
	{
		name => 'a view replaced by the maintenance query',
		statements => [
			"CREATE TEMP TABLE t AS SELECT $minutes AS ts, sin(i / 10.0)::float8 AS a FROM generate_series(1, 600) i",
			'CREATE TEMP VIEW v AS SELECT ts, a::numeric AS a FROM t',
			"SELECT amad_train(model_name => 'tc', source => 'v', timestamp_col => 'ts', options => $zscore) IS NOT NULL",
			q(CREATE FUNCTION pg_temp.evil() RETURNS TABLE (b timestamptz, e timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	DROP VIEW v;
	CREATE TEMP VIEW v AS SELECT ts, '1.2e-300'::float8 AS a FROM t;
	RETURN;
END $$),
			"SELECT count(*) FROM amad_events('tc', maintenance => 'SELECT b, e FROM pg_temp.evil()')",
		],
	},
	{
		name => 'a model without names of its features, with a source',
		statements => [
			"CREATE TEMP TABLE t AS SELECT $minutes AS ts, sin(i / 10.0) AS a FROM generate_series(1, 600) i",
			"SELECT amad_train('nn', $zscore, ts, a) IS NOT NULL FROM t",
			q(UPDATE amad_models SET source = '{"source": "t", "timestamp_col": "ts"}' WHERE model_name = 'nn'),
			map { "SELECT count(*) FROM $_" } "amad_detect('nn')", "amad_events('nn')", "amad_drift('nn')", "amad_recalibrate('nn')", "amad_detect_query('nn')",
		],
	},
	{
		name => 'option features with 60,000 names',
		statements => [ "SELECT amad_fit(jsonb_build_object('features', (SELECT jsonb_agg('f' || i) FROM generate_series(1, 60000) i)), now(), 1.0)" ],
		timeout => 1000,
	},
	{
		name => 'feature_cols with 60,000 names',
		statements => [
			'CREATE TEMP TABLE readings (ts timestamptz, a float8)',
			"SELECT amad_train(model_name => 'x', source => 'readings', feature_cols => (SELECT array_agg('f' || i) FROM generate_series(1, 60000) i))",
		],
		timeout => 1000,
	},
	{ name => 'numeric keys that are equal, one after the other', statements => [ equal_keys('numeric', '1.0', '1.00', '2', 'i < 300') ], like => \@equal },
	{ name => 'numeric keys that are equal, by turns', statements => [ equal_keys('numeric', '1.0', '1.00', '2', 'i % 2 = 0') ], like => \@equal },
	{ name => 'zeros with and without a sign', statements => [ equal_keys('float8', '-0', '0', '1', 'i < 300') ], like => \@equal },
	{ name => 'intervals that are equal', statements => [ equal_keys('interval', '1 day', '24 hours', '1 hour', 'i < 300') ], like => \@equal },
	{
		name => 'letters that a collation takes for equal',
		needs => "SELECT 'b'::text COLLATE \"und-x-icu\"",
		statements => [
			"CREATE COLLATION pg_temp.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
			'CREATE DOMAIN pg_temp.word AS text COLLATE pg_temp.any_case',
			equal_keys('pg_temp.word', 'a', 'A', 'b', 'i % 2 = 0'),
		],
		like => \@equal,
	},
	{
		name => 'figures of the series alone above maintenance_work_mem',
		statements => [
			"SET LOCAL maintenance_work_mem = '1MB'",
			'CREATE TEMP TABLE fl AS SELECT i::bigint AS ts, g, sin(i) AS a FROM generate_series(1, 6) i, generate_series(1, 15000) g',
			"SELECT amad_train(model_name => 'fl', source => 'fl', timestamp_col => 'ts', feature_cols => '{a}', series_cols => '{g}', options => $zscore) IS NOT NULL",
		],
	},
	{
		name => 'principal components of 4,096 features',
		timeout => 4000,
		statements => [
			"SET LOCAL maintenance_work_mem = '4GB'",
			q(SELECT length(amad_fit('{"method": "pca", "horizons": [1]}'::jsonb, i::bigint, VARIADIC (SELECT array_agg(sin(i * f)) FROM generate_series(1, 4096) f))::text) FROM generate_series(1, 300) i),
		],
	},
	{
		name => 'a source whose timestamps are further apart than a bigint can say',
		statements => [
			"CREATE TEMP TABLE ends AS SELECT $ends AS ts, sin(i) AS a FROM generate_series(1, 120) i",
			"SELECT amad_train(model_name => 'ends', source => 'ends', timestamp_col => 'ts', options => $zscore) IS NOT NULL",
			"SELECT length(amad_fit($zscore\::jsonb, ts, a)::text) FROM ends",
		],
	},
	{
		name => 'since infinity',
		statements => [
			"CREATE TEMP TABLE t AS SELECT $minutes AS ts, sin(i / 10.0) AS a FROM generate_series(1, 600) i",
			"SELECT amad_train(model_name => 'si', source => 't', timestamp_col => 'ts', options => $zscore) IS NOT NULL",
			"SELECT 'rows=' || count(*) FROM amad_detect('si', since => 'infinity')",
		],
		like => [ qr/rows=0\b/ ],
	},
	{
		name => 'a source that closes the parenthesis',
		statements => [
			"CREATE TEMP TABLE e3 AS SELECT $minutes AS ts, sin(i / 10.0) AS a FROM generate_series(1, 600) i",
			"SELECT 'trained=' || (d IS NOT NULL) FROM amad_train(model_name => 'p', source => 'SELECT ts, a FROM e3) AS a, (SELECT 1', timestamp_col => 'ts', options => $zscore) d",
		],
		unlike => qr/trained=true/,
	},
	# these are slow, and not part of the short run
	{
		name => 'a fleet at the default settings',
		long => 1,
		timeout => 90000,
		statements => [
			"SET LOCAL maintenance_work_mem = '64MB'",
			'CREATE TEMP TABLE fd AS SELECT i::bigint AS ts, g, ' . join(', ', map { "sin(i * $_) AS f$_" } 1 .. 18) . ', sin(i + g) AS f19 FROM generate_series(1, 40) i, generate_series(1, 20000) g',
			"SELECT amad_train(model_name => 'fd', source => 'fd', timestamp_col => 'ts', series_cols => '{g}', "
			  . "options => '{\"window\": 4, \"layers\": 1, \"horizons\": [1], \"steps\": 20, \"advanced\": {\"chunk_length\": 16}}') IS NOT NULL",
		],
	},
	{
		name => 'a network as wide as can be',
		long => 1,
		timeout => 3000,
		statements => [
			"SET LOCAL maintenance_work_mem = '14GB'",
			'CREATE TEMP TABLE w AS SELECT i::bigint AS ts, sin(i * 0.2) AS a FROM generate_series(1, 20000) i',
			q(SELECT length(amad_fit('{"d_model": 2048, "steps": 10, "advanced": {"chunk_length": 4096, "batch_size": 4}}'::jsonb, ts, a)::text) FROM w),
		],
	},
);

sub setup
{
	return;
}

# Names of the cases, of the short run or of all
sub names
{
	my ($all) = @_;

	return map { $_->{name} } grep { $all || !$_->{long} } @known;
}

sub case
{
	my ($class, $fuzz, $n) = @_;
	my $known = $known[ $n % @known ];
	my $form = 'amad_detect';
	my @like = @{ $known->{like} // [] };
	local $fuzz->{timeout} = $known->{timeout} // $class->timeout;

	if ($known->{needs} && $fuzz->call(needs => $known->{needs})->{state} ne '00000')
	{
		$fuzz->count('skipped');
		return;
	}
	$fuzz->call(begin => "BEGIN;\nSET LOCAL statement_timeout = $fuzz->{timeout}");
	for my $sql (@{ $known->{statements} })
	{
		my $text = $sql;
		if ($text =~ /FORM/)
		{
			my $names = $fuzz->{session}->run("SELECT 'forms=' || count(*) FROM pg_proc WHERE proname = 'amad_detect_bigint'", 60)->{out};
			$form = $names =~ /forms=[1-9]/ ? 'amad_detect_bigint' : 'amad_detect';
			$text =~ s/FORM/$form/;
		}
		# rows are created before the measurement begins
		local $fuzz->{timeout} = 60000 if $text =~ /^CREATE TEMP TABLE/;
		$fuzz->call(begin => "SET LOCAL statement_timeout = $fuzz->{timeout}");
		my $result = $fuzz->call($known->{name} => "SAVEPOINT s;\n$text");
		$fuzz->call(savepoint => 'ROLLBACK TO s') if $result->{state} ne '00000';
		if ($known->{unlike} && $result->{out} =~ $known->{unlike})
		{
			$fuzz->fail('wrong', $text, "accepted: $result->{out}");
		}
		if (@like && $text =~ /^SELECT/)
		{
			my $like = shift @like;
			# the trainings before do not have a timeout
			if ($text =~ /^SELECT '/ && $result->{out} !~ $like)
			{
				$fuzz->fail('wrong', $text, 'gives ' . ($result->{state} eq '00000' ? $result->{out} =~ s/\s+$//r : FuzzSession::message($result)));
			}
			elsif ($text !~ /^SELECT '/)
			{
				unshift @like, $like;
			}
		}
	}
	$fuzz->call(rollback => 'ROLLBACK');
	return;
}

1;
