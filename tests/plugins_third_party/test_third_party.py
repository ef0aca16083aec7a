"""A distribution that others could have written, from its wheel to its actors.

``tests/plugins`` holds it, and a rival of it. They are installed with pip into fresh environments, where
nothing of this one is to be found.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
DISTRIBUTIONS = Path(__file__).resolve().parent.parent / "plugins"
PROGRAMS = Path(__file__).resolve().parent / "programs"

#: Building, and fetching the few libraries that the project depends on, from an index that may be far away.
PATIENCE = 180

pytestmark = pytest.mark.limit(PATIENCE)


class Environment:
    """A virtual environment, and what is run in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "bin" / "python"
        run(sys.executable, "-m", "venv", "--without-pip", directory)

    def install(self, *arguments: object) -> None:
        """With the pip of the environment that runs the tests: fresh ones need none of their own."""
        run(sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", *arguments)

    def run(self, *arguments: object, **variables: str) -> str:
        """The output of a program of it, which must succeed."""
        return run(*arguments, **variables)

    def plugins(self, **variables: str) -> dict[tuple[str, str, str], dict[str, Any]]:
        """What ``tractor-core plugins`` lists, by kind, name and distribution."""
        rows = json.loads(self.run(self.python, "-m", "tractor_core", "plugins", "--json", **variables))
        return {(row["kind"], row["name"], row["distribution"]): row for row in rows}

    def resolve(self, kind: str, name: str, **variables: str) -> str:
        """The module that provides a name, or the words of the PluginError."""
        program = (
            "import sys\n"
            "from tractor_core.errors import PluginError\n"
            "from tractor_core.plugin import PluginManager\n"
            "ask = getattr(PluginManager.from_environment(), sys.argv[1])\n"
            "try: print(type(ask(sys.argv[2])).__module__)\n"
            "except PluginError as error: print(error)\n"
        )
        return self.run(self.python, "-c", program, kind, name, **variables).strip()


def run(*arguments: object, **variables: str) -> str:
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    done = subprocess.run(
        [str(each) for each in arguments],
        env={**inherited, **variables},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel and those of the distributions, built as an installer builds them."""
    directory = tmp_path_factory.mktemp("wheels")
    sources = (PROJECT, DISTRIBUTIONS / "tractor-core-fifo", DISTRIBUTIONS / "tractor-core-rival")
    build(directory, *sources)
    return directory


@pytest.fixture(scope="module")
def environment(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The project and the third party's distribution, with the libraries that they say they need."""
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    made.install("--find-links", wheels, "tractor-core[cli]", "tractor-core-fifo")
    return made


@pytest.fixture(scope="module")
def crowded(environment: Environment, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The same and the rival."""
    made = beside(environment, tmp_path_factory.mktemp("crowded") / "venv")
    made.install("--no-index", "--no-deps", "--find-links", wheels, "tractor-core-rival")
    return made


def beside(environment: Environment, directory: Path) -> Environment:
    """Another environment that has all of that one, without installing it again."""
    made = Environment(directory)
    (site,) = environment.directory.glob("lib/python*/site-packages")
    (own,) = made.directory.glob("lib/python*/site-packages")
    (own / "others.pth").write_text(f"{site}\n")
    return made


def build(directory: Path, *sources: Path) -> None:
    """Make wheels, as an installer makes them, but with the build backend that the tests' environment has."""
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", directory)
    run(sys.executable, "-m", "pip", "wheel", *options, *sources)


def test_the_environment_is_fresh(environment: Environment) -> None:
    program = "import tractor_core, tractor_fifo; print(tractor_core.__file__); print(tractor_fifo.__file__)"
    for path in environment.run(environment.python, "-c", program).split():
        assert Path(path).is_relative_to(environment.directory)


def test_they_pass_the_kits(environment: Environment) -> None:
    assert environment.run(environment.python, PROGRAMS / "kits.py").splitlines() == [
        "transport conforms",
        "listener conforms",
        "spawn backend conforms",
    ]


def test_they_import_nothing_but_what_is_public() -> None:
    used = set()
    for path in (DISTRIBUTIONS / "tractor-core-fifo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                used.add(node.module)
            elif isinstance(node, ast.Import):
                used.update(alias.name for alias in node.names)
    rooms = {tuple(name.split(".")[:2]) for name in used if name.startswith("tractor_core")}
    assert rooms == {("tractor_core", "seams"), ("tractor_core", "errors")}


def test_they_are_used_by_url_and_by_name(environment: Environment, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    registry = tmp_path / "meeting" / "registry.fifo"
    registry.parent.mkdir(mode=0o700)
    # What a listener and somebody who dialled it leave behind when they are killed is in nobody's way.
    os.mkfifo(registry)
    os.mkfifo(f"{registry}.1-0123456789abcdef.there.fifo")
    output = environment.run(environment.python, PROGRAMS / "tree.py", registry, TRACTOR_JOURNAL=str(journal))
    assert output.splitlines() == [
        "branch True",
        "leaf True",
        "streamed 499500",
        "found over fifo",
        "failed: ValueError",
        "killed by SIGKILL (out of memory?)",
    ]
    assert list(registry.parent.iterdir()) == []
    lines = [line.split() for line in journal.read_text().splitlines()]
    pids = {name: pid for verb, name, pid in lines if verb == "starting"}
    assert sorted(pids) == ["branch", "leaf", "root", "victim"], "a hook did not run in every actor"
    assert len(set(pids.values())) == 4
    stopped = {name for verb, name, _ in lines if verb == "stopped"}
    # An actor asked to end through its portal may meet SIGTERM while it does, which makes "leaf" uncertain.
    assert stopped - {"leaf"} == {"branch", "root"}, "only the one that was killed had no time to say it"
    assert {scheme for verb, _, scheme in lines if verb == "channel"} == {"fifo"}


def test_they_are_listed(environment: Environment) -> None:
    rows = environment.plugins()
    for kind, name in (("transport", "fifo"), ("spawner", "posix_spawn"), ("hooks", "journal")):
        row = rows[kind, name, "tractor-core-fifo"]
        assert (row["version"], row["status"]) == ("1.2.3", "available")
        assert row["import_ms"] is not None
    table = environment.run(environment.directory / "bin/tractor-core", "plugins")
    (line,) = (line for line in table.splitlines() if "posix_spawn" in line)
    assert line.split()[:5] == ["spawner", "posix_spawn", "tractor-core-fifo", "1.2.3", "available"]


def test_of_two_providers_one_must_be_chosen(crowded: Environment) -> None:
    error = crowded.resolve("transport", "fifo")
    assert "provided by" in error and "choose one" in error
    assert "tractor-core-fifo 1.2.3" in error and "tractor-core-rival 0.9" in error
    assert crowded.resolve("transport", "fifo", TRACTOR_PLUGINS="fifo=tractor-core-rival") == "tractor_rival"
    chosen = crowded.resolve("transport", "fifo", TRACTOR_PLUGINS="fifo=tractor-core-fifo")
    assert chosen == "tractor_fifo.endpoints"
    without = crowded.resolve("transport", "fifo", TRACTOR_DISABLE_PLUGINS="tractor-core-rival")
    assert without == "tractor_fifo.endpoints"


def test_a_conflict_stops_the_program_that_asks_until_its_user_chooses(
    crowded: Environment, tmp_path: Path
) -> None:
    registry = tmp_path / "registry.fifo"
    program = (crowded.python, PROGRAMS / "tree.py", registry)
    with pytest.raises(AssertionError, match=r"PluginError: .* choose one, as in TRACTOR_PLUGINS="):
        crowded.run(*program)
    # The choice reaches every actor of the tree.
    assert "found over fifo" in crowded.run(*program, TRACTOR_PLUGINS="fifo=tractor-core-fifo")


def test_what_is_broken_matters_to_who_asks_for_it(crowded: Environment) -> None:
    assert crowded.resolve("spawner", "posix_spawn") == "tractor_fifo.spawning"
    broken = crowded.resolve("spawner", "rusty")
    assert "provided by tractor-core-rival 0.9" in broken
    assert "RuntimeError: the hinge is rusted through" in broken
    missing = crowded.resolve("transport", "pigeon")
    assert "needs module 'numpy', which is not installed: pip install 'tractor-core-rival[loft]'" in missing


def test_what_is_disabled_is_refused_by_name(crowded: Environment) -> None:
    off = {"TRACTOR_DISABLE_PLUGINS": "posix_spawn,tractor-core-rival"}
    assert crowded.resolve("spawner", "posix_spawn", **off) == (
        "start method 'posix_spawn', provided by tractor-core-fifo 1.2.3, is disabled by "
        "TRACTOR_DISABLE_PLUGINS"
    )
    assert "is disabled by" in crowded.resolve("transport", "pigeon", **off)


def test_the_documented_package_does_what_the_page_says(environment: Environment, tmp_path: Path) -> None:
    page = (PROJECT / "docs/how-to/publish-a-plugin.rst").read_text(encoding="utf-8")
    files = dict(re.findall(r"^   :caption: (\S+)\n\n((?:   .*\n|\n)+)", page, re.MULTILINE))
    for name, text in files.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    made = beside(environment, tmp_path / "venv")
    build(tmp_path / "wheels", tmp_path / "project")
    made.install("--no-index", "--no-deps", "--find-links", tmp_path / "wheels", "tractor-stopwatch")
    row = made.plugins()["hooks", "stopwatch", "tractor-stopwatch"]
    assert (row["version"], row["status"]) == ("0.3", "available")
    done = subprocess.run(
        [made.python, tmp_path / "project/program.py"],
        env={**os.environ, "TRACTOR_TRANSPORTS": "uds"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert re.fullmatch(r"sleeper lived \d+\.\d\d s\nroot lived \d+\.\d\d s\n", done.stderr), done.stderr


def test_the_list_says_what_is_wrong_with_each(crowded: Environment) -> None:
    rows = crowded.plugins()
    states = {(row["name"], row["distribution"]): row["status"] for row in rows.values()}
    assert states["fifo", "tractor-core-fifo"] == states["fifo", "tractor-core-rival"] == "conflict"
    assert states["rusty", "tractor-core-rival"] == "broken"
    assert states["pigeon", "tractor-core-rival"] == "missing extra"
    chosen = crowded.plugins(TRACTOR_PLUGINS="fifo=tractor-core-rival", TRACTOR_DISABLE_PLUGINS="rusty")
    states = {(row["name"], row["distribution"]): row["status"] for row in chosen.values()}
    assert states["fifo", "tractor-core-fifo"] == "shadowed"
    assert states["fifo", "tractor-core-rival"] == "available"
    assert states["rusty", "tractor-core-rival"] == "disabled"
