"""Makes the pictures of README: the server's page, and a run in a terminal.

    python scripts/pictures.py                  # docs/page.png, docs/page-phone.png, docs/terminal.svg
    python scripts/pictures.py --only terminal

Nothing in them is drawn by hand. The page is that of a server with tiny.en, in a headless Chromium, after the
clips of samples/ were transcribed as one recording; the terminal is the command line's own output in a
pseudo-terminal of 80 columns. Seconds in them are MEASURED on the machine that ran. Needs the extras demo,
server and browser, and Chromium.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package may not be installed

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

DOCS = ROOT / "docs"
MODEL = "tiny.en"
COLUMNS = 80
COMMAND = ("samples/sns-0930.wav", "--model", MODEL, "-f", "srt")
DESKTOP = {"viewport": {"width": 1100, "height": 800}, "device_scale_factor": 1.5, "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 1.5,
    "color_scheme": "dark",
    "is_mobile": True,
    "has_touch": True,
}
HEARD = "cold"  # the word that is shown as heard begins so


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["page", "terminal"], help="make only this picture")
    only = parser.parse_args().only
    if only != "terminal":
        picture_page()
    if only != "page":
        (DOCS / "terminal.svg").write_text(terminal_svg(), encoding="utf-8")


# The page


def picture_page() -> None:
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with tempfile.TemporaryDirectory() as folder, serving() as address, sync_playwright() as playwright:
        recording = Path(folder, "sense-and-sensibility.wav")
        clips = [
            soundfile.read(clip, dtype="float32")[0] for clip in sorted((ROOT / "samples").glob("*.wav"))
        ]
        soundfile.write(recording, np.concatenate(clips), 16_000)
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for name, context in (("page.png", DESKTOP), ("page-phone.png", PHONE)):
            page = browser.new_context(**context).new_page()  # type: ignore[arg-type]
            page.goto(address)
            page.locator("#files").set_input_files(recording)
            page.locator("#start").click()
            page.locator("#report").wait_for()
            page.locator("#player").wait_for()
            word = page.locator(".word").filter(has_text=re.compile(f"^{HEARD}"))
            word.click()
            page.locator(".spoken").wait_for()
            page.locator("#play").click()  # pauses; the word that was heard is marked again for the picture
            word.evaluate("word => { word.classList.add('spoken'); document.activeElement.blur(); }")
            page.mouse.move(0, 0)
            page.evaluate("() => scrollTo(0, 0)")
            page.screenshot(path=DOCS / name, full_page=context is DESKTOP)
        browser.close()


@contextmanager
def serving() -> Iterator[str]:
    from whisper_npu import load_model
    from whisper_npu.apps.server.app import create_app
    from whisper_npu.apps.server.serving import Server, bound
    from whisper_npu.apps.server.settings import ServerSettings

    settings = ServerSettings(port=0)
    with (
        load_model(MODEL, device="emulator") as model,
        closing(bound(settings.host, settings.port)) as listening,
    ):
        started = threading.Event()
        server = Server(create_app(model, settings), started.set)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            started.wait()
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


# The terminal


def terminal_svg() -> str:
    """What the command leaves on a terminal, as rich draws it, with the fonts of whoever looks at it."""
    from rich.console import Console
    from rich.text import Text

    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "samples", Path(folder, "samples"))
        shown = run_in_terminal(COMMAND, folder)
        subtitles = Path(folder, "sns-0930.srt").read_text(encoding="utf-8").rstrip("\n")
    console = Console(
        record=True, width=COLUMNS + 1, file=StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(Text.assemble(("$ ", "bold green"), f"whisper-npu {' '.join(COMMAND)}"))
    console.print(Text.from_ansi(shown))
    console.print(Text.assemble(("$ ", "bold green"), "cat sns-0930.srt"))
    console.print(Text(subtitles))
    svg = console.export_svg(title="whisper-npu", unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono") + "\n"


def run_in_terminal(arguments: tuple[str, ...], folder: str) -> str:
    """What is on the terminal in the end, with its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }
    program = [sys.executable, "-m", "whisper_npu", *arguments]
    process = subprocess.Popen(
        program, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            new = os.read(ours, 65_536)
        except OSError:  # how Linux says that nobody writes to a pseudo-terminal any more
            break
        if not new:
            break
        written += new
    os.close(ours)
    if process.wait() != 0:
        sys.exit(written.decode())
    return settled(written.decode())


def settled(written: str) -> str:
    """The lines that stay: what a progress bar overwrites or erases is gone. Colours stay as codes."""
    lines = [""]
    row = 0
    for part in re.split(r"(\r\n|\r|\n|\x1b\[[0-9;?]*[A-Za-z])", written):
        code = re.fullmatch(r"\x1b\[([0-9;?]*)([A-Za-z])", part)
        if part in ("\n", "\r\n"):
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r" or (code and code[2] == "K"):
            lines[row] = ""  # what comes next covers all of it
        elif code and code[2] == "A":
            row = max(0, row - int(code[1] or 1))
        elif not code or code[2] == "m":
            lines[row] += part
    return "\n".join(lines).strip("\n")


if __name__ == "__main__":
    main()
