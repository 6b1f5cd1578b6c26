// SPDX-License-Identifier: GPL-2.0
/* vm: own smp=2 mem=2048 timeout=400 */
/*
 * Law 1, completeness: every system call of the running kernel is in the table
 * of Documentation/channels.rst, "System calls", and every name there is a
 * system call; what the table says does it is placed; and each call that waits
 * does so, by the 64-bit and by the 32-bit entry, while those that do nothing
 * outside the process do not. The same calls by a clean process must not wait.
 *
 * Arguments are all -1: a call that waits does so at its entry, before it looks
 * at them, and fails afterwards.
 */
#include <ctype.h>
#include <linux/elf.h>
#include <sys/syscall.h>
#include "batch.h"
#include "int80.h"

#define CHANNELS "/Documentation/channels.rst"
#define TABLE_32 "/build/kselftest/syscall_32.tbl"
#define NR_64 451	/* of sys_call_table, linux 6.1 */
#define MAX_CALLS 600

enum { RULE_NONE = 1, RULE_WAITS = 16 };

/**
 * struct call - a system call
 * @name: of the function, without the beginning
 * @rule: what the table says
 * @function: and who does it
 * @in_kernel: the kernel has it
 * @nr_64: number for 64-bit programs, or -1
 * @nr_32: number for 32-bit programs, or -1
 */
static struct call {
	char name[48];
	int rule;
	char *function;
	bool in_kernel;
	int nr_64, nr_32;
} calls[MAX_CALLS];
static int nr_calls;

static struct call *find(const char *name)
{
	for (int i = 0; i < nr_calls; i++)
		if (!strcmp(calls[i].name, name))
			return &calls[i];
	return NULL;
}

static FILE *open_in_tree(const char *path)
{
	const char *repo = getenv("XSYNC_VM_REPO");
	char full[4096];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", repo ? repo : ".", path);
	f = fopen(full, "r");
	if (!f)
		ksft_exit_fail_msg("%s: %m\n", full);
	return f;
}

static int parse_rule(char *text)
{
	static const char *const names[] = { "none", "source", "passes on",
					     "holds", "waits" };
	int rule = 0;

	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		unsigned int i;

		word += strspn(word, " ");
		for (i = 0; i < 5 && strcmp(word, names[i]); i++)
			;
		if (i == 5)
			ksft_exit_fail_msg("channels.rst: rule '%s'\n", word);
		rule |= 1 << i;
	}
	return rule;
}

static bool twice;

static void add_row(char *cell[4])
{
	int rule = parse_rule(cell[0]);
	char *function = strdup(cell[1]);

	for (char *name = strtok(cell[3], " "); name; name = strtok(NULL, " ")) {
		struct call *call = &calls[nr_calls++];

		if (nr_calls == MAX_CALLS)
			ksft_exit_fail_msg("too many system calls\n");
		if (find(name)) {
			ksft_print_msg("%s is there twice\n", name);
			twice = true;
		}
		snprintf(call->name, sizeof(call->name), "%s", name);
		call->rule = rule;
		call->function = function;
		call->nr_64 = -1;
		call->nr_32 = -1;
	}
}

/* The list-table of the section: four cells a row, the first is the heading. */
static void read_table(void)
{
	FILE *f = open_in_tree(CHANNELS);
	static char text[4][8192];
	char *cell[4] = { text[0], text[1], text[2], text[3] };
	char line[512], *at;
	bool section = false;
	int n = -1, rows = 0;

	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (!section) {
			section = !strcmp(line, "System calls");
			continue;
		}
		if (!strncmp(line, "   * - ", 7)) {
			if (n == 3 && rows++)
				add_row(cell);
			n = 0;
			at = line + 7;
			text[n][0] = 0;
		} else if (n >= 0 && !strncmp(line, "     -", 6)) {
			if (++n > 3)
				break;
			at = line + (line[6] ? 7 : 6);
			text[n][0] = 0;
		} else if (n >= 0 && !strncmp(line, "       ", 7)) {
			at = line + 7;
		} else {
			if (n >= 0)
				break;
			continue;
		}
		if (strlen(text[n]) + strlen(at) + 2 > sizeof(text[n]))
			ksft_exit_fail_msg("channels.rst: a cell is too long\n");
		if (text[n][0])
			strcat(text[n], " ");
		strcat(text[n], at);
	}
	if (n == 3)
		add_row(cell);
	fclose(f);
}

