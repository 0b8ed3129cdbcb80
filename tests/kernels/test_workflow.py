"""What builds kernels elsewhere, the workflow and the image, says what the program understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from whisper_npu.apps.cli import kernel_commands, run, set_commands, setup_command
from whisper_npu.kernels.toolchain import GENERATIONS, NEWEST, generation_named
from whisper_npu.released import RELEASED, released_dimensions

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/kernels.yml"
CONTAINERFILE = ROOT / "kernels/Containerfile"
pytestmark = pytest.mark.skipif(not WORKFLOW.exists(), reason="an sdist has no workflow")


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    return parsed


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def commands(script: str) -> Iterator[list[str]]:
    """The arguments of every whisper-npu in a shell script."""
    joined = script.replace("\\\n", " ")
    for line in re.findall(r"whisper-npu (kernels .*|transcribe .*|doctor.*)", joined):
        yield shlex.split(line)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the commands do, instead of doing it: the function's name and its arguments."""
    calls: list[tuple[Any, ...]] = []

    def record(module: Any, name: str) -> None:
        def recorded(*arguments: Any, **named: Any) -> int:
            calls.append((name, *arguments))
            return 0

        monkeypatch.setattr(module, name, recorded)

    for name in ("verify_designs", "verify_model", "build_designs", "build_model"):
        record(kernel_commands, name)
    for name in ("fetch_set", "pack_set"):
        record(set_commands, name)
    record(setup_command, "set_up_toolchain")
    return calls


def test_every_action_is_pinned_to_a_commit(workflow: dict[Any, Any]) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert len(used) == 3
    assert [use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", use)] == []
    assert len(re.findall(r"uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+\n", WORKFLOW.read_text("utf-8"))) == 3


def test_a_step_runs_or_uses(workflow: dict[Any, Any]) -> None:
    assert all(("run" in step) != ("uses" in step) for step in steps(workflow))


def test_a_run_by_hand_neither_signs_nor_releases(workflow: dict[Any, Any]) -> None:
    """Whatever it runs on: a tag can be chosen there too."""
    assert workflow[True]["push"] == {"tags": ["kernels-v*"]}  # YAML 1.1 reads `on` as a truth value
    guarded = {step["name"]: step["if"] for step in steps(workflow) if "if" in step}
    assert guarded == dict.fromkeys(
        ("Sign the set", "Release"), "github.event_name == 'push' && github.ref_type == 'tag'"
    )
    using = [step["name"] for step in steps(workflow) if re.search(r"secrets\.|gh release", repr(step))]
    assert using == list(guarded)


def test_the_workflow_does_what_the_program_understands(
    workflow: dict[Any, Any], done: list[tuple[Any, ...]]
) -> None:
    models = workflow["env"]["MODELS"].split()
    for step in steps(workflow):
        for arguments in commands(step.get("run", "")):
            for model in models if "$model" in arguments else [""]:
                given = [model if argument == "$model" else argument for argument in arguments]
                assert run(given) == 0, given
    names = [call[0] for call in done]
    order = ["verify_designs", "verify_model", "build_designs", "build_model", "pack_set", "fetch_set"]
    assert list(dict.fromkeys(names)) == order  # the verifier first
    assert [call[1] for call in done if call[0] == "build_model"] == models
    assert [call[1:] for call in done if call[0] == "pack_set"] == [
        (Path("/data/set"), None),
        (Path("/data/set"), Path("/key")),
    ]


def test_it_builds_for_every_size_of_encoder(workflow: dict[Any, Any]) -> None:
    built = {released_dimensions(model) for model in workflow["env"]["MODELS"].split()}
    assert built == set(RELEASED.values())


def test_the_generations_are_those_of_the_program(workflow: dict[Any, Any]) -> None:
    trigger = workflow[True]  # YAML 1.1 reads `on` as a truth value
    toolchain = trigger["workflow_dispatch"]["inputs"]["toolchain"]
    assert sorted(toolchain["options"]) == sorted(GENERATIONS)
    assert toolchain["default"] == NEWEST.name
    assert f"|| '{NEWEST.name}'" in workflow["env"]["TOOLCHAIN"]


def test_the_image_does_what_the_program_understands(done: list[tuple[Any, ...]]) -> None:
    text = CONTAINERFILE.read_text("utf-8")
    default = re.search(r"(?m)^ARG TOOLCHAIN=(\w+)$", text)
    assert default
    assert generation_named(default[1]) == NEWEST
    instructions = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for arguments in commands(instructions.replace("$TOOLCHAIN", default[1])):
        assert run(arguments) == 0
    assert done == [("set_up_toolchain", None, NEWEST.name, None, None)]
    copied = re.findall(r"(?m)^COPY (.*) \S+$", text)
    assert all((ROOT / name).exists() for names in copied for name in names.split())


@pytest.mark.parametrize("path", [WORKFLOW, CONTAINERFILE])
def test_both_say_what_nobody_did(path: Path) -> None:
    assert re.search(r"(?i)nobody\s+(#\s+)?has run", path.read_text("utf-8"))
