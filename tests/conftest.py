"""How the tests run: async tests under trio, each in bounded time, in isolation, leaving nothing behind.

This file is imported before anything it tests, so the environment below is the one that every
module and every child process sees.
"""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest

#: Kept when the rest of TRACTOR_* is cleared: they choose what the end-to-end tests run over.
CHOICES = ("TRACTOR_TRANSPORTS", "TRACTOR_SPAWN_METHOD")

#: Real seconds a test may take unless marked ``@pytest.mark.limit(seconds)``.
DEFAULT_LIMIT = 30.0

#: How much later than trio's own deadline the alarm comes, for loops that never look at their deadlines.
ALARM_DELAY = 5.0

#: Virtual seconds a test on a mock clock may take; reaching them costs no real time.
VIRTUAL_LIMIT = 3600.0


def _isolate() -> Path:
    """Give this session directories of its own; their names are short, for the sake of socket paths."""
    short = "/tmp" if os.path.isdir("/tmp") else None
    session = Path(tempfile.mkdtemp(prefix="tc-", dir=short))
    for name in [name for name in os.environ if name.startswith("TRACTOR_") and name not in CHOICES]:
        del os.environ[name]
    places = {"HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_RUNTIME_DIR": "run", "TMPDIR": "tmp"}
    for variable, place in places.items():
        (session / place).mkdir(mode=0o700, parents=True)
        os.environ[variable] = str(session / place)
    tempfile.tempdir = None  # chosen anew, from TMPDIR
    return session


def _heed_signals() -> None:
    """Have the programs that tests start heed what they are sent, wherever it was started from.

    A shell starts a background job with SIGINT ignored, nohup with SIGHUP, and both are inherited.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


SESSION = _isolate()
_heed_signals()

# Only now: whatever these import must see the environment above.
import hypothesis  # noqa: E402
import trio  # noqa: E402
import trio.testing  # noqa: E402
from leak_guard import Census, Leaks, end_processes, live_processes, settled_leaks  # noqa: E402
from registries import (  # noqa: E402
    ENCRYPTED,
    METHOD_VARIABLE,
    TOGETHER,
    WAYS,
    Way,
    certificates,
    new_registry,
    ways,
)

hypothesis.settings.register_profile("tractor_core", deadline=None)  # no test asserts timing
hypothesis.settings.load_profile("tractor_core")


def pytest_unconfigure() -> None:
    shutil.rmtree(SESSION, ignore_errors=True)


# -- side by side ----------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole suite between processes where TESTS_TOGETHER says so; ``-n`` is stronger.

    Each of them imports this file, and so has directories of its own and guards what descends from itself.
    """
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    watched = config.getoption("usepdb") or config.getoption("capture") == "no" or config.option.collectonly
    if TOGETHER < 2 or hasattr(config, "workerinput") or watched or not whole:
        return
    if config.pluginmanager.hasplugin("xdist") and config.option.numprocesses is None:
        # Each begins with its share, so that what a module sets up is mostly set up once; who is done first
        # takes of the other's rest.
        config.option.numprocesses, config.option.dist = TOGETHER, "worksteal"


# -- running ---------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def test_*`` with ``trio.run``, also where hypothesis drives it."""
    function = pyfuncitem.obj
    run = partial(_run_async, pyfuncitem)
    property_based = getattr(function, "hypothesis", None)
    if property_based is not None and inspect.iscoroutinefunction(property_based.inner_test):
        property_based.inner_test = _as_function(run, property_based.inner_test)
        return None  # pytest calls hypothesis, which calls this once for each example
    if not inspect.iscoroutinefunction(function):
        return None
    run(function, **{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames})
    return True


