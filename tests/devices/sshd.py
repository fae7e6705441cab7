"""A real sshd on 127.0.0.1 with throw-away keys, whose logins land in a folder of the test's."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from feredge.devices.ssh import Address


def find() -> str | None:
    """Return the path of an installed sshd."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Server:
    """A running sshd, and what a client needs to be let in."""

    folder: Path
    home: Path
    process: subprocess.Popen[bytes]
    address: Address
    options: tuple[str, ...]

    def drop(self) -> None:
        """End every connection, as a network that goes away does."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)

    def close(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.wait()


def start(program: str, folder: Path, *, home: Path | None = None, inside: str = "", more: str = "") -> Server:
    """Start a server that keeps its keys in `folder`.

    Args:
        home: where logins land; a new folder in `folder` if not given.
        inside: what `home` is called where logins see another root.
        more: further lines of its configuration.
    """
    home = home or folder / "home"
    home.mkdir(exist_ok=True)
    seen = inside or str(home)
    for name in ("host", "user"):
        make_key(folder / name)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd asks for it, and nothing else made it
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp -d {seen}\n{more or f'SetEnv HOME={seen}'}\n"
    )
    process = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL)
    trust(folder / "known_hosts", port, folder / "host.pub")
    options = (
        f"IdentityFile={folder}/user",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        f"UserKnownHostsFile={folder}/known_hosts",
        "GlobalKnownHostsFile=/dev/null",
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    return Server(folder, home, process, Address("127.0.0.1", os.environ.get("USER", "root"), port), options)


def make_key(path: Path) -> None:
    """Write a key pair without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def trust(known_hosts: Path, port: int, key: Path) -> None:
    """Write which key the server is known by."""
    known_hosts.write_text(f"[127.0.0.1]:{port} {key.read_text()}")
