# SPDX-License-Identifier: GPL-2.0
# make            the two modules and the tools
# make check      all tests, in a virtual machine (T=name runs one)
# make floods     of them, those of users who flood
# make faults     those of faults, in their long form
# make check-debug  the same on a debug kernel that it builds; K=kcsan: for races;
#                 K=faults FAULTS=speculator: the module's allocations fail
# make check-apps other people's programs on an xsync mount and on plain ext4
# make demo       the demonstration
# make powercut   a thousand power cuts, on xsync and other mounts
# make fuzz       random graphs of processes against a model (N=1000 SEED=1), and
#                 whether it notices missing hooks; fuzz-syscalls: stress-ng
# make bench      benchmarks in virtual time, the short set (bench-full: all);
#                 W=postmark D=hdd M=xsync one of them
# make bench-report  their tables and plots, into Documentation
# KVER= or KDIR= choose the kernel to build for.

KVER ?= $(shell tools/kver)
KDIR ?= /lib/modules/$(KVER)/build
DESTDIR ?=
PREFIX ?= /usr/local

export KVER

all: modules tools

# W=1: no warning of the kernel's own set is accepted.
modules:
	$(MAKE) -C $(KDIR) M=$(CURDIR) W=1 modules

tools:
	$(MAKE) -C tools

deps:
	tools/install-deps

check: deps
	selftests/run $(if $(T),-t '$(T)')

floods: deps
	selftests/run -t '^flood_'

faults: deps
	FAULT_SECONDS=600 FAULT_KILLS=40 selftests/run -t '^fault_'

check-debug:
	tools/install-deps debug
	FAULTS=$(FAULTS) tools/debug/check $(or $(K),kasan) $(if $(T),'$(T)')

check-apps:
	tools/install-deps apps
	selftests/apps/prepare
	selftests/run $(if $(T),-t '$(T)') apps

demo: deps
	$(MAKE) all
	tools/demo/demo

powercut:
	tools/install-deps bench
	$(MAKE) all
	tools/powercut/powercut

# More than make check does; T= is not looked at.
FUZZ_VM := tools/vm/vm --kver $(KVER) --smp 2 --mem 2560 --scratch 1G \
	--observe build/fuzz-observed --append log_buf_len=8M

fuzz: deps
	$(MAKE) all
	$(MAKE) -C selftests
	$(FUZZ_VM) --timeout 7200 -- selftests/fuzz.py -n $(or $(N),1000) \
		-s $(or $(SEED),1)

fuzz-mutants: deps
	$(MAKE) all
	$(MAKE) -C selftests
	KDIR=$(KDIR) selftests/fuzz/mutants build $(T)
	$(FUZZ_VM) --timeout 7200 -- selftests/fuzz/mutants run $(T)

fuzz-syscalls: deps
	$(MAKE) all
	$(FUZZ_VM) --timeout 3600 -- selftests/fuzz/syscalls $(or $(N),600)

bench bench-full:
	tools/install-deps bench
	$(MAKE) all
	tools/bench/bench -s $(if $(filter bench-full,$@),full,short) \
		$(if $(W),-w $(W)) $(if $(D),-d $(D)) $(if $(M),-m $(M)) \
		$(if $(J),-J $(J)) $(if $(O),-o $(O))

# The tables and plots of Documentation/performance.rst, from what was run last.
bench-report: deps
	mkdir -p Documentation/bench
	for set in short full; do \
		test ! -e build/bench/$$set.csv || \
			cp build/bench/$$set.csv Documentation/bench/ || exit; \
	done
	tools/bench/report

# What the kernel's own checkers say; checkpatch comes from the kernel's source.
CHECKPATCH := build/checkpatch/scripts/checkpatch.pl

$(CHECKPATCH):
	mkdir -p build/checkpatch
	tar -xJf /usr/src/linux-source-6.1.tar.xz -C build/checkpatch \
		--strip-components=1 $(patsubst %,linux-source-6.1/scripts/%, \
		checkpatch.pl spelling.txt const_structs.checkpatch)

# Not meant for macros that make functions, as ours for hooks and as those of the
# kernel's own trace headers do; nor for the shell text in C tests.
LINT_IGNORE := FILE_PATH_CHANGES,LINUX_VERSION_CODE,CONSTANT_COMPARISON
LINT_IGNORE := $(LINT_IGNORE),MACRO_ARG_REUSE,COMPLEX_MACRO
LINT_IGNORE := $(LINT_IGNORE),MULTISTATEMENT_MACRO_USE_DO_WHILE,AVOID_EXTERNS
LINT_IGNORE := $(LINT_IGNORE),SPLIT_STRING,LONG_LINE_STRING,EMBEDDED_FUNCTION_NAME,VOLATILE
# Qdisc is the kernel's own; programs have no kernel headers.
LINT_IGNORE := $(LINT_IGNORE),CAMELCASE,PREFER_DEFINED_ATTRIBUTE_MACRO

lint: deps $(CHECKPATCH)
	$(MAKE) -C $(KDIR) M=$(CURDIR) W=1 C=2 modules
	$(MAKE) -C $(KDIR) M=$(CURDIR)/tools/bench/disk W=1 C=2 modules
	perl $(CHECKPATCH) --no-tree --strict --terse --no-summary \
		--ignore $(LINT_IGNORE) \
		-f $(filter-out %/trace.h selftests/fsx/%,$(shell git ls-files '*.c' '*.h'))

install: all
	$(MAKE) -C $(KDIR) M=$(CURDIR)/speculator modules_install
	$(MAKE) -C $(KDIR) M=$(CURDIR)/xsync modules_install
	install -D -m 755 build/xsyncstat $(DESTDIR)$(PREFIX)/sbin/xsyncstat
	install -D -m 755 tools/xsyncwhy $(DESTDIR)$(PREFIX)/sbin/xsyncwhy
	install -D -m 644 tools/xsyncstat.8 $(DESTDIR)$(PREFIX)/share/man/man8/xsyncstat.8
	install -D -m 644 tools/xsyncwhy.8 $(DESTDIR)$(PREFIX)/share/man/man8/xsyncwhy.8

clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	$(MAKE) -C $(KDIR) M=$(CURDIR)/tools/bench/disk clean
	rm -rf build

.PHONY: all modules tools deps check floods faults check-debug check-apps \
	demo powercut fuzz fuzz-mutants fuzz-syscalls bench bench-full bench-report \
	lint install clean
