# The line that amad_schedule returns for a crontab: read as cron does, and run by a shell, it refreshes the watch, whatever
# the names of model and database are.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('crontab');
my $options = TINY;
local $ENV{PGHOST} = $node->host;

# What cron passes to the shell: "%" without a backslash ends the command
sub read_as_cron
{
	my ($text) = @_;
	my $command = '';

	while ($text =~ /\G(\\?)(.)/gs)
	{
		if ($1 && $2 ne '%')
		{
			$command .= "\\$2";
			next;
		}
		last if !$1 && $2 eq '%';
		$command .= $2;
	}
	return $command;
}

is(read_as_cron('a \\% b \\\\% c'), 'a % b \\\\', 'how cron reads percent signs');

foreach my $name ('fleet', q(it's 5% of \\% \\\\%), q(%), q(' "$HOME" `id` \\), "two\nlines", "dbname=x user=y")
{
	my $db = $name =~ /\n/ ? 'plain' : $name;
	my $label = $name =~ s/\n/\\n/r;
	my $literal = $node->safe_psql('postgres', "SELECT quote_literal(\$\$$name\$\$)");

	$node->safe_psql('postgres', 'CREATE DATABASE "' . $db =~ s/"/""/gr . '"');
	local $ENV{PGDATABASE} = $db;
	my $psql = sub {
		my ($query) = @_;
		my ($stdout, $stderr);

		IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-p', $node->port, '-f', '-' ], '<', \$query, '>', \$stdout, '2>', \$stderr);
		is($stderr, '', "no error for $label");
		chomp $stdout;
		return $stdout;
	};
	$psql->("CREATE EXTENSION amad; CREATE TABLE timed AS SELECT timestamptz '2024-05-01' + i * interval '1 minute' AS ts, sin(i * 0.2) AS a "
		  . "FROM generate_series(1, 100) i; DO \$do\$ BEGIN PERFORM amad_train($literal, 'timed', options => '$options'); "
		  . "PERFORM amad_watch($literal, target => 'scores'); END \$do\$");
	my $line = $psql->("SELECT amad_schedule($literal, '5 min')->>'crontab'");
	unlike($line, qr/\n/, "the line for $label is one");
	my ($command) = $line =~ m{^\*/5 \* \* \* \* (.*)$};

	delete local $ENV{PGDATABASE};
	is(system('sh', '-c', read_as_cron($command)), 0, "and runs");
	local $ENV{PGDATABASE} = $db;
	is($psql->("SELECT count(*), (SELECT string_agg(state, ',') FROM amad_runs) FROM scores"), '100|done', 'and refreshes the watch');
}

$node->stop;
done_testing();
