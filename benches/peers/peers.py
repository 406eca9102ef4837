"""Measures starfit beside its peers, in one run and on the same stars: speed and accuracy in one table.

    python benches/peers/peers.py --starfit target/release/starfit

README.md beside this file says what the columns mean.
"""
import os

for library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):  # before numpy is loaded: one thread each
    os.environ[f"{library}_NUM_THREADS"] = "1"

import argparse
import dataclasses
import importlib.metadata
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import numpy as np

import field as whole_image
import methods as cutouts
from judge import ALL, Accuracy, near
from work import Stack, bound, optima

SEED = 1
PACKAGES = ("numpy", "scipy", "astropy", "photutils", "numba")


@dataclasses.dataclass
class Row:
    """A line of the table."""

    method: str
    stars: int
    seconds: list  # of each round; empty for a wrong answer, whose speed is not told
    accuracy: Accuracy
    times: float | None = None  # what it takes over what the first row takes, round by round, the median

    def against(self, first, share):
        """`share`: the part of the first row's work that this one has done."""
        if self.seconds and first.seconds:
            self.times = statistics.median(own / other for own, other in zip(self.seconds, first.seconds)) / share


def measure(methods, rounds, fit, judge):
    """Some rounds of every method in turn, so that whatever else the machine does hits all of them alike; `judge`
    looks at the answers of each round, and one wrong answer is enough."""
    rows = {}
    for _ in range(rounds):
        for method in methods:
            seconds, stars, answer = fit(method)
            accuracy = judge(method, answer)
            row = rows.setdefault(method.name, Row(method.name, stars, [], accuracy))
            row.seconds.append(seconds)
            if not accuracy.right:
                row.accuracy = accuracy
    for row in rows.values():
        if not row.accuracy.right:
            row.seconds = []
    return list(rows.values())


# --------------------------------------------------------------------------------------- the stack
def fit_stack(method, stack):
    part = stack.first(method.most)
    seconds, result = method.fit(part)
    return seconds, len(part), result


def judge_stack(method, result, stack, best):
    """By the first stars, of which there are optima."""
    count = min(len(result.stars), len(best[0]))
    converged = None if result.converged is None else result.converged[:count]
    truth, optimum = stack.truth[:count], [part[:count] for part in best]
    return Accuracy.of(result.stars[:count], truth, bound(truth), optimum, converged, method.judged)


def chosen(methods, only):
    """The first, which the others are compared with, and those whose names contain `only`."""
    return methods[:1] + [method for method in methods[1:] if only in method.name]


def stack_rows(program, count, rounds, only, folder):
    stack = Stack.w2(count, SEED, folder)
    best = optima(stack.first(4000))
    engines = cutouts.engines(program, count)

    def fit(method):
        if method not in engines:
            return fit_stack(method, stack)
        line = method.fit()
        return (count / line["fits_per_s"] if line else None), count, line

    def judge(method, answer):
        if method not in engines:
            return judge_stack(method, answer, stack, best)
        return Accuracy(optimum_max=answer["max_error_sigma"]) if answer else Accuracy(right=False)

    rows = measure(chosen([*cutouts.methods(program), *engines], only), rounds, fit, judge)
    for row in rows:
        row.against(rows[0], row.stars / rows[0].stars)
    return rows


# --------------------------------------------------------------------------------------- the field
def judge_field(method, rows, image):
    clear = image.clear
    found = whole_image.match(rows, image.truth[clear])
    return Accuracy.of(found, image.truth[clear], image.bound[clear], judged=method.judged)


def field_rows(program, rounds, only, folder):
    image = whole_image.Field.simulate(program, folder)

    def fit(method):
        seconds, rows = method.fit(image)
        return seconds, len(rows), rows

    def judge(method, rows):
        return judge_field(method, rows, image)

    rows = measure(chosen(whole_image.methods(program), only), rounds, fit, judge)
    for row in rows:
        row.against(rows[0], 1)
    return rows, int(image.clear.sum())


# -------------------------------------------------------------------------------------- the tables
def number(value, digits=2):
    return "-" if value is None else f"{value:,.{digits}f}" if abs(value) < 100 else f"{value:,.0f}"


def percent(value):
    return "-" if value is None else f"{100 * value:.1f} %"


def small(value):
    return "-" if value is None else f"{value:.2g}"


def table(header, lines):
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines))


