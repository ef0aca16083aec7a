"""``python -m tests.chaos --minutes 30 [--seed …]``: random trees, random faults, what must hold after."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Iterable, Sequence
from functools import partial

import trio

from .campaign import campaign, surroundings


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to start new trees (1)")
    parser.add_argument("--seed", default=None, help="what everything is drawn from (default: random)")
    parser.add_argument("--trees", type=int, default=None, help="stop after so many trees")
    parser.add_argument("--only", type=int, default=None, metavar="N", help="run tree N of the seed alone")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin with tree N")
    parser.add_argument("--together", type=int, default=2, help="trees at a time (2)")
    parser.add_argument("--verbose", action="store_true", help="print every plan before it is run")
    parser.add_argument("--keep-going", action="store_true", help="go on after a broken invariant")
    options = parser.parse_args(arguments)
    for name, least in (("trees", 1), ("together", 1), ("first", 0), ("only", 0)):
        given = getattr(options, name)
        if given is not None and given < least:
            parser.error(f"--{name} must be at least {least}")
    if not options.minutes > 0:
        parser.error("--minutes must be positive")
    return options


def main() -> int:
    options = parse()
    seed = options.seed or f"{random.SystemRandom().randrange(10**9)}"
    print(f"seed {seed}", flush=True)
    indices: Iterable[int] = itertools.count(options.first)
    if options.only is not None:
        indices = [options.only]
    elif options.trees is not None:
        indices = range(options.first, options.first + options.trees)
    run = partial(
        campaign,
        seed,
        seconds=options.minutes * 60,
        indices=indices,
        together=options.together,
        verbose=options.verbose,
        keep_going=options.keep_going,
    )
    with surroundings():
        report = trio.run(run)
    print(report)
    if not report.trees:
        print("no tree was run: that shows nothing", file=sys.stderr)
        return 2
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
