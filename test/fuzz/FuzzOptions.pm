# Options of every kind, and training rows of every kind.
package FuzzOptions;

use strict;
use warnings;

use Fuzz;
use JSON::PP;

my $json = JSON::PP->new->canonical->allow_nonref->utf8;

sub timeout { return 400 }

# All options with their defaults, on one level; those written in "advanced", and those whose values are numbers;
# and tables with columns ts, a, b, c
my (%defaults, %advanced, @numbers, @tables);

# name, type of time, columns a, b, c of row i
my @rows = (
	[ 'waves', 'i::bigint', 'sin(i * 0.2)::float8', '(cos(i * 0.11) + (i * 7919 % 101) / 500.0)::float8', '(i % 17)::float8' ],
	[ 'holes', 'i::bigint', 'CASE WHEN i % 5 > 0 THEN sin(i) END::float8', "CASE WHEN i % 3 = 0 THEN 'NaN' ELSE cos(i) END::float8",
		'NULL::float8' ],
	[ 'infinite', 'i::bigint', "CASE WHEN i = 30 THEN 'Infinity' ELSE sin(i) END::float8",
		"CASE WHEN i % 9 = 0 THEN '-Infinity' ELSE 1.5::float8 END::float8", "'Infinity'::float8" ],
	[ 'huge', 'i::bigint', '(sin(i) * 1.7e308)::float8', '(1e308 + i)::float8', "(CASE WHEN i % 2 = 0 THEN 1.7e308::float8 ELSE -1.7e308::float8 END)::float8" ],
	[ 'small', 'i::bigint', '(sin(i) * 1e-300)::float8', '(i * 5e-324)::float8', '(1 + i * 1e-16::float8)' ],
	[ 'constant', 'i::bigint', '1::float8', '0::float8', '(-1e300)::float8' ],
	[ 'flags', 'i::bigint', '(i % 2)::float8', '(i / 40 % 2)::float8', '(i / 90)::float8' ],
	[ 'types', 'i::int', 'i::int', '(i * 1.5)::numeric(20,3)', '(i % 3)::smallint' ],
	[ 'numeric', 'i::bigint', "('1e' || (i % 400))::numeric", "CASE WHEN i % 7 = 0 THEN 'NaN' ELSE 1.5::numeric END::numeric",
		"CASE WHEN i % 11 = 0 THEN 'Infinity' ELSE i::numeric END::numeric" ],
	[ 'pairs', '(i / 2)::bigint', 'sin(i)::float8', 'cos(i)::float8', 'i::float8' ],
	[ 'backwards', '(-i * i)::bigint', 'sin(i)::float8', 'cos(i)::float8', 'i::float8' ],
	[ 'ends', "CASE i % 4 WHEN 0 THEN 9223372036854775807 - i WHEN 1 THEN -9223372036854775808 + i WHEN 2 THEN NULL ELSE i END::bigint",
		'sin(i)::float8', 'cos(i)::float8', 'i::float8' ],
	[ 'minutes', "timestamptz '2026-01-01 00:00+00' + i * interval '1 minute'", 'sin(i)::float8', 'cos(i)::float8', '(i % 60)::float8' ],
	[ 'far', "timestamptz '2026-01-01 00:00+00' + i * interval '1000 years'", 'sin(i)::float8', 'cos(i)::float8', '(i % 60)::float8' ],
	[ 'oldest', "timestamptz '4714-11-24 00:00+00 BC' + i * interval '1 hour'", 'sin(i)::float8', 'cos(i)::float8', '(i % 60)::float8' ],
	[ 'last', "timestamptz '294276-12-31 23:59:59+00' - i * interval '1 hour'", 'sin(i)::float8', 'cos(i)::float8', '(i % 60)::float8' ],
	[ 'never', "CASE WHEN i % 3 = 0 THEN 'infinity' WHEN i % 3 = 1 THEN '-infinity' ELSE timestamp '2026-01-01' + i * interval '1 hour' END::timestamp",
		'sin(i)::float8', 'cos(i)::float8', 'i::float8' ],
	[ 'days', "date '2026-01-01' + i", 'sin(i)::float8', 'cos(i)::float8', 'i::float8' ],
);

