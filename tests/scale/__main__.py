"""``python -m tests.scale --actors 1000``, or ``--rounds 1000``: many actors at once, or in turn."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from . import crowd, rounds


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--actors", type=int, help="open a cluster of so many")
    what.add_argument("--rounds", type=int, help="start and end an actor so many times")
    parser.add_argument("--start-method", default="forkserver", help="of the cluster (forkserver)")
    parser.add_argument("--transport", default="tcp", choices=("tcp", "uds"), help="of the cluster (tcp)")
    options = parser.parse_args(arguments)
    if (options.rounds if options.actors is None else options.actors) < 1:
        parser.error("less than one actor, or round, would show nothing")
    return options


def main() -> int:
    options = parse()
    with _directory() as directory, _bars() as bars:
        uds = f"uds://{directory}/registry.sock"
        if options.rounds is not None:
            work = partial(rounds.rounds, options.rounds, ["tcp://127.0.0.1:0", uds], bars)
            report: rounds.RoundsReport | crowd.CrowdReport = trio.run(work)
        else:
            registry = uds if options.transport == "uds" else "tcp://127.0.0.1:0"
            report = trio.run(crowd.crowd, options.actors, registry, options.start_method, bars)
            report.leftovers += map(str, Path(directory).rglob("*.sock"))
    print(report)
    return 1 if report.broken else 0


@contextmanager
def _directory() -> Iterator[str]:
    """Where the sockets of this run are, and nobody else's."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        yield directory


@contextmanager
def _bars() -> Iterator[crowd.Progress]:
    """A bar for each phase, made when it is first told of."""
    columns = (TextColumn("{task.description:>7}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns) as shown:

        def tell(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = shown.add_task(phase, total=total)
            shown.update(tasks[phase], completed=done)

        yield tell


if __name__ == "__main__":
    sys.exit(main())
