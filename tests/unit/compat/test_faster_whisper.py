"""The drop-ins for faster-whisper against faster-whisper itself, with small random weights."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ctranslate2
import faster_whisper
import numpy as np
import pytest
from faster_whisper.transcribe import Segment, TranscriptionInfo

import whisper_npu
import whisper_npu.compat.faster_whisper
from tests.support.checkpoints import tiny_config, tiny_tensors, tiny_tokenizer, write_checkpoint
from tests.support.hub_cache import nothing_downloaded, put_in_hub_cache
from whisper_npu.checkpoint import load_checkpoint
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.compat import attach, detach
from whisper_npu.dtypes import F32
from whisper_npu.errors import CheckpointError, DeviceError, NoEffectError, UnknownModelError, UsageError
from whisper_npu.npu.emulator.device import Emulator
from whisper_npu.transcription.model import Model

SHORT: dict[str, Any] = {"max_new_tokens": 6, "temperature": 0.0}


def ct2_folder(out: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A small random model that knows three languages, in CTranslate2's format."""
    config = tiny_config(vocab_size=1788, **changes)
    written = write_checkpoint(
        out / "hf", config, tiny_tensors(config, seed=seed), tokenizer_json=tiny_tokenizer(multilingual=True)
    )
    return load_checkpoint(written, cache_dir=out / "cache").decoder_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ct2_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Iterator[whisper_npu.WhisperModel]:
    with whisper_npu.WhisperModel(str(folder), compute_type="float32", cpu_threads=1) as model:
        yield model


def real_model(folder: Path, compute_type: str = "float32") -> Any:
    return faster_whisper.WhisperModel(str(folder), device="cpu", compute_type=compute_type)


@pytest.fixture
def real(folder: Path) -> Any:
    return real_model(folder)


def noise(seconds: float, seed: int = 0) -> F32:
    """(n_samples,) float32"""
    return np.random.default_rng(seed).standard_normal(round(seconds * 16_000), dtype=np.float32) / 10


def features_of(model: Any, seconds: float = 30, seed: int = 0) -> F32:
    """(n_mels, 3000) float32"""
    return model.feature_extractor(noise(seconds, seed))[:, :3000]


def encoded(model: Any, mel: F32) -> F32:
    """(n_audio_ctx, n_audio_state) float32"""
    return np.asarray(model.encode(mel))[0]


def apart(features: F32, expected: F32) -> float:
    return float(np.linalg.norm(features - expected) / np.linalg.norm(expected))


# ------------------------------------------------------------------------------------------ WhisperModel


def test_it_is_a_faster_whisper_model(model: whisper_npu.WhisperModel) -> None:
    assert isinstance(model, faster_whisper.WhisperModel)
    assert issubclass(whisper_npu.WhisperModel, faster_whisper.WhisperModel)


def test_the_constructor_has_the_real_ones_parameters_in_their_order() -> None:
    theirs = inspect.signature(faster_whisper.WhisperModel).parameters
    ours = inspect.signature(whisper_npu.WhisperModel).parameters
    assert [name for name in ours if name in theirs] == list(theirs)
    for name, parameter in theirs.items():
        assert (ours[name].kind, ours[name].default) == (parameter.kind, parameter.default), name
    added = [parameter for name, parameter in ours.items() if name not in theirs]
    assert [(one.name, one.kind) for one in added] == [("kernel", inspect.Parameter.KEYWORD_ONLY)]


@pytest.mark.parametrize("name", faster_whisper.__all__)
def test_the_module_has_the_real_ones_public_names(name: str) -> None:
    ours, theirs = getattr(whisper_npu.compat.faster_whisper, name), getattr(faster_whisper, name)
    assert name in whisper_npu.compat.faster_whisper.__all__
    assert (ours is theirs) == (name != "WhisperModel")


@pytest.mark.parametrize(
    "name", [name for name in vars(faster_whisper.WhisperModel) if not name.startswith("__")]
)
def test_every_method_takes_what_the_real_one_takes(name: str) -> None:
    theirs, ours = getattr(faster_whisper.WhisperModel, name), getattr(whisper_npu.WhisperModel, name)
    if isinstance(theirs, property):
        assert isinstance(ours, property)
    else:
        assert inspect.signature(ours) == inspect.signature(theirs)


