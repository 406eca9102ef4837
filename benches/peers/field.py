"""A whole image: `starfit fit` from file to SQLite, SExtractor on the same file, photutils on the same stars."""
import dataclasses
import os
import pathlib
import shutil
import sqlite3
import subprocess
import time

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from photutils.psf import CircularGaussianPSF, PSFPhotometry
from photutils.utils import calc_total_error
from scipy.spatial import cKDTree

from methods import LooseFitter, Method
from work import BACKGROUND, FLUX, FWHM_OF_SIGMA, SIDE, SIGMA, X, Y, bound, perturbed

# Clear stars, by which all are judged: no other star and no edge nearer than this, in pixels, and at least this flux
# in bounds.
ALONE, CLEAR = 15, 15
# Detection, in sigma of the image filtered with a Gaussian as wide as the stars.
THRESHOLD, FWHM = 5, 3.0


@dataclasses.dataclass
class Field:
    """A simulated image and the truth about its stars, (n, 5)."""

    path: pathlib.Path
    truth: np.ndarray
    bound: np.ndarray
    found: np.ndarray  # which of the stars starfit finds: "the same stars" for who does not detect any
    side: int

    @classmethod
    def simulate(cls, program, folder, stars=3000, side=2048):
        path = folder / "field.fits"
        subprocess.run([program, "simulate", "-q", f"--stars={stars}", f"--width={side}", f"--height={side}", path], check=True)
        table = np.genfromtxt(f"{path}.truth.csv", delimiter=",", names=True)
        truth = np.stack([table[name] for name in ("flux", "x", "y", "fwhm", "background")], -1)
        truth[:, SIGMA] /= FWHM_OF_SIGMA
        header = fits.getheader(path)
        # The bound does not change with where in its cutout a star is, as long as that is the middle.
        middle = truth.copy()
        middle[:, [X, Y]] = (SIDE - 1) / 2 + truth[:, [X, Y]] - np.round(truth[:, [X, Y]])
        field = cls(path, truth, bound(middle, header["GAIN"], header["RDNOISE"]), np.ones(len(truth), bool), side)
        _, rows = starfit(program)(field)
        return dataclasses.replace(field, found=np.isfinite(match(rows, truth)[:, X]))

    @property
    def clear(self):
        """Stars to judge by."""
        places = self.truth[:, [X, Y]]
        nearest = cKDTree(places).query(places, 2)[0][:, 1]
        edge = np.minimum(places, self.side - 1 - places).min(1)
        return (nearest > ALONE) & (edge > ALONE) & (self.truth[:, FLUX] > CLEAR * self.bound[:, FLUX])

    def shifted(self):
        """The image a pixel to the right, with the old truth: everybody's answer is then wrong."""
        path = self.path.with_name("shifted.fits")
        image, header = fits.getdata(self.path, header=True)
        fits.writeto(path, np.roll(image, 1, axis=1).astype(np.float32), header, overwrite=True)
        return dataclasses.replace(self, path=path)


def match(rows, truth):
    """For each true star the row nearest to it, NaN if there is none within a pixel."""
    distance, index = cKDTree(rows[:, [X, Y]]).query(truth[:, [X, Y]], distance_upper_bound=1.0)
    return np.where(np.isfinite(distance)[:, None], rows[np.minimum(index, len(rows) - 1)], np.nan)


def star_rows(flux, x, y):
    """Rows (n, 5) of which only these are known, without those that have no fit."""
    rows = np.full((len(flux), 5), np.nan)
    rows[:, [FLUX, X, Y]] = np.stack([flux, x, y], -1)
    return rows[np.isfinite(rows[:, X])]


def starfit(program, *options):
    """`starfit fit FILE -o DATABASE`, the whole process, into a new database."""

    def fit(field):
        database = field.path.with_suffix(".db")
        database.unlink(missing_ok=True)
        begin = time.perf_counter()
        subprocess.run([program, "fit", "-q", field.path, "-o", database, "--backend=cpu", *options], check=True)
        seconds = time.perf_counter() - begin
        with sqlite3.connect(database) as connection:
            rows = connection.execute("SELECT flux, x, y FROM stars WHERE flux IS NOT NULL").fetchall()
        return seconds, star_rows(*np.array(rows).T)

    return fit


