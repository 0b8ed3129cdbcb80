#!/usr/bin/env bash
# run.sh: the drop-ins inside the genuine transformers and openai-whisper, with a CPU build of PyTorch.
# run.sh COMMAND...: that command with those packages instead, for instance: tests/compat/run.sh python3
#
# Where pip finds no CPU build of PyTorch for this Python it says so and succeeds. PYTHON names the Python of an
# environment with the extras demo and test, whose transformers is used. The rest goes into the folder torch/ in
# that environment (0.8 GB), or into $TORCH_FOLDER: not among its packages, as transformers does other things
# where PyTorch is installed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
python=${PYTHON:-python3}
folder=${TORCH_FOLDER:-$("$python" -c 'import sys; print(sys.prefix)')/torch}
torch="torch==2.13.0+cpu" # every other build brings several GB of CUDA
packages=(openai-whisper==20250625 "tiktoken>=0.9" "more-itertools>=10") # without what they depend on

state=$(cat "$0" && "$python" -VV)
if [ "$(cat "$folder/finished" 2> /dev/null)" != "$state" ]; then
    echo "Installing PyTorch into $folder: about 0.8 GB, a few minutes" >&2
    rm -rf "$folder"
    install=("$python" -m pip install --disable-pip-version-check --quiet --target "$folder")
    if ! problem=$("${install[@]}" --only-binary torch "$torch" 2>&1); then
        rm -rf "$folder"
        echo "skipped: pip cannot install $torch for $("$python" -V): ${problem##*$'\n'}"
        exit 0
    fi
    "${install[@]}" --no-deps "${packages[@]}"
    echo "$state" > "$folder/finished"
fi

if [ $# = 0 ]; then
    set -- "$python" -m pytest "$here"
fi
cd "$checkout"
PYTHONPATH=$checkout:$folder exec "$@"
