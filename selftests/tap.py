# SPDX-License-Identifier: GPL-2.0
"""Find the tests, run one of them, count what its TAP output says."""

import collections
import ctypes
import functools
import glob
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time

SELFTESTS = os.path.dirname(os.path.realpath(__file__))
REPO = os.path.dirname(SELFTESTS)
DEFAULT_TIMEOUT = 120
DETAILS = 4     # lines around a failure, on each side, that are told again at the end
# Where tools/debug/check has put a debug kernel; on the host.
DEBUG_ROOT = os.environ.get("DEBUG_ROOT")
# And in the guest.
DEBUG_KERNEL = re.search("-(kasan|kcsan|faults)$", os.uname().release)
# How much longer it may take. Bounds are meant for the stock kernel.
SLOWNESS = 6 if DEBUG_ROOT or DEBUG_KERNEL else 1

HEADER = re.compile(r"^(?:#|//|/\*)\s*vm:\s*(.*?)\s*(?:\*/)?$", re.MULTILINE)
RESULT = re.compile(r"^(not )?ok\b")
SKIP = re.compile(r"#\s*SKIP", re.IGNORECASE)
PLAN = re.compile(r"^1\.\.(\d+)(.*)")


class Test:
    """A test and what the `vm:` line in its header asks for.

    own         a machine of its own (the others share one)
    host        no machine: runs on the host (and may boot machines itself)
    stock       about the stock kernel: not run on a debug kernel (nor is host)
    debug       about debug kernels: not run on the stock one
    extra       run only if it is asked for by its name (-t)
    timeout=S   bound in seconds for the whole file
    expect=RE   kernel messages that are excused (repeatable)
    and, with `own`: smp=N, mem=MIB, append=ARGS, thread=single, icount
    """

    def __init__(self, path):
        self.path = path
        self.name = os.path.splitext(os.path.basename(path))[0]
        self.kind = "shared"
        self.stock = self.debug = self.extra = False
        self.timeout = DEFAULT_TIMEOUT * SLOWNESS
        self.expect = []
        self.vm_options = []
        with open(path) as file:
            header = HEADER.search(file.read(4096))
        for word in shlex.split(header[1]) if header else []:
            self.parse(word)

    def parse(self, word):
        key, _, value = word.partition("=")
        if key in ("own", "host"):
            self.kind = key
            self.stock |= key == "host"
        elif key in ("stock", "debug", "extra"):
            setattr(self, key, True)
        elif key == "timeout":
            self.timeout = int(value) * SLOWNESS
        elif key == "expect":
            self.expect.append(value)
        elif key in ("smp", "mem", "append", "thread"):
            self.vm_options += [f"--{key}", value]
        elif key == "icount":
            self.vm_options.append("--icount")
        else:
            sys.exit(f"{self.path}: unknown word '{word}' in its vm: line")

    @property
    def program(self):
        """What to execute: the script itself or the compiled program."""
        if self.path.endswith(".c"):
            return os.path.join(REPO, "build", "selftests", self.name)
        return self.path


def find_tests(folder="."):
    """All tests of a folder: C programs, and scripts which are executable."""
    folder = os.path.normpath(os.path.join(SELFTESTS, folder))
    paths = glob.glob(os.path.join(folder, "*.c"))
    paths += [p for p in glob.glob(os.path.join(folder, "*.sh"))
              + glob.glob(os.path.join(folder, "*.py"))
              if os.access(p, os.X_OK)]
    return [Test(path) for path in sorted(paths)]


def exempt(on):
    """Who is exempt takes nothing over, and can tell of any test."""
    ctypes.CDLL(None).prctl(57, int(on), 0, 0, 0)       # PR_SET_IO_FLUSHER


