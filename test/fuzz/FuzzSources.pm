# Sources of rows: unusual relations and queries, unusual column names, and sources that are replaced while
# they are read.
package FuzzSources;

use strict;
use warnings;

use Fuzz;

sub timeout { return 500 }

my $minutes = "timestamptz '2026-01-01 00:00+00' + i * interval '1 minute'";

sub setup
{
	my ($class, $session) = @_;
	my @sql = (
		'CREATE SCHEMA fuzz',
		"CREATE TABLE fuzz.t AS SELECT $minutes AS ts, d AS dev, sin(i * 0.2)::float8 AS a, (i % 7)::float8 AS b, i % 50 = 0 AS label "
		  . "FROM generate_series(1, 90) i, unnest('{x,y}'::text[]) d",
		"CREATE TABLE fuzz.n AS SELECT i::bigint AS ts, 1 AS dev, sin(i * 0.2)::float8 AS a, (i % 7)::float8 AS b, i % 50 = 0 AS label "
		  . 'FROM generate_series(1, 90) i',
		'CREATE TABLE fuzz.none (ts timestamptz, dev text, a float8, b float8, label boolean)',
		'CREATE TABLE fuzz."od""d name" ("t s" timestamptz, "a""b" float8, "select" float8, "' . ('n' x 63) . '" float8)',
		"INSERT INTO fuzz.\"od\"\"d name\" SELECT $minutes, i, sin(i), cos(i) FROM generate_series(1, 90) i",
		"CREATE DOMAIN fuzz.some AS float8 CHECK (VALUE > -2)",
		"CREATE DOMAIN fuzz.times AS timestamptz NOT NULL",
		"CREATE DOMAIN fuzz.more AS fuzz.some",
		"CREATE TYPE fuzz.mood AS ENUM ('x', 'y')",
		'CREATE TYPE fuzz.pair AS (p int, q text)',
		"CREATE TABLE fuzz.domains AS SELECT ts::fuzz.times AS ts, dev::fuzz.mood AS dev, a::fuzz.some AS a, b::fuzz.more AS b, label FROM fuzz.t",
		'CREATE TABLE fuzz.types AS SELECT ts, dev, a, ROW(1, dev)::fuzz.pair AS pair, ARRAY[a] AS list, int4range(1, 2) AS range, '
		  . "'{}'::jsonb AS j, '{}'::json AS plain_json, 'x'::\"char\" AS c, 1::oid AS o, '1.1.1.1'::inet AS ip, '1 day'::interval AS iv, "
		  . "'1'::money AS m, B'101' AS bits, '(1,2)'::point AS pt, 'x'::name AS nm, txid_current()::text::xid AS x, 1::float4 AS f4, 2::int2 AS i2, "
		  . '3.14::numeric AS nu, ts::date AS d, ts::timestamp AS tsn, ts::time AS tm FROM fuzz.t',
		'CREATE TABLE fuzz.wide (ts timestamptz, ' . join(', ', map { "c$_ float4" } 1 .. 1599) . ')',
		"INSERT INTO fuzz.wide (ts, c1, c2) SELECT $minutes, i, sin(i) FROM generate_series(1, 60) i",
		'CREATE TABLE fuzz.parted (ts timestamptz, dev text, a float8, b float8, label boolean) PARTITION BY LIST (dev)',
		"CREATE TABLE fuzz.part1 PARTITION OF fuzz.parted FOR VALUES IN ('x')",
		'CREATE TABLE fuzz.part2 PARTITION OF fuzz.parted DEFAULT',
		'INSERT INTO fuzz.parted SELECT * FROM fuzz.t',
		'CREATE VIEW fuzz.v AS SELECT * FROM fuzz.t',
		'CREATE VIEW fuzz.failing AS SELECT ts, dev, 1 / (b - 6) AS a, b, label FROM fuzz.t',
		'CREATE MATERIALIZED VIEW fuzz.mv AS SELECT * FROM fuzz.t',
		'CREATE MATERIALIZED VIEW fuzz.mv_empty AS SELECT * FROM fuzz.t WITH NO DATA',
		'CREATE SEQUENCE fuzz.seq',
		'CREATE INDEX t_ts ON fuzz.t (dev, ts)',
		'CREATE TABLE fuzz.dropped AS SELECT 1 AS gone, * FROM fuzz.t',
		'ALTER TABLE fuzz.dropped DROP COLUMN gone, DROP COLUMN label, ADD COLUMN label boolean DEFAULT false',
		'CREATE FUNCTION fuzz.rows() RETURNS TABLE (ts timestamptz, dev text, a float8, b float8, label boolean) LANGUAGE sql VOLATILE '
		  . 'AS $$ SELECT * FROM fuzz.t $$',
		'CREATE FUNCTION fuzz.noise(x float8) RETURNS float8 LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN x + random(); END $$',
		"CREATE FUNCTION fuzz.late(x float8) RETURNS float8 LANGUAGE plpgsql AS \$\$ BEGIN IF x > 5 THEN RAISE 'late' USING ERRCODE = 'P9999'; END IF; RETURN x; END \$\$",
		'CREATE FUNCTION fuzz.learns(x float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN IF x > 5 THEN PERFORM amad_train(model_name => \'inner\', '
		  . 'source => \'fuzz.n\', timestamp_col => \'ts\', options => \'{"method": "zscore"}\'); END IF; RETURN x; END $$',
		'CREATE FUNCTION fuzz.forgets(x float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN IF x > 5 THEN PERFORM amad_drop(\'sources\'); END IF; RETURN x; '
		  . 'EXCEPTION WHEN OTHERS THEN RETURN x; END $$',
		'CREATE FUNCTION fuzz.detects(x float8) RETURNS float8 LANGUAGE plpgsql AS $$ BEGIN IF x > 5 THEN PERFORM count(*) FROM amad_detect(\'sources\'); END IF; '
		  . 'RETURN x; EXCEPTION WHEN OTHERS THEN RETURN -x; END $$',
		'CREATE FUNCTION fuzz.commits() RETURNS void LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$',
		'CREATE TABLE fuzz.pauses AS SELECT min(ts) AS b, max(ts) AS e FROM fuzz.t WHERE a > 0.9',
		'CREATE TABLE fuzz.rules (ts timestamptz, a float8)',
		"DO \$\$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fuzz_role') THEN CREATE ROLE fuzz_role; END IF; END \$\$",
		'GRANT USAGE, CREATE ON SCHEMA fuzz TO fuzz_role',
		'GRANT SELECT ON ALL TABLES IN SCHEMA fuzz TO fuzz_role',
		'REVOKE ALL ON fuzz.mv FROM fuzz_role');

	for (@sql)
	{
		my $result = $session->run($_, 60);
		die "$_: $result->{out}" if $result->{state} ne '00000';
	}
	return;
}

