#!/usr/bin/env bash
# run.sh: the tests of `whisper-npu archive` on a real Ray cluster of this machine.
#
# They run in a network of their own that has nothing but a loopback interface: elsewhere Ray would listen on the
# machine's own address. PYTHON names a Python with pip and the extras demo and test; Ray is installed into it.
# Where such a network or Ray cannot be had, it says so in one line and succeeds.
set -euo pipefail

cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

skip() {
    echo "skipped: the cluster tests need $1"
    exit 0
}

command -v unshare > /dev/null || skip "unshare, which Debian's package util-linux has"
alone=
for way in "unshare --net --mount" "unshare --map-root-user --net --mount"; do
    if $way "$python" tests/cluster/alone.py true 2> /dev/null; then
        alone=$way
        break
    fi
done
[ -n "$alone" ] || skip "a network namespace, which this system does not allow: unshare --map-root-user --net"

"$python" -m pip --disable-pip-version-check --quiet install 'ray>=2.52' 2> /dev/null ||
    skip "ray, which pip cannot install for this Python"
exec $alone "$python" tests/cluster/alone.py "$python" -m pytest tests/cluster "$@"
