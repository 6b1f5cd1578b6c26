/* SPDX-License-Identifier: GPL-2.0 */
/* System calls as a 32-bit program makes them. */
#ifndef SELFTESTS_INT80_H
#define SELFTESTS_INT80_H

#include <sys/mman.h>

/* Pointers have to be below 4 GiB: see low_page(). */
static inline long int80(int nr, long a, long b, long c, long d, long e)
{
	long ret;

	asm volatile("int $0x80"
		     : "=a"(ret)
		     : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

/* A page with a 32-bit address, or MAP_FAILED. */
static inline void *low_page(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
}

#endif /* SELFTESTS_INT80_H */
