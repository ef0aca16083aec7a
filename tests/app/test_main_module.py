"""A script's functions and classes, found again in its children."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tractor_core.app.main_module import describe_main, is_preparing_main, prepare_main
from tractor_core.msg.types import MainModule

#: What every script below does when it is the program: describe itself, and have a child, and that
#: one's child, look at what became of it.
PROGRAM = textwrap.dedent(
    """
    import json, subprocess, sys

    CHILD = '''
    import json, subprocess, sys
    from tractor_core.app.main_module import describe_main, prepare_main
    from tractor_core.msg.types import MainModule
    given = MainModule(**json.loads(sys.argv[1]))
    depth = int(sys.argv[2])
    prepare_main(given)
    assert describe_main() == given
    main = sys.modules["__main__"]
    facts = {"same": main is sys.modules.get("__mp_main__"), "argv": sys.argv}
    if hasattr(main, "endpoint"):
        facts["module"] = main.endpoint.__module__
        facts["result"] = main.endpoint()
        facts["globals"] = main.endpoint.__globals__ is vars(main)
        facts["name"] = main.__name__
    if depth:
        described = {name: getattr(describe_main(), name) for name in given.__struct_fields__}
        command = [sys.executable, "-c", sys.orig_argv[2], json.dumps(described), str(depth - 1)]
        sys.exit(subprocess.run(command, cwd="/").returncode)
    print(json.dumps(facts))
    '''

    def run_children():
        from tractor_core.app.main_module import describe_main
        described = describe_main()
        arguments = json.dumps({name: getattr(described, name) for name in described.__struct_fields__})
        command = [sys.executable, "-c", CHILD, arguments, "1"]
        sys.exit(subprocess.run(command, cwd="/").returncode)
    """
)

SCRIPT = textwrap.dedent(
    """
    from __future__ import annotations
    from dataclasses import dataclass, fields
    import program
    {more}

    @dataclass
    class Point:
        x: int

    def endpoint():
        return helper() + [field.name for field in fields(Point)]

    def helper():
        return [__name__]

    if __name__ == "__main__":
        program.run_children()
    """
)


def run(directory: Path, *arguments: str) -> dict[str, Any]:
    (directory / "program.py").write_text(PROGRAM)
    completed = subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, timeout=25, check=False
    )
    assert completed.returncode == 0, completed.stderr
    facts: dict[str, Any] = json.loads(completed.stdout)
    return facts


AS_PREPARED = {
    "same": True,
    "module": "__mp_main__",
    "name": "__mp_main__",
    "globals": True,
    "result": ["__mp_main__", "x"],
}


def test_a_script_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "start").write_text(SCRIPT.format(more=""))
    facts = run(tmp_path, "start", "--flag")
    assert facts == {**AS_PREPARED, "argv": ["start", "--flag"]}
    # Running a script leaves no compiled copy of it, and neither does running it in a child.
    assert not list((tmp_path / "__pycache__").glob("start*"))


def test_a_module_by_its_name(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sibling.py").touch()
    (package / "start.py").write_text(SCRIPT.format(more="from . import sibling"))
    facts = run(tmp_path, "-m", "package.start")
    assert {name: facts[name] for name in AS_PREPARED} == AS_PREPARED


def test_a_package_run_as_a_program_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(SCRIPT.format(more=""))
    assert run(tmp_path, "-m", "package")["same"] is False


@pytest.mark.parametrize("source", ["import program; program.run_children()", SCRIPT.format(more="")])
def test_code_without_a_file_is_left_alone(source: str, tmp_path: Path) -> None:
    facts = run(tmp_path, "-c", source, "argument")
    assert facts == {"same": False, "argv": ["-c", "argument"]}


def test_a_start_script_that_defines_nothing_is_left_alone(tmp_path: Path) -> None:
    """It has no guard, so that running it again would start everything again."""
    (tmp_path / "start").write_text("from program import run_children\nrun_children()\n")
    assert run(tmp_path, "start")["same"] is False


# -- in this process -------------------------------------------------------------------------


@pytest.fixture
def main_restored() -> Iterator[ModuleType]:
    """This process's own main module, put back afterwards."""
    before, path, argv = sys.modules["__main__"], list(sys.path), list(sys.argv)
    yield before
    sys.modules["__main__"] = before
    sys.modules.pop("__mp_main__", None)
    vars(before).pop("__tractor_main__", None)
    sys.path[:], sys.argv[:] = path, argv


def test_an_error_in_the_script_is_the_callers(tmp_path: Path, main_restored: ModuleType) -> None:
    script = tmp_path / "script.py"
    script.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        prepare_main(MainModule(path=str(script)))
    assert sys.modules["__main__"] is main_restored
    assert "__mp_main__" not in sys.modules
    assert not is_preparing_main()


@pytest.mark.parametrize(
    ("main", "error"),
    [
        (MainModule(path="/no/such/script.py"), FileNotFoundError),
        (MainModule(name="no_such_module"), ModuleNotFoundError),
        (MainModule(name="no_such_package.module"), ModuleNotFoundError),
    ],
)
def test_a_script_that_is_gone(main: MainModule, error: type[Exception], main_restored: ModuleType) -> None:
    with pytest.raises(error, match="no"):
        prepare_main(main)
    assert sys.modules["__main__"] is main_restored


def test_a_script_without_a_guard_is_told_so(tmp_path: Path, main_restored: ModuleType) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit(3)\n")
    with pytest.raises(RuntimeError, match="__name__ == .__main__."):
        prepare_main(MainModule(path=str(script)))


def test_the_script_can_tell_that_it_is_being_prepared(tmp_path: Path, main_restored: ModuleType) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from tractor_core.app.main_module import is_preparing_main\nduring = is_preparing_main()\n"
    )
    assert not is_preparing_main()
    prepare_main(MainModule(path=str(script)))
    assert sys.modules["__main__"].during is True
    assert not is_preparing_main()


def test_without_a_main_module_only_the_paths_are_taken_over(main_restored: ModuleType) -> None:
    main = MainModule(sys_path=["/somewhere", *sys.path], argv=["program", "argument"])
    prepare_main(main)
    assert sys.path[0] == "/somewhere"
    assert sys.argv == ["program", "argument"]
    assert sys.modules["__main__"] is main_restored
    assert describe_main() == main
