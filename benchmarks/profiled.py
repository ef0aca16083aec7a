"""Where the time of a row goes, in the caller's process: ``python -m benchmarks.profiled rpc stream``.

The profiler slows every function call, so what matters is which functions lead, not their seconds.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys
import tempfile

import trio

from .__main__ import TRANSPORTS
from .measuring import WARM_UP, Row
from .rows import ROWS
from .sides import open_sides


async def profile(rows: list[Row], transport: str, scale: float, lines: int) -> None:
    """Print the functions that take longest by themselves, row by row."""
    with tempfile.TemporaryDirectory(prefix="tc-bench-", dir="/tmp") as directory:
        async with open_sides(transport, directory) as sides:
            for row in rows:
                work, count = row.ours(sides), row.scaled(scale)
                await work(row.scaled(scale * WARM_UP))
                profiler = cProfile.Profile()
                with profiler:
                    taken = await work(count)
                print(
                    f"{row.name} over {transport}: {row.figure(taken, count):,.1f} {row.unit} while profiled"
                )
                pstats.Stats(profiler, stream=sys.stdout).strip_dirs().sort_stats("tottime").print_stats(
                    lines
                )


def main() -> None:
    names = {row.name: row for row in ROWS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiled", description=__doc__)
    parser.add_argument("rows", nargs="+", choices=names, metavar="ROW", help=f"of {', '.join(names)}")
    parser.add_argument("--transport", choices=TRANSPORTS, default="tcp", help="default tcp")
    parser.add_argument("--scale", type=float, default=1.0, help="do so many times the usual work")
    parser.add_argument("--lines", type=int, default=15, help="functions of each row (default 15)")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rows = [names[name] for name in options.rows]
    trio.run(profile, rows, options.transport, options.scale, options.lines)


if __name__ == "__main__":
    main()