my @relations = (
	('fuzz.t') x 6, 'fuzz.n', 'fuzz.none', 'fuzz.domains', 'fuzz.types', 'fuzz.wide', 'fuzz.parted', 'fuzz.part1', 'fuzz.v', 'fuzz.failing', 'fuzz.mv',
	'fuzz.mv_empty', 'fuzz.seq', 'fuzz.t_ts', 'fuzz.dropped', 'fuzz."od""d name"', 'fuzz.pair', 'fuzz.mood', 'pg_catalog.pg_class',
	'pg_catalog.pg_stat_activity', 'information_schema.columns', 'pg_toast.nothing', 'fuzz', 'fuzz.t.a', 'a.b.c.d', '"', '""', 'fuzz.', '.t', ' fuzz.t ',
	'FUZZ.T', '"fuzz"."t"', 'fuzz . t', 'fuzz.t;', 'fuzz.t --', 'postgres.fuzz.t', 'other.fuzz.t', 'amad_models', 'fuzz.rows', 'fuzz.rows()');

my @queries = (
	'SELECT * FROM fuzz.t', 'SELECT ts, a FROM fuzz.n', 'TABLE fuzz.t', 'WITH x AS (SELECT * FROM fuzz.t) SELECT * FROM x',
	'WITH x AS MATERIALIZED (SELECT * FROM fuzz.t) TABLE x', "VALUES ('2026-01-01'::timestamptz, 1.0), ('2026-01-02', 2.0)",
	'SELECT * FROM fuzz.rows()', 'SELECT ts, dev, fuzz.noise(a) AS a, b, label FROM fuzz.t', 'SELECT ts, dev, fuzz.late(b) AS a, b, label FROM fuzz.t',
	'SELECT ts, dev, fuzz.learns(b) AS a, b, label FROM fuzz.t', 'SELECT ts, dev, fuzz.forgets(b) AS a, b, label FROM fuzz.t',
	'SELECT ts, dev, fuzz.detects(b) AS a, b, label FROM fuzz.t', 'SELECT ts, dev, generate_series(1, 2)::float8 AS a, b, label FROM fuzz.t',
	'SELECT', 'SELECT FROM fuzz.t', 'SELECT 1', 'SELECT NULL', 'SELECT ts, a, a FROM fuzz.t', 'SELECT ts AS a, a FROM fuzz.t',
	'SELECT a, a AS ts, ts FROM fuzz.t', 'SELECT *, * FROM fuzz.t', 'SELECT t FROM fuzz.t', 'SELECT (t).* FROM fuzz.t',
	'SELECT * INTO fuzz.made FROM fuzz.t', 'SELECT * INTO TEMP made FROM fuzz.t', 'SELECT * FROM fuzz.t FOR UPDATE', 'SELECT * FROM fuzz.t FOR KEY SHARE NOWAIT',
	'SELECT * FROM fuzz.t ORDER BY random()', 'SELECT * FROM fuzz.t LIMIT 0', 'SELECT * FROM fuzz.t LIMIT NULL', 'SELECT * FROM fuzz.t OFFSET -1',
	'SELECT * FROM fuzz.t TABLESAMPLE BERNOULLI (50)', 'SELECT * FROM fuzz.t WHERE a = $1', 'SELECT * FROM fuzz.t WHERE false',
	'SELECT 1; SELECT 2', 'SELECT * FROM fuzz.t; DROP TABLE fuzz.rules', 'WITH d AS (DELETE FROM fuzz.rules RETURNING *) SELECT * FROM d',
	'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n AS ts, n::float8 AS a FROM r',
	'WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100) SELECT n::bigint AS ts, n::float8 AS a FROM r',
	'SELECT ts, a FROM fuzz.t) AS s, (SELECT 1', 'SELECT ts, a FROM fuzz.t) AS s; --', "SELECT ts, a FROM fuzz.t) AS s WHERE true; DROP TABLE fuzz.rules; SELECT ('",
	'(SELECT * FROM fuzz.t)', '((SELECT * FROM fuzz.t))', '(SELECT * FROM fuzz.t) UNION ALL (SELECT * FROM fuzz.v)', '(SELECT * FROM fuzz.t', 'SELECT * FROM fuzz.t)',
	'SELECT * FROM fuzz.t AS source', 'SELECT * FROM fuzz.types', 'SELECT * FROM fuzz.wide', 'SELECT w1.*, w2.c1 AS d1 FROM fuzz.wide w1 JOIN fuzz.wide w2 USING (ts)',
	'SELECT * FROM json_to_recordset(\'[]\') AS x(ts timestamptz, a float8)', "SELECT * FROM unnest(ARRAY[1::bigint, 2]) WITH ORDINALITY AS u(ts, a)",
	'SELECT * FROM ROWS FROM (generate_series(1, 90), generate_series(1, 90)) AS g(ts, a)', 'SELECT ctid, xmin, * FROM fuzz.t',
	'SELECT ts, dev, a, b, label, row_number() OVER () AS number FROM fuzz.t', 'SELECT ts AS c0, dev AS c1, a AS c2, b, label FROM fuzz.t',
	'SELECT max(ts) AS ts, dev, sum(a) AS a FROM fuzz.t GROUP BY dev, label', 'SELECT fuzz.commits(), * FROM fuzz.t', 'SELECT pg_sleep(0.01), * FROM fuzz.t',
	'SELECT * FROM amad_detect(\'sources\')', 'SELECT ts, amad_score(\'sources\', ts, a, b) OVER (ORDER BY ts) AS a, b FROM fuzz.t',
	'INSERT INTO fuzz.rules VALUES (now(), 1) RETURNING *', 'EXPLAIN SELECT * FROM fuzz.t', 'SHOW work_mem', 'COPY fuzz.t TO STDOUT', 'BEGIN', 'selec', 'DECLARE c CURSOR FOR SELECT 1',
	"SELECT ts, a::text AS a FROM fuzz.t", 'SELECT NULL AS ts, NULL AS a', "SELECT '' AS ts, '' AS a", 'SELECT now() AS ts, 1 AS a FROM fuzz.t',
	'SELECT ts, a FROM fuzz.t CROSS JOIN generate_series(1, 100000000) g', 'SELECT ts, a, b FROM fuzz.t WHERE a = (SELECT pg_catalog.count(*) FROM fuzz.t, fuzz.t u, fuzz.t v)');

