"""Checksums of the rows that a starfit program makes of many inputs, to see that a change of its insides changes none.

    python3 tests/row_checksums.py target/release/starfit DATA [PART] > rows.txt

fits every image of DATA/data and every stack of DATA/reference with each model, estimator and backend (those whose
name contains PART), and prints a line for each: the checksum of the CSV, or the exit code where there is none. Two
lists of one machine are compared with `diff`.
"""

import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODELS = ["gaussian", "elliptical-gaussian", "gaussian-integrated", "moffat", "elliptical-moffat"]
ESTIMATORS = {"least-squares": [], "poisson": ["--gain", "1.5", "--read-noise", "3"]}
BACKENDS = ["cpu", "gpu", "reference"]
KINDS = (".fits", ".fit", ".fit.gz", ".fits.bz2", ".fits.fz", ".npy")


def line(job):
    program, path, model, estimator, backend = job
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.csv"
        command = [program, "fit", "-q", "--backend", backend, "--model", model]
        command += [path.name, "-o", str(rows), "--estimator", estimator, *ESTIMATORS[estimator]]
        done = subprocess.run(command, cwd=path.parent, capture_output=True, check=False)
        known = hashlib.sha256(rows.read_bytes()).hexdigest()[:16] if rows.exists() else "no rows"
    return f"{path.name} {model} {estimator} {backend}: {done.returncode} {known}"


def main():
    program, data = os.path.abspath(sys.argv[1]), Path(sys.argv[2])
    part = sys.argv[3] if len(sys.argv) > 3 else ""
    folders = [data / "data", data / "data/sim", data / "reference"]
    paths = sorted(path for folder in folders for path in folder.glob("*") if path.name.endswith(KINDS))
    jobs = itertools.product([program], paths, MODELS, ESTIMATORS, BACKENDS)
    jobs = [job for job in jobs if part in f"{job[1].name} {job[2]} {job[3]} {job[4]}"]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for text in pool.map(line, jobs):
            print(text, flush=True)


if __name__ == "__main__":
    main()
