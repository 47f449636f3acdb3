"""A PostgreSQL server of a test's own."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "p@ss/word"
QUOTED = "p%40ss%2Fword"
NOBODY = {"user": "nobody"} if os.geteuid() == 0 else {}  # the server refuses to run as root


@contextmanager
def a_postgresql_server() -> Iterator[str]:
    """The address of an empty database, until the end. Skips the test where the server is not installed."""
    config = shutil.which("pg_config")
    found = config and subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
    if not found or not (bin := Path(found) / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        secret = Path(folder) / "password"
        secret.write_text(PASSWORD)
        if NOBODY:
            shutil.chown(folder, **NOBODY)
            shutil.chown(secret, **NOBODY)

        def run(*words: str | Path) -> None:
            subprocess.run(
                [bin.parent / words[0], *words[1:]], cwd=folder, stdout=subprocess.DEVNULL, check=True, **NOBODY
            )

        run("initdb", "-D", "data", "-U", "me", "-A", "password", "--pwfile", secret.name)
        listening = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", listening, "start")
        try:
            yield f"postgresql+psycopg://me:{QUOTED}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")
