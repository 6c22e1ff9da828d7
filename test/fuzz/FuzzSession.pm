# A psql session that runs one statement at a time: SQLSTATE, milliseconds and output of each. PGHOST and
# the other variables of libpq specify the server.
package FuzzSession;

use strict;
use warnings;

use IO::Select;
use IPC::Open3;
use Time::HiRes qw(time sleep);

# dbname, appname and statements to begin with
sub new
{
	my ($class, %params) = @_;
	my $self = bless { dbname => $params{dbname} // 'postgres', number => 0, buffer => '' }, $class;
	local $ENV{PGAPPNAME} = $params{appname} // 'fuzz';
	local $ENV{PGCONNECT_TIMEOUT} = 30;
	# notices would be skipped anyway; warnings of class XX are needed
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';

	local $SIG{__WARN__} = sub { };
	$self->{pid} = open3($self->{in}, $self->{out}, undef, 'psql', '-XqAt', '-d', $self->{dbname});
	binmode $self->{in};
	binmode $self->{out};
	$self->{select} = IO::Select->new($self->{out});
	my $hello = $self->run("\\set VERBOSITY verbose\n\\timing on\nSELECT pg_backend_pid()", 60);
	$self->{backend} = ($hello->{out} =~ /^(\d+)$/m)[0];
	if (!defined $self->{backend})
	{
		$self->close;
		return undef;
	}
	$self->run($_, 60) for @{ $params{setup} // [] };
	return $self;
}

# Runs a statement without its semicolon. state is its SQLSTATE, LOST without a connection, or HUNG without
# an answer within the given seconds; after that the session must not be used.
sub run
{
	my ($self, $sql, $seconds) = @_;
	my $number = ++$self->{number};
	my $start = time;
	my $mark = "\@\@fuzz $number ";

	{
		local $SIG{PIPE} = 'IGNORE';
		# on a separate line, since the statement may end in a comment
		print { $self->{in} } "$sql\n;\n\\echo '\@\@fuzz' $number :SQLSTATE\n";
		$self->{in}->flush;
	}
	while ($self->{buffer} !~ /^$mark.*\n/m)
	{
		my $left = $start + $seconds - time;
		if ($left <= 0)
		{
			return { state => 'HUNG', ms => 1000 * (time - $start), out => $self->{buffer} };
		}
		# a signal may come between
		next if !$self->{select}->can_read($left);
		my $n = sysread($self->{out}, $self->{buffer}, 65536, length $self->{buffer});
		if (!$n && (defined $n || !$!{EINTR}))
		{
			return { state => 'LOST', ms => 1000 * (time - $start), out => $self->{buffer} };
		}
	}
	my $at = index($self->{buffer}, $mark);
	my $out = substr($self->{buffer}, 0, $at);
	my $state = substr($self->{buffer}, $at + length $mark);
	$state =~ s/\n(.*)//s;
	$self->{buffer} = $1 // '';
	# of the last query; those before it belong to the same case and are quick
	my $ms = 0;
	while ($out =~ s/^Time: ([\d.]+) ms.*\n//m)
	{
		$ms = $1 if $1 > $ms;
	}
	return { state => $state, ms => $ms, out => $out };
}

# Message of an ERROR, and its location in the source
sub message
{
	my ($result) = @_;
	my $out = $result->{out};
	my ($error) = $out =~ /((?:ERROR|FATAL|PANIC): .*)/;
	my ($place) = $out =~ /^LOCATION:\s+(.*)/m;
	my ($detail) = $out =~ /^DETAIL:\s+(.*)/m;

	return join(' ', grep { defined } $error, defined $detail ? "($detail)" : undef, defined $place ? "[$place]" : undef);
}

sub close
{
	my ($self) = @_;

	return if !$self->{pid};
	close $self->{in} if $self->{in};
	close $self->{out} if $self->{out};
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	$self->{pid} = undef;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);

	$self->close;
	return;
}

1;
