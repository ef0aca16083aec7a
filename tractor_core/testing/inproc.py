"""The spawn backend ``inproc``: actors as tasks of the trio run that starts them, for tests in virtual time.

See :mod:`tractor_core.app.inproc`.
"""

from __future__ import annotations

from tractor_core.app.inproc import InprocBackend

#: What the entry point names.
backend = InprocBackend()
