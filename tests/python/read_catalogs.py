"""Reads the catalogues of a folder with the programs that astronomers use, and compares them.

expected.json has the columns, the rows (floats as the 16 hexadecimal digits of their bits, null as
null) and the facts that catalogues must state; catalog.* are the catalogues. Each comparison is
made once more with one value of each column changed by as little as there is, and must then fail.
A warning of astropy, as about a unit that it does not know, is a failure.
"""

import csv
import io
import json
import math
import shutil
import sqlite3
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet
from astropy.io import fits
from astropy.io.votable import parse as parse_votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from astropy.units import Unit, UnrecognizedUnit

warnings.simplefilter("error")


class Different(Exception):
    """A catalogue is not what was written."""


def bits(value):
    return struct.pack(">d", value).hex()


def from_bits(text):
    return struct.unpack(">d", bytes.fromhex(text))[0]


class Expected:
    def __init__(self, folder):
        expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        self.columns = expected["columns"]
        self.rows = expected["rows"]
        self.facts = expected["facts"]
        self.images = expected["images"]

    def check_values(self, names, rows, sign_of_zero=True, ascii_only=False):
        """Compares rows of Python values, None being null."""
        if names != [column["name"] for column in self.columns]:
            raise Different(f"columns {names}")
        if len(rows) != len(self.rows):
            raise Different(f"{len(rows)} rows, not {len(self.rows)}")
        for n, (found, wanted) in enumerate(zip(rows, self.rows)):
            for column, a, b in zip(self.columns, found, wanted):
                if b is None or a is None:
                    same = a is None and b is None
                elif column["kind"] == "float":
                    b = from_bits(b)
                    same = bits(float(a)) == bits(b) or (not sign_of_zero and a == 0 == b)
                elif column["kind"] == "text" and ascii_only:
                    same = a == "".join(c if c.isascii() else f"\\u{{{ord(c):x}}}" for c in b)
                else:
                    same = type(b)(a) == b
                if not same:
                    raise Different(f"row {n}, {column['name']}: {a!r}, not {b!r}")

    def check_columns(self, what, found):
        """Compares one fact of each column; a missing one is None."""
        for column, value in zip(self.columns, found, strict=True):
            if value != column[what]:
                raise Different(f"{what} of {column['name']}: {value!r}, not {column[what]!r}")

    def check_facts(self, found):
        for name, value in self.facts.items():
            if found.get(name) != value:
                raise Different(f"{name}: {found.get(name)!r}, not {value!r}")

    def check_images(self, found):
        if [image["name"] for image in found] != self.images:
            raise Different(f"images {found}")

    def spoil(self, at):
        """Changes one value of a column; returns what takes it back."""
        for row in self.rows:
            value = row[at]
            if value is None:
                continue
            kind = self.columns[at]["kind"]
            if kind == "float":
                row[at] = bits(math.nextafter(from_bits(value), math.inf))
            else:
                row[at] = value + ("x" if kind == "text" else 1)

            def restore():
                row[at] = value

            return restore
        return None


def plain(value):
    """A value of numpy, pandas or a masked table as Python has it."""
    # FITS, VOTable and ECSV have no other text for null.
    if value is None or value is np.ma.masked or value is pandas.NA or (isinstance(value, (str, bytes)) and not value):
        return None
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else float(value)
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode() if isinstance(value, bytes) else value


def rows_of(table):
    return [[plain(row[name]) for name in table.colnames] for row in table]


def rows_of_frame(frame):
    return [[plain(value) for value in row] for row in frame.itertuples(index=False, name=None)]


def unit_text(unit):
    return None if unit is None else unit.to_string()


def check_units(expected, table, spelling, what="unit"):
    """Compares units with those of columns, `unit`, or `standard_unit` for FITS and VOTable."""
    for column, name in zip(expected.columns, table.colnames, strict=True):
        unit, text = table[name].unit, column[what]
        if isinstance(unit, UnrecognizedUnit):
            raise Different(f"unit of {name}: astropy does not know {unit.to_string()!r}")
        wanted = None if text is None else Unit(text, format=spelling)
        if unit_text(unit) != unit_text(wanted):
            raise Different(f"unit of {name}: {unit_text(unit)!r}, not {text!r}")


# Each reader reads a file and returns what compares it.


def read_csv(path):
    frame = pandas.read_csv(path, dtype_backend="numpy_nullable", keep_default_na=False, na_values=[""])
    names, rows = list(frame.columns), rows_of_frame(frame)
    return lambda expected: expected.check_values(names, rows)


def read_ecsv(path):
    table = Table.read(path)
    rows = rows_of(table)

    def check(expected):
        expected.check_values(table.colnames, rows)
        check_units(expected, table, None)
        expected.check_columns("ucd", [table[name].meta["ucd"] for name in table.colnames])
        expected.check_columns("description", [table[name].description for name in table.colnames])
        expected.check_facts(table.meta)
        expected.check_images(table.meta["images"])

    return check


KEYWORDS = {
    "estimator": "ESTIMATR",
    "threshold": "THRESH",
    "fwhm_expected": "FWHM",
    "flux_unit": "FLUXUNIT",
    "run_version": "VERSION",
    "command_line": "COMMAND",
}