def _as_function(run: Callable[..., None], inner: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    # hypothesis wants a plain function: it reads `__name__` and the signature.
    @wraps(inner)
    def example(*args: Any, **kwargs: Any) -> None:
        run(partial(inner, *args, **kwargs))

    return example


def _run_async(item: pytest.Function, function: Callable[..., Awaitable[None]], /, **arguments: Any) -> None:
    clock = item.funcargs.get("autojump_clock")

    async def main() -> None:
        with trio.fail_after(_limit(item) if clock is None else VIRTUAL_LIMIT):
            await function(**arguments)

    trio.run(main, clock=clock)


@pytest.fixture
def autojump_clock() -> trio.testing.MockClock:
    """The clock of the test that asks for it: jumps ahead whenever every task waits."""
    return trio.testing.MockClock(autojump_threshold=0)


class TookTooLong(Exception):
    """A test or one of its fixtures did not end in time."""


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("limit")
    return float(marker.args[0]) if marker else DEFAULT_LIMIT


@contextmanager
def _alarm(item: pytest.Item) -> Iterator[None]:
    """Raise in the main thread when the real time is over, whatever it is doing."""
    seconds = _limit(item) + ALARM_DELAY

    def too_long(number: int, frame: FrameType | None) -> NoReturn:
        raise TookTooLong(f"{item.nodeid} did not end within {seconds} s of real time")

    previous = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    with _alarm(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with _alarm(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    with _alarm(item):
        yield


# -- leaks -----------------------------------------------------------------------------------

_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
        processes = live_processes(SESSION)
        if processes:
            lines = [f"{pid}: {title}" for pid, title in processes.items()]
            report.sections.append(("Live descendant processes", "\n".join(lines)))
    return report


@pytest.fixture
def _resource_tracker(request: pytest.FixtureRequest) -> Iterator[None]:
    """The standard library's process beside ``multiprocessing``, which stays for as long as this one."""
    parameters = request.node.callspec.params.values() if hasattr(request.node, "callspec") else ()
    ways = [way for way in parameters if isinstance(way, Way)]
    if "uses_multiprocessing" not in request.fixturenames and "multiprocessing" not in {
        way.start_method for way in ways
    }:
        yield
        return
    resource_tracker.ensure_running()
    yield
    resource_tracker._resource_tracker._stop()


@pytest.fixture
def uses_multiprocessing() -> None:
    """For tests that start actors by ``multiprocessing`` whatever way they go."""


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest, _resource_tracker: None) -> Iterator[None]:
    """Fail the test that leaves a process, descriptor, thread, signal handler or socket file."""
    before = Census.take(SESSION)
    yield
    failed = request.node.stash.get(_failed, False)
    if failed:
        # The failure is what matters, and its traceback keeps things alive that are not lost.
        end_processes(Leaks.between(before, Census.take(SESSION)).processes)
        return
    leaks = settled_leaks(before, SESSION)
    end_processes(leaks.processes)
    if leaks:
        pytest.fail(f"left behind:\n{leaks}", pytrace=False)


# -- where trees meet, and how their actors start --------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name in WAYS.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, ways(name), indirect=True, ids=str)


@pytest.fixture(autouse=True)
def _choices_are_for_real_trees(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the environment's choice of transport and backend from tests that make their own."""
    if not WAYS.keys() & set(request.fixturenames):
        for name in CHOICES:
            monkeypatch.delenv(name, raising=False)


def _registry(way: Way, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(METHOD_VARIABLE, way.start_method)
    if way.scheme in ENCRYPTED:
        for variable, path in certificates(SESSION).items():
            monkeypatch.setenv(variable, path)
    return new_registry(way.scheme)


@pytest.fixture
def registry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a registry that nobody else uses and nothing listens on yet.

    The test runs once for each of :data:`registries.USUAL`, over that transport and with that backend, or
    only the way that TRACTOR_TRANSPORTS and TRACTOR_SPAWN_METHOD choose.
    """
    return _registry(request.param, monkeypatch)


@pytest.fixture
def every_registry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As ``registry``, for each of :data:`registries.EVERY`: all transports, all backends."""
    return _registry(request.param, monkeypatch)


@pytest.fixture
def one_registry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As ``registry``, but only the first way, for tests that take long; or the environment's choice."""
    return _registry(request.param, monkeypatch)


@pytest.fixture
def free_tcp_registry() -> str:
    """A ``tcp://`` URL on which nothing listens, for tests of TCP itself."""
    return new_registry("tcp")