def test_results_are_the_real_ones_types(model: whisper_npu.WhisperModel) -> None:
    segments, info = model.transcribe(noise(5), **SHORT, log_prob_threshold=None)
    found = list(segments)
    assert isinstance(info, TranscriptionInfo)
    assert found
    assert {type(segment) for segment in found} == {Segment}
    assert model.supported_languages == list(faster_whisper.tokenizer._LANGUAGE_CODES)
    assert model.model.compute_type == "float32"


def test_languages_are_detected_in_audio_and_in_features(model: whisper_npu.WhisperModel, real: Any) -> None:
    audio, mel = noise(8), features_of(real, 8)
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((audio,), {}),
        ((), {"audio": audio}),
        ((), {"audio": audio, "language_detection_segments": 2}),
        ((None, mel), {}),
        ((), {"features": mel}),
        ((), {"features": mel[None]}),
        ((audio, None, False, None, 1, 0.9), {}),
    ]
    for given, named in asked:
        language, probability, every = model.detect_language(*given, **named)
        expected = real.detect_language(*given, **named)
        assert language == expected[0]
        assert probability == pytest.approx(expected[1], abs=0.02)
        assert [code for code, _ in every] == [code for code, _ in expected[2]]


def test_features_are_the_real_encoders_but_for_bf16(model: whisper_npu.WhisperModel, real: Any) -> None:
    batch = np.stack([features_of(real, seed=seed) for seed in range(3)])
    ours, theirs = np.asarray(model.encode(batch)), np.asarray(real.encode(batch))
    assert ours.shape == theirs.shape
    assert 0 < apart(ours, theirs) < 0.02


def test_ctranslate2s_methods_never_encode_by_another_encoder(model: whisper_npu.WhisperModel) -> None:
    """They take log-mel too; the decoder's folder has only a part of CTranslate2's own encoder."""
    mel = np.ascontiguousarray(features_of(model)[None])
    view = ctranslate2.StorageView.from_array(mel)
    features = model.encode(mel)
    prompt = [model.hf_tokenizer.token_to_id("<|startoftranscript|>")]
    assert model.model.detect_language(view) == model.model.detect_language(features)
    generated = [
        model.model.generate(given, [prompt], max_length=8)[0].sequences_ids for given in (view, features)
    ]
    assert generated[0] == generated[1]
    aligned = [model.model.align(given, prompt, [[70, 71]], 100)[0].alignments for given in (view, features)]
    assert aligned[0] == aligned[1]


