"""Checks the reference sets: Jacobians against central differences, the image in internal coordinates
against the plain formula, and independent searches (Nelder-Mead, MINPACK) for a lower cost.

    python check_reference.py     (after make_reference.py; needs numpy and scipy; about 20 seconds)
"""
import numpy as np
from scipy.optimize import curve_fit, minimize

from make_reference import HERE, METHODS, SETS, cost_of, weights


def read(tag, name):
    return np.loadtxt(HERE / f"{tag}_{name}.csv", delimiter=",", skiprows=1)[:, 1:]


def jacobians(tag, M, X, Y):
    """Worst differences, relative to the largest element of each derivative image or of each column."""
    image = column = plain = 0.0
    for p in read(tag, "truth")[:, :len(M.names)]:
        q = M.internal(p)
        (m, J), (back, G) = M.model(q, X, Y), M.columns(q)
        for j, h in enumerate(1e-5 * np.maximum(np.abs(q), 0.1)):
            e = h * np.eye(q.size)[j]
            dm = (M.model(q + e, X, Y)[0] - M.model(q - e, X, Y)[0]) / (2 * h)
            dp = (M.columns(q + e)[0] - M.columns(q - e)[0]) / (2 * h)
            image = max(image, np.abs(dm - J[:, j]).max() / np.abs(J[:, j]).max())
            column = max(column, np.max(np.abs(dp - G[:, j]) / np.maximum(np.abs(G[:, j]), np.abs(back))))
        plain = max(plain, np.abs(m / M.plain(p, X, Y) - 1).max(), np.abs(back / p - 1).max())
    print(tag, f"Jacobians: image {image:.1e}, columns {column:.1e}; plain formula and round trip {plain:.1e}")


def searches(tag, M, X, Y, stamps, method, every):
    """Simplex on the plain formula in the csv columns, from one error away; MINPACK for lsq and wls."""
    opt, k, rng = read(tag, f"opt_{method}"), len(M.names), np.random.default_rng(1)
    print(tag, method, f"gradnorm <= {opt[:, -3].max():.1e}, nagree >= {opt[:, -2].min():.0f}, flagged {np.count_nonzero(opt[:, -1])}",
          f"beta {opt[:, 6].min():.2f}..{opt[:, 6].max():.2f}" if "beta" in M.names else "")
    gain, move, errs = [], [], []
    for i in range(0, len(opt), every):
        I, p, err = stamps[i].astype(float).ravel(), opt[i, :k], opt[i, k:2 * k]
        w = weights(method, I)
        f, u = lambda v: cost_of(M.plain(p + err * v, X, Y), I, w), rng.standard_normal(k)
        for _ in range(4):                                    # restarts, as a simplex may collapse early
            u = minimize(f, u, method="Nelder-Mead", options=dict(xatol=1e-9, fatol=1e-11, maxfev=20000, maxiter=20000)).x
        gain.append((f(0 * u) - f(u)) / f(u))
        move.append(np.abs(u).max())
        if w is not None:
            fun = lambda _, *v: M.plain(p + err * (np.array(v) - 100), X, Y)       # its steps are relative: keep off 0
            v, C = curve_fit(fun, None, I, 100 + rng.standard_normal(k), 1 / np.sqrt(w), method == "wls", xtol=1e-13)
            move.append(np.abs(v - 100).max())
            errs.append(np.abs(np.sqrt(np.diag(C)) - 1).max())
    print(f"    {len(gain)} stars: largest relative gain in cost {max(gain):.1e}, farthest end {max(move):.1e} errors",
          f"; curve_fit errors differ by {max(errs):.1e}" if errs else "", flush=True)


if __name__ == "__main__":
    for tag, M, _, size, _ in SETS:
        Y, X = (v.ravel().astype(float) for v in np.indices((size, size)))
        jacobians(tag, M, X, Y)
        for method in METHODS:
            searches(tag, M, X, Y, np.load(HERE / f"{tag}.npy"), method, every=8)
