# SPDX-License-Identifier: GPL-2.0
"""What may come out of a graph, and when: the reference model.

It is given what has happened: of each operation its result, when it began and
ended, and which tokens it has seen. A token is the number of the operation that
has written it. From this follow two bounds of what each output depends on:

the least   what its process certainly knew: its own modifications, and, by the
            tokens, those of whoever it has heard from, directly or not. Program
            order and tokens alone; no clock. Where it cannot be told from whom
            something was heard (a lock was taken, an end was closed) it is the
            least of all who may have been it.
the most    what may have reached it if everything passes on as design.rst and
            channels.rst allow: objects that give both ways, all names, all exits,
            shared memory as if all had been stored and loaded, what is behind
            something else in the same output. By the times, and generously.

An output is early if it has come out before its least was durable. It is late if
it has not, although its most was. In between it may do either.

A dependency is a pair: the sequence of the test source, and 1 if there is a
modification of the mount since its disk stands still.
"""

from dataclasses import dataclass, field

NONE = (0, 0)
SLACK = 40000           # microseconds until an output that is free has come out
SERIAL_SLACK = 200000
FOREVER = 1 << 60
EPIPE = 32

PAIRS = {"stream", "dgram", "seqpacket", "udp", "udp6"}
MEMORY = {"memfd", "shm", "map", "m-map", "sysv"}
GIVES_BYTES = {"write", "rwrite", "sendfd"}
CLOSES = {"close", "shut"}


def join(a, b):
    return (max(a[0], b[0]), max(a[1], b[1]))


def meet(deps):
    deps = list(deps)
    if not deps:
        return NONE
    return (min(d[0] for d in deps), min(d[1] for d in deps))


@dataclass
class Record:
    res: int
    err: int
    t0: int
    t1: int
    tokens: list


@dataclass
class Run:
    """What graph.c has printed."""
    records: dict = field(default_factory=dict)     # by the number of the op
    seen: list = field(default_factory=list)        # (epoch, number of the op)
    commits: list = field(default_factory=list)     # (sequence, time)
    strange: list = field(default_factory=list)

    @classmethod
    def parse(cls, text):
        run = cls()
        for line in text.splitlines():
            word, *rest = line.split()
            if word == "rec":
                op, res, err, t0, t1, *tokens = map(int, rest)
                run.records[op] = Record(res, err, t0, t1, tokens)
            elif word == "seen":
                run.seen.append((int(rest[0]), int(rest[1])))
            elif word == "commit":
                run.commits.append((int(rest[1]), int(rest[2])))
            else:
                run.strange.append(line)
        return run


def certain_ends(graph):
    """(process, object): the ends that a first process has from the start."""
    ends, passed = {}, set()
    table = {"read": 1, "ready": 1, "write": 2, "shut": 2, "rwrite": 1,
             "rread": 2, "close": 0, "splice": 1, "tee": 1, "sendfd": 2,
             "recvfd": 1, "getfd": 0}
    for op in graph.ops:
        objs = op.objects()
        for i, o in enumerate(objs):
            if (op.proc, o) in passed:
                continue
            bits = table.get(op.name, 3)
            if i == 1:
                bits = {"splice": 2, "tee": 2, "sendfd": 3}.get(op.name, 0)
            ends[op.proc, o] = ends.get((op.proc, o), 0) | bits
        if op.name in ("recvfd", "getfd") and objs:
            passed.add((op.proc, objs[-1]))
    for p in reversed(range(len(graph.parents))):
        parent = graph.parents[p]
        if parent is not None:
            for (q, o), bits in list(ends.items()):
                if q == p:
                    ends[parent, o] = ends.get((parent, o), 0) | bits
    return ends


