"""Which of FFmpeg's formats are recordings, by its names for them, and what is known of each.

Only these are tried. FFmpeg knows hundreds more: playlists that name other files (hls, concat, dash), what
makes sound from notes or text (libopenmpt, libmodplug, tty, lavfi), pictures and subtitles, parts of games,
and raw streams that any bytes can pass for. Bytes that look most like one of those are no recording.
"""

from __future__ import annotations

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_MKV = "matroska,webm"

# fmt: off
_SOUND = (  # what people record into and send each other
    "aac", "ac3", "ac4", "act", "aea", "aiff", "amr", "ape", "au", "avr", "bonk", "caf", "dsf", "dss", "dts",
    "dtshd", "eac3", "flac", "g723_1", "iamf", "iff", "ilbc", "ircam", "laf", "lc3", "loas", "mlp", "mmf",
    "mp3", "mpc", "mpc8", "nistsphere", "ogg", "oma", "osq", "paf", "pvf", "qcp", "qoa", "sbc", "shn", "sox",
    "spdif", "tak", "truehd", "tta", "voc", "vqf", "w64", "wav", "wavarc", "wv", "wve", "xwma",
)
_FILMS = (  # and broadcasts, cameras, calls
    "asf", "asf_o", "avi", "dhav", "dv", "flv", "gxf", "kux", "live_flv", "mpeg", "mpegts", "mxf", "nsv",
    "nut", "pmp", "pva", "rm", "smjpeg", "swf", "thp", "ty", "wtv",
)
# fmt: on
FORMATS = (*_SOUND, _MP4, _MKV, *_FILMS)

# Their packets have time stamps of their own. In all others one follows the other.
HAVE_TIMES = frozenset((_MP4, _MKV, "flac", "ogg", *_FILMS)) - {"dhav", "dv", "smjpeg", "swf"}

# Time stamps may start again or jump: recordings of a broadcast, joined. As the ffmpeg command does
# (AVFMT_TS_DISCONT and -dts_delta_threshold), a jump beyond 10 s is none in the sound.
MAY_JUMP = frozenset(("mpegts", "mpeg"))
LONGEST_JUMP = 10.0  # seconds

# Nothing but frames, without time stamps: bytes between two frames are frames that are lost.
BARE_FRAMES = frozenset(("mp3", "aac", "ac3", "eac3", "dts", "dtshd", "loas", "mlp", "spdif", "truehd"))

# The same, where the codec is one of frames that are found by their first bytes.
HOLD_BARE_FRAMES = frozenset(("wav", "w64", "aiff"))
FRAMED_CODECS = ("mp1", "mp2", "mp3", "aac", "ac3", "eac3", "dca", "mlp", "truehd")  # names begin like this

# Their time stamps are exact to the sample, but for rounding: the shortest gap is a lost frame.
EXACT = frozenset(("flac",))
EXACT_JITTER = 0.002  # seconds

# Their index places every packet: a gap in the middle is how the recording was cut, and nothing is lost.
PLACE_EVERY_PACKET = frozenset((_MP4,))

# Their header states the length as FFmpeg gives it. stated/ reads what others state; all other durations
# are estimates, or what the last packet says.
STATE_LENGTH = frozenset(
    (_MP4, _MKV, "ape", "dsf", "flv", "gxf", "mpc8", "mxf", "rm", "shn", "tak", "tta", "voc", "wv")
)

# FFmpeg's length is no estimate: no time stamp lies beyond it. Of a broadcast it looks at both ends only, and
# may not see a stream that begins in the middle.
KNOWN_LENGTH = STATE_LENGTH | {"avi", "flac", "ogg"}

# These count the samples.
STATE_SAMPLES = frozenset(("ape", "dsf", "shn", "tak", "tta", "wv"))

# Their index has the length of each stream.
STATE_EVERY_LENGTH = frozenset((_MP4,))
# Behind damage their time stamps are wrong, so that gaps do not show. Each stream states its length.
STAMPS_ARE_FRAIL = frozenset(("rm",))
# Seconds that FFmpeg states in an rm which it writes to a pipe, where it cannot know the length.
UNKNOWN_LENGTH = 3_600.0
