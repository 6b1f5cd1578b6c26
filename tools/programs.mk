# SPDX-License-Identifier: GPL-2.0
# How the programs of the folders below tools/ are built, into $(OUT); those of a
# folder depend on $(HEADERS).

CFLAGS := -O2 -g -Wall -Wextra -Wno-unused-parameter \
	-Wno-missing-field-initializers -D_GNU_SOURCE

$(OUT)/%: %.c $(HEADERS)
	@mkdir -p $(OUT)
	$(CC) $(CFLAGS) -o $@ $<

$(OUT)/%.so: %.c
	@mkdir -p $(OUT)
	$(CC) $(CFLAGS) -fPIC -shared -o $@ $<

clean:
	rm -rf $(OUT)

.PHONY: all clean
