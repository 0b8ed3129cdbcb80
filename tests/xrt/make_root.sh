#!/usr/bin/env bash
# make_root.sh FOLDER [PYTHON]: a private root with the genuine XRT for NPUs, pyxrt and what the tests need.
#
# Installs by name from Debian (trixie and its backports) with this machine's own apt: its mirror, its proxies,
# Debian's keyring. Nothing outside FOLDER changes. A finished root is used again; PYTHON is one with pip.
# Exit status: 0 finished, 77 this machine cannot (one line says why), anything else is a failure.
set -euo pipefail

root=$1
pip_of=${2:-python3}
here=$(cd "$(dirname "$0")" && pwd)
suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
backports=(python3-xrt libxrt2 libxrt-npu2 libxrt-utils linux-libc-dev)
packages=(base-files dash python3 "${backports[@]/%//$suite-backports}")

cannot() {
    echo "$1"
    exit 77
}

[ "$(id -u)" = 0 ] || cannot "needs root, to enter a private root folder"
for tool in apt-get dpkg-deb chroot; do
    command -v "$tool" > /dev/null || cannot "needs $tool"
done
[ "$(dpkg --print-architecture)" = amd64 ] || cannot "XRT for NPUs is packaged for amd64 only"
[ -r "$keyring" ] || cannot "needs Debian's keyring ($keyring)"

state=$(cat "$0" "$here/../../pyproject.toml" | sha256sum)
if [ "$(cat "$root/finished" 2> /dev/null)" = "$state" ]; then
    exit 0
fi

# The mirror that serves this machine's own Debian release serves the other suites too.
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$release" '$1 == release && $2 == "main" && !found { print $3; found = 1 }')
[ -n "$mirror" ] || cannot "needs a Debian mirror among apt's sources"

echo "Making $root: about 1.4 GB, a few minutes" >&2
new=$root.new
rm -rf "$new"
trap 'rm -rf "$new"' EXIT
apt=$new/apt
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/none"
touch "$apt/status"
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" "$keyring" "$mirror" "$suite-backports" \
    > "$apt/sources.list"
own_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/none" \
        -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt" \
        -o Dir::Etc::preferences=none -o Dir::Etc::preferencesparts="$apt/none" -o APT::Sandbox::User=root "$@"
}
own_apt -o APT::Update::Error-Mode=any update > "$apt/log" 2>&1 ||
    cannot "the Debian mirror does not answer: $(tail -n 1 "$apt/log")"
own_apt install --download-only --no-install-recommends "${packages[@]}" >&2
dpkg-deb --extract "$apt"/archives/base-files_*.deb "$new" # first: it makes the links /lib, /bin ...
for package in "$apt"/archives/*.deb; do
    dpkg-deb --extract "$package" "$new"
done
rm -rf "$apt"

# What the kernel would show of an XDNA1 NPU. The node is a plain file: the stub answers for it.
device=0000:c4:00.1
folder=$new/sys/devices/pci0000:00/$device
mkdir -p "$folder/accel/accel0" "$new"/sys/bus/pci/{devices,drivers/amdxdna} "$new/sys/module/amdxdna" "$new/dev/accel"
while read -r file content; do
    echo "$content" > "$folder/$file"
done << 'EOF'
vendor 0x1022
device 0x1502
revision 0x00
vbnv RyzenAI-npu1
device_type 0
fw_version 1.5.2.380
EOF
mkdir -p "$new/sys/kernel/iommu_groups/1"
ln -s ../../../kernel/iommu_groups/1 "$folder/iommu_group"
ln -s ../../../bus/pci/drivers/amdxdna "$folder/driver"
ln -s "../../../devices/pci0000:00/$device" "$new/sys/bus/pci/devices/$device"
ln -s "../../../../devices/pci0000:00/$device" "$new/sys/bus/pci/drivers/amdxdna/$device"
echo 0.1 > "$new/sys/module/amdxdna/version"
install -m 666 /dev/null "$new/dev/accel/accel0"
for node in null:3 zero:5 urandom:9; do
    mknod -m 666 "$new/dev/${node%:*}" c 1 "${node#*:}" 2> /dev/null || touch "$new/dev/${node%:*}"
done

# This machine's pip, run by the root's own Python, so that it takes the wheels that fit that Python.
python() {
    PYTHONHOME=$new/usr "$new/lib64/ld-linux-x86-64.so.2" --library-path "$new/usr/lib/x86_64-linux-gnu" \
        "$new/usr/bin/python3" "$@"
}
pip=$("$pip_of" -c 'import os, pip; print(os.path.dirname(pip.__file__))') || cannot "needs a Python with pip"
python - "$here/../../pyproject.toml" > "$new/requirements.txt" << 'EOF'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
unused = ("ruff", "mypy", "whisper-npu", "hatchling", "openai", "httpx", "schemathesis")  # of the extra `test`
test = [requirement for requirement in extras["test"] if not requirement.startswith(unused)]
print(*project["dependencies"], *extras["demo"], *test, sep="\n")
EOF
python "$pip" install -qq --disable-pip-version-check --root-user-action ignore --no-compile \
    --only-binary :all: --target "$new/opt/packages" --requirement "$new/requirements.txt"

echo "$state" > "$new/finished"
rm -rf "$root"
mv "$new" "$root"
