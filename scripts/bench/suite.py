"""Runs every scenario on every server in turn, several rounds interleaved, and writes tables and plots.

Every run has a server of its own, freshly started on a free port. Rounds are interleaved (all servers of
a scenario, then the next scenario, then the next round), so that a slow minute of the machine hits all.
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import plots
import scenarios
import tables

# A server that does not accept connections after this many seconds has failed to start.
START_SECONDS = 10
# Rest between a server's start and the load, in seconds: its threads have started and sleep.
REST_SECONDS = 0.2
# The rest is repeated while more than this share of the processors is busy with something else, ...
BUSY_SHARE = 0.1
# ... but not for more seconds than this.
QUIET_SECONDS = 20
# A server that has not ended this many seconds after SIGTERM is killed.
STOP_SECONDS = 7
# A load generator that takes longer than this many seconds has failed.
LOAD_SECONDS = 60


class RunFailed(Exception):
    """One run gave no figures; the message says why in one line."""


def free_port():
    """A port nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processor_ticks():
    """Ticks of all processors since boot: idle ones, and all."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def wait_until_quiet():
    """Rests until nothing else keeps the machine busy; says so when it does not get quiet."""
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        idle_before, all_before = processor_ticks()
        time.sleep(REST_SECONDS)
        idle, all_of_them = processor_ticks()
        if idle - idle_before >= (1 - BUSY_SHARE) * (all_of_them - all_before):
            return
    print("the machine is busy with something else, the next run will suffer from it", file=sys.stderr)


def start_server(server, port, folder):
    """The server's process, once it accepts connections."""
    with open(folder / "stderr", "wb") as errors:
        process = subprocess.Popen(
            server.command(port, folder), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            wait_until_quiet()
            return process
        except OSError:
            time.sleep(0.01)
    stop_server(process)
    lines = (folder / "stderr").read_text(errors="replace").split("\n")
    raise RunFailed(f"the server did not start: {lines[0]}")


def stop_server(process):
    """Ends the process as an operator would, then as the kernel does."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def call_load(arguments):
    """The figures that one call of the load generator prints."""
    command = [str(scenarios.BUILT / "load"), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"the load generator took more than {LOAD_SECONDS} s") from None
    if done.returncode != 0:
        raise RunFailed(done.stderr.strip() or f"the load generator ended with {done.returncode}")
    return json.loads(done.stdout)


def run_once(server, scenario, seconds):
    """One scenario on one fresh server: its figures."""
    if scenario.name == "binary":
        return {"binary_bytes": sum(path.stat().st_size for path in server.files)}
    port = free_port()
    # Not the system's folder for such things, which may be no disk.
    with tempfile.TemporaryDirectory(prefix="run-", dir=scenarios.BENCH / "target") as name:
        folder = Path(name)
        arguments = [*scenario.arguments, "--port", port, "--dialect", server.dialect]
        if scenario.name == "start":
            return call_load([*arguments, "--", *server.command(port, folder)])
        process = start_server(server, port, folder)
        try:
            return call_load([*arguments, "--pid", process.pid, "--seconds", seconds])
        finally:
            stop_server(process)


def run_all(chosen_servers, chosen_scenarios, rounds, seconds, log):
    """Every run's figures as {(scenario, server): [figures of round 1, ...]}."""
    results = {}
    for number in range(1, rounds + 1):
        for scenario in chosen_scenarios:
            for server in chosen_servers:
                if server.name not in scenario.servers:
                    continue
                try:
                    figures = run_once(server, scenario, seconds)
                except RunFailed as failure:
                    print(f"{server.name}, {scenario.title}: {failure}", file=sys.stderr)
                    continue
                results.setdefault((scenario.name, server.name), []).append(figures)
                run = {"round": number, "scenario": scenario.name, "server": server.name}
                print(json.dumps(run | figures), file=log, flush=True)
            print(f"round {number} of {rounds}: {scenario.title}", file=sys.stderr)
    return results


def about(command):
    """The machine, the kernel, the day and the command, as a Markdown list."""
    info = Path("/proc/cpuinfo").read_text()
    models = [line.split(":")[1].strip() for line in info.split("\n") if line.startswith("model name")]
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"- machine: {os.cpu_count()} cores ({models[0] if models else platform.machine()}), {memory:.0f} GiB",
        f"- kernel: {platform.system()} {platform.release()}, TCP congestion control {congestion}",
        f"- date: {datetime.date.today().isoformat()}",
        f"- command: `{command}`",
    ]


def choose(all_of_them, names, what):
    """Those with the names given, comma-separated; all without names."""
    if not names:
        return all_of_them
    wanted = names.split(",")
    known = [one.name for one in all_of_them]
    for name in wanted:
        if name not in known:
            sys.exit(f"suite.py: no {what} {name}; there are {', '.join(known)}")
    return [one for one in all_of_them if one.name in wanted]


def parse_arguments():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__.split("\n")[0])
    parser.add_argument("--aloud", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", metavar="A,B", help="only these scenarios")
    parser.add_argument("--servers", metavar="A,B", help="only these servers")
    return parser.parse_args()


def main():
    options = parse_arguments()
    rounds = 1 if options.quick else options.rounds
    seconds = scenarios.QUICK_SECONDS if options.quick else scenarios.SECONDS
    everything = [scenario for family in scenarios.FAMILIES.values() for scenario in family]
    chosen_scenarios = choose(everything, options.only, "scenario")
    chosen_servers = choose(scenarios.servers(options.aloud), options.servers, "server")
    there = [server for server in chosen_servers if all(path.exists() for path in server.files)]
    for server in set(chosen_servers) - set(there):
        print(f"suite.py: {server.name} is not built, going on without it", file=sys.stderr)

    work = scenarios.BENCH / "target"
    work.mkdir(exist_ok=True)
    with open(work / "runs.jsonl", "w") as log:
        results = run_all(there, chosen_scenarios, rounds, seconds, log)

    # Only a whole run may replace the results that are kept in the repository.
    whole = not (options.quick or options.only or options.servers)
    folder = scenarios.BENCH if whole else work
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--aloud", options.aloud)]
    command = shlex.join(["scripts/bench/run.sh", *arguments])
    text = tables.markdown(results, [server.name for server in there], rounds, about(command))
    (folder / "results.md").write_text(text)
    (folder / "latency.svg").write_text(plots.latency(results))
    (folder / "cost.svg").write_text(plots.cost(results))
    (folder / "throughput.svg").write_text(plots.throughput(results))
    print(text)
    print(f"written to {folder}: results.md, latency.svg, cost.svg, throughput.svg", file=sys.stderr)


if __name__ == "__main__":
    main()
