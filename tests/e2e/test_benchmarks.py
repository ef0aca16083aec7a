"""The benchmarks run and print what they promise. No figure is asserted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent

SCHEMES = ("tcp", "uds", "zmq+tcp", "zmq+ipc", "ws", "tls", "wss")
CALLS = ("rpc", "callers", "context", "pingpong", "stream", "large", "shared")
UNDER_LOAD = ("beside-values", "beside-buffers", "beside-one", "loaded", "fair")
SPAWNS = ("spawn-forkserver", "spawn16-forkserver", "memory-forkserver", "death", "import")
TINY = ("--scale", "0.005", "--rounds", "2", "--rivals", "none")


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=55,
    )


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("benchmarks", *arguments)


def titles(file: Path) -> list[str]:
    """All texts of a drawing, which must be well-formed."""
    texts = ElementTree.fromstring(file.read_text(encoding="utf-8")).iter("{http://www.w3.org/2000/svg}text")
    return [text.text or "" for text in texts]


@pytest.mark.limit(60)
@pytest.mark.parametrize("rows", [CALLS, UNDER_LOAD, SPAWNS], ids=["calls", "under load", "spawns"])
def test_a_short_run_of_every_row(rows: tuple[str, ...], tmp_path: Path) -> None:
    file, drawing = tmp_path / "figures.json", tmp_path / "ratios.svg"
    done = benchmarks(
        "--rows", ",".join(rows), *TINY, "--transports", "uds", "--json", str(file), "--plot", str(drawing)
    )
    assert (done.returncode, done.stderr) == (0, "")

    versions, rounds, headings, rule, *lines = done.stdout.splitlines()
    for name in ("python", "tractor-core", "trio", "msgspec", "load average"):
        assert re.search(rf"\b{name} \d+\.\d+", versions)
    assert rounds == "medians of 2 rounds, all sides in turn"
    columns = "row work transport unit tractor-core spread against theirs ratio target met"
    assert headings.split() == columns.split()
    assert set(rule) == {"-", " "}
    shown = [line.split()[0] for line in lines if re.search(r"\s\d+%\s", line)]

    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    assert shown == [result["row"] for result in results]
    assert set(shown) == set(rows)
    assert all(len(result["ours"]) == 2 and result["against"] for result in results)
    assert all(len(other["figures"]) == 2 for result in results for other in result["against"])
    assert f"{rows[0]} over uds, {results[0]['against'][0]['name']}" in titles(drawing)


@pytest.mark.limit(60)
def test_every_transport_has_a_floor_of_its_own_library(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    chosen = ("--rows", "rpc,callers,pingpong,stream,large", "--transports", "all")
    done = benchmarks(*chosen, *TINY, "--rounds", "1", "--json", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    measured = {(result["row"], result["transport"]) for result in results}
    assert measured == {(row, scheme) for row in chosen[1].split(",") for scheme in SCHEMES}
    assert all(result["against"][0]["name"].startswith("bare ") for result in results)


@pytest.mark.limit(60)
def test_a_rival_is_measured_and_an_absent_one_has_a_line(tmp_path: Path) -> None:
    # The standard library's needs no environment of its own; this interpreter plays one.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    done = benchmarks(
        "--rows", "rpc", "--transports", "uds", *TINY,
        "--rivals", "multiprocessing,xoscar", "--rivals-in", str(tmp_path),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^rpc .* multiprocessing\s+[\d.,]+\s+\d+\.\d\d$", done.stdout, re.MULTILINE)
    assert "xoscar: skipped, it is not installed or does not start" in done.stdout


def test_without_their_environment_rivals_have_a_line_each(tmp_path: Path) -> None:
    chosen = ("--rows", "rpc", "--transports", "uds", *TINY)
    done = benchmarks(*chosen, "--rivals", "rpyc,loky", "--rivals-in", str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(re.findall(r"^(rpyc|loky): skipped, there is no ", done.stdout, re.MULTILINE)) == 2


@pytest.mark.limit(60)
def test_a_short_run_of_every_curve(tmp_path: Path) -> None:
    drawing = tmp_path / "growth.svg"
    done = run("benchmarks.growth", "--scale", "0.01", "--repeat", "0.01", "--plot", str(drawing))
    assert (done.returncode, done.stderr) == (0, "")
    curves = {line.split()[0] for line in done.stdout.splitlines()[1:-1]}
    assert curves >= {"dialogs", "channels", "names", "actors", "sizes", "width", "depth"}
    assert {"A call beside open dialogs", "Tear-down of a chain", "Private memory of all actors"} <= set(
        titles(drawing)
    )


@pytest.mark.limit(60)
def test_a_short_soak(tmp_path: Path) -> None:
    file, drawing = tmp_path / "samples.json", tmp_path / "soak.svg"
    done = run(
        "benchmarks.soak", "--minutes", "0.05", "--interval", "1", "--json", str(file), "--plot", str(drawing)
    )
    assert done.returncode == 0, done.stderr
    samples = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(samples) >= 2
    assert samples[0]["memory"].keys() >= {"root", "tcp", "uds", "forkserver 1"}
    assert all(taken["rate"]["call"] > 0 for taken in samples)
    assert "Private memory" in titles(drawing)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--rows", "rpc,nonsense"], "there is no 'nonsense', only rpc, callers"),
        (["--transports", "pigeon"], "there is no 'pigeon', only tcp, uds"),
        (["--backends", "stork"], "there is no 'stork', only subprocess, forkserver"),
        (["--rivals", "friend"], "there is no 'friend', only xoscar"),
        (["--rounds", "0"], "argument --rounds: 0 is not positive"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], complaint: str) -> None:
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
