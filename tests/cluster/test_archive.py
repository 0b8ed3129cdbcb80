"""Some hundreds of recordings. Whatever is killed: nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile

from tests.cluster.machines import (
    PATIENCE,
    Machines,
    archive_of,
    free_port,
    has_open,
    n_done,
    ran,
    ray_start,
    running,
    wait_until,
)
from tests.support.weights import require_weights
from whisper_npu import TranscribeOptions, load_model
from whisper_npu.apps.archive.asked import AskedArchive
from whisper_npu.apps.archive.handing import Handing
from whisper_npu.apps.archive.inputs import find_sources
from whisper_npu.apps.archive.worker import Worker
from whisper_npu.output import Layout, render

RATE = 16_000
N_SHORT, N_BROKEN = 300, 12
LONG = "a-long-one.wav"  # the first of all
PART_MINUTES = "0.2"
ONCE = TranscribeOptions(
    temperature=(0.0,), max_new_tokens=24, beam_size=1, log_prob_threshold=None, no_speech_threshold=None
)


def tones(seed: int, seconds: float) -> np.ndarray:  # (n,) float64
    random = np.random.default_rng(seed)
    n = int(RATE * seconds)
    frequency, loudness = (
        np.interp(np.arange(n), np.linspace(0, n, 9), random.uniform(low, high, 9))
        for low, high in ((100, 3000), (0, 1))
    )
    return 0.3 * loudness * np.sin(2 * np.pi * np.cumsum(frequency) / RATE)


def write_recordings(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"r{number:03}.wav" for number in range(count)]
    for number, path in enumerate(paths):
        soundfile.write(path, tones(number, 0.5 + number % 10 / 10), RATE)
    return paths


def write_broken(folder: Path) -> set[str]:
    contents = (b"", b"these are notes, no sound\n" * 40, b"RIFF\x00\x00\x00\x00WAVEfmt ", os.urandom(4000))
    names = [f"r{25 * number:03}-broken.wav" for number in range(N_BROKEN)]  # in the midst of the others
    for number, name in enumerate(names):
        (folder / name).write_bytes(contents[number % len(contents)])
    return set(names)


@pytest.fixture(scope="module")
def texts(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `-f txt` writes of each recording, in one process without Ray."""
    recordings = write_recordings(tmp_path_factory.mktemp("one process"), N_SHORT)
    with load_model(small_folder, device="emulator", compute_type="float32", threads=1) as loaded:
        return {
            path.name: render(loaded.transcribe(path, ONCE).transcript, "txt", Layout())
            for path in recordings
        }


def text_of_parts(recording: Path, model: Path, out: Path) -> str:
    """What one worker writes of a long recording, in this process."""
    asked = AskedArchive(
        out=str(out),
        model=str(model),
        device="emulator",
        compute_type="float32",
        options=ONCE,
        formats=("txt",),
        part_minutes=float(PART_MINUTES),
        threads=1,
    )
    handing = Handing(find_sources(str(recording)))
    with Worker(asked) as worker:
        while (task := handing.next()) is not None:
            handing.came(task, worker.do(task))
    return (out / f"{recording.stem}.txt").read_text("utf-8")


def results(out: Path) -> dict[str, dict[str, object]]:
    """results.jsonl by the recordings' names. Each is there once."""
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    assert set(Counter(line["name"] for line in lines).values()) <= {1}
    return {line["name"]: line for line in lines}


