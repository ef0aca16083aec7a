"""Who provides what: entry points are read here, without importing a single plugin.

pluggy's own loader imports all plugins, stops at the first that is broken, and drops the second of
two distributions that claim one name without a word.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Protocol

import msgspec

from ..errors import PluginError

log = logging.getLogger("tractor_core.plugin")

TRANSPORT = "transport"
SPAWNER = "spawner"
HOOKS = "hooks"

#: Entry-point group of each kind of plugin.
GROUPS = {
    TRANSPORT: "tractor_core.transports",
    SPAWNER: "tractor_core.spawners",
    HOOKS: "tractor_core.plugins",
}

CHOOSE_VARIABLE = "TRACTOR_PLUGINS"
DISABLE_VARIABLE = "TRACTOR_DISABLE_PLUGINS"


class ProviderLike(Protocol):
    """A row as it comes over the wire; :class:`Provider` has the meaning of each field."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def distribution(self) -> str: ...
    @property
    def version(self) -> str: ...


class Provider(msgspec.Struct, frozen=True):
    """One thing that one distribution provides.

    ``kind`` is ``"transport"``, ``"spawner"`` or ``"hooks"``; ``name`` the URL scheme, start method
    or entry-point name; ``target`` is ``"module:attribute"`` (or a module alone), with the extras that it
    needs behind it (``"module:attribute[extra]"``); empty for an object that was handed over at run time.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    @property
    def module(self) -> str:
        """The module to import."""
        return self.target.partition("[")[0].partition(":")[0]

    @property
    def attribute(self) -> str:
        """Where the object is in that module, dotted; empty where it is the module itself."""
        return self.target.partition("[")[0].partition(":")[2]

    @property
    def extras(self) -> str:
        """The extras of the distribution that it needs, separated by commas; empty where it needs none."""
        return self.target.partition("[")[2].removesuffix("]")

    @property
    def source(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}".rstrip()


def normalize(distribution: str) -> str:
    """A distribution's name in the one spelling by which the package index compares names."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def scan(path: Sequence[str] | None = None) -> list[Provider]:
    """Every entry point of the three groups on ``sys.path`` (or ``path``).

    As for imports, the first copy of a distribution on the path hides later ones. A
    distribution whose metadata cannot be read is logged and left out.
    """
    import importlib.metadata as metadata  # costs > 20 ms, and children never need it

    found: list[Provider] = []
    seen: set[str] = set()
    distributions = metadata.distributions() if path is None else metadata.distributions(path=list(path))
    for distribution in distributions:
        try:
            text = distribution.read_text("entry_points.txt") or ""
            if not any(group in text for group in GROUPS.values()):
                continue  # most of them: neither parsed nor asked for their names
            name, version = distribution.metadata["Name"], distribution.version
            if not name or normalize(name) in seen:
                continue
            seen.add(normalize(name))
            points = distribution.entry_points
            for kind, group in GROUPS.items():
                for point in points.select(group=group):
                    target = point.value.replace(" ", "")
                    found.append(Provider(kind, point.name, target, name, version or ""))
        except Exception as exc:  # anything can be in a file that some installer wrote
            log.warning("cannot read the plugins of a distribution (%r): %r", distribution, exc)
    return found


def parse_choices(text: str) -> dict[str, str]:
    """``"ws=my-dist,tcp=other"`` as a mapping; ``PluginError`` names the part that is wrong."""
    choices = {}
    for part in _parts(text):
        name, equals, distribution = (piece.strip() for piece in part.partition("="))
        if not (name and equals and distribution):
            raise PluginError(
                f"{CHOOSE_VARIABLE}: {part!r} is not 'name=distribution' (as in 'ws=my-dist,tcp=other')"
            )
        choices[name] = distribution
    return choices


def parse_disabled(text: str) -> frozenset[str]:
    """``"a,b"`` as a set of entry-point and distribution names."""
    return frozenset(_parts(text))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
