"""docs/deployment.md, "Podman": its command, followed to the letter but for the port, the name and the image.

It takes podman; without it that is "not run". The image comes from the Docker engine.
"""

import json
import re
import subprocess
import sys
import unittest
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1] / "scripts"))
import daemon
import engine

# Whatever the machine is: a health check takes systemd, and its own limits may be lower than those that Podman sets.
ANYWHERE = "--no-healthcheck --ulimit nofile=4096:4096 --ulimit nproc=4096:4096"


def podman(*arguments, text=None):
    return subprocess.run(["podman", *arguments], input=text, capture_output=True, text=True, timeout=120)


def setUpModule():
    engine.need_program("podman")
    engine.need_image()


def command():
    section = (engine.ROOT / "docs" / "deployment.md").read_text().partition("\n## Podman\n")[2]
    return re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1]


class Podman(unittest.TestCase):
    def setUp(self):
        self.name = f"sandbox-executor-{uuid.uuid4().hex[:8]}"
        self.image = f"localhost/{self.name}"
        saved = subprocess.Popen(["docker", "save", engine.IMAGE], stdout=subprocess.PIPE)
        with saved:
            loaded = subprocess.run(["podman", "load", "--quiet"], stdin=saved.stdout, capture_output=True, text=True, timeout=300)
        self.assertEqual((saved.returncode, loaded.returncode), (0, 0), loaded.stderr)
        name = loaded.stdout.split(": ")[-1].strip()
        self.assertEqual(podman("tag", name, self.image).returncode, 0)
        self.addCleanup(podman, "rmi", "--force", name, self.image)
        self.addCleanup(podman, "rm", "--force", "--time", "5", self.name)

    def inside(self, *arguments, text=None):
        return podman("exec", "--interactive", self.name, "sandbox-executor", *arguments, text=text)

    def test_its_command_starts_a_daemon_that_has_everything_to_run_programs(self):
        script = command().replace("127.0.0.1:8080:", f"127.0.0.1:{daemon.free_port()}:")
        script = script.replace("--name sandbox-executor ", f"--name {self.name} {ANYWHERE} ")
        script = re.sub(r"\n  sandbox-executor\n$", f"\n  {self.image}\n", script)
        started = subprocess.run(["bash", "-euc", script], cwd=engine.ROOT, capture_output=True, text=True, timeout=120)
        self.assertEqual(started.returncode, 0, started.stderr)
        engine.wait_until(lambda: self.inside("health").returncode == 0, "a healthy daemon", 20)
        done = self.inside("exec", "--url=http://127.0.0.1:8080", "--language=python", "--json", "-",
                           text="def handler(event):\n    open('/workspace/left', 'w').write('x')\n    return 42")
        answer = json.loads(done.stdout)
        self.assertEqual((answer["return_value"], answer["isolation"]["tier"]), (42, "full"), answer)
        doctor = self.inside("doctor")
        self.assertEqual(doctor.returncode, 0, doctor.stdout)

    def test_each_of_its_own_words_is_needed_and_doctor_names_it(self):
        for there, instead, expected in [
            ("unmask=ALL", "label=disable", "podman: --security-opt unmask=ALL"),
            ("/workspace:exec,size=256m,U,", "/workspace:exec,size=256m,", "podman: --tmpfs /workspace:exec,size=256m,U,mode=0755"),
            ("seccomp=deploy/seccomp.json", "label=disable", "seccomp profile forbids sethostname"),
        ]:
            with self.subTest(without=there):
                script = command().replace("--detach --name sandbox-executor --publish 127.0.0.1:8080:8080", f"--rm {ANYWHERE}")
                self.assertIn(there, script)
                script = re.sub(r"\n  sandbox-executor\n$", f"\n  {self.image} doctor\n", script.replace(there, instead))
                done = subprocess.run(["bash", "-uc", script], cwd=engine.ROOT, capture_output=True, text=True, timeout=120)
                self.assertIn(expected, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
