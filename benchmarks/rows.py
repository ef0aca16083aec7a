"""What is measured: each row is one kind of work, done by actors and by what they are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from .actors import Actors
from .bare import Bare, import_trio

Measure = Callable[[int], Awaitable[float]]

CALLERS = 50
SMALL, LARGE = 16, 1024 * 1024

#: MiB under way while calls are made beside them.
BESIDE = 512


@dataclass(frozen=True)
class Row:
    """One line of the table. ``count`` operations make a round; the figure is a time or a rate of one."""

    name: str
    title: str
    floor: str
    count: int
    unit: Literal["us", "ms", "/s"]
    ours: Callable[[Actors], Measure]
    #: The floor, or None where it is other work of the same actors.
    bare: Callable[[Bare], Measure] | None
    against: Callable[[Actors], Measure] | None = None
    #: Operations that cannot be split over fewer.
    step: int = 1

    def figure(self, seconds: float, count: int) -> float:
        """Seconds for ``count`` operations, in this row's unit."""
        if self.unit == "/s":
            return count / seconds
        return seconds / count * (1e6 if self.unit == "us" else 1e3)

    def floor_of(self, actors: Actors, bare: Bare) -> Measure:
        """What it is compared with."""
        if self.against is not None:
            return self.against(actors)
        assert self.bare is not None
        return self.bare(bare)

    def scaled(self, scale: float) -> int:
        """How many operations to do in a round."""
        return max(1, round(self.count * scale / self.step)) * self.step


def _beside(name: str, piece: int, what: str) -> Row:
    return Row(
        f"beside-{name}",
        f"call beside {BESIDE} MiB, {what}",
        "same call, idle",
        BESIDE,
        "us",
        lambda a: partial(a.rpc_beside, piece=piece),
        None,
        lambda a: a.rpc,
    )


def _spawn(method: str) -> Row:
    return Row(
        f"spawn-{method}",
        "spawn, ready",
        "import trio",
        3,
        "ms",
        lambda a: partial(a.spawn, start_method=method),
        lambda _: import_trio,
    )


ROWS = (
    Row("rpc", "sequential calls", "echo", 2000, "us", lambda a: a.rpc, lambda b: b.echo),
    Row(
        "callers",
        f"{CALLERS} concurrent callers",
        f"echo, {CALLERS} connections",
        5000,
        "/s",
        lambda a: partial(a.callers, callers=CALLERS),
        lambda b: partial(b.callers, callers=CALLERS),
        step=CALLERS,
    ),
    Row("pingpong", "stream ping-pong", "echo", 2000, "us", lambda a: a.ping_pong, lambda b: b.echo),
    Row(
        "stream",
        f"one-way stream, {SMALL} B",
        "one-way",
        20_000,
        "/s",
        lambda a: partial(a.one_way, size=SMALL),
        lambda b: partial(b.one_way, size=SMALL),
    ),
    Row(
        "large",
        "one-way stream, 1 MiB",
        "one-way",
        200,
        "/s",
        lambda a: partial(a.one_way, size=LARGE),
        lambda b: partial(b.one_way, size=LARGE),
    ),
    _beside("values", 1, "1 MiB each"),
    _beside("buffers", 32, "32 MiB each"),
    _beside("one", BESIDE, "in one piece"),
    Row("context", "open + close a context", "echo", 500, "us", lambda a: a.contexts, lambda b: b.echo),
    *(_spawn(method) for method in ("subprocess", "forkserver", "multiprocessing")),
)
