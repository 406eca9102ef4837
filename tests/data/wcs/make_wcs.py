"""Makes headers.txt and sky.npy: headers of every kind and where astropy says their pixels are.

    pip install astropy==8.0.2
    python make_wcs.py DATA

DATA is the folder of the data sets, whose headers with a WCS go in as they are. Pixels are not
stored: `pixels` gives them, and tests/it/wcs.rs by the same formula.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

warnings.simplefilter("ignore")
HERE = Path(__file__).parent
COUNT = 200


def pixels(width, height):
    """Evenly spread places, pixels from 0: fractions of i times two irrational numbers."""
    i = np.arange(COUNT, dtype=float)
    x = (i * 0.7548776662466927) % 1.0 * width - 0.5
    y = (i * 0.5698402909980532) % 1.0 * height - 0.5
    return x, y


def sky(header):
    """ICRS, degrees; NaN where there is no position."""
    wcs = WCS(header)
    frame = wcs_to_celestial_frame(wcs)
    wcs = wcs.sub(2) if wcs.naxis > 2 else wcs
    world = wcs.all_pix2world(*pixels(header["NAXIS1"], header["NAXIS2"]), 0)
    lon, lat = world[wcs.wcs.lng], world[wcs.wcs.lat]
    good = np.isfinite(lon) & np.isfinite(lat)
    position = SkyCoord(lon[good], lat[good], unit="deg", frame=frame).icrs
    result = np.full((COUNT, 2), np.nan)
    result[good, 0], result[good, 1] = position.ra.deg, position.dec.deg
    return result


def base(code="TAN", ra=150.0, dec=30.0, scale=2e-4, size=(1000, 800), **cards):
    """A header with a scale in degrees and whatever else is given; None takes a card out."""
    header = {
        "NAXIS": 2, "NAXIS1": size[0], "NAXIS2": size[1],
        "CTYPE1": f"RA---{code}", "CTYPE2": f"DEC--{code}",
        "CRPIX1": size[0] / 2 - 3.25, "CRPIX2": size[1] / 2 + 7.5,
        "CRVAL1": ra, "CRVAL2": dec, "CDELT1": -scale, "CDELT2": scale,
    }
    return header | cards


def cd(a, b, c, d):
    return {"CDELT1": None, "CDELT2": None, "CD1_1": a, "CD1_2": b, "CD2_1": c, "CD2_2": d}


def coefficients(name, values):
    return {f"{name}_{key}": value for key, value in values.items()}


TILTED = cd(-1.9e-4, 4.1e-5, 3.9e-5, 2.05e-4)
SWAPPED = {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": -42.0, "CRVAL2": 210.0}
GALACTIC = {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": 33.0, "CRVAL2": -4.0}
SIP = coefficients("A", {"ORDER": 3, "0_2": 2.1e-6, "1_1": -5.2e-6, "2_0": 8.1e-6, "3_0": -3e-10, "1_2": 2e-9, "0_3": 4e-10})
SIP |= coefficients("B", {"ORDER": 3, "0_2": -4.2e-6, "1_1": 6.5e-6, "2_0": 1.2e-6, "0_3": 5e-10, "2_1": -1e-9})
SIP9 = SIP | {"A_ORDER": 9, "A_0_9": 1e-26, "A_5_2": -3e-20, "B_ORDER": 4, "B_4_0": 2e-12}
BAD_INVERSE = coefficients("AP", {"ORDER": 2, "0_0": 300.0, "1_0": 0.5, "0_2": 1e-3})
BAD_INVERSE |= coefficients("BP", {"ORDER": 2, "0_0": -300.0, "0_1": 0.5, "2_0": 1e-3})
TPV = coefficients("PV1", {0: 1e-5, 1: 1.002, 2: -3e-4, 3: 2e-4, 4: 0.01, 5: -0.02, 6: 0.013, 7: 0.1, 9: -0.05, 10: 0.02, 11: 0.03})
TPV |= coefficients("PV2", {0: -2e-5, 1: 0.998, 2: 5e-4, 4: -0.012, 5: 0.01, 6: 0.02, 8: 0.07, 10: -0.1, 11: 0.01})
TPV7 = TPV | coefficients("PV1", {m: 0.01 * (-1) ** m for m in range(12, 40)})
TPV7 |= coefficients("PV2", {m: 0.02 * (-1) ** (m // 2) for m in range(12, 40)})
WIDE = dict(scale=1.0, size=(360, 180))

CASES = {
    "tan_cdelt": base(),
    "tan_cd": base(**TILTED),
    "tan_cd_two_of_four": base(**cd(-1.9e-4, None, None, 2.05e-4)),
    "tan_cd_and_cdelt": base(**(TILTED | {"CDELT1": 1.0, "CDELT2": 1.0})),
    "tan_cd_and_crota2": base(**(TILTED | {"CROTA2": 30.0})),
    "tan_pc": base(PC1_1=0.9, PC1_2=-0.3, PC2_1=0.25, PC2_2=0.95),
    "tan_pc_two_of_four": base(PC1_2=-0.3, PC2_1=0.25),
    "tan_pc_without_cdelt": base(CDELT1=None, CDELT2=None, PC1_1=-2e-4, PC2_2=2e-4),
    "tan_crota2": base(CROTA2=37.0),
    "tan_crota2_unequal": base(CDELT2=3e-4, CROTA2=-120.0),
    "tan_crota1": base(CROTA1=20.0),
    "tan_lonpole": base(LONPOLE=150.0),
    "tan_lonpole_by_pv": base(LONPOLE=150.0, PV1_3=100.0),
    "tan_units": base(CUNIT1="arcsec", CUNIT2="arcmin", CRVAL1=540000.0, CRVAL2=1800.0, CDELT1=-0.7, CDELT2=0.012),
    "tan_units_rad": base(CUNIT1="rad", CUNIT2="rad", CRVAL1=2.5, CRVAL2=-0.5, CDELT1=-3e-6, CDELT2=3e-6),
    "tan_north_pole": base(dec=90.0),
    "tan_by_north_pole": base(dec=89.97, **TILTED),
    "tan_south_pole": base(dec=-90.0, LONPOLE=20.0),
    "tan_0h": base(ra=0.01, **TILTED),
    "tan_before_0h": base(ra=-0.01, dec=-70.0),
    "tan_half_sky": base(scale=0.5, size=(360, 360), dec=-20.0),
    "tan_cube": base(NAXIS=3, NAXIS3=4, WCSAXES=3, CTYPE3="FREQ", CRPIX3=1.0, CRVAL3=1.4e9, CDELT3=1e6, CUNIT3="Hz"),
    "tan_swapped": base(**(TILTED | SWAPPED)),
    "tan_swapped_crota1": base(**(SWAPPED | {"CROTA1": 25.0, "CROTA2": 99.0, "CDELT2": -3e-4})),
    "tan_swapped_pc_lonpole": base(**(SWAPPED | {"PC1_1": 0.2, "PC1_2": 1.0, "PC2_1": 0.9, "PC2_2": -0.1, "LONPOLE": 100.0})),
    "galactic_tan": base(**(TILTED | GALACTIC)),
    "galactic_car": base(**(GALACTIC | {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL2": 0.0})),
    "galactic_swapped_ait": base("AIT", **WIDE) | {"CTYPE1": "GLAT-AIT", "CTYPE2": "GLON-AIT", "CRVAL1": 0.0, "CRVAL2": 0.0},
    "galactic_tan_equinox": base(**(GALACTIC | {"EQUINOX": 1950.0})),
    "fk4": base(EQUINOX=1950.0),
    "fk4_1900": base(ra=359.99, dec=-45.0, RADESYS="FK4", EQUINOX=1900.0),
    "fk4_1975": base(ra=80.0, dec=88.0, RADECSYS="FK4", EQUINOX=1975.0),
    "fk4_without_equinox": base(ra=266.0, dec=-29.0, RADESYS="FK4"),
    "fk4_no_e": base(RADESYS="FK4-NO-E", EQUINOX=1955.0),
    "fk4_epoch": base(EPOCH=1950.0, CROTA2=5.0),
    "fk5": base(EQUINOX=2000.0),
    "fk5_2015": base(ra=10.0, dec=-89.9, RADESYS="FK5", EQUINOX=2015.5),
    "fk5_1990": base(ra=200.0, RADECSYS="FK5", EQUINOX=1990),
    "fk5_without_equinox": base(RADESYS="FK5"),
    "icrs_equinox": base(RADESYS="ICRS", EQUINOX=1950.0),
    "sip": base("TAN-SIP", **(TILTED | SIP)),
    "sip_crota2": base("TAN-SIP", **(SIP | {"CROTA2": 45.0})),
    "sip_without_suffix": base(**(TILTED | SIP)),
    "sip_ninth_order": base("TAN-SIP", **(TILTED | SIP9)),
    "sip_bad_inverse": base("TAN-SIP", **(TILTED | SIP | BAD_INVERSE)),
    "sip_swapped": base(**(TILTED | SWAPPED | SIP | {"CTYPE1": "DEC--TAN-SIP", "CTYPE2": "RA---TAN-SIP"})),
    "sip_car": base("CAR-SIP", **(TILTED | SIP)),
    "sip_and_leftover_pv": base("TAN-SIP", **(TILTED | SIP | TPV)),
    "tpv": base("TPV", **(TILTED | TPV)),
    "tpv_seventh_order": base("TPV", **(TILTED | TPV7)),
    "tpv_pc": base("TPV", **(TPV | {"CDELT1": 1.0, "CDELT2": 1.0, "PC1_1": -2e-4, "PC1_2": 3e-5, "PC2_1": 2e-5, "PC2_2": 2e-4})),
    "tpv_and_sip": base("TPV", **(TILTED | TPV | SIP)),
    "tan_by_scamp": base(**(TILTED | TPV)),
    "tan_by_scamp_and_sip": base(**(TILTED | TPV | SIP)),
    "sin": base("SIN", scale=0.3, size=(360, 360)),
    "sin_slanted": base("SIN", scale=0.3, size=(360, 360), PV2_1=0.2, PV2_2=-0.1),
    "sin_small": base("SIN", PV2_1=0.05, PV2_2=0.3),
    "ncp": base("NCP", dec=55.0, scale=0.1, size=(360, 360)),
    "stg": base("STG", LATPOLE=12.0, **WIDE),
    "arc": base("ARC", **WIDE),
    "zea": base("ZEA", LONPOLE=33.0, **WIDE),
    "zpn": base("ZPN", scale=0.3, size=(360, 360), PV2_1=1.0, PV2_3=-0.02, PV2_5=0.003),
    "cyp": base("CYP", ra=40.0, dec=0.0, PV2_1=1.5, PV2_2=0.7, **WIDE),
    "cea": base("CEA", ra=40.0, dec=20.0, PV2_1=0.6, **WIDE),
    "car": base("CAR", ra=0.0, dec=0.0, **WIDE),
    "car_oblique": base("CAR", ra=40.0, dec=50.0, **WIDE),
    "car_lonpole": base("CAR", ra=40.0, dec=10.0, LONPOLE=60.0, LATPOLE=-5.0, **WIDE),
    "car_latpole": base("CAR", ra=40.0, dec=0.0, LONPOLE=0.0, LATPOLE=-30.0, **WIDE),
    "car_lonpole_0": base("CAR", ra=40.0, dec=30.0, LONPOLE=0.0, LATPOLE=-30.0, **WIDE),
    "car_south": base("CAR", ra=40.0, dec=-30.0, LATPOLE=-90.0, **WIDE),
    "car_pole": base("CAR", ra=40.0, dec=90.0, **WIDE),
    "mer": base("MER", ra=300.0, dec=-15.0, LATPOLE=-80.0, **WIDE),
    "sfl": base("SFL", ra=180.0, dec=0.0, **WIDE),
    "par": base("PAR", ra=180.0, dec=35.0, **WIDE),
    "mol": base("MOL", ra=0.0, dec=0.0, **WIDE),
    "ait": base("AIT", ra=90.0, dec=-30.0, LONPOLE=170.0, **WIDE),
    "cop": base("COP", PV2_1=45.0, PV2_2=20.0, **WIDE),
    "coe": base("COE", dec=-40.0, PV2_1=-45.0, PV2_2=25.0, **WIDE),
    "cod": base("COD", PV2_1=40.0, **WIDE),
    "cod_two": base("COD", PV2_1=40.0, PV2_2=15.0, LONPOLE=170.0, **WIDE),
    "coo": base("COO", PV2_1=45.0, PV2_2=-20.0, **WIDE),
    "coo_one": base("COO", dec=60.0, PV2_1=-30.0, LATPOLE=80.0, **WIDE),
}

KEEP = ("NAXIS", "WCSAXES", "CTYPE", "CUNIT", "CRVAL", "CRPIX", "CDELT", "CROTA", "CD1_", "CD2_", "CD3_",
        "PC1_", "PC2_", "LONPOLE", "LATPOLE", "RADESYS", "RADECSYS", "EQUINOX", "EPOCH", "A_", "B_", "AP_", "BP_")


def of_data(folder):
    """Headers of the data sets, each once."""
    seen = []
    for path in sorted(Path(folder).glob("*.f*")):
        with fits.open(path) as units:
            for number, unit in enumerate(units):
                header = unit.header
                if not unit.is_image or not str(header.get("CTYPE1", "")).strip():
                    continue
                cards = {k: v for k, v in header.items() if k.startswith(KEEP)}
                if cards not in seen:
                    seen.append(cards)
                    yield f"{path.name}[{number}]", cards


def main():
    cases = CASES | dict(of_data(sys.argv[1]))
    blocks, results = [], []
    for name, cards in cases.items():
        header = fits.Header([(k, v) for k, v in cards.items() if v is not None])
        results.append(sky(header))
        lines = [str(card).rstrip() for card in header.cards]
        blocks.append("\n".join([f"== {name}", *lines]))
    (HERE / "headers.txt").write_text("\n".join(blocks) + "\n")
    np.save(HERE / "sky.npy", np.array(results))
    print(len(cases), "headers,", np.isfinite(results).all(axis=2).sum(), "positions")


if __name__ == "__main__":
    main()
