"""Coloured text on terminals."""

from __future__ import annotations

import os
import sys
from functools import reduce
from typing import Any

__all__ = ("colored",)

BLACK, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN, WHITE = range(8)
OP_SEQ = "\033[%dm"
RESET_SEQ = "\033[0m"
COLOR_SEQ = "\033[1;%dm"

IS_WINDOWS = sys.platform == "win32"
TERM = os.environ.get("TERM")
TERM_IS_SCREEN = bool(TERM and TERM.startswith("screen"))

# tmux passes an unknown sequence on when it is wrapped in one of its own.
_IMAGE_START, _IMAGE_END = ("\033Ptmux;\033\033]", "\a\033\\") if TERM_IS_SCREEN else ("\033]", "\a")


def harmless(text: str) -> str:
    """One line without what would steer the terminal: names and arguments are somebody else's."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def fg(s: int) -> str:
    """The sequence for a colour by number."""
    return COLOR_SEQ % s


def _plain(part: Any) -> str:
    return part.no_color() if isinstance(part, colored) else str(part)


class colored:
    """Texts, some of them coloured: `str(c.red("no", c.bold("!")))`. Without `enabled` they stay plain."""

    def __init__(self, *s: object, **kwargs: Any) -> None:
        self.s: tuple[object, ...] = s
        self.enabled: bool = not IS_WINDOWS and kwargs.get("enabled", True)
        self.op: str = kwargs.get("op", "")

    @property
    def names(self) -> dict[str, Any]:
        """The colours by name."""
        colours = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
        return {name: getattr(self, name) for name in colours}

    def _add(self, a: object, b: object) -> str:
        return f"{a}{b}"

    def no_color(self) -> str:
        """The text alone."""
        return "".join(_plain(part) for part in self.s)

    def embed(self) -> str:
        """The text with its colour begun and not ended, for use within another."""
        return f"{self.op if self.enabled else ''}{reduce(self._add, self.s, '')}"

    def __str__(self) -> str:
        return f"{self.embed()}{RESET_SEQ if self.enabled else ''}"

    def node(self, s: tuple[object, ...], op: str) -> colored:
        """These texts under this sequence."""
        return self.__class__(*s, enabled=self.enabled, op=op)

    def black(self, *s: object) -> colored:
        return self.node(s, fg(30 + BLACK))

    def red(self, *s: object) -> colored:
        return self.node(s, fg(30 + RED))

    def green(self, *s: object) -> colored:
        return self.node(s, fg(30 + GREEN))

    def yellow(self, *s: object) -> colored:
        return self.node(s, fg(30 + YELLOW))

    def blue(self, *s: object) -> colored:
        return self.node(s, fg(30 + BLUE))

    def magenta(self, *s: object) -> colored:
        return self.node(s, fg(30 + MAGENTA))

    def cyan(self, *s: object) -> colored:
        return self.node(s, fg(30 + CYAN))

    def white(self, *s: object) -> colored:
        return self.node(s, fg(30 + WHITE))

    def __repr__(self) -> str:
        return repr(self.no_color())

    def bold(self, *s: object) -> colored:
        return self.node(s, OP_SEQ % 1)

    def underline(self, *s: object) -> colored:
        return self.node(s, OP_SEQ % 4)

    def blink(self, *s: object) -> colored:
        return self.node(s, OP_SEQ % 5)

    def reverse(self, *s: object) -> colored:
        return self.node(s, OP_SEQ % 7)

    def bright(self, *s: object) -> colored:
        return self.node(s, OP_SEQ % 8)

    def ired(self, *s: object) -> colored:
        return self.node(s, fg(40 + RED))

    def igreen(self, *s: object) -> colored:
        return self.node(s, fg(40 + GREEN))

    def iyellow(self, *s: object) -> colored:
        return self.node(s, fg(40 + YELLOW))

    def iblue(self, *s: object) -> colored:
        return self.node(s, fg(40 + BLUE))

    def imagenta(self, *s: object) -> colored:
        return self.node(s, fg(40 + MAGENTA))

    def icyan(self, *s: object) -> colored:
        return self.node(s, fg(40 + CYAN))

    def iwhite(self, *s: object) -> colored:
        return self.node(s, fg(40 + WHITE))

    def reset(self, *s: object) -> colored:
        return self.node(s or ("",), RESET_SEQ)

    def __add__(self, other: object) -> str:
        return f"{self}{other}"


def supports_images() -> bool:
    """Whether this terminal is iTerm."""
    try:
        return sys.stdin.isatty() and bool(os.environ.get("ITERM_PROFILE"))
    except AttributeError:
        return False


def imgcat(path: str, inline: int = 1, preserve_aspect_ratio: int = 0, **kwargs: Any) -> str:
    """The sequence that shows an image file in iTerm."""
    import base64
    from pathlib import Path

    encoded = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    options = f"inline={inline};preserveAspectRatio={preserve_aspect_ratio}"
    return f"\n{_IMAGE_START}1337;File={options}:{encoded}{_IMAGE_END}"
