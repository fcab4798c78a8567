"""The three plots, as SVG written by hand: readable on light and on dark, small enough to read as text."""

import math

import scenarios
import tables

# Each server's colour, seen well on white and on near-black, and its dash, so that colour is not all.
STYLES = {
    "aloud": ("#2f81f7", ""),
    "axum": ("#d9730d", "7 3"),
    "go": ("#1a9c7b", "2 3"),
    "nchan": ("#b45bcf", "9 3 2 3"),
    "floor": ("#8b949e", "1 4"),
}
# Sizes in SVG units, which are pixels at the size it is shown.
WIDTH, LATENCY_HEIGHT, THROUGHPUT_HEIGHT = 820, 342, 270
PANEL_WIDTH, PANEL_HEIGHT = 340, 220
PANEL_LEFTS, PANEL_TOP = (60, 460), 70
BAR_HEIGHT, BAR_STEP = 24, 40

STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.quiet { fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.mine { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .grid { stroke: #3d444d }
}
</style>"""


def text(x, y, words, anchor="start", kind=""):
    """One line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{words}</text>'


def stroke(name):
    """The attributes of a server's line."""
    colour, dash = STYLES[name]
    return f'fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash or "none"}"'


def value(results, scenario, name, key):
    """The median of one figure, or None."""
    figure = next(figure for figure in scenario.figures if figure.key == key)
    return tables.over_rounds(results.get((scenario.name, name), []), figure)


def document(title, height, parts):
    """The whole file."""
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title_parts = [f"<title>{title}</title>", text(16, 26, title, kind="mine")]
    return "\n".join([head, STYLE, *title_parts, *parts, "</svg>", ""])


def decades(low, high):
    """The 1-2-5 steps of a logarithmic axis that holds both ends."""
    steps = [factor * 10.0**power for power in range(-4, 6) for factor in (1, 2, 5)]
    first = max((step for step in steps if step <= low), default=steps[0])
    last = min((step for step in steps if step >= high), default=steps[-1])
    return [step for step in steps if first <= step <= last]


def latency(results):
    """Delivery latency over the number of listeners, p50 and p99, both axes logarithmic."""
    panels = [(f"delivery_{percentile}_ms", f"{percentile} in ms over listeners") for percentile in ("p50", "p99")]
    return over_listeners(results, "Delivery latency, said to heard", panels)


def cost(results):
    """Processor time and answers over the number of listeners, both axes logarithmic. A straight line is a power."""
    panels = [
        ("cpu_us_per_delivery", "CPU for each delivery in us over listeners"),
        ("say_p50_ms", "`/say` p50 in ms over listeners"),
    ]
    return over_listeners(results, "Cost over size", panels)


def over_listeners(results, title, panels):
    """A plot of two panels: a figure's key and the panel's title each."""
    family = scenarios.FAMILIES["Fan-out, paced"]
    parts = []
    for left, (key, panel_title) in zip(PANEL_LEFTS, panels):
        lines = {
            name: [value(results, scenario, name, key) for scenario in family] for name in STYLES
        }
        parts += panel(left, panel_title, family, lines)
    for index, name in enumerate(STYLES):
        x = 400 + index * 84
        parts.append(f'<path d="M{x} 22h28" {stroke(name)}/>')
        parts.append(text(x + 33, 26, name, kind="mine" if name == "aloud" else ""))
    return document(title, LATENCY_HEIGHT, parts)


def panel(left, title, family, lines):
    """One panel: a line for each server over the scenarios of the family."""
    known = [one for line in lines.values() for one in line if one]
    steps = decades(min(known, default=1), max(known, default=10))
    bottom = PANEL_TOP + PANEL_HEIGHT
    span = math.log(steps[-1] / steps[0]) or 1

    def height(figure):
        return bottom - PANEL_HEIGHT * math.log(figure / steps[0]) / span

    counts = [scenario.arguments[2] for scenario in family]
    width = math.log(counts[-1] / counts[0])
    places = [left + 20 + (PANEL_WIDTH - 50) * math.log(count / counts[0]) / width for count in counts]
    parts = [text(left, PANEL_TOP - 14, title, kind="mine")]
    for step in steps:
        y = height(step)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + PANEL_WIDTH}" y2="{y:.1f}"/>')
        parts.append(text(left - 6, y + 4, f"{step:g}", "end", "quiet"))
    for place, scenario in zip(places, family):
        listeners, pace = scenario.title.split(", ", 1)
        parts.append(text(place, bottom + 20, listeners.split(" ")[0], "middle"))
        parts.append(text(place, bottom + 37, f"at {pace.replace(' messages', '')}", "middle", "quiet"))
    for name, line in lines.items():
        points = [(place, height(one)) for place, one in zip(places, line) if one]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" {stroke(name)}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{STYLES[name][0]}"/>' for x, y in points]
    return parts


def throughput(results):
    """Deliveries a second, flat out, a bar for each server."""
    parts = []
    for left, scenario in zip(PANEL_LEFTS, scenarios.FAMILIES["Fan-out, flat out"]):
        values = {name: value(results, scenario, name, "deliveries_per_second") for name in STYLES}
        longest = max((one for one in values.values() if one), default=1)
        parts.append(text(left, PANEL_TOP - 14, scenario.title, kind="mine"))
        for index, (name, one) in enumerate(values.items()):
            y = PANEL_TOP + index * BAR_STEP
            length = (PANEL_WIDTH - 90) * (one or 0) / longest
            parts.append(text(left - 8, y + 17, name, "end", "mine" if name == "aloud" else ""))
            size = f'width="{length:.1f}" height="{BAR_HEIGHT}"'
            parts.append(f'<rect x="{left}" y="{y}" {size} rx="2" fill="{STYLES[name][0]}"/>')
            amount = f"{one / 1e6:.2f} M/s" if one else "not measured"
            parts.append(text(left + length + 6, y + 17, amount, kind="quiet"))
    return document("Throughput, deliveries a second with 4 speakers", THROUGHPUT_HEIGHT, parts)
