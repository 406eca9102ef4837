"""The methods that fit the stack. Each is a function of it that returns the seconds taken and a Result.

All have one thread, the same pixels with unit weights, the same start values and, as far as they have one, a
tolerance of 1e-4. What is not the fit (making tables, reading catalogues) is outside of the clock, except where a
program is timed as a whole.
"""
import csv
import dataclasses
import functools
import json
import math
import pathlib
import subprocess
import time
import warnings
from collections.abc import Callable

import numba
import numpy as np
from astropy.modeling import Fittable2DModel, Parameter
from astropy.modeling.fitting import LMLSQFitter
from astropy.modeling.models import Const2D, Gaussian2D
from astropy.table import QTable
from astropy.utils.exceptions import AstropyDeprecationWarning, AstropyUserWarning
from photutils.psf import PSFPhotometry
from scipy.optimize import curve_fit

from judge import ALL
from work import BACKGROUND, FWHM_OF_SIGMA, SIDE, SIGMA, X, Y

TOLERANCE = 1e-4
ROW, COLUMN = np.mgrid[:SIDE, :SIDE].astype(float)
# Of fits that do not converge, which are counted instead; and of LMLSQFitter for a width that photutils holds above 0.
warnings.simplefilter("ignore", AstropyUserWarning)
warnings.simplefilter("ignore", AstropyDeprecationWarning)


@dataclasses.dataclass
class Result:
    """What a method found: stars (n, 5), NaN where there is no fit, and which of them it calls converged, if it can."""

    stars: np.ndarray
    converged: np.ndarray | None = None


@dataclasses.dataclass
class Method:
    name: str
    fit: Callable  # of the work: seconds and what was found
    most: int = 10**9  # stars of the stack that it is given: slow methods get the first ones only
    judged: tuple = ALL  # parameters whose distance from the truth makes an answer wrong


# ------------------------------------------------------------------------------------------ scipy
def profile(flux, x, y, sigma):
    """The star alone, its unit profile, and the offsets of the pixels."""
    dx, dy = COLUMN - x, ROW - y
    r2 = dx * dx + dy * dy
    unit = np.exp(r2 * (-0.5 / sigma**2)) / (2 * math.pi * sigma**2)
    return flux * unit, unit, dx, dy, r2


def model(_, flux, x, y, sigma, background):
    return (profile(flux, x, y, sigma)[0] + background).ravel()


def jacobian(_, flux, x, y, sigma, background):
    star, unit, dx, dy, r2 = profile(flux, x, y, sigma)
    slope = star / sigma**2
    return np.stack([unit, slope * dx, slope * dy, slope * (r2 / sigma - 2 * sigma), np.ones_like(unit)], -1).reshape(-1, 5)


def scipy_curve_fit(stack):
    """MINPACK; ftol is the tolerance on chi-square as starfit has it. The others are off."""
    stars = np.full((len(stack), 5), np.nan)
    pixels, starts = stack.pixels.astype(float).reshape(len(stack), -1), stack.starts
    begin = time.perf_counter()
    for index, (cutout, start) in enumerate(zip(pixels, starts)):
        try:
            stars[index], _ = curve_fit(model, None, cutout, start, method="lm", jac=jacobian, ftol=TOLERANCE, xtol=0, gtol=0)
        except RuntimeError:  # not converged
            pass
    return time.perf_counter() - begin, Result(stars, np.isfinite(stars).all(1))


# ---------------------------------------------------------------------------------------- astropy
class Star(Fittable2DModel):
    """The five-parameter star, with derivatives, for astropy and photutils."""

    flux, x_0, y_0 = Parameter(default=1.0), Parameter(default=0.0), Parameter(default=0.0)
    sigma, background = Parameter(default=1.5), Parameter(default=0.0)

    @staticmethod
    def evaluate(x, y, flux, x_0, y_0, sigma, background):
        r2 = (x - x_0) ** 2 + (y - y_0) ** 2
        return flux / (2 * np.pi * sigma**2) * np.exp(-r2 / (2 * sigma**2)) + background

    @staticmethod
    def fit_deriv(x, y, flux, x_0, y_0, sigma, background):
        dx, dy = x - x_0, y - y_0
        r2 = dx * dx + dy * dy
        unit = np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        slope = flux * unit / sigma**2
        return [unit, slope * dx, slope * dy, slope * (r2 / sigma - 2 * sigma), np.ones_like(unit)]


