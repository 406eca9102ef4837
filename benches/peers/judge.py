"""How good an answer is, and whether it is one: no speed is told for a wrong answer."""
import dataclasses

import numpy as np

from work import FLUX, X, Y

# An answer is wrong if more than this part of the stars has no fit or ends further from the truth than
# MOST bounds; unweighted least squares alone scatter by 1.0 to 1.4 bounds.
FEW, MOST = 0.05, 5.0
ALL = (FLUX, X, Y)


@dataclasses.dataclass
class Accuracy:
    """Of x, y and flux against the truth, and of all parameters against the optimum."""

    x: float | None = None  # RMS distance from the truth over the Cramer-Rao bound
    y: float | None = None
    flux: float | None = None
    optimum_99: float | None = None  # distance from the optimum in its standard errors: 99 % of the stars
    optimum_max: float | None = None
    converged: float | None = None  # part of the stars; None: the method has no test of it
    right: bool = True

    @classmethod
    def of(cls, stars, truth, bound, optima=None, converged=None, judged=ALL):
        """Of `stars` (n, 5), NaN where there is no fit or no such parameter; by the parameters `judged`."""
        offsets = (stars - truth) / bound
        right = near(offsets, judged)
        fitted = np.isfinite(offsets[:, list(ALL)]).all(1)
        rms = np.sqrt(np.mean(offsets[fitted] ** 2, 0)) if fitted.any() else np.full(5, np.nan)
        accuracy = cls(x=rms[X], y=rms[Y], flux=rms[FLUX], right=right)
        if converged is not None:
            accuracy.converged = np.mean(fitted & converged)
        if optima is not None and fitted.any():
            best, errors = optima
            there = np.isfinite(stars[fitted]).any(0)
            distances = np.max((np.abs(stars - best) / errors)[fitted][:, there], 1)
            accuracy.optimum_99, accuracy.optimum_max = np.percentile(distances, 99), distances.max()
        return accuracy


def near(offsets, judged=ALL):
    """Whether nearly all stars are near the truth; `offsets` in bounds, NaN counts as far."""
    return bool(np.mean((np.abs(offsets[:, list(judged)]) < MOST).all(1)) > 1 - FEW)
