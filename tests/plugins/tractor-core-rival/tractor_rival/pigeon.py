"""A transport that needs an extra."""

from __future__ import annotations

import numpy  # type: ignore[import-not-found, unused-ignore]

from tractor_core.testing import MemTransport


class PigeonTransport(MemTransport):
    """As far as a pigeon flies."""

    schemes = ("pigeon",)
    endurance = numpy.inf


transport = PigeonTransport()
