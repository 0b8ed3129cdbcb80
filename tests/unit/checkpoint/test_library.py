"""The models on this machine: what belongs to which, what is sound, what a removal takes and leaves."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.checkpoints import write_tiny
from tests.support.hub_cache import nothing_downloaded, put_in_hub_cache
from whisper_npu import cache, staging
from whisper_npu.checkpoint import library, load_checkpoint, packages, resolve
from whisper_npu.checkpoint.decoder import decoder_alone
from whisper_npu.checkpoint.library import Library, StoredModel, Verdict, open_library, remove, verify
from whisper_npu.checkpoint.names import HUB_IDS, PARAMETERS, PackagedFile, PackagedModel, PackagedPart
from whisper_npu.checkpoint.places import Places
from whisper_npu.errors import CheckpointError, UnknownModelError
from whisper_npu.transcription.load import load_model

SMALL = HUB_IDS["small"]
PACKAGE = "tiny-weights"


@pytest.fixture
def hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return nothing_downloaded(monkeypatch, tmp_path / "hub")


@pytest.fixture
def places(tmp_path: Path, hub_folder: Path) -> Places:
    return Places(tmp_path / "cache")


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "hf")


@pytest.fixture
def ct2(hf: Path, tmp_path: Path) -> Path:
    return load_checkpoint(hf, cache_dir=tmp_path / "converted").decoder_folder


@pytest.fixture
def installed(ct2: Path, tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A weights package for tiny.en; the set holds what is installed."""
    names = ["model.bin", "config.json", "tokenizer.json", "vocabulary.json", "preprocessor_config.json"]
    site = tmp_path / "site-packages"
    (site / "data").mkdir(parents=True)
    files = []
    for name in names:
        shutil.copy(ct2 / name, site / "data" / name)
        digest = hashlib.sha256((ct2 / name).read_bytes()).hexdigest()
        files.append(PackagedFile(name, digest, (PackagedPart(PACKAGE, f"data/{name}", digest),)))
    there = {PACKAGE}

    def distribution(name: str) -> SimpleNamespace:
        if name not in there:
            raise packages.metadata.PackageNotFoundError(name)
        return SimpleNamespace(version="1.0", locate_file=lambda path: site / path)

    monkeypatch.setattr(packages.metadata, "distribution", distribution)
    monkeypatch.setattr(packages.metadata, "version", lambda name: distribution(name).version)
    for module in (library, packages, resolve):
        pinned = {"tiny.en": PackagedModel("demo", {PACKAGE: "1.0"}, tuple(files))}
        monkeypatch.setattr(module, "WEIGHTS_PACKAGES", pinned)
    return there


def prepare(model: str | Path, places: Places, *, int8: bool = True) -> Path:
    """What a transcription leaves in the cache. Returns the decoder's folder."""
    checkpoint = load_checkpoint(model, cache_dir=places.cache, model_dir=places.model_dir)
    whole = checkpoint.decoder_folder
    return decoder_alone(whole, int8=int8, cache_folder=places.cache, progress=lambda _line: None)


def contents(found: Library) -> dict[str, list[str]]:
    return {model.name: [part.what for part in model.parts] for model in found.models}


def only(found: Library) -> StoredModel:
    (model,) = found.models
    return model


def flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


# What belongs to which


def test_a_machine_without_models(places: Places) -> None:
    assert open_library(places) == Library(places, (), ())


def test_a_downloaded_model_and_its_decoders(places: Places, hub_folder: Path, ct2: Path) -> None:
    put_in_hub_cache(hub_folder, SMALL, ct2)
    prepare("small", places)
    prepare("small", places, int8=False)
    found = open_library(places)
    assert {name: sorted(parts) for name, parts in contents(found).items()} == {
        "small": ["decoder, as stored", "decoder, int8", f"hub {SMALL}"]
    }
    assert only(found).source == f"hub {SMALL}"
    download, *decoders = only(found).parts
    assert download.folder == hub_folder / "models--Systran--faster-whisper-small"
    assert download.size >= sum(file.stat().st_size for file in ct2.iterdir() if file.name[0] != ".")
    assert all(part.folder.parent == places.cache for part in decoders)
    assert only(found).size == sum(part.size for part in only(found).parts)


def test_a_downloaded_hugging_face_model_its_conversion_and_its_decoder(
    places: Places, hub_folder: Path, hf: Path
) -> None:
    put_in_hub_cache(hub_folder, "org/fine-tuned", hf)
    prepare("org/fine-tuned", places)
    assert {name: sorted(parts) for name, parts in contents(open_library(places)).items()} == {
        "org/fine-tuned": ["converted to CTranslate2's format", "decoder, int8", "hub org/fine-tuned"]
    }


