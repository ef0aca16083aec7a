"""The shape of the code base: which way imports point, how large rooms may grow, what is packaged.

Everything is read from the source, so that a module counts from the moment it exists.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
CORE = "tractor_core"
PLUGIN_ROOTS = ("transports", "plugins")

#: The layers of the core, lowest first. A room imports those to its left.
LAYERS = ("seams", "msg", "protocol", "ipc", "runtime")
BELOW_APP = {*LAYERS, "supervision", "discovery", "plugin"}

#: What every room with I/O may use; these know no room themselves.
COMMON = {"errors", "log", "trionics"}
#: What each room may import of the core.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "log": set(),
    "trionics": set(),
    "seams": {"errors"},
    "plugin": {"seams", "errors"},
    "msg": {"seams", "errors"},
    "protocol": {"seams", "msg", "errors"},
    "ipc": {"seams", "msg", "protocol", "plugin"} | COMMON,
    "runtime": {"seams", "msg", "protocol", "ipc", "plugin"} | COMMON,
    "supervision": {*LAYERS, "plugin"} | COMMON,
    "discovery": {*LAYERS, "plugin"} | COMMON,
    "app": BELOW_APP | COMMON,
    # On top: they may use the facade (called "" here) and all beneath it, and nobody imports them.
    "to_asyncio": BELOW_APP | COMMON | {"app", ""},
    "devx": BELOW_APP | COMMON | {"app", ""},
    "testing": BELOW_APP | COMMON | {"app", ""},
    "cli": BELOW_APP | COMMON | {"app", ""},
    "__main__": {"cli", ""},
    # The facade hands out names of every room, those on top only through its lazy loader.
    "": BELOW_APP | COMMON | {"app", "to_asyncio", "devx", "testing"},
}

#: What a transport or spawn backend may import of the core.
PLUGIN_MAY_IMPORT = {"seams", "errors"}

#: Rooms that must work without an event loop: the libraries that they may not import themselves.
WITHOUT_LOOP = ("msg", "protocol")
LOOPS = {"trio", "asyncio", "anyio", "outcome", "socket", "select", "selectors"}

#: Imports inside functions, by what is imported, each with its reason.
LATE_IMPORTS = {
    "asyncio": "slow to import, and only actors that are guests on it need it",
    "importlib.metadata": "slow to import, and a child reads no metadata: it gets the resolved table",
    "multiprocessing": "slow to import, and only the processes that it started need it",
}

LONGEST_MODULE = 600

#: ``global`` statements: (module, name) with the reason. The current actor is found through a ContextVar.
GLOBALS: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class Import:
    """One imported module or name."""

    target: str
    line: int
    type_checking: bool
    in_function: bool


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def imports(self) -> list[Import]:
        return list(_imports(self, self.tree, type_checking=False, in_function=False))


def _imports(module: Module, node: ast.AST, *, type_checking: bool, in_function: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, type_checking, in_function)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                anchor = module.package.split(".")[: len(module.package.split(".")) - child.level + 1]
                base = ".".join([*anchor, *([base] if base else [])])
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", child.lineno, type_checking, in_function)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            body = ast.Module(body=child.body, type_ignores=[])
            rest = ast.Module(body=child.orelse, type_ignores=[])
            yield from _imports(module, body, type_checking=True, in_function=in_function)
            yield from _imports(module, rest, type_checking=False, in_function=in_function)
        else:
            inside = in_function or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(module, child, type_checking=type_checking, in_function=inside)


@cache
def modules() -> dict[str, Module]:
    """Every module of the distribution, by its import name."""
    found = {}
    for root in (PROJECT, *(PROJECT / name for name in PLUGIN_ROOTS)):
        packages = [PROJECT / CORE] if root == PROJECT else [path for path in root.iterdir() if path.is_dir()]
        for path in sorted(path for package in packages for path in package.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return found


def target_module(target: str) -> str | None:
    """The module of this distribution that an import leads to, or None for anybody else's."""
    name = target
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def room_of(name: str) -> str:
    """``ipc`` for ``tractor_core.ipc.channel``, ``""`` for the facade; a plugin package is its own room."""
    first, _, rest = name.partition(".")
    return rest.partition(".")[0] if first == CORE else first


def offences(found: list[str]) -> str:
    return "\n" + "\n".join(f"  {line}" for line in sorted(set(found)))


def test_every_room_is_known() -> None:
    rooms = {room_of(name) for name in modules() if name.partition(".")[0] == CORE}
    assert rooms <= set(MAY_IMPORT), f"rooms that no rule covers: {sorted(rooms - set(MAY_IMPORT))}"


def test_imports_point_one_way() -> None:
    found = []
    for module in modules().values():
        room = room_of(module.name)
        in_core = module.name.partition(".")[0] == CORE
        allowed = MAY_IMPORT[room] if in_core else PLUGIN_MAY_IMPORT
        for item in module.imports:
            target = target_module(item.target)
            if target is None or target.partition(".")[0] == module.name.partition(".")[0] != CORE:
                continue
            target_room = room_of(target)
            if target_room != room and target_room not in allowed:
                found.append(f"{module.name}:{item.line} imports {target}")
    assert not found, offences(found)


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for module in modules().values():
        for item in module.imports:
            target = target_module(item.target)
            if target and target != module.name and not item.type_checking and not item.in_function:
                graph[module.name].add(target)
    cycles = [component for component in components(graph) if len(component) > 1]
    assert not cycles, offences([" <-> ".join(sorted(cycle)) for cycle in cycles])


