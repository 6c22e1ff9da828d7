# Runs the parts of the fuzzer, one after another, and reports their failures.
package FuzzRun;

use strict;
use warnings;

use Exporter 'import';
use Fuzz;
use FuzzCancel;
use FuzzDdl;
use FuzzKeys;
use FuzzKnown;
use FuzzModels;
use FuzzOptions;
use FuzzSession;
use FuzzSources;
use List::Util qw(max sum0);
use Time::HiRes qw(time);

our @EXPORT_OK = qw(run_cases report_to setup failures);

# Parts that consist of cases, with their share of the time
my %modules = (known => 'FuzzKnown', models => 'FuzzModels', options => 'FuzzOptions', sources => 'FuzzSources', keys => 'FuzzKeys');
my %share = (known => 0, models => 40, options => 12, sources => 14, keys => 8, cancel => 13, ddl => 13);
my @order = qw(known models options sources keys cancel ddl);

# Number of failures of a kind that are printed
use constant SHOWN => 4;
# Number of bytes of a statement that are printed
use constant SHOWN_BYTES => 2000;

# A sub that prints failures, each kind a few times, and saves their scripts in a folder. say prints a line.
sub report_to
{
	my (%params) = @_;
	my ($part, $seed, $say, $folder) = @params{qw(part seed say folder)};
	my %seen;

	return sub {
		my ($message) = @_;

		if ($message->{log})
		{
			# crashes and assertions come with a case, too
			my $kind = $message->{log} =~ s/^.*?(?=TRAP|PANIC|WARNING|LOG)//r =~ s/\d+/N/gr;
			return if $seen{"log $kind"}++ >= SHOWN;
			$say->("$part: in the server's log: $message->{log}");
			$say->('  running cases: ' . join(', ', sort { $a <=> $b } keys %{ $message->{running} }) . " of SEED=$seed PART=$part")
			  if %{ $message->{running} // {} };
			return;
		}
		if ($message->{died})
		{
			$say->("$part: $message->{died}");
			return;
		}
		my $f = $message->{failure};
		my $kind = join(' ', $f->{kind}, ($f->{detail} // '') =~ s/\(.*?\)//gr =~ s/"[^"]*"/"…"/gr =~ s/\d+/N/gr);
		return if $seen{$kind}++ >= SHOWN;
		my $statement = $f->{statement} // '';
		my $again = defined $message->{number} ? "SEED=$seed PART=$part CASE=$message->{number}" : "SEED=$seed PART=$part";
		$say->("$part: $f->{kind}: $f->{detail}");
		$say->("  repeat with: make fuzz $again");
		$say->('  statement: ' . (length $statement > SHOWN_BYTES ? substr($statement, 0, SHOWN_BYTES) . ' …' : $statement));
		if ($folder && $message->{script})
		{
			my $file = "$folder/$part-$seed-" . ($message->{number} // 0) . '.sql';
			if (open(my $out, '>:raw', $file))
			{
				print $out join(";\n", @{ $message->{script} }), ";\n";
				close $out;
				$say->("  script: $file");
			}
		}
	};
}

# Runs cases of a part for a time or for a number of cases; returns figures
sub run_cases
{
	my (%params) = @_;
	my $module = $modules{ $params{part} };

	return run_part(%params, module => $module);
}

sub setup
{
	my ($part, $jobs) = @_;

	Fuzz::wait_for_server() or die "no server\n";
	my $session = FuzzSession->new(setup => [ 'CREATE EXTENSION IF NOT EXISTS amad', 'DROP SCHEMA IF EXISTS fuzz CASCADE',
			'DELETE FROM amad_models' ]);
	$modules{$part}->setup($session, $jobs);
	$modules{$part}->check_calls($session) if $modules{$part}->can('check_calls');
	return;
}

sub main
{
	my $minutes = $ENV{MINUTES} || 5;
	my $seed = length($ENV{SEED} // '') ? $ENV{SEED} : time ^ $$;
	my @parts = $ENV{PART} ? split(/[ ,]+/, $ENV{PART}) : @order;
	my $jobs = $ENV{JOBS} || 2;
	my $log = $ENV{FUZZ_LOG} or die "FUZZ_LOG must name the server's log\n";
	my $folder = $ENV{FUZZ_FAILURES};
	my $say = sub { print "@_\n" };
	my $shares = max 1, sum0(map { $share{$_} // die "no part \"$_\"; there are: @order\n" } @parts);
	my (%total, $passed, $failed);

	$seed = int($seed);
	STDOUT->autoflush(1);
	binmode STDOUT, ':raw';
	print "seed $seed\n";
	for my $part (@parts)
	{
		my $report = report_to(part => $part, seed => $seed, say => $say, folder => $folder);
		my $seconds = $minutes * 60 * $share{$part} / $shares;
		my $start = time;
		my $figures;

		if ($part eq 'cancel')
		{
			$figures = FuzzCancel::run(seconds => $ENV{CANCELS} ? undef : $seconds, cancels => $ENV{CANCELS}, seed => $seed,
				log => $log, report => $report, sessions => $jobs + 1);
		}
		elsif ($part eq 'ddl')
		{
			$figures = FuzzDdl::run(seconds => $seconds, seed => $seed, log => $log, report => $report, sessions => $jobs + 1);
		}
		else
		{
			setup($part, $jobs);
			$figures = run_cases(part => $part, seed => $seed, log => $log, report => $report, jobs => $part eq 'known' ? 1 : $jobs,
				length($ENV{CASE} // '') ? (first => $ENV{CASE}, cases => 1)
				: $part eq 'known' ? (cases => scalar FuzzKnown::names(1))
				: (seconds => $seconds));
		}
		$seconds = time - $start;
		printf "%s: %s\n", $part, summary($figures, $seconds);
		my $bad = failures($figures);
		$failed += $bad;
		$passed += max(0, ($figures->{cases} // 0) - $bad);
		for my $name (keys %$figures)
		{
			$total{$name} = $name =~ /^most / ? max($total{$name} // 0, $figures->{$name}) : ($total{$name} // 0) + $figures->{$name};
		}
		if ($ENV{STATES})
		{
			print "  $_ $figures->{$_}\n" for grep { /^state / } sort keys %$figures;
		}
		last if $figures->{stopped};
	}
	print 'all: ', figures_text(\%total, 'models', 'accepted', 'calls', 'cancels', 'crashes', 'assertions'), ', ',
	  ($total{'failed by hang'} // 0), ' hangs, ', ($total{'failed by XX'} // 0), ' XX errors, ',
	  ($total{'failed by severity'} // 0), ' bad severities, ', ($total{'failed by leak'} // 0), " leaks\n";
	print "$passed passed, $failed failed\n";
	return $failed ? 1 : 0;
}

# Number of failed cases, and of trouble in the log that is not attributed to a case
sub failures
{
	my ($figures) = @_;
	my $crashes = ($figures->{'failed by crash'} // 0);
	my $log = ($figures->{'trouble in the log'} // 0) - ($figures->{assertions} // 0) - ($figures->{crashes} // 0);

	return ($figures->{failed} // 0) + max(0, ($figures->{crashes} // 0) - $crashes) + max(0, $log) + ($figures->{'processes that died'} // 0);
}

sub summary
{
	my ($figures, $seconds) = @_;
	my @first = grep { defined $figures->{$_} } qw(cases models accepted calls done cancels);
	my @rest = grep { !/^state / && $_ ne 'stopped' } sort keys %$figures;
	my %listed = map { $_ => 1 } @first;

	return join(', ', (map { "$figures->{$_} $_" } @first), (map { "$_ $figures->{$_}" } grep { !$listed{$_} } @rest)) . sprintf(' in %.0f s', $seconds);
}

1;
