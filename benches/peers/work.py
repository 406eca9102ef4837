"""What everybody is given: the stack of the standard work W2, its truth and where the fits start; and what
they are judged by: the Cramer-Rao bound and the least-squares optimum.

A star is a row (flux, x, y, sigma, background); x is the column, and the centre of the first pixel is (0, 0).
"""
import dataclasses
import pathlib

import numpy as np
from scipy.optimize import curve_fit

FLUX, X, Y, SIGMA, BACKGROUND = range(5)
FWHM_OF_SIGMA = 2 * np.sqrt(2 * np.log(2))
SIDE = 15
# How wrong the start values are.
OFF = 0.1


def image_and_derivatives(stars):
    """Images (n, pixels) of circular Gaussians and their derivatives (n, pixels, 5) by the parameters."""
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    flux, x, y, sigma, background = np.asarray(stars, float).T[:, :, None]
    dx, dy = column - x, row - y
    r2 = dx * dx + dy * dy
    profile = np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    star = flux * profile
    slopes = [profile, star * dx / sigma**2, star * dy / sigma**2, star * (r2 / sigma**3 - 2 / sigma), np.ones_like(star)]
    return star + background, np.stack(slopes, -1)


def bound(stars, gain=1.0, read_noise=0.0):
    """The Cramer-Rao bound: the smallest standard error that any unbiased fit of the five parameters can have."""
    image, slopes = image_and_derivatives(stars)
    variance = image / gain + (read_noise / gain) ** 2
    information = np.einsum("npi,npj->nij", slopes / variance[:, :, None], slopes)
    return np.sqrt(np.diagonal(np.linalg.inv(information), axis1=1, axis2=2))


def perturbed(truth):
    """Start values 10 % off the truth, up or down in turn; positions off by 0.1 pixel. As `starfit bench` has them."""
    index, parameter = np.arange(len(truth))[:, None], np.arange(5)
    by = np.where(index >> parameter & 1, -OFF, OFF)
    return truth + by * np.where(np.isin(parameter, (X, Y)), 1.0, truth)


@dataclasses.dataclass
class Stack:
    """Cutouts with one star each."""

    pixels: np.ndarray  # (n, SIDE, SIDE), float32
    truth: np.ndarray  # (n, 5)
    folder: pathlib.Path  # for the files of programs

    def __len__(self):
        return len(self.pixels)

    @classmethod
    def w2(cls, count, seed, folder):
        """W2: peak 200 to 2000, sigma 1.2 to 2.2, within 1.5 pixels of the middle, on 100, Poisson noise of gain 1."""
        rng = np.random.default_rng(seed)
        middle = (SIDE - 1) / 2
        low, high = [200, middle - 1.5, middle - 1.5, 1.2], [2000, middle + 1.5, middle + 1.5, 2.2]
        peak, x, y, sigma = rng.uniform(low, high, (count, 4)).T
        truth = np.stack([peak * 2 * np.pi * sigma**2, x, y, sigma, np.full(count, 100.0)], -1)
        pixels = [rng.poisson(image_and_derivatives(star[None])[0][0]) for star in truth]
        return cls(np.reshape(pixels, (count, SIDE, SIDE)).astype(np.float32), truth, folder)

    @property
    def starts(self):
        return perturbed(self.truth)

    @property
    def path(self):
        """The stack as a file."""
        return self.folder / "stack.npy"

    @property
    def starts_path(self):
        """The start values as a file, in the catalogue's columns."""
        return self.folder / "starts.csv"

    def write(self):
        np.save(self.path, self.pixels)
        columns = self.starts.copy()
        columns[:, SIGMA] *= FWHM_OF_SIGMA
        np.savetxt(self.starts_path, columns, delimiter=",", header="flux,x,y,fwhm,background", comments="")

    def first(self, count):
        """The same stack, its first stars only."""
        return dataclasses.replace(self, pixels=self.pixels[:count], truth=self.truth[:count])

    def shifted(self):
        """The stars a pixel to the right, with the old truth: everybody's answer is then wrong."""
        return dataclasses.replace(self, pixels=np.roll(self.pixels, 1, axis=2))


def optima(stack):
    """The least-squares optimum of each star and its standard errors, by scipy at its tightest."""

    def model(_, *star):
        return image_and_derivatives([star])[0][0]

    def jacobian(_, *star):
        return image_and_derivatives([star])[1][0]

    tight = {"method": "lm", "jac": jacobian, "ftol": 1e-12, "xtol": 1e-12, "gtol": 1e-12}
    pixels = stack.pixels.astype(float).reshape(len(stack), -1)
    fits = [curve_fit(model, None, cutout, start, **tight) for cutout, start in zip(pixels, stack.starts)]
    return np.array([best for best, _ in fits]), np.array([np.sqrt(np.diag(covariance)) for _, covariance in fits])
