"""What mypy and pyright make of programs that use this package: types are inferred, mistakes are found."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
SAMPLES = HERE / "samples"

pytestmark = pytest.mark.limit(300)

#: Errors by line, as a checker reports them.
Found: TypeAlias = dict[int, str]

#: Runs one on a sample; its second argument is a directory that need not exist.
Check: TypeAlias = Callable[[Path, Path], Found]


def mypy(sample: Path, cache: Path) -> Found:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--show-error-codes"]
    environment = {**os.environ, "MYPYPATH": str(PROJECT)}
    done = subprocess.run(
        [*command, f"--cache-dir={cache}", "--no-error-summary", "--hide-error-context", str(sample)],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=cache.parent,
        env=environment,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Found = {}
    for line in done.stdout.splitlines():
        matched = re.match(r"(.+?):(\d+): error: (.+)", line)
        if matched is not None:
            assert Path(cache.parent, matched[1]).resolve() == sample, line
            found[int(matched[2])] = matched[3]
    return found


def pyright(sample: Path, cache: Path) -> Found:
    settings = {
        "include": [sample.name],
        "extraPaths": [str(PROJECT)],
        "typeCheckingMode": "strict",
        "pythonVersion": f"{sys.version_info.major}.{sys.version_info.minor}",
        # The functions without annotations, and the errors' `Any`s, are there on purpose.
        "reportMissingParameterType": False,
        "reportUnknownParameterType": False,
        "reportUnknownVariableType": False,
        "reportUnknownArgumentType": False,
        "reportUnknownMemberType": False,
        "reportUnnecessaryTypeIgnoreComment": False,
    }
    # It analyses what lies beside its settings, and nowhere else.
    shutil.copy(sample, cache.parent)
    project = cache.parent / "pyrightconfig.json"
    project.write_text(json.dumps(settings), encoding="utf-8")
    # Without the question whether there is a newer one, which would go over the network.
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(project)],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return {
        each["range"]["start"]["line"] + 1: each["message"]
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    }


CHECKERS = pytest.mark.parametrize("check", [mypy, pyright], ids=["mypy", "pyright"])


@CHECKERS
def test_types_are_inferred(check: Check, tmp_path: Path) -> None:
    assert check(SAMPLES / "inferred.py", tmp_path / "cache") == {}


@CHECKERS
@pytest.mark.parametrize("name", ["typed_messages", "error_groups"])
def test_examples_are_typed(check: Check, name: str, tmp_path: Path) -> None:
    assert check(PROJECT / "examples" / f"{name}.py", tmp_path / "cache") == {}


@CHECKERS
def test_mistakes_are_found(check: Check, tmp_path: Path) -> None:
    sample = SAMPLES / "mistakes.py"
    lines = sample.read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "# wrong" in line}
    found = check(sample, tmp_path / "cache")
    assert {number: lines[number - 1] for number in marked - found.keys()} == {}, "not found"
    assert {number: message for number, message in found.items() if number not in marked} == {}, "too much"