def tied_gaussian(flux, x, y, sigma, background):
    """astropy's own models made circular. A sum of models has derivatives only if each part has, and Const2D has not:
    astropy takes differences."""
    gaussian = Gaussian2D(flux / (2 * np.pi * sigma**2), x, y, sigma, sigma, theta=0.0, fixed={"theta": True})
    gaussian.y_stddev.tied = lambda both: both.x_stddev_0
    return gaussian + Const2D(background)


def of_tied(both):
    sigma = both.x_stddev_0.value
    flux = both.amplitude_0.value * 2 * np.pi * sigma**2
    return flux, both.x_mean_0.value, both.y_mean_0.value, sigma, both.amplitude_1.value


def astropy_fitter(make, read):
    """LMLSQFitter: MINPACK again; its one tolerance, `acc`, is on the step (xtol)."""

    def fit(stack):
        stars, converged = np.full((len(stack), 5), np.nan), np.zeros(len(stack), bool)
        pixels, starts = stack.pixels.astype(float), stack.starts
        fitter = LMLSQFitter()
        begin = time.perf_counter()
        for index, (cutout, start) in enumerate(zip(pixels, starts)):
            stars[index] = read(fitter(make(*start), COLUMN, ROW, cutout, acc=TOLERANCE, inplace=True))
            converged[index] = fitter.fit_info.success
        return time.perf_counter() - begin, Result(stars, converged)

    return fit


# -------------------------------------------------------------------------------------- photutils
class LooseFitter(LMLSQFitter):
    """photutils does not hand a tolerance on, so the fitter brings it. It is faster than photutils' own choice of
    TRFLSQFitter."""

    def __call__(self, *args, acc=TOLERANCE, maxiter=100, **kwargs):
        return super().__call__(*args, acc=acc, maxiter=maxiter, **kwargs)


