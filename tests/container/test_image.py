"""The image: what it is, and that it serves, is healthy, runs every language and ends as docs/deployment.md says."""

import json
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import engine

# What it may add to its base and Debian's packages.
MOST_BYTES = 20_000_000


def setUpModule():
    engine.need_image()


def image():
    return json.loads(engine.docker("image", "inspect", engine.IMAGE).stdout)[0]


class Image(unittest.TestCase):
    def test_it_starts_as_an_ordinary_user_and_without_a_shell(self):
        config = image()["Config"]
        self.assertEqual(config["User"], "1000:1000")
        self.assertEqual(config["Entrypoint"], ["/usr/local/bin/sandbox-executor"])
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/local/bin/sandbox-executor", "health"])

    def test_it_says_what_it_is(self):
        labels = image()["Config"]["Labels"]
        for name in ("title", "description", "licenses", "version", "revision"):
            self.assertTrue(labels.get(f"org.opencontainers.image.{name}"), name)

    def test_the_version_of_the_label_is_that_of_the_daemon(self):
        version = engine.docker("run", "--rm", engine.IMAGE, "--version").stdout.split()[-1]
        self.assertEqual(image()["Config"]["Labels"]["org.opencontainers.image.version"], version)

    def test_it_adds_little_to_debian(self):
        layers = engine.docker("history", "--human=false", "--no-trunc", "--format={{.Size}} {{.CreatedBy}}", engine.IMAGE)
        copied = [line for line in layers.stdout.splitlines() if "COPY" in line or "file:" in line or "multi:" in line or "dir:" in line]
        self.assertTrue(copied, layers.stdout)
        # The base of a stock image begins with an ADD, which is not ours.
        added = sum(int(line.split()[0]) for line in copied if "ADD" not in line)
        self.assertLessEqual(added, MOST_BYTES)


class Container(unittest.TestCase):
    def test_it_serves_every_language_with_a_proc_of_its_own(self):
        with engine.Container(engine.seccomp(), engine.UNMASKED) as container:
            self.assertEqual(container.health()["isolation"]["tier"], "full")
            for language, code in {
                "python": "def handler(event): return 42",
                "javascript": "function handler(event) { return 42 }",
                "shell": "test $(ls -d /proc/[0-9]* | wc -l) -lt 10 && test $(id -u) = 1000",
            }.items():
                answer = container.run(language, code)
                self.assertEqual((answer["status"], answer["isolation"]["tier"]), ("success", "full"), answer)
                self.assertIn(answer["return_value"], (42, None))

    def test_with_masked_paths_it_serves_and_says_that_proc_is_shared(self):
        with engine.Container(engine.seccomp()) as container:
            answer = container.run("python", "def handler(event): return 42")
            self.assertEqual((answer["return_value"], answer["isolation"]["tier"]), (42, "shared-proc"))

    def test_docker_calls_it_healthy(self):
        with engine.Container(engine.seccomp(), "--health-interval=1s") as container:
            deadline = time.monotonic() + 20
            while container.state()["Health"]["Status"] != "healthy":
                self.assertLess(time.monotonic(), deadline, container.state()["Health"])
                time.sleep(0.1)

    def test_it_ends_within_its_grace_when_stopped(self):
        with engine.Container(engine.seccomp()) as container:
            begin = time.monotonic()
            engine.docker("stop", "--time=10", container.id)
            self.assertLess(time.monotonic() - begin, 8)
            self.assertEqual(container.state()["ExitCode"], 143)

    def test_it_does_not_serve_without_its_isolation(self):
        done = engine.docker("run", "--rm", "--network=none", *engine.LEAST, engine.IMAGE)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--security-opt seccomp=", done.stdout + done.stderr)

    def test_it_does_not_serve_less_than_it_is_told_to(self):
        done = engine.docker("run", "--rm", "--network=none", *engine.LEAST, engine.seccomp(), engine.IMAGE, "--isolation-minimum=full")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--security-opt systempaths=unconfined", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