class Least:
    """What each process certainly knew before each operation, and after it."""

    def __init__(self, graph, run):
        self.g, self.run = graph, run
        self.before = [NONE] * len(graph.ops)
        self.after = [NONE] * len(graph.ops)
        self.why = [None] * len(graph.ops)      # from which operation
        self.ends = certain_ends(graph)
        self.programs = [[] for _ in graph.parents]
        self.born = {}
        self.of_object = {}
        for i, op in enumerate(graph.ops):
            self.programs[op.proc].append(i)
            if op.name == "fork":
                self.born[op.target()] = i
            for o in op.objects():
                self.of_object.setdefault(o, []).append(i)
        changed = True
        while changed:
            changed = any([self.walk(p) for p in range(len(graph.parents))])

    def rec(self, i):
        return self.run.records.get(i + 1)

    def walk(self, p):
        now, changed = NONE, False
        if p in self.born:
            now = self.before[self.born[p]]
        for i in self.programs[p]:
            now = join(now, self.own(i))
            if now != self.before[i]:
                self.before[i], changed = now, True
            for dep, source in self.told(i):
                if join(now, dep) != now:
                    now = join(now, dep)
                    self.why[i] = source
            if now != self.after[i]:
                self.after[i], changed = now, True
            if self.rec(i) is None:
                break               # it has got no further
        return changed

    def on_mount(self, op):
        return any(self.g.kinds[o].startswith("m-") for o in op.objects())

    def own(self, i):
        """Its own modification, which comes before anybody sees it."""
        op, rec = self.g.ops[i], self.rec(i)
        if not self.on_mount(op) or (rec and rec.res < 0):
            return NONE
        if op.name in ("pwrite", "mkname", "store") or \
                op.name == "setmeta" and op.m != 3:
            return (0, 1)
        return NONE

    def began(self, i, t):
        """Has operation @i begun before @t? Or may it have?"""
        rec = self.rec(i)
        if rec:
            return rec.t0 <= t
        program = self.programs[self.g.ops[i].proc]
        at = program.index(i)
        last = self.rec(program[at - 1]) if at else None
        return at == 0 or (last is not None and last.t1 <= t)

    def any_of(self, numbers, t):
        """One of these has been heard of, nobody knows which."""
        numbers = [i for i in numbers if self.began(i, t)]
        return [(meet(self.before[i] for i in numbers),
                 numbers[0] if numbers else None)]

    def told(self, i):
        op, rec = self.g.ops[i], self.rec(i)
        if rec is None:
            return
        if op.name == "taint" and rec.res > 0:
            yield (rec.res, 0), i
        if op.name == "fsync" and rec.res == 0 and self.on_mount(op):
            o = op.objects()[0]
            for j in self.of_object[o]:
                other = self.rec(j)
                if self.g.ops[j].name == "pwrite" and other and \
                        other.res > 0 and other.t1 <= rec.t0:
                    yield (0, 1), j
        for token in rec.tokens:
            yield self.before[token - 1], token - 1
            if op.name in ("read", "rread"):
                yield from self.moved(i, token - 1)
        if op.name == "get" and rec.res > 0:
            for j in self.of_object[op.objects()[0]]:
                if self.g.ops[j].name == "add" and \
                        rec.res >> self.g.ops[j].a & 1:
                    yield self.before[j], j
        if op.name in ("read", "rread") and rec.res == 0:
            yield from self.closed(i)
        if op.name == "ready" and rec.res > 0:
            yield from self.any_of(
                self.others(i, GIVES_BYTES | CLOSES | {"splice", "tee"}) +
                self.exits(), rec.t1)
        if op.name in ("splice", "tee") and rec.res > 0:
            yield from self.any_of(
                self.others(i, GIVES_BYTES | {"splice", "tee"}), rec.t1)
        if op.name == "accept" and rec.res >= 0:
            yield from self.any_of(self.others(i, {"connect"}), rec.t1)
        if op.name == "wait" and rec.res > 0:
            for j in self.programs[op.target()]:
                if self.g.ops[j].name == "exit" and self.rec(j):
                    yield self.before[j], j
        if op.name == "lock":
            yield from self.locked(i)

    def others(self, i, names):
        op = self.g.ops[i]
        return [j for j in self.of_object[op.objects()[0]]
                if self.g.ops[j].name in names]

    def exits(self):
        return [j for j, op in enumerate(self.g.ops) if op.name == "exit"]

    def moved(self, i, writer):
        """The token has been written to another pipe: who has moved it?"""
        o = self.g.ops[i].objects()[0]
        if self.g.ops[writer].objects()[0] == o:
            return
        yield from self.any_of(
            [j for j in self.of_object[o]
             if self.g.ops[j].name in ("splice", "tee") and
             self.g.ops[j].objects()[1] == o], self.rec(i).t1)

    def closed(self, i):
        """All that had the other end have closed it, or one has shut it."""
        op, rec = self.g.ops[i], self.rec(i)
        o = op.objects()[0]
        bit = 2 if op.name == "read" else 1
        all_closed, source = NONE, None
        for p, parent in enumerate(self.g.parents):
            if parent is not None or not self.ends.get((p, o), 0) & bit:
                continue
            for j in self.programs[p]:
                name, other = self.g.ops[j].name, self.rec(j)
                if (name == "exit" or name == "close" and
                        o in self.g.ops[j].objects()) and other and \
                        other.t0 <= rec.t1:
                    all_closed, source = join(all_closed, self.before[j]), j
                    break
        ways = [all_closed]
        for j in self.others(i, {"shut"}):
            if self.began(j, rec.t1):
                ways.append(self.before[j])
                source = j
        yield meet(ways), source

    def locked(self, i):
        op, rec = self.g.ops[i], self.rec(i)
        o = op.objects()[0]
        if rec.res < 0:
            if rec.err != 11:
                return
            yield from self.any_of(
                [j for j in self.others(i, {"lock"})
                 if self.g.ops[j].proc != op.proc and self.rec(j) and
                 self.rec(j).res == 0], rec.t1)
            return
        for j in self.others(i, {"lock"}):
            held = self.rec(j)
            if self.g.ops[j].proc == op.proc or not held or held.res < 0 or \
                    held.t1 >= rec.t0:
                continue
            # It must have let go meanwhile.
            for k in self.programs[self.g.ops[j].proc]:
                if k > j and self.g.ops[k].name == "unlock" and \
                        o in self.g.ops[k].objects() and self.rec(k):
                    if self.rec(k).t0 <= rec.t1:
                        yield self.before[k], k
                    break