def photutils_psf_photometry(stack):
    """photutils wants an image: the cutouts lie in a mosaic, far enough apart that, with what lies between them
    masked, each star is fitted to the pixels of its cutout however its start value is rounded."""
    gap = 4
    pitch, across = SIDE + gap, math.isqrt(len(stack) - 1) + 1
    image, mask = np.zeros((across * pitch,) * 2), np.ones((across * pitch,) * 2, bool)
    top, left = (corner * pitch + gap // 2 for corner in np.divmod(np.arange(len(stack)), across))
    for cutout, y, x in zip(stack.pixels, top, left):
        image[y : y + SIDE, x : x + SIDE] = cutout
        mask[y : y + SIDE, x : x + SIDE] = False
    flux, x, y, sigma, background = stack.starts.T
    table = QTable({"x_init": x + left, "y_init": y + top, "flux_init": flux, "sigma_init": sigma, "background_init": background})
    photometry = PSFPhotometry(Star(), (pitch, pitch), fitter=LooseFitter())
    begin = time.perf_counter()
    rows = photometry(image, mask=mask, init_params=table)
    seconds = time.perf_counter() - begin
    columns = [rows["flux_fit"], rows["x_fit"] - left, rows["y_fit"] - top, rows["sigma_fit"], rows["background_fit"]]
    not_converged = 8  # photutils' flag
    return seconds, Result(np.stack(columns, -1), np.asarray(rows["flags"]) & not_converged == 0)


# ------------------------------------------------------------------------------- gradient descent
@numba.njit
def descend(cutout, start, steps, rate):
    """The blog post's gradient descent, from its formulae: the cutout scaled to [0, 1], the mean over the pixels of
    (model - data) times each derivative as the step, that of the flux times 150 and that of sigma times 4.5. Its model
    has no background."""
    height, width = cutout.shape
    low = cutout.min()
    span = cutout.max() - low
    flux, x, y, sigma = start[0] / span, start[1], start[2], start[3]
    for _ in range(steps):
        inverse = 1 / (sigma * sigma)
        by_flux = by_x = by_y = by_sigma = 0.0
        for row in range(height):
            for column in range(width):
                dx, dy = column - x, row - y
                r2 = dx * dx + dy * dy
                unit = math.exp(-0.5 * r2 * inverse) * inverse / (2 * math.pi)
                pull = (flux * unit - (cutout[row, column] - low) / span) * unit
                by_flux += pull
                by_x += pull * dx
                by_y += pull * dy
                by_sigma += pull * (r2 * inverse - 2)
        step = rate / (height * width)
        slope = step * flux * inverse
        flux -= 150 * step * by_flux
        x -= slope * by_x
        y -= slope * by_y
        sigma -= 4.5 * slope * sigma * by_sigma
    return flux * span, x, y, sigma


def gradient_descent(steps, rate):
    def fit(stack):
        stars = np.full((len(stack), 5), np.nan)
        pixels, starts = stack.pixels.astype(float), stack.starts
        descend(pixels[0], starts[0], 1, rate)  # compiles
        begin = time.perf_counter()
        for index in range(len(stack)):
            stars[index, :BACKGROUND] = descend(pixels[index], starts[index], steps, rate)
        return time.perf_counter() - begin, Result(stars)

    return fit


# ---------------------------------------------------------------------------------------- starfit
def starfit_fit(program, *options, given_starts=True):
    """`starfit fit STACK -o CATALOGUE`, the whole process: it starts, reads the stack and the start values, fits,
    finds the errors, writes every column, ends."""

    def fit(stack):
        stack.write()
        catalogue = stack.folder / "fits.csv"
        command = [program, "fit", "-q", stack.path, "-o", catalogue, "--backend=cpu", "--jobs=1", "--weights=unit"]
        command += ["--saturation=inf", f"--tolerance={TOLERANCE}", *options]
        command += ["--stars", stack.starts_path] if given_starts else []
        begin = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - begin
        return seconds, read_catalogue(catalogue)

    return fit


def read_catalogue(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("flux", "x", "y", "fwhm", "background")
    stars = np.array([[float(row[name] or "nan") for name in columns] for row in rows])
    stars[:, SIGMA] /= FWHM_OF_SIGMA
    return Result(stars, np.array([row["status"] == "converged" for row in rows]))


def starfit_bench(program, count, *options):
    """`starfit bench`: fits a second and largest distance from the optimum, on a stack of its own by the same recipe.
    None if it tells no speed, as it does for a wrong answer."""
    options = ["--work=w2", "--backend=cpu", "--threads=1", f"--tolerance={TOLERANCE}", f"--count={count}", "--json", *options]
    done = subprocess.run([program, "bench", *options], check=False, stdout=subprocess.PIPE)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return next((line for line in lines if line["backend"] == "cpu"), None)


# ------------------------------------------------------------------------------------ all of them
def methods(program: pathlib.Path):
    """scipy first: the others' speeds are told as multiples of its."""
    positions = (X, Y)  # of gradient descent: what it makes of the flux is told, not judged
    few, many = 1000, 4000
    descent = ("--solver=gradient-descent",)
    return [
        Method("scipy `curve_fit`, Jacobian", scipy_curve_fit, many),
        Method("astropy `LMLSQFitter`, `Gaussian2D + Const2D` tied", astropy_fitter(tied_gaussian, of_tied), few),
        Method("astropy `LMLSQFitter`, own model with derivatives", astropy_fitter(Star, lambda star: star.parameters), few),
        Method("photutils `PSFPhotometry`, the same model", photutils_psf_photometry, few),
        Method("gradient descent in numba, 60 steps, rate 8", gradient_descent(60, 8.0), many, positions),
        Method("gradient descent in numba, 1000 steps, rate 1", gradient_descent(1000, 1.0), few, positions),
        Method("`starfit fit`, file to CSV, gradient descent, 60 steps, rate 8",
               starfit_fit(program, *descent, "--steps=60", "--learning-rate=8"), many, positions),
        Method("`starfit fit`, file to CSV", starfit_fit(program)),
        Method("`starfit fit`, file to CSV, start values from the pixels", starfit_fit(program, given_starts=False)),
    ]


def engines(program: pathlib.Path, count: int):
    """starfit's fits in memory, which choose their stack themselves; what their `fit` returns is a line of the bench."""
    name = "`starfit bench`, fits in memory"
    variants = {"": (), ", start values from the pixels": ("--start=moments",), ", Poisson": ("--estimator=poisson",)}
    return [
        Method(name + what, functools.partial(starfit_bench, program, count, *options)) for what, options in variants.items()
    ]
