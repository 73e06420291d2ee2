"""Runs a runner the way a sandbox would, but without one: two pipes, a workspace, a folder for the code.

Never shares a folder between two runs, and leaves neither process nor folder behind.
"""

import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

RUNTIMES = pathlib.Path(__file__).resolve().parents[2] / "crates/sandbox/src/runtimes"
PYTHON = ["/usr/bin/python3", "-I", "-B", str(RUNTIMES / "python/runner.py")]
NODE = ["/usr/bin/node", str(RUNTIMES / "javascript/runner.cjs")]
DEADLINE_SECONDS = 20

sys.setrecursionlimit(20_000)  # deep results are parsed here too


def frame(payload):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return len(data).to_bytes(4, "big") + data


def read_frames(fd):
    with open(fd, "rb") as pipe:
        while head := pipe.read(4):
            yield pipe.read(int.from_bytes(head, "big"))


def stops(pid):
    """Whether a child stops itself, or ends."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT | os.WNOHANG)
        if seen is not None:
            return seen.si_code == os.CLD_STOPPED
        time.sleep(0.001)
    return False


class Run:
    """One job in one runner. `frames` are the raw frames, `types` what they were; `last` is the fourth, if any. `rested`: it stopped
    itself instead of ending, as it may with `may_rest`, and was killed."""

    def __init__(
        self,
        command,
        code,
        event=None,
        mode="handler",
        raw_event=None,
        stdin=b"",
        workspace=None,
        boot_env=None,
        slow_stdout=0,
        preexec_fn=None,
        **job,
    ):
        self.workspace = pathlib.Path(tempfile.mkdtemp(prefix="runner-test-"))
        self.code_dir = pathlib.Path(tempfile.mkdtemp(prefix="runner-code-"))
        self.workspace.chmod(0o777)  # some tests give up being root
        self.code_dir.chmod(0o777)
        for name, content in (workspace or {}).items():
            (self.workspace / name).parent.mkdir(parents=True, exist_ok=True)
            (self.workspace / name).write_text(content)
        job = {
            "type": "job",
            "execution_id": "exec_test",
            "mode": mode,
            "code": code,
            "event": event,
            "env": {},
            "files": [],
            "deadline_ms": int(time.time() * 1000) + 5_000,
            "timeout_ms": 5_000,
            "max_result_bytes": 1 << 20,
            "memory_bytes": 512 << 20,
            **job,
        }
        text = json.dumps(job)
        if raw_event is not None:
            text = text.replace('"event": null', '"event": ' + raw_event, 1)
        env = {
            "PATH": os.defpath,
            "HOME": "/tmp",
            "TMPDIR": "/tmp",
            "LANG": "C.UTF-8",
            "SANDBOX_CODE_DIR": str(self.code_dir),
            **(boot_env or {}),
        }
        try:
            self._run(command, text.encode(), env, stdin, slow_stdout, preexec_fn, job.get("may_rest"))
            self.files = {
                str(p.relative_to(self.workspace)): p.read_bytes() for p in self.workspace.rglob("*") if p.is_file()
            }
        finally:
            shutil.rmtree(self.workspace)
            shutil.rmtree(self.code_dir)

    def _run(self, command, job, env, stdin, slow_stdout, preexec_fn, may_rest):
        job_read, job_write = os.pipe()
        report_read, report_write = os.pipe()
        if os.getuid() == 0:
            os.fchown(job_read, 65534, -1)  # node opens its pipes anew, as whoever the test makes it
            os.fchown(report_write, 65534, -1)
        process = subprocess.Popen(
            [*command, str(job_read), str(report_write)],
            cwd=self.workspace,
            env=env,
            pass_fds=(job_read, report_write),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=preexec_fn,
        )
        os.close(job_read)
        os.close(report_write)
        self.frames = []
        reader = threading.Thread(target=lambda: self.frames.extend(read_frames(report_read)))
        reader.start()
        try:
            with open(job_write, "wb") as pipe:
                pipe.write(frame(job))
        except BrokenPipeError:
            pass
        time.sleep(slow_stdout)
        self.rested = bool(may_rest) and stops(process.pid)
        if self.rested:
            process.kill()
        try:
            stdout, stderr = process.communicate(stdin, timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        reader.join(DEADLINE_SECONDS)
        self.exit_code = process.returncode
        self.stdout, self.stderr = stdout.decode(errors="replace"), stderr.decode(errors="replace")
        self.types = [json.loads(f)["type"] for f in self.frames]
        self.last = json.loads(self.frames[2]) if len(self.frames) > 2 else None

    def __repr__(self):
        return f"exit code {self.exit_code}, frames {self.frames}\nstdout: {self.stdout}\nstderr: {self.stderr}"

    def code_path(self, name):
        return str(self.code_dir / name)


def not_root():
    """Limits on processes bind no one who is root."""
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def without_processes():
    not_root()  # in this order, or the kernel refuses the exec
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


class RunnerTest(unittest.TestCase):
    """What the tests of both languages claim. `command` names the runner."""

    command = None
    maxDiff = None

    def run_job(self, code, *args, **options):
        return Run(self.command, code, *args, **options)

    def returns(self, value, code, *args, **options):
        run = self.run_job(code, *args, **options)
        self.assertEqual(run.types, ["ready", "started", "result"], run)
        self.assertEqual(run.last["value"], value, run)
        self.assertEqual(run.exit_code, 0, run)
        return run

    def fails(self, kind, code, *args, said=(), limit=None, **options):
        run = self.run_job(code, *args, **options)
        self.assertEqual(run.types[-1], "error", run)
        self.assertEqual((run.last or json.loads(run.frames[-1]))["kind"], kind, run)
        self.assertEqual(json.loads(run.frames[-1]).get("limit"), limit, run)
        self.assertEqual(run.exit_code, 1, run)
        for text in [said] if isinstance(said, str) else said:
            self.assertIn(text, run.stderr)
        self.assertNotIn("runner.", run.stderr)
        return run

    def is_script(self, code, *args, exit_code=0, **options):
        """The program ends by itself, and the runner has nothing to add."""
        options.setdefault("mode", "script")
        run = self.run_job(code, *args, **options)
        self.assertEqual(run.types, ["ready", "started"], run)
        self.assertEqual(run.exit_code, exit_code, run)
        return run
