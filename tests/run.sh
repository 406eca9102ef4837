#!/usr/bin/env bash
# Passes all tests. The GPU tests need a Vulkan, Metal or DX12 driver: where there is none, Mesa's
# software driver is installed if that is possible without asking.
set -euo pipefail
cd "$(dirname "$0")/.."

# Without it Mesa looks for a desktop, and complains where there is none.
export NODEVICE_SELECT=1

cargo build --release
has_adapter() { ./target/release/starfit devices | grep -q '^gpu'; }

if ! has_adapter && command -v apt-get >/dev/null; then
    as_root=()
    if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
    if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
        echo "no GPU driver found: installing Mesa's software Vulkan driver (mesa-vulkan-drivers, libvulkan1)"
        "${as_root[@]}" apt-get update -qq
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq mesa-vulkan-drivers libvulkan1 >/dev/null
    fi
fi
if has_adapter; then
    echo "the GPU tests run on: $(./target/release/starfit devices | sed -n 's/^gpu *//p' | head -n 1)"
else
    echo "no GPU driver found: the GPU tests say 'not tested' (in CI they fail)"
fi

# What reads the catalogues back: astropy, pandas, pyarrow. Kept in the target folder.
target="${CARGO_TARGET_DIR:-target}"
wanted=tests/python/requirements.txt
if ! cmp -s "$wanted" "$target/python/requirements.txt"; then
    echo "installing the Python packages that read catalogues back"
    if python3 -m venv --clear "$target/python" && "$target/python/bin/pip" install --quiet -r "$wanted"; then
        cp "$wanted" "$target/python/"
    else
        echo "no Python packages: the tests that read catalogues back say 'not tested' (in CI they fail)"
    fi
fi

data="${STARFIT_DATA:-../shared}"
if [ ! -e "$data" ]; then
    echo "no data sets in $data: the tests that need them pass without having looked; STARFIT_DATA names another folder"
fi

# Files of the library import each other in no circle.
python3 tests/import_circles.py

cargo test --release "$@"
