"""Makes two float64 reference sets for star fits: stamps (.npy), truth (.csv) and the
least-squares, weighted least-squares and Poisson maximum-likelihood optima (.csv).

    python make_reference.py      writes the files beside itself (under a minute on one core)

Needs numpy and scipy; the files here were made with Python 3.11.7, numpy 2.4.6, scipy 1.17.1.
README.md has the models, conventions and columns; check_reference.py tests the result.
"""
import csv
import pathlib

import numpy as np
from scipy.optimize import least_squares
from scipy.special import erf, xlogy

HERE = pathlib.Path(__file__).resolve().parent
LN2 = np.log(2.0)
NSTART = 5                 # truth, data alone, three perturbed truths
METHODS = ("lsq", "wls", "mle")


def footprint(I, X, Y):
    """Rough bg, peak, centroid and second moments from the data alone (pixels above 1/5 of the peak)."""
    rim = (X == X.min()) | (X == X.max()) | (Y == Y.min()) | (Y == Y.max())
    bg = np.median(I[rim])
    z = I - bg
    z = np.where(z > 0.2 * z.max(), z, 0.0)
    x, y = np.average(X, weights=z), np.average(Y, weights=z)
    mom = [np.average(v, weights=z) for v in ((X - x) ** 2, (X - x) * (Y - y), (Y - y) ** 2)]
    return bg, (I - bg).max(), x, y, mom


