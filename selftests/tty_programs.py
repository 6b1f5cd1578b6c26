#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# vm: timeout=600
"""Programs on terminals show on an xsync mount what they show on a plain one.

Law 3, what was held comes out whole and in order: make -j, script, less, tmux,
ssh and the job control of a shell run in a directory in which they write, on a
pseudo-terminal, a virtual console and a serial line; first without our modules,
which is the control, then on an xsync mount with real commits. What is to be
seen must be the same.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

sys.dont_write_bytecode = True
from netlib import IN4, OUT4, check, done, lib, network, run    # noqa: E402
from tap import SLOWNESS                                    # noqa: E402

DIR = "/mnt/gate/work"
KEYS = "/run/tty_programs"
SHELL = ["bash", "--norc", "--noprofile", "-i"]
ROWS, COLUMNS = 24, 80
SECONDS = 120 * SLOWNESS    # for a step
SERIAL = os.environ.get("XSYNC_SERIAL2")
TIOCVHANGUP = 0x5437

MAKEFILE = """
all: $(foreach i,1 2 3 4 5 6 7 8,out$(i))
	@cat out* | sort > all; wc -l < all
out%:
	@for j in 1 2 3; do echo $* $$j >> $@; done; echo made $@; rm -f tmp$*
"""


def environment():
    os.environ.update(TERM="linux", PS1="$ ", LANG="C", LC_ALL="C", LESS="",
                      HOME=DIR, HISTFILE="", SHELL="/bin/bash",
                      INPUTRC=f"{KEYS}/inputrc")
    os.makedirs(KEYS, exist_ok=True)
    with open(f"{KEYS}/inputrc", "w") as file:
        file.write("set enable-bracketed-paste off\n")


def prepare():
    run("rm", "-rf", DIR)
    os.mkdir(DIR)
    os.chdir(DIR)
    with open("Makefile", "w") as file:
        file.write(MAKEFILE)
    with open("text", "w") as file:
        file.writelines(f"line {i}\n" for i in range(1, 201))


# --- terminals -------------------------------------------------------------
def missed(pattern, text):
    print("# expected", pattern, "in", text)
    for line in run("ps", "-eHo", "pid,ppid,pgid,stat,tty,wchan:24,args",
                    stdout=subprocess.PIPE).stdout.splitlines():
        if b"[" not in line:
            print("#", line.decode(errors="replace"))
    sys.stdout.flush()


def without_echo(text):
    """Without the echo of ^C and ^Z, whose place is chance.

    The signal is sent first, and ^Z flushes what is to be put out: whether the
    echo is seen, and on which side of what a shell then says, is up to who runs
    first. With -echoctl it is the character itself, which a console ignores.
    """
    return text.replace(b"\x03", b"").replace(b"\x1a", b"")


class Pty:
    """A pseudo-terminal; what has come out of it is what is seen."""
    name = "pty"

    def __init__(self, command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ,
                    struct.pack("4H", ROWS, COLUMNS, 0, 0))
        self.output = b""
        self.at = 0

    def more(self):
        if not select.select([self.fd], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.output += without_echo(data)
        return data != b""

    def expect(self, pattern, seconds=SECONDS):
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output[self.at:])):
            if time.monotonic() > end or not self.more():
                missed(pattern, self.output[self.at:][-300:])
                return False
        self.at += found.end()
        return True

    def give_up(self):
        os.killpg(self.pid, signal.SIGHUP)

    def type(self, keys):
        os.write(self.fd, keys)

    def end(self):
        end = time.monotonic() + SECONDS
        while self.more() and time.monotonic() < end:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def seen(self):
        return self.output


def on_terminal(path, command):
    """Start @command in a session on @path.

    Its leader stays until the output has gone: its exit hangs the terminal up,
    and on any kernel that may cost what a slow line has not sent.
    """
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    fd = os.open(path, os.O_RDWR)
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
    for i in range(3):
        os.dup2(fd, i)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(command[0], command)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    termios.tcdrain(0)
    os._exit(status)


class Console:
    """A virtual console; what is on the screen is what is seen."""
    name = "console"
    path, screen = "/dev/tty13", "/dev/vcsa13"

    def __init__(self, command):
        self.fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
        os.write(self.fd, b"\033c")
        run("stty", "sane", "-F", self.path)
        self.pid = on_terminal(self.path, command)

    def expect(self, pattern, seconds=SECONDS):
        end = time.monotonic() + seconds
        # A screen has no past: the whole of it, without trailing blanks.
        while not re.search(pattern, self.seen()):
            if time.monotonic() > end:
                missed(pattern, self.seen())
                return False
            time.sleep(0.1)
        return True

    def give_up(self):
        fcntl.ioctl(self.fd, TIOCVHANGUP)

    def type(self, keys):
        for key in keys:
            fcntl.ioctl(self.fd, termios.TIOCSTI, bytes([key]))

    def end(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status

    def seen(self):
        """All up to the cursor, which tells whether the last line has ended."""
        with open(self.screen, "rb") as file:
            _, columns, x, y = file.read(4)
            text = file.read()[::2]     # every other byte is a colour
        lines = [text[i:i + columns].rstrip()
                 for i in range(0, y * columns, columns)]
        return b"\n".join([*lines, text[y * columns:y * columns + x]])


class Serial:
    """A serial line; what the host has received is what is seen."""
    name = "serial line"

    def __init__(self, command):
        self.log = os.environ["XSYNC_OBS_LOG"] + ".serial"
        self.from_ = os.path.getsize(self.log)
        self.fd = os.open(SERIAL, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        run("stty", "sane", "clocal", "-F", SERIAL)
        self.pid = on_terminal(SERIAL, command)

    def end(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        with open(SERIAL, "wb") as file:
            file.write(b"the end\n")
        end = time.monotonic() + SECONDS
        while b"the end" not in self.seen() and time.monotonic() < end:
            time.sleep(0.1)
        return status

    def seen(self):
        with open(self.log, "rb") as file:
            file.seek(self.from_)
            return file.read()


# --- what is done there ----------------------------------------------------
def steps(terminal, *pairs):
    """Type each text when its pattern has been seen."""
    for pattern, keys in pairs:
        if not terminal.expect(pattern):
            terminal.give_up()
            return False
        terminal.type(keys)
    return True


def plain(text):
    """Without what differs from run to run."""
    text = re.sub(rb"\[(\d)\](\s+)\d\d+", rb"[\1]\2PID", text)
    text = re.sub(rb"job 1\[\d+\]", b"job 1[PID]", text)
    # ^Z flushes what is to be put out, an end of a line as well.
    text = re.sub(rb"[\r\n]+", rb"\n", text)
    return re.sub(rb"Script (started|done).*", rb"Script \1", text)


def make_j(where):
    t = where(["make", "--no-print-directory", "-j4"])
    status = t.end()
    # Which comes first is up to the scheduler.
    return status, sorted(t.seen().split(b"\n"))


def script(where):
    t = where(["script", "-qec", "echo inside > f; cat f; tty -s && echo a tty;"
               "cat text | tail -3", "typescript"])
    status = t.end()
    with open("typescript", "rb") as file:
        return status, t.seen(), plain(file.read())


def less(where):
    t = where(["less", "text"])
    good = steps(t, (rb"line 20\b", b" "), (rb"line 4\d\b", b"/line 150\n"),
                 (rb"line 150", b"!echo shell > g; cat g\n"),
                 (rb"shell[\s\S]*done", b"\n"), (rb"line 150", b"q"))
    return good, t.end(), t.seen() if where is Pty else b""


def shell(where):
    t = where(SHELL)
    # What is typed before a line has ended is echoed in it.
    good = steps(
        t, (rb"\$ ?$", b"stty -echoctl; echo one > f; cat f\n"),
        (rb"\none\r?\n\$ ?$", b"echo go; cat | tee copy\n"),
        (rb"\ngo\r?\n", b"hi\n"),
        (rb"hi\r?\nhi\r?\n", b"\x1a"), (rb"Stopped[^\n]*\n\$ ?$", b"jobs\n"),
        (rb"jobs\r?\n.*Stopped[^\n]*\n\$ ?$", b"fg\n"),
        (rb"fg\r?\ncat \| tee copy\r?\n", b"ho\n"), (rb"ho\r?\nho\r?\n", b"\x03"),
        (rb"\n\$ ?$", b"echo ended $?\n"),
        (rb"\nended 130\r?\n\$ ?$",
         b"stopped() { until jobs -s | grep -q .; do sleep .1; done; }\n"),
        # In one line: with two, either prompt may be the one that tells of it.
        (rb"done; \}\r?\n\$ ?$", b"stty tostop; (echo bg > b; cat b) & stopped\n"),
        (rb"& stopped\r?\n[\s\S]*Stopped[^\n]*\n\$ ?$", b"jobs\n"),
        (rb"jobs\r?\n.*Stopped[^\n]*\n\$ ?$", b"fg\n"),
        (rb"fg\r?\n[^\n]*\nbg\r?\n\$ ?$", b"stty -tostop; exit\n"))
    return good, t.end(), plain(t.seen())


def tmux(where):
    def ask(*command):
        return subprocess.run(["tmux", "-L", "test", *command], check=False,
                              capture_output=True).stdout

    # A shell that is not interactive forgets PS1.
    with open(f"{KEYS}/tmux", "w") as file:
        file.write("set -g status-right ''\nset -g default-command "
                   f"\"PS1='$ ' exec {' '.join(SHELL)}\"\n")
    command = ["tmux", "-L", "test", "-f", f"{KEYS}/tmux"]
    t = where([*command, "new-session", "-s", "t"])
    good = steps(t, (rb"\$ ", b"echo in tmux > f; cat f\n"),
                 (rb"in tmux[\s\S]*\nin tmux", b"\x02c"),
                 (rb"1:", b""))
    good = good and steps(t, (rb"\$ ", b"seq 100 > n; tail -5 n\n"),
                          (rb"100", b"\x02d"))
    status = t.end()
    t = where([*command, "attach", "-t", "t:0"])
    good = good and steps(t, (rb"in tmux", b"exit\n"))
    time.sleep(1)
    panes = ask("capture-pane", "-p", "-t", "t:1")
    good = good and steps(t, (rb"100", b"exit\n"))
    return good, status, t.end(), panes


def ssh(prefix, *hosts):
    def run_it(where):
        command = list(prefix)
        for host in hosts:
            command += ["ssh", "-tt", "-i", f"{KEYS}/key", "-p", "2222",
                        "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
                        "-o", "UserKnownHostsFile=/dev/null", host]
        t = where([*command, f"cd {DIR}; echo ready; read -r x; echo $x > f;"
                   "cat f; cat text; tty -s && echo a tty; exit 7"])
        good = steps(t, (rb"ready\r\n", b"word\n"))
        return good, t.end(), t.seen()
    return run_it


FROM_OUTSIDE = ["ip", "netns", "exec", "outside"]
RUNS = [("make -j", make_j, (Pty, Console, Serial)),
        ("script", script, (Pty, Console, Serial)),
        ("less", less, (Pty, Console)),
        ("job control", shell, (Pty, Console)),
        ("tmux", tmux, (Pty,)),
        ("ssh over lo", ssh([], "127.0.0.1"), (Pty,)),
        ("ssh from outside", ssh(FROM_OUTSIDE, IN4), (Pty,)),
        ("ssh out and back", ssh([], OUT4, IN4), (Pty,))]


def servers():
    os.makedirs("/run/sshd", exist_ok=True)
    # Neither PAM nor a locked account.
    run("usermod", "-p", "*", "root")
    if not os.path.exists(f"{KEYS}/key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{KEYS}/key")
    command = ["/usr/sbin/sshd", "-D", "-f", "/dev/null", "-h", f"{KEYS}/key",
               "-p", "2222", "-o", f"AuthorizedKeysFile={KEYS}/key.pub",
               "-o", "StrictModes=no", "-o", "PermitRootLogin=yes",
               "-o", "LoginGraceTime=0",
               "-o", "UsePAM=no", "-o", "PidFile=none", "-o", "PrintMotd=no",
               "-o", "PrintLastLog=no"]
    started = [subprocess.Popen(command, stderr=subprocess.DEVNULL),
               subprocess.Popen([*FROM_OUTSIDE, *command],
                                stderr=subprocess.DEVNULL)]
    for prefix in ([], FROM_OUTSIDE):
        for _ in range(100):
            if subprocess.run([*prefix, "bash", "-c", ": <>/dev/tcp/127.0.0.1/2222"],
                              stderr=subprocess.DEVNULL, check=False
                              ).returncode == 0:
                break
            time.sleep(0.1)
    return started


def all_runs():
    results, daemons = {}, servers()
    for name, function, terminals in RUNS:
        for where in terminals:
            if where is Serial and not SERIAL:
                continue
            prepare()
            start = time.monotonic()
            results[f"{name} on a {where.name}"] = function(where)
            print(f"# {name}, {where.name}: {time.monotonic() - start:.1f} s",
                  flush=True)
    for daemon in daemons:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
    os.chdir("/")
    return results


environment()
network()
lib("gate_setup plain")
try:
    expected = all_runs()
finally:
    os.chdir("/")
    lib("gate_teardown")
lib("load_modules")
lib("gate_setup xsync")
try:
    results = all_runs()
    with open("/sys/kernel/debug/speculator/channels") as file:
        channels = {line.split()[0]: line.split()[1:] for line in file}
finally:
    os.chdir("/")
    lib("gate_teardown")

for name, result in results.items():
    good = result[0] in (0, True)
    check(good and result == expected[name], f"{name}: as without our modules",
          f"\n# plain {expected[name]}\n# xsync {result}")
print("#", channels.get("tty"), channels.get("pty"), channels.get("tcp"))
check(int(channels["pty"][0]) > 0, "something was passed on")
done(failed=True)
