"""README.md, "In a container": its commands, followed to the letter but for the port and the name, which must be free, and the image."""

import re
import subprocess
import sys
import unittest
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import daemon
import engine

# The image is there, or nothing here would run.
ALREADY_DONE = "make image\n"


def setUpModule():
    engine.need_image()


def commands():
    section = (engine.ROOT / "README.md").read_text().partition("\n## In a container\n")[2]
    return re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1]


class Readme(unittest.TestCase):
    def test_its_commands_end_in_an_answer_from_inside(self):
        script, name = commands(), f"sandbox-executor-{uuid.uuid4().hex[:8]}"
        self.assertTrue(script.startswith(ALREADY_DONE), script)
        script = script.removeprefix(ALREADY_DONE)
        script = script.replace("127.0.0.1:8080:", f"127.0.0.1:{daemon.free_port()}:").replace("localhost:8080", "localhost:$PORT")
        port = re.search(r"127\.0\.0\.1:(\d+):8080", script)[1]
        for before in ("--name ", "docker exec ", "--force "):
            script = script.replace(f"{before}sandbox-executor", f"{before}{name}")
        script = script.replace("mode=0700 sandbox-executor\n", f"mode=0700 {engine.IMAGE}\n")
        try:
            done = subprocess.run(["bash", "-euc", script], cwd=engine.ROOT, env={"PORT": port, "PATH": "/usr/local/bin:/usr/bin:/bin"},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn('"stdout":"hello from inside\\n"', done.stdout)
            self.assertIn('"tier":"full"', done.stdout)
        finally:
            engine.docker("rm", "--force", name)


if __name__ == "__main__":
    unittest.main()
