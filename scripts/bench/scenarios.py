"""What is run and which figures are shown: the servers, the scenarios, and each family's table.

A scenario is one call of the load generator. A figure names what the load generator prints, how it is
shown, and whether less or more of it is better.
"""

from dataclasses import dataclass
from pathlib import Path

BENCH = Path(__file__).resolve().parent
BUILT = BENCH / "target" / "release"
NGINX = Path("/usr/sbin/nginx")
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")

# Messages that may wait for one listener: the same bound in every server.
QUEUE = "256"
# Above the largest room, with space for speakers.
MAX_LISTENERS = "12000"
# How long the load lasts in a scenario, in seconds, as a rule and with --quick.
SECONDS = 4.0
QUICK_SECONDS = 1.5


# aloud with `--store`: compared with aloud in memory, and with axum that keeps what is said in SQLite too, each message
# in a transaction of its own, or all that lie there in one.
STORE = "store"
KEEPING = (STORE, "axum-sqlite", "axum-sqlite-together")
# Those that are compared in every other scenario, in the order of the tables' columns.
COMPARED = ("aloud", "axum", "go", "nchan", "floor")


@dataclass(frozen=True)
class Server:
    """One server: what is executed, and which files make it up (for the size)."""

    name: str
    files: tuple
    dialect: str = "aloud"

    def command(self, port, folder):
        """The command that serves at `port`, with `folder` for its own."""
        store = ["--store", str(folder / "store")] if self.name in KEEPING else []
        if self.name in ("aloud", STORE):
            limits = ["--queue", QUEUE, "--max-listeners", MAX_LISTENERS, "--log", "warn"]
            return [str(self.files[0]), "--bind", f"127.0.0.1:{port}", *limits, *store]
        if self.name == "nchan":
            template = (BENCH / "peers" / "nchan" / "nginx.conf").read_text()
            (folder / "nginx.conf").write_text(template.replace("PORT", str(port)))
            return [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        together = ["--together"] if self.name == KEEPING[2] else []
        return [str(self.files[0]), "--bind", f"127.0.0.1:{port}", *store, *together]


def servers(aloud):
    """All servers."""
    return [
        Server("aloud", (Path(aloud),)),
        Server("axum", (BUILT / "axum-peer",)),
        Server("go", (BUILT / "go-peer",)),
        Server("nchan", (NGINX, NCHAN), dialect="nchan"),
        Server("floor", (BUILT / "floor",)),
        Server(STORE, (Path(aloud),)),
        *(Server(name, (BUILT / "axum-sqlite-peer",)) for name in KEEPING[1:]),
    ]


@dataclass(frozen=True)
class Figure:
    """One row of a table. `better` is "less", "more", or "" where no ratio makes sense."""

    key: str
    label: str
    unit: str = ""
    better: str = "less"
    # Over the rounds: the median, or where one bad round must show, the worst.
    over_rounds: str = "median"
    scale: float = 1.0


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    arguments: tuple
    figures: tuple
    # The names of the servers it is run on.
    servers: tuple = COMPARED


JOINS = (Figure("joins_per_second", "joins/s", "", "more"), Figure("cpu_us_per_join", "CPU per join", "us"))
SAY_LATENCY = tuple(
    Figure(f"say_{key}_ms", f"`/say` {key}", "ms") for key in ("mean", "p50", "p95", "p99", "max")
)
SUCCESS = Figure("success_percent", "success", "%", "", "least")
REQUESTS = Figure("requests_per_second", "requests/s", "", "more")
CPU_REQUEST = Figure("cpu_us_per_request", "CPU per request", "us")
DELIVERY_LATENCY = tuple(
    Figure(f"delivery_{key}_ms", f"delivery {key}", "ms") for key in ("p50", "p95", "p99", "max")
)
FANOUT_SAY = (SAY_LATENCY[1], SAY_LATENCY[3])
DELIVERIES = Figure("deliveries_per_second", "deliveries/s", "", "more")
CPU_DELIVERY = Figure("cpu_us_per_delivery", "CPU per delivery", "us")
FAULTS = (
    SUCCESS,
    Figure("lost", "lost", "", "", "most"),
    Figure("out_of_order", "out of order", "", "", "most"),
    Figure("other_orders", "listeners with another order", "", "", "most"),
    Figure("hung_up", "hung up on", "", "", "most"),
)
PACED = (*DELIVERY_LATENCY, *FANOUT_SAY, CPU_DELIVERY, *FAULTS)
FLAT_OUT = (DELIVERIES, CPU_DELIVERY, *DELIVERY_LATENCY, *FANOUT_SAY, *FAULTS)
MEMORY = (
    Figure("idle_rss_bytes", "idle RSS", "MB", scale=1e-6),
    Figure("rss_bytes_per_listener", "RSS per listener", "kB", scale=1e-3),
    Figure("kernel_bytes_per_listener", "kernel memory per listener, both ends", "kB", scale=1e-3),
    Figure("kernel_stack_bytes_per_listener", "of it thread stacks", "kB", "", scale=1e-3),
    Figure("slab_bytes_per_listener", "of it slab", "kB", "", scale=1e-3),
    Figure("page_table_bytes_per_listener", "of it page tables", "kB", "", scale=1e-3),
)


def fanout(listeners, rate):
    """Listeners and four speakers, at `rate` messages a second or, at 0, flat out."""
    pace = f"{rate} messages/s" if rate else "flat out"
    return Scenario(
        f"{'paced' if rate else 'flat'}-{listeners}",
        f"{listeners:,} listeners, {pace}",
        ("fanout", "--listeners", listeners, "--speakers", 4, "--rate", rate),
        PACED if rate else FLAT_OUT,
    )


def channels(count, rate):
    """A listener on each of so many channels; four speakers speak on one channel after the other."""
    pace = f"{rate:,} messages/s" if rate else "flat out"
    arguments = ("fanout", "--listeners", count, "--channels", count, "--speakers", 4, "--rate", rate)
    kind = "paced" if rate else "flat"
    return Scenario(
        f"{kind}-channels",
        f"{count:,} listeners, each on a channel of its own, {pace}",
        arguments,
        PACED if rate else FLAT_OUT,
        ("aloud", "axum", "nchan"),
    )


def long_messages(listeners, rate):
    """As `fanout`, with messages of 64 kB."""
    return Scenario(
        "paced-64kB",
        f"{listeners:,} listeners, {rate} messages/s of 64 kB",
        ("fanout", "--listeners", listeners, "--speakers", 4, "--rate", rate, "--bytes", 64_000),
        PACED,
        ("aloud", "axum", "go", "nchan"),
    )


def say(connections, rate):
    """Speakers on keep-alive connections, nobody listening."""
    pace = f"{rate:,} requests/s" if rate else "flat out"
    plural = "s" if connections > 1 else ""
    return Scenario(
        "say-paced" if rate else f"say-flat-{connections}",
        f"`/say` {pace}, {connections} connection{plural}",
        ("say", "--speakers", connections, "--rate", rate),
        (*SAY_LATENCY, SUCCESS, CPU_REQUEST)
        if rate
        else (REQUESTS, CPU_REQUEST, SAY_LATENCY[1], SAY_LATENCY[3], SUCCESS),
    )


def kept():
    """Speakers flat out whose messages are kept on the disk before they are answered, and in memory."""
    return Scenario(
        "say-store",
        "`/say` flat out, 16 connections",
        ("say", "--speakers", 16, "--rate", 0),
        (REQUESTS, SAY_LATENCY[1], SAY_LATENCY[3], CPU_REQUEST, SUCCESS),
        ("aloud", *KEEPING),
    )


# Each family is one table.
FAMILIES = {
    "Saying": (say(10, 9001), say(1, 0), say(16, 0)),
    "Keeping": (kept(),),
    "Fan-out, paced": (fanout(100, 200), fanout(1000, 30), fanout(5000, 4), fanout(9500, 2)),
    "Fan-out, flat out": (fanout(100, 0), fanout(1000, 0)),
    "Channels, long messages": (channels(1000, 2000), channels(1000, 0), long_messages(100, 20)),
    "Joining, memory, start": (
        Scenario(
            "join",
            "2,000 joins, at most 64 at a time",
            ("join", "--listeners", 2000, "--outstanding", 64),
            JOINS,
        ),
        Scenario(
            "rejoin",
            "5,000 cut at once come back, at most 64 at a time",
            ("rejoin", "--listeners", 5000, "--outstanding", 64),
            JOINS,
        ),
        Scenario("memory", "memory, 1,000 listeners", ("idle", "--listeners", 1000), MEMORY),
        Scenario("start", "start", ("start",), (Figure("start_ms", "exec to first answer", "ms"),)),
        Scenario("binary", "binary", (), (Figure("binary_bytes", "size", "MB", scale=1e-6),)),
    ),
}
