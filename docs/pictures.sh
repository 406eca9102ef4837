#!/usr/bin/env bash
# Makes the pictures of the README. That of the report needs Chromium.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release
starfit="$PWD/target/release/starfit"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$starfit" simulate -q "$work/field.fits" --stars 60 --width 300 --height 300 \
    --model elliptical-gaussian --fwhm 4.5 --snr 60:300 --seed 4
"$starfit" fit -q "$work/field.fits" --model elliptical-gaussian -o "$work/field.db"
"$starfit" show -q "$work/field.db" --id 31 -o docs/star.png

"$starfit" fit -q tests/data/panoptes.fits.fz --model elliptical-gaussian --saturation 12000 -o "$work/panoptes.db"
"$starfit" report -q "$work/panoptes.db" -o "$work/report.html"
chromium --headless --no-sandbox --hide-scrollbars --window-size=1100,1500 \
    --screenshot="$PWD/docs/report.png" "file://$work/report.html"
