"""Whatever is sent that the OpenAPI document allows or forbids, every answer is one that it describes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tests.support.serving", reason="the extra server is not installed")
schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from schemathesis.checks import positive_data_acceptance  # noqa: E402

from tests.support.serving import Live, recording, serving  # noqa: E402
from tests.unit.apps.server.conftest import Speaker  # noqa: E402
from whisper_npu.apps.server.openapi_document import document  # noqa: E402
from whisper_npu.transcription.model import Model  # noqa: E402

EXAMPLES = 12
RECORDINGS = [recording(0.5), recording(0), b"no audio", b"RIFF\xff\xff\xff\xffWAVEfmt "]
# That a file must be audio, and one option must go with another, is nothing that a schema can say.
CANNOT_BE_SAID = [positive_data_acceptance]
KEY = "a-secret-key"

schemathesis.openapi.format("binary", st.sampled_from(RECORDINGS) | st.binary(max_size=200))


def operations(*, has_key: bool) -> list[Any]:
    described = schemathesis.openapi.from_dict(document(has_key=has_key))
    return [one.ok() for one in described.get_all_operations()]


OPEN, LOCKED = operations(has_key=False), operations(has_key=True)
ALLOWED, FORBIDDEN = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE


def check_answers(address: str, operation: Any, mode: Any, **headers: str) -> None:
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def conforms(case: Any) -> None:
        case.call_and_validate(base_url=address, headers=headers, excluded_checks=CANNOT_BE_SAID)

    conforms()


@pytest.mark.parametrize("operation", OPEN, ids=lambda one: one.label)
def test_what_the_document_allows(live: Live, operation: Any) -> None:
    check_answers(live.address, operation, ALLOWED)


@pytest.mark.parametrize("operation", [one for one in OPEN if one.body], ids=lambda one: one.label)
def test_what_the_document_forbids(live: Live, operation: Any) -> None:
    """It is refused, as the document says."""
    check_answers(live.address, operation, FORBIDDEN)


def test_no_answer_without_the_key(small: Model, speaker: Speaker) -> None:
    """schemathesis leaves the key out, and sends others, where the document wants one."""
    with serving(small, api_key=KEY) as live:
        for operation in (one for one in LOCKED if one.path in ("/metrics", "/inference")):
            check_answers(live.address, operation, ALLOWED, Authorization=f"Bearer {KEY}")