# ------------------------------------------------------------------------------------ the models
# Each has `names` (the columns) and
#   draw(rng, n, size)  truth columns and the peak          internal(p)    columns -> internal coordinates
#   columns(q)          internal -> columns, with the Jacobian d(columns)/d(internal)
#   model(q, X, Y)      the image and d(image)/d(internal)  plain(p, X, Y) the image straight from the columns
#   start(I, X, Y)      internal start from the data alone  JITTER, LOW, HIGH   perturbations and limits
class EllipticalMoffat:
    """Internal: peak, x, y, l, e1, e2, h, bg. l = mean log half width, (e1, e2) = half the log of the
    axis ratio times (cos 2t, sin 2t), h = 1/beta."""
    names = ("flux", "x", "y", "fwhm_major", "fwhm_minor", "theta", "beta", "bg")
    JITTER = np.array([0.1, 0.5, 0.5, 0.1, 0.1, 0.1, 0.05, 0.1])
    LOW = np.array([-np.inf] * 6 + [0.01, -np.inf])
    HIGH = np.array([np.inf] * 6 + [0.99, np.inf])

    def draw(self, rng, n, size):
        mid = (size - 1) / 2
        peak, major = rng.uniform(300, 3000, n), rng.uniform(3.5, 5.5, n)
        minor = major * rng.uniform(0.5, 0.8, n)
        theta, beta = rng.uniform(-90, 90, n), rng.uniform(2.5, 4.5, n)
        x, y = mid + rng.uniform(-2, 2, n), mid + rng.uniform(-2, 2, n)
        flux = peak * np.pi * major * minor / 4 / ((beta - 1) * np.expm1(LN2 / beta))
        return np.stack([flux, x, y, major, minor, theta, beta, np.full(n, 100.0)], -1), peak

    def internal(self, p):
        flux, x, y, major, minor, theta, beta, bg = p
        peak = flux * (beta - 1) * np.expm1(LN2 / beta) / (np.pi * major * minor / 4)
        e, t = np.log(major / minor) / 2, np.radians(theta)
        return np.array([peak, x, y, np.log(major * minor / 4) / 2, e * np.cos(2 * t), e * np.sin(2 * t), 1 / beta, bg])

    def columns(self, q):
        peak, x, y, l, e1, e2, h, bg = q
        e, k = np.hypot(e1, e2), np.expm1(LN2 * h)
        flux = peak * np.pi * np.exp(2 * l) * h / ((1 - h) * k)
        major, minor = 2 * np.exp(l + e), 2 * np.exp(l - e)
        theta = (np.degrees(np.arctan2(e2, e1) / 2) + 90) % 180 - 90
        G = np.eye(8)
        G[0, [0, 3, 6]] = flux / peak, 2 * flux, flux * (1 / h + 1 / (1 - h) - LN2 * (k + 1) / k)
        G[3, 3:6] = major, major * e1 / e, major * e2 / e
        G[4, 3:6] = minor, -minor * e1 / e, -minor * e2 / e
        G[5, 4:6] = np.degrees([-e2, e1]) / (2 * e * e)
        G[6, 6] = -1 / h**2
        return np.array([flux, x, y, major, minor, theta, 1 / h, bg]), G

    def model(self, q, X, Y):
        peak, x, y, l, e1, e2, h, bg = q
        dx, dy = X - x, Y - y
        e, k, E = np.hypot(e1, e2), np.expm1(LN2 * h), np.exp(-2 * l)
        c, s = np.cosh(2 * e), np.sinh(2 * e) / e if e > 1e-8 else 2.0
        ds = (2 * c - s) / e**2 if e > 1e-3 else 8 / 3       # (ds/de) / e
        r2, plus, cross = dx * dx + dy * dy, dx * dx - dy * dy, 2 * dx * dy
        along = e1 * plus + e2 * cross
        rho = E * (c * r2 - s * along)
        L = np.log1p(k * rho)
        shape = np.exp(-L / h)
        drho = (-2 * E * (c * dx - s * (e1 * dx + e2 * dy)), -2 * E * (c * dy - s * (e2 * dx - e1 * dy)), -2 * rho,
                E * (2 * s * e1 * r2 - ds * e1 * along - s * plus), E * (2 * s * e2 * r2 - ds * e2 * along - s * cross))
        slope = -peak * shape / h / (1 + k * rho)             # d m / d(k rho)
        dh = peak * shape * L / h**2 + slope * rho * LN2 * (k + 1)
        return bg + peak * shape, np.stack([shape, *(slope * k * d for d in drho), dh, np.ones_like(X)], -1)

    def plain(self, p, X, Y):
        flux, x, y, major, minor, theta, beta, bg = p
        hM, hm, t, k = major / 2, minor / 2, np.radians(theta), 2 ** (1 / beta) - 1
        U, V = (X - x) * np.cos(t) + (Y - y) * np.sin(t), -(X - x) * np.sin(t) + (Y - y) * np.cos(t)
        return bg + flux * (beta - 1) * k / (np.pi * hM * hm) * (1 + k * ((U / hM) ** 2 + (V / hm) ** 2)) ** -beta

    def start(self, I, X, Y):
        bg, peak, x, y, (sxx, sxy, syy) = footprint(I, X, Y)
        half, t = (sxx + syy) / 2, np.hypot((sxx - syy) / 2, sxy)
        a, b = half + t, max(half - t, 0.2)
        e, tt = np.log(a / b) / 4, np.arctan2(2 * sxy, sxx - syy)
        return np.array([peak, x, y, np.log(a * b) / 4 + np.log(1.3), e * np.cos(tt), e * np.sin(tt), 1 / 3.0, bg])


