"""The benchmarks run and print what they promise. No figure is asserted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent

SPAWN = ("spawn-subprocess", "spawn-forkserver", "spawn-multiprocessing")
SCHEMES = ("tcp", "uds", "zmq+tcp", "zmq+ipc", "ws", "tls", "wss")
BESIDE = ("beside-values", "beside-buffers", "beside-one")
ROWS = ("rpc", "callers", "pingpong", "stream", "large", *BESIDE, "context", *SPAWN)


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=PROJECT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=55,
    )


@pytest.mark.limit(60)
def test_a_short_run_of_every_row(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = benchmarks("--scale", "0.005", "--rounds", "2", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")

    versions, rounds, headings, rule, *lines = done.stdout.splitlines()
    for name in ("python", "tractor-core", "trio", "msgspec"):
        assert re.search(rf"\b{name} \d+\.\d+", versions)
    assert rounds == "medians of 2 rounds, ours and the floor in turn"
    columns = ["row", "work", "transport", "unit", "tractor-core", "spread", "bare", "floor", "ratio"]
    assert headings.split() == columns
    assert set(rule) == {"-", " "}
    figures = r"\s+(us|ms|/s)\s+[\d,.]+\s+\d+%\s+[\d,.]+\s+\S.*\s\d+\.\d\d"
    expected = [(row, transport) for transport in ("tcp", "uds") for row in ROWS]
    assert len(lines) == len(expected)
    for line, (row, transport) in zip(lines, expected, strict=True):
        assert re.fullmatch(rf"{row}\s+\S.*\s{transport}{figures}", line)

    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    assert [(result["row"], result["transport"]) for result in results] == expected
    assert all(len(result["ours"]) == len(result["bare"]) == 2 for result in results)


@pytest.mark.limit(60)
def test_every_transport_has_a_floor_of_its_own_library(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    chosen = ("--rows", "rpc,callers,pingpong,stream,large", "--transports", "all")
    done = benchmarks(*chosen, "--scale", "0.005", "--rounds", "1", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    measured = {(result["row"], result["transport"]) for result in results}
    assert measured == {(row, scheme) for row in chosen[1].split(",") for scheme in SCHEMES}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rows", "rpc,nonsense"], "there is no 'nonsense', only rpc, callers"),
        (["--transports", "pigeon"], "there is no 'pigeon', only tcp, uds"),
        (["--rounds", "0"], "--rounds and --scale must be positive"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], complaint: str) -> None:
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
