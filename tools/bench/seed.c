// SPDX-License-Identifier: GPL-2.0
/*
 * Tell the kernel that its random numbers are good enough: the seed is always the
 * same. An emulated machine without RDRAND gets there by itself sooner or later,
 * and until then each random number is 7300 instructions more; every new inode has
 * one.
 */
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <sys/ioctl.h>

int main(void)
{
	static const struct {
		struct rand_pool_info info;
		char seed[64];
	} seed = { .info = { .entropy_count = 512, .buf_size = 64 } };
	int fd = open("/dev/random", O_WRONLY);

	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &seed)) {
		perror("seed");
		return 1;
	}
	return 0;
}
