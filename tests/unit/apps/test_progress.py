"""How far a run is: on terminals of any width, in logs, on a broken stderr, and after an interrupt."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.support.terminal import Terminal, of_256_colours, terminal
from whisper_npu.apps.cli.progress import HALF_A_MINUTE, Awaited, Progress, Ticker
from whisper_npu.apps.cli.progress_bar import composed
from whisper_npu.apps.cli.tally import Tally, duration
from whisper_npu.apps.cli.terminal import Stderr, fitting

ROOT = Path(__file__).parents[3]


class Hand(Ticker):
    """Time that passes when a test says so."""

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self.now = 0.0
        self.every = seconds
        self._act = action
        self._next = seconds
        self.is_running = False

    def start(self) -> None:
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False

    def wait(self, seconds: float) -> None:
        """The action is called as often as a thread would call it."""
        end = self.now + seconds
        while self.is_running and self._next <= end:
            self.now = self._next
            self._next += self.every
            self._act()
        self.now = end


class Shown:
    """A Progress and the hand that moves its clock."""

    def __init__(
        self,
        *seconds: float | None,
        stderr: io.TextIOBase,
        quiet: bool = False,
        clips: tuple[float, ...] = (0.0,),
    ) -> None:
        hands: list[Hand] = []

        def ticker(every: float, action: Callable[[], None]) -> Hand:
            hands.append(Hand(every, action))
            return hands[0]

        recordings = [Awaited(f"{letter}.wav", s) for letter, s in zip("abcdefgh", seconds, strict=False)]
        self.progress = Progress(
            recordings,
            quiet=quiet,
            clips=clips,
            stderr=stderr,  # type: ignore[arg-type]
            clock=lambda: hands[0].now if hands else 0.0,
            ticker=ticker,
        )
        self.hand = hands[0]


@pytest.fixture(autouse=True)
def known_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    of_256_colours(monkeypatch)


@pytest.fixture
def tty() -> Iterator[Terminal]:
    with terminal() as opened:
        yield opened


def test_the_bar_tells_how_far_how_fast_and_how_long(tty: Terminal) -> None:
    shown = Shown(100.0, 200.0, 300.0, stderr=tty.stream)
    with shown.progress as progress:
        progress.read(1)
        progress.say("loading base")
        shown.hand.wait(5.5)
        assert tty.lines[-1].split(maxsplit=1)[1] == "1 of 3 loading base 0:05"
        progress.begin(100.0)
        shown.hand.wait(10)
        progress.done()
        progress.read(2)
        progress.begin(200.0)
        shown.hand.wait(5)
        progress.advance(50.0)
        shown.hand.wait(1)  # 150 s of audio in 15 s; the rest takes 45 s from then on
        line = tty.lines[-1]
    for part in ("2 of 3", "b.wav", " 25 %", "150 of 600 s", "10.0x", "44 s left", "0:21"):
        assert part in line
    assert tty.lines == []


def test_between_two_windows_the_time_left_is_counted_down_and_the_speed_stays(tty: Terminal) -> None:
    shown = Shown(300.0, stderr=tty.stream)
    position = [0.0]
    with shown.progress as progress:
        progress.read(1)
        progress.begin(300.0)
        progress.follow(lambda: position[0])
        shown.hand.wait(9.9)
        position[0] = 30.0
        lines = []
        for _ in range(4):
            shown.hand.wait(2.5)
            lines.append(tty.lines[-1])
    assert all("3.0x" in line for line in lines)
    left = [int(re.search(r"(\d+) s left", line)[1]) for line in lines]  # type: ignore[index]
    assert left == sorted(left, reverse=True)
    assert left[0] - left[-1] in (7, 8)


def test_only_seconds_within_clips_count(tty: Terminal) -> None:
    shown = Shown(150.0, None, stderr=tty.stream, clips=(100.0, 110.0, 120.0, 150.0))
    position = [100.0]
    with shown.progress as progress:
        progress.read(1)
        progress.begin(150.0)
        progress.follow(lambda: position[0])
        shown.hand.wait(1)
        assert " 0 of ~80 s" in tty.lines[-1]
        position[0] = 130.0
        shown.hand.wait(1)
        assert " 25 %" in tty.lines[-1]
        assert " 20 of ~80 s" in tty.lines[-1]
        progress.done()
        progress.read(2)
        progress.begin(105.0)
        shown.hand.wait(1)
        assert " 40 of 45 s" in tty.lines[-1]


def test_the_bar_moves_though_nothing_is_done(tty: Terminal) -> None:
    shown = Shown(100.0, stderr=tty.stream)
    with shown.progress as progress:
        progress.say("loading base")
        assert 0 < shown.hand.every <= 1
        seen = set()
        for _ in range(5):
            shown.hand.wait(shown.hand.every)
            seen.add(tty.lines[-1])
        assert len(seen) == 5


def test_a_thread_moves_the_bar_while_the_program_computes(tty: Terminal) -> None:
    drawn = threading.Event()

    class Watched(Ticker):
        def __init__(self, every: float, action: Callable[[], None]) -> None:
            def act() -> None:
                action()
                drawn.set()

            super().__init__(0.01, act)

    before = threading.active_count()
    with Progress([Awaited("a.wav", 1.0)], quiet=False, stderr=tty.stream, ticker=Watched):
        tty.read()
        assert drawn.wait(10)
        assert "starting" in tty.read()
    assert threading.active_count() == before
    assert tty.lines == []


@pytest.mark.parametrize("columns", [1, 2, 30, 200])
def test_columns_counts_more_than_what_the_terminal_says(
    columns: int, tty: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = Shown(100.0, 200.0, stderr=tty.stream)
    with shown.progress as progress:
        progress.read(1)
        progress.begin()
        shown.hand.wait(10)
        (line,) = tty.lines
        assert len(line) <= max(1, columns - 1)
        assert (columns < 200) or len(line) > 60


def test_what_is_printed_stands_above_the_bar(tty: Terminal) -> None:
    shown = Shown(10.0, stderr=tty.stream)
    with shown.progress as progress:
        progress.read(1)
        progress.begin()
        with progress.above():
            assert tty.lines == []
            print("Good morning.", file=tty.stream, flush=True)
        progress.note("detected English (98 %)")
        shown.hand.wait(1)
        assert tty.lines[:2] == ["Good morning.", "detected English (98 %)"]
        assert "a.wav" in tty.lines[2]
        progress.fail("a.wav: is\ndamaged")
    assert tty.lines == [
        "Good morning.",
        "detected English (98 %)",
        "whisper-npu: error: a.wav: is damaged",
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_leaves_no_bar_and_no_hidden_cursor(error: type[BaseException], tty: Terminal) -> None:
    shown = Shown(10.0, stderr=tty.stream)
    with suppress(error), shown.progress as progress:
        progress.read(1)
        progress.begin()
        with progress.above():
            raise error
    shown.hand.wait(10)
    assert tty.lines == []
    assert "\x1b[?25l" not in tty.raw
    assert not shown.hand.is_running


def test_an_interrupt_while_it_starts_leaves_no_bar(tty: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(hand: Hand) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Hand, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Shown(10.0, stderr=tty.stream).progress.__enter__()
    assert tty.lines == []


def test_no_color_draws_the_bar_without_colours(tty: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = Shown(10.0, stderr=tty.stream)
    with shown.progress as progress:
        progress.read(1)
        progress.begin()
        progress.advance(5.0)
        shown.hand.wait(1)
        line = tty.lines[-1]
    assert "50 %" in line
    assert "━─" in line  # told apart without colours
    assert not re.search(r"\x1b\[[0-9;]*m", tty.raw)


def test_a_terminal_without_these_signs_gets_others() -> None:
    with terminal(encoding="ascii") as tty:
        shown = Shown(10.0, stderr=tty.stream)
        with shown.progress as progress:
            progress.read(1)
            progress.begin()
            progress.advance(5.0)
            shown.hand.wait(1)
            line = tty.lines[-1]
    assert "#-" in line
    assert "?" not in line


def test_a_narrower_terminal_gets_a_shorter_line(tty: Terminal) -> None:
    shown = Shown(*[60.0] * 8, stderr=tty.stream)
    with shown.progress as progress:
        progress.read(1)
        progress.begin()
        shown.hand.wait(10)
        progress.advance(30.0)
        for columns in (80, 45, 20, 12, 100):
            tty.resize(columns)
            shown.hand.wait(1)
            line = tty.lines[-1]
            assert len(line) < columns
            assert " 6 %" in line
            assert ("2 min left" in line) == (columns > 12)
            assert ("30 of 480 s" in line) == (columns > 20)
            assert ("a.wav" in line) == (columns > 45)
        assert "0:1" in line
        assert len(line) > 80


names = st.text(st.characters(exclude_categories=["Cc", "Cs", "Mn", "Me", "Cf", "Zl", "Zp"]), max_size=60)


@given(
    names,
    st.none() | names.filter(bool),
    st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=3),
    st.floats(0, 1e6),
    st.integers(20, 200),
)
def test_no_line_is_wider_than_the_terminal(
    name: str, step: str | None, seconds: list[float | None], done: float, width: int
) -> None:
    now = [0.0]
    tally = Tally(seconds, lambda: now[0])
    tally.take(1)
    tally.begin()
    now[0] = 1000.0
    tally.advance(done)
    line = composed(tally, name, step, "*", width)
    assert cell_len(line.plain) <= width
    assert line.plain.startswith("*")


def test_without_a_terminal_a_line_at_the_start_and_one_every_half_minute() -> None:
    stderr = io.StringIO()
    shown = Shown(120.0, 240.0, stderr=stderr)
    with shown.progress as progress:
        assert shown.hand.every == HALF_A_MINUTE == 30
        progress.read(1)
        progress.say("loading base")
        assert stderr.getvalue() == ""
        shown.hand.wait(40)
        progress.begin(120.0)
        shown.hand.wait(14)
        progress.done()
        progress.read(2)
        progress.begin(240.0)
        progress.advance(3.0)
        shown.hand.wait(7)
    shown.hand.wait(100)
    assert stderr.getvalue().splitlines() == [
        "whisper-npu: loading base, 30 s so far",
        "whisper-npu: transcribing 2 recordings (360.0 s)",
        "whisper-npu: 2 of 2, 34 %, 123 s of 360 s, 8.8x, 21 s left",
    ]


def test_one_recording_is_named_and_not_counted() -> None:
    stderr = io.StringIO()
    shown = Shown(None, stderr=stderr)
    with shown.progress as progress:
        progress.read(1)
        progress.begin(300.0)
        shown.hand.wait(31)
        progress.advance(30.0)
        shown.hand.wait(29)
    assert stderr.getvalue().splitlines() == [
        "whisper-npu: transcribing a.wav (300.0 s)",
        "whisper-npu: 0 %, 0 s of 300 s, 30 s so far",
        "whisper-npu: 10 %, 30 s of 300 s, 1.0x, 4 min left",
    ]


@pytest.mark.parametrize("kind", ["dumb", "unknown", "", None])
def test_a_dumb_terminal_gets_lines_and_no_escape_codes(
    kind: str | None, tty: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", kind)
    shown = Shown(300.0, stderr=tty.stream)
    with shown.progress as progress:
        progress.read(1)
        progress.begin()
        for text in ("One.", "Two."):
            with progress.above():
                print(text, file=tty.stream)
        shown.hand.wait(30)
    tty.read()
    assert tty.raw.splitlines() == [
        "whisper-npu: transcribing a.wav (300.0 s)",
        "One.",
        "Two.",
        "whisper-npu: 0 %, 0 s of 300 s, 30 s so far",
    ]


def test_variables_that_force_colours_put_no_escape_code_into_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stderr = io.StringIO()
    shown = Shown(300.0, stderr=stderr)
    with shown.progress as progress:
        progress.read(1)
        progress.begin()
        shown.hand.wait(60)
    assert len(stderr.getvalue().splitlines()) == 3
    assert "\x1b" not in stderr.getvalue()


def test_quiet_shows_failures_only(tty: Terminal) -> None:
    shown = Shown(300.0, stderr=tty.stream, quiet=True)
    with shown.progress as progress:
        progress.read(1)
        progress.say("loading base")
        progress.begin()
        progress.note("wrote a.srt")
        shown.hand.wait(60)
        assert tty.lines == []
        progress.fail("a.wav: is damaged")
    assert tty.lines == ["whisper-npu: error: a.wav: is damaged"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_broken_stderr_does_not_stop_the_work(is_terminal: bool) -> None:
    class Broken(io.StringIO):
        def isatty(self) -> bool:
            return is_terminal

        def write(self, text: str) -> int:
            raise BrokenPipeError

    shown = Shown(300.0, stderr=Broken())
    with shown.progress as progress:
        progress.read(1)
        progress.begin()
        progress.note("detected English (98 %)")
        shown.hand.wait(60)
        progress.fail("a.wav: is damaged")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_closed_or_full_stderr_changes_no_exit_code(redirected: str) -> None:
    code = (
        "import sys\n"
        "from whisper_npu.apps.cli.progress import *\n"
        "with Progress([Awaited('a.wav', 1.0)], quiet=False) as progress:\n"
        "    progress.read(1); progress.begin(); progress.note('x'); progress.done()\n"
        "if sys.stderr: print('what others say', file=sys.stderr)\n"
        "print('done')"
    )
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {redirected}', sys.executable, code],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.returncode) == ("done\n", 0)


def test_names_cannot_steer_the_terminal(tty: Terminal) -> None:
    with Progress(
        [Awaited("a\x1b[2J\u202e\n.wav", 1.0)], quiet=False, stderr=tty.stream, ticker=Hand
    ) as progress:
        progress.read(1)
        progress.begin()
        assert r"a\x1b[2J\u202e\n.wav" in tty.lines[-1]


def test_recordings_of_unknown_length_are_taken_for_average() -> None:
    tally = Tally([None, 100.0, None, 300.0], lambda: 0.0)
    assert tally.total == 800.0
    assert tally.is_estimate
    tally.take(1)
    tally.begin(50.0)
    tally.advance(25.0)
    assert tally.total == 600.0
    tally.finish()
    assert tally.done == 50.0


def test_what_cannot_be_read_says_nothing_about_the_length_of_others() -> None:
    tally = Tally([0.0, None, 100.0, 0.0], lambda: 0.0)
    assert tally.total == 200.0
    assert Tally([0.0, None], lambda: 0.0).total is None


def test_where_no_recording_can_be_read_no_length_is_shown(tty: Terminal) -> None:
    stderr = io.StringIO()
    for stream in (stderr, tty.stream):
        shown = Shown(0.0, 0.0, stderr=stream)  # type: ignore[arg-type]
        with shown.progress as progress:
            progress.read(1)
            progress.fail("a.wav: is damaged")
            progress.read(2)
            progress.begin()
            shown.hand.wait(30.5)
            if stream is tty.stream:
                assert re.fullmatch(r"\S 2 of 2 b\.wav 0:30", tty.lines[-1])
    assert stderr.getvalue().splitlines() == [
        "whisper-npu: error: a.wav: is damaged",
        "whisper-npu: transcribing 2 recordings",
        "whisper-npu: 2 of 2, 30 s so far",
    ]


def test_what_failed_is_no_work_any_more_and_is_not_done() -> None:
    tally = Tally([100.0, 100.0, 100.0], lambda: 0.0)
    tally.take(1)
    tally.drop()  # could not be read
    assert (tally.done, tally.total) == (0.0, 200.0)
    tally.take(2)
    tally.begin(100.0)
    tally.finish()
    tally.drop()  # its files could not be written, but it is done
    assert (tally.done, tally.total) == (100.0, 200.0)


@given(st.lists(st.none() | st.floats(0, 1e5), min_size=1, max_size=8), st.data())
def test_at_the_end_all_is_done(lengths: list[float | None], data: st.DataObject) -> None:
    tally = Tally(lengths, lambda: 0.0)
    for number in range(1, len(lengths) + 1):
        tally.take(number)
        if data.draw(st.booleans()):
            tally.drop()
            continue
        tally.begin(data.draw(st.floats(0.1, 1e5)))
        tally.advance(data.draw(st.floats(0, 1e5)))
        assert tally.fraction is None or 0 <= tally.fraction <= 1
        tally.finish()
    assert not tally.is_estimate
    assert tally.done == pytest.approx(tally.total)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (40, "40 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (3540, "59 min"),
        (5940, "99 min"),
        (6000, "1 h 40 min"),
        (12_000, "3 h 20 min"),
        (7199.9, "2 h 00 min"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


LONG = "whisper-npu: error: /a/path/that/is/wider/than/the/terminal/is.wav: it has no audio track"


def test_messages_are_wrapped_between_words_on_a_terminal() -> None:
    with terminal(45) as tty:
        Stderr(tty.stream).print(LONG)
        Stderr(tty.stream).print("four words that fit\n\n  a table       1")
        assert tty.lines == [
            "whisper-npu: error:",
            "    /a/path/that/is/wider/than/the/terminal/is.wav:",
            "    it has no audio track",
            "four words that fit",
            "",
            "  a table       1",
        ]


def test_wide_letters_are_counted_as_wide_as_they_are() -> None:
    with terminal(20) as tty:
        Stderr(tty.stream).print("本本本本 本本本 本本本")
        assert tty.lines == ["本本本本 本本本", "    本本本"]


@given(st.text("ab本 \n", max_size=60), st.integers(1, 30))
def test_wrapping_changes_nothing_but_spaces(text: str, width: int) -> None:
    wrapped = fitting(text, width)
    assert wrapped.split() == text.split()
    for line in wrapped.splitlines():
        assert cell_len(line) <= width or " " not in line.strip()


def test_messages_in_a_log_are_one_line_each() -> None:
    log = io.StringIO()
    Stderr(log).print(LONG)
    assert log.getvalue() == f"{LONG}\n"
    assert Stderr(log).columns is None
    assert Stderr(None).columns is None
