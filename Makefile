# amad: PostgreSQL extension
#
#   make && make install        for an existing server; PG_CONFIG= picks which
#   make demo                   private server, real data, a picture; ENTITY=omi-4 for the other data
#   make test                   everything; test-unit, test-sql, test-isolation, test-tap for a part,
#                               TESTS="a b" for some of it, ACCEPT=1 to take sql and isolation output as expected;
#                               test-asan: the unit tests under sanitizers; test-asan-server: the SQL tests, in
#                               a server that runs the whole extension under them
#   make test-matrix            everything on Debian 13 and sid, with TimescaleDB and pg_cron; SUITES="trixie sid"
#   make fuzz                   forged models, odd sources, cancels, concurrent DDL; MINUTES=5, SEED=, PART= (test/fuzz/README.md)
#   make bench                  speed and memory against PyTorch, 15 minutes; into docs/performance.md; QUICK=1, FULL=1,
#                               DATA=folder with series, ARGS= further arguments of bench/run.py
#   make bench-quality          detection quality of amad and its baselines on labelled series; DATA=folder, METHODS, SEEDS
#   make server                 private server with the extension, until Ctrl-C
#
# Variables: PG_CONFIG, CC, COPT (extra flags), BLAS_CFLAGS, BLAS_LIBS, WERROR= (empty: warnings pass).

PG_CONFIG ?= pg_config
TESTS ?=
.DEFAULT_GOAL := all

# These run before there need be a PostgreSQL to build against: they install it.
TOOL_GOALS = demo test test-unit test-sql test-isolation test-tap test-asan test-asan-server test-matrix fuzz bench bench-quality server packages
.PHONY: $(TOOL_GOALS)

packages:
	tools/packages.sh

demo: packages
	tools/demo.sh $(ENTITY)

test: packages
	tools/test.sh

test-unit test-sql test-isolation test-tap test-asan test-asan-server: packages
	tools/test.sh $(@:test-%=%) $(TESTS)

# The BLAS picks its kernels itself
bench: packages
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE tools/server.sh bench/run.py \
		$(if $(QUICK),--quick) $(if $(FULL),--full) $(DATA) $(ARGS)

bench-quality: packages
	env -u OPENBLAS_CORETYPE tools/server.sh bench/quality.sh $(or $(DATA),test/data) $(if $(SEEDS),"$(SEEDS)")

fuzz: packages
	tools/fuzz.sh

test-matrix:
	tools/matrix.sh $(SUITES)

server: packages
	tools/server.sh

export PG_CONFIG ACCEPT METHODS MINUTES SEED PART CASE CANCELS JOBS STATES

ifneq ($(filter-out $(TOOL_GOALS),$(or $(MAKECMDGOALS),all)),)

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error PostgreSQL server headers not found: install postgresql-server-dev-NN, or say where: make PG_CONFIG=/path/to/pg_config)
endif

MODULE_big = amad
EXTENSION = amad
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" amad.control)
INSTALL_SQL = sql/amad--$(EXTVERSION).sql
# Topics of the install script, in the order they need each other
SQL_PARTS = $(patsubst %,sql/%.sql,type models train lifecycle score detect events recalibrate describe evaluate version)
# PGXS's, not what `make bench DATA=` hands down
override DATA = $(sort $(wildcard sql/amad--*--*.sql))
DATA_built = $(INSTALL_SQL)

# Wings of src, each with folders at most one deep (docs/architecture.md); core knows no PostgreSQL
CORE_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/core/*.c src/core/*/*.c)))
PG_OBJS = $(patsubst %.c,%.o,$(sort $(filter-out src/core/%,$(wildcard src/*.c src/*/*.c))))
OBJS = $(PG_OBJS) $(CORE_OBJS)
ALL_HEADERS = $(wildcard src/*.h src/*/*.h src/*/*/*.h)

