#!/usr/bin/env bash
# run.sh: the tests of the server's page in a real, headless Chromium.
#
# PYTHON names a Python with pip and the extras demo and test; playwright is installed into it. Debian's chromium
# is installed where that is missing and apt may. Where one of them cannot be had, it says so and succeeds.
set -euo pipefail

cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

is_there() {
    for name in chromium chromium-browser google-chrome; do
        if command -v $name > /dev/null; then
            return 0
        fi
    done
    return 1
}

skip() {
    echo "skipped: $1"
    exit 0
}

if ! is_there; then
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null ||
        skip "needs chromium, which only root can install with apt: apt-get install chromium"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -qq --no-install-recommends chromium; } > /dev/null 2>&1 ||
        skip "needs chromium, which apt-get install chromium does not find"
    is_there || skip "needs chromium; apt's package has no command of that name"
fi
"$python" -m pip --disable-pip-version-check --quiet install 'playwright>=1.45' ||
    skip "needs playwright, which pip cannot install here"
exec "$python" -m pytest tests/browser "$@"