# A query, possibly with text that makes it harder to embed
sub query
{
	my $query = pick(@queries);

	return pick(
		sub { "-- first\n$query" }, sub { "/* first */ $query" }, sub { "/* /* nested */ */\n$query" }, sub { "$query -- last" }, sub { "$query /* last */" },
		sub { "$query /* open" }, sub { "$query;" }, sub { " \t\n$query ; ; " }, sub { "($query)" }, sub { "$query)" }, sub { "($query" },
		sub { "$query '" }, sub { "$query \$\$" }, sub { "SELECT * FROM ($query) AS x" }, sub { "WITH w AS ($query) SELECT * FROM w" },
		sub { ('(' x 3000) . $query . (')' x 3000) }, sub { lc $query }, sub { "\xef\xbb\xbf$query" }, sub { "$query \x01" })->() if chance(30);
	return $query;
}

sub source
{
	return literal(odd_string()) if chance(4);
	return literal(chance(40) ? pick(@relations) : query());
}

sub columns
{
	return pick("'{a,b}'", "'{a}'", "'{a,b}'", "'{a,b}'", "'{}'", 'NULL', "'{a,a}'", "'{b,a}'", "'{ts,a}'", "'{NULL}'", "'{a,NULL}'", "'{{a},{b}}'", "'[0:1]={a,b}'", "'{\"\"}'",
		"'{dev}'", "'{label,a}'", "'{nowhere}'", "'{c1,c2}'", "'{select}'", "'{\"a\"\"b\"}'", "'{pair}'", "'{list}'", "'{nu,f4,i2,a}'", "'{number}'", "'{c0,c1}'",
		"'{ctid}'", "'{A}'", "'{t}'", "ARRAY[repeat('a', 100)]", "'{m}'", "'{o}'", "'{bits,a}'");
}

