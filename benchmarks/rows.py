"""What is measured: each row is one kind of work, done by actors and by what they are compared with.

The targets are ratios, because those travel. ``PUBLISHED`` marks figures of the reference implementation as
they were published for this class of machine (two cores, Python 3.13): they are quoted, not measured here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .interpreters import run_imports
from .measuring import Against, Row
from .raw import Raw
from .sides import Sides
from .terms import Measure, Target, at_least, at_most

CALLERS = 50
SMALL, LARGE = 16, 1024 * 1024
#: MiB under way while calls are made beside them.
BESIDE = 512
#: Actors spawned at once.
TOGETHER = 16
PUBLISHED = "reference, published"
_LIBRARIES = ("zmq+tcp", "zmq+ipc", "ws", "wss")


def _reference(tcp: float, uds: float, target: Target) -> Against:
    return Against(PUBLISHED, target=target, published={"tcp": tcp, "uds": uds})


def _raw(work: Callable[[Raw], Measure], target: Target) -> Against:
    return Against("raw trio RPC", lambda sides: None if sides.raw is None else work(sides.raw), target)


def _bare_echo(plain: Target | None = None, library: Target | None = None) -> tuple[Against, Against]:
    """The echo of the transport's own library: trio's sockets, or one with messages of its own."""

    def over(libraries: bool, sides: Sides) -> Measure | None:
        return sides.bare.echo if libraries == (sides.transport in _LIBRARIES) else None

    return (
        Against("bare echo", partial(over, False), plain),
        Against("bare echo, library", partial(over, True), library),
    )


def _pyzmq(target: Target | None = None) -> Against:
    return Against(
        "pyzmq, ipc",
        lambda s: None if s.zmq is None else partial(s.zmq.one_way, size=LARGE),
        target,
    )


CALLS = (
    Row(
        "rpc",
        "sequential calls",
        1000,
        "us",
        lambda s: s.actors.rpc,
        (
            *_bare_echo(library=at_most(1.4)),
            _raw(lambda raw: raw.rpc, at_most(1.6)),
            _reference(3055, 3055, at_most(1 / 15)),
        ),
        rival="rpc",
        target_of_peers=at_most(1),
    ),
    Row(
        "callers",
        f"{CALLERS} concurrent callers",
        3000,
        "/s",
        lambda s: partial(s.actors.callers, callers=CALLERS),
        (
            Against(f"bare echo, {CALLERS} connections", lambda s: partial(s.bare.callers, callers=CALLERS)),
            _raw(lambda raw: partial(raw.callers, callers=CALLERS), at_least(0.7)),
            _reference(760, 760, at_least(50)),
        ),
        step=CALLERS,
        rival="callers",
    ),
    Row(
        "context",
        "open + close a context",
        300,
        "us",
        lambda s: s.actors.contexts,
        (Against("bare echo", lambda s: s.bare.echo), _reference(3400, 3400, at_most(0.1))),
    ),
)

STREAMS = (
    Row(
        "pingpong",
        "stream ping-pong",
        1000,
        "us",
        lambda s: s.actors.ping_pong,
        _bare_echo(plain=at_most(1.6)),
    ),
    Row(
        "stream",
        f"one-way stream, {SMALL} B",
        20_000,
        "/s",
        lambda s: partial(s.actors.one_way, size=SMALL),
        (
            Against("bare one-way", lambda s: partial(s.bare.one_way, size=SMALL)),
            _raw(lambda raw: partial(raw.one_way, size=SMALL), at_least(0.6)),
            Against(PUBLISHED, target=at_least(15), published={"tcp": 11_000}),
            Against(PUBLISHED, target=at_least(20), published={"uds": 11_000}),
        ),
        rival="stream",
    ),
    Row(
        "large",
        "one-way stream, 1 MiB",
        200,
        "/s",
        lambda s: partial(s.actors.one_way, size=LARGE),
        (
            Against("bare one-way", lambda s: partial(s.bare.one_way, size=LARGE), at_least(0.8)),
            _reference(954, 1717, at_least(1.5)),
        ),
        rival="large",
    ),
    Row(
        "shared",
        "one-way stream, 1 MiB, views",
        600,
        "/s",
        lambda s: partial(s.actors.one_way_views, size=LARGE),
        (
            Against("bare one-way", lambda s: partial(s.bare.one_way, size=LARGE)),
            _pyzmq(at_least(1)),
            Against("the same as bytes", lambda s: partial(s.actors.one_way, size=LARGE)),
        ),
    ),
)


def _beside(name: str, piece: int, what: str) -> Row:
    return Row(
        f"beside-{name}",
        f"call beside {BESIDE} MiB, {what}",
        BESIDE,
        "us",
        lambda s: partial(s.actors.rpc_beside, piece=piece),
        (Against("same call, idle", lambda s: s.actors.rpc),),
    )


UNDER_LOAD = (
    _beside("values", 1, "1 MiB each"),
    _beside("buffers", 32, "32 MiB each"),
    _beside("one", BESIDE, "in one piece"),
    Row(
        "loaded",
        "p99 of a call beside 1,000 streams, 10 values/s each",
        1000,
        "ms",
        lambda s: s.actors.p99_beside_streams,
        (Against("same call, idle, p99", lambda s: s.actors.p99),),
    ),
    Row(
        "fair",
        "p99 of a call beside one greedy stream",
        2000,
        "ms",
        lambda s: s.actors.p99_beside_greedy,
        (Against("same call, idle, p99", lambda s: s.actors.p99, at_most(5)),),
    ),
)


def _spawn(method: str, against: Against, together: Against, memory: Target | None) -> tuple[Row, ...]:
    """What an actor costs that this backend starts."""
    return (
        Row(
            f"spawn-{method}",
            "spawn, ready",
            3,
            "ms",
            lambda s: partial(s.actors.spawn, start_method=method),
            (against,),
            backend=method,
            rival="spawn",
        ),
        Row(
            f"spawn{TOGETHER}-{method}",
            f"spawn {TOGETHER} at once, all ready",
            1,
            "ms",
            lambda s: partial(s.actors.spawn_at_once, together=TOGETHER, start_method=method),
            (together,),
            backend=method,
        ),
        Row(
            f"memory-{method}",
            "private memory of an idle actor",
            2,
            "MB",
            lambda s: partial(s.actors.memory, start_method=method),
            (Against("bound", target=memory, published=dict.fromkeys(("tcp", "uds"), 7.0)),),
            backend=method,
        ),
    )


def _import_trio(target: Target | None = None) -> Against:
    return Against("import trio", lambda _: partial(run_imports, modules="trio"), target)


# The bounds are 15 and 120 ms where a bare fork that runs trio and answers takes 7, and sixteen 68.
SPAWNS = (
    *_spawn("subprocess", _import_trio(at_most(1.25)), _import_trio(), None),
    *_spawn(
        "forkserver",
        Against("bare fork", lambda s: s.forker.one_by_one, at_most(15 / 7)),
        Against("bare forks", lambda s: partial(s.forker.at_once, together=TOGETHER), at_most(120 / 68)),
        at_most(1),
    ),
    *_spawn("multiprocessing", _import_trio(), _import_trio(), None),
)

REST = (
    Row(
        "death",
        "kill -9 of a peer noticed",
        3,
        "ms",
        lambda s: s.actors.death,
        (Against("bound", target=at_most(1), published=dict.fromkeys(("tcp", "uds"), 5.0)),),
    ),
    Row(
        "import",
        "import tractor_core",
        3,
        "ms",
        lambda _: partial(run_imports, modules="tractor_core, trio, msgspec"),
        (
            # Ten milliseconds more than 120.
            Against(
                "import trio, msgspec",
                lambda _: partial(run_imports, modules="trio, msgspec"),
                at_most(130 / 120),
            ),
        ),
        every_transport=False,
    ),
)

ROWS = (*CALLS, *STREAMS, *UNDER_LOAD, *SPAWNS, *REST)
