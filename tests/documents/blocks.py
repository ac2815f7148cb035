"""Code blocks of the documentation, and one shell script for each page that does what its reader would do.

What is to be done with a block stands in a comment of HTML right before it, which no reader sees:

    <!-- file NAME -->        the block is what stands in that file
    <!-- terminal NAME -->    it runs in a terminal of its own, from here on; the one of that name before it is left
    <!-- leave NAME -->       before it, the terminal of that name is left
    <!-- output -->           each of its lines is in what the block before it printed; `...` stands for anything
    <!-- not run: WHY -->     it is not run; the reason is for who reads the page's source

Without any, bash and python blocks are run, in one folder and one session for each page, and have to succeed; a block
that says that it is no program (`text`, `json`, `yaml`) is not run. Every block names its language.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_SAID = re.compile(r"<!-- (file|terminal|leave|output|not run)(?::? ([^\n]*?))? -->\n*\Z")
_INDENTED = re.compile(r"(?:\A|\n\n)(    (?![-*\d])[^\n]+)")
PROGRAMS = ("bash", "python")
PROSE = ("text", "json", "yaml", "ini", "mermaid", "console")

PRELUDE = """
set -eu -o pipefail
declare -A OPEN
leave() { if [ -n "${OPEN[$1]:-}" ]; then kill -TERM "${OPEN[$1]}" 2>/dev/null || true; wait "${OPEN[$1]}" || true; fi; OPEN[$1]=; }
leave_all() { for each in "${!OPEN[@]}"; do leave "$each"; done; }
trap leave_all EXIT
terminal() {
    leave "$1"
    : > "$1.log"
    bash "$2" > "$1.log" 2>&1 &
    OPEN[$1]=$!
    for _ in $(seq 600); do
        if grep -q "ready\\.\\|listening\\|Watching\\|beat: Starting" "$1.log"; then return 0; fi
        kill -0 "${OPEN[$1]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "the terminal $1 did not become ready:"; cat "$1.log"; exit 1
}
"""


@dataclass(frozen=True)
class Block:
    """One of them: `said` is what the comment before it says, and `told` what it says of that."""

    page: str
    line: int
    language: str
    text: str
    said: str = ""
    told: str = ""

    @property
    def runs(self) -> bool:
        return self.language in PROGRAMS and self.said not in {"not run", "output"}


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in their order."""
    source = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(source):
        said = _SAID.search(source[: match.start()])
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        line = source[: match.start()].count("\n") + 1
        kind, told = (said[1], said[2] or "") if said else ("", "")
        found.append(Block(page.name, line, match["language"], text, kind, told))
    return found


def escaped(page: Path) -> list[str]:
    """Lines that open or close a block and that `blocks` does not see: `~~~`, a title behind the language, one in a quote."""
    return re.findall(r"^[ >]*(?:```|~~~).*$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)


def unfenced(page: Path) -> list[str]:
    """First lines of indented blocks: those have no language, and nothing would run them."""
    source = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [match[1].strip() for match in _INDENTED.finditer(source) if not _in_list(source, match.start())]


def _in_list(source: str, at: int) -> bool:
    """Whether the indented lines go on with an item of a list."""
    before = [line for line in source[:at].splitlines() if line.strip()]
    last = next((line for line in reversed(before) if not line.startswith("  ")), "")
    return bool(re.match(r"\s*([-*]|\d+\.) ", last))


def script(page: list[Block]) -> str:
    """What a reader of the page would do, block by block. Each says its number before it runs."""
    return PRELUDE + "\n".join(_steps(page))


def _steps(page: list[Block]) -> Iterator[str]:
    for number, block in enumerate(page):
        yield f"echo '@@@ {number}'"
        if block.said == "file":
            yield _written(block.told, block.text)
        elif not block.runs:
            continue
        elif block.said == "terminal":
            name = f".terminal-{number}"
            yield _written(name, "exec " + block.text.strip())
            yield f"terminal {block.told} {name}"
        elif block.said == "leave":
            yield f"leave {block.told}"
            yield block.text
        elif block.language == "python":
            yield _written(f".block-{number}.py", block.text)
            yield f"celeriac run python .block-{number}.py 2>&1"
        else:
            yield block.text


def _written(name: str, text: str) -> str:
    return f"printf %s {shlex.quote(text)} > {shlex.quote(name)}"


def printed(output: str) -> dict[int, str]:
    """What each block printed."""
    parts = re.split(r"^@@@ (\d+)\n", output, flags=re.MULTILINE)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}