class Most:
    """What may have reached each process and object, and from when on."""

    def __init__(self, graph, run, all_of_it):
        self.g, self.run = graph, run
        self.gains = {}         # key: [(time, dependency)]
        self.all = all_of_it    # what somebody takes who takes everything
        self.times = self.op_times()
        self.mappers = self.who_maps()
        self.changed = True
        while self.changed:
            self.changed = False
            for i in self.order:
                self.step(i)
            self.spread()

    def op_times(self):
        times, self.order = {}, []
        last = {}
        for i, op in enumerate(self.g.ops):
            rec = self.run.records.get(i + 1)
            if rec:
                times[i] = rec.t0, rec.t1
                last[op.proc] = rec.t1
            elif last.get(op.proc) != FOREVER:
                # It may have begun, and will not end.
                times[i] = last.get(op.proc, 0), FOREVER
                last[op.proc] = FOREVER
            else:
                continue
            self.order.append(i)
        self.order.sort(key=lambda i: times[i][0])
        return times

    def at(self, key, t):
        dep = NONE
        for when, gain in self.gains.get(key, ()):
            if when <= t:
                dep = join(dep, gain)
        return dep

    def add(self, key, t, dep):
        if join(self.at(key, t), dep) != self.at(key, t):
            self.gains.setdefault(key, []).append((t, dep))
            self.changed = True

    # --- shared memory: object: {process: (since, may store)} ---

    def who_maps(self):
        mappers = {}

        def join_in(key, p, since, stores):
            mine = mappers.setdefault(key, {})
            was = mine.get(p, (FOREVER, False))
            mine[p] = min(was[0], since), was[1] or stores

        for op in self.g.ops:
            for o in op.objects():
                if self.g.kinds[o] in MEMORY:
                    stores = op.name == "store" or self.g.kinds[o] == "memfd"
                    p = op.proc
                    while p is not None:
                        join_in(("o", o), p, -FOREVER, stores)
                        p = self.g.parents[p]
        for i in self.order:
            op = self.g.ops[i]
            if op.name in ("write", "read", "rwrite", "rread") and op.m == 3:
                # Rings of io_uring are of one inode, whosesoever they are.
                join_in("rings", op.proc, self.times[i][0], True)
            if op.name == "pread" and op.m == 3:
                join_in(("o", op.objects()[0]), op.proc, self.times[i][0], True)
        for p, parent in enumerate(self.g.parents):
            if parent is not None:
                for key, mine in mappers.items():
                    if parent in mine:
                        join_in(key, p, *mine[parent])
        return mappers

    def spread(self):
        for key, mine in self.mappers.items():
            for p, (since, stores) in mine.items():
                if stores:
                    for t, dep in list(self.gains.get(("p", p), ())):
                        self.add(key, max(t, since), dep)
            for p, (since, _) in mine.items():
                for t, dep in list(self.gains.get(key, ())):
                    self.add(("p", p), max(t, since), dep)

    # --- everything else ---

    def step(self, i):
        op = self.g.ops[i]
        rec = self.run.records.get(i + 1)
        t0, t1 = self.times[i]
        me = ("p", op.proc)
        takes, puts = self.keys(op)
        for key in takes:
            self.add(me, t0, self.at(key, t1))
        if op.name == "taint":
            self.add(me, t0, (rec.res, 0) if rec else self.all)
        if rec and rec.err in (EPIPE, 13):
            self.add(me, t0, self.all)
        if any(self.g.kinds[o].startswith("m-") for o in op.objects()):
            self.add(me, t0, (0, 1))
        dep = self.at(me, t1)
        for key in puts:
            self.add(key, t0, dep)

    def keys(self, op):
        """What it may take from, what it may put on."""
        takes, puts = [], []
        both = []
        name = op.name
        for o in op.objects():
            kind = self.g.kinds[o]
            if kind in PAIRS and name in ("write", "read", "rwrite", "rread",
                                          "ready", "sendfd", "recvfd"):
                # Each end has its own.
                at = ("o", o, 0 if name in ("write", "read", "ready", "sendfd",
                                            "recvfd") else 1)
                (puts if name in GIVES_BYTES else takes).append(at)
            elif kind in PAIRS:
                both += [("o", o, 0), ("o", o, 1)]
            elif kind == "pipe" and name in ("write", "read"):
                (puts if name == "write" else takes).append(("o", o))
            elif name == "say":
                puts.append(("o", o))
            else:
                both.append(("o", o))
        if name in ("fput", "fget", "connect", "ls", "getname", "lock", "mkname",
                    "exec") or name == "getmeta":
            takes.append("names")
        if name in ("mkname", "fput"):
            puts.append("names")
        if name == "connect":
            both.append("listeners")
        if op.target() is not None:
            other = ("p", op.target())
            takes.append("exits")
            if name == "fork":
                puts.append(other)
            elif name in ("kill", "ptrace", "vmwrite"):
                both.append(other)
            elif name in ("getname", "vmread", "getfd"):
                takes.append(other)
            elif name == "wait":
                takes.append(other)
        if name == "exit":
            puts.append("exits")
            parent = self.g.parents[op.proc]
            if parent is not None:
                puts.append(("p", parent))
            puts += [("p", p) for p, q in enumerate(self.g.parents)
                     if q == op.proc]
        return takes + both, puts + both


