"""What a backend is asked to start, and how it says that something ended."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tractor_core.seams import ExitStatus, SpawnRequest


def test_an_actor_that_reaches_its_parent_elsewhere_gets_another_blob() -> None:
    request = SpawnRequest(
        "a",
        "u",
        "m:f",
        b"tcp://here:1",
        parent_addrs=["tcp://here:1"],
        readdress=lambda urls: urls[0].encode(),
    )
    other = request.reached_at(["tcp://there:2"])
    assert (other.bootstrap, other.parent_addrs) == (b"tcp://there:2", ("tcp://there:2",))
    assert (other.name, other.uuid, other.entry) == ("a", "u", "m:f")
    assert request.bootstrap == b"tcp://here:1"
    assert "readdress" not in repr(other) and "bootstrap" not in repr(other)


def test_a_request_that_no_runtime_made_cannot_be_readdressed() -> None:
    with pytest.raises(ValueError, match="cannot be made anew"):
        SpawnRequest("a", "u", "m:f", b"").reached_at(["tcp://there:2"])


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        ({"A=B": "x"}, ValueError, "'A=B' cannot be a variable's name"),
        ({"": "x"}, ValueError, "'' cannot be a variable's name"),
        ({"A\0": "x"}, ValueError, r"the name 'A\\x00' contains a NUL"),
        ({"A": "x\0y"}, ValueError, "the value of 'A' contains a NUL"),
        ({"A": "\ud800"}, ValueError, "the value of 'A' cannot be encoded"),
        ({"A": 5}, TypeError, "the value of 'A' is a string, not int"),
        ({5: "x"}, TypeError, "the name 5 is a string, not int"),
        ("A=1", TypeError, "env is a mapping of variables by name, not str"),
        ([("A", "1")], TypeError, "env is a mapping of variables by name, not list"),
    ],
)
def test_an_environment_that_no_process_can_have_is_refused(
    env: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        SpawnRequest("a", "u", "m:f", b"", env=env)
    assert "x\0y" not in str(caught.value), "a value may be a secret"


def test_an_environment_may_be_all_that_the_system_takes(tmp_path: Path) -> None:
    env: Any = {"EMPTY": "", "ünï": "a=b", "HOME": tmp_path, "RAW": b"\xff", "ESCAPED": "\udcff"}
    assert SpawnRequest("a", "u", "m:f", b"", env=env).env == env
    assert SpawnRequest("a", "u", "m:f", b"", env={}).env == {}


@pytest.mark.parametrize("cwd", [b"/tmp", 5])
def test_a_directory_that_is_no_string_is_refused(cwd: Any) -> None:
    with pytest.raises(TypeError, match="cwd is a string"):
        SpawnRequest("a", "u", "m:f", b"", cwd=cwd)


def test_a_note_explains_a_status() -> None:
    assert str(ExitStatus(code=255, note="the line is cut")) == "exit code 255: the line is cut"
    assert str(ExitStatus(signal=signal.SIGTERM, note="by hand")) == "killed by SIGTERM: by hand"
    assert not ExitStatus(code=255, note="the line is cut").ok