class GaussianIntegrated:
    """Internal: flux, x, y, log sigma, bg."""
    names = ("flux", "x", "y", "sigma", "bg")
    JITTER = np.array([0.1, 0.5, 0.5, 0.15, 0.1])
    LOW, HIGH = np.full(5, -np.inf), np.full(5, np.inf)

    def draw(self, rng, n, size):
        mid = (size - 1) / 2
        flux, sigma = np.exp(rng.uniform(np.log(2000), np.log(30000), n)), rng.uniform(0.45, 1.1, n)
        x, y = mid + rng.uniform(-1.5, 1.5, n), mid + rng.uniform(-1.5, 1.5, n)
        peak = flux * erf(0.5 / (np.sqrt(2) * sigma)) ** 2
        return np.stack([flux, x, y, sigma, np.full(n, 100.0)], -1), peak

    def internal(self, p):
        return np.array([*p[:3], np.log(p[3]), p[4]])

    def columns(self, q):
        sigma = np.exp(q[3])
        return np.array([*q[:3], sigma, q[4]]), np.diag([1, 1, 1, sigma, 1.0])

    def model(self, q, X, Y):
        flux, x, y, log_sigma, bg = q
        sigma = np.exp(log_sigma)

        def edge(Z, z):                                       # fraction in the pixel, d/dz, d/d(log sigma)
            hi, lo = (Z + 0.5 - z) / (np.sqrt(2) * sigma), (Z - 0.5 - z) / (np.sqrt(2) * sigma)
            ghi, glo = np.exp(-hi * hi) / np.sqrt(np.pi), np.exp(-lo * lo) / np.sqrt(np.pi)
            return (erf(hi) - erf(lo)) / 2, (glo - ghi) / (np.sqrt(2) * sigma), lo * glo - hi * ghi

        (fx, dx, sx), (fy, dy, sy) = edge(X, x), edge(Y, y)
        return bg + flux * fx * fy, np.stack([fx * fy, flux * dx * fy, flux * fx * dy, flux * (sx * fy + fx * sy), np.ones_like(X)], -1)

    def plain(self, p, X, Y):
        flux, x, y, sigma, bg = p
        f = lambda d: erf((d + 0.5) / (np.sqrt(2) * sigma)) - erf((d - 0.5) / (np.sqrt(2) * sigma))
        return bg + flux / 4 * f(X - x) * f(Y - y)

    def start(self, I, X, Y):
        bg, peak, x, y, (sxx, _, syy) = footprint(I, X, Y)
        return np.array([(I - bg).sum(), x, y, np.log(max((sxx + syy) / 2 - 1 / 12, 0.15)) / 2, bg])


SETS = (("elliptical_moffat_21", EllipticalMoffat(), 128, 21, 20241104),    # name, model, stamps, size, seed
        ("gaussian_integrated_11", GaussianIntegrated(), 256, 11, 20241105))


# ------------------------------------------------------------------------------------- the fit
def weights(method, I):
    """None stands for the Poisson likelihood."""
    return {"lsq": np.ones_like(I), "wls": 1 / np.maximum(I, 1), "mle": None}[method]


def cost_of(m, I, w):
    if w is not None:
        return np.sum(w * (I - m) ** 2)
    return 2 * np.sum(m - I + xlogy(I, I / m)) if np.all(m > 0) else np.inf


def normal(M, q, I, X, Y, w):
    """Information matrix J'WJ and J'W(I - m); W = 1/m for the likelihood (Fisher scoring)."""
    m, J = M.model(q, X, Y)
    W = 1 / m if w is None else w
    return J.T @ (W[:, None] * J), J.T @ (W * (I - m))


def solve(A, g, lam=0.0):
    """(A + lam diag A)^-1 g, scaled to a unit diagonal first."""
    s = np.sqrt(np.diag(A))
    return np.linalg.solve(A / np.outer(s, s) + lam * np.eye(len(s)), g / s) / s


def fit_from(M, q, I, X, Y, method):
    """One start -> internal optimum, its cost, the distance left to the optimum in 1-sigma errors."""
    w = weights(method, I)
    if w is not None:
        r = np.sqrt(w)
        q = least_squares(lambda v: r * (M.model(v, X, Y)[0] - I), q, jac=lambda v: r[:, None] * M.model(v, X, Y)[1],
                          bounds=(M.LOW, M.HIGH), x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12, max_nfev=1000).x
    else:                                                     # damped Fisher scoring
        lam, c = 1e-3, cost_of(M.model(q, X, Y)[0], I, w)
        for _ in range(500):
            A, g = normal(M, q, I, X, Y, w)
            new = q + solve(A, g, lam)
            ok = np.all((new > M.LOW) & (new < M.HIGH))
            c_new = cost_of(M.model(new, X, Y)[0], I, w) if ok else np.inf
            if c_new <= c:
                q, c, lam = new, c_new, lam / 10
            else:
                lam *= 10
            if g @ solve(A, g) < 1e-10 or lam > 1e12:         # the cost resolves no more: leave the rest to the polish
                break
    c = cost_of(M.model(q, X, Y)[0], I, w)
    s2 = c / (I.size - q.size) if method == "lsq" else 1.0

    def step(v):
        A, g = normal(M, v, I, X, Y, w)
        d = solve(A, g)
        return d, np.sqrt(max(g @ d, 0.0) / s2)

    d, dist = step(q)                                         # polish: full steps, while the gradient falls
    for _ in range(200):
        if not np.all((q + d > M.LOW) & (q + d < M.HIGH)):
            break
        d_new, dist_new = step(q + d)
        if not dist_new < dist:
            break
        q, d, dist = q + d, d_new, dist_new
    return q, cost_of(M.model(q, X, Y)[0], I, w), dist


