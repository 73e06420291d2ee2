"""Asks executors for executions and says what it was told of each: one line of JSON per answer, on stdout. Runs in a container.

    python3 caller.py WAITING LEAVING EXECUTOR…

Per executor WAITING executions whose caller waits for the answer and LEAVING with `Prefer: respond-async`. An execution that was
certainly not accepted (nobody there, 503) is asked for again, until the deadline. One whose answer got lost is not: that is "unknown".
"""

import http.client
import json
import sys
import threading
import time

CALLERS_OF_EACH_KIND = 2
GIVE_UP_SECONDS = 120
RETRY_SECONDS = 0.2
CODE = "echo begun; sleep 0.5; echo done"


def ask(host, execution_id, leaving):
    """What was told, and the status it came with; None when it was certainly not accepted."""
    connection = http.client.HTTPConnection(host, 8080, timeout=60)
    try:
        connection.connect()
    except OSError:
        return None
    headers = {"Content-Type": "application/json", **({"Prefer": "respond-async"} if leaving else {})}
    body = {"language": "shell", "code": CODE, "workspace": "fresh", "execution_id": execution_id}
    try:
        connection.request("POST", "/execute", json.dumps(body), headers)
        response = connection.getresponse()
        answer = json.load(response)
    except (OSError, http.client.HTTPException, ValueError):
        return "unknown", None
    finally:
        connection.close()
    if response.status == 503:
        return None
    return {200: "answered", 202: "accepted"}.get(response.status, f"HTTP {response.status}"), answer.get("status")


def call(host, ids, leaving, deadline, say):
    for execution_id in ids:
        while (told := ask(host, execution_id, leaving)) is None:
            if time.monotonic() > deadline:
                told = "given up", None
                break
            time.sleep(RETRY_SECONDS)
        say({"execution_id": execution_id, "executor": host, "told": told[0], "status": told[1]})


def main():
    waiting, leaving, hosts = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    deadline = time.monotonic() + GIVE_UP_SECONDS
    lock = threading.Lock()

    def say(told):
        with lock:
            print(json.dumps(told), flush=True)

    callers = []
    for host in hosts:
        for kind, count in (("waiting", waiting), ("leaving", leaving)):
            ids = [f"exec_{host}_{kind}_{number}" for number in range(count)]
            for first in range(CALLERS_OF_EACH_KIND):
                mine = ids[first::CALLERS_OF_EACH_KIND]
                callers.append(threading.Thread(target=call, args=(host, mine, kind == "leaving", deadline, say)))
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


if __name__ == "__main__":
    main()
