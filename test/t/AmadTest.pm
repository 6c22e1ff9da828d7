# What the tests share: servers, rows to train on, statements.
package AmadTest;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(TINY WARMUP new_node configure create_rows train scores checksum options memory
  peak_reset);

# A network that trains in milliseconds on 500 rows, and its warm-up
use constant TINY => '{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 20, '
  . '"horizons": [2, 4], "batch_size": 2}';
use constant WARMUP => 7 + 14 + 4 - 1;

sub configure
{
	my ($node) = @_;

	# compiled expressions allocate memory and time of their own
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

# A server with the extension in database postgres; its init takes the parameters.
sub new_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%params);
	configure($node);
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

# Query for a text that tells the scores of readings, to the bit
sub checksum
{
	my ($model) = @_;

	return "SELECT md5(string_agg(coalesce(encode(float8send(score), 'hex'), '-'), ' ' ORDER BY ts)) || ' ' "
	  . "|| count(score) FROM (" . scores($model) . ") s";
}

# Kilobytes of a field of /proc/PID/status, undef where there is none
sub memory
{
	my ($pid, $field) = @_;
	my $file = "/proc/$pid/status";

	return undef unless -r $file;
	return slurp_file($file) =~ /^$field:\s+(\d+) kB/m ? $1 : undef;
}

# Makes VmHWM the memory in use now; false if that cannot be done
sub peak_reset
{
	my ($pid) = @_;

	open(my $f, '>', "/proc/$pid/clear_refs") or return 0;
	return (print $f '5') && close($f);
}

1;
