"""Plots of a scan: what is on them, that nothing in an event can act, and what is refused before anything is read."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.scan.page import moment, page
from pipeline.scan.picture import picture
from pipeline.scan.trace import Mark, Panel
from tests.detectors.streams import lines
from tests.pipeline.scan.test_scan import AT, N, scan

EVIL = '</title><script>alert("x")</script> & \x1b[2J "quoted"'


def panel(n: int = 400, text: str = EVIL, times: int = 1_780_000_000_000) -> Panel:
    marks: tuple[Mark, ...] = (
        Mark(10, 10, "critical", f"critical burst, {text}", f"sentence {text}", f"event {text}"),
        Mark(300, 399, "low", "low slot", "another", "event"),
    )
    marks = tuple(m for m in marks if m.last < n)
    number = np.arange(n, dtype=np.int64)
    return Panel(text, n, number, times + number * 1000, np.abs(np.sin(number)) * 9, np.abs(np.cos(number)) * 4, marks)


class Tags(HTMLParser):
    """Names of all tags, the titles of marks, and what asks for something."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.titles: list[str] = []
        self.asks: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.asks += [name for name, _ in attrs if name in {"src", "href"} or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.names and self.names[-1] == "title":
            self.titles.append(data)


def read(made: bytes) -> Tags:
    tags = Tags()
    tags.feed(made.decode())
    return tags


@pytest.mark.parametrize("timed", [True, False])
def test_a_page_is_alone_and_harmless(timed: bool) -> None:
    tags = read(page([panel(), panel(1, "one")], timed=timed))
    assert "script" not in tags.names
    assert "link" not in tags.names
    assert tags.asks == []
    assert tags.names.count("svg") == 2
    assert any(f"sentence {EVIL}" in title for title in tags.titles)
    assert "default-src 'none'" in page([], timed=timed).decode()


def test_every_mark_can_be_hovered_and_lies_on_the_drawing() -> None:
    made = page([panel()], timed=True).decode()
    boxes = re.findall(r'<rect class="m (\w+)" x="([\d.]+)" y="0" width="([\d.]+)"', made)
    assert [b[0] for b in boxes] == ["critical", "low"]
    for _, left, width in boxes:
        assert float(width) >= 3
        assert 0 <= float(left) <= float(left) + float(width) <= 1050


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("times", [0, 1_780_000_000_000, 10**18, -(10**18)])
def test_odd_times_are_drawn(timed: bool, times: int) -> None:
    assert b"</html>" in page([panel(400, "odd", times), panel(0, "none", times)], timed=timed)
    assert picture([panel(400, "odd $x_{", times), panel(0, "none", times)], timed=timed).startswith(b"\x89PNG")


def test_times_are_read_by_people() -> None:
    assert moment(1_700_000_000_000) == "2023-11-14 22:13:20"
    assert moment(10**18) == "1000000000000000000"


def test_a_page_of_nothing_and_a_picture_of_nothing() -> None:
    assert "no anomalies in 0 events" in page([], timed=False).decode()
    assert picture([], timed=False).startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON lines with a flood at 2,500 whose text would be markup."""
    steady = [line.decode() for line in lines(N, 17)]
    steady[AT : AT + 100] = ["12:00:00 ERROR <b>connection</b> refused & lost"] * 100
    file = tmp_path_factory.mktemp("plot") / "app.jsonl"
    file.write_text("\n".join(json.dumps({"ts": 1_700_000_000 + i, "event": e}) for i, e in enumerate(steady)))
    return file


@pytest.mark.parametrize("name", ["out.html", "out.png"])
def test_a_scan_draws_and_says_the_same(log: Path, tmp_path: Path, name: str) -> None:
    fields = ("--event-field", "event", "--time-field", "ts")
    plain, drawn = scan(*fields, str(log)), scan(*fields, "--plot", str(tmp_path / name), str(log))
    assert (drawn.returncode, drawn.stdout, drawn.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert plain.returncode == 1
    made = (tmp_path / name).read_bytes()
    if name == "out.png":
        assert made.startswith(b"\x89PNG")
        return
    tags = read(made)
    assert "b" not in tags.names
    sentence = plain.stdout.decode().splitlines()[1].strip()
    assert any(sentence in title for title in tags.titles)
    assert "2023-11-14 22:13:20" in made.decode()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.svg", b"ends in .html or .png"),
        ("nosuch/out.html", b"there is no folder"),
        ("folder.html", b"can't be written"),
    ],
)
def test_what_can_not_be_drawn_is_one_line_and_exit_code_two(log: Path, tmp_path: Path, name: str, said: bytes) -> None:
    (tmp_path / "folder.html").mkdir()
    done = scan("--event-field", "event", "--time-field", "ts", "--plot", str(tmp_path / name), str(log))
    assert done.returncode == 2
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_picture_without_matplotlib_says_what_to_install(log: Path, tmp_path: Path) -> None:
    """As on a machine that has no more than `driftlock`."""
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pipeline.cli.main import main\n"
        f"sys.argv = ['driftlock', 'scan', '--plot', {str(tmp_path / 'out.png')!r}, {str(log)!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=120)
    assert done.returncode == 2
    assert b"driftlock[plots]" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_the_bar_of_progress_is_for_terminals_only(log: Path) -> None:
    """Where standard error is a terminal the scan says how far it is, and the answer is the same."""
    program = (
        "import os, pty, subprocess, sys\n"
        "parent, child = pty.openpty()\n"
        "done = subprocess.Popen([sys.executable, '-m', 'pipeline.cli', 'scan', '--event-field', 'event', '--time-field', 'ts', sys.argv[1]],"
        " stdout=subprocess.PIPE, stderr=child)\n"
        "os.close(child)\n"
        "shown = b''\n"
        "try:\n"
        "    while part := os.read(parent, 4096): shown += part\n"
        "except OSError: pass\n"
        "out = done.communicate()[0]\n"
        "sys.stdout.buffer.write(b'%d %d %d' % (done.returncode, b'scanning' in shown, b'scanning' in out))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(log)], capture_output=True, check=False, timeout=120)
    assert done.stdout == b"1 1 0", done.stderr