def test_workers_machines_and_the_driver_are_killed_and_every_recording_is_transcribed_once(
    machines: Machines, small_folder: Path, texts: dict[str, str], tmp_path: Path
) -> None:
    recordings = write_recordings(tmp_path / "in", N_SHORT)
    broken = write_broken(tmp_path / "in")
    soundfile.write(tmp_path / "in" / LONG, np.concatenate([tones(9, 5.5), np.zeros(RATE // 2)] * 10), RATE)
    out = tmp_path / "out"
    command = archive_of(
        tmp_path / "in", out, small_folder, "--address", machines.address, "--part_minutes", PART_MINUTES
    )
    with running(*command) as driver:
        wait_until(lambda: n_done(out) >= 30, driver)
        os.kill(machines.workers()[0], signal.SIGKILL)
        wait_until(lambda: n_done(out) >= 80, driver)
        machines.pull_the_plug(machines.others.pop())
        wait_until(lambda: n_done(out) >= 120, driver)
        machines.others.append(machines.add())
        wait_until(lambda: len(machines.workers()) == 2, driver)
        wait_until(lambda: n_done(out) >= 180, driver)
        driver.kill()
        driver.wait()
    wait_until(lambda: not machines.workers())
    n_before = n_done(out)
    assert n_before < N_SHORT
    code, err = ran(*command)
    assert code == 1, err  # for the broken ones
    assert f"{N_SHORT + 1 - n_before:,} done, {n_before:,} done before, {N_BROKEN} failed" in err
    for name in broken:
        assert f"{name}: " in err

    found = results(out)
    assert {name for name, line in found.items() if "error" in line} == broken
    assert len(set(texts.values())) > 50  # so that it means something that they are equal
    written = {path.name: (out / f"{path.stem}.txt").read_text("utf-8") for path in recordings}
    assert written == texts

    alone = text_of_parts(tmp_path / "in" / LONG, small_folder, tmp_path / "alone")
    assert (out / LONG).with_suffix(".txt").read_text("utf-8") == alone
    assert found[LONG]["parts"] > 3  # type: ignore[operator]
    record = next((out / "done").glob("a-long-one*"))
    passed = [one for one in (out / "done").iterdir() if one.stat().st_mtime < record.stat().st_mtime]
    assert passed  # by short ones, while it was transcribed
    assert not list((out / "parts").rglob("*")) if (out / "parts").exists() else True


def test_after_a_full_disk_the_same_command_goes_on(
    machines: Machines, small_folder: Path, texts: dict[str, str], tmp_path: Path
) -> None:
    recordings = write_recordings(tmp_path / "in", 60)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        out = disk / "out"
        command = archive_of(
            tmp_path / "in", out, small_folder, "--address", machines.address, "-f", "txt,srt"
        )
        code, err = ran(*command)
        assert code == 1, err
        assert "No space left on device" in err
        assert "Traceback" not in err
        n_before = n_done(out)
        assert 0 < n_before < len(recordings)
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        code, err = ran(*command)
        assert code == 0, err
        assert f"{len(recordings) - n_before} done, {n_before} done before" in err
        written = {path.name: (out / f"{path.stem}.txt").read_text("utf-8") for path in recordings}
        assert written == {path.name: texts[path.name] for path in recordings}
        assert results(out).keys() == written.keys()
    finally:
        subprocess.run(["umount", disk], check=False)


def test_a_recording_that_ends_its_workers_fails_and_the_others_do_not(
    machines: Machines, small_folder: Path, tmp_path: Path
) -> None:
    recordings = write_recordings(tmp_path / "in", 10)
    poison = tmp_path / "in" / "poison.wav"
    soundfile.write(poison, np.zeros(RATE), RATE)
    with open(poison, "r+b") as file:  # three hours of silence, without taking the space
        size = 3 * 3600 * RATE * 2
        file.truncate(44 + size)
        for place, number in ((4, 36 + size), (40, size)):
            file.seek(place)
            file.write(number.to_bytes(4, "little"))
    killed = 0
    with running(
        *archive_of(tmp_path / "in", tmp_path / "out", small_folder, "--address", machines.address)
    ) as driver:
        while driver.poll() is None:
            for pid in machines.workers():
                if has_open(pid, poison):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                    wait_until(lambda pid=pid: pid not in machines.workers())  # type: ignore[misc]
            time.sleep(0.005)
        _, err = driver.communicate()
    assert driver.returncode == 1, err
    assert "poison.wav: it ended its worker 3 times; the last time: its process ended" in err
    assert killed == 3
    found = results(tmp_path / "out")
    assert {name for name, line in found.items() if "error" not in line} == {one.name for one in recordings}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_done(
    number: signal.Signals, machines: Machines, small_folder: Path, tmp_path: Path
) -> None:
    recordings = write_recordings(tmp_path / "in", 150)
    out = tmp_path / "out"
    command = archive_of(tmp_path / "in", out, small_folder, "--address", machines.address)
    with running(*command) as driver:
        wait_until(lambda: n_done(out) >= 10, driver)
        os.killpg(driver.pid, number)
        _, err = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 128 + number, err
    assert "The same command goes on with what is left." in err
    assert len(err.splitlines()) < 20  # and nothing of Ray's
    n_before = n_done(out)
    assert len(results(out)) == n_before < len(recordings)


def test_a_cluster_of_ray_start_is_found_unasked(
    small_folder: Path, texts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = write_recordings(tmp_path / "in", 20)
    with TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("HOME", folder)  # without a token of Ray, for which a head would ask
        port = free_port()
        stack.enter_context(ray_start("--head", f"--port={port}", "--node-ip-address=127.0.0.1"))
        wait_until((Path(folder) / "ray" / "ray_current_cluster").exists)
        stack.enter_context(ray_start(f"--address=127.0.0.1:{port}"))
        code, err = ran(*archive_of(tmp_path / "in", tmp_path / "out", small_folder, "--workers", "2"))
    assert code == 0, err
    assert "does not answer" not in err
    written = {path.name: (tmp_path / "out" / f"{path.stem}.txt").read_text("utf-8") for path in recordings}
    assert written == {path.name: texts[path.name] for path in recordings}


def test_one_machine_without_a_cluster_gives_the_texts_of_transcribe(tmp_path: Path) -> None:
    model = require_weights("tiny.en")
    samples = Path(__file__).parents[2] / "samples"
    shutil.copytree(samples, tmp_path / "in", ignore=shutil.ignore_patterns("*.py", "*.md", "*.tsv"))
    common = ("--model", model, "--device", "cpu", "-f", "txt,srt")
    code, err = ran("archive", tmp_path / "in", "--out", tmp_path / "out", *common, "--address", "local")
    assert code == 0, err
    assert "Traceback" not in err
    assert "ray" not in err.replace("starting Ray", "").lower()
    with running(
        "transcribe", *sorted((tmp_path / "in").iterdir()), "-o", tmp_path / "expected", *common
    ) as one:
        one.communicate()
    expected = {path.name: path.read_bytes() for path in (tmp_path / "expected").iterdir()}
    assert len(expected) == 2 * len(list((tmp_path / "in").iterdir()))
    assert {name: (tmp_path / "out" / name).read_bytes() for name in expected} == expected


def test_a_machine_that_sleeps_holds_up_nothing(
    machines: Machines, small_folder: Path, tmp_path: Path
) -> None:
    """And when it wakes, Ray ends its part of the cluster: it has to join anew."""
    recordings = write_recordings(tmp_path / "in", 80)
    out = tmp_path / "out"
    node = machines.others.pop()
    asleep: list[int] = []
    with running(*archive_of(tmp_path / "in", out, small_folder, "--address", machines.address)) as driver:
        try:
            wait_until(lambda: n_done(out) >= 20 and len(machines.workers()) == 2, driver)
            asleep = machines.close_lid(node)
            _, err = driver.communicate(timeout=PATIENCE)
        finally:
            for pid in asleep:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
    assert driver.returncode == 0, err
    assert "what it had in hand is done again" in err
    assert results(out).keys() == {path.name for path in recordings}
    wait_until(lambda: node.all_processes["raylet"][0].process.poll() is not None)


def test_where_the_head_of_the_cluster_is_gone_the_command_says_so(
    machines: Machines, small_folder: Path, tmp_path: Path
) -> None:
    """The last test that has these machines. Workers elsewhere go on for a moment: there is work left."""
    write_recordings(tmp_path / "in", N_SHORT)
    out = tmp_path / "out"
    with running(*archive_of(tmp_path / "in", out, small_folder, "--address", machines.address)) as driver:
        wait_until(lambda: n_done(out) >= 5, driver)
        machines.behead()
        _, err = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 1, err
    assert "the head of the Ray cluster, 127.0.0.1:" in err
    assert "Traceback" not in err
    assert len(results(out)) == n_done(out) > 0
