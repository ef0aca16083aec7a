"""Many trees, several at a time, until the time or the number is up; then a report."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
import trustme

from .plan import draw
from .tree import Tree, Verdict


@dataclass
class Report:
    """What a campaign came to."""

    seed: str
    trees: int = 0
    actors: int = 0
    done: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ended_by_libzmq: int = 0

    def tell(self, seconds: float) -> None:
        """Print where the campaign is, once a minute."""
        if seconds // 60 > self.seconds // 60:
            print(f"{seconds:5.0f} s: {self.trees} trees, {self.done.total()} faults", flush=True)
        self.seconds = seconds

    def add(self, verdict: Verdict) -> None:
        self.trees += 1
        self.actors += verdict.actors
        self.done.update(verdict.done)
        self.missed.update(verdict.missed)
        self.outcomes.update(kind for outcome in verdict.outcomes for kind in outcome.split())
        self.slowest = max(self.slowest, (verdict.teardown, verdict.plan.index))
        self.wrong += verdict.wrong
        self.ended_by_libzmq += verdict.ended_by_libzmq

    def __str__(self) -> str:
        return "\n".join(
            [
                f"seed {self.seed}: {self.trees} trees of {self.actors} processes in {self.seconds:.0f} s",
                f"faults ({self.done.total()}): {_counted(self.done)}",
                f"faults that found nobody ({self.missed.total()}): {_counted(self.missed)}",
                f"outcomes ({self.outcomes.total()}): {_counted(self.outcomes)}",
                f"slowest teardown: {self.slowest[0]:.2f} s, of tree {self.slowest[1]}",
                f"trees in which an assertion of libzmq has ended somebody: {self.ended_by_libzmq}",
                f"broken invariants: {len(self.wrong)}",
            ]
        )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} {many}" for what, many in counts.most_common()) or "none"


async def campaign(
    seed: str,
    *,
    seconds: float,
    indices: Iterable[int],
    together: int,
    verbose: bool = False,
    keep_going: bool = False,
) -> Report:
    """Run trees of this seed until the time is up, or one breaks an invariant, which is printed at once.

    ``keep_going`` goes on after that. Call it with :func:`surroundings` in force.
    """
    report = Report(seed)
    started = time.monotonic()
    left = iter(indices)
    before = _held()

    async def one_after_the_other() -> None:
        for index in left:
            if (report.wrong and not keep_going) or time.monotonic() - started > seconds:
                return
            await _one(seed, index, report, verbose)
            report.tell(time.monotonic() - started)

    async with trio.open_nursery() as tasks:
        for _ in range(together):
            tasks.start_soon(one_after_the_other)
    report.seconds = time.monotonic() - started
    gc.collect()
    if (after := _held()) != before:
        report.wrong.append(f"the campaign itself held {before} at its start and {after} at its end")
    return report


async def _one(seed: str, index: int, report: Report, verbose: bool) -> None:
    plan = draw(seed, index)
    if verbose:
        print(plan.describe(), flush=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{index}-"))
    tree = Tree(plan, directory)
    verdict = await tree.run()
    report.add(verdict)
    if verdict.wrong:
        print(_indictment(tree), flush=True)
        print(f"again: python -m tests.chaos --seed {seed} --only {index}   (kept: {directory})", flush=True)
    else:
        shutil.rmtree(directory)


def _indictment(tree: Tree) -> str:
    entries = [
        f"  {entry.event} {entry.name} {entry.pid} {entry.work} {entry.outcome} {entry.text}"
        for entry in tree.journal.entries
    ]
    return "\n".join(
        [
            tree.plan.describe(),
            "-- journal",
            *entries,
            "-- standard error",
            tree.errors()[-20_000:],
            "-- broken",
            *(f"  {wrong}" for wrong in tree.verdict.wrong),
        ]
    )


def _held() -> tuple[int, int]:
    """This process's descriptors and threads; trio keeps those of its own for a while."""
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")]
    return len(os.listdir("/proc/self/fd")), len(threads)


@contextmanager
def surroundings() -> Iterator[None]:
    """Directories of their own, and certificates in the environment, for all trees of a campaign."""
    session = Path(tempfile.mkdtemp(prefix="ch-", dir="/tmp"))
    for name in [name for name in os.environ if name.startswith("TRACTOR_")]:
        del os.environ[name]
    for variable, place in {"HOME": "home", "XDG_CONFIG_HOME": "config", "TMPDIR": "t"}.items():
        (session / place).mkdir(mode=0o700)
        os.environ[variable] = str(session / place)
    tempfile.tempdir = None  # chosen anew, from TMPDIR
    os.environ |= _certificates(session)
    try:
        yield
    finally:
        # What an indicted tree left is for people to look at.
        if not any((session / "t").iterdir()):
            shutil.rmtree(session)


def _certificates(directory: Path) -> dict[str, str]:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    paths = {part: directory / f"{part}.pem" for part in ("cert", "key", "ca")}
    leaf.private_key_pem.write_to_path(str(paths["key"]))
    paths["cert"].write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    authority.cert_pem.write_to_path(str(paths["ca"]))
    return {f"TRACTOR_TLS_{part.upper()}": str(path) for part, path in paths.items()}
