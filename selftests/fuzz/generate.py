# SPDX-License-Identifier: GPL-2.0
"""Random graphs of processes: objects, processes, and what each does when.

A graph is made of chains: the first process becomes dependent (or does not, for a
chain that is clean), and tells the next by a channel that is drawn, until the
last says something to the outside. Chains of a graph share processes, objects and
outputs, so most of what happens was not planned.
"""

import random
from dataclasses import dataclass, field, replace

# By the kind of an object, what gives and what observes.
STREAMS = ["pipe", "stream", "dgram", "seqpacket", "tcp", "tcp6", "udp", "udp6",
           "pty"]
MEMORY = ["memfd", "shm", "map", "sysv", "m-map"]
OUTPUTS = ["Udp", "Udp", "Tcp", "Tcp", "Raw", "Tty"]
NOT_AFTER_EXEC = {"sysv", "msg", "sem"}     # known by a number in memory
HOP = 14000         # microseconds from one process of a chain to the next


@dataclass
class Op:
    proc: int
    at: int
    name: str
    args: tuple = ()        # ("o", number) or ("p", number)
    m: int = 0
    a: int = 0
    looks_for: object = None    # the Op whose number is the argument

    def objects(self):
        return [n for kind, n in self.args if kind == "o"]

    def target(self):
        return next((n for kind, n in self.args if kind == "p"), None)


@dataclass
class Graph:
    seed: str = ""
    kinds: list = field(default_factory=list)       # of the objects
    parents: list = field(default_factory=list)     # of the processes, or None
    ops: list = field(default_factory=list)

    def name(self, obj):
        return f"{self.kinds[obj].replace('-', '')}{obj}"

    def sort(self):
        self.ops.sort(key=lambda op: op.at)

    def line(self, op):
        words = [f"do p{op.proc} {op.at} {op.name}"]
        words += [self.name(n) if kind == "o" else f"p{n}"
                  for kind, n in op.args]
        a = self.ops.index(op.looks_for) + 1 if op.looks_for else op.a
        words += [f"m={op.m}"] * bool(op.m) + [f"a={a}"] * bool(a)
        return " ".join(words)

    def script(self):
        lines = [f"obj {self.name(i)} {kind}"
                 for i, kind in enumerate(self.kinds)]
        lines += [f"proc p{i}" + ("" if parent is None else f" p{parent}")
                  for i, parent in enumerate(self.parents)]
        lines += [self.line(op) for op in self.ops]
        return "\n".join(lines)

    def only(self, ops):
        """The graph with no other operations, and nothing that is not used."""
        ops = [op for op in ops
               if op.looks_for is None or any(op.looks_for is o for o in ops)]
        forked = {op.target() for op in ops if op.name == "fork"}
        # A child without its fork is never born.
        procs = {op.proc for op in ops} | {op.target() for op in ops
                                           if op.target() is not None}
        procs |= {self.parents[p] for p in procs
                  if self.parents[p] is not None}
        ops = [op for op in ops if self.parents[op.proc] is None
               or op.proc in forked]
        objs = sorted({n for op in ops for n in op.objects()})
        proc_list = sorted(procs)
        new = {id(op): replace(
            op, proc=proc_list.index(op.proc),
            args=tuple((k, objs.index(n) if k == "o" else proc_list.index(n))
                       for k, n in op.args)) for op in ops}
        for op in new.values():
            if op.looks_for is not None:
                op.looks_for = new.get(id(op.looks_for))
        return Graph(self.seed, [self.kinds[n] for n in objs],
                     [None if self.parents[p] is None
                      else proc_list.index(self.parents[p])
                      for p in proc_list], list(new.values()))


def merge(graphs):
    """One graph of several that have nothing to do with each other.

    Also returns of which each operation is.
    """
    whole, owner = Graph(), []
    for number, graph in enumerate(graphs):
        objs, procs = len(whole.kinds), len(whole.parents)
        whole.kinds += graph.kinds
        whole.parents += [None if p is None else p + procs
                          for p in graph.parents]
        new = {id(op): replace(
            op, proc=op.proc + procs,
            args=tuple((k, n + (objs if k == "o" else procs))
                       for k, n in op.args)) for op in graph.ops}
        for op in new.values():
            if op.looks_for is not None:
                op.looks_for = new[id(op.looks_for)]
        for op in new.values():
            whole.ops.append(op)
            owner.append((op, number))
    whole.sort()
    by_op = {id(op): number for op, number in owner}
    return whole, [by_op[id(op)] for op in whole.ops]