# Serial OpenBLAS, by path: a threaded BLAS starts threads inside a backend as soon as it is loaded,
# and all Debian's builds share one SONAME, so the run path has to choose.
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
BLAS_DIR := $(patsubst %/,%,$(dir $(firstword \
	$(wildcard /usr/lib/$(MULTIARCH)/openblas-serial/libopenblas.so.0) \
	$(wildcard /usr/lib/*/openblas-serial/libopenblas.so.0))))
ifneq ($(BLAS_DIR),)
BLAS_CFLAGS ?= $(addprefix -I,$(firstword $(wildcard $(patsubst /usr/lib/%,/usr/include/%,$(BLAS_DIR)))))
BLAS_LIBS ?= -L$(BLAS_DIR) -l:libopenblas.so.0 -Wl,-rpath,$(BLAS_DIR)
else
BLAS_CFLAGS ?= $(shell pkg-config --cflags openblas 2>/dev/null)
BLAS_LIBS ?= $(or $(shell pkg-config --libs openblas 2>/dev/null),-lopenblas)
endif

WERROR ?= -Werror
# fcinfo, List cells and designated initialisers trip these in PostgreSQL's own headers and idioms
WARNINGS = -Wall -Wextra $(WERROR) -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
# The loops beside BLAS must vectorise: no errno, no traps, fused multiply-add. What PostgreSQL's flags ask
# for beyond the language (wrapping integers, aliasing) and a frame pointer cost them a tenth of their speed.
# Wide vectors are passed to inline functions only, so their ABI (psabi) does not matter.
CORE_CFLAGS = -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast \
	-fno-wrapv -fstrict-aliasing -fomit-frame-pointer \
	-Wno-psabi -Wno-declaration-after-statement

# A row's result must be the same chain of operations in every copy that the compiler makes of a loop.
# Left alone, newer GCC takes some sums apart into products and additions and others not, by their shape.
CORE_CFLAGS += $(shell $(CC) --param=avoid-fma-max-bits=0 -Werror -x c -E /dev/null >/dev/null 2>&1 && \
	echo --param=avoid-fma-max-bits=0)

PG_CPPFLAGS = -Isrc $(BLAS_CFLAGS)
# From PostgreSQL 16 on PGDLLEXPORT means this by itself
PG_CPPFLAGS += -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CPPFLAGS += -DAMAD_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -std=gnu11 -fvisibility=hidden $(WARNINGS)
SHLIB_LINK = $(BLAS_LIBS) -lm
EXTRA_CLEAN = build sql/amad--$(EXTVERSION).sql

# JIT inlining is of no use for calls that spend their time in BLAS, and needs clang
override with_llvm = no
include $(PGXS)

$(CORE_OBJS): override CFLAGS += $(CORE_CFLAGS)
$(OBJS): $(ALL_HEADERS) Makefile

$(INSTALL_SQL): $(SQL_PARTS) amad.control Makefile
	cat $(SQL_PARTS) > $@

# Unit tests of src/core: every test/unit/test_*.c is a program; the other files there are linked into
# each. Plain ones in build/unit, those with sanitizers (objects of their own) in build/asan.
UNIT_SRCS = $(sort $(wildcard test/unit/*.c))
UNIT_NAMES = $(patsubst test/unit/%.c,%,$(filter test/unit/test_%,$(UNIT_SRCS)))
UNIT_HELPERS = $(patsubst test/unit/%.c,%,$(filter-out test/unit/test_%,$(UNIT_SRCS)))
UNIT_DEPS = $(ALL_HEADERS) $(wildcard test/unit/*.h) Makefile
UNIT_CFLAGS = $(CFLAGS) $(CORE_CFLAGS) -Wno-missing-prototypes -Isrc -Itest/unit
# PostgreSQL asks for integers that wrap; where one does, tell
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
# palloc.c takes the place of the server's functions (the heads of test/sanitize/*.c say why).
ASAN_WRAPPED = $(patsubst __wrap_%,%,$(shell grep -o '^__wrap_[A-Za-z0-9_]*' test/sanitize/palloc.c))
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

# Objects are prerequisites of pattern rules only: keep them
.SECONDARY:

endif