def fit(M, stamp, method, truth, rng):
    """One stamp, all starts -> columns, errors, cost, npix, gradnorm, nagree, flag."""
    Y, X = (v.ravel().astype(float) for v in np.indices(stamp.shape))
    I = stamp.astype(np.float64).ravel()
    q0 = M.internal(truth)
    starts = [q0, M.start(I, X, Y)]
    while len(starts) < NSTART:                               # the jitter of peak or flux and of bg is relative
        j = M.JITTER * rng.standard_normal(q0.size)
        j[[0, -1]] *= q0[[0, -1]]
        starts.append(np.clip(q0 + j, M.LOW + 0.07, M.HIGH - 0.07))
    ends = [fit_from(M, s, I, X, Y, method) for s in starts]
    q, c, dist = min(ends, key=lambda e: e[1])
    same = [e[1] - c <= 1e-7 * c for e in ends]
    p, G = M.columns(q)
    C = np.linalg.inv(normal(M, q, I, X, Y, weights(method, I))[0]) * (c / (I.size - q.size) if method == "lsq" else 1.0)
    var = np.diag(G @ C @ G.T)
    width, n = p[3:5] if "fwhm_minor" in M.names else p[3:4], stamp.shape[0]
    sensible = p[0] > 0 and np.all((width > 0.3) & (width < 2 * n)) and np.all((p[1:3] > -3) & (p[1:3] < n + 2))
    beta_ok = "beta" not in M.names or 1.05 < p[6] < 20
    flag = 1 * (not dist < 1e-7) + 2 * (not same[1]) + 4 * (not np.all(var > 0)) + 8 * (not sensible) + 16 * (not beta_ok)
    return [*p, *np.sqrt(var), c, I.size, float("%.2g" % dist), sum(same), flag]


# ----------------------------------------------------------------------------------- the sets
def write_csv(path, header, rows):
    with open(path, "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(header)
        out.writerows([["%.12g" % v for v in r] for r in rows])


def make(tag, M, n, size, seed):
    rng = np.random.Generator(np.random.PCG64(seed))
    truth, peak = M.draw(rng, n, size)
    Y, X = np.indices((size, size)).astype(float)
    stamps = np.stack([rng.poisson(M.plain(p, X, Y)) for p in truth]).astype(np.float32)
    np.save(HERE / f"{tag}.npy", stamps)
    rows = []
    for i, p in enumerate(truth):                             # Cramer-Rao bound at the truth
        A, _ = normal(M, M.internal(p), np.zeros(X.size), X.ravel(), Y.ravel(), None)
        G = M.columns(M.internal(p))[1]
        rows.append([i, *p, peak[i], *np.sqrt(np.diag(G @ np.linalg.inv(A) @ G.T))])
    write_csv(HERE / f"{tag}_truth.csv", ["id", *M.names, "peak", *("crlb_" + v for v in M.names)], rows)
    for method in METHODS:
        jitter = np.random.Generator(np.random.PCG64(seed + 500))
        fits = [fit(M, stamps[i], method, truth[i], jitter) for i in range(n)]
        write_csv(HERE / f"{tag}_opt_{method}.csv",
                  ["id", *M.names, *("err_" + v for v in M.names), "cost", "npix", "gradnorm", "nagree", "flag"],
                  [[i, *f] for i, f in enumerate(fits)])
        print(tag, method, "done", flush=True)


if __name__ == "__main__":
    for args in SETS:
        make(*args)
