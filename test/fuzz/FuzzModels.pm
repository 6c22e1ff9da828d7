# Forged models: rows of amad_models as only its owner could write them, with values of type amad_model
# that have a correct checksum and invalid content; then every function on them.
package FuzzModels;

use strict;
use warnings;

use Fuzz;
use JSON::PP;
use Storable qw(dclone);

my $json = JSON::PP->new->canonical->allow_nonref->utf8;

sub timeout { return 400 }

# ---- the rows and the original models ----------------------------------------------------

my $tiny = '"window": 4, "d_model": 8, "heads": 2, "layers": 1, "steps": 4, "horizons": [2, 4], "advanced": {"batch_size": 2}';

# name, options, type of time, series columns
my @models = (
	[ 'zscore', '"method": "zscore", "horizons": [1]', 'bigint' ],
	[ 'pca', '"method": "pca", "horizons": [1, 2]', 'bigint' ],
	[ 'network', $tiny, 'bigint' ],
	[ 'plain', "$tiny, \"season\": \"none\", \"advanced\": {\"batch_size\": 2, \"state_weight\": 0, \"flatline_weight\": 0}", 'timestamp' ],
	[ 'ahead', "$tiny, \"lookahead\": 2", 'timestamptz' ],
	[ 'season', "$tiny, \"season\": [3600]", 'timestamptz' ],
	[ 'local', "$tiny, \"season\": [3600], \"timezone\": \"Europe/Berlin\", \"holidays\": [\"2026-01-01\"]", 'timestamptz' ],
	[ 'transforms', "$tiny, \"fill_limit\": 2, \"transform\": {\"a\": \"detrend\", \"b\": \"rate\", \"c\": \"difference\"}", 'timestamptz' ],
	[ 'nameless', '"method": "zscore", "horizons": [1]', 'bigint' ],
	[ 'fleet', '"method": "zscore", "horizons": [1, 2]', 'bigint', 'dev' ],
	[ 'large fleet', $tiny, 'timestamptz', 'dev' ],
);

my %time = (
	bigint => 'i::bigint',
	timestamp => "timestamp '2026-01-01' + i * interval '1 minute'",
	timestamptz => "timestamptz '2026-01-01 00:00+00' + i * interval '1 minute'",
);

my @bases;
my %suffix;

sub relation
{
	my ($time, $series, $which) = @_;

	return "fuzz.${which}_$time" . ($series ? '_fleet' : '');
}

# Tables to learn from (long_…) and to score (short_…)
sub create_tables
{
	my ($session) = @_;
	my @sql = ('CREATE SCHEMA fuzz');

	for my $time (sort keys %time)
	{
		for my $dev ('', 'dev')
		{
			my $rows = $dev ? 300 : 400;
			my $columns = "$time{$time} AS ts, " . ($dev ? "d AS dev, " : '')
			  . 'sin(i * 0.2)::float8 AS a, (cos(i * 0.11) + (i * 7919 % 101) / 500.0)::float8 AS b, (i / 7 % 2)::float8 AS c';
			my $from = $dev ? ", unnest('{x,y,z}'::text[]) d" : '';
			push @sql, 'CREATE TABLE ' . relation($time, $dev, 'long') . " AS SELECT $columns FROM generate_series(1, $rows) i$from";
			push @sql, 'CREATE TABLE ' . relation($time, $dev, 'short') . " AS SELECT $columns FROM generate_series(1, 50) i$from";
		}
		push @sql, "CREATE TABLE fuzz.pauses_$time AS SELECT min(ts) AS b, max(ts) AS e FROM "
		  . relation($time, '', 'short') . ' WHERE a > 0.9';
	}
	push @sql, 'GRANT USAGE ON SCHEMA fuzz TO PUBLIC', 'GRANT SELECT ON ALL TABLES IN SCHEMA fuzz TO PUBLIC';
	for (@sql)
	{
		my $result = $session->run($_, 60);
		die "$_: $result->{out}" if $result->{state} ne '00000';
	}
	return;
}

