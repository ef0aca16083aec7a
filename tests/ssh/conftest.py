"""An SSH server of each module's own, on loopback, and the backend installed as a distribution."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from registries import free_port
from tools import need

BACKEND = Path(__file__).resolve().parent.parent.parent / "examples" / "ssh_backend"


@dataclass
class Server:
    """A running sshd, and what leads to it."""

    process: subprocess.Popen[bytes]
    ssh_options: list[str]

    @property
    def spawn_options(self) -> dict[str, Any]:
        """For actors that find the endpoints of these tests over there."""
        return {
            "host": "127.0.0.1",
            "python": sys.executable,
            "path": [str(Path(__file__).parent)],
            "ssh_options": self.ssh_options,
        }

    def sessions(self) -> list[int]:
        """The server's processes that serve one connection each, or a part of it; the youngest last."""
        found, parents = [], {self.process.pid}
        for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            name, fields = stat.partition("(")[2].rpartition(")")[0], stat.rpartition(")")[2].split()
            if int(fields[1]) in parents and name.startswith("sshd"):
                parents.add(pid)
                found.append(pid)
        return found


# Not longer: tests of other rooms may follow in any order, and ask for the children of this process.
@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    sshd, _ = need("sshd", package="openssh-server"), need("ssh", package="openssh-client")
    keygen = need("ssh-keygen", package="openssh-client")
    directory = tmp_path_factory.mktemp("sshd")
    for name in ("host_key", "user_key"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    if os.geteuid() == 0:
        # Compiled into the server, which otherwise refuses to start as root.
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    port = free_port()
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {directory}/host_key\n"
        f"AuthorizedKeysFile {directory}/user_key.pub\n"
        f"PidFile {directory}/sshd.pid\n"
        "StrictModes no\n"
        "UsePAM no\n"
        "PermitRootLogin yes\n"
        "PasswordAuthentication no\n"
        "MaxStartups 100\n"
        "AcceptEnv none\n"
        "PrintMotd no\n"
        "UseDNS no\n"
        "KexAlgorithms curve25519-sha256\n"
    )
    process = subprocess.Popen([sshd, "-D", "-E", directory / "log", "-f", directory / "sshd_config"])
    try:
        _wait_until_it_listens(process, port, directory / "log")
        yield Server(
            process,
            [
                *("-F", "none", "-p", str(port), "-i", f"{directory}/user_key", "-oIdentitiesOnly=yes"),
                *(f"-oUserKnownHostsFile={directory}/known_hosts", "-oStrictHostKeyChecking=accept-new"),
                "-oLogLevel=ERROR",
            ],
        )
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def unused_port() -> int:
    """A port of loopback on which nothing listens."""
    return free_port()


@pytest.fixture
def meeting(unused_port: int) -> str:
    """The URL of a registry that nobody else uses."""
    return f"tcp://127.0.0.1:{unused_port}"


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"sshd did not come up:\n{log.read_text()}", pytrace=False)


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the backend as pip installs it: its entry point is how it is found."""
    target = tmp_path_factory.mktemp("tractor-core-ssh")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--target", str(target))
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(BACKEND)], check=True)
    return target


@pytest.fixture
def far(server: Server, distribution: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What start_actor() takes for an actor behind the server."""
    monkeypatch.syspath_prepend(str(distribution))
    return {"start_method": "ssh", "spawn_options": server.spawn_options}
