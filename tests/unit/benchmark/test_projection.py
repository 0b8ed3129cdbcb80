"""`whisper-npu benchmark projection` and `call`: tables, files, and what goes wrong."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import pytest

from tests.support.contracts import CONTRACTS, MATMUL_64X512
from tests.support.trace_format import checked
from whisper_npu.apps.cli import run
from whisper_npu.benchmark.call import one_dispatch
from whisper_npu.benchmark.projection import Projection, as_markdown, run_projection
from whisper_npu.benchmark.projection_text import finding, groups, page
from whisper_npu.errors import DeviceError
from whisper_npu.kernels.matmul.kernel import MatmulContract, matmul_64x64_batch
from whisper_npu.npu.contract import Contract
from whisper_npu.npu.emulator.device import Emulator, Fidelity
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul
from whisper_npu.page import page_as_text

FAST = ["benchmark", "projection", "--repeats", "1", "--strategy", "larger-kernel", "--strategy", "gemm"]
COLUMNS = [
    "strategy",
    "variant",
    "kernel",
    "dispatches",
    "submissions",
    "bytes_to_device",
    "bytes_from_device",
    "rows",
    "rows_measured",
    "dispatches_counted",
    "submissions_counted",
    "bytes_to_device_counted",
    "bytes_from_device_counted",
    "max_error",
    "meets_bound",
    "measured_on",
    "measured_seconds",
    "measured_seconds_min",
    "measured_seconds_max",
    "measured_device_seconds",
    "measured_host_seconds",
    "extrapolated_seconds",
    "modelled_cautious_seconds_baseline-2025",
    "modelled_middle_seconds_baseline-2025",
    "modelled_optimistic_seconds_baseline-2025",
    "modelled_middle_over_baseline_baseline-2025",
    "modelled_cautious_seconds_xdna1",
    "modelled_middle_seconds_xdna1",
    "modelled_optimistic_seconds_xdna1",
    "modelled_middle_over_baseline_xdna1",
]


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("whisper-npu: error: ")]
    assert len(lines) == 1, captured.err
    assert lines[0] == captured.err.splitlines()[-1]
    return lines[0]


def test_every_file_of_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made" / "for it"
    names = ("markdown", "json", "csv", "plot", "trace")
    paths = {name: folder / f"{name}.{'png' if name == 'plot' else name}" for name in names}
    files = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    assert run([*FAST, "--strategy", "naive", *files]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.partition("\nwrote ")[0].splitlines())) <= 80
    assert out.startswith("3,008 dispatches become 1, by gemm; 1 of 5 strategies take 3,008.")
    assert out.endswith(f"\nwrote {', '.join(map(str, paths.values()))}\n")

    markdown = paths["markdown"].read_text(encoding="utf-8")
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 5
    assert len({len(line) for line in table}) == 1  # columns are aligned
    assert "only if a larger" in markdown
    assert "emulator (exact), no NPU" in markdown

    document = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert document["schema"] == "whisper-npu/benchmark-projection"
    assert document["device"]["name"] == "emulator"
    assert document["problem"] == [3001, 512, 512]
    rows = {f"{row['strategy']} {row['kernel']}": row for row in document["rows"]}
    wide = rows["larger-kernel matmul_64x512"]
    assert wide["modelled_middle_seconds_baseline-2025"] == pytest.approx(20.4625)
    assert wide["modelled_optimistic_seconds_xdna1"] < wide["modelled_cautious_seconds_xdna1"]
    assert rows["larger-kernel matmul_64x512"]["extrapolated_seconds"] is None
    part = rows["naive matmul_64x64"]
    assert (part["dispatches"], part["dispatches_counted"], part["rows_measured"]) == (3008, 128, 128)
    assert part["extrapolated_seconds"] == pytest.approx(part["measured_seconds"] * 3008 / 128)
    assert len(part["measured_total"]["repeats"]) == 1

    with paths["csv"].open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == COLUMNS
    assert [len(line) for line in lines] == [len(COLUMNS)] * (1 + 5)

    assert paths["plot"].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    events = checked(paths["trace"].read_text(encoding="utf-8"))
    assert len(events) == 2 * 5  # each warmed up and run once
    assert {event["args"]["dispatches"] for event in events} == {376, 192, 1, 128, 16}
    assert len(list(folder.iterdir())) == 5


def test_the_plot_as_svg(tmp_path: Path) -> None:
    assert run([*FAST, "--plot", str(tmp_path / "plot.SVG")]) == 0
    text = (tmp_path / "plot.SVG").read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "376 dispatches become 1: (3001,512)@(512,512) by 3 strategies" in text
    assert "MODELLED, baseline-2025" in text
    assert "MEASURED here (emulator, CPU)" in text


def test_a_plot_of_another_format_is_refused_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*FAST, "--plot", "plot.pdf"]) == 2
    assert ".png or .svg" in only_error(capsys)


def test_without_matplotlib_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run([*FAST, "--plot", str(tmp_path / "plot.png")]) == 1
    assert "pip install 'whisper-npu[benchmark]'" in only_error(capsys)


@pytest.fixture(scope="module")
def small() -> Projection:
    """Every strategy, for a product that takes no time."""
    return run_projection(
        Emulator(Fidelity.FAST),
        names=[],
        repeats=1,
        naive_rows=64,
        progress=lambda step: None,
        problem=Matmul(200, 128, 512),
    )


def test_equal_strategies_are_one_group(small: Projection) -> None:
    found = groups(small.rows)
    assert sorted(id(row) for group in found for row in group.rows) == sorted(map(id, small.rows))
    counts = [group.dispatches for group in found]
    assert counts == sorted(counts, reverse=True)
    for group in found:
        assert len({row.strategy.plan.contract for row in group.rows}) == 1
        assert {row.strategy.plan.dispatches for row in group.rows} == {group.dispatches}
        assert len({row.extrapolated_seconds is None for row in group.rows}) == 1
        whole = group.modelled(NPU1.profile)
        for row in group.rows:
            one = row.modelled_seconds(NPU1.profile)
            assert whole.optimistic_s <= one.optimistic_s <= one.cautious_s <= whole.cautious_s
    assert {group.strategies for group in found if group.kernel == "64x64"} == {
        "tiled, host-batched (4), pipelined",
        "run-list (4)",
        "naive",
    }


def test_the_finding_is_that_of_the_rows(small: Projection) -> None:
    """4 x 2 x 8 tiles of 64x64, and one gemm."""
    assert finding(small.rows) == "64 dispatches become 1"
    tiled = [row for row in small.rows if row.strategy.name == "tiled"]
    wide = [row for row in small.rows if row.strategy.name == "larger-kernel"]
    assert finding(tiled) == "64 dispatches"
    assert finding([*tiled, *wide]) == "64 dispatches become 4"
    assert finding(small.rows[-1:]) == "1 dispatch"
    assert page_as_text(page(replace(small, rows=tuple(tiled)))).startswith(
        "64 dispatches: MODELLED on an NPU, "
    )


@pytest.mark.parametrize("width", [40, 45, 80])
def test_the_screen_is_never_wider_than_it_is(small: Projection, width: int) -> None:
    text = page_as_text(page(small), width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert words.startswith(
        "64 dispatches become 1, by gemm; 11 of 21 strategies take 64. MODELLED on an NPU"
    )
    assert "every result meets the bound: " in words
    assert "EXTRAPOLATED from 64 rows" in words
    assert "MODELLED s" in words
    assert "MEASURED s" in words


def test_a_result_beyond_the_bound_is_not_passed_over(small: Projection) -> None:
    worse = replace(small.rows[0], max_error=1.0)
    words = " ".join(page_as_text(page(replace(small, rows=(worse, *small.rows[1:])))).split())
    assert "BEYOND THE BOUND of 0.004 from float64: tiled (1.00000)" in words
    assert "every result" not in words


class OnlyLarge(Emulator):
    """A device that has one kernel."""

    def load(self, contract: Contract) -> None:
        if contract != MATMUL_64X512:
            raise DeviceError(f"no kernel {contract.name}")


def test_strategies_without_a_kernel_are_left_out_and_named() -> None:
    names = ["larger-kernel", "gemm"]
    device = OnlyLarge(Fidelity.FAST)
    done = run_projection(device, names=names, repeats=1, naive_rows=64, progress=lambda step: None)
    assert [row.strategy.plan.contract for row in done.rows] == [MATMUL_64X512]
    assert len(done.left_out) == 2
    left_out = "larger-kernel, matmul_128x512: no kernel matmul_128x512"
    assert f"Left out: {left_out}" in as_markdown(done)
    assert f"left out: {left_out}" in " ".join(page_as_text(page(done)).split())
    with pytest.raises(DeviceError, match="none of these strategies"):
        run_projection(device, names=["gemm"], repeats=1, naive_rows=64, progress=lambda step: None)


def test_npu_without_an_npu_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*FAST, "--device", "npu"]) == 1
    assert "no NPU: " in only_error(capsys)


def test_an_unknown_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["benchmark", "projection", "--strategy", "larger_kernel"]) == 2
    assert "did you mean larger-kernel?" in only_error(capsys)


@pytest.mark.parametrize("option", ["--json", "--csv", "--plot", "--trace", "--markdown"])
def test_a_folder_that_cannot_be_written_is_said_first(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert run([*FAST, option, str(tmp_path / "file" / "out.png")]) == 1
    assert "cannot be written" in only_error(capsys)
    assert run([*FAST, option, str(tmp_path)]) == 1
    assert "is a folder" in only_error(capsys)


def test_two_files_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "out.json")
    assert run([*FAST, "--json", path, "--trace", path]) == 2
    assert "more than once" in only_error(capsys)


@pytest.mark.parametrize(
    ("at", "name"),
    [
        ("benchmark.projection._measured", "json"),
        ("benchmark.projection.as_document", "json"),
        ("output.write_bytes_atomically", "plot"),
    ],
)
def test_an_interrupt_leaves_no_half_file(
    at: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"whisper_npu.{at}", interrupted)
    path = tmp_path / f"out.{'png' if name == 'plot' else name}"
    path.write_text("before")
    assert run([*FAST, f"--{name}", str(path)]) == 130
    assert "interrupted" in only_error(capsys)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "before"


def test_an_interrupt_while_a_file_is_replaced_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    assert run([*FAST, "--plot", str(tmp_path / "plot.png")]) == 130
    assert not list(tmp_path.iterdir())


def test_one_dispatch_of_each_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "call.json"), "--csv", str(tmp_path / "call.csv")]
    assert run(["benchmark", "call", "--repeats", "1", *files]) == 0
    out = capsys.readouterr().out
    assert all(contract.name in out for contract in CONTRACTS)
    assert max(map(len, out.partition("\nwrote ")[0].splitlines())) <= 80
    rows = json.loads((tmp_path / "call.json").read_text(encoding="utf-8"))["rows"]
    for row in rows:
        assert row["dispatches"] == 1
        for step in ("allocate", "convert", "copy_in", "run", "copy_out"):
            assert row[f"measured_{step}_seconds"] >= 0
    with (tmp_path / "call.csv").open(encoding="utf-8", newline="") as file:
        assert [row["kernel"] for row in csv.DictReader(file)] == [contract.name for contract in CONTRACTS]


@pytest.mark.parametrize("contract", [*CONTRACTS, matmul_64x64_batch(NPU1, 376)], ids=lambda c: c.name)
def test_one_dispatch_is_one(contract: MatmulContract) -> None:
    assert one_dispatch(contract).dispatches == 1


@pytest.mark.parametrize("script", ["quick_benchmark", "single_call", "pipeline_benchmark", "wer"])
def test_the_scripts_are_the_commands(script: str) -> None:
    path = Path(__file__).parents[3] / "scripts" / f"{script}.py"
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: whisper-npu benchmark" in done.stdout
