"""Languages by code, name, tag and former code, in any case."""

from __future__ import annotations

import re

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from whisper_npu.errors import UsageError
from whisper_npu.transcription.language import NAMES, check_language, name_of
from whisper_npu.without_torch import no_torch_notice


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("de", "de"),
        ("DE", "de"),
        (" de ", "de"),
        ("German", "de"),
        ("gErMaN", "de"),
        ("de-DE", "de"),
        ("pt_BR", "pt"),
        ("zh-CN", "zh"),
        ("zh-Hans", "zh"),
        ("zh-Hans-CN", "zh"),
        ("yue-HK", "yue"),
        ("es-419", "es"),
        ("iw", "he"),
        ("iw-IL", "he"),
        ("in", "id"),
        ("ji", "yi"),
        ("jv", "jw"),
        ("jw", "jw"),
        ("nb-NO", "no"),
        ("Burmese", "my"),
        ("castilian", "es"),
        ("Deutsch", "de"),
        ("Haitian Creole", "ht"),
        ("haitian_creole", "ht"),
        ("auto", None),
        ("AUTO", None),
        ("None", None),
        (None, None),
    ],
)
def test_what_people_write(given: str | None, code: str | None) -> None:
    assert check_language(given) == code


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("germn", r": did you mean German\?"),
        ("Englsih", r": did you mean English\?"),
        ("hatian creole", r": did you mean Haitian Creole\b.*\?"),
        ("xx", r"\."),
        ("dw", r"\."),
        ("xx-DE", r"\."),
        ("de-", r"\."),
        ("", r"\."),
        ("Klingon", r"\."),
    ],
)
def test_what_is_none_is_refused_with_what_is_near(given: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_language(given)
    message = str(caught.value)
    assert message.startswith(f"unknown language {given!r}")
    assert message.endswith(" Use a code such as de, a name such as German, or auto to have it detected")
    assert len(message) < 150  # not 99 codes
    assert re.search(f"{given!r}{near} Use", message)


@pytest.mark.parametrize("given", [5, b"de", ["de"]])
def test_what_is_no_text_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match=r"language is .*, must be text"):
        check_language(given)  # type: ignore[arg-type]


def test_codes_are_those_of_whispers_tokens() -> None:
    assert NAMES.keys() == set(_LANGUAGE_CODES)


def test_every_name_that_openai_takes_is_taken() -> None:
    """transformers has a copy of openai/whisper's table."""
    with no_torch_notice():
        from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

    assert {name: check_language(name) for name in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE
    assert {code: name_of(code).lower() for code in LANGUAGES} == LANGUAGES


def test_an_unknown_code_names_itself() -> None:
    assert name_of("de") == "German"
    assert name_of("tlh") == "tlh"
