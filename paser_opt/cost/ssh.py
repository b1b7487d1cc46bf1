"""The way to a board: the system's ssh, one program piped to the board's Python, JSON lines back.

The user's own ssh configuration, keys, jump hosts and known hosts count; nothing is asked, and host keys are checked as
ever. Every way in which this fails is one DeviceError that names the mend.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import secrets
import shlex
import subprocess
import threading
import time
import zlib
from collections import deque
from typing import IO, Any, NamedTuple

from ..errors import ConfigError, DeviceError

__all__ = ["Connection", "Limits"]

_BOOTSTRAP = "import sys,zlib;exec(zlib.decompress(sys.stdin.buffer.read({size})))"
_CHUNK = 1 << 16
_NOISE = 1 << 20  # bytes that no greeting of a shell has
_STDERR_LINES = 40

_FAULTS = (
    ("HOST IDENTIFICATION HAS CHANGED",
     "its host key is another than the known one: if the board was set up anew, ssh-keygen -R {name}; if not, "
     "somebody may be in between"),
    ("Host key verification failed|host key is known",
     "its host key is not known here: ssh {host} by hand once, compare the fingerprint and accept it"),
    (r"Permission denied \(|Too many authentication failures",
     "accepts no key of this machine, and passwords are not asked for: ssh-copy-id {host}"),
    ("Could not resolve hostname",
     "no machine of that name is known: check the spelling, or give it a Host in ~/.ssh/config"),
    ("Connection refused", "has no ssh server on that port: sudo systemctl enable --now ssh, there"),
    ("No space left on device", "its disk is full: make room there (df -h)"),
    ("Fatal Python error",
     "its runtime crashed: a newer one may not (torch under 1.12 cannot read all that torch writes today; onnxruntime "
     "1.8 and newer can)"),
    ("Timeout, server|Connection reset|Broken pipe|closed by remote host|Connection closed|Connection to .* closed",
     "the connection was lost: the same command goes on from here once the board is back"),
    ("timed out|No route to host|Network is unreachable|Host is down",
     "does not answer: is it on, and in this network?"),
)  # fmt: skip
"""What ssh or the board's shell say → what to tell the user; first match counts."""

_ENDS = {
    126: "{python} may not be run there",
    127: 'has no {python}: sudo apt-get install python3 there, or name another as python = "…" in the device\'s TOML',
    137: "the measuring program was killed there, most likely for want of memory (dmesg says)",
    255: "the connection, or the measuring program there, was killed (for want of memory? dmesg says)",
}


class Limits(NamedTuple):
    """How long to wait, seconds: for the connection, for any sign of life, for a step of the work."""

    connect_s: int = 10
    silence_s: float = 60.0
    step_s: float = 1800.0


def _ssh() -> list[str]:
    """The command that is ssh. Raises ConfigError for one that cannot be read."""
    try:
        words = shlex.split(os.environ.get("PASER_OPT_SSH", "ssh"))
    except ValueError as error:
        raise ConfigError(f"PASER_OPT_SSH cannot be read as a command: {error}") from None
    return words or ["ssh"]