class Maker:
    def __init__(self, seed, mode):
        self.rng = random.Random(seed)
        self.mode = mode                # "source", "gate", "both"
        self.g = Graph(seed)
        self.by_kind = {}
        self.bits = {}
        self.execs = set()
        self.dead = {}                  # process: when it exits

    # --- pieces ---

    def obj(self, kind, again=0.3):
        old = self.by_kind.setdefault(kind, [])
        if old and self.rng.random() < again:
            return self.rng.choice(old)
        self.g.kinds.append(kind)
        old.append(len(self.g.kinds) - 1)
        return old[-1]

    def proc(self, parent=None):
        self.g.parents.append(parent)
        return len(self.g.parents) - 1

    def do(self, proc, at, name, *args, **more):
        if at >= self.dead.get(proc, at + 1):
            return None
        op = Op(proc, max(int(at), 0), name, args, **more)
        self.g.ops.append(op)
        return op

    def near(self, t):
        """When the other side looks: before, or after."""
        return t + self.rng.choice([-6000, -2000, 1000, 3000, 6000])

    def later(self, t):
        return t + self.rng.choice([2000, 4000, 7000])

    def place(self, kind):
        """On the mount, sometimes, if there is one."""
        if self.mode != "source" and self.rng.random() < 0.5:
            return "m-" + kind
        return kind

    # --- how a process becomes dependent ---

    def taint(self, p, t):
        ways = []
        if self.mode != "gate":
            ways += ["source"] * 3
        if self.mode != "source":
            ways += ["pwrite", "meta", "name", "store", "fsync"]
        way = self.rng.choice(ways)
        if way == "source":
            self.do(p, t, "taint")
        elif way == "pwrite":
            self.do(p, t, "pwrite", ("o", self.obj("m-file")),
                    m=self.rng.randrange(3), a=self.rng.randrange(16))
        elif way == "meta":
            self.do(p, t, "setmeta", ("o", self.obj("m-file")),
                    m=self.rng.randrange(3))
        elif way == "name":
            self.do(p, t, "mkname", ("o", self.obj("m-dir")),
                    m=self.rng.randrange(6))
        elif way == "store":
            self.do(p, t, "store", ("o", self.obj("m-map")),
                    a=self.rng.randrange(16))
        else:
            file = self.obj("m-file")
            self.do(p, t, "pwrite", ("o", file), a=self.rng.randrange(16))
            self.do(p, t + 1000, "fsync", ("o", file))

    # --- how @a tells @b; each returns who knows now and when ---

    def hop_stream(self, a, b, t):
        kind = self.rng.choice(STREAMS)
        o = ("o", self.obj(kind))
        back = kind != "pipe" and kind[:3] != "udp" and self.rng.random() < 0.3
        give, take = ("rwrite", "rread") if back else ("write", "read")
        self.do(a, t, give, o, m=self.rng.choice([0, 0, 1, 2, 3, 4]))
        if not back and self.rng.random() < 0.15:
            self.do(b, self.near(t), "ready", o, m=self.rng.randrange(2))
        else:
            self.do(b, self.near(t), take, o,
                    m=self.rng.choice([0, 0, 1, 2, 3, 4]))
        return b, t + HOP

    def hop_close(self, a, b, t):
        o = ("o", self.obj(self.rng.choice(["pipe", "stream", "tcp"]), 0))
        self.do(a, t, "write", o)
        self.do(a, t + 2000, self.rng.choice(["close", "close", "shut"]), o)
        self.do(b, t + 4000, "read", o)
        # Its own copies of the descriptors keep it open: it only has the one.
        self.do(b, t + 6000, "read", o)
        return b, t + HOP

    def hop_splice(self, a, b, t):
        one, two = ("o", self.obj("pipe", 0)), ("o", self.obj("pipe", 0))
        third = self.any_proc(t)
        self.do(a, t, "write", one)
        self.do(third, self.near(t), self.rng.choice(["splice", "tee"]), one, two)
        self.do(b, self.near(t + 3000), "read", two)
        return b, t + HOP

    def hop_fifo(self, a, b, t):
        o = ("o", self.obj(self.place("fifo")))
        self.do(a, t, "fput", o)
        self.do(b, self.later(t), "fget", o)
        return b, t + HOP

    def hop_listen(self, a, b, t):
        o = ("o", self.obj(self.rng.choice(["lstream", "ltcp", "ldgram"])))
        m = self.rng.choice([0, 0, 1])
        self.do(a, t, "connect", o, m=m)
        self.do(b, self.near(t), "accept", o, m=m)
        return b, t + HOP

    def hop_count(self, a, b, t):
        n = self.obj(self.rng.choice(["eventfd", "sem"]))
        bit = self.bits[n] = self.bits.get(n, -1) + 1
        if bit > 12:
            return b, t
        self.do(a, t, "add", ("o", n), a=bit)
        self.do(b, self.later(t), "get", ("o", n))
        return b, t + HOP

    def hop_message(self, a, b, t):
        o = ("o", self.obj(self.rng.choice(["msg", "mq"])))
        self.do(a, t, "send", o)
        self.do(b, self.near(t), "recv", o)
        return b, t + HOP

    def hop_memory(self, a, b, t):
        kinds = [k for k in MEMORY if self.mode != "source" or k[1] != "-"]
        o = ("o", self.obj(self.rng.choice(kinds)))
        slot = self.rng.randrange(16)
        self.do(a, t, "store", o, a=slot)
        self.do(b, self.near(t), "load", o, m=self.rng.randrange(2), a=slot)
        return b, t + HOP

    def hop_file(self, a, b, t):
        o = ("o", self.obj(self.place("file")))
        if self.rng.random() < 0.5:
            self.do(a, t, "pwrite", o, m=self.rng.randrange(3),
                    a=self.rng.randrange(16))
            self.do(b, self.later(t), "pread", o,
                    m=self.rng.choice([0, 0, 1, 2, 3]))
        else:
            m = self.rng.randrange(4)
            self.do(a, t, "setmeta", o, m=m)
            self.do(b, self.later(t), "getmeta", o, m=m,
                    a=self.rng.randrange(2))
        return b, t + HOP

    def hop_name(self, a, b, t):
        o = ("o", self.obj(self.place("dir")))
        made = self.do(a, t, "mkname", o, m=self.rng.randrange(6))
        on_mount = self.g.kinds[o[1]] == "m-dir"    # has no inotify
        m = self.rng.randrange(2 if on_mount else 3)
        if m == 1 and made:
            self.do(b, self.near(t), "ls", o, m=1, looks_for=made)
        else:
            self.do(b, self.later(t), "ls", o, m=m if m == 2 else 0)
        return b, t + HOP

    def hop_lock(self, a, b, t):
        # One lock of a graph: a process has one descriptor for it.
        o = ("o", self.obj("lock", 1))
        m = self.by_kind.setdefault("lock's way", self.rng.randrange(2))
        if self.rng.random() < 0.5:
            self.do(a, t, "lock", o, m=m)
            self.do(b, self.later(t), "lock", o, m=m)
        else:
            self.do(a, t - 8000, "lock", o, m=m)
            self.do(a, t, "unlock", o, m=m)
            self.do(b, self.later(t), "lock", o, m=m)
        return b, t + HOP

    def hop_signal(self, a, b, t):
        self.do(a, t, "kill", ("p", b))
        self.do(b, self.near(t), "sigget")
        return b, t + HOP

    def hop_look(self, a, b, t):
        way = self.rng.choice(["name", "word", "word", "inbox", "trace", "poke"])
        if way == "name":
            self.do(a, t, "setname")
            self.do(b, self.later(t), "getname", ("p", a), m=self.rng.randrange(2))
        elif way == "word":
            self.do(a, t, "setword")
            self.do(b, self.later(t), "vmread", ("p", a))
        elif way == "inbox":
            self.do(a, t, "vmwrite", ("p", b), a=self.rng.randrange(16))
            self.do(b, self.later(t), "inbox")
        elif way == "trace":
            self.do(a, t, "setword")
            self.do(b, self.later(t), "ptrace", ("p", a), a=self.rng.randrange(15))
        else:
            self.do(a, t, "ptrace", ("p", b), a=self.rng.randrange(15))
            self.do(b, self.later(t), "inbox")
        return b, t + HOP

    def hop_fork(self, a, b, t):
        child = self.proc(a)
        if not self.do(a, t, "fork", ("p", child)):
            self.g.parents.pop()
            return b, t
        return child, t + HOP

    def hop_exit(self, a, b, t):
        """@b's child ends; @a tells it something before, in some way."""
        child = self.proc(b)
        if not self.do(b, t - 9000, "fork", ("p", child)):
            self.g.parents.pop()
            return b, t
        pipe = ("o", self.obj("pipe", 0))
        self.do(a, t, "write", pipe)
        self.do(child, t - 1000, "read", pipe)
        self.do(child, t + 4000, "exit")
        self.dead[child] = t + 4000
        self.do(b, t + self.rng.choice([2000, 8000]), "wait", ("p", child))
        return b, t + HOP + 6000

    def hop_descriptor(self, a, b, t):
        """@b gets something it had not, and reads from it."""
        kind = self.rng.choice(["pipe", "stream", "tcp", "file", "pty"])
        o = ("o", self.obj(kind, 0))
        s = ("o", self.obj("stream", 0))
        third = self.any_proc(t)
        if third == b:
            third = a
        give, take = ("pwrite", "pread") if kind == "file" else ("write", "read")
        self.do(a, t, give, o)
        if self.rng.random() < 0.7:
            self.do(third, t - 3000, "sendfd", s, o)
            self.do(b, self.near(t - 2000), "recvfd", s, o)
        else:
            # Somebody else than @a has it, or @a.
            self.do(third, t + 20000, "keep", o)
            self.do(b, t - 1000, "getfd", o, ("p", third))
        self.do(b, t + 8000, take, o)
        return b, t + HOP

    def hop_exec(self, a, b, t):
        if a in self.execs:
            return b, t
        self.execs.add(a)
        self.do(a, t, "exec")
        return a, t + HOP

    HOPS = [(hop_stream, 6), (hop_close, 1), (hop_splice, 2), (hop_fifo, 1),
            (hop_listen, 2), (hop_count, 2), (hop_message, 2), (hop_memory, 4),
            (hop_file, 3), (hop_name, 2), (hop_lock, 1), (hop_signal, 1),
            (hop_look, 3), (hop_fork, 2), (hop_exit, 2), (hop_descriptor, 2),
            (hop_exec, 1)]

    def any_proc(self, t):
        return self.rng.choice(
            [p for p, parent in enumerate(self.g.parents) if parent is None])

    # --- the whole ---

    def chain(self, dirty):
        rng = self.rng
        hops, weights = zip(*self.HOPS)
        t = 10000 + rng.randrange(60000)
        a = self.any_proc(t)
        if dirty:
            self.taint(a, t)
            t += rng.choice([1000, 3000])
        for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 5])):
            b = self.any_proc(t)
            hop = rng.choices(hops, weights)[0]
            if a == b and hop not in (Maker.hop_fork, Maker.hop_exec):
                continue
            a, t = hop(self, a, b, t)
            if rng.random() < 0.3:
                self.say(a, t - 1000)
        if rng.random() < 0.15:
            self.do(a, t, "exec")
            self.execs.add(a)
        self.say(a, t)
        if rng.random() < 0.3:
            self.say(a, t + 2000)

    def say(self, p, t):
        # A few outputs, so that processes share them.
        have = [n for kind in sorted(set(OUTPUTS)) for n in
                self.by_kind.get(kind, [])]
        if have and (len(have) > 3 or self.rng.random() < 0.4):
            o = self.rng.choice(have)
        else:
            o = self.obj(self.rng.choice(OUTPUTS), 0)
        self.do(p, t, "say", ("o", o), m=self.rng.choice([0, 0, 1]))

    def make(self):
        rng = self.rng
        for _ in range(rng.randrange(3, 7)):
            self.proc()
        for _ in range(rng.randrange(1, 4)):
            self.chain(rng.random() < 0.75)
        self.drop_impossible()
        self.g.sort()
        return self.g

    def drop_impossible(self):
        """What cannot be done after an exec or an exit."""
        g = self.g
        for p in list(self.execs):
            if any(op.proc == p and any(g.kinds[n] in NOT_AFTER_EXEC
                                        for n in op.objects())
                   for op in g.ops):
                g.ops = [op for op in g.ops
                         if not (op.proc == p and op.name == "exec")]
        first = {}
        for op in sorted(g.ops, key=lambda op: op.at):
            if op.name == "exec":
                if first.setdefault(op.proc, op) is not op:
                    g.ops = [o for o in g.ops if o is not op]


def graph(seed, mode):
    return Maker(seed, mode).make()
