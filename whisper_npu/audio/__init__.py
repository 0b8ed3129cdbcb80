"""From any audio to float32 mono at 16 kHz, and on to Whisper's log-mel spectrogram."""

from whisper_npu.audio.load import (
    CHUNK_SECONDS,
    HOP_LENGTH,
    N_FRAMES,
    N_SAMPLES,
    SAMPLE_RATE,
    AudioTrack,
    Samples,
    audio_formats,
    audio_seconds,
    audio_tracks,
    load_audio,
    log_mel,
)

__all__ = [
    "CHUNK_SECONDS",
    "HOP_LENGTH",
    "N_FRAMES",
    "N_SAMPLES",
    "SAMPLE_RATE",
    "AudioTrack",
    "Samples",
    "audio_formats",
    "audio_seconds",
    "audio_tracks",
    "load_audio",
    "log_mel",
]