def stack_table(rows):
    header = "method", "stars", "fits/s", "times scipy", "x", "y", "flux", "from optimum, 99 %", "largest", "converged"
    lines = []
    for row in rows:
        a, seconds = row.accuracy, row.seconds
        speed = f"{row.stars / statistics.median(seconds):,.0f}" if seconds else "wrong answer"
        good = number(a.x), number(a.y), number(a.flux), small(a.optimum_99), small(a.optimum_max), percent(a.converged)
        lines.append([row.method, f"{row.stars:,}", speed, number(row.times and 1 / row.times), *good])
    return table(header, lines)


def field_table(rows):
    header = "method", "rows", "seconds", "times starfit's time", "x", "y", "flux"
    lines = []
    for row in rows:
        a, seconds = row.accuracy, row.seconds
        time = number(statistics.median(seconds)) if seconds else "wrong answer"
        lines.append([row.method, f"{row.stars:,}", time, number(row.times), number(a.x), number(a.y), number(a.flux)])
    return table(header, lines)


def versions(program):
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    packages = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return [version, *packages, f"Python {platform.python_version()}"]


# ------------------------------------------------------------------------------------ the self-test
def self_test(program, folder):
    """Every method is right on the stars as they are, and is refused when it alone is given them a pixel aside; so is
    an answer with a wrong value in any one place."""
    failures = 0

    def check(name, right, wrong):
        nonlocal failures
        passed = right and not wrong
        failures += not passed
        said = ["taken" if answer else "refused" for answer in (right, wrong)]
        print(f"{'pass' if passed else 'FAIL'}: {name}: {said[0]}, if wrong {said[1]}")

    exact = np.zeros((100, 5))
    for parameter in ALL:
        off, lost = exact.copy(), exact.copy()
        off[:, parameter], lost[:10, parameter] = 10, np.nan
        check(f"parameter {parameter} 10 bounds off", near(exact), near(off))
        check(f"parameter {parameter} of a tenth of the stars lost", near(exact), near(lost))
    method = cutouts.Method("a method", None)
    tables = []
    for right in (True, False):
        rows = measure([method], 1, lambda _: (0.5, 1000, None), lambda *_, right=right: Accuracy(right=right))
        tables.append(stack_table(rows) + field_table(rows))
    check("its speed in the tables", *("2,000" in text or "0.50" in text for text in tables))
    stack = Stack.w2(200, SEED, folder)
    best = optima(stack)
    for method in cutouts.methods(program):
        answers = (fit_stack(method, given)[2] for given in (stack, stack.shifted()))
        check(method.name, *(judge_stack(method, answer, stack, best).right for answer in answers))
    image = whole_image.Field.simulate(program, folder, stars=200, side=512)
    for method in whole_image.methods(program):
        answers = (method.fit(given)[1] for given in (image, image.shifted()))
        check(method.name, *(judge_field(method, answer, image).right for answer in answers))
    return failures


def main():
    parser = argparse.ArgumentParser(description="Measures starfit beside its peers on the same stars.")
    parser.add_argument("--starfit", type=pathlib.Path, default="target/release/starfit", help="the program, built for release")
    parser.add_argument("--count", type=int, default=20_000, help="stars of the stack; slow methods get its first ones")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each method, in turn; medians are told")
    parser.add_argument("--only", default="", help="only methods with this in their names, beside the first of each table")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--self-test", action="store_true", help="see that a wrong answer is refused, and measure nothing")
    options = parser.parse_args()
    program = options.starfit.resolve()
    if not program.is_file():
        parser.error(f"--starfit: no file {options.starfit}; build it with cargo build --release")
    for name in ("count", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected a number above 0, found {getattr(options, name)}")
    with tempfile.TemporaryDirectory() as folder:
        if options.self_test:
            sys.exit(1 if self_test(program, pathlib.Path(folder)) else 0)
        stack = stack_rows(program, options.count, options.rounds, options.only, pathlib.Path(folder))
        field, clear = field_rows(program, options.rounds, options.only, pathlib.Path(folder))
    if options.json:
        rows = {"stack": stack, "field": field}
        record = {name: [dataclasses.asdict(row) for row in part] for name, part in rows.items()}
        print(json.dumps({"versions": versions(program), "cores": os.cpu_count(), "clear_stars": clear, **record}, default=float))
        return
    print(f"{', '.join(versions(program))}; {os.cpu_count()} cores\n\n{stack_table(stack)}\n\n{field_table(field)}")
    print(f"\nx, y and flux of the field: {clear:,} clear stars.")
    if not whole_image.sextractor_program():
        print("SExtractor is missing: neither source-extractor nor sex is on the PATH.")


if __name__ == "__main__":
    main()
