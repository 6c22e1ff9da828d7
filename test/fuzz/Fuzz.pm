# Shared by the parts of the fuzzer: random choices, cases and their execution, failures, figures.
#
# A case is a small script of statements that is determined by the seed, the part and its number,
# independently of concurrent cases. Processes take cases in turn, each with its own psql session. If the
# server crashes, the process whose backend died reports its case, and the others run theirs again.
package Fuzz;

use strict;
use warnings;

use Digest::MD5 qw(md5);
use Exporter 'import';
use FuzzSession;
use IO::Select;
use JSON::PP;
use List::Util qw(max min sum0);
use POSIX qw(WNOHANG);
use Time::HiRes qw(time sleep);

our @EXPORT = qw(seed_case pick chance whole literal odd_string odd_json json run_part run_processes
  wait_for_server figures_text);

my $json = JSON::PP->new->canonical->allow_nonref->ascii;

# Beyond the statement's timeout, this counts as a hang
use constant HANG_MS => 1000;
# Beyond that, the backend is killed
use constant LOST_MS => 15000;

# ---- random choices --------------------------------------------------------------------

sub seed_case
{
	my ($seed, $part, $number) = @_;

	srand(unpack('N', md5("$seed $part $number")));
	return;
}

# One of them
sub pick
{
	return $_[ int(rand(@_)) ];
}

# True with a probability in percent
sub chance
{
	my ($percent) = @_;

	return rand(100) < $percent;
}

# An integer
sub whole
{
	my ($least, $most) = @_;

	return $least + int(rand($most - $least + 1));
}

# A string literal for SQL, with any content; undef is NULL
sub literal
{
	my ($text) = @_;
	my $tag = 'q';

	return 'NULL' if !defined $text;
	$tag .= 'q' while index("$text\$", "\$$tag\$") >= 0;
	return "\$$tag\$$text\$$tag\$";
}

sub json
{
	my ($value) = @_;

	return $json->encode($value);
}

sub odd_string
{
	return pick(
		'', ' ', 'a', 'A', 'dev', 'ts', 'a;b', "a'b", 'a"b', 'a\\b', "a\nb", 'x' x 63, 'x' x 64, 'y' x 5000,
		"\x{c3}\x{a4}", "\x{f0}\x{9f}\x{98}\x{80}", 'select', 'null', 'true', '-1', '1e400', 'NaN', '%s%n', '$1',
		'{}', '[]', '"', '--', '/*', 'pg_catalog.pg_class', 'a.b.c.d', '0', 'ctid', 'xmin', 'tableoid', '*');
}

# JSON text of any kind
sub odd_json
{
	my ($depth) = @_;

	$depth //= 0;
	return pick('null', 'true', 'false', '0', '-0', '1', '-1', '0.5', '1e-300', '1e300', '1e400', '-1e400', '1e-400',
		'9223372036854775807', '9223372036854775808', '2147483647', '2147483648', '4294967296', '0.1e-5', '3.5',
		'12345678901234567890123456789', '65536', '65537', '"auto"', '"none"', '"error"', '"pca"')
	  if $depth > 3 || chance(45);
	return quote_json(odd_string()) if chance(45);
	return '[' . join(', ', map { odd_json($depth + 1) } 1 .. pick(0, 1, 1, 2, 3, 9)) . ']' if chance(60);
	return '[' x 40 . ']' x 40 if chance(5);
	return '{' . join(', ', map { quote_json(odd_string()) . ': ' . odd_json($depth + 1) } 1 .. pick(0, 1, 1, 2, 3)) . '}';
}

