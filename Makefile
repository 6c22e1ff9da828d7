# amad, a PostgreSQL extension
#
#   make                  build for the server that pg_config belongs to; PG_CONFIG=/path/to/pg_config for another
#   make install          install into that server
#   make installcheck     a short test of the installed extension in the running server that PG* variables name
#   make demo             train on real data in a private server and draw a picture; ENTITY=omi-4 for other data
#   make server           run a private server with the extension until Ctrl-C
#
#   make test             run all tests; the last line is "N passed, N failed"
#   make test-unit        run the unit tests of src/core; TESTS="a b" picks some, here and below
#   make test-sql         run the SQL tests; ACCEPT=1 takes their output as the expected output
#   make test-isolation   run the tests of concurrent sessions; ACCEPT=1 as above
#   make test-tap         run the tests that need servers of their own
#   make test-citus       run the tests on clusters of Citus, if the installation of PG_CONFIG has it
#   make test-behaviour   run some variants of each scenario of test/behaviour; TESTS= picks files
#   make test-asan        run the unit tests with sanitizers
#   make test-asan-server run the SQL tests in a server that runs the whole extension with sanitizers
#   make test-matrix      run all tests on Debian 13 and sid, with TimescaleDB and pg_cron; SUITES="trixie sid"
#   make test-deb         build and install the Debian packages in chroots of Debian 12, 13 and sid; SUITES="trixie"
#   make behaviour        run all variants of test/behaviour (half an hour or more) and write docs/behaviour.md
#   make fuzz             run the fuzzer for 5 minutes; MINUTES=, SEED=, PART= (test/fuzz/README.md)
#
#   make deb              build the Debian packages, in build/deb
#   make dist             write the last commit to build/amad-VERSION.zip, for PGXN
#
#   make format           format the C files; FILES="a b" for some of them
#   make check-format     list the C files that "make format" would change
#
#   make bench            measure speed and memory against PyTorch (15 minutes) and update docs/performance.md;
#                         QUICK=1, FULL=1, DATA=folder with series, ARGS="arguments of bench/run.py"
#   make bench-quality    measure detection quality on labelled series; DATA=folder, METHODS="amad pca", SEEDS="0 1"
#   make bench-month      simulate a month of a watch: alarms a day, incidents found (20 minutes); SEEDS="1 2"
#
# Variables of the build: PG_CONFIG, CC, COPT (extra flags), BLAS_CFLAGS, BLAS_LIBS, WERROR= (empty: warnings
# are not errors).

PG_CONFIG ?= pg_config
TESTS ?=
.DEFAULT_GOAL := all

# In a VPATH build, the current directory gets what is built, and the source tree is only read:
#   make -f /path/to/amad/Makefile VPATH=/path/to/amad
top := $(or $(VPATH),$(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST)))))
tools := $(top)/tools
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(top)/amad.control)

# These goals need no PostgreSQL to build against; most of them install one first.
TOOL_GOALS = help format check-format demo test test-unit test-sql test-isolation test-tap test-citus test-behaviour test-asan test-asan-server test-matrix test-deb deb dist behaviour fuzz bench bench-quality bench-month server packages
.PHONY: $(TOOL_GOALS)

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' $(top)/Makefile

format:
	$(tools)/format.pl $(FILES)

check-format:
	$(tools)/format.pl --check $(FILES)

packages:
	$(tools)/packages.sh

demo: packages
	$(tools)/demo.sh $(ENTITY)

test: packages
	$(tools)/test.sh

test-unit test-sql test-isolation test-tap test-citus test-behaviour test-asan test-asan-server: packages
	$(tools)/test.sh $(@:test-%=%) $(TESTS)

# Without these variables, OpenBLAS chooses its kernels by the CPU
bench: packages
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(tools)/server.sh $(top)/bench/run.py \
		$(if $(QUICK),--quick) $(if $(FULL),--full) $(DATA) $(ARGS)

bench-quality: packages
	env -u OPENBLAS_CORETYPE $(tools)/server.sh $(top)/bench/quality.sh $(or $(DATA),$(top)/test/data) $(if $(SEEDS),"$(SEEDS)")

bench-month: packages
	env -u OPENBLAS_CORETYPE $(tools)/server.sh $(top)/bench/month.sh $(SEEDS)

behaviour: packages
	$(tools)/behaviour.sh --docs

fuzz: packages
	$(tools)/fuzz.sh

test-matrix:
	$(tools)/matrix.sh $(SUITES)

test-deb:
	$(tools)/test-deb.sh $(SUITES)

deb:
	$(tools)/deb.sh

dist:
	mkdir -p $(top)/build
	git -C $(top) archive --format=zip --prefix=amad-$(EXTVERSION)/ -o build/amad-$(EXTVERSION).zip HEAD

