# amad_metrics: promtool and Prometheus read it, in the ways that docs/operations.md shows.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadTest;
use IO::Socket::INET;
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

# tools/test.sh copies it
my $page = "$FindBin::RealBin/../docs/operations.md";
plan skip_all => 'no documentation beside the tests' unless -e $page;
my $text = slurp_file($page);
my ($cron) = $text =~ /^```cron\n(.*?)^```/ms;
my ($program) = $text =~ /^```sh\n(#!\/bin\/sh\n.*?)^```/ms;
my ($rules) = $text =~ /^```yaml\n(groups:.*?)^```/ms;

sub installed { return system("$_[0] --version >/dev/null 2>&1") == 0 }

my $node = new_node('metrics');
my $dir = PostgreSQL::Test::Utils::tempdir();
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;

$node->safe_psql('postgres', 'CREATE DATABASE plant');
$node->safe_psql('plant', q(CREATE EXTENSION amad;
CREATE TABLE readings AS SELECT d AS device, date_trunc('minute', now()) - i * interval '1 minute' AS ts, sin(i * 0.2 + d) AS a, cos(i * 0.11) AS b
  FROM generate_series(1, 500) i, generate_series(1, 3) d;
SELECT amad_train(n, 'readings', series_cols => '{device}', options => '{"method": "zscore", "horizons": [1]}')
  FROM unnest(ARRAY['m', E'a "quoted" \\\\ name\nin two lines é']) n;
SELECT amad_watch(model_name, target => 'scores' || length(model_name), cooldown => '0') FROM amad_models;));
$node->safe_psql('plant', "CALL amad_refresh('m')");

sub run
{
	my ($in, @command) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '<', \$in, '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

# ---- a file for node_exporter: the line of docs/operations.md, as cron executes it ------------------------

my $line = $cron =~ s/^(\S+ ){5}//r =~ s{/var/lib/prometheus/node-exporter}{$dir}gr;
my ($ret, $out, $err) = run('', 'sh', '-c', $line);
is("$ret$out$err", '0', 'the line of the crontab');
my $file = slurp_file("$dir/amad.prom");
like($file, qr/^amad_watch_state\{owner="\w+",model="m",state="ok"\} 1$/m, 'writes the file');
like($file, qr/model="a \\"quoted\\" \\\\ name\\nin two lines/, 'with names in quotes');

SKIP:
{
	skip 'promtool is not installed', 4 if !installed('promtool');
	($ret, $out, $err) = run($file, 'promtool', 'check', 'metrics');
	is("$ret$out$err", '0', 'promtool has no objection to the metrics');
	append_to_file("$dir/rules.yml", $rules);
	($ret, $out, $err) = run('', 'promtool', 'check', 'rules', "$dir/rules.yml");
	is($ret, 0, 'nor to the rules') or diag($out, $err);
	# the alerts of the rules, from metrics that exist
	is_deeply([ grep { $file !~ /^# TYPE $_ /m } $rules =~ /(amad_\w+)/g ], [], 'whose metrics exist');
	append_to_file("$dir/test.yml", <<'TEST');
rule_files: [rules.yml]
tests:
  - interval: 1m
    input_series:
      - {series: 'amad_watch_state{model="m",state="failing"}', values: '1x30'}
      - {series: 'amad_watch_state{model="m",state="ok"}', values: '0x30'}
      - {series: 'amad_watch_undelivered{model="m"}', values: '2x30'}
    alert_rule_test:
      - eval_time: 20m
        alertname: AmadWatch
        exp_alerts: [{exp_labels: {model: m, state: failing}, exp_annotations: {summary: watch m is failing}}]
      - eval_time: 20m
        alertname: AmadUndelivered
        exp_alerts: [{exp_labels: {model: m}, exp_annotations: {summary: 2 announcements of m wait}}]
TEST
	($ret, $out, $err) = run('', 'promtool', 'test', 'rules', "$dir/test.yml");
	is($ret, 0, 'the rules fire') or diag($out, $err);
}

# ---- over HTTP: the program of docs/operations.md, started for each connection, as systemd does -----------

append_to_file("$dir/amad-metrics", $program);
chmod 0755, "$dir/amad-metrics";
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $socket = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => $port, ReuseAddr => 1) or die "no socket: $!";
my $server = fork // die;
if (!$server)
{
	$SIG{TERM} = sub { POSIX::_exit(0) };
	$SIG{CHLD} = 'IGNORE';
	while (1)
	{
		my $client = $socket->accept or next;
		my $pid = fork // POSIX::_exit(1);
		if (!$pid)
		{
			$SIG{CHLD} = 'DEFAULT';
			$ENV{PGDATABASE} = 'plant';
			POSIX::dup2(fileno($client), $_) for 0, 1;
			open STDERR, '>', "$dir/stderr";
			exec "$dir/amad-metrics";
		}
		close $client;
	}
}
$socket->close;

SKIP:
{
	skip 'curl is not installed', 3 if !installed('curl');
	($ret, $out, $err) = run('', 'curl', '-sS', '-i', '--max-time', 20, "http://127.0.0.1:$port/metrics");
	like($out, qr{^HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\r\n# HELP .*\n# EOF\n\z}s, 'an answer');
	like($out, qr/name\\nin two lines é"/, 'in UTF-8');

	# OpenMetrics is parsed strictly, which the type of the answer asks for
	SKIP:
	{
		skip 'Prometheus is not installed', 2 if !installed('prometheus');
		my $web = PostgreSQL::Test::Cluster::get_free_port();
		append_to_file("$dir/prometheus.yml",
			"scrape_configs:\n  - job_name: amad\n    scrape_interval: 1s\n    scrape_timeout: 1s\n    static_configs: [{targets: ['127.0.0.1:$port']}]\n");
		my $prometheus = IPC::Run::start([ 'prometheus', "--config.file=$dir/prometheus.yml", "--storage.tsdb.path=$dir/data",
			"--web.listen-address=127.0.0.1:$web" ], '>', "$dir/prometheus.log", '2>&1');
		my $query = sub { return (run('', 'curl', '-sS', '-G', '--max-time', 5, '--data-urlencode', "query=$_[0]", "http://127.0.0.1:$web/api/v1/query"))[1] };
		for (1 .. 100) { last if $query->('count(amad_watch_state)') =~ /"value":\[/; sleep 0.2 }
		like($query->('count(amad_watch_state == 1) + 10 * sum(up)'), qr/"12"\]/, 'Prometheus reads it');
		like($query->('amad_watch_state{state="ok",model!="m"}'), qr/"model":"a \\"quoted\\" \\\\ name\\nin two lines é"/, 'with the names as they are');
		$prometheus->kill_kill;
	}

	$node->stop;
	($ret, $out, $err) = run('', 'curl', '-sS', '-i', '--max-time', 20, "http://127.0.0.1:$port/metrics");
	like($out, qr{^HTTP/1.0 503 Service Unavailable\r\n\r\n\z}, 'an error without the server');
}

kill 'TERM', $server;
waitpid $server, 0;
done_testing();
