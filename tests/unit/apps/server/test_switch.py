"""A server whose NPU fails and whose emulator goes on: it says everywhere what really works."""

from __future__ import annotations

from pathlib import Path

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn", reason="the extra server is not installed")

from tests.support.checkpoints import (  # noqa: E402
    tiny_config,
    tiny_tensors,
    tiny_tokenizer,
    write_checkpoint,
)
from tests.support.contracts import MATMUL_64X64  # noqa: E402
from tests.support.fake_pyxrt import FakeXrt, Fault  # noqa: E402
from tests.support.npu import opened_npu  # noqa: E402
from tests.support.scripted_decoder import ScriptedDecoder, Window  # noqa: E402
from tests.support.serving import Live, recording, serving  # noqa: E402
from whisper_npu.apps.server.headers import DESCRIPTION, DEVICE  # noqa: E402
from whisper_npu.checkpoint import load_checkpoint  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402
from whisper_npu.transcription.took import Switch  # noqa: E402


def told(live: Live) -> tuple[str, str]:
    """What /health, /metrics and the headers say, which has to be the same."""
    health = httpx.get(live.address + "/health")
    name, description = health.json()["device"], health.json()["device_description"]
    assert (health.headers[DEVICE], health.headers[DESCRIPTION]) == (name, description)
    (info,) = [
        line
        for line in httpx.get(live.address + "/metrics").text.splitlines()
        if line.startswith("whisper_npu_info{")
    ]
    assert f'device="{name}"' in info
    assert f'device_description="{description}"' in info
    return name, description


def transcribed(live: Live) -> list[str]:
    """Its warnings."""
    answer = httpx.post(
        live.address + "/v1/audio/transcriptions",
        files={"file": ("a.wav", recording(1.0))},
        data={"model": "whisper-1", "language": "de", "temperature": "0"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    warnings: list[str] = answer.json().get("warnings", [])
    return warnings


def test_after_a_switch_it_tells_the_device_that_works(tmp_path: Path) -> None:
    fake, switches = FakeXrt(), list[Switch]()
    config = tiny_config(vocab_size=1788, max_source_positions=50)
    tokenizer = tiny_tokenizer(multilingual=True)
    folder = write_checkpoint(tmp_path / "hf", config, tiny_tensors(config), tokenizer_json=tokenizer)
    with (
        opened_npu(tmp_path, fake, [MATMUL_64X64]) as npu,
        Model(
            load_checkpoint(folder, cache_dir=tmp_path / "cache"),
            npu,
            compute_type="float32",
            on_device_error="emulate",
            on_switch=switches.append,
        ) as model,
    ):
        model._whisper.model = decoder = ScriptedDecoder(model)
        decoder.windows = [Window([(0.0, " Da", 1.0)]) for _ in range(9)]
        with serving(model) as live:
            assert transcribed(live) == []
            assert told(live) == ("npu", npu.description)
            fake.inject(Fault.ERROR, at=5, lasting=True)
            assert transcribed(live) == [str(switches[0])]
            assert told(live) == ("emulator", switches[0].to_device)
            assert transcribed(live) == []  # the switch was another recording's
    assert len(switches) == 1
    assert fake.problems() == []