server: packages
	$(tools)/server.sh

export PG_CONFIG ACCEPT METHODS MINUTES SEED PART CASE CANCELS JOBS STATES

ifneq ($(filter-out $(TOOL_GOALS),$(or $(MAKECMDGOALS),all)),)

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error PostgreSQL server headers not found: install postgresql-server-dev-NN, or use: make PG_CONFIG=/path/to/pg_config)
endif

MODULE_big = amad
EXTENSION = amad
# An absolute path, because make would find an older file in the source tree
INSTALL_SQL = $(CURDIR)/sql/amad--$(EXTVERSION).sql
# Parts of the install script; each may use what is created by those before it
SQL_PARTS = $(patsubst %,sql/%.sql,model rows measure score learn operate shards schedule watch incidents status metrics distribute amad)
# The install scripts of earlier versions, as they were released, and the scripts that update them. A variable of PGXS;
# override, because `make bench DATA=` passes its own DATA on to this make
override DATA := $(patsubst $(top)/%,%,$(sort $(wildcard $(top)/sql/amad--*.sql $(top)/sql/updates/amad--*--*.sql)))
override DATA := $(filter-out %/amad--$(EXTVERSION).sql,$(DATA))
DATA_built = $(INSTALL_SQL)
SCRIPTS = tools/amad-notify

