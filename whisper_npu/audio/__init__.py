"""From any audio to float32 mono at 16 kHz, and on to Whisper's log-mel spectrogram.

load.py tells the way of a recording: source.py opens it, by_libsndfile.py or by_ffmpeg.py decodes it,
samples.py checks and resamples it meanwhile. header.py reads what a file says of itself, without decoding.
"""

from whisper_npu.audio.header import audio_header, audio_seconds, audio_tracks
from whisper_npu.audio.load import audio_formats, load_audio
from whisper_npu.audio.mel import CHUNK_SECONDS, HOP_LENGTH, N_FRAMES, N_SAMPLES, log_mel
from whisper_npu.audio.samples import SAMPLE_RATE, Samples
from whisper_npu.audio.source import AudioSource, name_of
from whisper_npu.audio.tracks import AudioHeader, AudioTrack

__all__ = [
    "CHUNK_SECONDS",
    "HOP_LENGTH",
    "N_FRAMES",
    "N_SAMPLES",
    "SAMPLE_RATE",
    "AudioHeader",
    "AudioSource",
    "AudioTrack",
    "Samples",
    "audio_formats",
    "audio_header",
    "audio_seconds",
    "audio_tracks",
    "load_audio",
    "log_mel",
    "name_of",
]
