"""The endpoints and the stock client of the WebSocket transport serve here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "transports_websocket"))
