"""Whisper's languages: their codes, their English names, and what people write for them."""

from __future__ import annotations

from whisper_npu.errors import LONGEST_QUOTE, UsageError, quoted
from whisper_npu.near import did_you_mean

# The codes of Whisper's language tokens, <|de|> and so on; ISO 639-1 but for "haw", "yue" and "jw" (jv).
NAMES = {
    "af": "Afrikaans",
    "am": "Amharic",
    "ar": "Arabic",
    "as": "Assamese",
    "az": "Azerbaijani",
    "ba": "Bashkir",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bo": "Tibetan",
    "br": "Breton",
    "bs": "Bosnian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fo": "Faroese",
    "fr": "French",
    "gl": "Galician",
    "gu": "Gujarati",
    "ha": "Hausa",
    "haw": "Hawaiian",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "ht": "Haitian Creole",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "jw": "Javanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "la": "Latin",
    "lb": "Luxembourgish",
    "ln": "Lingala",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mg": "Malagasy",
    "mi": "Maori",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mn": "Mongolian",
    "mr": "Marathi",
    "ms": "Malay",
    "mt": "Maltese",
    "my": "Myanmar",
    "ne": "Nepali",
    "nl": "Dutch",
    "nn": "Nynorsk",
    "no": "Norwegian",
    "oc": "Occitan",
    "pa": "Punjabi",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sa": "Sanskrit",
    "sd": "Sindhi",
    "si": "Sinhala",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sn": "Shona",
    "so": "Somali",
    "sq": "Albanian",
    "sr": "Serbian",
    "su": "Sundanese",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "tg": "Tajik",
    "th": "Thai",
    "tk": "Turkmen",
    "tl": "Tagalog",
    "tr": "Turkish",
    "tt": "Tatar",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "yi": "Yiddish",
    "yo": "Yoruba",
    "yue": "Cantonese",
    "zh": "Chinese",
}

_OTHER_NAMES = {
    "burmese": "my",
    "castilian": "es",
    "farsi": "fa",
    "filipino": "tl",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "mandarin": "zh",
    "moldavian": "ro",
    "moldovan": "ro",
    "panjabi": "pa",
    "pushto": "ps",
    "sinhalese": "si",
    "valencian": "ca",
}
# What speakers themselves call some languages; "deutsch" is not near to "Dutch".
_OWN_NAMES = {
    "deutsch": "de",
    "español": "es",
    "français": "fr",
    "italiano": "it",
    "nederlands": "nl",
    "polski": "pl",
    "português": "pt",
}
# ISO 639's earlier codes, and later ones of languages that Whisper has under another code.
_OTHER_CODES = {
    "fil": "tl",
    "in": "id",
    "iw": "he",
    "ji": "yi",
    "jv": "jw",
    "mo": "ro",
    "nb": "no",
}
_DETECT = {"auto", "none"}


def check_language(language: str | None) -> str | None:
    """The code of a language. None, to detect it, for None and "auto".

    language: a code ("de"), also with script or region ("zh-Hans", "pt_BR") or a former one ("iw"), or an
    English name ("German"), in any case. Needs no model; whether one has the language is another question.
    Raises UsageError for any other.
    """
    if language is None:
        return None
    if not isinstance(language, str):
        raise UsageError(f"language is {quoted(language)}, must be text. {_REMEDY}", option="language")
    name = language.strip().lower()
    if name in _DETECT:
        return None
    code = _CODES.get(name.replace("_", " ").replace("-", " ")) or _without_region(name)
    if code is None:
        raise UsageError(f"unknown language {quoted(language)}{_near(name)} {_REMEDY}", option="language")
    return code


def name_of(code: str) -> str:
    """The English name of a language ("de" gives "German"); the code itself if it is not Whisper's."""
    return NAMES.get(code, code)


_CUTOFF = 0.75  # among a hundred names: "englsih" to "bengali" has 0.71
_REMEDY = "Use a code such as de, a name such as German, or auto to have it detected"
_CODES = (
    {code: code for code in NAMES}
    | {name.lower(): code for code, name in NAMES.items()}
    | _OTHER_NAMES
    | _OWN_NAMES
    | _OTHER_CODES
)


def _without_region(name: str) -> str | None:
    """The code at the beginning of a tag such as "zh-hans-cn", if script and region look like such."""
    base, *rest = name.replace("_", "-").split("-")
    if base in NAMES.keys() | _OTHER_CODES.keys() and all(2 <= len(p) <= 8 and p.isalnum() for p in rest):
        return _CODES[base]
    return None


def _near(name: str) -> str:
    hint = did_you_mean(name[:LONGEST_QUOTE], [known.title() for known in _CODES if len(known) > 3], _CUTOFF)
    return f": {hint}" if hint else "."
