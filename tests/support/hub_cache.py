"""A Hugging Face hub cache on disk, as huggingface_hub lays it out, without a hub."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from whisper_npu.checkpoint import library, packages, resolve

LARGE = (".bin", ".safetensors")  # what the hub keeps in LFS, and names by sha256
COMMIT = "c0ffee" * 6 + "c0ff"


def put_in_hub_cache(cache: Path, repository: str, folder: Path) -> Path:
    """Copy a folder into the cache as if it had been downloaded. Returns the snapshot's folder."""
    home = cache / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for new in (home / "blobs", home / "refs", snapshot):
        new.mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    for file in folder.iterdir():
        if not file.name.startswith("."):
            content = file.read_bytes()
            header = b"" if file.suffix in LARGE else f"blob {len(content)}\0".encode()
            digest = hashlib.sha256(content) if file.suffix in LARGE else hashlib.sha1(header + content)
            (home / "blobs" / digest.hexdigest()).write_bytes(content)
            (snapshot / file.name).symlink_to(Path("../../blobs") / digest.hexdigest())
    return snapshot


def nothing_downloaded(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Nothing was downloaded, no package is installed, and whoever asks the hub fails the test.

    folder: the hub cache. Returns it.
    """
    from huggingface_hub import HfApi, constants

    def asked(*_args: Any, **_keywords: Any) -> Any:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(HfApi, "model_info", asked)
    for module in (library, packages, resolve):
        monkeypatch.setattr(module, "WEIGHTS_PACKAGES", {})
    return folder
