"""How costs grow with what there is: ``python -m benchmarks.growth``.

Each curve is measured point by point, and a call always in turn with the raw trio RPC, so that what the
machine does meanwhile slows both: where the ratio of the two is level, nothing grows. For calls all processes
share one core: what it costs to wake another one changes with where the kernel happens to put them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence

import trio

from .actors import open_actors
from .arguments import output_file, positive_float
from .curves import Curves, Points
from .plots import Line, Panel, svg
from .raw import open_raw
from .report import versions

#: The most of what a curve grows with, at scale 1.
MOST = {
    "dialogs": 10_000,
    "channels": 200,
    "names": 1_000,
    "actors": 200,
    "sizes": 4 * 1024 * 1024,
    "width": 64,
    "depth": 6,
}
#: How far a call may cost more at the end of its curve than at the beginning.
LEVEL = 1.1
CALLS = ("dialogs", "channels", "names")


def steps(most: int, smallest: int = 1, factor: float = 10**0.5) -> list[int]:
    """From ``smallest`` to ``most``, each so many times the one before."""
    found = [most]
    while found[0] / factor >= smallest:
        found.insert(0, max(smallest, round(found[0] / factor)))
    return found


def points(name: str, scale: float) -> list[int]:
    """Where a curve is measured."""
    most = max(2, round(MOST[name] * scale))
    if name == "depth":
        return list(range(1, most + 1))
    if name in ("actors", "width"):
        return steps(most, factor=2)
    if name == "sizes":
        return steps(most, smallest=16, factor=4)
    return [0, *steps(most, smallest=10 if most > 10 else 1)]


async def grow(names: Sequence[str], scale: float, repeat: float) -> dict[str, Points]:
    """The curves of that name."""
    with tempfile.TemporaryDirectory(prefix="tc-growth-", dir="/tmp") as directory:
        async with open_actors("tcp", directory) as actors, open_raw("tcp", directory) as raw:
            assert raw is not None
            curves = Curves(actors, raw, repeat)
            measured: dict[str, Callable[[Sequence[int]], Awaitable[Points]]] = {
                name: getattr(curves, name) for name in MOST
            }
            found = {}
            for name in names:
                if sys.stderr.isatty():
                    print(f"{name} ...", file=sys.stderr)
                found[name] = await measured[name](points(name, scale))
            return found


def measure(names: Sequence[str], scale: float, repeat: float) -> dict[str, Points]:
    """The curves of that name, those of calls on one core."""
    cores = os.sched_getaffinity(0)
    found: dict[str, Points] = {}
    for on, among in (({min(cores)}, CALLS), (cores, [name for name in MOST if name not in CALLS])):
        if chosen := [name for name in names if name in among]:
            os.sched_setaffinity(0, on)
            found |= trio.run(grow, chosen, scale, repeat)
    os.sched_setaffinity(0, cores)
    return {name: found[name] for name in names}


def panels(curves: dict[str, Points]) -> list[Panel]:
    """One for each curve, two for actors."""
    texts = {
        "dialogs": ("A call beside open dialogs", "dialogs"),
        "channels": ("A call beside open channels", "channels"),
        "names": ("A call and a look-up beside registered names", "names"),
        "actors": ("Spawning the next actor", "actors there are"),
        "sizes": ("One-way stream", "bytes of a value"),
        "width": ("Tear-down of a flat tree", "actors side by side"),
        "depth": ("Tear-down of a chain", "levels"),
    }
    units = dict.fromkeys(CALLS, "us") | {"actors": "ms", "sizes": "MB/s", "width": "ms", "depth": "ms"}
    found = []
    for name, measured in curves.items():
        title, across = texts[name]
        drawn = [Line(label, line) for label, line in measured.items() if label not in ("ratio", "memory")]
        at_zero = any(x == 0 for line in drawn for x, _ in line.points)
        shifted = [Line(line.label, [(max(x, 1), y) for x, y in line.points]) for line in drawn]
        log_x = name != "depth"
        label = f"{across} (leftmost: none)" if at_zero else across
        found.append(
            Panel(title, label, units[name], shifted if log_x else drawn, log_x=log_x, log_y=name == "sizes")
        )
        if "memory" in measured:
            found.append(
                Panel("Private memory of all actors", across, "MB", [Line("memory", measured["memory"])])
            )
        if "ratio" in measured:
            ratio = Line("ratio", [(max(x, 1), y) for x, y in measured["ratio"]])
            found.append(Panel(f"{title}, by raw trio", label, "ratio", [ratio], log_x=True))
    return found


def table(curves: dict[str, Points]) -> str:
    """A line for each point of each curve."""
    lines = []
    for name, measured in curves.items():
        for at, (x, _) in enumerate(next(iter(measured.values()))):
            figures = ", ".join(f"{label} {line[at][1]:,.4g}" for label, line in measured.items())
            lines.append(f"{name:<10}{x:>10,.0f}  {figures}")
    return "\n".join(lines)


def growing(curves: dict[str, Points]) -> list[str]:
    """The curves of a call that are not level, in words."""
    complaints = []
    for name in CALLS:
        if name in curves:
            first, last = curves[name]["ratio"][0][1], curves[name]["ratio"][-1][1]
            if last > first * LEVEL:
                complaints.append(f"a call grows with {name}: {first:.2f} to {last:.2f} of raw trio's")
    return complaints


def verdict(curves: dict[str, Points], complaints: list[str]) -> str:
    """What is said of the calls, if any were measured."""
    if complaints:
        return "\n".join(complaints)
    return "level" if curves.keys() & set(CALLS) else "no call was measured: nothing to be level"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--curves", default=",".join(MOST), metavar="A,B", help=f"of {', '.join(MOST)}")
    parser.add_argument(
        "--scale", type=positive_float, default=1.0, help="grow to so many times the usual end"
    )
    parser.add_argument(
        "--repeat", type=positive_float, default=1.0, help="measure each point so many times as long"
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write all points to FILE")
    parser.add_argument(
        "--plot", type=output_file, metavar="FILE", help="also draw the curves to FILE, as SVG"
    )
    parser.add_argument("--check", action="store_true", help="fail if a call is not level, to 10 %%")
    options = parser.parse_args(arguments)
    options.curves = options.curves.split(",")
    if unknown := set(options.curves) - set(MOST):
        parser.error(f"there is no {', '.join(sorted(unknown))!r}, only {', '.join(MOST)}")
    if options.check and not set(options.curves) & set(CALLS):
        parser.error(f"--check is about calls: it needs one of the curves {', '.join(CALLS)}")
    return options


def main() -> int:
    options = parse()
    for variable in ("PYTHONDONTWRITEBYTECODE", "TRACTOR_TRANSPORTS", "TRACTOR_SPAWN_METHOD"):
        os.environ.pop(variable, None)
    curves = measure(options.curves, options.scale, options.repeat)
    print(", ".join(f"{name} {value}" for name, value in versions().items()))
    print(table(curves))
    if options.json is not None:
        options.json.write_text(
            json.dumps({"versions": versions(), "curves": curves}) + "\n", encoding="utf-8"
        )
    if options.plot is not None:
        options.plot.write_text(svg(panels(curves)), encoding="utf-8")
    complaints = growing(curves)
    print(verdict(curves, complaints))
    return 1 if complaints and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
