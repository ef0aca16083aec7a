"""The public surface: what it exports, that it is all there, and that none is loaded unasked."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import tractor_core
import tractor_core.errors
import tractor_core.msg
import tractor_core.seams
from tractor_core.msg.types import Aid
from tractor_core.protocol.auth import OneTimeSecrets
from tractor_core.protocol.handshake import Identity
from tractor_core.seams import SpawnRequest, TransportOptions

FACADE = Path(tractor_core.__file__)
PLUGIN_ROOTS = [FACADE.parent.parent / name for name in ("transports", "plugins")]

#: The documented names. One that comes or goes is a change of the public API, made here too.
PUBLIC = {
    "Actor", "ActorDied", "ActorNursery", "ActorTooSlowError", "Address", "Channel", "Context",
    "ContextCancelled", "Limits", "ModuleNotExposed", "MsgStream", "MsgTypeError", "NoRuntime", "Portal",
    "Registrar", "RemoteActorError", "RuntimeVars", "StreamOverrun", "TLSConfig", "TeardownPolicy",
    "TransportClosed", "context", "current_actor", "current_ipc_ctx", "debug_mode", "expose", "find_actor",
    "get_registry", "get_runtime_vars", "is_root_process", "open_actor_cluster", "open_nursery",
    "open_portal", "open_root_actor", "query_actor", "run_daemon", "stream", "wait_for_actor",
    "watch_actors",
}  # fmt: skip

SUBMODULES = {"devx", "errors", "log", "msg", "to_asyncio", "trionics"}

#: What costs time or memory, and is for those who ask for it.
HEAVY = {
    "asyncio", "ctypes.util", "dataclasses", "http", "importlib.metadata", "multiprocessing",
    "pdb", "pdbp", "pydoc", "pytest", "rich", "typer", "unittest", "zmq",
}  # fmt: skip
ON_TOP = {f"tractor_core.{room}" for room in ("to_asyncio", "devx", "testing", "cli")}
PLUGINS = {path.name for root in PLUGIN_ROOTS for path in root.iterdir() if path.is_dir()}


def fresh(script: str) -> Any:
    """What a new interpreter prints as JSON."""
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=False, capture_output=True, text=True, timeout=20
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def loaded_by(statements: str) -> set[str]:
    """The modules that come with some statements, beyond those of trio and msgspec."""
    return set(
        fresh(
            "import json, sys, trio, msgspec\n"
            "before = set(sys.modules)\n"
            f"{statements}\n"
            "print(json.dumps(sorted(set(sys.modules) - before)))\n"
        )
    )


def test_all_is_exact() -> None:
    assert set(tractor_core.__all__) == PUBLIC
    assert len(tractor_core.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC | SUBMODULES))
def test_every_name_is_imported_when_asked_for(name: str) -> None:
    value = getattr(tractor_core, name)
    assert getattr(tractor_core, name) is value
    namespace: dict[str, object] = {}
    exec(f"from tractor_core import {name}", namespace)
    assert namespace[name] is value


def test_names_are_imported_for_type_checkers_from_where_they_are_found() -> None:
    promised = {}
    for node in ast.walk(ast.parse(FACADE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            promised.update({alias.name: node.module for alias in node.names})
    assert set(promised) == PUBLIC | SUBMODULES
    for name in PUBLIC:
        home = importlib.import_module(f"tractor_core.{promised[name]}")
        assert getattr(tractor_core, name) is getattr(home, name)


def test_no_module_has_the_name_of_something_public() -> None:
    """Importing it would put the module in the place of what was meant."""
    modules = {path.stem for path in FACADE.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not modules & PUBLIC
    assert modules >= SUBMODULES


def test_star_import_brings_the_public_names_and_nothing_else() -> None:
    namespace: dict[str, object] = {}
    exec("from tractor_core import *", namespace)
    assert set(namespace) - {"__builtins__"} == PUBLIC


def test_dir_lists_everything_before_it_is_loaded() -> None:
    listed = fresh("import json, tractor_core; print(json.dumps(dir(tractor_core)))")
    assert set(listed) >= PUBLIC | SUBMODULES | {"__version__", "__all__"}
    assert {name for name in listed if not name.startswith("_")} == PUBLIC | SUBMODULES


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tractor_core' has no attribute 'open_nurserie'"):
        tractor_core.open_nurserie  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="open_nurserie"):
        exec("from tractor_core import open_nurserie")


def test_an_old_name_works_and_says_what_it_is_now() -> None:
    script = (
        "import json, warnings\n"
        "import tractor_core\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    from tractor_core import Arbiter\n"
        "    tractor_core.Arbiter\n"
        "said = [(w.category.__name__, str(w.message), w.filename) for w in caught]\n"
        "print(json.dumps([said, Arbiter is tractor_core.Registrar]))\n"
    )
    message = "tractor_core.Arbiter is now Registrar"
    assert fresh(script) == [[["DeprecationWarning", message, "<string>"]], True]


# -- quality of what is exported ----------------------------------------------------------------


def exported() -> list[tuple[str, Any]]:
    namespaces = (
        tractor_core,
        tractor_core.errors,
        tractor_core.msg,
        tractor_core.seams,
        tractor_core.trionics,
    )
    found = {}
    for namespace in namespaces:
        for name in getattr(namespace, "__all__", None) or vars(namespace):
            value = getattr(namespace, name)
            own = str(getattr(value, "__module__", "")).startswith("tractor_core")
            if not name.startswith("_") and own and isinstance(value, type | types.FunctionType):
                found[f"{namespace.__name__}.{name}"] = value
    return sorted(found.items())


EXPORTED = exported()


@pytest.mark.parametrize(("name", "value"), EXPORTED, ids=[name for name, _ in EXPORTED])
def test_every_public_name_is_documented(name: str, value: Any) -> None:
    # inspect.getdoc() would be content with the docstring of a base.
    docstring = value.__doc__
    assert docstring and docstring.strip(), f"{name} has no docstring"
    assert docstring.lstrip()[0].isupper() or docstring.lstrip()[0] in "`:", docstring


@pytest.mark.parametrize(("name", "value"), EXPORTED, ids=[name for name, _ in EXPORTED])
def test_public_methods_are_documented_and_annotated(name: str, value: Any) -> None:
    functions = {name: value}
    if isinstance(value, type):
        functions = {
            f"{name}.{attribute}": getattr(member, "fget", None) or getattr(member, "__func__", member)
            for attribute, member in vars(value).items()
            if not attribute.startswith("_")
            and isinstance(member, types.FunctionType | property | classmethod | staticmethod)
        }
    undocumented = [each for each, function in functions.items() if not documented(value, each, function)]
    unannotated = [each for each, function in functions.items() if not annotated(function)]
    assert (undocumented, unannotated) == ([], [])


def documented(owner: Any, name: str, function: Any) -> bool:
    """By itself, by what it overrides, or by a name that says all (a property such as ``uid``)."""
    attribute = name.rpartition(".")[2]
    inherited = [vars(base).get(attribute) for base in getattr(owner, "__mro__", ())[1:]]
    is_property = isinstance(owner, type) and isinstance(vars(owner).get(attribute), property)
    return bool(function.__doc__) or any(getattr(each, "__doc__", None) for each in inherited) or is_property


def annotated(function: Any) -> bool:
    target = inspect.unwrap(function)
    hints = target.__annotations__
    parameters = list(inspect.signature(target).parameters)
    return "return" in hints and set(parameters) - {"self", "cls"} <= set(hints)


@pytest.mark.parametrize("name", sorted(name for name in PUBLIC if name[0].isupper()))
def test_public_classes_are_concrete(name: str) -> None:
    assert not inspect.isabstract(getattr(tractor_core, name))


def test_secrets_are_not_shown() -> None:
    secret = b"correct horse battery staple"
    holder = OneTimeSecrets()
    holder._secrets["some"] = secret
    for each in (
        Identity(Aid("a", "b"), secret),
        TransportOptions(key=secret),
        SpawnRequest("a", "b", "c:d", secret, env={"TOKEN": secret.decode()}),
        holder,
    ):
        assert "correct horse" not in f"{each!r} {each}"
    assert "key_explicit=False" in repr(Identity(Aid("a", "b"), secret))


@pytest.mark.parametrize("name", ["Address", "Limits", "TLSConfig", "TeardownPolicy"])
def test_values_are_frozen_equal_and_hashable(name: str) -> None:
    arguments = {"Address": ("tcp", "127.0.0.1", 1), "TLSConfig": ("cert", "key", "ca")}.get(name, ())
    kind = getattr(tractor_core, name)
    value, same = kind(*arguments), kind(*arguments)
    assert value == same and hash(value) == hash(same) and len({value, same}) == 1
    assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], None)


# -- what is loaded, and when -------------------------------------------------------------------


def test_importing_the_package_loads_nothing_of_it() -> None:
    assert loaded_by("import tractor_core") <= {"tractor_core"}


def test_all_names_together_load_nothing_heavy() -> None:
    loaded = loaded_by("from tractor_core import *")
    assert not loaded & (HEAVY | ON_TOP | PLUGINS)


def test_a_child_boots_without_what_only_its_parent_needs() -> None:
    loaded = loaded_by("import tractor_core.app.child, tractor_core.app.running")
    spared = {
        "discovery.lookup",
        "app.root",
        "app.client",
        "app.cluster",
        "app.daemon",
        "supervision.nursery",
    }
    assert not loaded & (HEAVY | ON_TOP | PLUGINS | {f"tractor_core.{each}" for each in spared})
