"""Three executors behind one control plane, one of them killed under load: no accepted execution is unaccounted for.

It brings up docker-compose.yml with deploy/compose.many-executors.yml, and takes it down again on any way out.
"""

import collections
import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "scripts"))
import compose
import engine

EXECUTORS = 3
# Per executor. Two run at once, half a second each, and ten wait: it has more to do than it can from the first second on.
WAITING, LEAVING = 16, 32
READY_SECONDS = 60
DELIVERED_SECONDS = 60


def setUpModule():
    # SIGTERM unwinds as Ctrl-C does, so that nothing is left behind.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    unittest.addModuleCleanup(signal.signal, signal.SIGTERM, before)
    engine.need_image()
    try:
        compose.need_engine_and_images()
        compose.find_compose()
    except compose.Failure as reason:
        engine.not_run(reason)


class Caller:
    """tests/container/caller.py in a container of its own, beside the executors, whose network leads nowhere else."""

    def __init__(self, project, hosts):
        self.name = f"{project.name}-caller"
        flags = ["--rm", "--name", self.name, "--network", f"{project.name}_callbacks", "--read-only", "--cap-drop=ALL"]
        self.command = ["docker", "run", *flags, "--entrypoint=python3", engine.IMAGE, "-c", (HERE / "caller.py").read_text()]
        self.command += [str(WAITING), str(LEAVING), *hosts]
        self.told = {}
        self.lines = queue.Queue()

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        return self

    def read(self):
        with self.process.stdout:
            for line in self.process.stdout:
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def __exit__(self, *_exception):
        # It has gone by itself if it has done everything.
        engine.docker("rm", "--force", self.name)
        self.process.wait()
        self.reader.join()

    def listen(self, until=lambda: False, deadline_seconds=150):
        """Takes in what was told, up to the moment when `until` holds, or to the end."""
        deadline = time.monotonic() + deadline_seconds
        while not until():
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the caller said nothing more within {deadline_seconds} s") from None
            if line is None:
                return
            self.told[line["execution_id"]] = line

    def of(self, host, *words):
        return [each for each in self.told.values() if each["executor"] == host and each["told"] in words]


def ready_calls(project):
    calls = project.ask_control_plane("/journal?kind=ready")
    return collections.Counter(call["body"]["container_id"] for call in calls if call["accepted"])


def accepted_results(project):
    """For each execution, the results that the control plane took; a second one is what must not be."""
    results = collections.defaultdict(list)
    for call in project.ask_control_plane("/journal?kind=result"):
        if call["accepted"]:
            results[call["execution_id"]].append(call["body"]["status"])
    return results


def journal_is_empty(container):
    """Nothing runs there, nothing waits to be delivered, nothing was set aside."""
    return json.loads(compose.capture("docker", "exec", container, "sandbox-executor", "outbox", "list", "--json")) == []


class ThreeExecutors(unittest.TestCase):
    def wait_until_ready(self, project, times):
        engine.wait_until(lambda: ready_calls(project) == times, f"ready calls {times}", READY_SECONDS)

    def test_no_accepted_execution_is_unaccounted_for_when_one_of_three_is_killed(self):
        # Not with addCleanup, which Ctrl-C passes by.
        with compose.Project("three", "deploy/compose.many-executors.yml", executors=EXECUTORS) as project:
            # By the name that each has in the network and in its ready call.
            containers = {container[:12]: container for container in project.executors}
            self.wait_until_ready(project, dict.fromkeys(containers, 1))
            with Caller(project, containers) as caller:
                victim = self.kill_one_under_load(project, containers, caller)
            for container in containers.values():
                engine.wait_until(lambda: journal_is_empty(container), f"everything of {container[:12]} delivered", DELIVERED_SECONDS)
            self.account(caller.told, accepted_results(project), victim)
            self.assertEqual(project.ask_control_plane("/violations"), [])

    def kill_one_under_load(self, project, containers, caller):
        """Which one it was. It has been started again, and the callers have been told something of everything."""
        victim, *others = containers
        of, listen = caller.of, caller.listen
        listen(until=lambda: len(of(victim, "accepted")) >= 8 and of(victim, "answered"))
        engine.docker("kill", "--signal=KILL", containers[victim])
        self.assertFalse(compose.running(containers[victim]))

        # Its neighbours go on meanwhile.
        enough = {other: len(of(other, "accepted", "answered")) + 5 for other in others}
        listen(until=lambda: all(len(of(other, "accepted", "answered")) >= enough[other] for other in others))
        started = engine.docker("start", containers[victim])
        self.assertEqual(started.returncode, 0, started.stderr)
        self.wait_until_ready(project, {victim: 2} | dict.fromkeys(others, 1))
        listen()
        return victim

    def account(self, told, results, victim):
        self.assertEqual(len(told), EXECUTORS * (WAITING + LEAVING))
        self.assertEqual([each for each in told.values() if each["told"] not in ("accepted", "answered", "unknown")], [])
        # The promise: one result for each that somebody was told of, and none that nobody asked for.
        for execution_id, each in told.items():
            statuses = results.get(execution_id, [])
            if each["told"] == "accepted":
                self.assertIn(statuses, (["success"], ["crashed"]), each)
            elif each["told"] == "answered":
                self.assertEqual(statuses, [each["status"]], each)
            else:
                self.assertIn(statuses, ([], ["success"], ["crashed"]), each)
        self.assertLessEqual(set(results), set(told))
        # And it was put to the test: the victim died at work and works again, and nobody else was harmed.
        crashed = {told[execution_id]["executor"] for execution_id, statuses in results.items() if statuses == ["crashed"]}
        self.assertEqual(crashed, {victim})
        unknown = [each["executor"] for each in told.values() if each["told"] == "unknown"]
        self.assertLessEqual(set(unknown), {victim})
        statuses = collections.Counter(status for each in results.values() for status in each)
        print(f"{len(told)} executions, {len(unknown)} answers lost, results: {dict(statuses)}", flush=True)


if __name__ == "__main__":
    unittest.main()