/* The name of a system call in that of a function, or NULL. */
static const char *call_name(const char *function)
{
	static const char *const begins[] = { "__x64_sys_", "__ia32_sys_",
					      "__ia32_compat_sys_",
					      "__x64_compat_sys_" };

	for (int i = 0; i < 4; i++)
		if (!strncmp(function, begins[i], strlen(begins[i])))
			return function + strlen(begins[i]);
	return NULL;
}

static struct symbol {
	unsigned long address;
	char name[64];
} symbols[2048];
static int nr_symbols;

/* Weak ones stand for what the kernel was built without. */
static int read_symbols(unsigned long *table)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char name[256], type, line[512];
	unsigned long address;
	int missing = 0;

	while (f && fgets(line, sizeof(line), f)) {
		const char *call;

		if (sscanf(line, "%lx %c %255s", &address, &type, name) != 3)
			continue;
		if (!strcmp(name, "sys_call_table"))
			*table = address;
		call = call_name(name);
		/* gcc has put the unlikely part of some elsewhere. */
		if (!call || strchr(call, '.') || nr_symbols == 2048)
			continue;
		symbols[nr_symbols].address = address;
		snprintf(symbols[nr_symbols].name, sizeof(symbols[0].name),
			 "%s", tolower(type) == 't' ? call : "");
		nr_symbols++;
		if (tolower(type) != 't')
			continue;
		if (find(call)) {
			find(call)->in_kernel = true;
		} else {
			ksft_print_msg("%s is in no row of the table\n", name);
			missing++;
		}
	}
	if (f)
		fclose(f);
	return missing;
}

static bool read_kernel(int core, unsigned long address, void *to, size_t size)
{
	struct elf64_hdr head;
	struct elf64_phdr seg;

	if (pread(core, &head, sizeof(head), 0) != sizeof(head))
		return false;
	for (int i = 0; i < head.e_phnum; i++) {
		off_t at = head.e_phoff + i * sizeof(seg);

		if (pread(core, &seg, sizeof(seg), at) != sizeof(seg))
			return false;
		if (seg.p_type == PT_LOAD && address >= seg.p_vaddr &&
		    address + size <= seg.p_vaddr + seg.p_memsz)
			return pread(core, to, size, seg.p_offset + address -
				     seg.p_vaddr) == (ssize_t)size;
	}
	return false;
}

/* The kernel's own table: who is called for each number. */
static int read_numbers_64(unsigned long table)
{
	int core = open("/proc/kcore", O_RDONLY), bad = 0;
	unsigned long address[NR_64];

	if (core < 0 || !table || !read_kernel(core, table, address, sizeof(address))) {
		ksft_print_msg("cannot read sys_call_table: %m\n");
		return -1;
	}
	close(core);
	for (int nr = 0; nr < NR_64; nr++) {
		const char *name = NULL;

		for (int i = 0; i < nr_symbols && !name; i++)
			if (symbols[i].address == address[nr])
				name = symbols[i].name;
		if (!name || (*name && !find(name))) {
			ksft_print_msg("number %d is in no row of the table\n", nr);
			bad++;
		} else if (*name) {
			find(name)->nr_64 = nr;
		}
	}
	return bad;
}

/* The 32-bit table is code only; its source tells the numbers. */
static void read_numbers_32(void)
{
	char line[512], word[4][128];
	FILE *f = open_in_tree(TABLE_32);
	int nr, n;

	while (fgets(line, sizeof(line), f)) {
		struct call *call;
		char *name;

		n = sscanf(line, "%d %127s %127s %127s %127s", &nr, word[0],
			   word[1], word[2], word[3]);
		if (line[0] == '#' || n < 4)
			continue;
		name = word[n - 2];
		name += strncmp(name, "compat_", 7) ? 0 : 7;
		name += strncmp(name, "sys_", 4) ? 0 : 4;
		call = find(name);
		if (call && call->in_kernel)
			call->nr_32 = nr;
	}
	fclose(f);
}

static char *placed;

