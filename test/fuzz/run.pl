# The long run of the fuzzer, against the server that PGHOST and the rest point to: see README.md.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Fuzz;
use FuzzRun;

exit(FuzzRun::main(@ARGV));