def test_a_folder_of_the_users_is_listed_for_what_was_made_from_it(places: Places, hf: Path) -> None:
    prepare(hf, places)
    found = open_library(places)
    assert {name: sorted(parts) for name, parts in contents(found).items()} == {
        str(hf): ["converted to CTranslate2's format", "decoder, int8"]
    }
    assert only(found).source == f"folder {hf}"


def test_a_weights_package_before_and_after_it_is_copied(places: Places, installed: set[str]) -> None:
    assert contents(open_library(places)) == {"tiny.en": [f"weights package {PACKAGE} 1.0, not yet copied"]}
    prepare("tiny.en", places)
    expected = {"tiny.en": [f"weights package {PACKAGE} 1.0", "decoder, int8"]}
    assert contents(open_library(places)) == expected
    installed.clear()
    assert contents(open_library(places)) == expected


def test_model_dir_is_listed_with_both_of_its_layouts(
    places: Places, tmp_path: Path, ct2: Path, hub_folder: Path
) -> None:
    own = shutil.copytree(ct2, tmp_path / "models" / "base")
    put_in_hub_cache(tmp_path / "models", SMALL, ct2)
    put_in_hub_cache(hub_folder, HUB_IDS["medium"], ct2)
    there = Places(places.cache, tmp_path / "models")
    prepare("base", there)
    assert contents(open_library(there)) == {
        "base": [f"folder {own}", "decoder, int8"],
        "small": [f"hub {SMALL}"],
        "medium": [f"hub {HUB_IDS['medium']}"],
    }


def test_a_model_dir_that_is_the_hubs_cache_is_listed_once(
    places: Places, tmp_path: Path, ct2: Path, hub_folder: Path
) -> None:
    put_in_hub_cache(hub_folder, SMALL, ct2)
    (tmp_path / "link").symlink_to(hub_folder)
    for same in (hub_folder, tmp_path / "link"):
        assert contents(open_library(Places(places.cache, same))) == {"small": [f"hub {SMALL}"]}


def test_other_models_of_the_hub_are_not_whispers(places: Places, hub_folder: Path, hf: Path) -> None:
    (hf / "config.json").write_text('{"model_type": "bert"}')
    put_in_hub_cache(hub_folder, "org/bert", hf)
    assert open_library(places).models == ()


def test_an_interrupted_download_is_listed_as_not_complete(places: Places, hub_folder: Path) -> None:
    blobs = hub_folder / "models--Systran--faster-whisper-small" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "0123.incomplete").write_bytes(b"x" * 500)
    (part,) = only(open_library(places)).parts
    assert (part.what, part.size, part.complete) == (f"hub {SMALL}, not complete", 500, False)


def test_what_belongs_to_no_model(places: Places, hub_folder: Path, ct2: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "file").write_text("x")

    snapshot = put_in_hub_cache(hub_folder, SMALL, ct2)
    prepare("small", places)
    shutil.rmtree(snapshot.parents[1])
    cache.find_or_build(places.cache, "a", build, cache.About(cache.COMPILED, "dot.cpp"))
    cache.find_or_build(places.cache, "b", build)
    (places.cache / "b" / ".about.json").unlink()
    cache.find_or_build(places.cache, "c", build, cache.About("weights of a new kind", "/no/such/folder"))
    found = open_library(places)
    assert found.models == ()
    assert sorted(part.what for part in found.others) == [
        "C++ code, compiled for this CPU",
        "decoder, int8, of a model that is gone",
        "not described (made by an earlier version)",
        "weights of a new kind, of a model that is gone",
    ]


def test_entries_that_name_each_other_do_not_hang_it(places: Places) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        about = cache.About("decoder", str(places.cache.resolve() / other))
        cache.find_or_build(places.cache, name, lambda folder: None, about)
    assert [part.folder.name for part in open_library(places).others] == ["a", "b"]


# Names


