"""The whole programs in the documentation do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
BLOCKS = {
    "README.md": re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL),
    "docs/tutorial/index.rst": re.compile(r"^\.\. code-block:: python\n\n((?: {3}.*\n|\n)+)", re.MULTILINE),
}

#: The first function of each program, and what the program prints.
OUTPUTS = {
    "square": r"144\nready\n0\n1\n2\ndone\n",
    "whoami": r"hello from worker, process \d+\n",
    "add": r"5\n",
    "running_total": r"started at 100\n101\n103\n106\nin the end 106\n",
    "divide": r"over there: division by zero\n",
    "serve_for_ever": r"over there: cleaning up\nhere: it has ended\n",
    "count_primes": r"303 247 233\n",
    "greet": r"friend greets caller\n",
}


def programs() -> dict[str, str]:
    found = {}
    for name, pattern in BLOCKS.items():
        for block in pattern.findall((PROJECT / name).read_text(encoding="utf-8")):
            text = textwrap.dedent(block)
            if "trio.run(main)" in text:
                first = re.search(r"async def (\w+)", text)
                assert first is not None
                found[first[1]] = text
    return found


def test_every_program_is_known() -> None:
    assert programs().keys() == OUTPUTS.keys()


@pytest.mark.parametrize("name", OUTPUTS)
def test_program(name: str, tmp_path: Path) -> None:
    script = tmp_path / f"{name}.py"
    script.write_text(programs()[name], encoding="utf-8")
    # The programs use the default registry: over unix sockets that is one nobody else can see.
    runtime_directory = Path(os.environ["XDG_RUNTIME_DIR"], name)
    runtime_directory.mkdir(mode=0o700)
    environment = {**os.environ, "TRACTOR_TRANSPORTS": "uds", "XDG_RUNTIME_DIR": str(runtime_directory)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(OUTPUTS[name], done.stdout)
