"""Threads and their tools, pools of them, and other programs started from them."""

import json
import queue
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed, wait

lock = threading.Lock()
counter = 0
barrier = threading.Barrier(32, timeout=60)


def count(_):
    global counter
    # Passes only if all 32 are there at once.
    barrier.wait()
    for _ in range(100):
        with lock:
            counter += 1
    return threading.get_native_id()


with ThreadPoolExecutor(32) as pool:
    ids = set(pool.map(count, range(32)))
    echoes = [pool.submit(subprocess.check_output, ["sh", "-c", f"echo {i}; exit 0"]) for i in range(16)]
    echoed = sorted(int(future.result()) for future in as_completed(echoes))

work, results = queue.Queue(), []
condition = threading.Condition()


def consume():
    while (item := work.get()) is not None:
        with condition:
            results.append(item * 2)
            condition.notify_all()


consumers = [threading.Thread(target=consume) for _ in range(4)]
for consumer in consumers:
    consumer.start()
for item in range(100):
    work.put(item)
with condition:
    complete = condition.wait_for(lambda: len(results) == 100, timeout=60)
for _ in consumers:
    work.put(None)
for consumer in consumers:
    consumer.join()

fired = threading.Event()
threading.Timer(0.01, fired.set).start()
local = threading.local()
local.value = 1
threading.stack_size(256 * 1024)
small = threading.Thread(target=lambda: setattr(local, "value", 2))
small.start()
small.join()

piped = subprocess.Popen(["sort", "-n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
sorted_lines, _ = piped.communicate("10\n9\n1\n")
try:
    subprocess.run(["sleep", "600"], timeout=0.05)
    patience = "slept"
except subprocess.TimeoutExpired:
    patience = "timeout"
session = subprocess.run(
    ["cut", "-d ", "-f6", "/proc/self/stat"],
    start_new_session=True, capture_output=True, text=True, check=True, cwd="/tmp", env={"PATH": "/usr/bin"},
)
try:
    subprocess.run(["no-such-program"])
    missing = "found"
except FileNotFoundError:
    missing = "missing"
began = time.monotonic()
time.sleep(0.02)

print(json.dumps({
    "counter": counter,
    "threads": len(ids),
    "echoed": echoed,
    "consumed": sum(results) if complete else None,
    "fired": fired.wait(60),
    "local": local.value,
    "sorted": sorted_lines.split(),
    "patience": patience,
    "session": int(session.stdout) > 0,
    "missing": missing,
    "slept": time.monotonic() - began >= 0.02,
}))