def read_fits(path):
    with fits.open(path) as file:
        file.verify("exception")
        header = file["STARS"].header
    table = Table.read(path)
    rows = rows_of(table)

    def check(expected):
        expected.check_values(table.colnames, rows, ascii_only=True)
        check_units(expected, table, "fits", "standard_unit")
        for what, keyword in [("ucd", "TUCD"), ("standard_unit", "TUNIT"), ("description", "TCOMM")]:
            numbers = range(1, len(expected.columns) + 1)
            expected.check_columns(what, [header.get(f"{keyword}{n}") for n in numbers])
        facts = {name: header.get(KEYWORDS.get(name, name.upper())) for name in expected.facts}
        expected.check_facts(facts)
        numbers = range(1, len(expected.images) + 1)
        expected.check_images([json.loads(header[f"IMG{n}"]) for n in numbers])

    return check


def read_votable(path):
    document = parse_votable(path, verify="exception")
    fields = document.get_first_table().fields
    infos = list(document.resources[0].infos)
    table = Table.read(path, format="votable")
    rows = rows_of(table)

    def check(expected):
        expected.check_values(table.colnames, rows)
        check_units(expected, table, "vounit", "standard_unit")
        expected.check_columns("ucd", [field.ucd for field in fields])
        expected.check_columns("description", [field.description for field in fields])
        facts = {info.name: info.value for info in infos}
        for name, value in expected.facts.items():
            if isinstance(value, float) and name in facts:
                facts[name] = float(facts[name])
        expected.check_facts(facts)
        expected.check_images([json.loads(info.value) for info in infos if info.name == "image"])

    return check


def read_parquet(path):
    table = pyarrow.parquet.read_table(path)
    rows = [list(row.values()) for row in table.to_pylist()]
    facts = json.loads(table.schema.metadata[b"starfit"])
    frame = pandas.read_parquet(path, dtype_backend="numpy_nullable")
    frame_rows = rows_of_frame(frame)
    described = Table.read(path, format="parquet.votable")

    def check(expected):
        expected.check_values(table.column_names, rows)
        expected.check_values(list(frame.columns), frame_rows)
        expected.check_facts(facts)
        expected.check_images(facts["images"])
        check_units(expected, described, "vounit", "standard_unit")
        expected.check_columns("ucd", [described[name].meta.get("ucd") for name in described.colnames])

    return check


def read_db(path):
    connection = sqlite3.connect(path)
    cursor = connection.execute("SELECT * FROM catalog ORDER BY image, id")
    names = [description[0] for description in cursor.description]
    rows = cursor.fetchall()
    units = dict(connection.execute("SELECT name, unit FROM columns").fetchall())
    connection.close()

    def check(expected):
        # SQLite keeps whole numbers as integers and so loses the sign of -0.
        expected.check_values(names, rows, sign_of_zero=False)
        expected.check_columns("unit", [units[column["name"]] for column in expected.columns])

    return check


def read_db_by_shell(path):
    """By SQLite's own program, where it is installed; floats by their bits."""

    def ask(sql):
        command = ["sqlite3", "-readonly", "-csv", path, sql]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return list(csv.reader(io.StringIO(answer)))

    names = [name for (name,) in ask("SELECT name FROM pragma_table_info('catalog')")]
    typed = ", ".join(
        f"""CASE typeof("{name}") WHEN 'real' THEN 'r' || hex(ieee754_to_blob("{name}"))
        WHEN 'integer' THEN 'i' || "{name}" WHEN 'text' THEN 't' || "{name}" END"""
        for name in names
    )
    read = {"r": from_bits, "i": int, "t": str}
    rows = [
        [read[value[0]](value[1:]) if value else None for value in row]
        for row in ask(f"SELECT {typed} FROM catalog ORDER BY image, id")
    ]

    def check(expected):
        expected.check_values(names, rows, sign_of_zero=False)

    return check


READERS = {
    "csv": read_csv,
    "ecsv": read_ecsv,
    "fits": read_fits,
    "vot": read_votable,
    "parquet": read_parquet,
    "db": read_db,
}


def readers(ending):
    yield READERS[ending]
    if ending == "db":
        if shutil.which("sqlite3"):
            yield read_db_by_shell
        else:
            print("not tested: the program sqlite3 is not installed")


def compare(expected, check, path):
    check(expected)
    for at, column in enumerate(expected.columns):
        restore = expected.spoil(at)
        if restore is None:
            continue
        try:
            check(expected)
        except Different:
            restore()
        else:
            raise Different(f"{path.name}: a wrong value of {column['name']} is not seen")


def main(folder):
    expected = Expected(folder)
    for column in expected.columns:
        if not check_ucd(column["ucd"], check_controlled_vocabulary=True):
            raise Different(f"{column['name']}: no UCD: {column['ucd']}")
    read = 0
    for ending in READERS:
        path = folder / f"catalog.{ending}"
        if not path.exists():
            continue
        for reader in readers(ending):
            compare(expected, reader(path), path)
        read += 1
        print(f"{path.name}: {len(expected.rows)} rows")
    if read == 0:
        raise Different(f"{folder}: no catalogue")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Different as error:
        sys.exit(f"{sys.argv[1]}: {error}")
