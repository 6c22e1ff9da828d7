# A real HTTP server on loopback, which receives what amad-notify sends.
#
#   start_receiver($port, $log, @modes)   returns its process; each request is a line "MODE BODY" of the file $log
#   stop_receiver($pid)
#
# What it does with each request is in the list: a status, "hang" (no answer) or "hang up" (nothing is read). Afterwards it
# accepts all.
package AmadReceiver;

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_receiver stop_receiver);

sub start_receiver
{
	my ($port, $log, @modes) = @_;
	my $socket = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => $port, ReuseAddr => 1) or die "no socket: $!";
	my $pid = fork;

	die if !defined $pid;
	if ($pid)
	{
		$socket->close;
		return $pid;
	}
	$SIG{TERM} = sub { POSIX::_exit(0) };
	while (1)
	{
		my $client = $socket->accept or next;
		my $mode = shift @modes // 200;
		if ($mode eq 'hang up')
		{
			close $client;
			next;
		}
		my ($length, $body) = (0, '');
		while (defined(my $line = <$client>))
		{
			$length = $1 if $line =~ /^Content-Length: (\d+)/i;
			last if $line =~ /^\r?$/;
		}
		read $client, $body, $length;
		sleep 2 if $mode eq 'hang';
		append_to_file($log, "$mode $body\n");
		print $client "HTTP/1.1 $mode x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" if $mode =~ /^\d+$/;
		close $client;
	}
}

sub stop_receiver
{
	my ($pid) = @_;

	kill 'TERM', $pid;
	waitpid $pid, 0;
	return;
}

1;