# Arguments after the name of the model
sub arguments
{
	my @arguments;

	push @arguments, 'timestamp_col => ' . pick("'ts'", "'ts'", "'ts'", "'ts'", 'NULL', "''", "'a'", "'dev'", "'d'", "'tsn'", "'tm'", "'t s'", "'TS'", "'ctid'", "'label'") if chance(80);
	push @arguments, 'feature_cols => ' . columns() if chance(80);
	push @arguments, 'series_cols => ' . pick("'{dev}'", "'{dev}'", "'{dev}'", "'{}'", 'NULL', columns(), "'{dev,label}'", "'{dev,dev}'", "'{pair}'", "'{list}'", "'{range}'", "'{j}'",
		"'{plain_json}'", "'{c,o,ip,iv,m,bits,nm}'", "'{pt}'", "'{x}'", "'{d,tsn,tm}'") if chance(40);
	if (chance(15))
	{
		push @arguments, 'metric_col => ' . pick("'dev'", "'dev'", "'b'", "'label'", "'ts'", "'pair'", "'list'", "'pt'", "'plain_json'", "'nowhere'", "''", 'NULL');
		push @arguments, 'value_col => ' . pick("'a'", "'a'", "'b'", "'label'", "'dev'", "'ts'", "'nu'", "''") if chance(90);
		push @arguments, 'bucket => ' . pick("'1 min'", "'7 min'", "'2 days'", "'1 month'", "'0'", "'-1'", "'10'", "'9223372036854775807'", "'infinity'", "'1e30 days'", "''") if chance(50);
		push @arguments, 'aggregate => ' . pick("'avg'", "'max'", "'min'", "'sum'", "'last'", "'median'", "''", "'AVG'") if chance(50);
	}
	push @arguments, 'label_col => ' . pick("'label'", "'b'", "'dev'", "'a'", "''", "'nowhere'") if chance(15);
	return join('', map { ", $_" } @arguments);
}