# A string of bytes in JSON
sub quote_json
{
	my ($text) = @_;

	$text =~ s/(["\\])/\\$1/g;
	$text =~ s/([\x00-\x1f])/sprintf('\\u%04x', ord $1)/ge;
	return "\"$text\"";
}

# ---- the server ------------------------------------------------------------------------------

# True if the server answers within the given seconds
sub wait_for_server
{
	my ($seconds) = @_;
	my $end = time + ($seconds // 120);

	do
	{
		my $session = FuzzSession->new;
		return 1 if $session;
		sleep 0.1;
	} while (time < $end);
	return 0;
}

sub read_from
{
	my ($file, $offset) = @_;
	my $text = '';

	open(my $f, '<', $file) or return '';
	binmode $f;
	seek $f, $offset, 0;
	read $f, $text, 64 * 1024 * 1024;
	return $text;
}

# ---- cases ------------------------------------------------------------------------------------

# Creates the state of a process: part, seed, log, session settings
sub context
{
	my (%params) = @_;

	return bless { %params, figures => {}, failures => [], script => [] }, 'Fuzz';
}

sub count
{
	my ($self, $what, $n) = @_;

	$self->{figures}{$what} += $n // 1;
	return;
}

# Records something that must not happen. kind: crash, hang, XX, severity, wrong …
sub fail
{
	my ($self, $kind, $statement, $detail) = @_;

	push @{ $self->{failures} }, { kind => $kind, statement => $statement, detail => $detail };
	return;
}

sub connect
{
	my ($self) = @_;

	return if $self->{session};
	# it may go down again at once
	for (1 .. 20)
	{
		wait_for_server() or die "the server does not come back\n";
		$self->{session} = FuzzSession->new(dbname => $self->{dbname}, appname => "fuzz $self->{part}",
			setup => [ "SET statement_timeout = $self->{timeout}", @{ $self->{setup} // [] } ]);
		last if $self->{session};
		sleep 0.2;
	}
	die "cannot connect\n" if !$self->{session};
	$self->{log_at} = -s $self->{log};
	return;
}

# Runs a statement of a case and examines its outcome. what is a name for figures.
sub call
{
	my ($self, $what, $sql) = @_;

	push @{ $self->{script} }, $sql;
	my $result = $self->{session}->run($sql, ($self->{timeout} + HANG_MS + LOST_MS) / 1000);
	my $state = $result->{state};

	$result->{timeout} = $self->{timeout};
	die $result if $state eq 'LOST' || $state eq 'HUNG';
	if ($what !~ /^(?:begin|savepoint|rollback)$/)
	{
		$self->count('calls');
		$self->count("state $what $state");
	}
	if ($result->{ms} > $self->{timeout} + HANG_MS)
	{
		$self->fail('hang', $sql, sprintf('%.0f ms with a statement_timeout of %d ms', $result->{ms}, $self->{timeout}));
	}
	if ($state =~ /^XX/ || $result->{out} =~ /^(?:WARNING|NOTICE|ERROR):\s+XX/m)
	{
		$self->fail('XX', $sql, FuzzSession::message($result) || $result->{out});
	}
	elsif ($result->{out} =~ /^WARNING:.*(?:leak|not closed|refcount)/m)
	{
		$self->fail('leak', $sql, $result->{out});
	}
	if ($state eq '00000' && $result->{out} =~ /\bbad=([1-9]\d*)/)
	{
		$self->fail('severity', $sql, "$1 severities are negative or not finite");
	}
	return $result;
}

# The expression by which call() finds bad severities
sub bad_severities
{
	my ($column) = @_;

	return "'bad=' || count(*) FILTER (WHERE $column < 0 OR $column IN ('NaN', 'Infinity'))";
}

# Kills a backend that does not respond, and reports that to the parent
sub kill_backend
{
	my ($self) = @_;
	my $pid = $self->{session}{backend};
	my $other = FuzzSession->new;

	$other->run("SELECT pg_terminate_backend($pid)", 10) if $other;
	for (1 .. 30)
	{
		return if !kill(0, $pid) && $!{ESRCH};
		sleep 0.1;
	}
	$self->{send}->({ own_kill => $pid });
	kill 'KILL', $pid;
	return;
}

# Runs case n; returns true if it ran to its end
sub attempt
{
	my ($self, $n, $module) = @_;

	$self->{failures} = [];
	$self->{script} = [];
	$self->connect;
	$self->{send}->({ running => $n, pid => $self->{session}{backend} });
	seed_case($self->{seed}, $self->{part}, $n);
	my $done = eval { $module->case($self, $n); 1 };
	return 1 if $done;
	my $why = $@;

	die $why if !ref $why;
	if ($why->{state} eq 'HUNG')
	{
		$self->fail('hang', $self->{script}[-1],
			sprintf('no answer in %.0f ms with a statement_timeout of %d ms', $why->{ms}, $why->{timeout}));
		$self->kill_backend;
		$self->{session} = undef;
		return 1;
	}
	my $pid = $self->{session}{backend};
	$self->{session} = undef;
	wait_for_server() or die "the server does not come back\n";
	my $log;
	# the server may take connections before it notices
	for (1 .. ($why->{out} =~ /57P0[123]|crash of another/ ? 1 : 20))
	{
		$log = read_from($self->{log}, $self->{log_at});
		last if $log =~ /\(PID $pid\) was terminated by signal/;
		sleep 0.1;
	}
	if ($log =~ /\(PID $pid\) was terminated by signal (\d+)/)
	{
		my ($trap) = $log =~ /^(.*TRAP:.*\(?PID:? $pid.*)$/mi;
		$self->fail('crash', $self->{script}[-1], "signal $1" . ($trap ? ": $trap" : ''));
		return 1;
	}
	# the crash was caused by another case
	return 0;
}

# Runs case n until it is conclusive; a statement that was merely slow is not a hang twice
sub run_case
{
	my ($self, $n, $module) = @_;
	my $tries = 0;
	my $start = time;

	while (!$self->attempt($n, $module))
	{
		$self->count('interrupted');
		if (++$tries == 20)
		{
			$self->fail('lost', $self->{script}[-1], 'the connection is always lost');
			last;
		}
	}
	if (grep { $_->{kind} eq 'hang' && $_->{detail} !~ /no answer/ } @{ $self->{failures} })
	{
		my $first = $self->{failures};
		if ($self->attempt($n, $module) && !grep { $_->{kind} eq 'hang' } @{ $self->{failures} })
		{
			$self->count('slow once');
			$first = [ grep { $_->{kind} ne 'hang' } @$first ];
		}
		$self->{failures} = $first;
	}
	$self->count('cases');
	my $seconds = sprintf('%.1f', time - $start);
	if ($seconds > ($self->{figures}{'most seconds of a case'} // 0))
	{
		$self->{figures}{'most seconds of a case'} = 0 + $seconds;
	}
	if (@{ $self->{failures} })
	{
		$self->{send}->({ number => $n, failure => $_, script => $self->{script} }) for $self->{failures}[0];
		$self->count('failed');
		my %kinds = map { $_->{kind} => 1 } @{ $self->{failures} };
		$self->count("failed by $_") for keys %kinds;
	}
	return;
}

# ---- processes ----------------------------------------------------------------------------------

# Signs of trouble in the server's log
my $trouble = qr{TRAP:|PANIC:|AddressSanitizer|LeakSanitizer|runtime\ error:|was\ terminated\ by\ signal
  |(?:resource|snapshot|relcache|catcache|plancache|tupdesc|buffer|file|segment|reference)\s+(?:refcount\s+)?leak
  |reference\s+leak|\bleaked\b|WARNING:.*not\ closed|WARNING:.*refcount|stuck\ spinlock}x;

# Runs subs in separate processes until they end or the time is up; each gets a sub that sends a message to
# the parent and returns false if the process should stop. Messages and trouble in the log go to the report.
# Returns the sums of the figures.
sub run_processes
{
	my (%params) = @_;
	my @subs = @{ $params{subs} };
	my $report = $params{report};
	my $log = $params{log};
	my $log_at = -s $log;
	my $rest = '';
	my $end = $params{seconds} ? time + $params{seconds} : undef;
	my $select = IO::Select->new;
	my (%child, %figures, %killed, %running);
	my $stop = 0;

	STDOUT->flush;
	for my $sub (@subs)
	{
		pipe(my $from, my $to) or die "pipe: $!";
		my $pid = fork // die "fork: $!";
		if ($pid == 0)
		{
			my $stopped = 0;
			$SIG{USR1} = sub { $stopped = 1 };
			$SIG{INT} = 'IGNORE';
			$SIG{PIPE} = 'IGNORE';
			close $from;
			$to->autoflush(1);
			my $send = sub {
				my ($what) = @_;
				print $to $json->encode($what), "\n" if $what;
				return !$stopped && (!$end || time < $end);
			};
			my $ok = eval { $sub->($send); 1 };
			$send->({ died => "$@" }) if !$ok;
			close $to;
			POSIX::_exit($ok ? 0 : 1);
		}
		close $to;
		$child{ fileno $from } = { pid => $pid, from => $from, buffer => '' };
		$select->add($from);
	}
	local $SIG{INT} = sub { $stop = 1; kill 'USR1', map { $_->{pid} } values %child };
	local $SIG{TERM} = $SIG{INT};

	my $read_log = sub {
		my $text = $rest . read_from($log, $log_at);
		$log_at += length($text) - length($rest);
		# the rest of a long line may not have arrived
		my $whole = rindex($text, "\n") + 1;
		$rest = substr($text, $whole);
		$text = substr($text, 0, $whole);
		for my $line (split /\n/, $text)
		{
			# input that the extension quotes is not a message of the server
			next if length $line > 10000 || $line !~ $trouble || ($line =~ /\(PID (\d+)\)/ && $killed{$1});
			$figures{'trouble in the log'}++;
			if ($line =~ /TRAP:/)
			{
				$figures{assertions}++;
			}
			elsif ($line =~ /was terminated by signal/)
			{
				$figures{crashes}++;
			}
			$report->({ log => $line, running => { map { $_ => 1 } values %running } });
		}
	};
	while ($select->count)
	{
		for my $from ($select->can_read(0.3))
		{
			my $c = $child{ fileno $from };
			if (!sysread($from, $c->{buffer}, 65536, length $c->{buffer}))
			{
				delete $child{ fileno $from };
				$select->remove($from);
				waitpid $c->{pid}, 0;
				delete $running{ $c->{pid} };
				if ($?)
				{
					$figures{'processes that died'}++;
					$report->({ died => $c->{died} // "a process of the fuzzer ended with status $?" });
				}
				next;
			}
			while ($c->{buffer} =~ s/^(.*)\n//)
			{
				my $message = $json->decode($1);
				$killed{ $message->{own_kill} } = 1 if $message->{own_kill};
				$running{ $c->{pid} } = $message->{running} if defined $message->{running};
				$c->{died} = $message->{died} if $message->{died};
				if ($message->{figures})
				{
					for my $k (keys %{ $message->{figures} })
					{
						my $v = $message->{figures}{$k};
						$figures{$k} = $k =~ /^most / ? max($figures{$k} // 0, $v) : ($figures{$k} // 0) + $v;
					}
				}
				$report->($message) if $message->{failure};
				kill 'USR1', map { $_->{pid} } values %child if $message->{stop};
			}
		}
		$read_log->();
	}
	$read_log->();
	$figures{stopped} = 1 if $stop;
	return \%figures;
}

# Runs cases of a part. Parameters: first, cases (undef: until the seconds are over), jobs, seed, log, report.
sub run_part
{
	my (%params) = @_;
	my $module = $params{module};
	my $first = $params{first} // 0;
	my @subs;

	for my $job (0 .. $params{jobs} - 1)
	{
		push @subs, sub {
			my ($send) = @_;
			my $self = context(part => $params{part}, seed => $params{seed}, log => $params{log}, dbname => $params{dbname},
				job => $job, send => $send, timeout => $module->timeout, setup => $params{setup});
			for (my $n = $first + $job; !defined $params{cases} || $n < $first + $params{cases}; $n += $params{jobs})
			{
				last if !$send->();
				$self->run_case($n, $module);
			}
			$send->({ figures => $self->{figures} });
			$self->{session} = undef;
		};
	}
	return run_processes(subs => \@subs, seconds => $params{seconds}, log => $params{log}, report => $params{report});
}

# "calls 12, XX 0" of figures by name
sub figures_text
{
	my ($figures, @names) = @_;

	return join(', ', map { ($figures->{$_} // 0) . " $_" } @names);
}

1;
