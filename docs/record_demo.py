"""Record a real run of `headrace demo` as a picture for the README: `make demo-recording`.

The command runs in a pseudo-terminal. Its final screen, without the earlier states of the live table, is exported as an
SVG by Rich.
"""

import io
import os
import pty
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 120
LINE_UP, ERASE_LINE = "\x1b[1A", "\x1b[2K"
CONTROLS = re.compile(r"\x1b\[1A|\x1b\[2K|\x1b\[\?\d+[hl]|\r|\n")
WEB_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # the picture loads nothing


def main(path: Path) -> None:
    """Run the demo and write its screen to `path`. Exit with the demo's code if it fails."""
    output, code = run_demo()
    if code:
        sys.exit(code)
    path.write_text(picture(screen(output), "make demo"))


def run_demo() -> tuple[str, int]:
    """Run `headrace demo` on a new stack in a pseudo-terminal; return its output and exit code."""
    received = bytearray()

    def receive(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        received.extend(data)
        return data

    with tempfile.TemporaryDirectory(prefix="headrace-demo-") as folder:
        os.environ.update(COLUMNS=str(COLUMNS), LINES="60", TERM="xterm-256color", HEADRACE_STACK_DIR=f"{folder}/stack")
        status = pty.spawn([sys.executable, "-m", "operations", "demo"], receive)
    return received.decode(), os.waitstatus_to_exitcode(status)


def screen(output: str) -> list[str]:
    """Return the lines that are left on the terminal after `output`, with their colours as ANSI codes."""
    lines, position = [""], 0
    for control in CONTROLS.finditer(output):
        lines[-1] += output[position : control.start()]
        position = control.end()
        match control.group():
            case "\n":
                lines.append("")
            case "\x1b[1A":
                lines.pop()
            case "\x1b[2K":
                lines[-1] = ""
    return lines


def picture(lines: list[str], command: str) -> str:
    """Return an SVG of a terminal with these lines, under the command that printed them."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    for line in [f"$ {command}", *lines]:
        console.print(Text.from_ansi(line), soft_wrap=True)
    return WEB_FONTS.sub("", console.export_svg(title="headrace demo", unique_id="headrace-demo"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
