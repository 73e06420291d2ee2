"""The containers of docker-compose.yml under a project name of their own, for the scripts and tests that use them.

Standard library only. `with Project("…") as project:` leaves nothing behind, on any way out.
"""

import contextlib
import json
import os
import re
import signal
import subprocess

from daemon import ROOT, Failure

EXECUTOR_IMAGE = os.environ.get("EXECUTOR_IMAGE") or "sandbox-executor"
MOCK_IMAGE = os.environ.get("MOCK_IMAGE") or "sandbox-executor-mock"
# The first Compose that knows systempaths=unconfined.
COMPOSE_WITH_SYSTEM_PATHS = (2, 15)

# bash is in the image and can open a connection; a client that it would need for this only is not.
ASK = 'exec 3<>/dev/tcp/127.0.0.1/8090; printf "GET %s HTTP/1.0\\r\\n\\r\\n" "$1" >&3; cat <&3'


class NotRun(Failure):
    """The machine lacks what this needs. A failure only where everything must run."""


def capture(*command, deadline_seconds=60):
    """What it printed. Raises Failure, with what it complained of, when it does not end with 0."""
    try:
        # docker-compose 1.29 looks for the profile from here, not from where its file is.
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=deadline_seconds)
    except FileNotFoundError:
        raise Failure(f"there is no {command[0]}; install it") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"`{' '.join(command)}` did not end within {deadline_seconds} s") from None
    if done.returncode != 0:
        raise Failure(f"`{' '.join(command)}` ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def works(*command):
    with contextlib.suppress(Failure):
        return capture(*command)
    return None


def find_compose():
    """The command, the files it is given, and its version."""
    files = ["docker-compose.yml"]
    if version := works("docker", "compose", "version", "--short"):
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        if numbers >= COMPOSE_WITH_SYSTEM_PATHS:
            files.append("deploy/compose.private-proc.yml")
        return ["docker", "compose"], files, version.strip()
    if version := works("docker-compose", "version", "--short"):
        return ["docker-compose"], files, version.strip()
    raise NotRun("there is neither `docker compose` nor `docker-compose`; install one of them")


def need_engine_and_images():
    if works("docker", "version") is None:
        raise NotRun("there is no Docker engine to be reached: `docker version` fails. Start one, or name it with DOCKER_HOST")
    for image in (EXECUTOR_IMAGE, MOCK_IMAGE):
        if works("docker", "image", "inspect", image) is None:
            raise Failure(f"there is no image {image}; build it with `make image`")


class Project:
    """The control plane, and one executor or several, which `more_files` must allow."""

    def __init__(self, name, *more_files, executors=1):
        command, files, self.version = find_compose()
        self.name = f"sandbox-executor-{name}-{os.getpid()}"
        self.files = [*files, *more_files]
        self.scale = executors
        self.compose_command = [*command, "--project-name", self.name]
        for file in self.files:
            self.compose_command += ["--file", str(ROOT / file)]

    def compose(self, *arguments, deadline_seconds=120):
        return capture(*self.compose_command, *arguments, deadline_seconds=deadline_seconds)

    def __enter__(self):
        try:
            self.compose("up", "--detach", "--no-build", "--scale", f"executor={self.scale}")
            self.executors = self.compose("ps", "--quiet", "executor").split()
            self.control_plane = self.compose("ps", "--quiet", "control-plane").strip()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_exception):
        self.down()

    def down(self):
        # Once more Ctrl-C would leave containers behind.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.compose("down", "--volumes", "--timeout", "5")
        finally:
            signal.signal(signal.SIGINT, before)

    def seen(self):
        """The control plane's lines: one for each call."""
        return capture("docker", "logs", self.control_plane)

    def ask_control_plane(self, path):
        answer = capture("docker", "exec", self.control_plane, "bash", "-c", ASK, "ask", path)
        # Read as text: its line ends are plain.
        return json.loads(answer.partition("\n\n")[2])


def log_end(container):
    done = subprocess.run(["docker", "logs", "--tail", "15", container], capture_output=True, text=True)
    return done.stdout + done.stderr


def running(container):
    return capture("docker", "inspect", "--format", "{{.State.Running}}", container).strip() == "true"
