"""The way from an actor on another host to its parent, and the client's command line. Nothing is run here."""

from __future__ import annotations

import ast
import importlib
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

BACKEND = Path(__file__).resolve().parent.parent.parent / "examples" / "ssh_backend"


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BACKEND))
    return importlib.import_module("tractor_ssh.options")


@pytest.mark.parametrize("tunnel", [None, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_parent_on_loopback_is_reached_through_the_connection(
    options: ModuleType, host: str, tunnel: bool | None
) -> None:
    way = options.way_to_parent(["uds:///run/a.sock", f"tcp://{host}:21000"], tunnel)
    assert len(way.forwards) == len(way.parent_addrs) == 3
    for url, forward in zip(way.parent_addrs, way.forwards, strict=True):
        port = url.removeprefix("tcp://127.0.0.1:")
        assert forward == f"127.0.0.1:{port}:{host}:21000"
        assert port != "21000", "where the other host is this one, the parent has that"


def test_one_that_others_can_reach_is_dialled(options: ModuleType) -> None:
    urls = ["tcp://127.0.0.1:1", "tcp://192.0.2.7:21000"]
    assert options.way_to_parent(urls, None) == options.Way(["tcp://192.0.2.7:21000"], [])
    assert options.way_to_parent(urls, False) == options.Way(["tcp://192.0.2.7:21000"], [])
    assert options.way_to_parent(urls, True).forwards


@pytest.mark.parametrize(
    ("urls", "tunnel", "complaint"),
    [
        (["uds:///run/a.sock"], None, "listens at uds:///run/a.sock only"),
        (["tcp://127.0.0.1:1"], False, "the tunnel was declined"),
    ],
)
def test_one_that_cannot_be_reached(
    options: ModuleType, urls: list[str], tunnel: bool | None, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        options.way_to_parent(urls, tunnel)


def test_the_distribution_imports_nothing_but_what_is_public() -> None:
    used: set[str] = set()
    for path in (BACKEND / "tractor_ssh").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                used.add(node.module)
            elif isinstance(node, ast.Import):
                used.update(alias.name for alias in node.names)
    assert {name for name in used if name.startswith("tractor")} == {"tractor_core.seams"}


def test_what_goes_to_other_processes_needs_no_library() -> None:
    for name in ("proxy.py", "remote.py"):
        tree = ast.parse((BACKEND / "tractor_ssh" / name).read_text())
        imported = [node.names[0].name for node in ast.walk(tree) if isinstance(node, ast.Import)]
        imported += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert imported and set(imported) <= sys.stdlib_module_names


def test_the_command_line(options: ModuleType) -> None:
    given = options.SSHOptions("me@far", python="nice -n 5 '/my own/python'", ssh_options=["-p", "2222"])
    command = given.command(["127.0.0.1:1:127.0.0.1:2"], 1234)
    assert command[:3] == ["ssh", "-p", "2222"], "the user's options come first: ssh takes the first it sees"
    assert command[-4:-1] == ["127.0.0.1:1:127.0.0.1:2", "--", "me@far"]
    words = shlex.split(command[-1])
    assert words[:5] == ["exec", "nice", "-n", "5", "/my own/python"]
    assert "1234" in words[-1]
