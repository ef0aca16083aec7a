"""What a backend is asked to start, and how it says that something ended."""

from __future__ import annotations

import signal

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


def test_a_note_explains_a_status() -> None:
    assert str(ExitStatus(code=255, note="the line is cut")) == "exit code 255: the line is cut"
    assert str(ExitStatus(signal=signal.SIGTERM, note="by hand")) == "killed by SIGTERM: by hand"
    assert not ExitStatus(code=255, note="the line is cut").ok
