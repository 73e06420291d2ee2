"""Leaves a file in every place that can be written. Asked: {"name": "...", "canary": "..."}. Says where it could."""

import json
import os
import sys

asked = json.load(sys.stdin)
left = []


def leave(directory):
    path = os.path.join(directory, asked["name"])
    try:
        with open(path, "x") as file:
            file.write(asked["canary"])
        left.append(path)
    except OSError:
        pass


for place in asked.get("places", ["/"]):
    for folder, folders, _ in os.walk(place):
        if folder in ("/proc", "/sys", "/usr"):
            folders.clear()
        leave(folder)
json.dump({"left": sorted(left)}, sys.stdout)
