"""The command line: one small module for each command, over the public API only.

What belongs here: turning arguments into calls of the public API and results into text. It sits on top of
everything and nothing imports it. Its tools come with the ``cli`` extra.
"""

from __future__ import annotations

import sys
from importlib import import_module

#: What the extra brings, by the names under which it is imported.
_EXTRA = ("click", "cryptography", "rich", "typer")


def main() -> int:
    """Run the command in ``sys.argv``; returns the exit status. What ``tractor-core`` calls."""
    try:
        application = import_module(f"{__name__}.application")
        run: object = application.run
        assert callable(run)
        return int(run())
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(
            f"tractor-core: the command line needs {exc.name!r}, which is not installed: "
            "pip install 'tractor-core[cli]'",
            file=sys.stderr,
        )
        return 1
