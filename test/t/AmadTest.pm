# Shared by the tests: servers, rows to train on, statements.
package AmadTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(TINY WARMUP new_node configure create_rows train scores checksum options memory
  peak_reset extension_version create_plain source_digests);

# A network that trains in milliseconds on 500 rows, and its warm-up
use constant TINY => '{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 20, '
  . '"horizons": [2, 4], "advanced": {"batch_size": 2}}';
use constant WARMUP => 7 + 14 + 1 + 4 - 1;

sub configure
{
	my ($node) = @_;

	# compilation of expressions takes memory and time
	$node->append_conf(
		'postgresql.conf', qq(
jit = off
timezone = 'UTC'
shared_buffers = 16MB
autovacuum = off
restart_after_crash = on
));
	return;
}

# A server with the extension in database postgres; conf has additional settings, the other parameters
# are passed to init.
sub new_node
{
	my ($name, %params) = @_;
	my $conf = delete $params{conf};
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%params);
	configure($node);
	$node->append_conf('postgresql.conf', $conf) if defined $conf;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION amad');
	return $node;
}

# Table readings (ts bigint, a, b, c): waves and noise, the same everywhere
sub create_rows
{
	my ($node, $rows, $db) = @_;

	$node->safe_psql(
		$db // 'postgres', qq(
CREATE TABLE readings AS
  SELECT i::bigint AS ts, sin(i * 0.2) AS a, cos(i * 0.11) + (i * 7919 % 101) / 500.0 AS b,
         (i * 104729 % 1009) / 1009.0 AS c
  FROM generate_series(1, $rows) i;
GRANT SELECT ON readings TO PUBLIC;));
	return;
}

# TINY with more options
sub options
{
	my ($more) = @_;

	return defined $more ? "('" . TINY . "'::jsonb || '{$more}')" : "'" . TINY . "'::jsonb";
}

# Statement that trains a model on readings and returns its version
sub train
{
	my ($name, $more) = @_;

	return "SELECT amad_train('$name', " . options($more) . ", ts, a, b, c)->>'version' FROM readings";
}

# Query for (ts, score) of readings; the model is an expression
sub scores
{
	my ($model) = @_;

	return "SELECT ts, amad_score($model, ts, a, b, c) OVER (ORDER BY ts) AS score FROM readings";
}

# Query for a digest of the scores of readings, to the bit
sub checksum
{
	my ($model) = @_;

	return "SELECT md5(string_agg(coalesce(encode(float8send(score), 'hex'), '-'), ' ' ORDER BY ts)) || ' ' "
	  . "|| count(score) FROM (" . scores($model) . ") s";
}

# Default version of an extension that is available on the server, otherwise undef
sub extension_version
{
	my ($name) = @_;
	my $file = qx(pg_config --sharedir) =~ s/\n//r . "/extension/$name.control";

	return undef unless -r $file;
	return slurp_file($file) =~ /^default_version\s*=\s*'(.*)'/m ? $1 : '';
}

# Table plain (ts, device, a, b, c, severity): two devices for 10 hours, one row per minute, and the model
# plain of both. Other tables and views with the same rows must give the same results.
sub create_plain
{
	my ($node) = @_;

	$node->safe_psql(
		'postgres', q(
CREATE TABLE plain (ts timestamptz NOT NULL, device text NOT NULL, a float8, b float8, c float8, severity float8);
INSERT INTO plain
  SELECT '2024-05-01 00:00+00'::timestamptz + i * interval '1 minute', d, sin(i * 0.2 + length(d)),
         cos(i * 0.11) + (i * 7919 % 101) / 500.0, (i * 104729 % 1009) / 1009.0
  FROM generate_series(0, 599) i, unnest(ARRAY['one', 'three']) d
  ORDER BY i * 7919 % 601, d;) . "SELECT amad_train('plain', " . options() . ", ts, a, b, c) FROM plain WHERE device = 'one'");
	return;
}

# Results of training on and scoring a relation with the columns of plain, to the bit: a hash of names
# and digests. setup has statements to run before, in the same session.
sub source_digests
{
	my ($node, $relation, $setup) = @_;
	my $source = $relation =~ /^\w+$/ ? $relation : "SELECT * FROM $relation";
	my $some = "ts >= '2024-05-01 01:15+00' AND ts < '2024-05-01 08:07+00'";
	my $score = 'amad_score(%s, ts, a, b, c) OVER (PARTITION BY device ORDER BY ts) AS score';
	my $digest = "SELECT md5(string_agg(device || ts || coalesce(encode(float8send(score), 'hex'), '-'), ' ' ORDER BY device, ts)) "
	  . "|| ' ' || count(score) FROM (SELECT device, ts, %s FROM $relation WHERE %s) s";
	my $detect = "SELECT md5(string_agg(concat(series, ts, encode(float8send(severity), 'hex'), expected_values, contributions, status), ' ' "
	  . "ORDER BY series, ts)) || ' ' || count(severity) FROM amad_detect('fleet'%s)";
	my @queries = (
		'amad_fit' => "SELECT md5(string_agg(m::text, ' ' ORDER BY device)) FROM (SELECT device, amad_fit("
		  . options() . ", ts, a, b, c) AS m FROM $relation GROUP BY device) s",
		'amad_train' => 'BEGIN; DO $$ BEGIN PERFORM amad_train(\'other\', ' . options()
		  . ", ts, a, b, c) FROM $relation WHERE device = 'three' AND $some; END \$\$; "
		  . "SELECT md5(model::text) FROM amad_models WHERE model_name = 'other'; ROLLBACK",
		'amad_score by name' => sprintf($digest, sprintf($score, q('plain')), 'true'),
		'amad_score by value' =>
		  sprintf($digest, sprintf($score, q((SELECT model FROM amad_models WHERE model_name = 'plain'))), 'true'),
		'amad_score of a range' => sprintf($digest, sprintf($score, q('plain')), $some),
		'amad_train by source' => "BEGIN; DO \$\$ BEGIN PERFORM amad_train('fleet', \$q\$$source\$q\$, 'ts', '{a,b,c}', '{device}', options => "
		  . options() . "); END \$\$; SELECT md5(model::text) FROM amad_models WHERE model_name = 'fleet'",
		'amad_detect' => sprintf($detect, ''),
		'amad_detect of a range' => sprintf($detect, ", since => '2024-05-01 01:15+00', until => '2024-05-01 08:07+00'") . '; ROLLBACK');
	my @names = @queries[ grep { $_ % 2 == 0 } 0 .. $#queries ];
	my %queries = @queries;
	my @out = split /\n/,
	  $node->safe_psql('postgres', join('; ', $setup // (), map { $queries{$_} } @names));
	my %digests;

	@digests{@names} = @out;
	return \%digests;
}

# Kilobytes of a field of /proc/PID/status, undef if it does not exist
sub memory
{
	my ($pid, $field) = @_;
	my $file = "/proc/$pid/status";

	return undef unless -r $file;
	return slurp_file($file) =~ /^$field:\s+(\d+) kB/m ? $1 : undef;
}

# Resets VmHWM to the memory in use; returns false if that is not possible
sub peak_reset
{
	my ($pid) = @_;

	open(my $f, '>', "/proc/$pid/clear_refs") or return 0;
	return (print $f '5') && close($f);
}

1;
