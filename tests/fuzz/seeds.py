"""How much hostile input there is: the suite takes a part, `make fuzz` all of it and more."""

from __future__ import annotations

import os

N_SEEDS = int(os.environ.get("FUZZ_SEEDS", "0"))  # 0: the suite
SEEDS = range(max(1, N_SEEDS))
EVERYTHING = N_SEEDS > 0
