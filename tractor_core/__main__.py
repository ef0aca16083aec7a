"""``python -m tractor_core``: the same as the command ``tractor-core``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
