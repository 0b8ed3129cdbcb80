"""Importing packages without those of their own imports that cost time and that hardly any run needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Import inside this: what would import one of these modules gets it when it first uses it.

    Afterwards `import` finds the modules as ever. One that was imported before stays what it is.
    """
    stand_ins = {name: _Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for stand_in in stand_ins.values():
            stand_in.leave()


class _Deferred(ModuleType):
    """Stands for a module until somebody wants something of it."""

    def __getattr__(self, attribute: str) -> Any:
        self.leave()
        return getattr(import_module(self.__name__), attribute)

    def leave(self) -> None:
        """Make way for the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
