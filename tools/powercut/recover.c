// SPDX-License-Identifier: GPL-2.0
/*
 * recover DEVICE COUNT SIZE: mounts and umounts each of the COUNT file systems of
 * SIZE bytes that are on DEVICE one after the other, and prints for each its
 * number with what the kernel had to say against it, and then with "done".
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

static void partition(int disk, int op, long long start, long long length)
{
	struct blkpg_partition part = {
		.start = start, .length = length, .pno = 1
	};
	struct blkpg_ioctl_arg arg = {
		.op = op, .datalen = sizeof(part), .data = &part
	};

	if (ioctl(disk, BLKPG, &arg))
		err(1, "partition at %lld", start);
}

static bool is_complaint(const char *message)
{
	return strstr(message, "EXT4-fs error") ||
	       strstr(message, "invalid superblock checksum") ||
	       (strstr(message, "JBD2") &&
		(strcasestr(message, "error") ||
		 strcasestr(message, "corrupt")));
}

static void print_complaints(int kmsg, int number)
{
	char record[8192], *text;
	ssize_t n;

	for (;;) {
		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;	/* overrun: goes on with the oldest */
		if (n < 0)
			return;
		record[n] = '\0';
		/* "6,1234,56789,-;message", a newline, other lines */
		text = strchr(record, ';');
		if (text && is_complaint(text))
			printf("%d %.*s\n", number,
			       (int)strcspn(text + 1, "\n"), text + 1);
	}
}

int main(int argc, char **argv)
{
	int disk, kmsg, count, i;
	char device[64];
	long long size;

	if (argc != 4)
		errx(1, "usage: recover DEVICE COUNT SIZE");
	count = atoi(argv[2]);
	size = atoll(argv[3]);
	snprintf(device, sizeof(device), "%s1", argv[1]);
	disk = open(argv[1], O_RDONLY);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (disk < 0 || kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		err(1, "%s", argv[1]);
	for (i = 0; i < count; i++) {
		partition(disk, BLKPG_ADD_PARTITION, i * size, size);
		if (mount(device, "/mnt", "ext4", 0, NULL) || umount("/mnt"))
			printf("%d cannot be mounted: %m\n", i);
		partition(disk, BLKPG_DEL_PARTITION, 0, 0);
		print_complaints(kmsg, i);
		printf("%d done\n", i);
		fflush(stdout);
	}
	return 0;
}