# Types that a column may have, for sources that change; each an expression over t
my %variants = (
	ts => [ 'ts', 'ts::timestamp', 'ts::date', 'extract(epoch FROM ts)::bigint', 'extract(epoch FROM ts)::int', 'ts::text', '1::int2', 'NULL::timestamptz' ],
	dev => [ 'dev', 'dev::name', 'length(dev)', 'length(dev)::bigint', 'a::numeric', "'1.1.1.1'::inet", "'\\x00'::bytea", 'dev::varchar(3)', 'ARRAY[dev]', 'label',
		'dev::"char"', '-1.2e-300::float8', '9007199254740993', "md5(dev)::uuid", 'NULL::text' ],
	a => [ 'a', 'a::numeric', 'a::float4', 'b::int2', 'b::int4', 'b::int8', '1.2e-300::float8', '-1::int8', 'b::numeric(10,2)', 'label', 'a::text',
		'4607182418800017408::int8', 'NULL::numeric' ],
	label => [ 'label', 'b', 'b::numeric', 'b::int', 'NULL::boolean', '2::int2', '1.2e-300::float8' ],
	b => [ 'b', 'b::numeric' ],
);

# Columns that a view or function selects, some of other types
sub selection
{
	my ($changes, @order) = @_;
	my %columns = map { $_ => $_ } qw(ts dev a b label);

	for (1 .. $changes)
	{
		my $name = pick(sort keys %variants);
		$columns{$name} = pick(@{ $variants{$name} });
	}
	my @names = grep { chance(97) || $_ eq 'a' } qw(ts dev a b label);
	@names = reverse @names if chance(10);
	return 'SELECT ' . join(', ', map { "$columns{$_} AS $_" } @names) . ' FROM fuzz.t';
}

