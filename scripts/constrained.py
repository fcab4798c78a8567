#!/usr/bin/env python3
"""Runs a server in as little as a small machine has, with a crowd that comes and goes, and says what it took.

    scripts/constrained.py [--seconds S] [--address-space] BINARY

For each size: the server on one core and, as root, in a control group with that much memory and no swap (what the kernel
holds for it counts too: stacks, sockets); a crowd of listeners, of which a part leaves and is replaced twenty times a
second; a message each time. Every listener has to hear every message from the first it hears to the last, and nobody may
be refused. With --address-space it is under `ulimit -v` too: no more may even be reserved. Exits 1 where that does not
hold, or where more memory was needed.
"""

import argparse
import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = [(64, 500), (16, 50)]  # MiB, listeners
ROUND = 0.05  # seconds between two messages
CHURN = 50  # one in so many listeners is replaced in each round
PATIENCE = 30  # seconds for what should happen at once


class Group:
    """A control group with a limit on memory, of version 1 or 2; nothing where none can be made."""

    def __init__(self, mebibytes):
        self.path = None
        one, two = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
        control = two / "cgroup.subtree_control"
        root, names = one, ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
        if control.exists() and "memory" in control.read_text():
            root, names = two, ("memory.max", "memory.peak")
        path = root / f"aloud-{os.getpid()}"
        try:
            path.mkdir()
            self.path = path
            (path / names[0]).write_text(str(mebibytes << 20))
        except OSError:
            self.remove()
            self.path = None
        self.peak_name = names[1]

    def take(self, process):
        if self.path:
            (self.path / "cgroup.procs").write_text(str(process))

    def peak(self):
        """The most bytes it has held, the kernel's among them; None where nobody counts."""
        try:
            return int((self.path / self.peak_name).read_text()) if self.path else None
        except OSError:
            return None

    def remove(self):
        if self.path:
            self.path.rmdir()


class Listener:
    """A connection to /listen, and the numbers it has heard."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.sendall(b"GET /listen HTTP/1.1\r\nHost: x\r\n\r\n")
        self.text, self.last = b"", None
        while b"\r\n\r\n" not in self.text:
            self.take(self.socket.recv(4096))
        if b" 200 " not in self.text[:20]:
            raise SystemExit(f"a listener is refused: {self.text[:60]}")
        self.socket.setblocking(False)

    def take(self, bytes_):
        if not bytes_:
            raise SystemExit("a listener is hung up on")
        self.text += bytes_

    def hear(self):
        """Reads what has come, and makes sure that no number is missing."""
        self.take(self.socket.recv(65536))
        for number in map(int, re.findall(rb"#(\d+)\r\n", self.text)):
            if self.last is not None and number != self.last + 1:
                raise SystemExit(f"a listener hears {number} after {self.last}")
            self.last = number
        self.text = self.text[self.text.rfind(b"\n") + 1 :]


class Crowd:
    """All listeners, the oldest first."""

    def __init__(self, address, size):
        self.address, self.selector = address, selectors.DefaultSelector()
        self.listeners = []
        for _ in range(size):
            self.join()

    def join(self):
        listener = Listener(self.address)
        self.listeners.append(listener)
        self.selector.register(listener.socket, selectors.EVENT_READ, listener)

    def replace_oldest(self):
        listener = self.listeners.pop(0)
        self.selector.unregister(listener.socket)
        listener.socket.close()
        self.join()

    def hear_until(self, deadline):
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                key.data.hear()

    def hear_all(self, number):
        deadline = time.monotonic() + PATIENCE
        while any(listener.last != number for listener in self.listeners):
            if time.monotonic() > deadline:
                raise SystemExit(f"late: everyone hears {number}")
            self.hear_until(time.monotonic() + ROUND)


def say(connection, number):
    text = f"#{number}".encode()
    connection.sendall(b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    answer = b""
    while not answer.endswith(b"ok."):
        got = connection.recv(4096)
        if not got or (b" 200 " not in answer and b"HTTP/1.1 200" not in got):
            raise SystemExit(f"a speaker is refused: {got[:60]}")
        answer += got


def memory(process):
    """Resident bytes of a process: now and at most."""
    status = Path(f"/proc/{process}/status").read_text()
    return tuple(1024 * int(re.search(rf"{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "VmHWM"))


def start(binary, group, address_space, log):
    """Starts the server on one core, in the group, with so many bytes of address space if not None; returns the process and
    its address."""
    core = min(os.sched_getaffinity(0))

    def confine():
        group.take(os.getpid())
        os.sched_setaffinity(0, {core})
        if address_space:
            resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

    server = subprocess.Popen([binary, "--bind", "127.0.0.1:0"], stderr=log, preexec_fn=confine)
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(r"Running at (\S+):(\d+)", Path(log.name).read_text())):
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"it does not start: {Path(log.name).read_text()}")
        time.sleep(0.01)
    return server, (found[1], int(found[2]))


def measure(binary, mebibytes, size, seconds, address_space):
    group = Group(mebibytes)
    with tempfile.NamedTemporaryFile("w") as log:
        server, address = start(binary, group, (mebibytes << 20) if address_space else None, log)
        try:
            crowd = Crowd(address, size)
            speaker = socket.create_connection(address, timeout=PATIENCE)
            end, number, joins = time.monotonic() + seconds, 0, size
            while time.monotonic() < end:
                next_round = time.monotonic() + ROUND
                for _ in range(max(1, size // CHURN)):
                    crowd.replace_oldest()
                    joins += 1
                number += 1
                say(speaker, number)
                crowd.hear_until(next_round)
            crowd.hear_all(number)
            resident, peak = memory(server.pid)
            whole = group.peak()
            server.terminate()
            code = server.wait(PATIENCE)
        finally:
            server.kill()
            server.wait()
            group.remove()
    if code != 0 or max(peak, whole or 0) > mebibytes << 20:
        raise SystemExit(f"it ended with {code}, and took {peak} bytes, {whole} with the kernel's")
    return resident, peak, whole, number, joins


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--address-space", action="store_true")
    parser.add_argument("binary")
    arguments = parser.parse_args()
    print("| limit | listeners | resident, at most | with the kernel's | messages | joins |")
    print("|--:|--:|--:|--:|--:|--:|", flush=True)
    for mebibytes, size in SIZES:
        _, peak, whole, number, joins = measure(
            arguments.binary, mebibytes, size, arguments.seconds, arguments.address_space
        )
        whole = f"{whole / 1e6:.1f} MB" if whole else "not counted"
        print(f"| {mebibytes} MiB | {size} | {peak / 1e6:.1f} MB | {whole} | {number:,} | {joins:,} |", flush=True)


sys.exit(main())
