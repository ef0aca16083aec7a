"""The command as a whole: finding it, its help, its mistakes, and doing without the extra."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import execute, run

import tractor_core

COMMANDS = ["certs", "plugins", "ps", "status", "version"]


@pytest.mark.parametrize("command", [[], ["--help"]])
def test_help_lists_the_commands(command: list[str]) -> None:
    finished = run(*command)
    assert all(name in finished.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    finished = run(command, "--help")
    assert finished.returncode == 0
    assert command in finished.stdout


def test_the_module_can_be_run() -> None:
    finished = execute([sys.executable, "-m", "tractor_core", "version", "--json"], {})
    assert finished.returncode == 0
    assert json.loads(finished.stdout)["tractor-core"]
    assert finished.stderr == ""


def test_versions() -> None:
    shown = run("version")
    assert shown.returncode == 0
    for name, version in json.loads(run("version", "--json").stdout).items():
        assert name in shown.stdout and version in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["certs"], "Missing argument"),
        (["plugins", "--colour"], "No such option"),
        (["ps", "tcp://127.0.0.1:1", "--timeout", "soon"], "Invalid value"),
    ],
)
def test_mistakes_are_shown_with_the_usage(arguments: list[str], says: str) -> None:
    finished = run(*arguments)
    assert finished.returncode == 2
    assert says in finished.stderr and "Usage:" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_how_to_get_it(missing: str) -> None:
    finished = _without(missing, "version")
    assert finished.returncode == 1
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert missing in line and line.endswith("pip install 'tractor-core[cli]'")


def test_only_certs_needs_the_library_for_certificates(tmp_path: Path) -> None:
    assert _without("cryptography", "version").returncode == 0
    finished = _without("cryptography", "certs", str(tmp_path / "new"))
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert "cryptography" in line and line.endswith("pip install 'tractor-core[cli]'")
    assert not (tmp_path / "new").exists()


def test_a_bug_is_not_taken_for_a_missing_extra() -> None:
    finished = _without("tractor_core.cli.versions", "version")
    assert finished.returncode == 1
    assert "Traceback" in finished.stderr


def _without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that cannot import a module, as if it were not installed."""
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        f"sys.argv = ['tractor-core', *{list(arguments)!r}]\n"
        "from tractor_core.cli import main\n"
        "sys.exit(main())\n"
    )
    return execute([sys.executable, "-c", program], {})


def test_nothing_of_it_is_loaded_by_programs() -> None:
    finished = execute(
        [sys.executable, "-c", "import sys, tractor_core; sys.exit('tractor_core.cli' in sys.modules)"], {}
    )
    assert finished.returncode == 0
    assert tractor_core.__name__ == "tractor_core"
