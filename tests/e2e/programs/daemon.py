"""``python -m programs.daemon REGISTRY``: serves until it is told to stop."""

from __future__ import annotations

import sys

from programs import endpoints

import tractor_core as tractor

if __name__ == "__main__":
    tractor.run_daemon([endpoints.MODULE], name="daemon", registry_addrs=[sys.argv[1]])
    print("returned", flush=True)
