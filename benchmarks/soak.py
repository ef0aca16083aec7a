"""Mixed load for a long time, and what it does to memory and descriptors: ``python -m benchmarks.soak``.

Calls, streams, cancels and spawns are repeated at saturation against one worker over TCP and one over a
unix socket. Rates follow whatever else the machine does; memory and descriptors of the processes that
live throughout must be flat.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import trio

import tractor_core as tractor

from . import endpoints
from .arguments import output_file, positive_float
from .mixed_load import MixedLoad
from .plots import Line, Panel, svg
from .processes import descendants, descriptors, private_bytes
from .report import versions

PERCENTS = (50.0, 99.0, 99.9)
#: What the first part of a run may differ from the last before it is called growth.
MEMORY_GROWTH, DESCRIPTOR_GROWTH = 1.05, 0
#: When an actor that was ended is no longer there, even on a busy machine (seconds).
SETTLED = 2.0
_MIB = 1024 * 1024

Sample = dict[str, Any]


@dataclass(frozen=True)
class Watched:
    """The processes that live throughout, by name."""

    pids: dict[str, int]

    def holdings(self) -> Sample:
        """What each holds now."""
        return {
            "memory": {name: private_bytes(pid) for name, pid in self.pids.items()},
            "descriptors": {name: descriptors(pid) for name, pid in self.pids.items()},
        }


def sample(load: MixedLoad, watched: Watched, at: float, interval: float) -> Sample:
    """What the last ``interval`` seconds were like."""
    latencies = load.take()
    return {
        "at": at,
        "rate": {kind: counted.total / interval for kind, counted in latencies.items()},
        "latency": {
            kind: {f"p{percent:g}": counted.percentile(percent) for percent in PERCENTS}
            for kind, counted in latencies.items()
        },
        "late": load.take_late(),
        "load_average": os.getloadavg()[0],
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "processes": len(descendants(os.getpid())),
        **watched.holdings(),
    }


async def soak(seconds: float, interval: float, start_method: str, file: Path | None) -> list[Sample]:
    """Load for so long, with a sample every ``interval``; each is also appended to ``file`` at once."""
    with tempfile.TemporaryDirectory(prefix="tc-soak-", dir="/tmp") as directory:
        registry = f"uds://{directory}/registry.sock"
        async with tractor.open_nursery(
            registry_addrs=[registry], enable_transports=["uds", "tcp"]
        ) as nursery:
            workers = {
                scheme: await nursery.start_actor(
                    scheme, enable_modules=[endpoints.__name__], enable_transports=[scheme]
                )
                for scheme in ("tcp", "uds")
            }
            load = MixedLoad(nursery, list(workers.values()), start_method)
            await load.spawn()
            load.take()
            known = {"root": os.getpid(), **{name: portal.chan.aid.pid for name, portal in workers.items()}}
            watched = await watch(known, start_method)
            samples: list[Sample] = []
            async with trio.open_nursery() as tasks:
                tasks.start_soon(load.run)
                begin = trio.current_time()
                last = begin
                while trio.current_time() - begin < seconds:
                    await trio.sleep(interval)
                    now = trio.current_time()
                    samples.append(sample(load, watched, now - begin, now - last))
                    last = now
                    append(file, samples[-1])
                tasks.cancel_scope.cancel()
            await nursery.cancel()
    return samples


async def watch(known: dict[str, int], start_method: str) -> Watched:
    """Besides what is ``known``, what a backend leaves running once an actor of its has come and gone."""
    before = set(descendants(os.getpid()))
    await trio.sleep(SETTLED)
    rest = sorted(before.intersection(descendants(os.getpid())) - set(known.values()))
    return Watched(known | {f"{start_method} {number}": pid for number, pid in enumerate(rest, 1)})


def append(file: Path | None, taken: Sample) -> None:
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(taken) + "\n")


def growth(samples: list[Sample]) -> list[str]:
    """What grew from the second quarter of a run to its last, in words; the first quarter warms up."""
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples[:1], samples[-quarter:]
    complaints = []
    # An actor that is just being started holds some descriptors: what is left without it is the least.
    for what, of, typical in (("memory", _MIB, median), ("descriptors", 1, min)):
        for name in samples[-1][what]:
            before, after = (typical([taken[what][name] for taken in part]) / of for part in (early, late))
            allowed = before * MEMORY_GROWTH if what == "memory" else before + DESCRIPTOR_GROWTH
            if after > allowed:
                complaints.append(f"{what} of {name} grew from {before:,.1f} to {after:,.1f}")
    return complaints


def summary(samples: list[Sample]) -> str:
    """One line for each kind of work, and one for each process."""
    lines = [f"{'work':<12}{'rate /s':>10}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}"]
    for kind in samples[0]["rate"]:
        rate = median(taken["rate"][kind] for taken in samples)
        shown = (
            median(taken["latency"][kind][f"p{percent:g}"] for taken in samples) * 1e3 for percent in PERCENTS
        )
        lines.append(f"{kind:<12}{rate:>10,.1f}" + "".join(f"{value:>10,.2f}" for value in shown))
    lines.append(f"cancels that were not acknowledged in time: {sum(taken['late'] for taken in samples)}")
    lines.append(f"{'process':<16}{'MiB, first':>12}{'last':>8}{'descriptors, first':>20}{'last':>6}")
    first, last = samples[0], samples[-1]
    for name in first["memory"]:
        lines.append(
            f"{name:<16}{first['memory'][name] / _MIB:>12.1f}{last['memory'][name] / _MIB:>8.1f}"
            f"{first['descriptors'][name]:>20}{last['descriptors'][name]:>6}"
        )
    return "\n".join(lines)


def panels(samples: list[Sample]) -> list[Panel]:
    """Rates, latencies, memory and descriptors over the minutes."""

    def over_time(label: str, *path: str, scale: float = 1.0) -> Line:
        return Line(label, [(taken["at"] / 60, _at(taken, path) * scale) for taken in samples])

    kinds, names = list(samples[0]["rate"]), list(samples[0]["memory"])
    calls = [
        over_time(f"p{percent:g}", "latency", "call", f"p{percent:g}", scale=1e3) for percent in PERCENTS
    ]
    rest = [over_time(kind, "latency", kind, "p99", scale=1e3) for kind in kinds if kind != "call"]
    memory = [over_time(name, "memory", name, scale=1 / _MIB) for name in names]
    held = [over_time(name, "descriptors", name) for name in names]
    return [
        Panel("Rates", "minutes", "/s", [over_time(kind, "rate", kind) for kind in kinds], log_y=True),
        Panel("Latency of a call", "minutes", "ms", calls, log_y=True),
        Panel("Latency of the rest, p99", "minutes", "ms", rest, log_y=True),
        Panel("Private memory", "minutes", "MiB", memory),
        Panel("Descriptors", "minutes", "open", held),
        Panel("Load average of the machine", "minutes", "", [over_time("load", "load_average")]),
    ]


def _at(taken: Sample, path: tuple[str, ...]) -> float:
    found: Any = taken
    for key in path:
        found = found[key]
    return float(found)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=positive_float, default=30.0, help="how long (default 30)")
    parser.add_argument(
        "--interval", type=positive_float, default=10.0, help="seconds between samples (default 10)"
    )
    parser.add_argument("--start-method", default="forkserver", help="backend of the actors that come and go")
    parser.add_argument(
        "--json", type=output_file, metavar="FILE", help="append every sample to FILE, a line each"
    )
    parser.add_argument("--plot", type=output_file, metavar="FILE", help="write the curves to FILE, as SVG")
    parser.add_argument("--check", action="store_true", help="fail if memory or descriptors grew")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    samples = trio.run(soak, options.minutes * 60, options.interval, options.start_method, options.json)
    print(", ".join(f"{name} {value}" for name, value in versions().items()))
    print(summary(samples))
    if options.plot is not None:
        options.plot.write_text(svg(panels(samples)), encoding="utf-8")
    complaints = growth(samples)
    print("\n".join(complaints) or "flat")
    return 1 if complaints and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
