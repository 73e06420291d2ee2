"""Every panel of deploy/grafana shows something of a real run: docker-compose.yml brings executor and control plane up, programs run,
a Prometheus scrapes, and each query of the dashboard is put to it, with what must be in the answer.

It takes prometheus (Debian: prometheus); without it that is "not run".
"""

import contextlib
import json
import math
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "scripts"))
import compose
import engine

DASHBOARD = engine.ROOT / "deploy" / "grafana" / "sandbox-executor.json"
SCRAPE_SECONDS = 1
# Grafana takes four scrapes for a rate; here all that the test does is within it.
RATE_INTERVAL = "5m"
DEADLINE_SECONDS = 60

# Each end that a panel tells apart, and something of all that is counted.
PROGRAMS = [
    (("success", "exit"), "python", "def handler(event):\n    open('left.txt', 'w').write('x' * 1000)\n    return 42", ()),
    (("success", "exit"), "javascript", "exports.handler = () => 42", ()),
    (("success", "exit"), "shell", "echo out; echo err >&2; head -c 3000000 /dev/zero", ()),
    (("failed", "exit"), "shell", "exit 3", ()),
    (("failed", "exception"), "python", "def handler(event):\n    raise ValueError", ()),
    (("timeout", "wall_timeout"), "shell", "sleep 60", ("--timeout", "1")),
    (("error", "memory_limit"), "python", "def handler(event):\n    return len(b'x' * (1 << 30))", ()),
]
# What must be seen, where one look at the answer shows it: the labels of its series, or the number in its only one.
SHOWN = {
    "Executors": 1,
    "Waiting to run": 0,
    "Set aside": 0,
    "Ends per second": {("status", status) for (status, _), *_ in PROGRAMS},
    "Why they did not succeed": {("cause", "exit"), ("cause", "exception"), ("cause", "wall_timeout"), ("cause", "memory_limit")},
    "Where the time goes, seconds per execution": {
        ("phase", phase) for phase in ("queue", "prepare", "start", "run", "collect", "journal")
    },
    "Output per second": {("stream", "stdout"), ("stream", "stderr")},
    "Files left per second": {("change", "created")},
    "Refusals per second": {("error_code", "Executor.ValidationError")},
    "Calls per second": {("kind", "result"), ("kind", "heartbeat"), ("result", "accepted")},
    "Share of runs that end for their memory": {("language", "python")},
    "Runs that found one": {("language", language) for language in ("python", "javascript", "shell")},
}


def setUpModule():
    engine.need_program("prometheus")
    engine.need_image()
    try:
        compose.need_engine_and_images()
        compose.find_compose()
    except compose.Failure as reason:
        engine.not_run(reason)


def targets():
    """(title of the panel, query) of everything that the dashboard asks for."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
            yield panel["title"], query.replace("$job", ".*").replace("$instance", ".*")


class Prometheus(contextlib.AbstractContextManager):
    """Scrapes one executor, and answers queries."""

    def __init__(self, address):
        self.directory = tempfile.TemporaryDirectory()
        place = Path(self.directory.name)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        # JSON is YAML.
        (place / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s"},
            "scrape_configs": [{"job_name": "sandbox-executor", "static_configs": [{"targets": [address]}]}],
        }))
        flags = [f"--config.file={place / 'prometheus.yml'}", f"--storage.tsdb.path={place / 'data'}"]
        self.log = (place / "log").open("w+")
        self.process = subprocess.Popen(["prometheus", *flags, f"--web.listen-address={self.address}"],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def __exit__(self, *_exception):
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.directory.cleanup()

    def ask(self, query):
        """Each series of the answer: its labels, and its number now."""
        with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as answer:
            return [(set(each["metric"].items()), float(each["value"][1])) for each in json.load(answer)["data"]["result"]]

    def wait_until(self, query, holds):
        deadline, found = time.monotonic() + DEADLINE_SECONDS, None
        while True:
            with contextlib.suppress(OSError):
                if holds(found := self.ask(query)):
                    return found
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                raise AssertionError(f"{query}: {found} was not waited for. Prometheus said:\n{self.log.read()[-2000:]}")
            time.sleep(0.2)


class Dashboard(unittest.TestCase):
    def run_programs(self, executor):
        client = ["docker", "exec", "--interactive", executor, "sandbox-executor", "exec", "--url=http://127.0.0.1:8080"]
        for (status, cause), language, code, flags in PROGRAMS:
            done = subprocess.run([*client, f"--language={language}", "--json", *flags, "-"], input=code, capture_output=True,
                                  text=True, timeout=60)
            answer = json.loads(done.stdout)
            self.assertEqual((answer["status"], answer["cause"]), (status, cause), answer)
        refused = subprocess.run([*client, "--language=shell", "--timeout=1000000", "-"], input="true", capture_output=True, text=True,
                                 timeout=60)
        self.assertNotEqual(refused.returncode, 0, refused)

    def address(self, executor):
        networks = json.loads(compose.capture("docker", "inspect", executor))[0]["NetworkSettings"]["Networks"]
        [network] = networks.values()
        return f"{network['IPAddress']}:8080"

    def test_every_panel_shows_something_of_a_real_run(self):
        with compose.Project("dashboard") as project:
            [executor] = project.executors
            with Prometheus(self.address(executor)) as prometheus:
                # Of a counter that was there before it counted, a rate is seen.
                prometheus.wait_until("sandbox_executor_executions_total", bool)
                self.run_programs(executor)
                delivered = 'sandbox_executor_callbacks_total{kind="result",result="accepted"}'
                prometheus.wait_until(delivered, lambda found: found and found[0][1] == len(PROGRAMS))
                prometheus.wait_until('sandbox_executor_callbacks_total{kind="heartbeat",result="accepted"} > 0', bool)
                shown = {}
                for title, query in targets():
                    with self.subTest(panel=title):
                        found = prometheus.ask(query)
                        self.assertNotEqual(found, [], query)
                        # Nothing divided by nothing is no number: a language that nobody used, a bucket that nothing fell into.
                        numbers = [(labels, number) for labels, number in found if not math.isnan(number)]
                        self.assertNotEqual(numbers, [], query)
                        shown.setdefault(title, []).extend(numbers)
                for title, expected in SHOWN.items():
                    with self.subTest(panel=title):
                        if isinstance(expected, set):
                            above = set().union(*(labels for labels, number in shown[title] if number > 0))
                            self.assertLessEqual(expected, above)
                        else:
                            self.assertEqual([number for _, number in shown[title]], [expected])
                for title, numbers in shown.items():
                    print(f"{title}: {', '.join(f'{number:.4g}' for _, number in numbers)}", flush=True)


if __name__ == "__main__":
    unittest.main()
