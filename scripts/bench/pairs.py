#!/usr/bin/env python3
"""Compares two builds of aloud in interleaved pairs of runs: new to old, the median and the range of the ratios.

    scripts/bench/pairs.py OLD NEW [ROUNDS [SCENARIO...]]    two binaries; 7 rounds of all scenarios, some 6 minutes

Wants a machine that does nothing else, and the load generator (scripts/bench/run.sh builds it).
"""

import json
import pathlib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LOAD = pathlib.Path(__file__).parent / "target/release/load"
SCENARIOS = {
    "say, 9,001/s": ("say", "--speakers", "10", "--rate", "9001"),
    "say, 16 flat out": ("say", "--speakers", "16", "--rate", "0"),
    "say, 1 flat out": ("say", "--speakers", "1", "--rate", "0"),
    "say, 16, --store": ("say", "--speakers", "16", "--rate", "0"),
    "100 paced": ("fanout", "--listeners", "100", "--speakers", "4", "--rate", "200"),
    "1,000 paced": ("fanout", "--listeners", "1000", "--speakers", "4", "--rate", "50"),
    "100 flat out": ("fanout", "--listeners", "100", "--speakers", "4", "--rate", "0"),
    "joins": ("join", "--listeners", "2000"),
    "joins again": ("rejoin", "--listeners", "2000"),
}
FIGURES = ("requests_per_second", "deliveries_per_second", "joins_per_second", "cpu_us_per_request",
           "cpu_us_per_delivery", "cpu_us_per_join", "say_p50_ms", "say_p99_ms", "delivery_p50_ms", "delivery_p99_ms")


def measure(binary, scenario, folder):
    """One run against a server of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    store = ["--store", f"{folder}/{time.monotonic_ns()}"] if "--store" in scenario else []
    server = subprocess.Popen([binary, "--bind", f"127.0.0.1:{port}", "--log", "off", *store])
    try:
        while subprocess.run([binary, "--bind", f"127.0.0.1:{port}", "--check"], stderr=subprocess.DEVNULL).returncode:
            time.sleep(0.05)
        command = [LOAD, *SCENARIOS[scenario], "--port", port, "--pid", str(server.pid), "--seconds", "2"]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    finally:
        server.kill()
        server.wait()


def main():
    """Prints a line for each figure of each scenario."""
    old, new, rounds = *sys.argv[1:3], int(sys.argv[3]) if len(sys.argv) > 3 else 7
    chosen = sys.argv[4:] or SCENARIOS
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        for scenario in chosen:
            pairs = [[measure(binary, scenario, folder) for binary in (old, new)] for _ in range(rounds)]
            for figure in FIGURES:
                ratios = [b[figure] / a[figure] for a, b in pairs if a.get(figure) and b.get(figure)]
                if ratios:
                    middle, least, most = statistics.median(ratios), min(ratios), max(ratios)
                    print(f"{scenario}: {figure} {middle:.2f} ({least:.2f} to {most:.2f})", flush=True)


main()
