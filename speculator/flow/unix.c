// SPDX-License-Identifier: GPL-2.0
/*
 * Local sockets: stream, datagram, seqpacket.  The key is the receiving sock.
 * A descriptor passed by SCM_RIGHTS needs nothing: its object has its own key.
 */

#include <linux/net.h>
#include <net/af_unix.h>
#include <net/sock.h>
#include "../../compat/net.h"
#include "../object.h"
#include "unix.h"

static __always_inline void take_own(struct socket *sock)
{
	if (sock->sk)
		spec_take(sock->sk, SPEC_CH_UNIX);
}

/* The peer may be replaced or freed meanwhile; it is only a key here. */
static __always_inline void put_peer(struct socket *sock)
{
	const void *self = spec_self();
	struct sock *peer;

	if (!self || !spec_maybe(self) || !sock->sk)
		return;
	peer = READ_ONCE(unix_peer(sock->sk));
	if (peer)
		__spec_put(peer, SPEC_CH_UNIX);
}

/*
 * Who connects, or sends to an address, learns whether somebody is there: that
 * an abstract name is bound, that a socket listens, and that it no longer does.
 * There is no object to ask when nobody is there, so all have one.  (A name in
 * a file system is a file, too: flow/name.c.)
 */
static const char listeners;

static void take_listeners(void)
{
	spec_take(&listeners, SPEC_CH_UNIX);
}

DEFINE_HOOK_BEFORE(unix_bind, int,
		   (struct socket *sock, struct sockaddr *addr, int len),
		   (sock, addr, len))
{
	spec_put(&listeners, SPEC_CH_UNIX);
}

DEFINE_HOOK_BEFORE(unix_listen, int, (struct socket *sock, int backlog),
		   (sock, backlog))
{
	spec_put(&listeners, SPEC_CH_UNIX);
}

/* Others can find it by a name: not so the ends of a connection. */
static bool has_name(const struct sock *sk)
{
	return READ_ONCE(unix_sk(sk)->addr) &&
	       (sk->sk_type == SOCK_DGRAM || sk->sk_state != TCP_ESTABLISHED);
}

DEFINE_HOOK(unix_stream_connect, int,
	    (struct socket *sock, struct sockaddr *addr, int len, int flags),
	    (sock, addr, len, flags))
{
	int err = hook_orig_unix_stream_connect(sock, addr, len, flags);

	take_listeners();
	return err;
}

DEFINE_HOOK(unix_dgram_connect, int,
	    (struct socket *sock, struct sockaddr *addr, int len, int flags),
	    (sock, addr, len, flags))
{
	int err = hook_orig_unix_dgram_connect(sock, addr, len, flags);

	take_listeners();
	return err;
}

DEFINE_HOOK_BEFORE(unix_stream_sendmsg, int,
		   (struct socket *sock, struct msghdr *msg, size_t len),
		   (sock, msg, len))
{
	take_own(sock);		/* EPIPE tells of the peer's close */
	put_peer(sock);
}

DEFINE_HOOK_BEFORE(unix_stream_sendpage, ssize_t,
		   (struct socket *sock, struct page *page, int offset,
		    size_t size, int flags),
		   (sock, page, offset, size, flags))
{
	take_own(sock);		/* EPIPE tells of the peer's close */
	put_peer(sock);
}

/* A connected datagram or seqpacket socket; an addressed one is found below. */
DEFINE_HOOK(unix_dgram_sendmsg, int,
	    (struct socket *sock, struct msghdr *msg, size_t len),
	    (sock, msg, len))
{
	int n;

	put_peer(sock);
	n = hook_orig_unix_dgram_sendmsg(sock, msg, len);
	if (msg->msg_name)
		take_listeners();
	else if (n < 0)
		take_own(sock);	/* the peer has closed or connected elsewhere */
	return n;
}

