"""What users say of a process that is to be started, checked before there is one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def named_options(name: str, given: object) -> dict[str, Any]:
    """A copy of the options given as the argument ``name``; none where that is None.

    ``TypeError`` for what is no mapping from strings.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} is a mapping of options by name, not {given!r}")
    for key in given:
        if not isinstance(key, str):
            raise TypeError(f"{name} is a mapping of options by name, and {key!r} is no name")
    return dict(given)


def directory_path(given: object) -> str | None:
    """The working directory ``given`` as a string; ``TypeError`` for what is no path."""
    path = os.fspath(given) if isinstance(given, os.PathLike) else given
    if path is not None and not isinstance(path, str):
        raise TypeError(f"cwd is a string or an os.PathLike of one, not {given!r}")
    return path


def check_environment(given: object) -> None:
    """Whether these variables can be any process's environment.

    ``TypeError`` for what is no mapping or cannot be encoded by its type, ``ValueError`` for names and values
    that the system does not have, each naming the variable. Values may be secrets: no error shows one.
    """
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise TypeError(f"env is a mapping of variables by name, not {type(given).__name__}")
    for name, value in given.items():
        encoded = _encoded(f"the name {name!r}", name)
        if not encoded or b"=" in encoded:
            raise ValueError(f"env: {name!r} cannot be a variable's name: it is empty or contains '='")
        _encoded(f"the value of {name!r}", value)


def _encoded(what: str, text: Any) -> bytes:
    try:
        encoded = os.fsencode(text)
    except TypeError:
        raise TypeError(f"env: {what} is a string, not {type(text).__name__}") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"env: {what} cannot be encoded: {error.reason}") from None
    if b"\0" in encoded:
        raise ValueError(f"env: {what} contains a NUL character")
    return encoded