def test_a_model_is_found_by_every_name_that_it_has(
    places: Places, hub_folder: Path, ct2: Path, hf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_hub_cache(hub_folder, HUB_IDS["large"], ct2)
    prepare(hf, places)
    found = open_library(places)
    for name in ("large", "large-v3", "Large-V3", HUB_IDS["large"]):
        assert found.find(name).name == "large-v3"
    monkeypatch.chdir(hf.parent)
    for name in (str(hf), f"./{hf.name}", f"{hf.name}/"):
        assert found.find(name).name == str(hf)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("small", CheckpointError, "model 'small' is not on this machine"),
        ("org/name", CheckpointError, "model 'org/name' is not on this machine"),
        ("./mine", CheckpointError, "model './mine' is not on this machine"),
        ("bsae", UnknownModelError, "did you mean base"),
        ("smal.pt", CheckpointError, "openai/whisper's format"),
        ("", UnknownModelError, "unknown model ''"),
        ("a\0", UnknownModelError, "unknown model"),
    ],
)
def test_a_model_that_is_not_here(places: Places, name: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught:
        open_library(places).find(name)
    assert said in str(caught.value)


def test_every_name_has_its_parameters() -> None:
    assert PARAMETERS.keys() == HUB_IDS.keys()
    for name, repository in HUB_IDS.items():
        same = [other for other, known in HUB_IDS.items() if known == repository]
        assert {PARAMETERS[other] for other in same} == {PARAMETERS[name]}


# What is sound


def problems(found: Library) -> dict[str, Verdict]:
    return {verdict.part.what: verdict for verdict in verify(only(found), found.places)}


def test_sound_parts_say_what_they_were_compared_with(
    places: Places, hub_folder: Path, hf: Path, installed: set[str]
) -> None:
    prepare("tiny.en", places)
    checked = {what: verdict.checked for what, verdict in problems(open_library(places)).items()}
    assert checked == {
        f"weights package {PACKAGE} 1.0": "sha256 of every file, as pinned",
        "decoder, int8": "equal to one that is made anew",
    }
    shutil.rmtree(places.cache)
    installed.clear()
    put_in_hub_cache(hub_folder, "org/fine-tuned", hf)
    prepare("org/fine-tuned", places)
    verdicts = problems(open_library(places))
    assert {what: (v.problem, v.checked) for what, v in verdicts.items()} == {
        "hub org/fine-tuned": ("", "hash of every file, as the hub names it"),
        "converted to CTranslate2's format": ("", "equal to one that is made anew"),
        "decoder, int8": ("", "equal to one that is made anew"),
    }


def test_a_flipped_bit_in_a_copy_of_a_package(places: Places, installed: set[str]) -> None:
    prepare("tiny.en", places)
    copy = only(open_library(places)).parts[0].folder
    flip_a_byte(copy / "tokenizer.json")
    verdict = problems(open_library(places))[f"weights package {PACKAGE} 1.0"]
    assert verdict.problem == "other content than expected: tokenizer.json"
    assert str(copy) in verdict.remedy
    installed.clear()
    assert "whisper-npu[demo]" in problems(open_library(places))[f"weights package {PACKAGE} 1.0"].remedy


def test_a_flipped_bit_in_a_download(places: Places, hub_folder: Path, hf: Path) -> None:
    snapshot = put_in_hub_cache(hub_folder, "org/fine-tuned", hf)
    flip_a_byte((snapshot / "model.safetensors").resolve())
    verdict = problems(open_library(places))["hub org/fine-tuned"]
    assert verdict.problem == "other content than expected: model.safetensors"
    remove_and_download = "whisper-npu models remove org/fine-tuned, then whisper-npu models download"
    assert verdict.remedy.startswith(remove_and_download)


def test_a_flipped_bit_in_a_small_file_of_a_download(places: Places, hub_folder: Path, ct2: Path) -> None:
    flip_a_byte((put_in_hub_cache(hub_folder, SMALL, ct2) / "tokenizer.json").resolve())
    assert problems(open_library(places))[f"hub {SMALL}"].problem.endswith(": tokenizer.json")


def test_a_download_without_links_is_compared_in_structure(
    places: Places, hub_folder: Path, ct2: Path
) -> None:
    snapshot = put_in_hub_cache(hub_folder, SMALL, ct2)
    for link in list(snapshot.iterdir()):
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content)
    assert problems(open_library(places))[f"hub {SMALL}"].checked.startswith("structure")
    model = snapshot / "model.bin"
    model.write_bytes(model.read_bytes()[:-100])
    assert "model.bin" in problems(open_library(places))[f"hub {SMALL}"].problem


