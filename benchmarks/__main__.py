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

from tractor_core.cli.certificates import make as make_certificates

from .actors import open_actors
from .bare import open_bare
from .measuring import Result, measure
from .report import as_json, table, versions
from .rows import ROWS, Row

TRANSPORTS = ("tcp", "uds", "zmq+tcp", "zmq+ipc", "ws", "tls", "wss")
ENCRYPTED = ("tls", "wss")
#: Measured when nothing is said; each of the others is a library between us and these.
USUAL = ("tcp", "uds")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rows", type=_listed(names), default=names, metavar="A,B", help=f"of {', '.join(names)}"
    )
    parser.add_argument(
        "--transports",
        type=_listed(TRANSPORTS),
        default=list(USUAL),
        metavar="A,B",
        help=f"of {', '.join(TRANSPORTS)}, or 'all' (default {','.join(USUAL)})",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each row (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="do so many times the usual work in a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    parser.add_argument("--pin", action="store_true", help="keep all processes on one core")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be positive")
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


async def run(rows: Sequence[Row], transports: Sequence[str], rounds: int, scale: float) -> list[Result]:
    results = []
    for transport in transports:
        # Sockets have short names, whatever TMPDIR says.
        with tempfile.TemporaryDirectory(prefix="tc-bench-", dir="/tmp") as directory:
            if transport in ENCRYPTED:
                # Where both our actors and the floor look for them.
                made = make_certificates(Path(directory, "tls"), [], 1, None)
                os.environ.update({variable: str(path) for variable, path in made.items()})
            async with open_actors(transport, directory) as actors, open_bare(transport, directory) as bare:
                for row in rows:
                    if sys.stderr.isatty():
                        print(f"{row.name} over {transport} ...", file=sys.stderr)
                    results.append(await measure(row, transport, actors, bare, rounds=rounds, scale=scale))
    return results


def main() -> None:
    options = parse()
    # With it, every child would compile what it imports, and spawning would look far slower than it is.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Here the transports are chosen by argument, and each row chooses its backend.
    os.environ.pop("TRACTOR_TRANSPORTS", None)
    os.environ.pop("TRACTOR_SPAWN_METHOD", None)
    if options.pin:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    chosen = [row for row in ROWS if row.name in options.rows]
    results = trio.run(run, chosen, options.transports, options.rounds, options.scale)
    print(", ".join(f"{name} {value}" for name, value in versions().items()))
    print(f"medians of {options.rounds} rounds, ours and the floor in turn")
    print(table(results))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