def components(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components: two modules share one if each can reach the other."""
    reach = {node: reachable(graph, node) for node in graph}
    left, found = set(graph), []
    while left:
        node = left.pop()
        component = {node} | {other for other in reach[node] if node in reach[other]}
        left -= component
        found.append(component)
    return found


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for node in graph[todo.pop()] - seen:
            seen.add(node)
            todo.append(node)
    return seen


def test_components_finds_cycles() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert sorted(map(sorted, components(graph))) == [["a"], ["b", "c"], ["d"]]


def test_rooms_without_loop_import_none() -> None:
    found = [
        f"{module.name}:{item.line} imports {item.target}"
        for module in modules().values()
        for item in module.imports
        if module.name.partition(".")[0] == CORE
        and room_of(module.name) in WITHOUT_LOOP
        and item.target.partition(".")[0] in LOOPS
        and not item.type_checking
    ]
    assert not found, offences(found)


def test_core_imports_only_its_dependencies() -> None:
    """And the rooms with extras of their own, their extras."""
    everywhere = {"trio", "msgspec", "pluggy"}
    extras = {
        "devx": {"pdbp", "stackscope", "greenback"},
        "cli": {"cryptography", "rich", "typer"},
        "testing": {"pytest"},
        "msg": {"numpy"},
    }
    found = []
    for module in modules().values():
        if module.name.partition(".")[0] != CORE:
            continue
        allowed = everywhere | extras.get(room_of(module.name), set())
        for item in module.imports:
            top = item.target.partition(".")[0]
            if item.type_checking and top == "typing_extensions":
                continue  # every type checker brings it along
            if target_module(item.target) is None and top not in sys.stdlib_module_names | allowed:
                found.append(f"{module.name}:{item.line} imports {item.target}")
    assert not found, offences(found)


def test_trionics_knows_only_trio() -> None:
    found = [
        f"{module.name}:{item.line} imports {item.target}"
        for module in modules().values()
        for item in module.imports
        if module.name.startswith(f"{CORE}.trionics")
        and item.target.partition(".")[0] in {"msgspec", "pluggy"}
    ]
    assert not found, offences(found)


def test_imports_stand_at_the_top() -> None:
    found = [
        f"{module.name}:{item.line} imports {item.target} inside a function"
        for module in modules().values()
        if module.name != CORE  # the facade is the lazy loader
        for item in module.imports
        if item.in_function and not any(f"{item.target}.".startswith(f"{late}.") for late in LATE_IMPORTS)
    ]
    assert not found, offences(found)


def test_private_names_stay_in_their_package() -> None:
    found = []
    for module in modules().values():
        for item in module.imports:
            parts = item.target.split(".")
            private = any(part.startswith("_") and not part.startswith("__") for part in parts)
            target = target_module(item.target)
            at_home = target is not None and room_of(target) == room_of(module.name)
            if private and not at_home and parts[0] != "_typeshed":
                found.append(f"{module.name}:{item.line} imports {item.target}")
    assert not found, offences(found)


def test_state_is_not_global() -> None:
    found = [
        f"{module.name}:{node.lineno} global {name}"
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Global)
        for name in node.names
        if (module.name, name) not in GLOBALS
    ]
    assert not found, offences(found)


def test_modules_are_small() -> None:
    lengths = {name: len(module.path.read_text().splitlines()) for name, module in modules().items()}
    found = [f"{name}: {length} lines" for name, length in lengths.items() if length > LONGEST_MODULE]
    assert not found, offences(found)


def test_modules_say_what_they_are_for() -> None:
    found = [name for name, module in modules().items() if not ast.get_docstring(module.tree)]
    assert not found, offences(found)


def test_directories_with_code_are_packages() -> None:
    directories = {module.path.parent for module in modules().values()}
    found = [str(path) for path in directories if not (path / "__init__.py").is_file()]
    assert not found, offences(found)


def test_annotations_are_not_evaluated() -> None:
    found = [
        name
        for name, module in modules().items()
        if any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for n in module.tree.body)
        and "__future__.annotations" not in {item.target for item in module.imports}
    ]
    assert not found, offences(found)


# -- packaging -------------------------------------------------------------------------------


@cache
def pyproject() -> dict[str, dict[str, object]]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def plugin_packages() -> list[Path]:
    folders = [path for root in PLUGIN_ROOTS for path in sorted((PROJECT / root).iterdir()) if path.is_dir()]
    return [path for path in folders if path.name != "__pycache__"]


def test_every_package_is_in_the_wheel_and_typed() -> None:
    packages = [PROJECT / CORE, *plugin_packages()]
    tool: dict = pyproject()["tool"]
    assert sorted(tool["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(
        str(path.relative_to(PROJECT)) for path in packages
    )
    assert [str(path) for path in packages if not (path / "py.typed").is_file()] == []


def entry_points() -> list[tuple[str, str, str]]:
    project: dict = pyproject()["project"]
    return [
        (group, name, value)
        for group, entries in project.get("entry-points", {}).items()
        for name, value in entries.items()
    ]


@pytest.mark.parametrize(("group", "name", "value"), entry_points())
def test_entry_point_leads_to_what_it_names(group: str, name: str, value: str) -> None:
    module, _, attribute = value.partition(" [")[0].partition(":")
    provided = getattr(importlib.import_module(module), attribute)
    if group == "tractor_core.transports":
        assert name in provided.schemes
    else:
        assert provided.name == name


def test_installation_has_these_entry_points() -> None:
    installed = importlib.metadata.distribution("tractor-core").entry_points
    ours = {(point.group, point.name, point.value) for point in installed if point.group.startswith(CORE)}
    assert ours == set(entry_points()), "out of date: run `pip install -e .` again"
