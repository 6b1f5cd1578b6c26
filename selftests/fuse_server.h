/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The smallest FUSE file system: one file, "file", of which a server process
 * knows only that it is read and written.
 */
#ifndef SELFTESTS_FUSE_SERVER_H
#define SELFTESTS_FUSE_SERVER_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FUSE_SIZE 65536

static inline void fuse_attr(struct fuse_attr *attr, unsigned long long node)
{
	memset(attr, 0, sizeof(*attr));
	attr->ino = node;
	attr->mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
	attr->nlink = 1;
	attr->size = node == 1 ? 0 : FUSE_SIZE;
	attr->blksize = 4096;
}

static inline void fuse_reply(int dev, unsigned long long unique, int error,
			      const void *data, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len, .error = error, .unique = unique,
	};
	struct iovec v[] = { { &out, sizeof(out) }, { (void *)data, len } };

	if (writev(dev, v, len ? 2 : 1) < 0 && errno != ENOENT)
		_exit(1);
}

/* Serve until the file system is unmounted. */
static inline void fuse_serve(int dev)
{
	static char request[FUSE_SIZE + 65536], zeros[FUSE_SIZE];
	struct fuse_in_header *in = (void *)request;
	void *arg = in + 1;

	for (;;) {
		union {
			struct fuse_init_out init;
			struct fuse_entry_out entry;
			struct fuse_attr_out attr;
			struct fuse_open_out open;
			struct fuse_write_out write;
		} out = { 0 };
		int error = 0;
		size_t len = 0;

		if (read(dev, request, sizeof(request)) <= 0) {
			if (errno == ENODEV)
				_exit(0);
			continue;
		}
		switch (in->opcode) {
		case FUSE_INIT:
			out.init.major = FUSE_KERNEL_VERSION;
			out.init.minor = 31;
			out.init.max_write = 32768;
			len = sizeof(out.init);
			break;
		case FUSE_LOOKUP:
			if (strcmp(arg, "file")) {
				error = -ENOENT;
				break;
			}
			out.entry.nodeid = 2;
			out.entry.entry_valid = 60;
			out.entry.attr_valid = 60;
			fuse_attr(&out.entry.attr, 2);
			len = sizeof(out.entry);
			break;
		case FUSE_GETATTR:
		case FUSE_SETATTR:
			out.attr.attr_valid = 60;
			fuse_attr(&out.attr.attr, in->nodeid);
			len = sizeof(out.attr);
			break;
		case FUSE_OPEN:
			len = sizeof(out.open);
			break;
		case FUSE_READ:
			fuse_reply(dev, in->unique, 0, zeros,
				   ((struct fuse_read_in *)arg)->size);
			continue;
		case FUSE_WRITE:
			out.write.size = ((struct fuse_write_in *)arg)->size;
			len = sizeof(out.write);
			break;
		case FUSE_FLUSH:
		case FUSE_RELEASE:
		case FUSE_FSYNC:
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			continue;
		default:
			error = -EOPNOTSUPP;
		}
		fuse_reply(dev, in->unique, error, &out, error ? 0 : len);
	}
}

/* Mount it on @dir, with a server in a child process. */
static inline int fuse_mount(const char *dir)
{
	char options[100];
	int dev = open("/dev/fuse", O_RDWR);

	if (dev < 0)
		return -1;
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", dev);
	if (mount("server", dir, "fuse", 0, options))
		return -1;
	switch (fork()) {
	case -1:
		return -1;
	case 0:
		fuse_serve(dev);
	}
	return close(dev);
}

#endif /* SELFTESTS_FUSE_SERVER_H */
