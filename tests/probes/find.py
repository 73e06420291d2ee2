"""Looks for a text in every small file it can read. Asked: {"canary": "...", "places": [...]}."""

import json
import os
import stat
import sys

asked = json.load(sys.stdin)
needle = asked["canary"].encode()
# Its own copy of the question does not count.
own = {f"/proc/{who}" for who in ("self", "thread-self", os.getpid())}
found, looked = [], 0
for place in asked["places"]:
    for folder, folders, names in os.walk(place):
        if folder == "/usr" or folder in own or folder.endswith(("/task", "/map_files", "/net")):
            folders.clear()
            continue
        for name in names:
            path = os.path.join(folder, name)
            try:
                if needle in os.fsencode(path):
                    found.append(path)
                if not stat.S_ISREG(os.lstat(path).st_mode) or name in ("kmsg", "kcore", "pagemap", "clear_refs", "mem"):
                    continue
                looked += 1
                with open(path, "rb") as file:
                    if needle in file.read(1 << 20):
                        found.append(path)
            except OSError:
                pass
json.dump({"found": sorted(set(found)), "looked": looked}, sys.stdout)