def test_staged_weights_with_a_flipped_bit(
    places: Places, hub_folder: Path, ct2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_hub_cache(hub_folder, SMALL, ct2)
    load_model("small", device="emulator", cache_dir=places.cache).close()
    verdict = problems(open_library(places))[staging.STAGED]
    assert (verdict.problem, verdict.checked) == ("", "digest of every file, as it was kept")
    flip_a_byte(verdict.part.folder / "blocks.0.out_weight.npy")
    verdict = problems(open_library(places))[staging.STAGED]
    assert verdict.problem == "other content than expected: blocks.0.out_weight.npy"
    assert str(verdict.part.folder) in verdict.remedy

    def refuse(_folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(staging, "damaged", refuse)
    assert "cannot be read" in problems(open_library(places))[staging.STAGED].problem


def test_an_interrupted_download_is_not_sound(places: Places, hub_folder: Path, ct2: Path) -> None:
    (put_in_hub_cache(hub_folder, SMALL, ct2) / "tokenizer.json").unlink()
    (verdict,) = problems(open_library(places)).values()
    assert verdict.problem == "files are missing"


def test_a_decoder_that_lost_a_byte_and_one_with_a_flipped_bit(
    places: Places, hub_folder: Path, ct2: Path
) -> None:
    put_in_hub_cache(hub_folder, SMALL, ct2)
    model = prepare("small", places) / "model.bin"
    flip_a_byte(model)
    assert problems(open_library(places))["decoder, int8"].problem.endswith(": model.bin")
    model.write_bytes(model.read_bytes()[:-1])
    verdict = problems(open_library(places))["decoder, int8"]
    assert verdict.problem == "a file is missing or has another size"
    assert str(model.parent) in verdict.remedy


def test_a_decoder_whose_source_is_gone_is_read(places: Places, ct2: Path) -> None:
    model = prepare(ct2, places) / "model.bin"
    (ct2 / "config.json").touch()  # another file than the one that the decoder was made from
    assert problems(open_library(places))["decoder, int8"].checked == "sizes and structure"
    data = bytearray(model.read_bytes())
    data[0] ^= 0xFF
    model.write_bytes(data)
    assert "binary version" in problems(open_library(places))["decoder, int8"].problem


def test_a_folder_in_model_dir_is_read(places: Places, tmp_path: Path, ct2: Path) -> None:
    own = shutil.copytree(ct2, tmp_path / "models" / "base")
    there = Places(places.cache, tmp_path / "models")
    assert problems(open_library(there))[f"folder {own}"].problem == ""
    (own / "model.bin").write_bytes(b"junk")
    verdict = problems(open_library(there))[f"folder {own}"]
    assert verdict.problem
    assert verdict.remedy == f"copy {own} again"


def test_verifying_leaves_nothing_behind(places: Places, hf: Path) -> None:
    prepare(hf, places)
    before = sorted(places.cache.iterdir())
    problems(open_library(places))
    assert sorted(places.cache.iterdir()) == before


# What a removal takes


def test_a_removal_takes_the_download_and_all_that_was_made_from_it(
    places: Places, hub_folder: Path, hf: Path, ct2: Path
) -> None:
    put_in_hub_cache(hub_folder, "org/fine-tuned", hf)
    put_in_hub_cache(hub_folder, SMALL, ct2)  # has the same commit, as a renamed repository would
    prepare("org/fine-tuned", places)
    prepare("small", places)
    model = open_library(places).find("org/fine-tuned")
    assert remove(model.parts) == model.size
    assert contents(open_library(places)) == {"small": [f"hub {SMALL}", "decoder, int8"]}
    assert [path.name for path in hub_folder.glob("models--*")] == ["models--Systran--faster-whisper-small"]


def test_a_removal_leaves_the_users_own_folders_and_packages(
    places: Places, tmp_path: Path, ct2: Path, hf: Path, installed: set[str]
) -> None:
    own = shutil.copytree(ct2, tmp_path / "models" / "base")
    there = Places(places.cache, tmp_path / "models")
    for model in ("base", hf, "tiny.en"):
        prepare(model, there)
    before = {path: path.read_bytes() for folder in (own, hf) for path in folder.iterdir()}
    for stored in open_library(there).models:
        assert remove(stored.parts) > 0
    assert {path: path.read_bytes() for folder in (own, hf) for path in folder.iterdir()} == before
    assert list(places.cache.iterdir()) == []
    assert list(contents(open_library(there))) == ["tiny.en", "base"]  # installed, and the user's own


def test_a_removal_takes_what_an_interrupted_download_left(places: Places, hub_folder: Path) -> None:
    home = hub_folder / "models--Systran--faster-whisper-small"
    (home / "blobs").mkdir(parents=True)
    (home / "blobs" / "0123.incomplete").write_bytes(b"x" * 500)
    assert remove(only(open_library(places)).parts) == 500
    assert not home.exists()
