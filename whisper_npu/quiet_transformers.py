"""Importing from transformers without its notice that there is no PyTorch: nothing here needs one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_pytorch_needed() -> Iterator[None]:
    """Import inside this: warnings of any logger are dropped meanwhile."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
