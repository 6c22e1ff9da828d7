# Series keys of all types, including values that are equal but not identical. Every group of equal values
# is one series; a stored model can be read, and its training rows do not have unknown series.
package FuzzKeys;

use strict;
use warnings;

use Fuzz;

sub timeout { return 1000 }

# Clean refusals: the type cannot be sorted or compared, or is not supported
my $refused = qr/^(?:0A000|42883|42804|42846)$/;

# type => values; those within an array are equal
my @types = (
	[ 'numeric', [ '1.0', '1.00', '1' ], [ '0', '-0', '0.000' ], 'NaN', [ '1e3', '1000' ], '-1.5', '123456789012345678901234567890.5', 'Infinity' ],
	[ 'numeric(10,2)', [ '1.0', '1.00', '1' ], '2.5' ],
	[ 'float8', [ '0', '-0' ], '1.5', 'NaN', 'Infinity', '-Infinity', '1e-310', '1e22', '0.1', '0.30000000000000004' ],
	[ 'float4', [ '0', '-0' ], '1.5', '0.1', '16777216' ],
	[ 'smallint', 1, 2, -32768 ], [ 'int', 1, 2, 2147483647 ], [ 'bigint', 1, '9223372036854775807', '9007199254740993', '9007199254740992' ],
	[ 'oid', 1, 4294967295 ], [ 'money', 1, -2 ], [ 'boolean', 'true', 'false' ], [ '"char"', 'a', 'b', '' ],
	[ 'text', 'a', 'A', '', ' ', 'a ', "a'b", 'a"b', 'a\\b', "a\nb", "\t", 'null', '1', '1.0', "\x{c3}\x{a4}", "a\x{cc}\x{88}", 'z' x 3000, '{"k": 1}', "\x01", '\\u0000', '%s' ],
	[ 'varchar', 'a', 'a ', 'b' ], [ 'name', 'a', 'b' ], [ 'char(5)', [ 'a', 'a  ' ], 'b', '' ], [ 'bytea', '\\x00', '\\x', '\\xff', '\\x0000' ],
	[ 'fuzz.loose', [ 'a', 'A' ], [ 'bc', 'Bc', 'BC' ], 'd' ], [ 'fuzz.base_letters', [ 'a', 'A', "\x{c3}\x{a4}" ], 'b' ],
	[ 'citext', [ 'a', 'A' ], [ 'bc', 'BC' ], 'd' ],
	[ 'interval', [ '1 day', '24 hours' ], [ '1 month', '30 days' ], '1 second', [ '0', '-0 days' ] ],
	[ 'timestamptz', [ '2026-01-01 00:00+00', '2026-01-01 01:00+01' ], 'infinity', '2026-01-01 00:00:00.000001+00' ],
	[ 'timestamp', '2026-01-01', 'infinity', '-infinity', '4713-01-01 BC' ], [ 'date', '2026-01-01', 'infinity', '5874897-12-31' ],
	[ 'time', '00:00', '24:00' ], [ 'timetz', '00:00+00', '01:00+01' ],
	[ 'uuid', [ 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11' ], 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12' ],
	[ 'inet', [ '1.1.1.1', '1.1.1.1/32' ], '1.1.1.1/24', '::1' ], [ 'cidr', '10.0.0.0/8', '10.0.0.0/9' ],
	[ 'macaddr', [ '08:00:2b:01:02:03', '08002b-010203' ], '08:00:2b:01:02:04' ],
	[ 'fuzz.mood', 'sad', 'happy' ], [ 'fuzz.some_number', [ '1.0', '1.00' ], 2 ], [ 'fuzz.loose_domain', [ 'a', 'A' ], 'b' ],
	[ 'int[]', '{1,2}', '{2,1}', '{}', '{NULL}', '[0:1]={1,2}' ], [ 'numeric[]', [ '{1.0}', '{1.00}' ], '{2}' ], [ 'text[]', '{a}', '{A}', '{"a,b"}' ],
	[ 'fuzz.loose[]', [ '{a}', '{A}' ], '{b}' ],
	[ 'fuzz.pair', [ '(1.0,x)', '(1.00,x)' ], '(2,y)', '(,)' ], [ 'fuzz.loose_pair', [ '(a,0)', '(A,-0)' ], '(b,1)' ],
	[ 'int4range', [ '[1,2]', '[1,3)' ], 'empty', '(,)' ], [ 'numrange', [ '[1.0,2)', '[1,2.00)' ], 'empty' ],
	[ 'tstzrange', [ '["2026-01-01 00:00+00",)', '["2026-01-01 01:00+01",)' ], 'empty' ], [ 'int4multirange', [ '{[1,2]}', '{[1,3)}' ], '{}' ],
	[ 'jsonb', [ '1', '1.0', '1.00' ], [ '{"a": 1, "b": [1.0]}', '{"b": [1.00], "a": 1.0}' ], 'null', '"1"', '{}', '[]', '[-0, 0.0]' ],
	[ 'json', '1', '{}' ], [ 'xml', '<a/>' ], [ 'bit(3)', '101', '111' ], [ 'varbit', '1', '10', '' ], [ 'tsvector', 'a b', 'b' ], [ 'pg_lsn', '0/0', '1/1' ],
	[ 'point', '(1,2)', '(2,1)' ], [ 'box', [ '(0,0),(1,1)', '(1,1),(0,0)' ], '(0,0),(2,2)' ], [ 'circle', '<(0,0),1>', '<(0,0),2>' ], [ 'xid', 1, 2 ], [ 'tid', '(0,1)', '(0,2)' ],
	[ 'regclass', 'pg_class', 'pg_type' ]);

my @usable;

sub setup
{
	my ($class, $session) = @_;

	for ('CREATE SCHEMA fuzz', "CREATE TYPE fuzz.mood AS ENUM ('sad', 'happy')", 'CREATE DOMAIN fuzz.some_number AS numeric', 'CREATE TYPE fuzz.pair AS (n numeric, t text)',
		# these do not exist without ICU
		"CREATE COLLATION fuzz.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
		"CREATE COLLATION fuzz.any_mark (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
		'CREATE DOMAIN fuzz.loose AS text COLLATE fuzz.any_case', 'CREATE DOMAIN fuzz.base_letters AS text COLLATE fuzz.any_mark', 'CREATE DOMAIN fuzz.loose_domain AS fuzz.loose',
		'CREATE TYPE fuzz.loose_pair AS (t text COLLATE fuzz.any_case, n float8)', 'CREATE EXTENSION IF NOT EXISTS citext')
	{
		$session->run($_, 60);
	}
	@usable = ();
	for my $type (@types)
	{
		my $first = ref $type->[1] ? $type->[1][0] : $type->[1];
		push @usable, $type if $session->run('SELECT ' . literal($first) . "::$type->[0]", 60)->{state} eq '00000';
	}
	return scalar @usable;
}

# Values of a type: a list of texts, with equal ones more likely together
sub values_of
{
	my ($type) = @_;
	my (undef, @groups) = @$type;
	my @values;

	for (1 .. whole(1, 3))
	{
		my $group = pick(@groups);
		push @values, ref $group ? @$group[ 0 .. pick(1, $#$group) ] : $group;
	}
	push @values, undef if chance(20);
	my %seen;
	return grep { !$seen{ $_ // 'NULL' }++ } @values;
}

sub case
{
	my ($class, $fuzz, $n) = @_;
	# every type in turn
	my @kinds = ($usable[ $n % @usable ]);
	push @kinds, pick(@usable) if chance(25);
	my @names = map { "k$_" } 1 .. @kinds;
	my (@from, @columns, @where);
	my $number = '0';
	my $call = sub {
		my ($what, $sql) = @_;
		my $result = $fuzz->call($what => "SAVEPOINT s;\n$sql");
		$fuzz->count('done') if $result->{state} eq '00000';
		$fuzz->call(savepoint => 'ROLLBACK TO s') if $result->{state} ne '00000';
		return $result;
	};
	my $total = 1;

	for my $i (0 .. $#kinds)
	{
		my @values = values_of($kinds[$i]);
		my $v = 0;
		push @from, '(VALUES ' . join(', ', map { '(' . literal($_) . "::$kinds[$i][0], " . $v++ . ')' } @values) . ") v$i(k" . ($i + 1) . ', n)';
		push @columns, 'k' . ($i + 1);
		$number = "($number * " . @values . " + v$i.n)";
		$total *= @values;
	}
	# variants one after another, or alternating
	my $ts = chance(50) ? "i * $total + $number" : "$number * 1000 + i";
	my $rows = 40;
	$fuzz->call(begin => 'BEGIN');
	$fuzz->call(begin => pick("SET LOCAL DateStyle = 'German'", "SET LOCAL TimeZone = 'Asia/Kathmandu'", "SET LOCAL IntervalStyle = 'iso_8601'", "SET LOCAL bytea_output = 'escape'",
			'SET LOCAL extra_float_digits = 0', 'SET LOCAL amad.max_parallel_workers = 2')) if chance(30);
	my $result = $call->(create => "CREATE TEMP TABLE keys ON COMMIT DROP AS SELECT ($ts)::bigint AS ts, " . join(', ', @columns)
		  . ", sin(i * 0.3)::float8 AS a FROM generate_series(1, $rows) i, " . join(', ', @from));
	if ($result->{state} ne '00000')
	{
		# a type that is not allowed in tables, json with DISTINCT, …
		$fuzz->call(rollback => 'ROLLBACK');
		return;
	}
	my $columns = join(', ', @columns);
	my $distinct = $call->(distinct => "SELECT 'n=' || count(*) FROM (SELECT DISTINCT $columns FROM keys) d");
	my ($groups) = $distinct->{out} =~ /n=(\d+)/;
	my $options = pick('{"method": "zscore", "horizons": [1]}', '{"method": "zscore", "horizons": [1]}', '{"method": "pca", "horizons": [1, 2]}');
	my $train = "SELECT 'n=' || coalesce(d->>'series', d::text) FROM amad_train(model_name => 'keys', source => 'keys', timestamp_col => 'ts', feature_cols => '{a}', "
	  . "series_cols => '{$columns}', options => '$options') d";

	$result = $call->(train => $train);
	my $script = join(";\n", @{ $fuzz->{script} });
	if ($result->{state} ne '00000')
	{
		$fuzz->fail('wrong', $script, 'training fails: ' . FuzzSession::message($result))
		  if $result->{state} !~ $refused;
		$fuzz->call(rollback => 'ROLLBACK');
		return;
	}
	$fuzz->count('accepted');
	my ($series) = $result->{out} =~ /n=(\d+)/;
	if (defined $groups && defined $series && $series != $groups)
	{
		$fuzz->fail('wrong', $script, "$series series, $groups distinct values");
	}
	$result = $call->(text => "SELECT 'same=' || (model::text::amad_model::text = model::text), length(amad_describe(model)::text) FROM amad_models WHERE model_name = 'keys'");
	$fuzz->fail('wrong', $script, 'the model cannot be read: ' . FuzzSession::message($result)) if $result->{out} !~ /same=true/;
	my $bad = Fuzz::bad_severities('severity');
	my $detect = 'amad_detect_bigint';
	$result = $call->(detect => "SELECT 'rows=' || count(*) || ' unknown=' || count(*) FILTER (WHERE status = 'learning') || ' series=' || count(DISTINCT series), $bad "
		  . "FROM $detect('keys')");
	if ($result->{state} eq '42883')
	{
		$detect = 'amad_detect';
		$result = $call->(detect => "SELECT 'rows=' || count(*) || ' unknown=' || count(*) FILTER (WHERE status = 'learning') || ' series=' || count(DISTINCT series), $bad "
			  . "FROM $detect('keys')");
	}
	my $expected = 'rows=' . ($total * $rows) . ' unknown=0 series=' . ($groups // $series);
	if ($result->{out} !~ /\Q$expected\E\b/)
	{
		$fuzz->fail('wrong', $script, "amad_detect gives " . ($result->{state} eq '00000' ? ($result->{out} =~ /(rows=.*?)\|/)[0] : FuzzSession::message($result))
			  . ", not $expected");
	}
	# each of the series by its key
	$call->(series => "SELECT 'n=' || (SELECT count(*) FROM $detect('keys', series => d.series)) FROM (SELECT DISTINCT series FROM $detect('keys')) d");
	$call->(recalibrate => 'SELECT length(' . ($detect =~ s/detect/recalibrate/r) . "('keys')::text)");
	$call->(retrain => "SELECT length(amad_retrain('keys')::text)");
	$result = $call->(text => "SELECT 'same=' || bool_and(model::text::amad_model::text = model::text) FROM amad_models WHERE model_name = 'keys'");
	$fuzz->fail('wrong', $script, 'a model cannot be read: ' . FuzzSession::message($result)) if $result->{out} !~ /same=true/;
	$fuzz->call(rollback => 'ROLLBACK');
	return;
}

1;