def test_a_window_of_another_length_is_refused(model: whisper_npu.WhisperModel) -> None:
    with pytest.raises(ValueError, match=r"1000 frames, the encoder takes 3000: .*pad_or_trim"):
        model.encode(features_of(model)[:, :1000])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"device": "cuda"}, "device 'cuda': no GPU is used; npu is the NPU, cpu is this processor"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"device_index": [0, 1]}, r"device_index is \[0, 1\]: there is one device"),
        ({"device_index": 1}, "device_index is 1: there is one device"),
        ({"compute_type": "float128"}, "unknown compute type 'float128'"),
        ({"compute_type": {"cpu": "int8"}}, "compute_type is .*, must be a name"),
        ({"device": None}, "device is None, must be one of auto, npu, emulator, cpu, or what open_device"),
        ({"cpu_threads": -1}, "threads is -1, must be a whole number from 1"),
        ({"cpu_threads": "4"}, "threads is '4', must be a whole number from 1"),
        ({"kernel": 5}, "kernel is 5, must be a name"),
        ({"download_root": 5}, "download_root is 5, must be a folder"),
        ({"model_size_or_path": None}, "model is None, must be a name, a folder, or a hub id"),
        ({"num_workers": 0}, "num_workers is 0, must be a whole number, at least 1"),
        ({"files": {"model.bin": b""}}, "files: the encoder's weights are read from a folder"),
    ],
)
def test_what_cannot_be_had_is_refused(folder: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        whisper_npu.WhisperModel(**{"model_size_or_path": str(folder)} | given)


def test_keywords_of_ctranslate2_are_handed_on(folder: Path) -> None:
    with whisper_npu.WhisperModel(
        str(folder), "cpu", 0, "int8", 1, 2, max_queued_batches=3, kernel="64x512"
    ) as model:
        assert model.model.num_workers == 2
        assert model.model.compute_type.startswith("int8")
        assert model.attached.device.threads.count == 1
        assert {contract.name for contract in model.attached.device.choice.contracts} == {"matmul_64x512"}
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        whisper_npu.WhisperModel(str(folder), nonsense=1)


def test_a_model_of_the_hub_at_a_revision(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_downloaded(monkeypatch, tmp_path / "default")
    root = tmp_path / "root"
    put_in_hub_cache(root, HUB_IDS["small"], folder)
    local: dict[str, Any] = {"local_files_only": True, "download_root": str(root)}
    for asked in ({}, {"revision": "main"}, {"use_auth_token": "hf_token"}):
        with whisper_npu.WhisperModel("small", **local, **asked) as model:
            assert model.attached.encoder.dims.n_audio_state == 24
    with pytest.raises(CheckpointError, match="'small' at revision 'v2' cannot be had from the hub"):
        whisper_npu.WhisperModel("small", **local, revision="v2")
    with pytest.raises(UnknownModelError, match=r"unknown model 'smal'.*small"):
        whisper_npu.WhisperModel("smal", **local, revision="v2")


def test_a_folder_comes_before_a_model_of_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in faster-whisper."""
    (tmp_path / "base").symlink_to(folder, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    with whisper_npu.WhisperModel("base") as model:
        assert model.attached.encoder.dims.n_audio_state == 24


def test_a_model_with_shorter_windows_is_refused(tmp_path: Path) -> None:
    short = ct2_folder(tmp_path, max_source_positions=750)
    with pytest.raises(CheckpointError, match="windows of 1500 frames, faster-whisper's loop makes 3000"):
        whisper_npu.WhisperModel(str(short))


def test_closed(folder: Path) -> None:
    device = Emulator()
    model = whisper_npu.WhisperModel(str(folder), device)
    segments, _ = model.transcribe(noise(70), "en", **SHORT)
    next(iter(segments))
    mel = features_of(model)
    model.close()
    model.close()
    for call in (
        lambda: next(iter(segments)),
        lambda: model.transcribe(noise(1), language="en"),
        lambda: model.detect_language(noise(1)),
        lambda: model.encode(mel),
        lambda: model.supported_languages,
        lambda: faster_whisper.BatchedInferencePipeline(model).transcribe(noise(1), vad_filter=False),
    ):
        with pytest.raises(UsageError, match="this WhisperModel was closed: make another"):
            call()
    with pytest.raises(DeviceError, match="the device was closed"):
        device.threads.check_open()


def test_a_device_that_is_closed_under_the_model(folder: Path) -> None:
    device = Emulator()
    model = whisper_npu.WhisperModel(str(folder), device)
    device.close()
    with pytest.raises(DeviceError, match="the device was closed"):
        model.encode(features_of(model))


def test_several_threads(model: whisper_npu.WhisperModel) -> None:
    mels = [features_of(model, seed=seed) for seed in range(4)]
    expected = [encoded(model, mel) for mel in mels]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for one, two in zip(pool.map(lambda mel: encoded(model, mel), mels), expected, strict=True):
                np.testing.assert_array_equal(one, two)


def heard(segments: Any) -> list[tuple[float, float]]:
    """Where each segment starts, and its probability, which depends on every number of its window."""
    return [(segment.start, segment.avg_logprob) for segment in segments]


def test_several_recordings_at_once(model: whisper_npu.WhisperModel) -> None:
    """In several threads, and in one whose generators take turns."""
    recordings = [noise(45, seed) for seed in (1, 2)]

    def start(audio: F32) -> Any:
        return model.transcribe(audio, "en", **SHORT, no_speech_threshold=None)[0]

    alone = [heard(start(audio)) for audio in recordings]
    assert len(alone[0]) >= 2
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda audio: heard(start(audio)), recordings)) == alone
    one, two = map(start, recordings)
    in_turn: tuple[list[Any], list[Any]] = ([], [])
    for segments in zip(one, two, strict=True):
        for found, segment in zip(in_turn, segments, strict=True):
            found.append(segment)
    assert [heard(found) for found in in_turn] == alone


def test_a_generator_that_is_dropped_leaves_nothing_behind(model: whisper_npu.WhisperModel) -> None:
    before = heard(model.transcribe(noise(5), "en", **SHORT)[0])
    segments, _ = model.transcribe(noise(65, 1), "en", **SHORT)
    next(iter(segments))
    del segments
    assert heard(model.transcribe(noise(5), "en", **SHORT)[0]) == before


# ------------------------------------------------------------------------------------------------ attach


def test_an_attached_encoder_encodes_until_it_is_detached(
    folder: Path, real: Any, model: whisper_npu.WhisperModel
) -> None:
    mel, own = features_of(real), real.model
    theirs = encoded(real, mel)
    with attach(real, folder, device="cpu") as attached:
        assert attached.device.name == "emulator"
        with attached.recording() as recording:
            np.testing.assert_array_equal(encoded(real, mel), encoded(model, mel))
        assert recording.stats.dispatches > 0
        assert real.detect_language(noise(3))[0] in ("en", "de", "haw")
    assert real.model is own
    assert not attached.is_attached
    np.testing.assert_array_equal(encoded(real, mel), theirs)
    attached.detach()
    for call in (lambda: attached.encode(mel[None]), attached.recording):
        with pytest.raises(UsageError, match="detached from its model: attach it again"):
            call()


def test_a_pipeline_may_be_given_for_its_model(folder: Path, real: Any) -> None:
    pipeline = faster_whisper.BatchedInferencePipeline(real)
    with attach(pipeline, folder) as attached:
        with attached.recording() as of_one:
            encoded(real, features_of(real))
        with attached.recording() as of_two:
            clips = [{"start": 0, "end": 25}, {"start": 25, "end": 50}]
            segments, _ = pipeline.transcribe(noise(50), "en", **SHORT, clip_timestamps=clips)
            assert len(list(segments)) >= 2
    assert of_two.stats.dispatches == 2 * of_one.stats.dispatches > 0


def test_a_model_takes_one_encoder(folder: Path, real: Any, model: whisper_npu.WhisperModel) -> None:
    private = Model(load_checkpoint(folder), Emulator(), compute_type="float32")
    with attach(real, folder) as attached, private:
        for taken in (real, faster_whisper.BatchedInferencePipeline(real)):
            with pytest.raises(UsageError, match=r"has this encoder already: .*detach\(model\)"):
                attach(taken, folder)
        for ours in (model, private._whisper):
            with pytest.raises(UsageError, match="encodes on the device already"):
                attach(ours, folder)
            with pytest.raises(UsageError, match="no encoder of its own to go back to: close it"):
                detach(ours)
        assert attached.is_attached
    attached = attach(real, folder)
    detach(faster_whisper.BatchedInferencePipeline(real))
    assert not attached.is_attached
    with pytest.raises(UsageError, match="nothing to detach"):
        detach(real)


def test_whose_device_it_is(folder: Path, real: Any) -> None:
    """Closing a WhisperModel closes a given device, as load_model's does; detaching leaves it open."""
    with Emulator() as device:
        attach(real, folder, device=device).detach()
        device.threads.check_open()
        with pytest.raises(NoEffectError, match=r"threads has no effect: .*open_device"):
            attach(real, folder, device=device, threads=2)
        whisper_npu.WhisperModel(str(folder), device).close()
        with pytest.raises(DeviceError, match="was closed"):
            device.threads.check_open()


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_a_checkpoint_with_other_weights_is_refused(tmp_path: Path, folder: Path, compute_type: str) -> None:
    real = real_model(folder, compute_type)
    own = real.model
    others = {
        ct2_folder(tmp_path / "weights", seed=1): r"features are \d\.\d+ from the model's",
        ct2_folder(tmp_path / "bands", num_mel_bins=80): "it takes 80 mel bands, the model 128",
        ct2_folder(tmp_path / "width", d_model=48): "its encoder is 48 wide, the model's 24",
    }
    for other, why in others.items():
        with pytest.raises(UsageError, match=f"is not the model's: .*{why}"):
            attach(real, other)
        assert real.model is own
    with attach(real, folder):
        assert real.model is not own


def test_an_attach_that_fails_leaves_an_open_device_open(tmp_path: Path, folder: Path, real: Any) -> None:
    other = ct2_folder(tmp_path, seed=1)
    before = threading.active_count()
    with Emulator() as device:
        with pytest.raises(UsageError, match="is not the model's"):
            attach(real, other, device=device)
        with attach(real, folder, device=device):
            pass
        device.threads.check_open()
    with pytest.raises(UsageError, match="is not the model's"):
        attach(real, other)
    assert threading.active_count() <= before


def test_a_model_that_is_unloaded_is_refused(folder: Path, real: Any) -> None:
    real.model.unload_model()
    with pytest.raises(UsageError, match="the model is unloaded: load it again"):
        attach(real, folder)
    real.model.load_model()
    attach(real, folder).detach()


def test_what_cannot_be_attached_to(folder: Path, real: Any) -> None:
    with pytest.raises(UsageError, match="checkpoint is missing: faster-whisper does not give its weights"):
        attach(real)
    for other in (3, real.feature_extractor, None):
        with pytest.raises(UsageError, match=r"model is a .*, must be faster-whisper's WhisperModel or"):
            attach(other, folder)