def _decoded(line: bytes) -> dict[str, Any]:
    """One message; what is none is the board's error."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    return message if isinstance(message, dict) else {"error": "answered what is no message: is it that board?"}


class Connection:
    """A program at work on ``host``; a context manager, at whose end nothing runs there any more.

    ``program`` is Python source that is run with ``MARK`` defined: what it prints behind that mark are messages.
    """

    def __init__(self, host: str, *, python: str, program: str, limits: Limits) -> None:
        self.host, self._python, self._limits = host, python, limits
        self._mark = secrets.token_hex(8)
        source = zlib.compress(f"MARK = {self._mark!r}\n{program}".encode())
        command = [
            *_ssh(), "-T", "-a", "-x",
            "-o", "BatchMode=yes", "-o", f"ConnectTimeout={limits.connect_s}",
            # Whatever the user's configuration adds for people at a terminal:
            "-o", "ControlMaster=no", "-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none",
            "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
            "--", host, f"exec {python} -B -c '{_BOOTSTRAP.format(size=len(source))}'",
        ]  # fmt: skip
        try:
            self._ssh = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                # A jump host's own ssh is not told of BatchMode: without a terminal it cannot ask either.
                start_new_session=True, env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},
            )  # fmt: skip
        except OSError as error:
            raise DeviceError(f"cannot start {command[0]} ({error.strerror}): install OpenSSH's client") from None
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(maxsize=4)
        self._complaints: deque[str] = deque(maxlen=_STDERR_LINES)
        self._heard, self._noise, self._noise_bytes = False, "", 0
        assert self._ssh.stdin and self._ssh.stdout and self._ssh.stderr
        self._threads = [
            threading.Thread(target=run, args=(pipe,), daemon=True)
            for run, pipe in (
                (self._write, self._ssh.stdin),
                (self._read, self._ssh.stdout),
                (self._listen, self._ssh.stderr),
            )
        ]
        for thread in self._threads:
            thread.start()
        self._send(source)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self._ssh.terminate()  # so that it ends its own connection, a jump host's too
        try:
            self._ssh.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()
        self._outgoing.put(None)

    def send(self, header: dict[str, Any], content: bytes = b"") -> None:
        """One frame: ``header`` as a JSON line, then ``content``, which is compressed already.

        Raises DeviceError when the board takes nothing any more.
        """
        self._send(json.dumps({**header, "size": len(content)}).encode() + b"\n" + content)

    def receive(self) -> dict[str, Any]:
        """The next message of the program. Raises DeviceError: its own error, silence, or the end of the connection."""
        since = time.monotonic()
        while time.monotonic() - since < self._limits.step_s:
            try:
                message = self._messages.get(timeout=self._limits.silence_s)
            except queue.Empty:
                raise self._silent() from None
            if message is None:
                raise self._ended()
            if "error" in message:
                raise self._error(str(message["error"]))
            if "alive" not in message:
                return message
        raise self._error(f"is alive, but has been at one step for {self._limits.step_s:.0f} s: is it hung?")

    # --- threads --------------------------------------------------------------------------------------

    def _write(self, pipe: IO[bytes]) -> None:
        while (chunk := self._outgoing.get()) is not None:
            with contextlib.suppress(OSError):  # the reader finds out why
                pipe.write(chunk)
                pipe.flush()
        with contextlib.suppress(OSError):
            pipe.close()

    def _read(self, pipe: IO[bytes]) -> None:
        mark = self._mark.encode()
        with contextlib.closing(pipe):
            while line := pipe.readline(_NOISE):
                if line.startswith(mark) and line.endswith(b"\n"):  # the last one may have been cut
                    self._heard = True
                    self._messages.put(_decoded(line[len(mark) :]))
                    continue
                self._noise = self._noise or line[:60].decode(errors="replace").strip()
                self._noise_bytes += len(line)
                if self._noise_bytes > _NOISE:
                    break
        self._messages.put(None)

    def _listen(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_CHUNK):
                if text := line.decode(errors="replace").strip():
                    self._complaints.append(text)

    # --- what went wrong ------------------------------------------------------------------------------

    def _send(self, content: bytes) -> None:
        for start in range(0, len(content), _CHUNK):
            try:
                self._outgoing.put(content[start : start + _CHUNK], timeout=self._limits.silence_s)
            except queue.Full:
                raise self._silent() from None

    def _silent(self) -> DeviceError:
        said = f" (it printed {self._noise!r})" if self._noise else ""
        return self._error(f"gave no sign of life for {self._limits.silence_s:.0f} s{said}")

    def _ended(self) -> DeviceError:
        if self._noise_bytes > _NOISE:
            return self._error(f"prints without end ({self._noise!r}): is it a start-up file of its shell?")
        try:
            code = self._ssh.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return self._error("stopped answering")
        self._threads[2].join(timeout=5)  # of stderr all has to be here
        last = self._complaints[-1] if self._complaints else self._noise
        words = self._fault("\n".join(self._complaints))
        if words is None and (self._heard or not last or code != 255):
            words = _ENDS.get(code)
        if words is None:
            words = f"ended with exit code {code}: {last or 'it said nothing'}"
        return self._error(words.replace("{python}", self._python))

    def _fault(self, said: str) -> str | None:
        return next((words for pattern, words in _FAULTS if re.search(pattern, said)), None)

    def _error(self, words: str) -> DeviceError:
        name = self.host.rpartition("@")[2]
        return DeviceError(f"{self.host}: {words.replace('{host}', self.host).replace('{name}', name)}")
