"""A real sshd on 127.0.0.1 with temporary keys, whose logins have a temporary home."""

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
    """A running sshd, and what a client needs to log in."""

    folder: Path
    home: Path
    process: subprocess.Popen[bytes]
    address: Address
    options: tuple[str, ...]

    def drop(self) -> None:
        """End every connection, as a network failure does."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)

    def close(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.wait()


def start(
    program: str, folder: Path, *, home: Path | None = None, chroot_home: str = "", extra_config: str = ""
) -> Server:
    """Start a server that keeps its keys in `folder`.

    Args:
        home: the logins' home; a new folder in `folder` if not given.
        chroot_home: path of `home` for logins in a chroot.
        extra_config: further lines of its configuration.
    """
    home = home or folder / "home"
    home.mkdir(exist_ok=True)
    login_home = chroot_home or str(home)
    for name in ("host", "user"):
        make_key(folder / name)
    with socket.socket() as free_socket:
        free_socket.bind(("127.0.0.1", 0))
        port = free_socket.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd requires it
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp -d {login_home}\n"
        f"{extra_config or f'SetEnv HOME={login_home}'}\n"
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
    """Write the server's public key as a known host's."""
    known_hosts.write_text(f"[127.0.0.1]:{port} {key.read_text()}")
