# From nothing to a delivered alert: the statements of README.md, by a role with the rights that it names and no others. Then the source
# gets rows that are not normal, the line of a crontab refreshes the watch, and amad-notify sends the alert to an HTTP server.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use AmadReceiver;
use AmadTest;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# tools/test.sh copies them
my $root = "$FindBin::RealBin/..";
plan skip_all => 'no documentation beside the tests' unless -e "$root/README.md";
plan skip_all => 'curl is not installed' if system('curl --version >/dev/null 2>&1') != 0;

my ($section) = slurp_file("$root/README.md") =~ /^## From nothing to a delivered alert\n(.*?)^## /ms or die 'README.md has no such section';
my ($sql) = $section =~ /^```sql\n(.*?)^```/ms;
my ($sh) = $section =~ /^```sh\n(.*?)^```/ms;
my ($late) = $section =~ /add `(late => '[^`]*')`/;
my @statements = $sql =~ /^[^;]+;\n/mg;
is(join('', @statements), $sql, 'statements');
cmp_ok(scalar @statements, '<=', 5, 'at most five');

my $node = PostgreSQL::Test::Cluster->new('first_alert');
$node->init;
configure($node);
$node->start;
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
$node->safe_psql('postgres', 'CREATE DATABASE plant');

sub sql { return $node->safe_psql('plant', $_[0]) }

# Nobody has rights that are not granted here. The readings of three pumps end two hours ago.
sql(q(REVOKE ALL ON DATABASE plant FROM PUBLIC;
CREATE EXTENSION amad;
CREATE SCHEMA source;
CREATE TABLE source.readings (device int, ts timestamptz, flow float8, pressure float8, temp float8, PRIMARY KEY (device, ts));
CREATE PROCEDURE source.add(first int, last int, clogged int DEFAULT 0) LANGUAGE sql AS $$
  INSERT INTO source.readings SELECT device, ts, flow, flow / 4 + noise[1] + CASE WHEN device = clogged THEN 4 ELSE 0 END, 40 + flow / 2 + 2 * noise[2]
  FROM generate_series(1, 3) AS device, generate_series(first, last) AS n,
    LATERAL (SELECT array_agg((hashint4(n * 10 + device + k * 1000000) & 1023) / 1024.0 ORDER BY k) AS noise FROM generate_series(1, 3) AS k) AS h,
    LATERAL (SELECT date_trunc('minute', now()) + n * interval '10 minutes' AS ts, 20 + 5 * sin(n / 20.0 + device) + noise[3] AS flow) AS f $$;
REVOKE ALL ON PROCEDURE source.add FROM PUBLIC));

# What a role may do: on the database, in schemas, with relations that are not those of the system or the extension; what it owns; its attributes
sub rights
{
	my ($role) = @_;

	return sql(qq(SELECT string_agg(r, ', ' ORDER BY r) FROM (
  SELECT p || ' on database' AS r FROM unnest('{CREATE,TEMPORARY,CONNECT}'::text[]) p WHERE has_database_privilege('$role', current_database(), p)
  UNION ALL SELECT p || ' on schema ' || nspname FROM pg_namespace, unnest('{CREATE,USAGE}'::text[]) p
  WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') AND has_schema_privilege('$role', oid, p)
  UNION ALL SELECT 'CREATE on schema public' WHERE has_schema_privilege('$role', 'public', 'CREATE')
  UNION ALL SELECT p || ' on ' || oid::regclass FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
  WHERE relnamespace = 'source'::regnamespace AND relkind = 'r' AND has_table_privilege('$role', oid, p)
  UNION ALL SELECT p || ' on ' || oid::regclass FROM pg_class c, unnest('{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND has_table_privilege('$role', oid, p)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
  UNION ALL SELECT 'EXECUTE on ' || oid::regprocedure FROM pg_proc WHERE pronamespace = 'source'::regnamespace AND has_function_privilege('$role', oid, 'EXECUTE')
  UNION ALL SELECT 'member of ' || roleid::regrole FROM pg_auth_members WHERE member = '$role'::regrole
  UNION ALL SELECT 'owner of ' || classid::regclass || objid FROM pg_shdepend WHERE refobjid = '$role'::regrole AND deptype = 'o'
  UNION ALL SELECT 'attributes' FROM pg_roles WHERE rolname = '$role' AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)) r));
}

