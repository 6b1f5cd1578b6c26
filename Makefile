# SPDX-License-Identifier: GPL-2.0
# make            the two modules and the tools
# make check      all tests, in a virtual machine (T=name runs one)
# make demo       the demonstration
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

demo: deps
	$(MAKE) all
	tools/demo/demo

# What the kernel's own checkers say.
lint: deps
	$(MAKE) -C $(KDIR) M=$(CURDIR) C=2 CF="-D__CHECK_ENDIAN__" modules
	perl $(firstword $(wildcard /usr/src/linux-headers-*-common/scripts/checkpatch.pl)) \
		--no-tree --strict --terse --show-types \
		--ignore FILE_PATH_CHANGES,LINUX_VERSION_CODE \
		-f $(shell git ls-files '*.c' '*.h')

install: all
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules_install
	install -D -m 755 build/xsyncstat $(DESTDIR)$(PREFIX)/sbin/xsyncstat
	install -D -m 644 tools/xsyncstat.8 $(DESTDIR)$(PREFIX)/share/man/man8/xsyncstat.8

clean:
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	rm -rf build

.PHONY: all modules tools deps check demo lint install clean
