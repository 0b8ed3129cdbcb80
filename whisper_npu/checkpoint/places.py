"""Where models are looked for, and where they go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from whisper_npu.errors import UsageError
from whisper_npu.home import at_home, cache_folder


@dataclass(frozen=True)
class Places:
    """The folders of models, and whether the network may be used."""

    cache: Path  # of whisper-npu: what it builds
    model_dir: Path | None = None  # the user's: searched first, and where the hub's files go
    local_files_only: bool = False  # never ask the hub

    def __post_init__(self) -> None:
        if (
            self.model_dir is not None
            and os.path.exists(self.model_dir)
            and not os.path.isdir(self.model_dir)
        ):
            raise UsageError(f"model_dir {str(self.model_dir)!r} is a file; name a folder for models")

    @classmethod
    def of(
        cls, cache_dir: Path | None = None, model_dir: Path | None = None, *, local_files_only: bool = False
    ) -> Places:
        """The folders that the user chose, ~ resolved; None for the defaults."""
        chosen = None if model_dir is None else at_home(model_dir, "model_dir")
        return cls(cache_folder(cache_dir), chosen, local_files_only)

    @property
    def hub_cache(self) -> Path:
        """Where a download goes: model_dir, or huggingface_hub's own cache."""
        if self.model_dir is not None:
            return self.model_dir
        from huggingface_hub import constants

        if str(constants.HF_HUB_CACHE).startswith("~"):  # as in hub.py
            return cache_folder(None) / "hub"
        return Path(constants.HF_HUB_CACHE)
