"""A program's own ``__main__``, found again in its actors.

Functions of a script can be called in its children because these run the script again, under the name
``__mp_main__`` (the name that ``multiprocessing`` made customary, which is what keeps the part under
``if __name__ == "__main__":`` from running), and give it both names.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from types import CodeType, ModuleType
from typing import Final, cast

from tractor_core.msg.types import MainModule

#: What ``__name__`` is in a main module that a child runs.
CHILD_NAME: Final = "__mp_main__"

#: Where a child's main module keeps the description it was made from, for the child's own children.
_DESCRIPTION: Final = "__tractor_main__"

#: Set on the module while its code runs.
_PREPARING: Final = "__tractor_preparing__"


def describe_main() -> MainModule:
    """How a child of this process finds its main module: by name after ``python -m``, else by path.

    Neither, where there is nothing to find or to be found: an interactive session or ``python -c``, the
    ``__main__.py`` of a package or directory, which does its work without being asked, and a main
    module that defines no function or class, such as the start script of a test runner.
    In a child this is what its parent said.
    """
    main = sys.modules.get("__main__")
    given = getattr(main, _DESCRIPTION, None)
    if isinstance(given, MainModule):
        return given
    name, path = _locate(main) if main is not None and _defines_something(main) else (None, None)
    return MainModule(name=name, path=path, sys_path=_absolute_search_path(), argv=list(sys.argv))


def prepare_main(main: MainModule) -> None:
    """Make this process see what the parent's sees: ``sys.path``, ``sys.argv``, and its main module.

    What the module's code raises is raised here, and ``__main__`` is then what it was before.
    ``RuntimeError`` where it ends the process instead of defining things.
    """
    sys.path[:] = main.sys_path or sys.path
    sys.argv[:] = main.argv or sys.argv
    before = sys.modules.get("__main__")
    if main.name is None and main.path is None:
        if before is not None:
            setattr(before, _DESCRIPTION, main)
        return
    module = ModuleType(CHILD_NAME)
    setattr(module, _DESCRIPTION, main)
    setattr(module, _PREPARING, True)
    # Before its code runs: dataclasses and the like look themselves up by the module's name.
    sys.modules["__main__"] = sys.modules[CHILD_NAME] = module
    try:
        exec(_load(module, main), module.__dict__)
    except BaseException as error:
        del sys.modules[CHILD_NAME]
        if before is not None:
            sys.modules["__main__"] = before
        # The usual one is a script that runs its program again, here.
        error.add_note(
            "(raised while an actor loaded the program's main module; what the program does belongs under "
            '`if __name__ == "__main__":`)'
        )
        if isinstance(error, SystemExit):
            where = main.name or main.path
            raise RuntimeError(
                f"{where} called sys.exit({error.code!r}) while an actor loaded it; "
                'put what the program does under `if __name__ == "__main__":`'
            ) from error
        raise
    delattr(module, _PREPARING)


def is_preparing_main() -> bool:
    """Whether the main module's code is being run for a child at this moment.

    A runtime that is booted then would start children that boot one in turn: the script lacks its
    ``if __name__ == "__main__":``.
    """
    return hasattr(sys.modules.get(CHILD_NAME), _PREPARING)


def _locate(main: ModuleType) -> tuple[str | None, str | None]:
    """The name or the path of ``__main__``, or neither."""
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        name = spec.name
        return (None, None) if name == "__main__" or name.endswith(".__main__") else (name, None)
    path = getattr(main, "__file__", None)
    if path is None:
        return None, None
    # The start script of IPython has no guard.
    stem = os.path.splitext(os.path.basename(path))[0]
    return (None, None) if stem == "ipython" else (None, os.path.abspath(path))


def _defines_something(main: ModuleType) -> bool:
    """Whether a message could name anything in it. A start script only imports, and running it again
    may be slow or, where it has no guard, wrong."""
    return any(
        callable(value) and getattr(value, "__module__", None) == main.__name__
        for value in vars(main).values()
    )


def _absolute_search_path() -> list[str]:
    """``sys.path`` as a process in another directory must write it."""
    return [path if os.path.isabs(path) else os.path.abspath(path) for path in sys.path]


def _load(module: ModuleType, main: MainModule) -> CodeType:
    """The code of the parent's main module, with ``module`` dressed as the interpreter would have done."""
    if main.name is None:
        assert main.path is not None
        loader, code = _load_path(main.path)
        module.__dict__.update(__loader__=loader, __package__="", __file__=main.path, __cached__=None)
        return code
    spec = importlib.util.find_spec(main.name)
    get_code = getattr(spec.loader, "get_code", None) if spec is not None else None
    found = get_code(main.name) if get_code is not None else None
    if spec is None or found is None:
        raise ModuleNotFoundError(
            f"no code found for the program's main module {main.name!r}", name=main.name
        )
    module.__dict__.update(
        __spec__=spec,
        __loader__=spec.loader,
        __package__=spec.parent,
        __file__=spec.origin,
        __cached__=spec.cached,
    )
    return cast(CodeType, found)


def _load_path(path: str) -> tuple[object, CodeType]:
    """A script of any name; like running one, this leaves no ``__pycache__`` beside it."""
    if path.endswith(tuple(importlib.machinery.BYTECODE_SUFFIXES)):
        compiled = importlib.machinery.SourcelessFileLoader(CHILD_NAME, path)
        return compiled, cast(CodeType, compiled.get_code(CHILD_NAME))
    source = importlib.machinery.SourceFileLoader(CHILD_NAME, path)
    return source, source.source_to_code(source.get_data(path), path)
