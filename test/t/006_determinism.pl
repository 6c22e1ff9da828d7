# Same seed, same model; same row, same score: to the bit.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 700;
my $node = new_node('determinism');
create_rows($node, $rows);
$node->safe_psql('postgres', "CREATE TABLE shuffled AS SELECT * FROM readings ORDER BY ts * 7919 % 1009; ANALYZE");

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

# ---- same seed, same model --------------------------------------------------------------------

sub fit
{
	my ($more, $from) = @_;

	return 'SELECT md5(amad_fit(' . options($more) . ', ts, a, b, c)::text) FROM ' . ($from // 'readings');
}

my $one = sql(fit('"seed": 1'));
is(sql(fit('"seed": 1')), $one, 'another session gives the same model');
is(sql(fit('"seed": 1') . ';' . fit('"seed": 2') . ';' . fit('"seed": 1')) =~ s/\n.*\n/\n/r, "$one\n$one", 'so does the same session, after another training');
isnt(sql(fit('"seed": 2')), $one, 'another seed gives another model');
isnt(sql(fit('"seed": 1', '(SELECT ts, a + (ts = 100)::int * 0.01 AS a, b, c FROM readings) r')), $one, 'another row gives another model');
is(sql(fit('"seed": 1', 'shuffled')), $one, 'rows in any order');
is(sql(fit('"seed": 1', '(SELECT * FROM readings ORDER BY ts DESC) r')), $one, 'in reverse');
is(sql('SELECT md5(amad_fit(' . options('"seed": 1') . ', ts, a, b, c ORDER BY b)::text) FROM shuffled'), $one, 'by ORDER BY in the aggregate');
is( sql('SELECT string_agg(DISTINCT md5(model::text), \' \') FROM (SELECT amad_fit(' . options('"seed": 1')
		  . ', ts, a, b, c) AS model FROM readings, generate_series(1, 5) g GROUP BY g) s'),
	$one, 'in every group');
is( sql('SELECT md5(amad_fit(' . options('"seed": 1') . ", ts, VARIADIC ARRAY[a, b, c])::text) FROM readings"),
	$one, 'features as an array');
sql(train('m', '"seed": 1'));
is(sql('SELECT md5(model::text) FROM amad_models'), $one, 'amad_train stores what amad_fit returns');

my $force = $node->pg_version < 16 ? 'force_parallel_mode' : 'debug_parallel_query';
my $parallel = "SET $force = on; SET max_parallel_workers_per_gather = 4; SET parallel_setup_cost = 0; "
  . 'SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;';
like(sql("$parallel EXPLAIN " . fit('"seed": 1')), qr/Gather/, 'a plan with workers');
is(sql($parallel . fit('"seed": 1')), $one, 'gives the same model');
is(sql("$parallel SET $force = off; " . fit('"seed": 1', 'shuffled')), $one, 'as does one that gathers rows');
my $scores = sql(checksum("'m'"));
is(sql($parallel . checksum("'m'")), $scores, 'scores by name are the same in a worker');
is(sql($parallel . checksum('(SELECT model FROM amad_models)')), $scores, 'scores by value, too');

$node->restart;
is(sql(fit('"seed": 1')), $one, 'another start of the server gives the same model');
is(sql(checksum("'m'")), $scores, 'and the same scores');

is( sql('BEGIN; CREATE TEMP TABLE copy (model amad_model) ON COMMIT DROP; COPY amad_models (model) TO \''
		  . $node->basedir . '/model\' (FORMAT binary); COPY copy FROM \'' . $node->basedir
		  . '/model\' (FORMAT binary); SELECT md5(model::text) FROM copy; COMMIT'),
	$one, 'binary input and output keep the bytes');
is(sql('SELECT md5(model::text::amad_model::text) FROM amad_models'), $one, 'as do text input and output');

# ---- same row, same score ---------------------------------------------------------------------

# Scores of rows lo to hi of data alone that differ from those of all rows. Rows within the warm-up have
# no score; where values are missing, scores may begin up to fill_limit rows later, but none may differ.
sql(q(
CREATE TABLE data AS SELECT *, 'whole' AS kind FROM readings
  UNION ALL
  SELECT ts, CASE WHEN ts % 13 > 3 THEN a END, CASE WHEN ts % 7 <> 1 THEN b ELSE 'NaN' END,
    CASE WHEN ts NOT BETWEEN 100 AND 160 THEN c END, 'holes' FROM readings;
CREATE TABLE models (id int PRIMARY KEY, warmup int, fill_limit int, model amad_model);
CREATE TABLE expected (id int, kind text, ts bigint, score float8, PRIMARY KEY (id, kind, ts));

CREATE FUNCTION differing(model_id int, k text, lo int, hi int) RETURNS text LANGUAGE sql AS $$
  WITH s AS MATERIALIZED (
    SELECT ts, amad_score((SELECT model FROM models WHERE id = model_id), ts, a, b, c)
               OVER (ORDER BY ts) AS score
    FROM data WHERE kind = k AND ts BETWEEN lo AND hi)
  SELECT string_agg(concat_ws(' ', model_id, k, lo, hi, 'row', ts, s.score, 'for', e.score), E'\n')
  FROM s JOIN expected e USING (ts) JOIN models m USING (id)
  WHERE e.id = model_id AND e.kind = k
    AND CASE WHEN s.score IS NOT NULL THEN float8send(s.score) IS DISTINCT FROM float8send(e.score)
                  OR ts < lo + m.warmup
             ELSE e.score IS NOT NULL AND ts >= lo + m.warmup + CASE k WHEN 'holes' THEN fill_limit ELSE 0 END END
$$;

-- the same for series in one query, which begin at the rows given
CREATE FUNCTION differing_parts(model_id int, k text, starts int[]) RETURNS text LANGUAGE sql AS $$
  WITH s AS MATERIALIZED (
    SELECT ts, start, amad_score((SELECT model FROM models WHERE id = model_id), ts, a, b, c)
                      OVER (PARTITION BY start ORDER BY ts) AS score
    FROM data, LATERAL (SELECT max(u) AS start FROM unnest(starts) u WHERE u <= ts) p
    WHERE kind = k)
  SELECT string_agg(concat_ws(' ', model_id, k, starts, 'row', ts, s.score, 'for', e.score), E'\n')
  FROM s JOIN expected e USING (ts) JOIN models m USING (id)
  WHERE e.id = model_id AND e.kind = k
    AND CASE WHEN s.score IS NOT NULL THEN float8send(s.score) IS DISTINCT FROM float8send(e.score)
                  OR ts < start + m.warmup
             ELSE e.score IS NOT NULL AND ts >= start + m.warmup + CASE k WHEN 'holes' THEN fill_limit ELSE 0 END END
$$;));

my @networks = (
	'"seed": 1',
	'"window": 1, "d_model": 4, "heads": 1, "horizons": [1]',
	'"window": 5, "d_model": 12, "heads": 3, "layers": 2, "horizons": [1, 3, 11]',
	'"window": 33, "d_model": 40, "heads": 5, "layers": 2, "steps": 3, "horizons": [7]',
	'"d_model": 64, "heads": 4, "window": 64, "steps": 2, "layers": 2');
for my $id (0 .. $#networks)
{
	sql("INSERT INTO models SELECT $id, (amad_describe(m)->>'warmup')::int, (amad_describe(m)->'options'->>'fill_limit')::int, m FROM "
		  . '(SELECT amad_fit(' . options($networks[$id]) . ", ts, a, b, c) AS m FROM readings) s");
	sql("INSERT INTO expected SELECT $id, kind, ts, amad_score((SELECT model FROM models WHERE id = $id), ts, a, b, c) "
		  . 'OVER (PARTITION BY kind ORDER BY ts) FROM data');
}
sql('ANALYZE');
is(sql("SELECT bool_and(n = $rows - warmup) FROM (SELECT count(score) AS n, warmup FROM expected JOIN models USING (id) "
		  . "WHERE kind = 'whole' GROUP BY id, warmup) s"), 't', 'every row after the warm-up has a score');
is(sql("SELECT count(*) FROM expected e JOIN models USING (id) JOIN data d USING (kind, ts) WHERE kind = 'holes' AND ts > warmup + fill_limit "
		  . "AND (score IS NULL) <> (a IS NULL AND b = 'NaN' AND c IS NULL)"), 0, 'rows with missing values have one, unless all values are missing');
is(sql("SELECT count(*) > 0 FROM data WHERE a IS NULL AND b = 'NaN' AND c IS NULL"), 't', 'there are rows without any value');

# A separate generator: Perl's differs between versions.
my $random = 20240501;

sub below
{
	my ($n) = @_;

	$random = ($random * 1103515245 + 12345) % 2147483648;
	return int($random / 65536) % $n;
}

for my $id (0 .. $#networks)
{
	my $warmup = sql("SELECT warmup FROM models WHERE id = $id");
	my %calls;

	for my $kind (qw(whole holes))
	{
		for (1 .. 12)
		{
			my ($lo, $row) = (1 + below($rows - $warmup - 1), 1 + $warmup + below($rows - $warmup));
			my $hi = $lo + $warmup + below($rows - $lo - $warmup);

			push @{ $calls{prefixes} }, "differing($id, '$kind', 1, $row)";
			push @{ $calls{suffixes} }, "differing($id, '$kind', $lo, $rows)";
			push @{ $calls{'pieces'} }, "differing($id, '$kind', $lo, $hi)";
			push @{ $calls{'single rows'} }, "differing($id, '$kind', $row - $warmup, $row)";
			push @{ $calls{'partitions'} },
			  "differing_parts($id, '$kind', ARRAY[1, " . join(', ', map { 1 + below($rows) } 0 .. below(6)) . '])';
		}
	}
	for my $what (sort keys %calls)
	{
		is(sql('SELECT d FROM (VALUES ' . join(', ', map { "($_)" } @{ $calls{$what} }) . ') v (d) WHERE d IS NOT NULL'),
			'', "network $id: $what score the same");
	}
}

# and the test can see a difference
is( sql("SELECT differing(0, 'whole', 1, $rows) IS NULL; UPDATE expected SET score = score + 1e-12 WHERE id = 0 AND ts = 600; "
		  . "SELECT differing(0, 'whole', 1, $rows) ~ '^0 whole 1 $rows row 600 [^\\n]*\$'"),
	"t\nt", 'one score that differs is found');

# ---- same name, same model, also if it was inserted into the table by hand ----------------------

{
	my $used = "SELECT amad_describe('m')->'options'->'seed'; " . checksum("'m'") . '; ' . checksum('(SELECT model FROM amad_models)') . ';';
	my @out = split /\n/, sql("BEGIN; TRUNCATE amad_models RESTART IDENTITY; " . train('m', '"seed": 1') . '; ' . checksum("'m'")
		  . '; TRUNCATE amad_models RESTART IDENTITY; ' . train('m', '"seed": 2') . "; $used ROLLBACK");
	is($out[-2], $out[-1], 'after a truncation and a training in one transaction, scores are those of the new model');
}

$node->stop;
done_testing();
