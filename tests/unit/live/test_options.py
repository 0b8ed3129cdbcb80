"""What can be asked of live speech."""

from __future__ import annotations

import pytest

from whisper_npu.errors import UsageError
from whisper_npu.live.options import LiveOptions, check_live_options
from whisper_npu.transcription.options import TranscribeOptions


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(clip_timestamps=[1.0, 2.0]),
        TranscribeOptions(prefix="And so"),
        TranscribeOptions(batch_size=8),
        TranscribeOptions(vad_filter=True, vad_max_speech_duration_s=10),
        TranscribeOptions(vad_filter=True, vad_min_silence_duration_ms=500),
        TranscribeOptions(vad_filter=True, vad_speech_pad_ms=100),
    ],
)
def test_what_only_recordings_have_is_refused(options: TranscribeOptions) -> None:
    with pytest.raises(UsageError, match="is for recordings, not for live speech: ") as raised:
        check_live_options(options)
    assert raised.value.option is not None
    assert getattr(options, raised.value.option) != getattr(TranscribeOptions(), raised.value.option)


def test_all_else_is_taken() -> None:
    check_live_options(TranscribeOptions())
    check_live_options(
        TranscribeOptions(
            language="de",
            beam_size=1,
            hotwords="amiable",
            word_timestamps=True,
            vad_filter=True,
            vad_threshold=0.6,
        )
    )


@pytest.mark.parametrize(
    "wrong", [{"pause": 0.0}, {"pause": float("nan")}, {"longest": 29.0}, {"partial_every": -1.0}]
)
def test_seconds_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=rf"{next(iter(wrong))} is .* s, must be from") as raised:
        LiveOptions(**wrong)
    assert raised.value.option == next(iter(wrong))
