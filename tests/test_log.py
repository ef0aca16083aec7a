from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tractor_core.log import LEVELS, ConsoleHandler, actor_label, get_console_log, get_logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_found() -> Iterator[None]:
    """Begin without a console, and leave the process's logging as it was."""
    root = logging.getLogger("tractor_core")
    handlers, level = list(root.handlers), root.level
    root.handlers[:] = [handler for handler in handlers if not isinstance(handler, ConsoleHandler)]
    root.setLevel(logging.NOTSET)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    ("name", "number"),
    [("transport", 5), ("io", 8), ("runtime", 15), ("devx", 17), ("cancel", 22), ("pdb", 500)],
)
def test_extra_levels_are_methods(name: str, number: int, caplog: pytest.LogCaptureFixture) -> None:
    assert LEVELS[name] == number
    with caplog.at_level(1, logger="tractor_core"):
        getattr(get_logger("levels"), name)("value is %d", 7)
    [record] = caplog.records
    assert (record.levelno, record.levelname, record.getMessage()) == (number, name.upper(), "value is 7")
    assert record.filename == os.path.basename(__file__)
    assert record.funcName == "test_extra_levels_are_methods"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "tractor_core"),
        ("tractor_core", "tractor_core"),
        ("tractor_core.ipc.channel", "tractor_core.ipc.channel"),
        ("app", "tractor_core.app"),
        ("tractor_core_extras", "tractor_core.tractor_core_extras"),
    ],
)
def test_loggers_share_one_tree(name: str | None, expected: str) -> None:
    assert get_logger(name).logger.name == expected


def test_callers_extra_reaches_the_record(caplog: pytest.LogCaptureFixture) -> None:
    get_logger("extra").warning("hello", extra={"peer": "tcp://127.0.0.1:1"})
    assert caplog.records[0].__dict__["peer"] == "tcp://127.0.0.1:1"


def test_importing_configures_nothing() -> None:
    script = (
        "import logging, tractor_core.log as log\n"
        "root = logging.getLogger('tractor_core')\n"
        "assert not root.handlers and root.level == logging.NOTSET and root.propagate\n"
        "assert not logging.getLogger().handlers\n"
        "assert log.get_logger('x').logger.getEffectiveLevel() == logging.WARNING\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)


async def test_console_line_says_who_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    token = actor_label.set("worker@1a2b3c4d")
    try:
        get_console_log("cancel")
        get_logger("supervision").cancel("asked by %s", "root")
    finally:
        actor_label.reset(token)
    task = re.escape(trio.lowlevel.current_task().name)
    expected = rf"\d\d:\d\d:\d\d\.\d{{3}} cancel +worker@1a2b3c4d {os.getpid()} {task} "
    assert re.fullmatch(expected + r"tractor_core\.supervision: asked by root\n", capsys.readouterr().err)


def test_console_line_outside_an_actor_names_the_thread(capsys: pytest.CaptureFixture[str]) -> None:
    get_console_log("info")
    thread = threading.Thread(target=get_logger("x").info, args=("hello",), name="worker-thread")
    thread.start()
    thread.join()
    assert f" - {os.getpid()} worker-thread tractor_core.x: hello\n" in capsys.readouterr().err


def test_identity_may_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    get_console_log("info")
    get_console_log(identity=lambda: "root@00000000")
    get_logger().info("once")
    [line] = capsys.readouterr().err.splitlines()
    assert " root@00000000 " in line


def test_level_filters_and_can_change(capsys: pytest.CaptureFixture[str]) -> None:
    log = get_console_log("runtime")
    log.transport("hidden")
    log.runtime("shown")
    get_console_log(5)
    log.transport("now shown")
    get_console_log("ERROR")
    log.warning("hidden again")
    log.pdb("always")
    messages = [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()]
    assert messages == ["shown", "now shown", "always"]


@pytest.mark.parametrize(("level", "number"), [("15", 15), ("Transport", 5), (7, 7), ("warning", 30)])
def test_level_spellings(level: int | str, number: int) -> None:
    assert get_console_log(level).logger.level == number


def test_unknown_level_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"unknown log level 'loud' .*transport.*runtime.*cancel"):
        get_console_log("loud")
    assert not any(isinstance(h, ConsoleHandler) for h in logging.getLogger("tractor_core").handlers)


@pytest.mark.parametrize("level", [3.5, b"info", ["info"]])
def test_a_level_of_another_type_is_refused(level: Any) -> None:
    with pytest.raises(TypeError, match=r"a log level is a number \(int\) or a name, not "):
        get_console_log(level)
    assert not any(isinstance(h, ConsoleHandler) for h in logging.getLogger("tractor_core").handlers)


@pytest.mark.parametrize("level", ["transport", "cancel", "warning", "error", "pdb"])
def test_colour_only_on_a_terminal_without_no_color(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(sys.stderr, Terminal)
    get_console_log("transport")
    getattr(get_logger(), level)("hello")
    assert re.search(rf"\x1b\[\d+m{level} *\x1b\[0m", sys.stderr.getvalue())

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    getattr(get_logger(), level)("hello")
    assert "\x1b" not in sys.stderr.getvalue()

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    getattr(get_logger(), level)("hello")
    assert "\x1b" not in sys.stderr.getvalue()
    assert "hello" in sys.stderr.getvalue()


def test_traceback_follows_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    get_console_log("error")
    try:
        raise LookupError("no such thing")
    except LookupError:
        get_logger().exception("failed")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("tractor_core: failed")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "LookupError: no such thing"


def test_console_survives_a_process_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    get_console_log("info")
    monkeypatch.setattr(sys, "stderr", None)
    get_logger().info("nobody hears this")


TREE = """
import sys
import trio
import tractor_core as tractor
from tractor_core.log import get_logger

async def speak(how: str) -> None:
    getattr(get_logger("app"), how)("%s from the child", how)

async def main():
    async with tractor.open_nursery(registry_addrs=["tcp://127.0.0.1:0"], loglevel=sys.argv[1]) as nursery:
        await nursery.run_in_actor(speak, name="worker", how="cancel")
        await nursery.run_in_actor(speak, name="chatty", loglevel="transport", how="io")
        get_logger("app").cancel("cancel from the root")

if __name__ == "__main__":
    trio.run(main)
"""


@pytest.mark.parametrize(
    ("argument", "environment", "shown"),
    [
        ("cancel", {}, {"cancel root", "cancel worker", "io chatty"}),
        ("error", {}, {"io chatty"}),
        ("error", {"TRACTOR_LOGLEVEL": "cancel"}, {"cancel root", "cancel worker", "io chatty"}),
    ],
)
def test_a_tree_speaks_at_its_level_each_actor_by_its_name(
    argument: str, environment: dict[str, str], shown: set[str], tmp_path: Path
) -> None:
    script = tmp_path / "speaking_tree.py"
    script.write_text(TREE)
    finished = subprocess.run(
        [sys.executable, str(script), argument],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=25,
    )
    lines = re.findall(
        r"^\d\d:\d\d:\d\d\.\d{3} (\w+) +(\w+)@[0-9a-f]{8} (\d+) \S+ tractor_core\.app: (.*)$",
        finished.stderr,
        re.MULTILINE,
    )
    assert {f"{level} {name}" for level, name, _, _ in lines} == shown
    assert len({pid for _, _, pid, _ in lines}) == len(lines) == len(shown)
    assert all(text.startswith(f"{level} from the ") for level, _, _, text in lines)
