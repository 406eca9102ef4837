#!/usr/bin/env bash
# Makes the pictures of the README. That of the report needs Chromium.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release
starfit="$PWD/target/release/starfit"
# Its name is in the pictures.
work=/tmp/pictures
mkdir "$work"
trap 'rm -rf "$work"' EXIT

"$starfit" simulate -q "$work/field.fits" --stars 60 --width 300 --height 300 \
    --model elliptical-gaussian --fwhm 4.5 --snr 60:300 --seed 4
"$starfit" fit -q "$work/field.fits" --model elliptical-gaussian -o "$work/field.db"
"$starfit" show -q "$work/field.db" --id 31 -o docs/star.png

cp tests/data/panoptes.fits.fz "$work"
"$starfit" fit -q "$work/panoptes.fits.fz" --model elliptical-gaussian --saturation 12000 -o "$work/panoptes.db"
"$starfit" report -q "$work/panoptes.db" -o "$work/report.html"
chromium --headless --no-sandbox --hide-scrollbars --window-size=1000,2060 --force-device-scale-factor=0.75 \
    --screenshot="$PWD/docs/report.png" "file://$work/report.html"
