"""Lists of the same five stars as other programs write them: `python make_lists.py` (numpy, astropy, pyarrow).

x and y count from 0 in all of them but those of SExtractor and DS9, where they count from 1.
"""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import from_table, writeto
from astropy.table import MaskedColumn, Table

HERE = Path(__file__).parent
X = np.array([40.25, 101.5, 160.75, 70.0, 125.125])
Y = np.array([30.5, 60.25, 45.75, 120.0, 150.375])
# As an image of 200 x 200 pixels of 2 arcseconds has them, north up and east left (TAN at 99.5, 99.5).
RA0, DEC0, SCALE = 202.5, 47.25, 2 / 3600
xi, eta = np.deg2rad(-(X - 99.5) * SCALE), np.deg2rad((Y - 99.5) * SCALE)
rho = np.hypot(xi, eta)
c = np.arctan(rho)
DEC = np.rad2deg(np.arcsin(np.cos(c) * np.sin(np.deg2rad(DEC0)) + eta * np.sin(c) * np.cos(np.deg2rad(DEC0)) / rho))
RA = RA0 + np.rad2deg(
    np.arctan2(xi * np.sin(c), rho * np.cos(np.deg2rad(DEC0)) * np.cos(c) - eta * np.sin(np.deg2rad(DEC0)) * np.sin(c))
)
NAMES = ["HD 1", "a & b", "<3>", "", "d \"e\""]
# Too long for a double.
IDS = 1576347223453786112 + np.arange(5) * 3
FLUX = np.array([5e3, np.nan, 2e4, 1e4, 3e4])


def table():
    return Table(
        {
            "name": NAMES,
            "source_id": IDS,
            "x": X,
            "y": Y.astype(np.float32),
            "ra": RA,
            "dec": DEC,
            "flux": FLUX,
            "n": MaskedColumn(np.array([60000, 1, 2, 3, 4], np.int32), mask=[0, 1, 0, 0, 0]),
            "aper": np.arange(10.0).reshape(5, 2),
        }
    )


def votables():
    for kind in ["tabledata", "binary", "binary2"]:
        document = from_table(table())
        document.version = "1.4"
        for resource in document.resources:
            for each in resource.tables:
                each.format = kind
                # BINARY has no other way to write that a whole number is missing.
                each.get_field_by_id_or_name("n").values.null = -99
        writeto(document, str(HERE / f"{kind}.vot"))


def fits_tables():
    # The first table has no positions.
    notes = fits.BinTableHDU(Table({"note": ["made by hand"]}), name="NOTES")
    stars = table()
    # Unsigned numbers are signed ones with a TZERO.
    stars["unsigned"] = np.array([60000, 1, 2, 3, 4], np.uint16)
    ids = fits.BinTableHDU(stars["source_id", "x", "y"][:2], name="SHORT")
    stars = fits.BinTableHDU(stars, name="CATALOG")
    fits.HDUList([fits.PrimaryHDU(), notes, stars, ids]).writeto(HERE / "table.fits", overwrite=True)
    head = np.array([["SIMPLE  =                    T".ljust(80)]])
    head = fits.BinTableHDU.from_columns([fits.Column("Field Header Card", "80A", array=head[:, 0])], name="LDAC_IMHEAD")
    objects = Table(
        {
            "NUMBER": np.arange(1, 6, dtype=np.int32),
            "X_IMAGE": X + 1,
            "Y_IMAGE": Y + 1,
            "ALPHA_J2000": RA,
            "DELTA_J2000": DEC,
            "FLUX_MAX": np.full(5, 9, np.float32),
            "VIGNET": np.zeros((5, 3, 3), np.float32),
        }
    )
    objects = fits.BinTableHDU(objects, name="LDAC_OBJECTS")
    fits.HDUList([fits.PrimaryHDU(), head, objects]).writeto(HERE / "ldac.fits", overwrite=True)


def texts():
    np.savetxt(HERE / "savetxt.txt", np.c_[X, Y, FLUX])
    np.savetxt(HERE / "savetxt_padded.txt", np.c_[X, Y], fmt="%12.4f")
    np.savetxt(HERE / "savetxt_comma.txt", np.c_[X, Y], delimiter=",")
    np.savetxt(HERE / "savetxt_header.txt", np.c_[FLUX, Y, X], header="of M 51\nflux y x")
    table()["name", "source_id", "x", "y", "ra", "dec", "flux", "n"].write(HERE / "blanks.ecsv", overwrite=True)


def regions():
    sky = SkyCoord(RA, DEC, unit="deg", frame="icrs")
    shapes = ["point({})", "circle({},3)", "ellipse({},3,2,30)", "box({},4,4,0)", "annulus({},3,5)"]
    label = [f" # text={{{name}}}" if name else " # color=red" for name in NAMES]

    def write(name, system, places):
        lines = ["# Region file format: DS9 version 4.1", 'global color=green font="helvetica 10 normal"', system]
        lines += [shape.format(place) + text for shape, place, text in zip(shapes, places, label)]
        lines += ["-circle(5,5,1)", "line(1,1,9,9)", "# text(3,3) text={a remark}"]
        (HERE / name).write_text("\n".join(lines) + "\n")

    write("image.reg", "image", [f"{x},{y}" for x, y in zip(X + 1, Y + 1)])
    write("physical.reg", "physical", [f"{x} {y}" for x, y in zip(X + 1, Y + 1)])
    write("icrs.reg", "icrs", [f"{a:.8f},{d:.8f}" for a, d in zip(RA, DEC)])
    fk5 = sky.transform_to("fk5").to_string("hmsdms", sep=":", precision=5)
    write("fk5.reg", "fk5", [text.replace(" ", ",") for text in fk5])
    galactic = sky.galactic
    write("galactic.reg", "galactic", [f"{l:.8f},{b:.8f}" for l, b in zip(galactic.l.deg, galactic.b.deg)])
    first = [f"fk5;circle({text.replace(' ', ',')},1\")" for text in sky.fk5.to_string("hmsdms", precision=5)]
    (HERE / "old_style.reg").write_text("\n".join(first) + "\n")


def parquet():
    columns = {
        "name": pyarrow.array([name or None for name in NAMES]),
        "source_id": IDS,
        "x": X,
        "y": Y.astype(np.float32),
        "ra": RA,
        "dec": DEC,
        "flux": pyarrow.array([None if np.isnan(flux) else flux for flux in FLUX]),
        "n": pyarrow.array([60000, None, 2, 3, 4], pyarrow.uint16()),
        "aper": pyarrow.array([[1.0, 2.0]] * 5),
        "date": pyarrow.array([0] * 5, pyarrow.timestamp("s")),
    }
    # Two groups of rows.
    pyarrow.parquet.write_table(pyarrow.table(columns), HERE / "table.parquet", row_group_size=3)


if __name__ == "__main__":
    parquet()
    votables()
    fits_tables()
    texts()
    regions()
