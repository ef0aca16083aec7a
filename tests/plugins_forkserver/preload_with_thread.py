"""A module that must not be preloaded: importing it starts a thread."""

from __future__ import annotations

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
