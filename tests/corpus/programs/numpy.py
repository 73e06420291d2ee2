"""Linear algebra in OpenBLAS and its threads, random numbers, arrays in files."""

import io
import json
import os

import numpy as np

n = 600
hilbert = 1.0 / (np.arange(8)[:, None] + np.arange(8) + 1)
index = np.arange(n * n, dtype=np.float64).reshape(n, n) % 7
symmetric = index @ index.T + n * np.eye(n)
solution = np.linalg.solve(symmetric, symmetric.sum(axis=1))
values, vectors = np.linalg.eigh(symmetric)
u, s, vt = np.linalg.svd(symmetric[:200])
generator = np.random.default_rng(42)
drawn = generator.standard_normal(1_000_000)

file = io.BytesIO()
np.savez_compressed(file, index=index)
file.seek(0)
np.save("/tmp/index.npy", index)
mapped = np.load("/tmp/index.npy", mmap_mode="r")

with open("/proc/self/maps") as maps:
    openblas = any("openblas" in line for line in maps)

print(json.dumps({
    "openblas": openblas,
    "threads": len(os.listdir("/proc/self/task")) >= min(len(os.sched_getaffinity(0)), 4),
    "trace": float(np.trace(index @ np.eye(n))),
    "hilbert": f"{np.linalg.det(hilbert):.4e}",
    "solved": bool(np.allclose(solution, 1.0)),
    "eigen": bool(np.allclose(vectors @ np.diag(values) @ vectors.T, symmetric)),
    "svd": bool(np.allclose((u * s) @ vt[:200], symmetric[:200])),
    "fft": [round(abs(x), 6) for x in np.fft.rfft(np.cos(2 * np.pi * 3 * np.arange(16) / 16))],
    "integers": np.random.default_rng(42).integers(0, 100, 5).tolist(),
    "mersenne": np.random.RandomState(42).randint(0, 100, 5).tolist(),
    "mean": abs(float(drawn.mean())) < 0.01 and abs(float(drawn.std()) - 1) < 0.01,
    "zip": bool((np.load(file)["index"] == index).all()),
    "mapped": float(mapped.sum()),
    "entropy": len({int(np.random.default_rng().integers(0, 2**62)) for _ in range(3)}),
}))
