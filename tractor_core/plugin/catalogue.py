"""Which provider a name belongs to, once the user's choices and blocks are applied. Imports no plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..errors import PluginError
from .entrypoints import CHOOSE_VARIABLE, DISABLE_VARIABLE, HOOKS, SPAWNER, TRANSPORT, Provider, normalize

ACTIVE = "active"
CONFLICT = "conflict"
DISABLED = "disabled"
SHADOWED = "shadowed"

_NOUNS = {TRANSPORT: "transport scheme", SPAWNER: "start method", HOOKS: "plugin"}


class Catalogue:
    """Rows of providers and the rules by which one of them is picked.

    Two distributions that provide one transport or spawner name are in conflict until the user
    chooses, which matters only when that name is asked for. Hook plugins do not replace one
    another, so they never are.
    """

    def __init__(
        self,
        rows: Iterable[Provider] = (),
        choices: Mapping[str, str] = MappingProxyType({}),
        disabled: frozenset[str] = frozenset(),
    ) -> None:
        self._rows = list(dict.fromkeys(rows))
        #: What :meth:`active` found; every start of an actor asks.
        self._active: list[Provider] | None = None
        self._choices = choices
        self._disabled_names = disabled
        self._disabled_distributions = {normalize(name) for name in disabled}

    @property
    def rows(self) -> tuple[Provider, ...]:
        """All of them, in the order in which they were found."""
        return tuple(self._rows)

    def add(self, row: Provider) -> None:
        """One more, made at run time."""
        self._rows.append(row)
        self._active = None

    def remove(self, row: Provider) -> None:
        """Forget one; ``ValueError`` where it is not there."""
        self._rows.remove(row)
        self._active = None

    def names(self, kind: str) -> set[str]:
        """Every name of a kind that somebody provides and nobody disabled."""
        return {row.name for row in self._rows if row.kind == kind and not self._is_disabled(row)}

    def active(self, kind: str | None = None) -> list[Provider]:
        """The rows (of one kind) that are neither disabled nor shadowed; those in conflict are among them."""
        if self._active is None:
            self._active = [row for row in self._rows if self.state(row) in (ACTIVE, CONFLICT)]
        return [row for row in self._active if kind is None or row.kind == kind]

    def state(self, row: Provider) -> str:
        """``active``, ``conflict``, ``disabled`` or ``shadowed``."""
        if self._is_disabled(row):
            return DISABLED
        candidates = self._candidates(row.kind, row.name)
        if row not in candidates:
            return SHADOWED
        return CONFLICT if self.conflict(row.kind, row.name) else ACTIVE

    def conflict(self, kind: str, name: str) -> str:
        """Why a name that is provided belongs to nobody, or an empty string."""
        candidates = self._candidates(kind, name)
        choice = self._choices.get(name)
        if choice is None and len(candidates) < 2:
            return ""
        sources = " and ".join(dict.fromkeys(row.source for row in candidates))
        if candidates and choice is not None and not self._is_met(name, choice):
            return (
                f"{CHOOSE_VARIABLE} gives {_NOUNS[kind]} {name!r} to {choice}, which does not provide it; "
                f"it is provided by {sources}"
            )
        if kind != HOOKS and len({normalize(row.distribution) for row in candidates}) > 1:
            example = f"{CHOOSE_VARIABLE}='{name}={candidates[0].distribution}'"
            return f"{_NOUNS[kind]} {name!r} is provided by {sources}; choose one, as in {example}"
        return ""

    def pick(self, kind: str, name: str) -> Provider:
        """The provider of a name. ``PluginError`` names both where there are two, and says what
        there is where there is none."""
        conflict = self.conflict(kind, name)
        if conflict:
            raise PluginError(conflict)
        candidates = self._candidates(kind, name)
        if not candidates:
            raise PluginError(self._unknown(kind, name))
        return candidates[0]

    def _is_disabled(self, row: Provider) -> bool:
        # Usually nothing is, and a new actor asks 40 times: with the names normalized, 60 µs of its start.
        return bool(self._disabled_names) and (
            row.name in self._disabled_names or normalize(row.distribution) in self._disabled_distributions
        )

    def _is_met(self, name: str, choice: str) -> bool:
        enabled = (row for row in self._rows if row.name == name and not self._is_disabled(row))
        return any(normalize(row.distribution) == normalize(choice) for row in enabled)

    def _candidates(self, kind: str, name: str) -> list[Provider]:
        named = (row for row in self._rows if (row.kind, row.name) == (kind, name))
        rows = [row for row in named if not self._is_disabled(row)]
        choice = self._choices.get(name)
        if choice is None:
            return rows
        return [row for row in rows if normalize(row.distribution) == normalize(choice)] or rows

    def _unknown(self, kind: str, name: str) -> str:
        noun = _NOUNS[kind]
        for row in self._rows:
            if (row.kind, row.name) == (kind, name):
                return f"{noun} {name!r}, provided by {row.source}, is disabled by {DISABLE_VARIABLE}"
            if (row.kind, row.name.lower(), kind) == (kind, name, TRANSPORT):
                return (
                    f"unknown {noun} {name!r}: {row.source} provides {row.name!r}, which no URL can say, "
                    "because schemes are lower case"
                )
        names = sorted(self.names(kind))
        if not names:
            return (
                f"unknown {noun} {name!r}: no installed distribution provides any (tractor-core's own are "
                "found through its metadata: is it installed, or only on the path?)"
            )
        return f"unknown {noun} {name!r}: there is {', '.join(names)}"
