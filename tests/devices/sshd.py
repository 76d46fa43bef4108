"""A throw-away ssh server on 127.0.0.1, with keys of its own, that leads every command where a test wants it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)


def missing() -> str:
    """Why there can be none; empty where there can."""
    if SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return "no ssh server here: apt-get install openssh-server openssh-client"
    return "" if os.geteuid() == 0 or os.access("/run/sshd", os.X_OK) else "sshd needs /run/sshd"


@dataclass(frozen=True)
class Server:
    """Where it listens, and what a client needs to get in. `command` is the script that runs what is asked for."""

    port: int
    options: tuple[str, ...]
    command: Path
    folder: Path

    @property
    def address(self) -> str:
        """ssh://127.0.0.1:PORT."""
        return f"ssh://127.0.0.1:{self.port}"

    def leads_to(self, script: str) -> None:
        """Runs this for every command from now on; the command is $SSH_ORIGINAL_COMMAND."""
        self.command.write_text(f"#!/bin/sh\n{script}\n")
        self.command.chmod(0o755)


@contextmanager
def sshd(folder: Path) -> Iterator[Server]:
    """A server until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = folder / "command"
    config = folder / "config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"ForceCommand {command}\nLogLevel ERROR\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([str(SSHD), "-D", "-f", str(config), "-E", str(folder / "log")])
    try:
        _wait(port)
        options = (
            f"IdentityFile={folder / 'user'}", "IdentitiesOnly=yes", "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={folder / 'known'}", "LogLevel=ERROR",
        )  # fmt: skip
        server = Server(port, options, command, folder)
        server.leads_to('exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
        yield server
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the ssh server did not start")