# A source that is replaced before its rows are read
sub changing
{
	my ($fuzz, $call) = @_;
	my $form = pick('', '', '', '', '_bigint', '_timestamp');
	my ($before, $after) = (selection(pick(0, 1, 1, 2)), selection(pick(1, 1, 2)));
	my $statement = pick("DROP VIEW changing; CREATE TEMP VIEW changing AS $after", "DROP VIEW changing; CREATE TEMP VIEW changing AS $after",
		"CREATE OR REPLACE TEMP VIEW changing AS $after", "DROP VIEW changing; CREATE TEMP TABLE changing AS $after", 'DROP VIEW changing',
		"ALTER VIEW changing RENAME COLUMN a TO a2", 'ALTER VIEW changing RENAME TO changed', "DROP TABLE hidden CASCADE",
		"DROP FUNCTION pg_temp.rows() CASCADE; CREATE FUNCTION pg_temp.rows() RETURNS TABLE (ts timestamptz, dev text, a float8, b float8, label boolean) LANGUAGE sql AS "
		  . literal('SELECT * FROM fuzz.t LIMIT 60'),
		"PERFORM amad_drop('sources')", "UPDATE amad_models SET model = (SELECT model FROM amad_models LIMIT 1)",
		"PERFORM amad_recalibrate$form('sources')");
	my $source = pick('changing', 'changing', 'SELECT * FROM changing', 'pg_temp.changing', 'SELECT * FROM pg_temp.rows()', 'SELECT * FROM hidden');
	my $function = 'pg_temp.' . pick('evil', 'evil', 'evil_table');

	return if !$call->(create => "CREATE TEMP TABLE hidden ON COMMIT DROP AS SELECT * FROM fuzz.t");
	return if !$call->(create => "CREATE TEMP VIEW changing AS $before");
	return if !$call->(create => 'CREATE FUNCTION pg_temp.rows() RETURNS TABLE (ts timestamptz, dev text, a numeric, b float8, label boolean) LANGUAGE sql AS $r$ SELECT ts, dev, a::numeric, b, label FROM fuzz.t $r$');
	# a table function, and a function of a row that is not constant
	return if !$call->(create => "CREATE FUNCTION pg_temp.evil() RETURNS TABLE (b timestamptz, e timestamptz) LANGUAGE plpgsql AS \$evil\$ BEGIN $statement; RETURN; END \$evil\$;\n"
		  . "CREATE FUNCTION pg_temp.evil_table() RETURNS TABLE (b bigint, e bigint) LANGUAGE plpgsql AS \$evil\$ BEGIN $statement; RETURN; END \$evil\$");
	my $arguments = chance(20) ? arguments() : ", timestamp_col => 'ts', feature_cols => " . pick("'{a}'", "'{a}'", "'{a,b}'")
	  . pick('', '', ", series_cols => '{dev}'", ", series_cols => '{dev}'", ", label_col => 'label'", ", series_cols => '{dev}', label_col => 'label'");
	return if !$call->(train => "SELECT amad_train(model_name => 'sources', source => " . literal($source) . $arguments . q(, options => '{"method": "zscore", "horizons": [1]}') . ') IS NOT NULL');
	$fuzz->count('accepted');
	my $maintenance = "SELECT b, e FROM $function()";
	my $in_query = "SELECT s.* FROM $source s, (SELECT count(*) AS n FROM $function()) AS x" if $source !~ /^SELECT/;
	my $bad = Fuzz::bad_severities('peak_severity');
	$call->(events => "SELECT count(*), $bad FROM amad_events$form('sources', maintenance => " . literal($maintenance)
		  . pick('', '', ", source => '$source'") . ')');
	$call->(detect => "SELECT count(*), min(length(x::text)) FROM amad_detect$form('sources', source => " . literal($in_query) . ") x") if $in_query && chance(40);
	$call->(retrain => "SELECT length(amad_retrain('sources'" . pick('', ", deploy => 'if_better'") . ')::text)') if chance(30);
	return;
}