# Functions of the extension that have a form for each type of time
sub find_forms
{
	my ($session) = @_;
	my $names = $session->run("SELECT string_agg(DISTINCT proname, ' ') FROM pg_proc WHERE proname LIKE 'amad\\_%'", 60)->{out};

	for my $function (qw(detect detect_query events drift recalibrate compare))
	{
		for my $time (sort keys %time)
		{
			my $form = $time eq 'timestamptz' ? '' : "_$time";
			$suffix{"$function $time"} = $names =~ /\bamad_$function$form\b/ ? $form : '';
		}
	}
	return;
}

# Trains the original models, once per job, and checks that every call works on them
sub setup
{
	my ($class, $session, $jobs) = @_;

	@bases = ();
	create_tables($session);
	find_forms($session);
	for my $job (0 .. $jobs - 1)
	{
		for my $i (0 .. $#models)
		{
			my ($name, $options, $time, $series) = @{ $models[$i] };
			my $result = $session->run($name eq 'nameless'
				? "SELECT amad_train('forged $job $i', '{$options}', ts, a, b, c) IS NOT NULL FROM " . relation($time, $series, 'long')
				: "SELECT amad_train(model_name => 'forged $job $i', source => '"
				  . relation($time, $series, 'long') . "', timestamp_col => 'ts', feature_cols => '{a,b,c}', series_cols => '{"
				  . ($series // '') . "}', options => '{$options}') IS NOT NULL", 60);
			die "cannot train $name: $result->{out}" if $result->{state} ne '00000';
		}
	}
	for my $i (0 .. $#models)
	{
		my ($name, $options, $time, $series) = @{ $models[$i] };
		my $out = $session->run("SELECT model::text FROM amad_models WHERE model_name = 'forged 0 $i'", 60)->{out};
		my ($hex) = $out =~ /\\x([0-9a-f]+)/;
		my $base = { index => $i, name => $name, time => $time, series => $series, bytes => pack('H*', $hex) };
		$base->{parts} = parts($base->{bytes});
		$base->{json} = eval { $json->decode($base->{parts}{json}) } or die "no JSON at the end of $name\n";
		push @bases, $base;
	}
	$session->run("GRANT SELECT ON amad_models TO PUBLIC", 60);
	return;
}

# Calls on models that are not forged: all must succeed, or the fuzzer no longer fits the extension.
sub check_calls
{
	my ($class, $session) = @_;

	for my $base (@bases)
	{
		my $name = literal("forged 0 $base->{index}");
		$session->run("UPDATE amad_models SET source = jsonb_set(source, '{source}', '\""
			  . relation($base->{time}, $base->{series}, 'short') . "\"')  WHERE model_name = $name", 60);
		for my $call (calls($base, $name, 1))
		{
			my ($what, $sql) = @$call;
			# it does not have a source
			next if $base->{name} eq 'nameless' && $what !~ /^(?:describe|weights|text|score|explain|deploy|drop)/;
			my $result = $session->run("BEGIN;\nSAVEPOINT s;\n$sql", 60);
			$session->run('ROLLBACK', 60);
			# these need more than 50 rows
			next if $what =~ /^(?:recalibrate|drift|deploy|retrain)/ && $result->{state} =~ /^(?:22023|55000)/;
			die "$what of $base->{name} fails: $sql: $result->{out}" if $result->{state} ne '00000';
		}
	}
	return;
}

# ---- bytes -------------------------------------------------------------------------------------------

my @crc_table = map {
	my $c = $_;
	$c = $c & 1 ? ($c >> 1) ^ 0x82f63b78 : $c >> 1 for 1 .. 8;
	$c;
} 0 .. 255;

sub crc32c
{
	my $c = 0xffffffff;

	$c = ($c >> 8) ^ $crc_table[ ($c ^ $_) & 255 ] for unpack('C*', $_[0]);
	return $c ^ 0xffffffff;
}

# Offsets of the header of src/model/codec.c
my %field = (format => 4, features => 12, signals => 16, horizons => 20, json_bytes => 24, nparams => 28, nparams_high => 32,
	nseries => 36, terms => 40, evidence => 44, bins => 48, profiles => 52);
use constant PREFIX => 12;
use constant HEADER => 56;

sub get
{
	my ($bytes, $name) = @_;

	return unpack('V', substr($bytes, $field{$name}, 4));
}

# Positions of its sections: figures, weights, figures of series, JSON
sub parts
{
	my ($bytes) = @_;
	my %p = (json_bytes => get($bytes, 'json_bytes'));

	$p{body} = substr($bytes, HEADER, length($bytes) - HEADER - $p{json_bytes});
	$p{json} = substr($bytes, length($bytes) - $p{json_bytes});
	return \%p;
}

sub odd_uint
{
	return pick(0, 1, 2, 3, 4, 5, 255, 256, 4095, 4096, 4097, 65535, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, int(rand(2**32)));
}

sub odd_double
{
	return pack('d<', pick(0, -0.0, 1, -1, 0.5, 1e-310, 5e-324, 2.2e-308, 1e-300, 1e300, 1.7e308, -1.7e308, 9e15, 1e18, -1e18, rand(10)))
	  if chance(75);
	# infinities, NaNs, the sign alone
	return pack('VV', @{ pick([ 0, 0x7ff00000 ], [ 0, 0xfff00000 ], [ 0, 0x7ff80000 ], [ 1, 0x7ff00000 ], [ 0, 0x80000000 ],
			[ 0xffffffff, 0xffffffff ]) });
}

sub odd_float
{
	return pack('f<', pick(0, -0.0, 1, -1, 1e-40, 1e30, 3e38, -3e38, rand(10))) if chance(80);
	return pack('V', pick(0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff));
}

# Replaces a slice, which may be at the end
sub overwrite
{
	my ($bytes, $at, $new) = @_;

	return $bytes if $at < 0 || $at + length $new > length $bytes;
	substr($bytes, $at, length $new) = $new;
	return $bytes;
}

# ---- metadata --------------------------------------------------------------------------------------------

# References to the values in a structure: [holder, key]
sub nodes
{
	my ($value) = @_;
	my @nodes;

	if (ref $value eq 'HASH')
	{
		push @nodes, map { ([ $value, $_ ], nodes($value->{$_})) } sort keys %$value;
	}
	elsif (ref $value eq 'ARRAY')
	{
		push @nodes, map { ([ $value, $_ ], nodes($value->[$_])) } 0 .. $#$value;
	}
	return @nodes;
}

sub node_value
{
	my ($node) = @_;
	my ($holder, $key) = @$node;

	return ref $holder eq 'HASH' ? $holder->{$key} : $holder->[$key];
}

sub set_node
{
	my ($node, $value) = @_;
	my ($holder, $key) = @$node;

	if (ref $holder eq 'HASH')
	{
		$holder->{$key} = $value;
	}
	else
	{
		$holder->[$key] = $value;
	}
	return;
}

# Numbers that options may be, and some that they may not
sub option_number
{
	return pick(0, 1, 2, 3, 4, 8, 64, 4096, 65536, 0.5, 0.01, 0.1, 1e-6, 1e-3, 100, 1000, 1e6, 1e12, 1e15, -1, 0.9999, 9007199254740991,
		1e308, rand(2));
}

# A random value for JSON::PP; strings are bytes
sub odd_value
{
	return pick(undef, JSON::PP::true, JSON::PP::false, odd_char_string(), option_number(), [], {}, [ option_number() ],
		[ odd_char_string(), odd_char_string() ], { odd_char_string() => option_number() }, [ map { "f$_" } 1 .. pick(1, 2, 4, 50) ]);
}

sub odd_char_string
{
	my $text = odd_string();

	utf8::decode($text);
	return $text;
}

sub mutate_json
{
	my ($value) = @_;
	my $options = $value->{options};

	if (ref $options eq 'HASH' && %$options && chance(55))
	{
		# mostly harmless, so that the model is accepted
		$options = $options->{advanced} if ref $options->{advanced} eq 'HASH' && chance(50);
		my @numbers = grep { !ref $options->{$_} && ($options->{$_} // '') =~ /^-?[\d.]+(?:e[-+]?\d+)?$/i } sort keys %$options;
		set_node([ $options, pick(@numbers) ], option_number()) if @numbers;
		return;
	}
	if (ref $options eq 'HASH' && $options->{timezone} && chance(30))
	{
		$options->{timezone} = pick('America/New_York', 'XXX-167:59:59', 'EST5EDT', 'No/Where', 'right/UTC', '', odd_char_string());
		$options->{holidays} = pick([], [ '4713-01-01 BC', '5874897-12-31' ], [ ('2026-01-01') x 5000 ], ['infinity'], ['today'], 'fuzz.t');
		return;
	}
	my @nodes = nodes($value);
	return if !@nodes;
	my $node = pick(@nodes);
	my ($holder, $key) = @$node;
	my $old = node_value($node);

	if (chance(20) && ref $holder eq 'HASH')
	{
		delete $holder->{$key};
	}
	elsif (chance(20) && ref $old eq 'ARRAY')
	{
		pick(
			sub { pop @$old },
			sub { shift @$old },
			sub { push @$old, @$old[ 0 .. $#$old ] },
			sub { @$old = reverse @$old },
			sub { push @$old, odd_value() },
			sub { @$old = () },
			sub { push @$old, ($old->[0]) x 3000 })->();
	}
	elsif (chance(25))
	{
		my $other = pick(@nodes);
		set_node($node, eval { dclone(\node_value($other)) } ? ${ dclone(\node_value($other)) } : undef);
	}
	elsif (defined $old && !ref $old && $old =~ /^-?[\d.]+$/ && chance(60))
	{
		set_node($node, pick($old + 1, $old - 1, -$old, $old * 2, $old / 2, $old * 1e10));
	}
	else
	{
		set_node($node, odd_value());
	}
	return;
}

# JSON text, not necessarily well-formed
sub mutate_text
{
	my ($text) = @_;
	my $at = int(rand(length($text) || 1));

	return pick(
		sub { substr($text, $at, 1) = pick("\0", "\xff", '"', '{', '}', '[', ']', ',', ':', '\\', '9', 'e', '-', ' '); $text },
		sub { substr($text, 0, $at) },
		sub { substr($text, 0, $at) . odd_json() . substr($text, $at) },
		sub { $text . $text },
		sub { ('[' x 20000) . $text },
		sub { $text =~ s/("(?:options|series|season|flags|transforms|types)":)/"options": {"seed": 1}, $1/r },
		sub { $text =~ s/"advanced":/pick('"advanced": null, "advancee":', '"advanced": {"clip": 5}, "advanced":', '"clip": 5, "advanced":')/er },
		sub { $text =~ s/"core":"[^"]*"/'"core":"\\u0000"'/er },
		sub { $text =~ s/(\d)\.(\d)/$1e400$2/r },
		sub { odd_json() },
		sub { '' })->();
}

# ---- forging -----------------------------------------------------------------------------------------------

# A forged value: its text
sub forge
{
	my ($base) = @_;
	my $bytes = $base->{bytes};
	my $length = length $bytes;
	my $head = substr($bytes, 0, HEADER);
	my ($body, $text) = @{ $base->{parts} }{qw(body json)};
	my $resize = 1;				# the header has the length of the JSON

	for (1 .. pick(1, 1, 1, 2, 3))
	{
		my $what = rand(100);
		if ($what < 30)
		{
			my $value = eval { $json->decode($text) };
			if (ref $value eq 'HASH')
			{
				mutate_json($value) for 1 .. pick(1, 1, 2);
				$text = $json->encode($value);
			}
		}
		elsif ($what < 36)
		{
			$text = mutate_text($text);
		}
		elsif ($what < 52)
		{
			# a number of the first figures, or any
			my $room = int(length($body) / 8);
			my $n = chance(60) && $room > 40 ? int(rand(40)) : int(rand($room || 1));
			$body = overwrite($body, 8 * $n, odd_double());
		}
		elsif ($what < 62)
		{
			$body = overwrite($body, 4 * int(rand(length($body) / 4)), odd_float());
		}
		elsif ($what < 70)
		{
			my $name = pick(sort keys %field);
			$head = overwrite($head, $field{$name},
				pack('V', chance(50) ? odd_uint() : (get($head, $name) + pick(-2, -1, 1, 2)) & 0xffffffff));
			$resize = 0 if $name eq 'json_bytes';
		}
		elsif ($what < 78)
		{
			my $at = 8 * int(rand(8 * length $body) / 8);
			my $byte = int(rand(length($body) || 1));
			substr($body, $byte, 1) = chr(ord(substr($body, $byte, 1)) ^ (1 << int(rand(8)))) if length $body;
		}
		elsif ($what < 83)
		{
			my ($x, $y) = map { 8 * int(rand(length($body) / 8)) } 1, 2;
			my $n = 8 * pick(1, 2, 8, 32);
			if ($x + $n <= length $body && $y + $n <= length $body)
			{
				my $slice = substr($body, $x, $n);
				$body = overwrite(overwrite($body, $x, substr($body, $y, $n)), $y, $slice);
			}
		}
		elsif ($what < 88)
		{
			my $n = pick(1, 4, 8, 8, 12, 100);
			$body = pick(
				sub { substr($body, 0, $n < length $body ? length($body) - $n : 0) },
				sub { $n < length $body ? substr($body, $n) : '' },
				sub { $body . ("\0" x $n) },
				sub { substr($body, 0, length($body) / 2) . ("\x3f" x $n) . substr($body, length($body) / 2) })->();
		}
		elsif ($what < 94)
		{
			my $other = pick(@bases);
			pick(sub { $text = $other->{parts}{json} }, sub { $body = $other->{parts}{body} },
				sub { $head = substr($other->{bytes}, 0, HEADER) })->();
		}
		elsif ($what < 96)
		{
			# the same number everywhere
			my $number = odd_double();
			$body = substr($number x (length($body) / 8 + 1), 0, length $body);
		}
		else
		{
			# JSON where the figures were
			($body, $text) = ($text, $body);
		}
	}
	$head = overwrite($head, $field{json_bytes}, pack('V', length $text)) if $resize;
	my $forged = $head . $body . $text;
	if (chance(3))
	{
		my $n = pick(0, 1, 4, 11, 12, 13, 36, 47, 48, 49, int(rand(length $forged)));
		$forged = substr($forged, 0, $n);
	}
	$forged = overwrite($forged, 8, pack('V', crc32c(length $forged > PREFIX ? substr($forged, PREFIX) : ''))) if chance(97);
	my $hex = unpack('H*', $forged);
	return chance(98) ? "\\x$hex" : pick("\\x${hex}0", uc "\\x$hex", $hex, "\\x $hex", "\\x" . substr($hex, 0, -1), '\\x', '', "\\X$hex");
}

sub names
{
	return pick('NULL', "'{}'", "'{a}'", "'{a,b}'", "'{a,b,c,a}'", "'{a,a,a}'", "'{c,b,a}'", "'{NULL,NULL,NULL}'", "'{a,NULL,c}'",
		"'{{a,b},{c,ts}}'", "'[5:7]={a,b,c}'", "'{ts,ts,ts}'", "'{\"\",\"a b\",\"\\\"\"}'", 'array_fill(\'f\'::text, \'{5000}\')',
		"array_fill(repeat('n', 1000), '{3}')", "'{dev,a,b}'", "'{tableoid,ctid,xmin}'");
}

# The source as JSON, unusual or nearly correct
sub source
{
	my ($base) = @_;
	my $relation = relation($base->{time}, $base->{series}, 'short');
	my %right = (source => $relation, timestamp_col => 'ts', feature_cols => [ 'a', 'b', 'c' ],
		series_cols => [ $base->{series} // () ]);

	return literal(odd_json()) if chance(15);
	return 'NULL' if chance(3);
	for (1 .. pick(0, 0, 0, 1, 1, 2))
	{
		my $key = pick(sort(keys %right), 'label_col', odd_char_string());
		pick(
			sub { delete $right{$key} },
			sub { $right{$key} = odd_value() },
			sub { $right{$key} = [ odd_value(), odd_value() ] },
			sub { $right{$key} = pick('a', 'ts', 'dev', 'ctid', 'c', 'nowhere') },
			sub { $right{$key} = [ map { pick('a', 'b', 'c', 'ts', 'dev', 'nowhere') } 1 .. whole(0, 5) ] },
			sub { $right{source} = pick("SELECT * FROM $relation", "SELECT ts, a FROM $relation", 'SELECT 1', '', 'nowhere',
					'pg_catalog.pg_class', "TABLE $relation", "SELECT * FROM $relation LIMIT 0", 'SELECT', 'amad_models') },
			sub { $right{source} = relation(pick(sort keys %time), pick('', 'dev'), 'short') })->();
	}
	my $text = $json->encode(\%right);
	utf8::decode($text);
	utf8::encode($text);
	return literal($text =~ /\\u0000/ ? '{}' : $text);
}

# New values for the row: the model, and other columns
sub row
{
	my ($base) = @_;
	my %row = (source => source($base));

	$row{model} = "'" . forge($base) . "'" if chance(80);
	$row{features} = names() if chance(30);
	$row{options} = literal(odd_json()) if chance(15);
	$row{training} = literal(odd_json()) if chance(15);
	$row{version} = pick(1, 2147483647, 2, 1000000) if chance(5);
	$row{created_at} = pick("'infinity'", "'-infinity'", "'4713-01-01 BC'") if chance(3);
	$row{deployed} = pick('false', 'true') if chance(5);
	return \%row;
}

# ---- calls ---------------------------------------------------------------------------------------------

# Statements on the model with a name, as [what, SQL]
sub calls
{
	my ($base, $name, $plain) = @_;
	my ($time, $series) = @{$base}{qw(time series)};
	my $short = relation($time, $series, 'short');
	my $row = "amad_models WHERE model_name = $name";
	my $value = "(SELECT model FROM $row LIMIT 1)";
	my $over = $series ? 'OVER (PARTITION BY dev ORDER BY ts)' : 'OVER (ORDER BY ts)';
	my $device = $series ? "jsonb_build_object('dev', dev), " : '';
	my $features = $plain || chance(90) ? 'a, b, c' : pick('a', 'a, b', 'a, b, c, a', 'NULL, NULL, NULL', '1, 2, 3', 'VARIADIC ARRAY[a, b, c]',
		"'NaN'::float8, b, c", "1e308::float8, b, c", 'a, b, NULL::float8', 'VARIADIC ARRAY[]::float8[]', 'VARIADIC NULL::float8[]');
	my $bad = Fuzz::bad_severities('s');
	my $of = sub { my ($function) = @_; return "amad_$function" . $suffix{"$function $time"} };
	my $since = { bigint => '5', timestamp => "'2026-01-01 00:05'", timestamptz => "'2026-01-01 00:05+00'" }->{$time};
	my $until = { bigint => '40', timestamp => "'2026-01-01 00:40'", timestamptz => "'2026-01-01 00:40+00'" }->{$time};
	my $range = $plain ? '' : pick('', '', '', ", since => $since", ", until => $until", ", since => $since, until => $until", ', last_n => 5',
		', last_n => 9223372036854775807', ", source => '$short'", ", source => 'SELECT * FROM $short', timestamp_col => 'ts'",
		", timestamp_col => 'nowhere'");
	my $window = $plain ? '' : pick('', '', ', min_duration => ' . ($time eq 'bigint' ? 3 : "'3 minutes'"), ', k => 2, n => 3',
		", maintenance => 'fuzz.pauses_$time'", ', min_severity => 0.5', ', learning => true', ", direction => 'above'");
	my $rest = $plain ? '' : pick('', ', only_anomalies => true', ', "explain" => false', $series ? ", series => '{\"dev\": \"x\"}'" : '',
		", series => '{}'");
	my $new = literal("SELECT ts, " . ($plain ? '' : pick('upper(dev)', 'dev || c::int', "nullif(dev, 'x')", 'dev') . ' AS dev, ')
		  . ($plain ? "dev || '2' AS dev, " : '') . 'a, b, c FROM ' . relation($time, $series, 'long'));
	my $some = $plain ? '' : pick('', '', q(, series => '{"dev": "X"}'), q(, last_n => 200), q(, options => '{"trim": 0}'),
		q(, options => '{"threshold_only": true}'));
	my $options = $plain ? '' : pick('', '', ', options => ' . literal(odd_json()), ", options => '{\"contamination\": 0.2}'");

	# what a node sends along with a call for a shard, and what a hostile user may send
	my $call = "(SELECT jsonb_build_object('source', source, 'version', version)"
	  . ($plain ? '' : pick('', '', " || " . literal(odd_json()),
			" || jsonb_build_object('" . pick(qw(source version ancestors TimeZone incidents span)) . "', " . literal(odd_json()) . '::jsonb)',
			q( || '{"incidents": [{"first": "-9223372036854775808", "last": "9223372036854775807", "integers": true}]}')))
	  . "::jsonb FROM $row LIMIT 1)";
	my $shard = "'$short'::regtype, $call, $value";
	my $ranges = $plain || chance(50) ? '[{"first": "-9223372036854775808", "until": "9223372036854775807"}]'
	  : pick(odd_json(), '[' . odd_json() . ']', '[{"first": "1", "until": "1", "series": ' . odd_json() . '}]');

	return (
		[ 'detect on a shard' => "SELECT count(*), $bad FROM (SELECT severity AS s FROM " . $of->('detect')
			  . "_on_shard($name, NULL, NULL, NULL, NULL, NULL, NULL, false, true, NULL, $shard) x) x" ],
		[ 'events on a shard' => 'SELECT count(*) FROM ' . $of->('events')
			  . "_on_shard($name, NULL, NULL, NULL, NULL, NULL, 0.5, NULL, 1, 1, NULL, NULL, NULL, NULL, true, NULL, NULL, $shard) x" ],
		[ 'drift on a shard' => 'SELECT count(*) FROM ' . $of->('drift') . "_on_shard($name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, $shard) x" ],
		[ 'refresh on a shard' => 'SELECT count(*) FROM amad_refresh_on_shard(' . literal($ranges) . ", $shard) x" ],
		[ 'explain anomalies' => "SELECT count(e) FROM (SELECT amad_explain_anomalies($name, $device ts, $features) $over AS e FROM $short) x" ],
		[ describe => "SELECT count(amad_describe(model)::text) FROM $row" ],
		[ 'describe by name' => "SELECT count(amad_describe($name)::text)" ],
		[ weights => "SELECT count(w.name), count(w.data) FROM amad_models m, amad_weights(m.model) w WHERE m.model_name = $name" ],
		[ text => "SELECT bool_and(model::text::amad_model::text = model::text) FROM $row" ],
		[ score => "SELECT count(s), $bad FROM (SELECT amad_score($name, ts, $features) $over AS s FROM $short) x" ],
		[ 'score by value' => "SELECT count(s), $bad FROM (SELECT amad_score($value, $device ts, $features) $over AS s FROM $short) x" ],
		[ explain => "SELECT count(s), $bad, min(length(e::text)) FROM (SELECT (e).severity AS s, e FROM "
			  . "(SELECT amad_explain($name, $device ts, $features) $over AS e FROM $short) y) x" ],
		[ detect => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, severity AS s FROM " . $of->('detect') . "($name$range$rest) x) x" ],
		[ 'detect query' => 'SELECT length(' . $of->('detect_query') . "($name" . ($range =~ s/, (?:only_anomalies|"explain").*//r) . '))' ],
		[ events => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, peak_severity AS s FROM " . $of->('events') . "($name"
			  . ($range =~ /last_n/ ? '' : $range) . "$window) x) x" ],
		[ drift => "SELECT count(*), min(length(x::text)), $bad FROM (SELECT x, severity AS s FROM " . $of->('drift') . "($name$range) x) x" ],
		[ evaluate => 'SELECT length(amad_evaluate(severity, is_anomaly)::text) FROM ' . $of->('detect') . "($name)" ],
		[ recalibrate => 'SELECT length(' . $of->('recalibrate') . "($name$range$options)::text)" ],
		$series ? (
			[ 'recalibrate new series' => 'SELECT length(' . $of->('recalibrate') . "($name, source => $new$some)::text)" ],
			[ 'text of new series' => "SELECT bool_and(model::text::amad_model::text = model::text) FROM $row" ],
			[ 'detect new series' => "SELECT count(*), $bad FROM (SELECT severity AS s FROM " . $of->('detect') . "($name, source => $new) x) x" ])
		: (),
		[ deploy => "SELECT amad_deploy($name, 1)" ],
		[ grant => "SELECT amad_grant($name, " . pick("'public'", 'CURRENT_USER') . ', ' . pick("'read'", "'operate'") . ')' ],
		[ revoke => "SELECT amad_revoke($name, " . pick("'public'", 'CURRENT_USER', 'NULL') . pick('', ", 'operate'", ', NULL') . ')' ],
		[ compare => 'SELECT count(*), min(length(x::text)) FROM ' . $of->('compare') . "($name, NULL) x" ],
		[ 'recalibrate if better' => 'SELECT length(' . $of->('recalibrate') . "($name$range$options, deploy => 'if_better')::text)" ],
		[ retrain => "SELECT length(amad_retrain($name" . ($plain || chance(50) ? '' : ', true')
			  . ($plain ? '' : pick('', ', last_n => 200') . pick('', ", deploy => 'if_better'") . pick('', ', keep => 1')) . ')::text)' ],
		[ drop => "SELECT amad_drop($name)" ]);
}

# Runs everything in one transaction that is rolled back, so that the next case finds the row unchanged
sub case
{
	my ($class, $fuzz, $n) = @_;
	my $base = pick(@bases);
	my $name = literal("forged $fuzz->{job} $base->{index}");
	my $row = row($base);
	my @calls = calls($base, $name);
	my $memory = chance(90) ? '' : pick("SET LOCAL work_mem = '64kB'", "SET LOCAL maintenance_work_mem = '1MB'", 'SET LOCAL amad.max_parallel_workers = 2');
	my $some = pick(2, 3);

	$fuzz->count('models');
	$fuzz->call(begin => "BEGIN;\nSET LOCAL lock_timeout = '5s'" . ($memory ? ";\n$memory" : ''));
	my $written = $fuzz->call(update => 'UPDATE amad_models SET ' . join(', ', map { "$_ = $row->{$_}" } sort keys %$row)
		  . " WHERE model_name = $name");
	if ($written->{state} eq '00000')
	{
		my $any = 0;
		# all calls only if the model is accepted
		for my $i (0 .. $#calls)
		{
			my ($what, $sql) = @{ $calls[$i] };
			next if $i > 0 && !$any && !chance(100 * $some / @calls);
			my $result = $fuzz->call($what => "SAVEPOINT s;\n$sql");
			$any = 1 if $i == 0 && $result->{state} eq '00000';
			$fuzz->count('done') if $result->{state} eq '00000';
			$fuzz->call(savepoint => 'ROLLBACK TO s');
		}
		$fuzz->count('accepted') if $any;
	}
	$fuzz->call(rollback => 'ROLLBACK');
	$fuzz->{session}->run('VACUUM amad_models', 60) if $n % 1000 == $fuzz->{job};
	return;
}

1;
