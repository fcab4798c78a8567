"""The rounds as tables: one per family, a row per figure, a column per server, and two columns of ratios.

"aloud / best peer" divides by the best of the peers in that row, whichever it is; the floor is no peer, and
a peer that lost much of a scenario did less work than the others and is not compared in it. Where messages
are kept, the ratios are those of aloud with a store to aloud in memory, and to the best peer that keeps them.
"""

import statistics

import scenarios

NONE = "–"
# Behind the figures of a server that lost more than this share of its deliveries in the median round.
LOSSY = "†"
LOSSY_SHARE = 0.01


def over_rounds(runs, figure):
    """One number for all rounds, in the figure's unit; None when no round has it."""
    values = [run[figure.key] for run in runs if run.get(figure.key) is not None]
    if not values:
        return None
    choose = {"median": statistics.median, "least": min, "most": max}[figure.over_rounds]
    return choose(values) * figure.scale


def show(value):
    """A number with three significant digits, or whole when it is large."""
    if value is None:
        return NONE
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def ratio(ours, other):
    """How many times `other` ours is."""
    if ours is None or not other:
        return NONE
    return f"{ours / other:.2f}"


def is_lossy(runs):
    """Whether so much was lost that the other figures flatter the server."""
    shares = [run["lost"] / (run["lost"] + run["deliveries"] or 1) for run in runs if "deliveries" in run]
    return bool(shares) and statistics.median(shares) > LOSSY_SHARE


def best_peer(values, lossy, better):
    """The best value among the peers that count; none where nothing is better."""
    apart = {"aloud", "floor", *lossy}
    peers = [value for name, value in values.items() if name not in apart and value is not None]
    if not peers or not better:
        return None
    return min(peers) if better == "less" else max(peers)


def row(figure, values, lossy):
    """One line of a table."""
    unit = f" ({figure.unit})" if figure.unit else ""
    ours = values.get("aloud")
    floor = values.get("floor") if figure.better else None
    cells = [
        figure.label + unit,
        *(show(value) + (LOSSY if name in lossy else "") for name, value in values.items()),
    ]
    if scenarios.STORE in values:
        kept = values[scenarios.STORE] if figure.better else None
        peers = {name: value for name, value in values.items() if name in scenarios.KEEPING[1:]}
        cells += [ratio(kept, ours), ratio(kept, best_peer(peers, lossy, figure.better))]
    else:
        cells += [ratio(ours, best_peer(values, lossy, figure.better)), ratio(ours, floor)]
    return "| " + " | ".join(cells) + " |"


def family_table(title, family, results, names):
    """The table of one family; nothing when none of its scenarios was run."""
    names = [name for name in names if any(name in scenario.servers for scenario in family)]
    if scenarios.STORE in names:
        head = ["", *names, "store / aloud", "store / best peer"]
    else:
        head = ["", *names, "aloud / best peer", "aloud / floor"]
    lines = [
        f"## {title}",
        "",
        "| " + " | ".join(head) + " |",
        "|---" + "|--:" * (len(head) - 1) + "|",
    ]
    empty = len(lines)
    for scenario in family:
        runs = {name: results.get((scenario.name, name), []) for name in names}
        if not any(runs.values()):
            continue
        lines.append(f"| **{scenario.title}**" + " |" * len(head))
        lossy = {name for name in names if is_lossy(runs[name])}
        for figure in scenario.figures:
            values = {name: over_rounds(runs[name], figure) for name in names}
            lines.append(row(figure, values, lossy))
    return [*lines, ""] if len(lines) > empty else []


def markdown(results, names, rounds, about):
    """The whole page."""
    lines = [
        "# Results",
        "",
        *about,
        f"- medians of {rounds} interleaved round{'s' if rounds > 1 else ''}; of faults the worst round",
        "- ratios: below 1 is better for latency, CPU and memory, above 1 for requests, deliveries and joins"
        " a second",
        f"- {LOSSY}: lost more than {LOSSY_SHARE:.0%} of its deliveries, so it is not compared there",
        "",
    ]
    for title, family in scenarios.FAMILIES.items():
        lines += family_table(title, family, results, names)
    return "\n".join(lines)
