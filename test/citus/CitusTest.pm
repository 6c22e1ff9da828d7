# A Citus cluster of three servers, and a plain server with the same rows to compare it with.
#
#   my $citus = CitusTest->new(conf => 'extra settings', workers => 2, apart => 0);
#
# starts a coordinator, which holds no shards, two workers, and a plain server; a table has 8 shards. The last workers
# can stay apart, for add_node($server). All others have amad, in database postgres. Sockets only; no port is opened.
#
#   $citus->coordinator, $citus->worker(0), $citus->plain     servers (PostgreSQL::Test::Cluster)
#   $citus->sql($statements)                  on the coordinator, its output; dies if that fails
#   $citus->both($statements)                 on the coordinator and on the plain server
#   $citus->nodes($statement)                 output on coordinator and workers, in an array
#   $citus->error($statements, node => $s, role => 'alice')   the error message; '' if there is none
#   $citus->create_rows($table, rows => 400, devices => 8)    (device int, ts timestamptz, a, b, c), by device
#   $citus->same_rows($query, $name)          test: both servers give the same rows, to the bit, in any order
#   $citus->digest($node, $query)             md5 of the rows of a query, sorted, and their number
#   $citus->plan($query)                      EXPLAIN (VERBOSE) of the coordinator
#   $citus->pushed_down($query, $function)    whether the plan calls the function, and only within tasks
#   $citus->rows_moved($query)                rows that tasks return to the coordinator
#
# Queries in these are text without a final semicolon. A new test is a file of this folder, which
# make test-citus TESTS=name PG_CONFIG=/path/to/pg_config runs alone.
package CitusTest;

use strict;
use warnings;

use Digest::MD5 'md5_hex';
use FindBin;
use lib "$FindBin::RealBin/../t";

use AmadTest ();
use PostgreSQL::Test::Cluster;
use Test::More import => [qw(is unlike)];

sub new
{
	my ($class, %params) = @_;
	my $workers = $params{workers} // 2;
	my $self = bless {workers => []}, $class;

	for my $name ('coordinator', map({ "worker$_" } 1 .. $workers), 'plain')
	{
		my $node = PostgreSQL::Test::Cluster->new($name);
		$node->init;
		AmadTest::configure($node);
		$node->append_conf('postgresql.conf', qq(
max_connections = 100
max_worker_processes = 16
));
		$node->append_conf('postgresql.conf', q(
shared_preload_libraries = 'citus'
citus.local_hostname = ') . $node->host . q('
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
max_prepared_transactions = 50
citus.shard_count = 8
citus.node_conninfo = 'sslmode=disable'
) . sprintf("citus.local_hostname = '%s'\n", $node->host)) if $name ne 'plain';
		$node->append_conf('postgresql.conf', $params{conf}) if defined $params{conf};
		$node->start;
		$self->{$name} = $node;
		push @{$self->{workers}}, $node if $name =~ /^worker/;
		$node->safe_psql('postgres', 'CREATE EXTENSION citus') if $name ne 'plain';
	}
	$self->sql(sprintf q(SELECT citus_set_coordinator_host('%s', %d)), $self->coordinator->host, $self->coordinator->port);
	$self->add_node($self->worker($_)) for 0 .. $workers - ($params{apart} // 0) - 1;
	$self->both('CREATE EXTENSION amad');
	return $self;
}

# Adds a server as a worker
sub add_node
{
	my ($self, $node) = @_;

	$self->sql(sprintf q(SELECT citus_add_node('%s', %d)), $node->host, $node->port);
	return;
}

sub coordinator { return $_[0]->{coordinator} }
sub worker { return $_[0]->{workers}[ $_[1] // 0 ] }
sub plain { return $_[0]->{plain} }

# ---- statements -------------------------------------------------------------------------------

sub sql
{
	my ($self, $statements) = @_;

	return $self->coordinator->safe_psql('postgres', $statements);
}

sub both
{
	my ($self, $statements) = @_;

	$_->safe_psql('postgres', $statements) for $self->coordinator, $self->plain;
	return;
}

sub nodes
{
	my ($self, $statement) = @_;

	return map { $_->safe_psql('postgres', $statement) } $self->coordinator, @{$self->{workers}};
}

sub error
{
	my ($self, $statements, %params) = @_;
	my $role = $params{role} ? "SET ROLE $params{role};" : '';
	my (undef, undef, $error) = ($params{node} // $self->coordinator)->psql('postgres', "$role$statements", on_error_stop => 1);

	# notices are not errors
	return $error =~ /ERROR:/ ? $error : '';
}

# ---- rows -------------------------------------------------------------------------------------

sub create_rows
{
	my ($self, $table, %params) = @_;
	my ($rows, $devices) = ($params{rows} // 400, $params{devices} // 8);

	$self->both(qq(
CREATE TABLE $table (device int NOT NULL, ts timestamptz NOT NULL, a float8, b float8, c float8);
INSERT INTO $table
  SELECT d, '2024-05-01 00:00+00'::timestamptz + i * interval '5 minutes', sin(i * 0.2 + d),
         cos(i * 0.11) * d + (i * 7919 % 101) / 500.0, (i * 104729 % 1009) / 1009.0 + d
  FROM generate_series(1, $rows) i, generate_series(1, $devices) d;
GRANT SELECT ON $table TO PUBLIC;));
	$self->sql("SELECT create_distributed_table('$table', 'device'); "
		  . "SELECT truncate_local_data_after_distributing_table('$table')");
	return;
}

# The rows are compared as text, which represents a double precision value exactly.
sub digest
{
	my ($self, $node, $query) = @_;
	my @rows = sort split /\n/, $node->safe_psql('postgres', $query);

	return md5_hex(join "\n", @rows) . ' ' . scalar @rows;
}

sub same_rows
{
	my ($self, $query, $name) = @_;
	my $citus = $self->digest($self->coordinator, $query);

	unlike($citus, qr/ 0$/, "$name: rows");
	is($citus, $self->digest($self->plain, $query), "$name: as on one server");
	return;
}

# ---- plans ------------------------------------------------------------------------------------

sub plan
{
	my ($self, $query) = @_;

	return $self->sql("EXPLAIN (VERBOSE, COSTS OFF) $query");
}

sub pushed_down
{
	my ($self, $query, $function) = @_;
	my ($task, $inside, $outside) = (undef, 0, 0);

	for my $line (split /\n/, $self->plan($query))
	{
		my ($indent) = $line =~ /^(\s*)/;

		# a task ends where a line is less indented than its first
		$task = undef if defined $task && length $indent < $task;
		$task //= length $indent if $line =~ /->  Task$/;
		next unless $line =~ /\b$function\(/ && $line !~ /^\s*Query: /;
		defined $task ? $inside++ : $outside++;
	}
	return $inside > 0 && $outside == 0;
}

sub rows_moved
{
	my ($self, $query) = @_;
	my $plan = $self->sql("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $query");
	my $rows = 0;

	# of each part of the query that was sent to the workers
	$rows += $1 while $plan =~ /Custom Scan \(Citus [A-Za-z.\/ ]+\) \(actual rows=(\d+)/g;
	return $rows;
}

1;