# The wings of src (docs/architecture.md). Only those of core have folders of their own, and no file there
# includes PostgreSQL's headers.
SRCS := $(patsubst $(top)/%,%,$(sort $(wildcard $(patsubst %,$(top)/src/%.c,* */* */*/*))))
CORE_OBJS = $(patsubst %.c,%.o,$(filter src/core/%,$(SRCS)))
PG_OBJS = $(patsubst %.c,%.o,$(filter-out src/core/%,$(SRCS)))
OBJS = $(PG_OBJS) $(CORE_OBJS)
ALL_HEADERS = $(wildcard $(patsubst %,$(top)/src/%.h,* */* */*/*))
# make would find the objects of the source tree and link them
ifneq ($(if $(filter-out .,$(top)),$(wildcard $(top)/src/*.o)),)
$(error the source tree has been built in: run "make clean" there first)
endif
$(shell mkdir -p sql $(sort $(dir $(SRCS))))

# Link the serial OpenBLAS statically, with hidden symbols. A threaded BLAS starts threads inside a backend as soon as
# it is loaded, and all builds of Debian have the same SONAME, so that the system's choice of alternatives, or another
# extension, could bring one in. Its LAPACK is Fortran.
BLAS_A := $(firstword $(foreach dir,$(shell $(CC) -print-multiarch 2>/dev/null) *,\
	$(wildcard /usr/lib/$(dir)/openblas-serial/libopenblas.a)))
ifneq ($(BLAS_A),)
BLAS_CFLAGS ?= -I$(patsubst /usr/lib/%/libopenblas.a,/usr/include/%,$(BLAS_A))
BLAS_LIBS ?= $(BLAS_A) -Wl,--exclude-libs,libopenblas.a -l:libgfortran.so.5
else
BLAS_CFLAGS ?= $(shell pkg-config --cflags openblas 2>/dev/null)
BLAS_LIBS ?= $(or $(shell pkg-config --libs openblas 2>/dev/null),-lopenblas)
endif

WERROR ?= -Werror
# PostgreSQL's headers and idioms (fcinfo, List cells, designated initialisers) cause these warnings
WARNINGS = -Wall -Wextra $(WERROR) -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# clang does not know some options and attributes in the flags and headers of a PostgreSQL that GCC has built
WARNINGS += $(if $(findstring clang,$(shell $(CC) --version)),\
	-Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-ignored-attributes)
# Loops outside the BLAS must be vectorised: no errno, no traps, fused multiply-add. PostgreSQL's extensions
# of the language (wrapping integers, aliasing) and a frame pointer would cost a tenth of the speed.
# Wide vectors are passed to inline functions only, so their ABI (psabi) does not matter.
CORE_CFLAGS = -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast \
	-fno-wrapv -fstrict-aliasing -fomit-frame-pointer \
	-Wno-psabi -Wno-declaration-after-statement

# A row's result must come from the same chain of operations in every copy of a loop that the compiler makes.
# By default, newer versions of GCC split some sums into products and additions, depending on the loop.
CORE_CFLAGS += $(shell $(CC) --param=avoid-fma-max-bits=0 -Werror -x c -E /dev/null >/dev/null 2>&1 && \
	echo --param=avoid-fma-max-bits=0)

PG_CPPFLAGS = -I$(top)/src $(BLAS_CFLAGS)
# PostgreSQL 16 and later define PGDLLEXPORT this way
PG_CPPFLAGS += -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CPPFLAGS += -DAMAD_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -std=gnu11 -fvisibility=hidden $(WARNINGS)
SHLIB_LINK = $(BLAS_LIBS) -lm
REGRESS = smoke
REGRESS_OPTS = --inputdir=$(top)/test/install --load-extension=amad
EXTRA_CLEAN = build $(INSTALL_SQL)

# JIT inlining needs clang and would not help: calls spend their time in matrix products
override with_llvm = no
include $(PGXS)

$(CORE_OBJS): override CFLAGS += $(CORE_CFLAGS)
$(OBJS): $(ALL_HEADERS) Makefile

$(INSTALL_SQL): $(SQL_PARTS) amad.control Makefile
	cat $(filter %.sql,$^) > $@

# Unit tests of src/core: each test/unit/test_*.c is a program, with the other files of the folder linked in.
# build/unit has the plain programs, build/asan those with sanitizers, which need objects of their own.
UNIT_SRCS = $(notdir $(basename $(sort $(wildcard $(top)/test/unit/*.c))))
UNIT_NAMES = $(filter test_%,$(UNIT_SRCS))
UNIT_HELPERS = $(filter-out test_%,$(UNIT_SRCS))
UNIT_DEPS = $(ALL_HEADERS) $(wildcard $(top)/test/unit/*.h) Makefile
UNIT_CFLAGS = $(CFLAGS) $(CORE_CFLAGS) -Wno-missing-prototypes -I$(top)/src -I$(top)/test/unit
# PostgreSQL's -fwrapv is switched off so that integer overflows are reported
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-wrapv -g -Wno-error

.PHONY: unit-tests asan-tests asan-module
unit-tests: $(UNIT_NAMES:%=build/unit/%)
asan-tests: $(UNIT_NAMES:%=build/asan/%)

build/unit/%.o: test/unit/%.c $(UNIT_DEPS)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(CPPFLAGS) -c $< -o $@
build/asan/%.o: test/unit/%.c $(UNIT_DEPS)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(SANITIZE) $(CPPFLAGS) -c $< -o $@
build/asan/core/%.o: src/core/%.c $(UNIT_DEPS)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(SANITIZE) $(CPPFLAGS) -c $< -o $@

$(UNIT_NAMES:%=build/unit/%): build/unit/%: build/unit/%.o $(UNIT_HELPERS:%=build/unit/%.o) $(CORE_OBJS)
	$(CC) $^ $(BLAS_LIBS) -lm -o $@
$(UNIT_NAMES:%=build/asan/%): build/asan/%: build/asan/%.o $(UNIT_HELPERS:%=build/asan/%.o) $(CORE_OBJS:src/core/%=build/asan/core/%)
	$(CC) $(SANITIZE) $^ $(BLAS_LIBS) -lm -o $@

# The whole extension with sanitizers, for tools/private-server.sh. first.so is preloaded with libasan;
# palloc.c replaces functions of the server (the heads of test/sanitize/*.c explain why).
ASAN_WRAPPED = $(patsubst __wrap_%,%,$(shell grep -o '^__wrap_[A-Za-z0-9_]*' $(top)/test/sanitize/palloc.c))
ASAN_CPPFLAGS = $(CPPFLAGS) -U_FORTIFY_SOURCE

asan-module: build/asan/amad.so build/asan/first.so
build/asan/pg/%.o: src/%.c $(ALL_HEADERS) Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) $(ASAN_CPPFLAGS) -c $< -o $@
build/asan/pg/palloc.o: test/sanitize/palloc.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) $(ASAN_CPPFLAGS) -c $< -o $@
build/asan/amad.so: $(PG_OBJS:src/%=build/asan/pg/%) $(CORE_OBJS:src/core/%=build/asan/core/%) build/asan/pg/palloc.o
	$(CC) -shared $(SANITIZE) $^ $(ASAN_WRAPPED:%=-Wl,--wrap=%) $(SHLIB_LINK) -o $@
build/asan/first.so: test/sanitize/first.c Makefile
	@mkdir -p $(@D)
	$(CC) -O1 -shared -fPIC -Wl,-z,initfirst $< -o $@

# bench/nn_speed.c: the network without a database
build/bench/%: bench/%.c $(CORE_OBJS) $(UNIT_DEPS)
	@mkdir -p $(@D)
	$(CC) $(UNIT_CFLAGS) $(CPPFLAGS) $< $(CORE_OBJS) $(BLAS_LIBS) -lm -o $@

# Keep the objects, which are prerequisites of pattern rules only
.SECONDARY:

endif
