# The long run of the fuzzer, against the server that the variables of libpq specify: see README.md.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Fuzz;
use FuzzRun;

exit(FuzzRun::main(@ARGV));