sub case
{
	my ($class, $fuzz, $n) = @_;
	my $options = literal(pick('{"method": "zscore", "horizons": [1]}', '{"method": "zscore", "horizons": [1]}', '{"method": "pca", "horizons": [1, 2]}',
			'{"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 2, "horizons": [2, 4]}'));
	my $call = sub {
		my ($what, $sql) = @_;
		my $result = $fuzz->call($what => "SAVEPOINT s;\n$sql");
		my $ok = $result->{state} eq '00000';
		$fuzz->call(savepoint => 'ROLLBACK TO s') if !$ok;
		$fuzz->count('done') if $ok;
		return $ok;
	};

	$fuzz->call(begin => 'BEGIN');
	$fuzz->call(begin => 'SET LOCAL ROLE fuzz_role') if chance(30);
	$fuzz->call(begin => pick("SET LOCAL search_path = fuzz, public", "SET LOCAL search_path = pg_temp, public", "SET LOCAL TimeZone = 'Asia/Kathmandu'",
			"SET LOCAL DateStyle = 'German'", "SET LOCAL amad.max_parallel_workers = 2", "SET LOCAL work_mem = '64kB'")) if chance(20);
	if (chance(40))
	{
		changing($fuzz, $call);
		$fuzz->call(rollback => 'ROLLBACK');
		return;
	}
	my $source = source();
	if ($call->(train => "SELECT amad_train(model_name => 'sources', source => $source" . arguments() . ", options => $options) IS NOT NULL"))
	{
		$fuzz->count('accepted');
	}
	elsif (!$call->(train => "SELECT amad_train(model_name => 'sources', source => " . pick("'fuzz.t'", "'fuzz.n'")
			. ", timestamp_col => 'ts', feature_cols => '{a,b}', series_cols => '{dev}', options => $options) IS NOT NULL"))
	{
		$fuzz->call(rollback => 'ROLLBACK');
		return;
	}
	my $form = pick('', '', '', '_bigint', '_timestamp');
	my $range = pick('', '', '', ', since => NULL', ', last_n => ' . pick(1, 5, 0, -1, 9223372036854775807), $form eq '_bigint' ? ', since => 10, until => 50'
		: pick(", since => '2026-01-01 00:10', until => '2026-01-01 00:50'", ", since => 'infinity'", ", until => '-infinity'", ", since => '-infinity', until => 'infinity'",
			", since => '294276-12-31'", ", until => '4713-01-01 BC'"));
	my $other = chance(50) ? '' : ', source => ' . source() . pick('', ", timestamp_col => 'ts'", ", timestamp_col => 'a'");
	my $series = chance(70) ? '' : ', series => ' . literal(pick('{"dev": "x"}', '{"dev": 1}', '{"dev": ["x", "y", null]}', '[{"dev": "x"}, {"dev": ["y", 2]}]', '[]', '{"pair": ["(1,2)", "x"]}', '{"dev": null}', '{}', '{"dev": [1]}', '{"nowhere": 1}', '{"dev": "x", "a": 1}', odd_json()));
	my $bad = Fuzz::bad_severities('s');
	my %calls = (
		detect => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, severity AS s FROM amad_detect$form('sources'$range$series$other) x) x",
		'detect query' => "SELECT length(amad_detect_query$form('sources'$range$series$other))",
		events => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, peak_severity AS s FROM amad_events$form('sources'"
		  . ($range =~ /last_n/ ? '' : $range) . "$series$other"
		  . pick('', ', maintenance => ' . source(), ", maintenance => 'fuzz.pauses'", ", maintenance => 'SELECT ts, ts + interval ''1 minute'' AS until, dev FROM fuzz.t'",
			", maintenance => 'SELECT ts AS e, ts - interval ''1 day'' FROM fuzz.t'")
		  . pick('', '', ', silence => ' . ($form eq '_bigint' ? pick(1, 60, 0, -5, 9223372036854775807)
			  : pick("'1 second'", "'10 min'", "'0'", "'-1 day'", "'178000000 years'")) . pick('', ', learning => true')) . ') x) x',
		drift => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, severity AS s FROM amad_drift$form('sources'$range$other) x) x",
		recalibrate => "SELECT length(amad_recalibrate$form('sources'$range$other)::text)",
		retrain => "SELECT length(amad_retrain$form('sources'$range" . pick('', ", deploy => 'if_better'", ', deploy => false') . pick('', ', keep => 1') . ')::text)',
		compare => "SELECT count(*), min(length(x::text)) FROM amad_compare$form('sources', NULL"
		  . ($range =~ /last_n/ ? '' : $range) . "$series$other) x",
		estimate => "SELECT length(e::text), e.seconds >= 0 FROM amad_estimate(source => $source" . arguments() . ", options => $options) e",
		progress => 'SELECT count(*), max(length(p::text)) FROM amad_progress p',
	);
	for my $what (sort keys %calls)
	{
		$call->($what => $calls{$what}) if chance(60);
	}
	$fuzz->call(rollback => 'ROLLBACK');
	return;
}

1;
