"""Value types of the runtime are frozen ``msgspec.Struct``s: a tenth of a dataclass's time to define."""

from __future__ import annotations

import msgspec


def repr_without(struct: msgspec.Struct, *hidden: str) -> str:
    """``repr()`` of a struct without the fields that hold secrets."""
    shown = (f"{name}={getattr(struct, name)!r}" for name in struct.__struct_fields__ if name not in hidden)
    return f"{type(struct).__name__}({', '.join(shown)})"