my $log = $node->basedir . '/received';
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $receiver = start_receiver($port, $log);

sub received { return -e $log ? map { /^200 (.*)/ ? JSON::PP->new->decode($1) : () } split /\n/, slurp_file($log) : () }

# as a shell of an operating system user who can connect as the role
sub shell
{
	my ($role, $command) = @_;
	local $ENV{PGUSER} = $role;
	local $ENV{PATH} = "$root:$ENV{PATH}";
	my $err = '';

	IPC::Run::run([ 'sh', '-c', $command ], '>', \my $out, '2>', \$err) or die "$command: $err";
	is($err, '', 'no errors');
	return $out;
}

for my $case ([ 'triggers', 'SELECT, TRIGGER', '', 'logged by triggers', 2 ], [ 'reader', 'SELECT', "$late, ", 'polled', 3 ])
{
	my ($role, $privileges, $argument, $changes, $device) = @$case;

	sql("TRUNCATE source.readings; CALL source.add(-1500, -12); CREATE ROLE $role LOGIN; CREATE SCHEMA of_$role; GRANT CONNECT ON DATABASE plant TO $role; GRANT USAGE ON SCHEMA source TO $role;
		GRANT $privileges ON source.readings TO $role; GRANT USAGE, CREATE ON SCHEMA of_$role TO $role;
		ALTER ROLE $role SET search_path = of_$role, source, public");
	is(rights($role), 'CONNECT on database, CREATE on schema of_' . $role . ', ' . join(', ', map { "$_ on source.readings" } split /, /, $privileges)
		  . ", USAGE on schema of_$role, USAGE on schema source", "rights of the role $role");

	my $psql = sub { return $node->psql('plant', join('', @_), extra_params => [ '-U', $role ], on_error_stop => 1) };
	my ($train, @others) = @statements;
	my ($ret, $out, $err) = $psql->($train);
	is($ret, 0, "a training as the role $role") or diag($err);
	if ($argument)
	{
		like(($psql->(@others))[2], qr/ERROR:  permission denied/, 'without TRIGGER, nothing can be logged');
		$others[0] =~ s/^SELECT amad_watch\('plant', /$&$argument/ or die 'no amad_watch';
	}
	($ret, $out, $err) = $psql->(@others);
	is($ret, 0, 'and the other statements of README.md') or diag($err);
	like($out, qr/"changes": "$changes"/, "changes are $changes");
	my ($crontab) = map { JSON::PP->new->decode($_)->{crontab} // () } grep { /"crontab"/ } split /\n/, $out;
	like($crontab, qr/^\*\/5 \* \* \* \* .*psql .*amad_refresh/, 'a line for the crontab');

	# the alert, and nothing before it
	my $notify = $sh =~ s{https://\S+}{http://127.0.0.1:$port/hook}r =~ s/\bamad-notify /amad-notify -1 /r;
	shell($role, $notify);
	is(scalar(my @none = received()), 0, 'nothing to announce');
	sql("CALL source.add(-11, -4, $device)");
	shell($role, $crontab =~ s/^(\S+ ){5}//r =~ s/\\%/%/gr);
	shell($role, $notify);
	my @alerts = received();
	is(scalar @alerts, 1, 'an alert is received');
	is_deeply([ @{ $alerts[0] }{qw(model kind transition)}, $alerts[0]{series}{device}, $alerts[0]{top_features}[0]{feature} ],
		[ 'plant', 'anomaly', 'open', $device, 'pressure' ], 'with the pump and the column');
	is(sql("SELECT count(*) FROM amad_outbox JOIN amad_watches USING (watch) WHERE owner = '$role' AND delivered IS NULL"), 0, 'and is confirmed');
	unlink $log;
	sql("SET ROLE $role; SELECT amad_drop('plant')");
}

stop_receiver($receiver);
$node->stop;
done_testing();
