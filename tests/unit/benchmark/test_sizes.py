"""Every size of encoder: what is modelled, its roofline, and the page that shows it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from whisper_npu.benchmark import window
from whisper_npu.benchmark.files import Files
from whisper_npu.benchmark.sizes import (
    MODELS,
    Comparison,
    Roofline,
    Size,
    as_document,
    as_markdown,
    modelled_cells,
    page,
    run_sizes,
    write_files,
)
from whisper_npu.benchmark.timings import Timings
from whisper_npu.benchmark.window import OURS, PEER, Window, encoder, random_array
from whisper_npu.checkpoint.names import HUB_IDS
from whisper_npu.errors import UnknownModelError
from whisper_npu.npu.targets import NPU1
from whisper_npu.ops import Matmul
from whisper_npu.page import page_as_text
from whisper_npu.released import RELEASED, released_dimensions

PAGE = Path(__file__).parents[3] / "docs/encoder-sizes.md"


def silent(line: str) -> None:
    pass


MODELLED = run_sizes(repeats=None, threads=1, progress=silent)


def rows(page: str) -> list[dict[str, str]]:
    lines = [line for line in page.splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in body]


def test_the_page_shows_what_is_modelled_now() -> None:
    page = rows(PAGE.read_text(encoding="utf-8"))
    wanted = [modelled_cells(size) for size in MODELLED.sizes]
    assert [{name: row[name] for name in wanted[0]} for row in page] == wanted


def test_a_roofline_by_counting() -> None:
    roofline = Roofline.of([Matmul(2, 3, 5), Matmul(7, 11, 13, batch=2)], NPU1)
    assert roofline.flops == 2 * (2 * 3 * 5 + 2 * 7 * 11 * 13)
    assert roofline.nbytes == 2 * (6 + 15 + 2 * (77 + 143)) + 4 * (10 + 2 * 91)
    assert roofline.seconds == max(roofline.flops / 3.14e12, roofline.nbytes / 56.2e9)


@pytest.mark.parametrize("size", MODELLED.sizes, ids=lambda size: size.model)
def test_nothing_is_modelled_below_its_roofline_or_above_what_others_measured(size: Size) -> None:
    assert size.roofline.seconds < size.seconds.optimistic_s
    assert size.roofline.seconds < size.flat_cautious_seconds < size.seconds.cautious_s
    if size.published != "-":
        published = float(size.published.split(" to ")[0].replace(",", ""))
        assert 1e3 * size.seconds.cautious_s < published
        assert 2e3 * size.flat_cautious_seconds < published
    assert size.dispatches == size.dims.n_audio_layer + 1


def test_a_window_of_base_takes_75_ms_in_the_flat_cautious_case_and_40_in_the_optimistic() -> None:
    (base,) = (size for size in MODELLED.sizes if size.model == "base")
    assert base.flat_cautious_seconds <= 0.075
    assert base.seconds.optimistic_s <= 0.040


def test_every_name_of_a_model_has_sizes() -> None:
    assert set(RELEASED) == set(HUB_IDS)
    with pytest.raises(UnknownModelError, match=r"'huge': there are tiny\.en, tiny"):
        released_dimensions("huge")


def test_files(tmp_path: Path) -> None:
    files = Files(markdown=tmp_path / "a.md", json=tmp_path / "a.json", csv=tmp_path / "a.csv")
    write_files(MODELLED, files)
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == as_markdown(MODELLED)
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(as_document(MODELLED)))
    assert [row["model"] for row in document["rows"]] == list(MODELS)
    assert document["rows"][0]["measured_weights"] is None
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [row["dispatches"] for row in csv.DictReader(file)] == ["5", "7", "13", "25", "33", "33"]


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="'giant'"):
        run_sizes(["giant"], repeats=None, threads=1, progress=silent)


@pytest.mark.slow
def test_both_sides_encode_a_window_of_random_weights() -> None:
    (size,) = run_sizes(["tiny"], repeats=1, threads=1, progress=silent).sizes
    assert size.measured is not None
    assert size.measured.ours.median > 0
    assert size.measured.ratio.median == size.measured.ours.median / size.measured.peer.median
    assert 0 < size.measured.host.median < size.measured.ours.median
    text = as_markdown(run_sizes(["tiny"], repeats=None, threads=1, progress=silent))
    assert "MEASURED emulator" not in text


def test_what_stands_beside_a_whole_encoder_holds_the_hosts_work_too() -> None:
    size = MODELLED.sizes[0]
    assert size.whole_seconds is None
    assert "published" not in as_markdown(MODELLED)
    measured = Comparison(ours=Timings((0.5,)), peer=Timings((0.6,)), host=Timings((0.1, 0.3, 0.2)))
    with_host = replace(size, measured=measured)
    assert with_host.whole_seconds == size.seconds.plus(0.2)
    sizes = replace(MODELLED, sizes=(with_host,), repeats=3)
    for width in (45, 80):
        assert max(map(len, page_as_text(page(sizes), width).splitlines())) <= width
    (row,) = rows(as_markdown(sizes))
    assert row["MEASURED host ms"] == "200"
    assert row["MODELLED NPU + MEASURED host ms"] == size.seconds.plus(0.2).in_units(1e3)
    columns = list(row)
    assert columns.index("MODELLED NPU + MEASURED host ms") + 1 == columns.index("published ms")


def test_the_hosts_part_of_a_window_is_what_was_not_inside_the_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = replace(released_dimensions("tiny"), n_audio_layer=1, n_audio_ctx=20)
    monkeypatch.setattr(window, "released_dimensions", lambda model: small)
    monkeypatch.setattr("sys.stdin", ["window\n", "window\n"])
    window.main(OURS, "tiny", 1)
    for line in capsys.readouterr().out.splitlines():
        took = Window(*map(float, line.split()))
        assert 0 < took.device_seconds < took.seconds
        assert took.host_seconds == took.seconds - took.device_seconds


def test_both_sides_are_the_same_encoder() -> None:
    dims = replace(released_dimensions("tiny"), n_audio_layer=1)
    mel = random_array("mel", (dims.n_mels, 2 * dims.n_audio_ctx))
    ours, theirs = (np.asarray(encoder(side, dims, threads=1)(mel)).squeeze() for side in (OURS, PEER))
    assert ours.shape == theirs.shape == (1500, 384)
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()  # bf16 against float32
