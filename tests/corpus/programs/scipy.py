"""Optimisation, linear algebra, transforms, integration, sparse matrices, statistics."""

import json

import numpy as np
from scipy import fft, integrate, interpolate, linalg, optimize, signal, sparse, stats
from scipy.sparse.linalg import spsolve

rosen = optimize.minimize(optimize.rosen, [1.3, 0.7, 0.8, 1.9, 1.2], method="BFGS")
root = optimize.brentq(lambda x: x**3 - 2, 0, 2)
plan = optimize.linprog([-1, -2], A_ub=[[1, 1], [1, 3]], b_ub=[4, 6])
matrix = np.array([[4.0, 1, 0], [1, 3, 1], [0, 1, 2]])
lower, upper = linalg.lu(matrix)[1:]
wave = np.sin(2 * np.pi * 50 * np.arange(1024) / 1024)
area, _ = integrate.quad(lambda x: np.exp(-x * x), -np.inf, np.inf)
orbit = integrate.solve_ivp(lambda t, y: [y[1], -y[0]], (0, 2 * np.pi), [1, 0], rtol=1e-9, atol=1e-9)
line = sparse.diags([-1, 2, -1], [-1, 0, 1], shape=(1000, 1000), format="csc")

print(json.dumps({
    "rosen": [round(x, 3) for x in rosen.x.tolist()],
    "root": round(root, 9),
    "plan": [round(x, 9) for x in plan.x.tolist()],
    "det": round(linalg.det(matrix), 9),
    "lu": bool(np.allclose(lower @ upper, matrix)),
    "exponential": round(float(linalg.expm(np.array([[0, 1.0], [-1, 0]]))[0, 0]), 9),
    "peak": int(np.abs(fft.rfft(wave, workers=4)).argmax()),
    "there_and_back": bool(np.allclose(fft.irfft(fft.rfft(wave)), wave)),
    "area": round(area, 9),
    "orbit": [abs(round(x, 5)) for x in orbit.y[:, -1].tolist()],
    "middle": round(float(spsolve(line, np.ones(1000))[499]), 3),
    "spline": round(float(interpolate.CubicSpline(range(10), np.arange(10) ** 2)(4.5)), 9),
    "order": len(signal.butter(4, 0.2)[0]),
    "quantile": round(float(stats.norm.ppf(0.975)), 6),
}))
