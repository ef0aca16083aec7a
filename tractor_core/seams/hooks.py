"""The marker with which a plugin declares its hook implementations."""

from __future__ import annotations

import pluggy

#: pluggy's project name: the one that the plugin manager and every marker agree on.
PROJECT = "tractor_core"

hookimpl = pluggy.HookimplMarker(PROJECT)
