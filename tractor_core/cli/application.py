"""The commands, their arguments and what they print."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import trio
import typer

from tractor_core.errors import TractorError

from . import actors, output, plugin_list, versions

app = typer.Typer(
    name="tractor-core",
    help="Structured-concurrency actors: look after plugins, certificates and running actors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Url = Annotated[str, typer.Argument(help="Address of a running actor, as in tcp://127.0.0.1:1616.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for each actor that is asked.", min=0.01)]


def run() -> int:
    """Run the command in ``sys.argv``; what goes wrong outside of this program is one line."""
    try:
        # Errors come out here instead of as text that typer makes of them; exits come as a return.
        result = app(standalone_mode=False)
    except (OSError, TractorError, ValueError) as exc:
        print(f"tractor-core: {_line(exc)}", file=sys.stderr)
        return 1
    except typer.Abort:
        return 130
    except Exception as exc:
        # A mistake in the arguments, which the library that parses them knows how to show.
        show = getattr(exc, "show", None)
        if show is None:
            raise
        show()
        return int(getattr(exc, "exit_code", 2))
    return result if isinstance(result, int) else 0


@app.command("plugins")
def plugins_command(json: AsJson = False) -> None:
    """List transports, spawn backends and hook plugins, and try to import each.

    What an earlier one had imported already does not count in the import time of a later one.
    """
    rows = plugin_list.rows()
    if json:
        output.print_json(rows)
    else:
        output.print_table(rows, plugin_list.COLUMNS)
        output.print_notes(row["detail"] for row in rows if row["detail"])


@app.command("certs")
def certs_command(
    directory: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")],
    host: Annotated[
        list[str] | None,
        typer.Option(help="Name or address that dialled actors are reached by; may be repeated."),
    ] = None,
    days: Annotated[int, typer.Option(help="For how long they are good.", min=1, max=3650)] = 365,
    ca: Annotated[
        Path | None, typer.Option(help="Directory of an authority made before, to sign with that one.")
    ] = None,
) -> None:
    """Make a private authority and a certificate signed by it, for development.

    Names this host, its loopback and its address, and every --host. Overwrites nothing.
    """
    # Costs more than all the rest together, and only this command needs it.
    certificates = import_module("tractor_core.cli.certificates")
    written: Mapping[str, Path] = certificates.make(directory, host or [], days, ca)
    for variable, path in written.items():
        print(f"export {variable}={path}")


@app.command("status")
def status_command(url: Url, json: AsJson = False, timeout: Timeout = 5.0) -> None:
    """Ask a running actor how it is.

    The key and the certificates are those of a program: TRACTOR_AUTH_KEY_FILE, the user's cookie, and
    TRACTOR_TLS_CERT, _KEY and _CA.
    """
    status = _run(actors.status, url, timeout)
    if json:
        output.print_json(status)
    else:
        output.print_fields(status)


@app.command("ps")
def ps_command(url: Url, json: AsJson = False, timeout: Timeout = 5.0) -> None:
    """List the actors in the registry of a running actor, and ask each how it is."""
    rows = _run(actors.listing, url, timeout)
    if json:
        output.print_json(rows)
    else:
        output.print_table(rows, actors.COLUMNS)
        output.print_notes(f"{row['name']}: {row['error']}" for row in rows if row["error"])


@app.command("version")
def version_command(json: AsJson = False) -> None:
    """Print the versions of this package and of what it runs on."""
    found = versions.versions()
    if json:
        output.print_json(found)
    else:
        output.print_fields(found)


def _line(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.strerror}: {exc.filename}" if exc.filename else exc.strerror
    return str(exc)


def _run(function: Any, *arguments: Any) -> Any:
    return trio.run(functools.partial(function, *arguments))
