"""The container as docs/deployment.md says it is started, for the tests beside this file. Standard library only.

Without a Docker engine or the image the tests say "not run", and fail where EXECUTOR_TESTS_MUST_RUN=1.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = os.environ.get("EXECUTOR_IMAGE") or "sandbox-executor"
PROFILE = ROOT / "deploy" / "seccomp.json"

# What every way of starting it has: docs/deployment.md says what each is for.
BARE = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
WORKSPACE = "--tmpfs=/workspace:exec,size=64m,uid=1000,gid=1000,mode=0755"
STATE = "--tmpfs=/var/lib/sandbox-executor:exec,size=64m,uid=1000,gid=1000,mode=0700"
LEAST = [*BARE, WORKSPACE, STATE]
UNMASKED = "--security-opt=systempaths=unconfined"


def seccomp(path=PROFILE):
    return f"--security-opt=seccomp={path}"


def docker(*arguments, text=None, deadline_seconds=60):
    return subprocess.run(["docker", *arguments], input=text, capture_output=True, text=True, timeout=deadline_seconds)


def need_image():
    """Call it in setUpModule."""
    reason = None
    try:
        if docker("version").returncode != 0:
            reason = "there is no Docker engine to be reached"
        elif docker("image", "inspect", IMAGE).returncode != 0:
            reason = f"there is no image {IMAGE}; build it with `make image`"
    except FileNotFoundError:
        reason = "there is no docker command"
    if reason is not None:
        not_run(reason)


def need_program(name):
    """Call it in setUpModule, for what no machine need have: without it that is "not run", even where everything must run."""
    if not shutil.which(name):
        print(f"not run: there is no {name}", flush=True)
        raise unittest.SkipTest(f"there is no {name}")


def wait_until(holds, what, deadline_seconds):
    deadline = time.monotonic() + deadline_seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {deadline_seconds} s")
        time.sleep(0.1)


def not_run(reason):
    print(f"not run: {reason}", flush=True)
    if os.environ.get("EXECUTOR_TESTS_MUST_RUN") == "1":
        raise AssertionError(f"{reason}, and EXECUTOR_TESTS_MUST_RUN=1 wants everything run")
    raise unittest.SkipTest(reason)


def doctor(*flags, start=LEAST):
    """Whether the daemon would start, and everything doctor says."""
    done = docker("run", "--rm", "--network=none", *start, *flags, IMAGE, "doctor")
    return done.returncode == 0, done.stdout + done.stderr


class Container:
    """A daemon in a container without a network, ready. Its client runs inside."""

    def __init__(self, *flags, image=IMAGE):
        self.flags = [*LEAST, *flags]
        self.image = image

    def __enter__(self):
        started = docker("run", "--detach", "--network=none", *self.flags, self.image)
        if started.returncode != 0:
            raise AssertionError(started.stderr)
        self.id = started.stdout.strip()
        try:
            self.wait_until_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        docker("rm", "--force", "--volumes", self.id)

    def wait_until_healthy(self, deadline_seconds=20):
        deadline = time.monotonic() + deadline_seconds
        while docker("exec", self.id, "sandbox-executor", "health").returncode != 0:
            if time.monotonic() > deadline or not self.state()["Running"]:
                raise AssertionError(f"not healthy within {deadline_seconds} s; its log:\n{self.log()}")
            time.sleep(0.1)

    def health(self):
        return json.loads(docker("exec", self.id, "sandbox-executor", "health").stdout)

    def run(self, language, code):
        """The whole answer to one execution."""
        done = docker("exec", "--interactive", self.id, "sandbox-executor", "exec", "--url=http://127.0.0.1:8080",
                      f"--language={language}", "--json", "-", text=code)
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(done.stdout)
        raise AssertionError(f"no answer: {done.stdout}{done.stderr}")

    def state(self):
        return json.loads(docker("inspect", self.id).stdout)[0]["State"]

    def log(self):
        done = docker("logs", self.id)
        return done.stdout + done.stderr
