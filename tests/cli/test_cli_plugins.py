"""``tractor-core plugins``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands import run


def listed(**environment: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    finished = run("plugins", "--json", **environment)
    assert finished.returncode == 0, finished.stderr
    rows = json.loads(finished.stdout)
    return {(row["kind"], row["name"], row["distribution"]): row for row in rows}


def install(site: Path, name: str, entry_points: str, module: str) -> None:
    """What pip would leave of a distribution with one module."""
    metadata = site / f"{name.replace('-', '_')}-2.5.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    (site / f"{name.replace('-', '_')}.py").write_text(module)


def test_the_built_in_ones_are_listed() -> None:
    rows = listed()
    for kind, name in (("transport", "tcp"), ("transport", "tls"), ("spawner", "subprocess")):
        row = rows[kind, name, "tractor-core"]
        assert row["status"] == "available"
        assert row["version"] and row["target"] and row["detail"] == ""
        assert row["import_ms"] >= 0


def test_those_of_others_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    install(
        tmp_path,
        "pigeon-post",
        "[tractor_core.transports]\npigeon = pigeon_post:transport\ntcp = pigeon_post:other\n",
        "raise RuntimeError('the [loft] is closed')\n",
    )
    install(
        tmp_path,
        "needs-more",
        "[tractor_core.spawners]\nmagic = needs_more:backend\n",
        "import a_module_that_nobody_has\n",
    )
    rows = listed(PYTHONPATH=str(tmp_path))
    broken = rows["transport", "pigeon", "pigeon-post"]
    assert (broken["status"], broken["version"]) == ("broken", "2.5")
    assert "the [loft] is closed" in broken["detail"]
    missing = rows["spawner", "magic", "needs-more"]
    assert missing["status"] == "missing extra"
    assert "pip install needs-more" in missing["detail"]
    for distribution in ("tractor-core", "pigeon-post"):
        assert rows["transport", "tcp", distribution]["status"] == "conflict"

    shown = run("plugins", PYTHONPATH=str(tmp_path))
    assert shown.returncode == 0
    assert "the [loft] is closed" in shown.stdout and "pip install needs-more" in shown.stdout

    chosen = listed(PYTHONPATH=str(tmp_path), TRACTOR_PLUGINS="tcp=tractor-core")
    assert chosen["transport", "tcp", "tractor-core"]["status"] == "available"
    shadowed = chosen["transport", "tcp", "pigeon-post"]
    assert shadowed["status"] == "shadowed" and shadowed["import_ms"] is None


def test_hooks_that_an_actor_would_refuse(tmp_path: Path) -> None:
    hook = "from tractor_core.seams import hookimpl\n@hookimpl\n"
    sources = {
        "hook-async": "async def tractor_actor_starting(actor): ...\n",
        "hook-argument": "def tractor_actor_starting(actor, nobody_gives_this): ...\n",
        "hook-good": "def tractor_actor_starting(actor): raise SystemExit('it was called')\n",
    }
    for name, source in sources.items():
        points = f"[tractor_core.plugins]\n{name} = {name.replace('-', '_')}\n"
        install(tmp_path, name, points, hook + source)
    rows = listed(PYTHONPATH=str(tmp_path))
    refused = rows["hooks", "hook-async", "hook-async"]
    assert refused["status"] == "broken" and "hooks are synchronous" in refused["detail"]
    refused = rows["hooks", "hook-argument", "hook-argument"]
    assert refused["status"] == "broken" and "nobody_gives_this" in refused["detail"]
    assert rows["hooks", "hook-good", "hook-good"]["status"] == "available"


def test_disabled_ones_and_a_choice_that_makes_no_sense() -> None:
    assert listed(TRACTOR_DISABLE_PLUGINS="uds")["transport", "uds", "tractor-core"]["status"] == "disabled"
    finished = run("plugins", TRACTOR_PLUGINS="tcp")
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert "TRACTOR_PLUGINS" in line
