#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: own smp=2 timeout=600
"""Laws 1, 2 and 3 for random graphs of processes (fuzz/generate.py), against a
reference model in user space (fuzz/model.py): nothing comes out early, what
depends on nothing is not held, all comes out once and in order after the commit.

    fuzz.py [-n GRAPHS] [-s SEED]       -s 7/123: graph 123 of seed 7, alone

The graphs run on a real xsync mount whose disk stands still, on the test source,
or on both, ten at a time. One that fails is made smaller as long as it fails.

With FAULTS (lib.sh) allocations of the module fail; "late" is no finding then.

The negative control: the same with processes that are exempt is early. That the
hooks are what is tested is shown by fuzz-mutants, which removes some.
"""

import argparse
import ctypes
import os
import random
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
REPO = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "fuzz"))
import generate                                             # noqa: E402
import model                                                # noqa: E402

MODULES = os.environ.get("FUZZ_MODULES", REPO)
FAULTS = os.environ.get("FAULTS")       # allocations fail (lib.sh)
TOP = "/tmp/fuzz"
MOUNT = "/mnt/gate"
GRAPHS_AT_A_TIME = 10
COPIES = 6              # of a graph that is made smaller
PR_SET_IO_FLUSHER = 57


def shell(command):
    """A function of lib.sh; returns what it prints."""
    done = subprocess.run(["bash", "-e", "-c", f". {HERE}/lib.sh; {command}"],
                          check=True, stdout=subprocess.PIPE, text=True)
    sys.stderr.write(done.stdout)
    return done.stdout


class Machine:
    """The modules, the mount, the outside, and a program that runs graphs."""

    def __init__(self):
        self.runs = 0
        shutil.rmtree(TOP, ignore_errors=True)
        os.makedirs(TOP)
        os.environ.setdefault("FAULT_PERCENT", "30")    # we are exempt
        # On the host's file system a graph would look for it by way of 9p.
        self.program = os.path.join(TOP, "graph")
        shutil.copy(os.path.join(REPO, "build/selftests/fuzz-graph"),
                    self.program)
        shell("modprobe ext4")
        for name in "speculator", "xsync", "selftests/testsource":
            path = os.path.join(MODULES, name, os.path.basename(name) + ".ko")
            subprocess.run(["insmod", path], check=True)
        shell("gate_setup xsync")
        shell("""
            ip netns add outside
            ip link add in0 type veth peer name out0 netns outside
            ip addr add 10.99.0.1/24 dev in0
            ip link set in0 up
            ip -n outside addr add 10.99.0.2/24 dev out0
            ip -n outside link set out0 up
            ip -n outside link set lo up
            ip neigh replace 10.99.0.2 dev in0 nud permanent lladdr \
                $(ip netns exec outside cat /sys/class/net/out0/address)
            ip -n outside neigh replace 10.99.0.1 dev out0 nud permanent \
                lladdr $(cat /sys/class/net/in0/address)
            echo 4194304 > /proc/sys/kernel/pid_max""")
        # From here on we and what we start takes nothing over.
        if ctypes.CDLL(None).prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0):
            sys.exit("PR_SET_IO_FLUSHER")

    def run(self, graph, mode, commits=(), exempt=False):
        """Run @graph; returns what the model says, and the script."""
        self.runs += 1
        here = f"{TOP}/{self.runs}"
        there = f"{MOUNT}/{self.runs}"
        for path in here, there:
            os.mkdir(path)
        lines = [f"pids {1000000 + self.runs % 3000 * 1000}",
                 f"dirs {here} {there}"]
        if mode in ("source", "both"):
            lines += ["source"] + [f"commit {ms}" for ms in commits]
        if mode in ("gate", "both"):
            lines += ["gate"]
        if exempt:
            lines += ["exempt"]
        script = os.path.join(TOP, "script")
        with open(script, "w") as file:
            file.write("\n".join(lines + [graph.script(), ""]))
        try:
            done = subprocess.run([self.program, script], timeout=60,
                                  stdout=subprocess.PIPE, text=True)
        except subprocess.TimeoutExpired:
            with open("/proc/sysrq-trigger", "w") as file:
                file.write("w")
            raise SystemExit(f"# hangs: {graph.seed}\n{graph.script()}")
        if done.returncode:
            raise SystemExit(f"# graph failed: {graph.seed}\n{done.stdout}")
        for path in here, there:
            shutil.rmtree(path)
        return model.Verdict(graph, model.Run.parse(done.stdout))

    def close(self):
        shell("gate_teardown; ip netns del outside; unload_modules")
        shutil.rmtree(TOP)


class Batch:
    """Graphs that run at the same time, by the number of the first."""

    def __init__(self, seed, first, count):
        rng = random.Random(f"{seed}/{first // GRAPHS_AT_A_TIME}")
        self.mode = rng.choice(["source", "source", "source", "gate", "gate",
                                "both"])
        self.commits = sorted(rng.randrange(20, 150)
                              for _ in range(rng.choice([0, 1, 2])))
        self.graphs = [generate.graph(f"{seed}/{n}", self.mode)
                       for n in range(first, first + count)]


