"""What binds each op: points below their roofs, and docs/roofline.md with its picture."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from whisper_npu.apps.cli import run
from whisper_npu.benchmark.roofline import (
    GEMM,
    LAYER,
    Point,
    as_markdown,
    page,
    run_rooflines,
    window_of,
    window_seconds,
)
from whisper_npu.benchmark.sizes import MODELS
from whisper_npu.encoder import encoder_ops
from whisper_npu.npu.cost import work_seconds
from whisper_npu.npu.planner import choose, whole_by
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Attention, Matmul, flattened
from whisper_npu.page import page_as_text
from whisper_npu.released import released_dimensions

DOCS = Path(__file__).parents[3] / "docs"
DONE = run_rooflines()
POINTS = [point for window in DONE.windows for point in window.points]


def test_the_page_shows_what_is_modelled_now() -> None:
    wanted = as_markdown(DONE, "roofline.svg")
    assert (DOCS / "roofline.md").read_text(encoding="utf-8") == wanted, (
        "whisper-npu benchmark roofline --markdown docs/roofline.md --plot docs/roofline.svg"
    )


def test_the_picture_shows_what_is_modelled_now() -> None:
    """Each mark is named by what it stands for: op, MAC per byte, GMAC per second."""
    shown = re.findall(r'id="((?:layer|gemm)_[^"]+)"', (DOCS / "roofline.svg").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(
        f"{point.made_by}_{point.op}_{point.macs / point.nbytes:.1f}"
        f"_{1e-9 * point.macs / point.cautious.seconds:.0f}"
        f"_{1e-9 * point.macs / point.optimistic.seconds:.0f}"
        for point in DONE.shown.points
        if point.macs
    )


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point.made_by} {point.op}")
def test_no_point_lies_above_its_roof(point: Point) -> None:
    for end, roof in ((point.cautious, DONE.cautious), (point.optimistic, DONE.optimistic)):
        assert point.macs / end.seconds < roof.macs_per_second
        assert point.bytes_read / end.seconds < roof.dram.read
        assert point.bytes_written / end.seconds < roof.dram.write
        assert point.nbytes / end.seconds < roof.dram.together
        assert 0 < point.of_roof(end, roof) < 1
    assert point.optimistic.seconds < point.cautious.seconds


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("family", [LAYER, GEMM])
def test_the_points_are_all_of_a_windows_products_and_time(model: str, family: str) -> None:
    """Whatever is cut into phases and parts of them: sums are those of the contracts."""
    from whisper_npu.kernels import registry

    ops = encoder_ops(released_dimensions(model))
    kernels = [kernel for kernel in registry.kernels(NPU1) if kernel.group == family]
    points = window_of(model, NPU1).of(family)
    products = [part.op for op in ops for part in flattened(op, lambda op: False)]
    wanted = sum(op.macs for op in products if isinstance(op, Matmul))
    assert sum(point.times * point.macs for point in points) == wanted
    choice = whole_by(kernels[0], ops, kernels) if family == LAYER else choose(ops, kernels)
    made = [part.op for op in ops for part in flattened(op, lambda op: op in choice.plans)]
    contracts = [choice.plans[op].contract for op in made if op in choice.plans]
    seconds = window_seconds(points)
    charged = [work_seconds(contract, NPU1.profile) for contract in contracts]
    assert seconds.cautious_s == pytest.approx(sum(one.cautious_s for one in charged))
    assert seconds.optimistic_s == pytest.approx(sum(one.optimistic_s for one in charged))
    moved = sum(contract.bytes_to_device + contract.bytes_from_device for contract in contracts)
    assert sum(point.times * point.nbytes for point in points) == moved


def test_scores_that_stay_in_the_cores_are_no_bytes() -> None:
    """By gemm the scores alone, fp32 out and bf16 back in, are more than all that the layer kernel moves."""
    dims = released_dimensions("base")
    scores = dims.n_audio_head * dims.n_audio_ctx**2
    (fused,) = (point for point in DONE.shown.of(LAYER) if point.op == "attention")
    parts = {part.op.name for part in Attention(1, 1, 1).lower() if isinstance(part.op, Matmul)}
    by_gemm = [point for point in DONE.shown.of(GEMM) if point.op in parts]
    assert len(by_gemm) == 2
    assert fused.macs == sum(point.macs for point in by_gemm)
    assert fused.nbytes < (4 + 2) * scores < sum(point.nbytes for point in by_gemm)


def test_the_command_writes_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    names = {kind: tmp_path / f"a.{kind}" for kind in ("md", "json", "csv", "svg")}
    options = ("--markdown", "--json", "--csv", "--plot")
    files = [str(part) for pair in zip(options, names.values(), strict=True) for part in pair]
    assert run(["benchmark", "roofline", "--model", "tiny.en", *files]) == 0
    shown = capsys.readouterr().out
    assert "one window of tiny.en" in shown
    assert "nobody measured it" in shown
    assert "![multiplications per byte and per second of each op](a.svg)" in names["md"].read_text("utf-8")
    document = json.loads(names["json"].read_text("utf-8"))
    assert document["profiles"] == {"xdna1": NPU1.profile.basis}
    with names["csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["op"] for row in rows] == [row["op"] for row in document["rows"]]
    assert {row["made_by"] for row in rows} == {LAYER, GEMM}
    assert [size["model"] for size in document["sizes"]] == [model for model in MODELS for _ in range(2)]
    picture = names["svg"].read_text("utf-8")
    with_products = [row for row in document["rows"] if row["macs"]]
    assert all(f'id="{row["made_by"]}_{row["op"]}_' in picture for row in with_products)


def test_an_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["benchmark", "roofline", "--model", "giant"]) == 2
    assert "'giant'" in capsys.readouterr().err


@pytest.mark.parametrize("width", [45, 80])
def test_the_page_fits_the_screen(width: int) -> None:
    assert max(map(len, page_as_text(page(DONE), width).splitlines())) <= width
