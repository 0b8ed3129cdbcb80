#!/usr/bin/env bash
# run.sh: the device tests over the genuine pyxrt, in a private root, above the stub of the driver.
# run.sh COMMAND...: that command there instead, for instance: tests/xrt/run.sh python3 -m whisper_npu doctor
#
# Where this machine cannot (see make_root.sh) it says so and succeeds. PYTHON names a Python with pip,
# WHISPER_NPU_XRT_ROOT another folder than ~/.cache/whisper-npu/xrt-root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
root=${WHISPER_NPU_XRT_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/whisper-npu/xrt-root}
place=/stand-in # in the root: what is made anew for every run

if ! command -v cc > /dev/null; then
    echo "skipped: needs a C compiler"
    exit 0
fi
mkdir -p "$(dirname "$root")"
status=0
reason=$("$here/make_root.sh" "$root" "${PYTHON:-python3}") || status=$?
if [ $status = 77 ]; then
    echo "skipped: $reason"
    exit 0
elif [ $status != 0 ]; then
    exit $status
fi

rm -rf "$root$place"
mkdir -p "$root$place/checkout"
cp -R "$checkout"/{whisper_npu,kernels,tests,scripts,samples,pyproject.toml,README.md} "$root$place/checkout"
cc -O3 -march=native -Wall -Wextra -shared -fPIC -isystem "$root/usr/include" \
    "$here/amdxdna_stub.c" -o "$root$place/amdxdna_stub.so" -ldl -lm -lpthread
printf '[Debug]\nforce_driver_sync = true\n' > "$root$place/xrt.ini"

cp "$here"/xclbin/*.json "$root$place"
printf 'stand-in PDI 00\n%.0s' $(seq 256) > "$root$place/stand-in.pdi" # 4 KiB, never executed
chroot "$root" /bin/sh -c 'cd "$0" && xclbinutil --add-replace-section MEM_TOPOLOGY:JSON:mem_topology.json \
    --add-kernel kernels.json --add-replace-section AIE_PARTITION:JSON:aie_partition.json \
    --force --output stand-in.xclbin > xclbinutil.log 2>&1 || { cat xclbinutil.log; exit 1; }' "$place"

if [ $# = 0 ]; then
    set -- python3 -m pytest -p no:cacheprovider -n auto --maxprocesses 8 --dist loadfile tests/device tests/xrt --device xrt
fi
# Not as root: XRT would not read XRT_INI_PATH, and no file would be out of reach.
exec env -i PATH=/usr/sbin:/usr/bin HOME=/tmp LC_ALL=C.UTF-8 ${CI:+CI="$CI"} \
    $(env | grep -o '^XRT_STUB_[A-Z]*=[^ ]*' || true) \
    chroot --userspec 65534:65534 "$root" /bin/sh -c '
        cd "$0/checkout"
        export LD_PRELOAD="$0/amdxdna_stub.so" PYTHONPATH="$PWD:/opt/packages" PYTHONPYCACHEPREFIX=/tmp/pycache
        export XRT_TEST_XCLBIN="$0/stand-in.xclbin" HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
        [ -n "${XRT_STUB_SHARED:-}" ] || export XRT_INI_PATH="$0/xrt.ini"
        exec "$@"' "$place" "$@"
