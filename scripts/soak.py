"""Churn: listeners that come, go, stall and are cut, floods, bad requests, pipelines and half-sent heads, all at once, while
some steady listeners have to hear every message, in order. Samples the server's memory, threads and descriptors."""

import contextlib
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "bench"))
import plots  # noqa: E402

# Seconds without churn before a figure counts as that of a quiet server; it ends earlier when all is as it was.
SETTLE_LIMIT = 40
SAMPLES = 300
# What memory may grow by and still be called flat: the allocator keeps some of what it was given back.
MEMORY_MARGIN_MB, MEMORY_MARGIN_PART = 4, 0.15

BAD_REQUESTS = [
    b"GET / HTTP/2.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000,
    b"GET /" + b"x" * 20_000,
    b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000000000\r\n\r\n",
    b"POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    bytes(range(256)),
]


class Churn:
    """One server's clients. Each kind of client is a method that runs once; threads repeat it until the end."""

    def __init__(self, address):
        self.address = address
        self.over = threading.Event()
        self.said = 0
        self.lock = threading.Lock()
        self.counts = {}

    def connect(self):
        """A connection that gives up after a while."""
        return socket.create_connection(self.address, timeout=20)

    def request(self, head, body=b""):
        """One request on a connection of its own; returns what comes back."""
        with self.connect() as connection:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            connection.sendall(f"{head}\r\nHost: x\r\nConnection: close\r\n{length}\r\n".encode() + body)
            return read_all(connection)

    def say(self, text):
        """Says a message; it counts if it was taken."""
        answer = self.request("POST /say HTTP/1.1", text)
        if answer.startswith(b"HTTP/1.1 200"):
            with self.lock:
                self.said += 1

    def listen(self, query=b""):
        """A listener whose head was read."""
        connection = self.connect()
        connection.sendall(b"GET /listen" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(4096)
        return connection

    def speak(self):
        """A speaker at a steady pace."""
        self.say(b"x" * random.choice([10, 100, 1000, 20_000]))
        time.sleep(0.02)

    def flood(self):
        """A second of messages as fast as one connection takes them, then a pause."""
        with self.connect() as connection:
            reader = connection.makefile("rb")
            end = time.monotonic() + 1
            while time.monotonic() < end and not self.over.is_set():
                connection.sendall(b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nflood")
                while reader.readline() not in (b"\r\n", b""):
                    pass
                if reader.read(3) == b"ok.":
                    with self.lock:
                        self.said += 1
        time.sleep(1)

    def come_and_go(self):
        """Listeners that come in a burst, stay for a moment and go, half of them with a reset."""
        listeners = [self.listen(random.choice([b"", b"?as=sse", b"?as=json&last=5", b"/a"])) for _ in range(20)]
        time.sleep(random.random() / 2)
        for number, listener in enumerate(listeners):
            if number % 2:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            listener.close()

    def stall(self):
        """Listeners that never read, until they are hung up on or for some seconds."""
        stalled = [self.listen() for _ in range(5)]
        self.over.wait(random.uniform(1, 15))
        for listener in stalled:
            listener.close()

    def misbehave(self):
        """What is refused, now and then without waiting for the answer."""
        with self.connect() as connection:
            connection.sendall(random.choice(BAD_REQUESTS))
            if random.random() < 0.5:
                connection.shutdown(socket.SHUT_WR)
                read_all(connection)

    def send_ahead(self):
        """Requests sent ahead; the answers are read, or not."""
        with self.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * random.choice([10, 1000]))
            connection.shutdown(socket.SHUT_WR)
            if random.random() < 0.8:
                read_all(connection)

    def hold(self):
        """Half-sent heads and bodies, and silence, held for a while."""
        starts = [b"", b"GET /say?mess", b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"]
        held = [self.connect() for _ in range(50)]
        for connection in held:
            connection.sendall(random.choice(starts))
        self.over.wait(random.uniform(1, 14))
        for connection in held:
            connection.close()

    def repeat(self, kind):
        """Runs one kind of client until the end. What the server ends is theirs to bear."""
        while not self.over.is_set():
            with contextlib.suppress(OSError):
                kind()
                with self.lock:
                    self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1

    def run(self, seconds, each=lambda: None):
        """Has them all at once for so long, and calls `each` now and then."""
        self.over.clear()
        kinds = [self.speak, self.speak, self.flood, self.come_and_go, self.come_and_go, self.stall]
        kinds += [self.misbehave, self.send_ahead, self.hold, self.hold]
        threads = [threading.Thread(target=self.repeat, args=(kind,)) for kind in kinds]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            each()
        self.over.set()
        for thread in threads:
            thread.join()


class Steady(threading.Thread):
    """A listener that stays, and has to hear every message once, in the order of ids."""

    def __init__(self, churn):
        super().__init__(daemon=True)
        self.connection = churn.listen(b"?as=json")
        self.connection.settimeout(None)
        self.heard, self.last, self.wrong = 0, 0, None
        self.start()

    def run(self):
        text = b""
        while more := self.connection.recv(1 << 16):
            *lines, text = (text + more).split(b"\n")
            for line in lines:
                # A chunk's size and end stand on lines of their own.
                if found := re.match(rb'\{"id":"(\d+)"', line):
                    self.heard += 1
                    if int(found[1]) <= self.last:
                        self.wrong = f"{int(found[1])} after {self.last}"
                    self.last = int(found[1])
        self.wrong = self.wrong or "the stream ended"


def read_all(connection):
    """What comes until the end."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def measure(pid):
    """Memory in MB, threads and descriptors."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        figures = dict(line.split(":", 1) for line in status)
    memory = int(figures["VmRSS"].split()[0]) / 1024
    return memory, int(figures["Threads"]), len(os.listdir(f"/proc/{pid}/fd"))


def settle(pid, wanted=None):
    """What is measured once nobody churns: when it is as wanted, or does not change any more."""
    end = time.monotonic() + SETTLE_LIMIT
    last = measure(pid)
    while time.monotonic() < end:
        time.sleep(3)
        now = measure(pid)
        if now[1:] == (wanted or last)[1:]:
            return now
        last = now
    return last


def panel(top, height, title, samples, index, ends):
    """One figure over time."""
    left, width = 60, plots.WIDTH - 90
    highest = max(sample[index + 1] for sample in samples) * 1.1
    seconds = samples[-1][0] or 1
    parts = [plots.text(left, top - 8, f"{title}: {ends[0]:.4g} before, {ends[1]:.4g} after", kind="mine")]
    for part in (0, 0.5, 1):
        y = top + height * (1 - part)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>')
        parts.append(plots.text(left - 6, y + 4, f"{highest * part:.3g}", "end", "quiet"))
    points = " ".join(
        f"{left + width * sample[0] / seconds:.1f},{top + height * (1 - sample[index + 1] / highest):.1f}" for sample in samples
    )
    parts.append(f'<polyline points="{points}" fill="none" stroke="#2f81f7" stroke-width="1.5"/>')
    return parts


def draw(path, samples, before, after):
    """The plot of all three."""
    height, step = 110, 160
    parts = []
    for index, title in enumerate(["memory, MB", "threads", "descriptors"]):
        parts += panel(64 + index * step, height, title, samples, index, (before[index], after[index]))
    bottom = 64 + 2 * step + height
    for part in range(0, 11, 2):
        x = 60 + (plots.WIDTH - 90) * part / 10
        parts.append(plots.text(x, bottom + 20, f"{samples[-1][0] * part / 10:.0f} s", "middle", "quiet"))
    with open(path, "w", encoding="utf-8") as file:
        file.write(plots.document("Churn: memory, threads and descriptors over time", bottom + 36, parts))


def soak(server, address, seconds, folder):
    """Warms up, churns, waits until all is quiet; returns what is wrong."""
    churn = Churn(address)
    steady = [Steady(churn) for _ in range(3)]
    start, samples = time.monotonic(), []

    def sample():
        samples.append((time.monotonic() - start, *measure(server.pid)))
        time.sleep(max(0.1, seconds / SAMPLES))

    for _ in range(300):
        churn.say(b"x" * 50_000)  # the history is full from here on
    churn.run(max(5, seconds / 10), sample)
    before = settle(server.pid)
    sample()
    churn.run(seconds * 0.9, sample)
    after = settle(server.pid, before)
    sample()
    wrong = [listener.wrong for listener in steady if listener.wrong]
    end = time.monotonic() + SETTLE_LIMIT
    while any(listener.heard < churn.said for listener in steady) and time.monotonic() < end:
        time.sleep(0.1)
    heard = [listener.heard for listener in steady]
    if any(count < churn.said for count in heard):
        wrong.append(f"{churn.said} messages were said, the steady listeners heard {heard}")
    for name, index, margin in [
        ("memory", 0, MEMORY_MARGIN_MB + MEMORY_MARGIN_PART * before[0]),
        ("threads", 1, 1),
        ("descriptors", 2, 0),
    ]:
        if after[index] > before[index] + margin:
            wrong.append(f"{name} have grown from {before[index]:.4g} to {after[index]:.4g}")
    draw(os.path.join(folder, "soak.svg"), samples, before, after)
    if seconds >= 600:
        draw(os.path.join(os.path.dirname(__file__), "soak.svg"), samples, before, after)
    with open(os.path.join(folder, "samples.tsv"), "w", encoding="ascii") as file:
        file.write("seconds\tmemory_mb\tthreads\tdescriptors\n")
        file.writelines("\t".join(f"{value:.6g}" for value in one) + "\n" for one in samples)
    print(f"{churn.said} messages, each heard by every steady listener: {heard}")
    print("rounds:", ", ".join(f"{count} {name}" for name, count in sorted(churn.counts.items())))
    most = [max(one[index] for one in samples) for index in (1, 2, 3)]
    for name, index in [("memory, MB", 0), ("threads", 1), ("descriptors", 2)]:
        print(f"{name}: {before[index]:.4g} before, {most[index]:.4g} at the most, {after[index]:.4g} after")
    return wrong


def main(binary, seconds, folder):
    """Starts the server and soaks it."""
    command = [binary, "--bind", "127.0.0.1:0", "--queue", "4000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = re.search(r":(\d+)$", server.stderr.readline().strip())[1]
            log = []
            threading.Thread(target=lambda: log.extend(server.stderr), daemon=True).start()
            wrong = soak(server, ("127.0.0.1", int(port)), float(seconds), folder)
            wrong += [line.strip() for line in log if "ERROR" in line]
            if server.poll() is not None:
                wrong.append(f"the server has ended: {server.returncode}")
        finally:
            server.kill()
    print("\n".join(["verdict: not flat", *wrong]) if wrong else "verdict: flat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
