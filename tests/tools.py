"""What several rooms use: above all the programs of the system that some tests drive.

Where one is missing its tests are skipped, and say so; where TESTS_NEED_ALL is set, as ``.ci/run`` does
after installing them, they fail instead, so that nothing is left out unseen.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from typing import NoReturn

import pytest


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


#: Marks what goes over IPv6, which containers and kernels may be without.
needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


def title(value: object) -> str:
    """A parameter as its test's name has it: without addresses, for all processes must name a test alike."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def need(program: str, *, package: str) -> str:
    """The path of ``program``; without it the test is skipped, or fails where all tools are promised."""
    # sshd and ip live where only an administrator's PATH looks.
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        lack(f"{program} is not installed (Debian: apt-get install {package})")
    return path


def lack(reason: str) -> NoReturn:
    """Leave the test out for ``reason``, or fail it where all tools are promised."""
    if os.environ.get("TESTS_NEED_ALL"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
