"""Two figures without a display, as files of the workspace."""

import json

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 10, 500)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), dpi=100)
left.plot(x, np.sin(x), label="sine: $\\sin(x)$")
left.legend()
left.set_title("Größe, Łódź")
right.hist(np.random.default_rng(1).normal(size=1000), bins=30)
figure.tight_layout()
figure.savefig("figure.png")
figure.savefig("figure.svg")
pixels = plt.imread("figure.png")

with open("figure.png", "rb") as file:
    signature = file.read(8).hex()

print(json.dumps({
    "backend": matplotlib.get_backend().lower(),
    "shape": list(pixels.shape),
    "drawn": len(np.unique(pixels.reshape(-1, 4), axis=0)) > 100,
    "signature": signature,
}))
