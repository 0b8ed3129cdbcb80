"""A cluster of two machines on one: only in a network of its own (run.sh), and only with Ray."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.cluster.alone import is_alone
from tests.cluster.machines import Machines
from tests.support.checkpoints import tiny_config, tiny_tensors, write_checkpoint

if find_spec("ray") is None or not is_alone():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose text depends on what it hears; a window is 2 s, and takes some 50 ms."""
    config = tiny_config(max_source_positions=100)
    tensors = tiny_tensors(config)
    for name, tensor in tensors.items():
        if name.endswith("bias"):
            tensors[name] = np.zeros_like(tensor)
        elif "layer_norm.weight" in name:
            tensors[name] = np.ones_like(tensor)
        elif "encoder_attn.out_proj" in name:
            tensors[name] = 10 * tensor
        elif "conv1" in name:
            tensors[name] = 3 * tensor
    return write_checkpoint(tmp_path_factory.mktemp("model") / "small", config, tensors)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with Machines() as started:
        yield started
