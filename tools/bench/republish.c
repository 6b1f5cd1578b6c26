// SPDX-License-Identifier: GPL-2.0
/*
 * A server that stores each message before it answers; `feed` is its client.
 *
 *   republish [--fsync] PORT append FILES DIR    append it to FILES files
 *   republish [--fsync] PORT maildir DIR         deliver it: DIR/tmp, DIR/new
 *
 * It takes one connection after the other and answers with the message itself.
 */

#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "message.h"

#define MAX_FILES 16

static bool sync_all;
static int n_files;		/* 0: maildir */
static int files[MAX_FILES];
static int new_dir;
static unsigned long delivered;

static void put(int fd, const char *message)
{
	if (write(fd, message, MESSAGE_SIZE) != MESSAGE_SIZE)
		err(1, "write");
}

static void commit(int fd)
{
	if (sync_all && fsync(fd))
		err(1, "fsync");
}

static void append(const char *message)
{
	int i;

	for (i = 0; i < n_files; i++)
		put(files[i], message);
	for (i = 0; i < n_files; i++)
		commit(files[i]);
}

static void deliver(const char *message)
{
	char from[PATH_MAX], to[PATH_MAX];
	int fd;

	snprintf(from, sizeof(from), "tmp/%lu", delivered);
	snprintf(to, sizeof(to), "new/%lu", delivered++);
	fd = open(from, O_WRONLY | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		err(1, "%s", from);
	put(fd, message);
	commit(fd);
	close(fd);
	if (rename(from, to))
		err(1, "%s", to);
	commit(new_dir);
}

static void open_files(const char *dir)
{
	char name[20];
	int i;

	if (chdir(dir))
		err(1, "%s", dir);
	for (i = 0; i < n_files; i++) {
		snprintf(name, sizeof(name), "queue%d", i);
		files[i] = open(name, O_WRONLY | O_CREAT | O_APPEND, 0666);
		if (files[i] < 0)
			err(1, "%s", name);
	}
	if (n_files)
		return;
	mkdir("tmp", 0777);
	mkdir("new", 0777);
	new_dir = open("new", O_RDONLY | O_DIRECTORY);
	if (new_dir < 0)
		err(1, "new");
}

static int listen_on(const char *port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_port = htons(atoi(port)),
	};
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int one = 1;

	if (listener < 0 ||
	    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
	    bind(listener, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(listener, 1))
		err(1, "port %s", port);
	return listener;
}

static void serve(int sock)
{
	char message[MESSAGE_SIZE];

	while (recv(sock, message, MESSAGE_SIZE, MSG_WAITALL) == MESSAGE_SIZE) {
		if (n_files)
			append(message);
		else
			deliver(message);
		if (send(sock, message, MESSAGE_SIZE, MSG_NOSIGNAL) !=
		    MESSAGE_SIZE)
			err(1, "send");
	}
}

int main(int argc, char **argv)
{
	int listener, sock;

	sync_all = argc > 1 && !strcmp(argv[1], "--fsync");
	argv += sync_all;
	argc -= sync_all;
	if (argc == 5 && !strcmp(argv[2], "append"))
		n_files = atoi(argv[3]);
	else if (argc != 4 || strcmp(argv[2], "maildir"))
		errx(1, "usage: republish [--fsync] PORT append FILES DIR | maildir DIR");
	if (n_files < 0 || n_files > MAX_FILES)
		errx(1, "at most %d files", MAX_FILES);
	listener = listen_on(argv[1]);
	open_files(argv[argc - 1]);
	while ((sock = accept(listener, NULL, NULL)) >= 0) {
		serve(sock);
		close(sock);
	}
	err(1, "accept");
}