sub setup
{
	my ($class, $session) = @_;

	$session->run('CREATE SCHEMA fuzz', 60);
	@tables = ();
	for my $row (@rows)
	{
		my ($name, $ts, $x, $y, $z) = @$row;
		my $sql = "CREATE TABLE fuzz.$name AS SELECT $ts AS ts, $x AS a, $y AS b, $z AS c FROM generate_series(1, 120) i";
		my $result = $session->run($sql, 60);
		die "$sql: $result->{out}" if $result->{state} ne '00000';
		push @tables, $name;
	}
	my $result = $session->run("SELECT amad_train('options', '{\"steps\": 1, \"window\": 4, \"d_model\": 8, \"horizons\": [2]}', ts, a, b, c) "
		  . "FROM fuzz.waves;\nSELECT options FROM amad_models WHERE model_name = 'options'", 60);
	die $result->{out} if $result->{state} ne '00000';
	my ($text) = $result->{out} =~ /^(\{"[^\n]*\})\n*\z/m;
	%defaults = %{ $json->decode($text) };
	%advanced = (%{ delete $defaults{advanced} }, without => []);
	%defaults = (%defaults, %advanced);
	@numbers = grep { defined $defaults{$_} && !ref $defaults{$_} && $defaults{$_} =~ /^-?[\d.]+(?:e[-+]?\d+)?$/i } sort keys %defaults;
	return;
}

my %special = (
	method => [ '"amad"', '"amad"', '"pca"', '"zscore"', '"AMAD"' ],
	missing => [ '"locf"', '"linear"', '"error"' ],
	transform => [ '"auto"', '"none"', '"log"', '"difference"', '"rate"', '"detrend"', '{}', '{"a": "rate"}', '{"1": "detrend", "2": "log"}',
		'{"a": 1}', '["rate"]' ],
	season => [ '"auto"', '"none"', '[7]', '[60, 3600]', '[86400]', '[1e12]', '[0.001]', '[2, 2.5]', '[1, 2, 3, 4, 5]' ],
	timezone => [ '"Europe/Berlin"', '"America/New_York"', '"Asia/Kolkata"', '"UTC"', '"EST5EDT"', '"XXX+167:59:59"', '"right/UTC"', '"../UTC"', '""', '1',
		'"' . 'a' x 300 . '"' ],
	holidays => [ '["2026-01-01"]', '["2026-01-01", "2026-01-01", "4713-01-01 BC", "5874897-12-31"]', '[]', '["today"]', '["infinity"]', '["01/02/2026"]',
		'"fuzz.days"', '"fuzz.waves"', '"SELECT ts FROM fuzz.days"', '"SELECT date \'infinity\' AS d"', '[1]', '{}' ],
	horizons => [ '[1]', '[2, 4]', '[1, 2, 3]', '[60]', '[65536]', '[4, 4]', '[0]', '[]' ],
	features => [ '["a", "b", "c"]', '["a"]', '["a", "a", "a"]', '["", "b", "c"]', '[null]' ],
	preset => [ '"paper"', '"short"', '"default"', '"fast"' ],
	without => [ '["automask"]', '["mixup", "multiscale"]', '[]', '["x"]' ],
	advanced => [ '{}', '{"clip": 3}', '{"window": 3}', '{"advanced": {}}', '[]', 'null', '1' ],
	steps => [ 1, 2, 3, 10 ],
	d_model => [ 4, 8, 16, 6, 64 ],
	window => [ 1, 2, 3, 4, 8, 16, 60 ],
	heads => [ 1, 2, 4, 3 ],
	layers => [ 1, 2, 16 ],
	batch_size => [ 1, 2, 8, 1024 ],
	chunk_length => [ 2, 8, 16, 17, 100 ],
);

sub number
{
	my ($default) = @_;

	return pick($default, $default * 2, $default / 2, $default + 1, $default - 1, 0, 1, 2, 0.5, 0.01, 0.99, 1e-6, 1e6, 1e-12, 1e15, 1e300, -1,
		4096, 65536, 2147483647, 2147483648, 9007199254740991, 9007199254740992, rand(1), rand(100));
}

# A JSON object of options, mostly valid ones, and mostly at the correct level
sub options
{
	my (@members, @advanced);

	return odd_json() if chance(5);
	# as small as they can be, unless chosen otherwise
	push @members, '"steps": 2', '"window": 4', '"d_model": 8', '"heads": 2', '"horizons": [2, 4]', '"layers": 1' if chance(85);
	push @members, '"method": ' . pick('"zscore"', '"pca"') if chance(30);
	for (1 .. pick(0, 1, 1, 2, 3, 8))
	{
		my $key = chance(60) && @numbers ? pick(@numbers) : pick(sort(keys %special), sort(keys %defaults), odd_string());
		my $value = chance(10) ? odd_json()
		  : $special{$key} ? pick(@{ $special{$key} })
		  : (grep { $_ eq $key } @numbers) ? number($defaults{$key})
		  : odd_json();
		my $level = (chance(3) ? !$advanced{$key} : $advanced{$key}) ? \@advanced : \@members;
		push @$level, Fuzz::quote_json($key) . ": $value";
	}
	push @members, '"advanced": {' . join(', ', @advanced) . '}' if @advanced;
	return '{' . join(', ', @members) . '}';
}

# Options of amad_evaluate()
sub evaluate_options
{
	return odd_json() if chance(40);
	return '{' . join(', ', map {
		Fuzz::quote_json(pick('threshold', 'window', 'rows_per_day', odd_string()))
		  . ': ' . pick(odd_json(), '1', '0', '10', '1e9', '0.5')
	} 1 .. pick(1, 2, 3)) . '}';
}

sub case
{
	my ($class, $fuzz, $n) = @_;
	my $options = literal(options());
	my $rows = 'fuzz.' . pick(@tables);
	my $bad = Fuzz::bad_severities('s');
	my $features = pick('a, b, c', 'a, b, c', 'a, b, c', 'a', 'c, b', 'VARIADIC ARRAY[a, b, c]::float8[]');
	my $call = sub {
		my ($what, $sql) = @_;
		my $result = $fuzz->call($what => "SAVEPOINT s;\n$sql");
		my $ok = $result->{state} eq '00000';
		$fuzz->call(savepoint => 'ROLLBACK TO s') if !$ok;
		$fuzz->count('done') if $ok;
		return $ok;
	};

	$fuzz->call(begin => 'BEGIN');
	$fuzz->call(begin => pick("SET LOCAL maintenance_work_mem = '1MB'", "SET LOCAL work_mem = '64kB'", 'SET LOCAL amad.max_parallel_workers = 2'))
	  if chance(10);
	my $how = rand(100);
	if ($how < 50)
	{
		# as a value
		if ($call->(fit => "CREATE TEMP TABLE m ON COMMIT DROP AS SELECT amad_fit(${options}::jsonb, ts, $features) AS m FROM $rows"))
		{
			$fuzz->count('accepted');
			$call->(text => 'SELECT m::text::amad_model::text = m::text, length(amad_describe(m)::text) FROM m');
			my $other = chance(80) ? $rows : 'fuzz.' . pick(@tables);
			$call->(score => "SELECT count(s), $bad FROM (SELECT amad_score((SELECT m FROM m), ts, $features) OVER (ORDER BY ts) AS s FROM $other) x");
			$call->(explain => "SELECT count(s), $bad, min(length(e::text)) FROM (SELECT (e).severity AS s, e FROM "
				  . "(SELECT amad_explain((SELECT m FROM m), ts, $features) OVER (ORDER BY ts) AS e FROM $other) y) x");
		}
	}
	elsif ($how < 85)
	{
		# stored, with its source
		if ($call->(train => "SELECT amad_train(model_name => 'options', source => '$rows', timestamp_col => 'ts', "
				. pick("feature_cols => '{a,b,c}', ", "feature_cols => '{a,b}', ", "feature_cols => '{a}', series_cols => '{c}', ",
					"feature_cols => '{a,b}', label_col => 'c', ", '') . "options => $options) IS NOT NULL"))
		{
			$fuzz->count('accepted');
			for my $suffix ('', '_bigint', '_timestamp')
			{
				# the forms for other types fail at once
				my $worked = $call->(detect => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, severity AS s FROM amad_detect$suffix('options') x) x");
				next if !$worked;
				$call->(events => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, peak_severity AS s FROM amad_events$suffix('options') x) x");
				$call->(drift => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, severity AS s FROM amad_drift$suffix('options') x) x");
				$call->(recalibrate => "SELECT length(amad_recalibrate$suffix('options', options => " . literal(options()) . ')::text)');
				$call->(detect => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, severity AS s FROM amad_detect$suffix('options') x) x");
				last;
			}
			$call->(retrain => "SELECT length(amad_retrain('options', " . pick('true', 'false') . ')::text)');
		}
	}
	else
	{
		$call->(evaluate => 'SELECT length(amad_evaluate(' . pick('', "ts::timestamptz, ", '') . "a::float8, "
			  . pick('c > 5', 'b', 'b > 0', 'NULL::boolean') . ', ' . literal(evaluate_options()) . "::jsonb)::text) FROM $rows");
	}
	$fuzz->call(rollback => 'ROLLBACK');
	return;
}

1;
