"""The rehearsal of an actor's life: it goes through what counts, and nothing of it remains."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tractor_core.app import rehearsal
from tractor_core.app.rehearsal import rehearse

#: What a process would differ in if something of a rehearsal remained.
PROGRAM = textwrap.dedent("""
    import atexit, contextvars, gc, json, logging, os, random, resource, signal, sys, threading, warnings
    from pathlib import Path
    import trio
    from tractor_core.app.rehearsal import rehearse

    # As a module of the program's might; what it says would be seen.
    logging.basicConfig(level=1)

    def state():
        gc.collect()
        return {
            "threads": len(os.listdir("/proc/self/task")),
            "descriptors": sorted(os.listdir("/proc/self/fd")),
            "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
            "mapped": Path("/proc/self/maps").read_text().count("memfd:"),
            "environment": dict(os.environ),
            "directory": os.getcwd(),
            "umask": (mask := os.umask(0), os.umask(mask))[0],
            "limits": [resource.getrlimit(number) for number in range(16)],
            "handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
            "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "wakeup": signal.set_wakeup_fd(-1),
            "random": hash(random.getstate()),
            "context": [variable.name for variable in contextvars.copy_context()],
            "exits": atexit._ncallbacks(),
            "loggers": {
                name: (logger.level, [str(each) for each in logger.handlers])
                for name, logger in logging.root.manager.loggerDict.items()
                if isinstance(logger, logging.Logger)
            },
            "log": [logging.root.manager.disable, logging.root.isEnabledFor(1)],
            "warnings": len(warnings.filters),
            "hooks": [str(sys.get_asyncgen_hooks()), str(sys.getprofile()), str(sys.gettrace())],
            "excepthooks": [str(sys.excepthook), str(sys.unraisablehook), str(threading.excepthook)],
            "running": trio.lowlevel.in_trio_run(),
            "modules": sorted(sys.modules),
            "actors": sum(type(each).__name__ in ("Actor", "Channel", "Task") for each in gc.get_objects()),
        }

    before = state()
    rehearse()
    print(json.dumps([before, state()]))
""")


def test_nothing_remains() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "", "an unclosed socket, say"
    before, after = json.loads(ran.stdout)
    modules: set[str] = set(after.pop("modules")) - set(before.pop("modules"))
    assert after == before
    assert not [name for name in modules if not name.startswith("tractor_core.")], "what actors import later"


def test_an_actor_is_started_and_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def answer(value: int) -> int:
        asked.append(value)
        return value

    answer.__module__, answer.__qualname__ = rehearsal.__name__, "answer"
    monkeypatch.setattr(rehearsal, "answer", answer)
    rehearse()
    rehearse()
    assert asked == [1, 1]
