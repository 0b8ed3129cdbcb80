"""From any audio to float32 mono at 16 kHz, and on to Whisper's log-mel spectrogram.

load.py tells the way of a recording: source.py opens it, by_libsndfile.py or by_ffmpeg.py decodes it,
clock.py places it in time, mixdown.py makes one channel of many, samples.py checks and resamples it,
store.py keeps the samples, and sound.py hands them on. stated/ and damage.py tell what of it is lost;
corrected.py mends headers that would hide some of it. joined.py finds recordings that were joined into one
file, bare_frames.py bytes that FFmpeg skips.
header.py reads what a file says of itself, without decoding.
"""

from whisper_npu.audio.header import audio_header, audio_seconds, audio_tracks
from whisper_npu.audio.load import audio_formats, load_audio, open_audio
from whisper_npu.audio.mel import CHUNK_SECONDS, HOP_LENGTH, N_FRAMES, N_SAMPLES, LogMel, log_mel
from whisper_npu.audio.samples import SAMPLE_RATE
from whisper_npu.audio.sound import Sound
from whisper_npu.audio.source import OPEN_FILE, AudioSource, name_of
from whisper_npu.audio.store import InMemory, Samples, SampleSource
from whisper_npu.audio.tracks import AudioHeader, AudioTrack

__all__ = [
    "CHUNK_SECONDS",
    "HOP_LENGTH",
    "N_FRAMES",
    "N_SAMPLES",
    "OPEN_FILE",
    "SAMPLE_RATE",
    "AudioHeader",
    "AudioSource",
    "AudioTrack",
    "InMemory",
    "LogMel",
    "SampleSource",
    "Samples",
    "Sound",
    "audio_formats",
    "audio_header",
    "audio_seconds",
    "audio_tracks",
    "load_audio",
    "log_mel",
    "name_of",
    "open_audio",
]
