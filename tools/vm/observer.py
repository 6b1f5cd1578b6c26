# SPDX-License-Identifier: GPL-2.0
"""The outside world of the guest: records what comes out of it, and when."""

import json
import selectors
import socket
import threading
import time


class Observer(threading.Thread):
    """Listen on a UDP port, a TCP port and the guest's second serial line.

    Each chunk received becomes one JSON line in the files `kept` (for the
    caller) and `shared` (which the guest reads while the test is running):
      t     host CLOCK_MONOTONIC in ns
      ch    "udp", "tcp", "serial"; "tcp-open" and "tcp-close" without data
      conn  the peer's port (udp) or the number of the connection (tcp)
      data  the bytes, as latin-1 text
    The bare bytes of a channel are in `shared`.udp, .tcp and .serial: there a
    text can be found that came in several chunks.
    """

    def __init__(self, kept, shared, serial_path):
        super().__init__(daemon=True)
        self.logs = [open(path, "ab", buffering=0) for path in (kept, shared)]
        self.raw = {channel: open(f"{shared}.{channel}", "ab", buffering=0)
                    for channel in ("udp", "tcp", "serial")}
        self.selector = selectors.DefaultSelector()
        self.stopping = False
        self.connections = 0

        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.selector.register(self.udp, selectors.EVENT_READ,
                               self.receive_udp)
        self.tcp = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.selector.register(self.tcp, selectors.EVENT_READ,
                               self.accept_tcp)
        self.serial = socket.socket(socket.AF_UNIX)
        self.serial.bind(serial_path)
        self.serial.listen(1)
        self.selector.register(self.serial, selectors.EVENT_READ,
                               self.accept_serial)

    @property
    def udp_port(self):
        return self.udp.getsockname()[1]

    @property
    def tcp_port(self):
        return self.tcp.getsockname()[1]

    def run(self):
        while True:
            # Taken before select(): after stop() there is one more round, for
            # what was already on its way.
            stopping = self.stopping
            ready = self.selector.select(timeout=0.1)
            for key, _ in ready:
                key.data()
            if stopping and not ready:
                break

    def stop(self):
        """Record what has arrived already, then end."""
        self.stopping = True
        self.join()

    def record(self, channel, conn, data=b""):
        line = json.dumps({"t": time.monotonic_ns(), "ch": channel,
                           "conn": conn, "data": data.decode("latin-1")})
        for log in self.logs:
            log.write(line.encode() + b"\n")
        if data:
            self.raw[channel].write(data)

    def receive_udp(self):
        data, peer = self.udp.recvfrom(65536)
        self.record("udp", peer[1], data)

    def accept_tcp(self):
        sock, _ = self.tcp.accept()
        self.connections += 1
        self.record("tcp-open", self.connections)
        self.watch(sock, "tcp", self.connections)

    def accept_serial(self):
        sock, _ = self.serial.accept()
        self.watch(sock, "serial", 1)

    def watch(self, sock, channel, conn):
        def receive():
            try:
                data = sock.recv(65536)
            except ConnectionError:
                data = b""
            if data:
                self.record(channel, conn, data)
                return
            self.selector.unregister(sock)
            sock.close()
            if channel == "tcp":
                self.record("tcp-close", conn)

        self.selector.register(sock, selectors.EVENT_READ, receive)