@dataclass
class Finding:
    what: str       # early, late, lost, twice, order, strange
    op: int         # index
    text: str


class Verdict:
    def __init__(self, graph, run):
        self.g, self.run = graph, run
        self.findings = []
        self.held = self.free = self.either = 0
        self.hops = {}          # operation that was told: how often
        self.least = Least(graph, run)
        top = max([r.res for i, r in run.records.items()
                   if graph.ops[i - 1].name == "taint"], default=0)
        mount = any(k.startswith("m-") for k in graph.kinds)
        self.most = Most(graph, run, (top, int(mount)))
        self.count_hops()
        self.judge()

    def find(self, what, i, text):
        self.findings.append(Finding(what, i, text))

    def count_hops(self):
        """By what processes have certainly become dependent."""
        for i, source in enumerate(self.least.why):
            if source is not None and source != i:
                o = self.g.ops[i]
                kinds = "+".join(self.g.kinds[n] for n in o.objects())
                key = f"{o.name} {kinds}".strip()
                self.hops[key] = self.hops.get(key, 0) + 1

    def judge(self):
        commits = self.run.commits
        last = len(commits) - 1         # the one that makes all durable
        # What is durable in each epoch.
        durable = [0] + [seq for seq, _ in commits[:-1]]
        end = commits[-1][1]
        order = {}
        for number, (epoch, token) in enumerate(self.run.seen):
            i = token - 1
            if i in order:
                self.find("twice", i, "came out twice")
                continue
            order[i] = number
            if self.g.ops[i].name != "say":
                self.find("strange", i, "is no output, and came out")
                continue
            if epoch > last:
                continue
            least = self.least.before[i]
            if least[0] > durable[epoch] or least[1]:
                self.find("early", i, f"depends on {least}, durable was "
                          f"{durable[epoch]}: {self.explain(i)}")
        if self.run.strange:
            self.find("strange", 0, self.run.strange[0])
        epochs = dict((token - 1, epoch) for epoch, token in self.run.seen)
        said = {}
        for i, op in enumerate(self.g.ops):
            rec = self.run.records.get(i + 1)
            if op.name != "say" or not rec or rec.res <= 0:
                continue
            if i not in order:
                self.find("lost", i, "never came out")
                continue
            channel = op.objects()[0]
            said.setdefault(channel, []).append(i)
            least = self.least.before[i]
            most = join(self.most.at(("p", op.proc), rec.t1),
                        self.most.at(("o", channel), rec.t1))
            # The last commit that was made in time.
            slack = SERIAL_SLACK if self.g.kinds[channel] == "Serial" else SLACK
            free = max([seq for seq, t in commits[:-1] if t < end - slack],
                       default=0)
            if least[0] > free or least[1]:
                self.held += 1
            elif most[0] <= free and not most[1] and rec.t1 < end - slack:
                self.free += 1
                if epochs[i] > last:
                    self.find("late", i, f"depends on no more than {most}, "
                              f"durable was {free}")
            else:
                self.either += 1
        for numbers in said.values():
            for a in numbers:
                for b in numbers:
                    if self.run.records[a + 1].t1 < \
                            self.run.records[b + 1].t0 and order[a] > order[b]:
                        self.find("order", b, f"came out before operation "
                                  f"{a + 1}, which was before it")

    def explain(self, i):
        """The way from the modification to the output, backwards."""
        way, done = [], set()
        while i is not None and i not in done:
            done.add(i)
            way.append(f"{i + 1} {self.g.line(self.g.ops[i])}")
            program = self.least.programs[self.g.ops[i].proc]
            wanted = self.least.before[i]
            # Which earlier operation of this process has brought it?
            before = program[:program.index(i)]
            carrier = next((j for j in before
                            if self.least.after[j] == wanted and
                            join(self.least.before[j], NONE) != wanted), None)
            if carrier is None:
                # Its own modification, or its parent's.
                way += [f"{j + 1} {self.g.line(self.g.ops[j])}"
                        for j in program if j <= i and j not in done and
                        self.least.own(j) != NONE][:1]
                i = self.least.born.get(self.g.ops[i].proc)
                continue
            way.append(f"{carrier + 1} {self.g.line(self.g.ops[carrier])}")
            i = self.least.why[carrier]
        return " <- ".join(way)