def sextractor_program():
    """Debian's name of it, or its own; None where there is neither."""
    return shutil.which("source-extractor") or shutil.which("sex")


def sextractor(program):
    """SExtractor, the whole process, from file to FITS table; filtered and thresholded as starfit does: a Gaussian
    kernel, and a single pixel at 5 sigma of the filtered image (SExtractor counts in sigma of the unfiltered one)."""

    def fit(field):
        folder = field.path.parent
        offset = np.arange(-3, 4)
        side = np.exp(-(offset**2) / (2 * (FWHM / FWHM_OF_SIGMA) ** 2))
        kernel = np.outer(side, side) / side.sum() ** 2
        np.savetxt(folder / "filter.conv", kernel, header="CONV NORM", comments="")
        columns = "NUMBER XWIN_IMAGE YWIN_IMAGE ERRAWIN_IMAGE FLUX_AUTO FLUXERR_AUTO FWHM_IMAGE BACKGROUND FLAGS"
        (folder / "columns.param").write_text(columns.replace(" ", "\n") + "\n")
        (folder / "all-defaults.sex").write_text("")
        threshold = THRESHOLD * np.sqrt(np.sum(kernel**2))
        options = {
            "c": folder / "all-defaults.sex", "PARAMETERS_NAME": folder / "columns.param", "FILTER_NAME": folder / "filter.conv",
            "DETECT_THRESH": f"{threshold:.4f}", "ANALYSIS_THRESH": f"{threshold:.4f}", "DETECT_MINAREA": 1, "NTHREADS": 1,
            "CATALOG_TYPE": "FITS_1.0", "CATALOG_NAME": folder / "sextractor.fits", "VERBOSE_TYPE": "QUIET",
        }
        command = [program, field.path, *(str(word) for name, value in options.items() for word in (f"-{name}", value))]
        begin = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "LC_ALL": "C"})
        seconds = time.perf_counter() - begin
        table = fits.getdata(folder / "sextractor.fits")
        return seconds, star_rows(table["FLUX_AUTO"], table["XWIN_IMAGE"] - 1, table["YWIN_IMAGE"] - 1)

    return fit


def photutils(fitter):
    """PSFPhotometry alone, of the stars that starfit finds, from 10 % off the truth. Reading the file, the background
    (taken out as the truth has it) and the noise map are outside of the clock."""

    def fit(field):
        image, header = fits.getdata(field.path, header=True)
        background, gain, read_noise = field.truth[0, BACKGROUND], header["GAIN"], header["RDNOISE"]
        starlight = image - background
        sky_noise = np.full(image.shape, np.sqrt(background / gain + (read_noise / gain) ** 2))
        error = calc_total_error(starlight, sky_noise, gain)
        flux, x, y, sigma, _ = perturbed(field.truth[field.found]).T
        table = QTable({"x_init": x, "y_init": y, "flux_init": flux, "fwhm_init": sigma * FWHM_OF_SIGMA})
        model = CircularGaussianPSF(fixed={"fwhm": False})
        photometry = PSFPhotometry(model, (SIDE, SIDE), fitter=fitter)
        begin = time.perf_counter()
        rows = photometry(starlight, error=error, init_params=table)
        return time.perf_counter() - begin, star_rows(rows["flux_fit"], rows["x_fit"], rows["y_fit"])

    return fit


def methods(program):
    """starfit first: the others' times are told as multiples of its."""
    everyone = [
        Method("`starfit fit`, file to SQLite, all cores", starfit(program)),
        Method("`starfit fit`, file to SQLite, one thread", starfit(program, "--jobs=1")),
        Method("photutils `PSFPhotometry` as it comes, the fits alone", photutils(None)),
        Method("photutils `PSFPhotometry`, `LMLSQFitter`, tolerance 1e-4, the fits alone", photutils(LooseFitter())),
    ]
    if found := sextractor_program():
        everyone.append(Method("SExtractor, windowed positions, file to FITS table", sextractor(found)))
    return everyone
