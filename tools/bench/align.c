// SPDX-License-Identifier: GPL-2.0
/*
 * align: sleep until a multiple of ten seconds of the monotonic clock. It is the one
 * that the kernel's timers and its tick go by: what begins then finds them at the
 * same distance, in every cell and in every run.
 */
#include <time.h>

#define PERIOD 10

int main(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += PERIOD - t.tv_sec % PERIOD;
	t.tv_nsec = 0;
	return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}