class KernelLog:
    """The messages since the last call of new_lines()."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.fd, 0, os.SEEK_END)

    def new_lines(self):
        lines = []
        while True:
            try:
                record = os.read(self.fd, 8192).decode(errors="replace")
            except BlockingIOError:
                return lines
            except BrokenPipeError:     # overrun: goes on with the oldest one
                continue
            # "6,1234,56789,-;message", then lines of key=value
            lines.append(record.partition(";")[2].partition("\n")[0])


class Faults:
    """With FAULTS: is a result that fails to be judged?

    What nobody could note is everybody's. A test that has to wait for that, itself,
    waits until the test source commits because nobody else does: too early for what
    the test is about. Others wait who need not. So a result that fails is not judged
    if the test source had to commit meanwhile; or if an allocation failed and the
    result is not about output that comes too early; nor are those behind it that
    fail at once, or in the same scenario ("scenario: what").
    """
    EARLY = re.compile(r"early|held|leaves|before", re.IGNORECASE)
    MOMENT = 0.5                                # seconds
    LEFT = "/sys/kernel/debug/fail*/times"      # how many may still fail

    def __init__(self):
        self.log = KernelLog()
        # (helped, failed) before the results of a moment: some tests tell all of
        # them at the end. What comes just before one may be of the next.
        self.windows = collections.deque([(False, False)], maxlen=2)
        self.told = 0
        self.left = self.how_many()
        # Of the last that was not judged: why, its scenario, is this the next?
        self.why = self.scenario = None
        self.next = False

    def how_many(self):
        left = []
        for path in sorted(glob.glob(self.LEFT)):
            with open(path) as file:
                left.append(int(file.read()))
        return left

    def excuse(self, result, failed):
        """Why it is not judged, or None."""
        before, self.left = self.left, self.how_many()
        helped = any("nobody has committed for" in line
                     for line in self.log.new_lines())
        failed_now = self.left != before
        last, self.told = self.told, time.monotonic()
        if self.told - last < self.MOMENT:
            was_helped, had_failed = self.windows.pop()
            helped, failed_now = helped or was_helped, failed_now or had_failed
        self.windows.append((helped, failed_now))
        follows, self.next = self.next, False
        if not failed:
            return None
        text = re.sub(r"^not ok \d+ (- )?", "", result)
        scenario = text.partition(":")[0]
        if any(helped for helped, _ in self.windows):
            why = "nobody could commit"
        elif any(failed for _, failed in self.windows):
            why = "an allocation failed"
        elif follows or scenario == self.scenario:
            why = self.why
        else:
            return None
        if why == "an allocation failed" and self.EARLY.search(text):
            return None
        self.why, self.scenario, self.next = why, scenario, True
        return why


class Counts:
    """What one test's output says.

    `notes` names every failure, with the comments around it, and every skip.
    """

    def __init__(self, faults=None):
        self.faults = faults
        self.passed = self.failed = self.skipped = 0
        self.not_judged = 0     # of the skipped
        self.planned = None
        self.timed_out = False
        self.notes = []
        self.details = 0        # how many comments are still of the last failure
        self.before = collections.deque(maxlen=DETAILS)

    def fail(self, why):
        self.failed += 1
        self.notes += [*self.before, why]
        self.details = DETAILS

    def line(self, line):
        if line.startswith("#"):
            if self.details:
                self.details -= 1
                self.notes.append(line)
            else:
                self.before.append(line)
            return
        self.details = 0
        if plan := PLAN.match(line):
            self.planned = int(plan[1])
            if self.planned == 0:
                self.skipped += 1
                self.notes.append(line)
        elif result := RESULT.match(line):
            excuse = self.faults and self.faults.excuse(line, bool(result[1]))
            if excuse:
                self.skipped += 1
                self.not_judged += 1
                self.notes += [*self.before, f"{line} # not judged: {excuse}"]
            elif result[1]:
                self.fail(line)
            elif SKIP.search(line):
                self.skipped += 1
                self.notes.append(line)
            else:
                self.passed += 1
            self.before.clear()

    def finish(self, status):
        """The program has ended: is what it printed all there should be?"""
        results = self.passed + self.failed + self.skipped
        if self.planned == 0:
            return
        if self.planned is None:
            self.fail(f"no TAP plan, exit status {status}")
        elif self.planned != results:
            self.fail(f"{results} results of {self.planned} planned, "
                      f"exit status {status}")
        elif status and not self.failed and not self.not_judged:
            self.fail(f"exit status {status} without a failed result")

    def as_dict(self):
        return {"passed": self.passed, "failed": self.failed,
                "skipped": self.skipped, "notes": self.notes}


def run_test(test, on_timeout=lambda: None,
             show=functools.partial(print, end="", flush=True)):
    """Run one test, show each line of its output, return its Counts.

    On timeout everything in the test's session is killed. A process the kernel
    doesn't let die is left behind: the output is read by a thread that may
    stay behind as well.
    """
    counts = Counts(Faults() if os.environ.get("FAULTS") else None)
    process = subprocess.Popen(
        [test.program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True, text=True,
        errors="replace", preexec_fn=lambda: exempt(False))

    def read_output():
        for line in process.stdout:
            show(line)
            counts.line(line.rstrip())

    reader = threading.Thread(target=read_output, daemon=True)
    reader.start()
    try:
        status = process.wait(test.timeout)
    except subprocess.TimeoutExpired:
        on_timeout()
        os.killpg(process.pid, signal.SIGKILL)
        # The output so far still counts; some of it may be on its way.
        reader.join(2)
        counts.timed_out = True
        counts.fail(f"timeout after {test.timeout} s")
        return counts
    # A daemon left behind may hold the pipe open.
    reader.join(2)
    counts.finish(status)
    return counts