class Fuzzer:
    def __init__(self, machine):
        self.machine = machine
        self.findings = []              # (what, graph's seed)
        self.graphs = self.processes = self.operations = 0
        self.held = self.free = self.either = 0
        self.hops = {}

    def run(self, batch, exempt=False):
        """Returns {number of the graph in the batch: its findings}."""
        whole, owner = generate.merge(batch.graphs)
        verdict = self.machine.run(whole, batch.mode, batch.commits, exempt)
        self.graphs += len(batch.graphs)
        self.processes += len(whole.parents)
        self.operations += len(whole.ops)
        self.held += verdict.held
        self.free += verdict.free
        self.either += verdict.either
        for key, n in verdict.hops.items():
            self.hops[key] = self.hops.get(key, 0) + n
        found = {}
        for finding in verdict.findings:
            found.setdefault(owner[finding.op], []).append(finding)
        return found

    def again(self, batch, number, what):
        """Is it found once more, twice?  For what may be the machine's load."""
        for _ in range(2):
            found = self.run(batch).get(number, [])
            if not any(f.what == what for f in found):
                return False
        return True

    def fuzz(self, batch):
        for number, findings in sorted(self.run(batch).items()):
            graph = batch.graphs[number]
            # What nobody can note becomes everybody's, so others may wait.
            if FAULTS:
                findings = [f for f in findings if f.what != "late"]
            if not findings:
                continue
            what = findings[0].what
            if what == "late" and not self.again(batch, number, what):
                print(f"# once late, not again: {graph.seed}")
                continue
            self.findings.append((what, graph.seed))
            print(f"# {what}: graph {graph.seed}, mode {batch.mode}")
            for finding in findings:
                print(f"#   {finding.what}: {finding.text}")
            if what == "early":
                graph = self.minimise(graph, batch, what)
            print("# " + graph.script().replace("\n", "\n# "), flush=True)

    def fails(self, graph, batch, what, tries=3):
        whole, _ = generate.merge([graph] * COPIES)
        for _ in range(tries):
            verdict = self.machine.run(whole, batch.mode, batch.commits)
            if any(f.what == what for f in verdict.findings):
                return True
        return False

    def minimise(self, graph, batch, what):
        """Delta debugging: without these operations, does it still fail?"""
        if not self.fails(graph, batch, what, 6):
            print("# not seen again alone; whole:")
            return graph
        # What every graph needs is tried last, by itself.
        size = max(len(graph.ops) // 2, 1)
        end = time.monotonic() + 90
        while time.monotonic() < end:
            at = 0
            while at < len(graph.ops) and time.monotonic() < end:
                fewer = graph.only(graph.ops[:at] + graph.ops[at + size:])
                if fewer.ops and self.fails(fewer, batch, what):
                    graph = fewer
                else:
                    at += size
            if size == 1:
                break
            size = max(size // 2, 1)
        return graph


def ok(good, text):
    ok.number = getattr(ok, "number", 0) + 1
    ok.failed = getattr(ok, "failed", 0) + (not good)
    print(f"{'ok' if good else 'not ok'} {ok.number} {text}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=30, dest="count")
    parser.add_argument("-s", default="1", dest="seed")
    parser.add_argument("--until-early", action="store_true",
                        help="end with the first that is early")
    parser.add_argument("--exempt", action="store_true")
    args = parser.parse_args()

    seed, _, number = args.seed.partition("/")
    print(f"# seed {args.seed}", flush=True)
    fuzzer = Fuzzer(Machine())
    began = time.monotonic()
    if number:
        n = int(number)
        batch = Batch(seed, n, 1)
        batch.graphs *= GRAPHS_AT_A_TIME
        print("# " + batch.graphs[0].script().replace("\n", "\n# "))
        fuzzer.fuzz(batch)
    else:
        for first in range(0, args.count, GRAPHS_AT_A_TIME):
            batch = Batch(seed, first, min(GRAPHS_AT_A_TIME, args.count - first))
            if args.until_early:
                found = fuzzer.run(batch)
                if any(f.what == "early" for fs in found.values() for f in fs):
                    fuzzer.findings.append(("early", "?"))
                    break
                continue
            fuzzer.fuzz(batch)
    took = time.monotonic() - began
    print(f"# {fuzzer.graphs} graphs, {fuzzer.processes} processes, "
          f"{fuzzer.operations} operations, {took:.0f} s; outputs: "
          f"{fuzzer.held} had to be held, {fuzzer.free} had to be free, "
          f"{fuzzer.either} either")
    print("# told by: " + ", ".join(
        f"{key} {n}" for key, n in sorted(fuzzer.hops.items())))
    if args.until_early:
        early = bool(fuzzer.findings)
        print(f"# {'early' if early else 'nothing early'} after {fuzzer.graphs}"
              " graphs")
        fuzzer.machine.close()
        return 0 if early else 1
    judged = ["early", "late", "lost", "twice", "order", "strange"]
    if FAULTS:
        judged.remove("late")
        failed = int(shell("faults_failed"))
        ok(failed > fuzzer.graphs, f"{failed} allocations have failed")
    for what in judged:
        seeds = [s for w, s in fuzzer.findings if w == what]
        ok(not seeds, f"nothing is {what}" + (f": {seeds}" if seeds else ""))
    if not number:
        ok(fuzzer.held > 0 and fuzzer.free > 0,
           "some had to be held, some had to be free")
        batch = Batch(seed, 0, GRAPHS_AT_A_TIME)
        found = fuzzer.run(batch, exempt=True)
        ok(any(f.what == "early" for fs in found.values() for f in fs),
           "of exempt processes some are early")
    fuzzer.machine.close()
    print(f"1..{ok.number}")
    return ok.failed > 0


if __name__ == "__main__":
    sys.exit(main())
