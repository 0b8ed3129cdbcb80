"""Importing from transformers without its notice that there is no PyTorch: nothing here needs one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_torch_notice() -> Iterator[None]:
    """Import inside this: no logger warns meanwhile."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
