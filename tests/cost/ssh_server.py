"""A real sshd on this machine, run as whoever runs the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

__all__ = ["Server", "needs_sshd", "until"]

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(
    not (SSHD and shutil.which("ssh") and shutil.which("ssh-keygen")), reason="needs OpenSSH (openssh-server)"
)


class Server:
    """An sshd on a free port that knows one key; ``ssh`` is the command that reaches it as "board"."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ssh = folder, f"ssh -F {folder}/config"
        self.home, self.tmp = folder / "home", folder / "tmp"
        for path in (self.home, self.tmp):
            path.mkdir()
        for name in ("host", "other", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, *, host_key: str | None = "host", user_key: str = "user", name: str = "127.0.0.1") -> None:
        """The user's side: which keys are known and used."""
        known = f"[127.0.0.1]:{self.port} {(self.folder / f'{host_key}.pub').read_text()}" if host_key else ""
        (self.folder / "known").write_text(known)
        (self.folder / "config").write_text(
            f"Host board\n HostName {name}\n Port {self.port}\n User {getpass.getuser()}\n"
            f" IdentityFile {self.folder}/{user_key}\n IdentitiesOnly yes\n UserKnownHostsFile {self.folder}/known\n"
            f" GlobalKnownHostsFile none\n"
        )

    def start(self, *lines: str, **environment: object) -> None:
        """The board's side: lines of sshd_config, and variables of its sessions."""
        variables = {"HOME": self.home, "TMPDIR": self.tmp, "OMP_NUM_THREADS": 1, **environment}
        (self.folder / "sshd").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nPidFile none\nUsePAM no\n"
            f"StrictModes no\nAuthorizedKeysFile {self.folder}/user.pub\n"
            f"SetEnv {' '.join(f'{key}={value}' for key, value in variables.items())}\n" + "\n".join(lines)
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd run by root wants it
        assert SSHD
        self.process = subprocess.Popen([SSHD, "-D", "-f", self.folder / "sshd", "-E", self.folder / "log"])
        until(lambda: socket.socket().connect_ex(("127.0.0.1", self.port)) == 0)

    def agents(self) -> list[psutil.Process]:
        """Python at work for a session."""
        if self.process is None:
            return []
        return [one for one in psutil.Process(self.process.pid).children(recursive=True) if "python" in one.name()]

    def sessions(self) -> list[psutil.Process]:
        assert self.process
        return psutil.Process(self.process.pid).children()

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
