"""Starts a release daemon on a free loopback port with directories of its own, and ends it again by its process id.

Used by the scripts beside it; standard library only. `with Daemon() as daemon:` leaves nothing behind, on any way out.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_DEADLINE_SECONDS = 20
STOP_DEADLINE_SECONDS = 10


class Failure(Exception):
    """Something is not as promised: one sentence for the person who started the script."""


def binary():
    """The release build, wherever cargo was told to put it."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or "target")
    path = ROOT / target / "release" / "sandbox-executor"
    if not path.exists():
        raise Failure(f"there is no {path}; build it with `cargo build --release -p executor`")
    return path


def stop_signals_as_exceptions():
    """SIGTERM unwinds like Ctrl-C does, so that everything started is ended."""

    def leave(number, _frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Daemon:
    """One daemon. `settings` are environment variables of docs/configuration.md, on top of port and directories."""

    def __init__(self, **settings):
        self.binary = binary()
        self.settings = settings
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.process = None
        self.directory = None

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="sandbox-executor-"))
        # Started as root the daemon becomes uid 1000, which must get through to its directories.
        self.directory.chmod(0o755)
        try:
            self.start()
            self.wait_until_ready()
        except BaseException:
            self.clean_up()
            raise
        return self

    def __exit__(self, *_exception):
        self.clean_up()

    def start(self):
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "EXECUTOR_HOST": HOST,
            "EXECUTOR_PORT": str(self.port),
            "WORKSPACE_PATH": str(self.directory / "workspace"),
            "SESSIONS_PATH": str(self.directory / "sessions"),
            "RESULTS_DIR": str(self.directory / "results"),
            **{name: str(value) for name, value in self.settings.items()},
        }
        for name in ("workspace", "sessions", "results"):
            (self.directory / name).mkdir()
        with open(self.directory / "daemon.log", "wb") as log:
            self.process = subprocess.Popen(
                [self.binary], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_until_ready(self):
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"the daemon ended with {self.process.returncode} instead of serving:\n{self.log_tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", "/health/ready", deadline_seconds=2)[0] == 200:
                    return
            time.sleep(0.01)
        raise Failure(f"the daemon was not ready within {START_DEADLINE_SECONDS} s:\n{self.log_tail()}")

    def call(self, method, path, body=None, deadline_seconds=60):
        """Status and body of one request; JSON both ways."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=deadline_seconds)
        with contextlib.closing(connection):
            payload = None if body is None else json.dumps(body)
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, body=payload, headers=headers)
            response = connection.getresponse()
            text = response.read()
            if response.headers.get_content_type().endswith("json"):
                return response.status, json.loads(text)
            return response.status, text.decode(errors="replace")

    def log_tail(self, lines=15):
        log = self.directory / "daemon.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"

    def stop(self):
        """SIGTERM, and what it ended with. Raises Failure when it had to be killed."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure(f"the daemon did not end within {STOP_DEADLINE_SECONDS} s of SIGTERM and was killed") from None

    def clean_up(self):
        try:
            if self.process is not None:
                self.stop()
        finally:
            remove_tree(self.directory)


def remove_tree(directory):
    """Programs may have left directories that their owner cannot enter; opens them first."""

    def open_and_retry(function, path, _error):
        with contextlib.suppress(OSError):
            for closed in (os.path.dirname(path), path):
                if not os.path.islink(closed):
                    os.chmod(closed, stat.S_IRWXU)
            function(path)

    # The older name of the hook went out of use with Python 3.12; its third argument is not looked at.
    hook = "onexc" if sys.version_info >= (3, 12) else "onerror"
    shutil.rmtree(directory, **{hook: open_and_retry})
    if directory.exists():
        print(f"could not remove {directory}; remove it by hand", file=sys.stderr)
