"""``python -m benchmarks``: measure, print a table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from .arguments import output_file, positive_float, positive_int
from .bars import bars
from .measuring import Result, Row, measure
from .report import as_json, table, versions
from .rival import ENVIRONMENT, open_rivals
from .rival import NAMES as RIVALS
from .rows import ROWS
from .sides import open_sides

TRANSPORTS = ("tcp", "uds", "zmq+tcp", "zmq+ipc", "ws", "tls", "wss")
#: Measured when nothing is said; each of the others is a library between us and these.
USUAL = ("tcp", "uds")
BACKENDS = ("subprocess", "forkserver", "multiprocessing")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)

    def several(option: str, known: Sequence[str], usual: Sequence[str]) -> None:
        text = f"of {', '.join(known)}, or 'all' (default {','.join(usual) if usual != known else 'all'})"
        parser.add_argument(option, type=_listed(known), default=list(usual), metavar="A,B", help=text)

    names = [row.name for row in ROWS]
    several("--rows", names, names)
    several("--transports", TRANSPORTS, USUAL)
    several("--backends", BACKENDS, BACKENDS)
    several("--rivals", [*RIVALS, "none"], RIVALS)
    parser.add_argument(
        "--rivals-in", type=Path, default=ENVIRONMENT, metavar="DIRECTORY", help="their environment"
    )
    parser.add_argument("--rounds", type=positive_int, default=5, help="rounds of each row (default 5)")
    parser.add_argument(
        "--scale", type=positive_float, default=1.0, help="do so many times the usual work in a round"
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="also write all figures to FILE")
    parser.add_argument(
        "--plot", type=output_file, metavar="FILE", help="also draw all ratios to FILE, as SVG"
    )
    parser.add_argument("--check", action="store_true", help="fail if a ratio misses its target")
    parser.add_argument("--pin", action="store_true", help="keep all processes on one core")
    options = parser.parse_args(arguments)
    if not any(chosen(options, transport) for transport in options.transports):
        parser.error("nothing to measure: none of these rows is about any of these backends")
    return options


def _listed(known: Sequence[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        given = [name.strip() for name in text.split(",") if name.strip()]
        if given == ["all"]:
            return list(known)
        unknown = [name for name in given if name not in known]
        if unknown or not given:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)!r}, only {', '.join(known)}")
        return given

    return names


def chosen(options: argparse.Namespace, transport: str) -> list[Row]:
    """The rows to measure over one transport."""
    first = transport == options.transports[0]
    return [
        row
        for row in ROWS
        if row.name in options.rows
        and (row.backend is None or row.backend in options.backends)
        and (first or row.every_transport)
    ]


async def run(options: argparse.Namespace) -> tuple[list[Result], list[str]]:
    """All results, and a line for each rival that is not there."""
    results = []
    wanted = [name for name in options.rivals if name != "none"]
    async with open_rivals(wanted, options.rivals_in) as (rivals, absent):
        for transport in options.transports:
            beside = rivals if transport == options.transports[0] else ()
            # Sockets have short names, whatever TMPDIR says.
            with tempfile.TemporaryDirectory(prefix="tc-bench-", dir="/tmp") as directory:
                async with open_sides(transport, directory, beside) as sides:
                    for row in chosen(options, transport):
                        if sys.stderr.isatty():
                            print(f"{row.name} over {transport} ...", file=sys.stderr)
                        results.append(await measure(row, sides, rounds=options.rounds, scale=options.scale))
    return results, absent


def main() -> int:
    options = parse()
    # With it, every child would compile what it imports, and spawning would look far slower than it is.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Here the transports are chosen by argument, and each row chooses its backend.
    os.environ.pop("TRACTOR_TRANSPORTS", None)
    os.environ.pop("TRACTOR_SPAWN_METHOD", None)
    if options.pin:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    results, absent = trio.run(run, options)
    print(", ".join(f"{name} {value}" for name, value in versions().items()))
    print(f"medians of {options.rounds} rounds, all sides in turn")
    print(table(results))
    if absent:
        print("\n".join(absent))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")
    if options.plot is not None:
        options.plot.write_text(bars(results), encoding="utf-8")
    missed = [(result, other) for result in results for other in result.missed()]
    for result, other in missed:
        ratio = other.ratio(result.ours)
        print(f"missed: {result.row.name} over {result.transport}, {other.name}: {ratio:.2f}, {other.target}")
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