/* Is each function that the table names hooked? */
static int check_placed(void)
{
	static const char *const entry[] = { "x64_sys_call", "ia32_sys_call",
					     "x32_sys_call" };
	FILE *f = fopen("/sys/kernel/debug/speculator/hooks", "r");
	size_t size = 0;
	int bad = 0;

	if (!f || getdelim(&placed, &size, 0, f) <= 0) {
		ksft_print_msg("debugfs speculator/hooks: %m\n");
		return -1;
	}
	fclose(f);
	for (int i = 0; i < nr_calls; i++) {
		char *copy = strdup(calls[i].function), line[128];

		/* Once for each row. */
		if (i && calls[i].function == calls[i - 1].function)
			continue;
		for (char *fn = strtok(copy, ", "); fn; fn = strtok(NULL, ", ")) {
			int from = 0, to = 1;

			if (strchr(fn, ':'))
				continue;
			if (!strcmp(fn, "entry"))
				to = 3;
			for (; from < to; from++) {
				snprintf(line, sizeof(line), "- %s ",
					 to == 3 ? entry[from] : fn);
				if (!strstr(placed, line)) {
					ksft_print_msg("%sis not placed\n",
						       line + 2);
					bad++;
				}
			}
		}
		free(copy);
	}
	return bad;
}

static long call_64(const struct probe *probe)
{
	return syscall(probe->arg, -1L, -1L, -1L, -1L, -1L, -1L);
}

static long call_32(const struct probe *probe)
{
	return int80(probe->arg, -1, -1, -1, -1, -1);
}

/* Of those in the row "none": sleeps for ever, or returns to nowhere. */
static bool cannot_call(const char *name)
{
	static const char *const names[] = {
		"pause", "rt_sigsuspend", "sigsuspend", "rt_sigreturn",
		"sigreturn",
	};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/*
 * Those that always wait, at the entry, and those that never do. What waits
 * further down is in waits.c and outward.c, with arguments that get there.
 */
static int collect(struct probe *probes)
{
	int n = 0;

	for (int i = 0; i < nr_calls; i++) {
		const struct call *call = &calls[i];
		bool waits = call->rule == RULE_WAITS;

		if (!call->in_kernel || (!waits && call->rule != RULE_NONE) ||
		    cannot_call(call->name) ||
		    (waits && !strstr(call->function, "entry")))
			continue;
		for (int bits = 64; bits >= 32; bits -= 32) {
			int nr = bits == 64 ? call->nr_64 : call->nr_32;
			struct probe *probe = &probes[n];

			if (nr < 0)
				continue;
			snprintf(probe->name, sizeof(probe->name), "%.40s (%d bit)",
				 call->name, bits);
			probe->act = bits == 64 ? call_64 : call_32;
			probe->arg = nr;
			probe->waits = waits;
			n++;
		}
	}
	return n;
}

int main(void)
{
	static struct probe probes[2 * MAX_CALLS];
	int n, missing, stale = 0, waits = 0, sure = 0;
	unsigned long table = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	ksft_print_header();
	read_table();
	missing = read_symbols(&table);
	for (int i = 0; i < nr_calls; i++)
		if (!calls[i].in_kernel) {
			ksft_print_msg("%s is not in this kernel\n", calls[i].name);
			stale++;
		}
	n = read_numbers_64(table);
	read_numbers_32();
	ksft_print_msg("%d system calls in channels.rst\n", nr_calls);
	if (outside_open() || source_open())
		ksft_exit_fail_msg("cannot set up: %m\n");
	sure = collect(probes);
	for (int i = 0; i < sure; i++)
		waits += probes[i].waits;
	ksft_set_plan(6 + sure);
	ksft_test_result(nr_calls > 400 && !missing,
			 "every system call of this kernel is in the table\n");
	ksft_test_result(!stale && !twice, "every row is a system call\n");
	ksft_test_result(!n, "every number of sys_call_table is in the table\n");
	ksft_test_result(!check_placed(), "the functions are placed\n");
	ksft_test_result(waits > 60, "%d of %d calls are to wait\n", waits, sure);
	batch_run(probes, sure);
	outside_close();
	ksft_test_result(!source_close(), "modules unload\n");
	if (ksft_get_fail_cnt())
		ksft_exit_fail();
	ksft_exit_pass();
}
