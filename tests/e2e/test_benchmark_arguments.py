"""Command lines of the benchmarks that would measure nothing, or lose what they measured, are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import growth, soak

PARSE: dict[str, Callable[[list[str]], Any]] = {
    "benchmarks": benchmarks.parse,
    "growth": growth.parse,
    "soak": soak.parse,
}


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("benchmarks", "--rows spawn-forkserver --backends subprocess", "nothing to measure"),
        ("benchmarks", "--rounds 0", "--rounds: 0 is not positive"),
        ("benchmarks", "--rounds some", "--rounds: invalid"),
        ("benchmarks", "--scale 0", "--scale: 0 is not positive"),
        ("benchmarks", "--scale nan", "--scale: nan is not positive"),
        ("benchmarks", "--json /nonexistent/x", "--json: there is no directory /nonexistent"),
        ("benchmarks", "--plot /nonexistent/x", "--plot: there is no directory /nonexistent"),
        ("benchmarks", "--plot /", "--plot: / is a directory"),
        ("growth", "--curves depth --check", "--check is about calls"),
        ("growth", "--scale 0", "--scale: 0 is not positive"),
        ("growth", "--repeat -1", "--repeat: -1 is not positive"),
        ("growth", "--json /nonexistent/x", "--json: there is no directory"),
        ("growth", "--plot /nonexistent/x", "--plot: there is no directory"),
        ("soak", "--minutes 0", "--minutes: 0 is not positive"),
        ("soak", "--minutes inf", "--minutes: inf is not positive"),
        ("soak", "--interval 0", "--interval: 0 is not positive"),
        ("soak", "--json /nonexistent/x", "--json: there is no directory"),
        ("soak", "--plot /nonexistent/x", "--plot: there is no directory"),
    ],
)
def test_refused(program: str, arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        PARSE[program](arguments.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("program", PARSE)
def test_files_may_be_new_old_or_none(program: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.svg"
    old.write_text("{}")
    options = PARSE[program](["--json", str(old), "--plot", str(new)])
    assert (options.json, options.plot) == (old, new)
    assert old.read_text() == "{}" and not new.exists(), "nothing was measured yet"
    assert PARSE[program]([]).json is None


def test_what_is_level_was_measured() -> None:
    depth = {"depth": {"ms": [(1.0, 1.0)]}}
    assert growth.verdict(depth, []) == "no call was measured: nothing to be level"
    assert growth.verdict({**depth, "names": {"ratio": [(0.0, 1.0)]}}, []) == "level"
    assert growth.verdict(depth, ["a call grows"]) == "a call grows"