/* Under the receiver's lock, before the datagram is queued there. */
DEFINE_HOOK_BEFORE(security_unix_may_send, int,
		   (struct socket *sock, struct socket *other), (sock, other))
{
	if (other->sk)
		spec_put(other->sk, SPEC_CH_UNIX);
}

/* Under the listener's lock, before the connection is queued there. */
DEFINE_HOOK_BEFORE(security_unix_stream_connect, int,
		   (struct sock *sk, struct sock *other, struct sock *newsk),
		   (sk, other, newsk))
{
	spec_put(other, SPEC_CH_UNIX);
	spec_put(newsk, SPEC_CH_UNIX);
}

DEFINE_HOOK(unix_accept, int, COMPAT_SOCK_ACCEPT_PROTO,
	    COMPAT_SOCK_ACCEPT_ARGS)
{
	int err = hook_orig_unix_accept COMPAT_SOCK_ACCEPT_ARGS;

	take_own(sock);
	return err;
}

DEFINE_HOOK(unix_stream_recvmsg, int,
	    (struct socket *sock, struct msghdr *msg, size_t size, int flags),
	    (sock, msg, size, flags))
{
	int n = hook_orig_unix_stream_recvmsg(sock, msg, size, flags);

	take_own(sock);
	return n;
}

DEFINE_HOOK(unix_stream_splice_read, ssize_t,
	    (struct socket *sock, loff_t *pos, struct pipe_inode_info *pipe,
	     size_t size, unsigned int flags),
	    (sock, pos, pipe, size, flags))
{
	ssize_t n = hook_orig_unix_stream_splice_read(sock, pos, pipe, size,
						      flags);

	take_own(sock);
	return n;
}

DEFINE_HOOK(__unix_dgram_recvmsg, int,
	    (struct sock *sk, struct msghdr *msg, size_t size, int flags),
	    (sk, msg, size, flags))
{
	int n = hook_orig___unix_dgram_recvmsg(sk, msg, size, flags);

	spec_take(sk, SPEC_CH_UNIX);
	return n;
}

/**
 * spec_unix_closed - the last descriptor of a local socket is being closed
 * @file: its open file, with what earlier closers have left there (filp_close()
 *	in flow/file.c)
 * @sk: the socket
 *
 * Context: any.
 */
void spec_unix_closed(const struct file *file, const struct sock *sk)
{
	const struct sock *peer = READ_ONCE(unix_peer(sk));

	if (peer)
		spec_pass(file, peer, SPEC_CH_UNIX);
	if (has_name(sk))
		spec_pass(file, &listeners, SPEC_CH_UNIX);
}

/* The peer sees end of file, or EPIPE; who wants to connect ECONNREFUSED. */
static void put_end(struct socket *sock)
{
	put_peer(sock);
	if (sock->sk && has_name(sock->sk))
		spec_put(&listeners, SPEC_CH_UNIX);
}

DEFINE_HOOK_BEFORE(unix_shutdown, int, (struct socket *sock, int mode),
		   (sock, mode))
{
	put_end(sock);
}

DEFINE_HOOK_BEFORE(unix_release, int, (struct socket *sock), (sock))
{
	put_end(sock);
}

static struct spec_hook *const hooks[] = {
	&hook_unix_bind,
	&hook_unix_listen,
	&hook_unix_stream_connect,
	&hook_unix_dgram_connect,
	&hook_unix_stream_sendmsg,
	&hook_unix_stream_sendpage,
	&hook_unix_dgram_sendmsg,
	&hook_security_unix_may_send,
	&hook_security_unix_stream_connect,
	&hook_unix_accept,
	&hook_unix_stream_recvmsg,
	&hook_unix_stream_splice_read,
	&hook___unix_dgram_recvmsg,
	&hook_unix_shutdown,
	&hook_unix_release,
};

const struct spec_channel spec_flow_unix = {
	.name = "unix",
	.rule = "passes on",
	.hooks = hooks,
	.nr_hooks = ARRAY_SIZE(hooks),
};
