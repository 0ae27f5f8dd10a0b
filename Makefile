# SPDX-License-Identifier: GPL-3.0-or-later
#
# One Makefile, not recursive (it calls itself only where a second run has to
# see what the first one installed). `make help` lists the targets.
#
# Everything that is not a program's main is in one static library; a program
# is tools/NAME.c, the files of tools/NAME/ and the library.

VERSION := 0.1.0

# A new program is one more word here.
PROGRAMS := vaultfs vaultctl vaultkey
MAIN_vaultfs := fs/main.c
main_of = $(or $(MAIN_$1),tools/$1.c)

# pkg-config modules of the library. A module that only some sources need is
# asked for once such a source is there.
PKGS := fuse3 libzstd json-c libcrypto
PKGS += $(if $(wildcard backend/store/http.c),libcurl)
PKGS += $(if $(wildcard crypt/volume*.c),libcryptsetup)
PKGS += $(if $(wildcard crypt/dm.c),devmapper)
PKGS += $(if $(wildcard backend/guest/*.c),blkid ext2fs com_err)

# --- what can be said on the command line -----------------------------------

CC         ?= cc
AR         ?= ar
CLANG      ?= clang
PKG_CONFIG ?= pkg-config
INSTALL    ?= install
CFLAGS     ?= $(if $(SAN),-O1,-O2) -g
CPPFLAGS   ?=
LDFLAGS    ?=
DESTDIR    ?=
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
COMPDIR    ?= $(PREFIX)/share/bash-completion/completions
UNITDIR    ?= $(PREFIX)/lib/systemd/system
FUZZ_SECONDS ?= 60
# Where objects go; another directory keeps two people's builds apart.
O          ?= build
ifeq ($(strip $(O)),)
override O := build
endif
# Sanitizers, for instance SAN=address,undefined or SAN=thread.
SAN        ?=
# Tests whose name contains one of these words; all when empty.
T          ?=

ifeq ($(origin CC),default)
CC := cc
endif

# Set by the fuzz targets: clang, with libFuzzer in place of the replaying main.
ifdef FUZZ
override CC  := $(CLANG)
override SAN := fuzzer-no-link,address,undefined
B := $(O)/fuzz
else
comma := ,
B := $(O)$(if $(SAN),/$(subst $(comma),-,$(SAN)))
endif

# --- flags ------------------------------------------------------------------

# Looked up when the first object needs them, and once: `make deps` has to run
# where pkg-config itself is still missing.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(PKGS)))$(PKG_CFLAGS)
# libcurl is loaded at run time: backend/store/curl.h.
PKG_LIBS = $(eval PKG_LIBS := $$(shell $(PKG_CONFIG) --libs $(filter-out libcurl,$(PKGS))))$(or $(PKG_LIBS),$(error a library is missing: run 'make deps'))

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wvla -Wformat=2 -Wundef -Wpointer-arith \
	-Wwrite-strings -Wimplicit-fallthrough -Wno-unused-parameter \
	$(if $(WERROR),-Werror)
ifdef FUZZ
# Clang takes a variable that is only cleaned up for an unused one; the build
# by gcc judges the code.
WARNINGS += -Wno-unused-variable -Wno-format-nonliteral
endif

# Fortify needs optimisation, and hides from the sanitizers what they look for.
FORTIFY = $(if $(SAN)$(filter -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)

DEFINES := -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=314 \
	-DVAULTFS_VERSION='"$(VERSION)"' -I.
COMPILE = $(CC) -std=gnu17 $(WARNINGS) $(DEFINES) $(FORTIFY) -fPIE -pthread \
	-fstack-protector-strong $(SANFLAGS) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) -pie -pthread -Wl,-z,relro,-z,now,--as-needed $(SANFLAGS) \
	$(CFLAGS) $(LDFLAGS)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif
MAKEFLAGS += --no-print-directory
NPROC := $(shell nproc 2>/dev/null || echo 2)
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(NPROC))

# --- sources ----------------------------------------------------------------

MAINS   := $(foreach p,$(PROGRAMS),$(call main_of,$p))
SOURCES := $(wildcard backend/*.c backend/*/*.c crypt/*.c fs/*.c tools/*.c tools/*/*.c)
# tools/PROGRAM/*.c belong to one program and are not in the library, so that
# two programs may each have a list.c with a cmd_list(). Other folders of
# tools/ are shared.
SUBCMDS := $(foreach p,$(PROGRAMS),$(wildcard tools/$p/*.c))
FAKES   := $(wildcard tests/fakes/*.c)
UNITS   := $(wildcard tests/unit/test_*.c)
BENCHES := $(wildcard tests/bench/*.c)
HELPERS := $(wildcard tests/tools/*.c)
FUZZERS := $(wildcard tests/fuzz/fuzz_*.c)
PRELOAD := $(wildcard tests/preload/*.c)
REPLAY  := tests/fuzz/replay_main.c

obj = $(patsubst %.c,$(B)/%.o,$1)
exe = $(patsubst %.c,$(B)/%,$1)

LIB     := $(B)/libvaultfs.a
FAKELIB := $(B)/libfakes.a
BINARIES   := $(addprefix $(B)/,$(PROGRAMS))
TEST_BINS  := $(call exe,$(UNITS) $(BENCHES) $(HELPERS))
FUZZ_BINS  := $(call exe,$(FUZZERS))
PRELOADS   := $(PRELOAD:%.c=$(B)/%.so)

LIB_OBJS   := $(call obj,$(filter-out $(MAINS) $(SUBCMDS),$(SOURCES)))
FAKE_OBJS  := $(call obj,$(FAKES))
ALL_OBJS   := $(LIB_OBJS) $(FAKE_OBJS) $(call obj,$(MAINS) $(SUBCMDS) $(UNITS) \
	$(BENCHES) $(HELPERS) $(FUZZERS) $(REPLAY))

# --- building ---------------------------------------------------------------

.PHONY: all tests deps check check-all check-vm check-azure check-s3 demo bench bench-remote format lint fuzz fuzz-short install \
	uninstall clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY: $(ALL_OBJS)

all: $(LIB) $(BINARIES)

tests: all $(FAKELIB) $(TEST_BINS) $(FUZZ_BINS) $(PRELOADS)

squote = '$(subst ','\'',$1)'
# A stamp is rewritten only when what it says has changed.
stamp = @mkdir -p $(@D); printf '%s\n' $(call squote,$1) | cmp -s - $@ || \
	printf '%s\n' $(call squote,$1) >$@

$(B)/flags: FORCE
	$(call stamp,$(COMPILE) | $(LINK) $(PKG_LIBS))

# The list of objects: without it a deleted source would stay in the archive.
$(B)/objects: FORCE
	$(call stamp,$(LIB_OBJS) | $(FAKE_OBJS) | $(SUBCMDS))

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJS) $(B)/objects
$(FAKELIB): $(FAKE_OBJS) $(B)/objects
$(LIB) $(FAKELIB):
	$(say) AR $@
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)

define program
$(B)/$1: $(call obj,$(call main_of,$1)) \
	$(call obj,$(wildcard tools/$1/*.c)) $(LIB) $(B)/objects
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$p)))

$(TEST_BINS): $(B)/%: $(B)/%.o $(FAKELIB) $(LIB)

$(BINARIES) $(TEST_BINS):
	$(say) LD $@
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS)

ifdef FUZZ
$(FUZZ_BINS): FUZZ_MAIN = -fsanitize=fuzzer
else
$(FUZZ_BINS): $(call obj,$(REPLAY))
endif
$(FUZZ_BINS): $(B)/%: $(B)/%.o $(FAKELIB) $(LIB)
	$(say) LD $@
	$(Q)$(LINK) $(FUZZ_MAIN) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS)

# Libraries for LD_PRELOAD: never sanitized, since they load before the
# sanitizer's own run time.
$(PRELOADS): $(B)/%.so: %.c $(B)/flags
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) -std=gnu17 $(WARNINGS) $(DEFINES) -O2 -g -fPIC -shared -MMD -MP \
		-MT $@ -MF $(@:.so=.d) -o $@ $< -ldl

-include $(ALL_OBJS:.o=.d) $(PRELOADS:.so=.d)

# --- testing ----------------------------------------------------------------

deps:
	@tests/deps.sh build check $(PKGS)

TEST_ENV = BUILD=$(abspath $(B)) SRC=$(CURDIR) SAN=$(SAN)

check: deps
	+@$(MAKE) $(JOBS) tests
	@$(TEST_ENV) tests/run $(if $(V),-v) $(T)

# With those that take long, too.
check-all: export CHECK_ALL = 1
check-all: check

# In a virtual machine with a kernel of its own: device-mapper, loops, mounts.
check-vm:
	@tests/deps.sh build check vm $(PKGS)
	+@$(MAKE) $(JOBS) tests
	@$(TEST_ENV) tests/vm/run $(if $(V),-v) $(T)

# Over a service on loopback, which is installed below build/ when it is not
# there: Azurite by npm, Ceph's radosgw from Debian's packages.
check-azure check-s3: check-%:
	@tests/deps.sh build check $* $(PKGS)
	+@$(MAKE) $(JOBS) tests
	@$(TEST_ENV) tests/remote/run $* $(T)

demo: deps
	+@$(MAKE) $(JOBS) all $(addprefix $(B)/tests/tools/,encrypt image mkbitlocker)
	@$(TEST_ENV) tests/demo.sh

bench:
	@tests/deps.sh build check bench $(PKGS)
	+@$(MAKE) $(JOBS) all $(call exe,$(BENCHES) tests/unit/test_budget.c $(HELPERS))
	@$(TEST_ENV) tests/bench/bench.py $(BENCH_ARGS)

# Over radosgw on loopback, behind a proxy of ours.
bench-remote:
	@tests/deps.sh build check bench bench-remote $(PKGS)
	+@$(MAKE) $(JOBS) all $(call exe,$(BENCHES) tests/unit/test_browse.c)
	@$(TEST_ENV) tests/bench/remote.py $(BENCH_ARGS)

lint:
	@tests/deps.sh build lint $(PKGS)
	+@$(MAKE) lint-run

# Here the compiler's flags are known: the tools that parse C need them.
.PHONY: lint-run
lint-run:
	@CC='$(CC)' LINT_FLAGS=$(call squote,$(DEFINES) $(PKG_CFLAGS)) tests/lint.sh $(T)

format:
	clang-format -i $$(find backend crypt fs tools tests -name '*.[ch]')

fuzz:
	@tests/deps.sh build fuzz $(PKGS)
	+@$(MAKE) $(JOBS) -k FUZZ=1 fuzz-run

fuzz-short:
	+@$(MAKE) fuzz FUZZ_SECONDS=5

.PHONY: fuzz-run $(FUZZERS:%.c=run/%)
fuzz-run: $(FUZZERS:%.c=run/%)

# New finds go to the first directory named, so never into the tree.
$(FUZZERS:%.c=run/%): run/tests/fuzz/fuzz_%: $(B)/tests/fuzz/fuzz_%
	@mkdir -p $(B)/corpus/$* $(B)/finds
	$(say) FUZZ $*
	@ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 $< -max_total_time=$(FUZZ_SECONDS) \
		-timeout=20 -rss_limit_mb=2048 -artifact_prefix=$(B)/finds/$*- \
		$(addprefix -dict=,$(wildcard tests/fuzz/$*.dict)) \
		$(B)/corpus/$* $(wildcard tests/fuzz/corpus/$*) \
		>$(B)/$*.log 2>&1 || { tail -n 60 $(B)/$*.log; exit 1; }
	@printf '  %-7s %s: %s\n' FUZZED $* "$$(grep '^Done' $(B)/$*.log)"

# --- installing -------------------------------------------------------------

MANPAGES    := $(wildcard fs/*.[1-8] tools/*.[1-8] tools/*/*.[1-8] backend/*/*.[1-8])
COMPLETIONS := $(wildcard tools/completion/*)
SYSTEMD     := $(foreach x,service mount automount,$(wildcard fs/*.$x tools/*.$x))
# Pairs SOURCE:TARGET of all that is installed besides the programs.
DATA := $(foreach m,$(MANPAGES),$m:$(MANDIR)/man$(subst .,,$(suffix $m))/$(notdir $m)) \
	$(foreach c,$(COMPLETIONS),$c:$(COMPDIR)/$(notdir $c)) \
	$(foreach u,$(SYSTEMD),$u:$(UNITDIR)/$(notdir $u))
DATA_TARGETS = $(foreach d,$(DATA),$(word 2,$(subst :, ,$d)))

# fstab's type fuse.vaultfs needs no helper of ours: mount(8) calls
# mount.fuse3, which runs the `vaultfs` it finds in PATH.
install: all
	@mkdir -p $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 755 $(BINARIES) $(DESTDIR)$(BINDIR)
	@set -e; for pair in $(DATA); do \
		to="$(DESTDIR)$${pair#*:}"; mkdir -p "$${to%/*}"; \
		echo "$(INSTALL) -m 644 $${pair%%:*} $$to"; \
		sed 's|@BINDIR@|$(BINDIR)|g' "$${pair%%:*}" >"$$to"; chmod 644 "$$to"; \
	done

uninstall:
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,$(PROGRAMS)) \
		$(addprefix $(DESTDIR),$(DATA_TARGETS))

clean:
	rm -rf build

help:
	@echo 'make                 the programs, in build/'
	@echo 'make check           install what is missing, build, run the tests; T="words" selects'
	@echo 'make check-all       the same with the tests that take long'
	@echo 'make check-vm        the tests in a virtual machine: dm-crypt, loops, mounts; T="words"'
	@echo 'make check-azure     the tests of stores and vaults over Azurite; check-s3: over radosgw'
	@echo 'make demo            install what is missing, then a vault made, mounted and read'
	@echo 'make deps            install what is missing (apt), or say what to install'
	@echo 'make bench           the performance table; BENCH_ARGS="--quick --json FILE WORD..."'
	@echo 'make bench-remote    the same for vaults on a server, 20 ms a request'
	@echo 'make lint            style and static checks; T="words" selects'
	@echo 'make format          clang-format over the tree'
	@echo 'make fuzz            each fuzz target for FUZZ_SECONDS=60; fuzz-short: 5'
	@echo 'make install         DESTDIR= PREFIX=/usr/local; make uninstall'
	@echo 'make clean'
	@echo
	@echo 'SAN=address,undefined or SAN=thread builds (and checks) with sanitizers,'
	@echo 'WERROR=1 makes warnings errors, V=1 shows commands, O=DIR builds elsewhere.'
	@echo 'CHECK_FULL=1 in the environment makes some tests walk farther; TMPDIR=DIR has them'
	@echo 'on a disk (they are in memory where there is enough of it).'
