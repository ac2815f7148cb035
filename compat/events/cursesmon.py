"""`celery events`: the tasks of a cluster on a curses screen. `celeriac top` shows more, on any terminal.

Law: one thread draws and one hears events; the screen is that of whoever holds `lock`.
"""

from __future__ import annotations

import curses
import sys
import threading
from datetime import datetime, timezone
from itertools import count
from textwrap import wrap
from time import time
from typing import Any

from .. import VERSION_BANNER, states
from ..app import app_or_default
from ..utils.text import abbr, abbrtask

__all__ = ("CursesMonitor", "evtop")

BORDER_SPACING = 4
LEFT_BORDER_OFFSET = 3
UUID_WIDTH = 36
STATE_WIDTH = 8
TIMESTAMP_WIDTH = 8
MIN_WORKER_WIDTH = 15
MIN_TASK_WIDTH = 16

STATUS_SCREEN = "events: {s.event_count} tasks:{s.task_count} workers:{w_alive}/{w_all}\n"

_ENTER, _ESCAPE = 10, 27


class CursesMonitor:
    """The screen: a list of tasks, one of them selected, and keys for what to do with it."""

    keymap: dict[str, Any] = {}
    win: Any = None
    screen_delay = 10
    selected_task: str | None = None
    selected_position = 0
    selected_str = "Selected: "
    foreground = curses.COLOR_BLACK
    background = curses.COLOR_WHITE
    online_str = "Workers online: "
    help_title = "Keys: "
    help = "j:down k:up i:info t:traceback r:result c:revoke l:rate limit ^c: quit"
    greet = f"celery events {VERSION_BANNER}"
    info_str = "Info: "
    keyalias = {curses.KEY_DOWN: "J", curses.KEY_UP: "K", curses.KEY_ENTER: "I"}

    def __init__(self, state: Any, app: Any, keymap: dict[str, Any] | None = None) -> None:
        self.app = app
        self.state = state
        own = {
            "J": self.move_selection_down,
            "K": self.move_selection_up,
            "C": self.revoke_selection,
            "T": self.selection_traceback,
            "R": self.selection_result,
            "I": self.selection_info,
            "L": self.selection_rate_limit,
        }
        self.keymap = {**own, **(keymap or self.keymap)}
        self.lock = threading.RLock()
        self.state_colors: dict[str, int] = {}

    # --- how much room there is

    @property
    def screen_width(self) -> int:
        return int(self.win.getmaxyx()[1])

    @property
    def screen_height(self) -> int:
        return int(self.win.getmaxyx()[0])

    @property
    def display_width(self) -> int:
        return self.screen_width - BORDER_SPACING

    @property
    def display_height(self) -> int:
        return self.screen_height - 10

    @property
    def limit(self) -> int:
        return self.display_height

    @property
    def tasks(self) -> list[Any]:
        return list(self.state.tasks_by_time(limit=max(self.limit, 0)))

    @property
    def workers(self) -> list[str]:
        return [hostname for hostname, worker in self.state.workers.items() if worker.alive]

    def format_row(self, uuid: Any, task: Any, worker: Any, timestamp: str, state: str) -> str:
        """A row of the list, in the width that there is."""
        room = self.display_width - 1 - STATE_WIDTH - 1 - TIMESTAMP_WIDTH
        uuid_width = min(UUID_WIDTH, room - 1 - MIN_TASK_WIDTH - 1 - MIN_WORKER_WIDTH)
        room -= uuid_width + 1
        task_width = -(-room // 2)
        cells = (
            (abbr(uuid, uuid_width), uuid_width),
            (abbr(worker, room - task_width - 1), room - task_width - 1),
            (abbrtask(task, task_width), task_width),
            (timestamp, TIMESTAMP_WIDTH),
            (abbr(state, STATE_WIDTH), STATE_WIDTH),
        )
        return "".join(f"{text.ljust(width)} " for text, width in cells)[: self.display_width]

    # --- keys

    def find_position(self) -> int:
        uuids = [uuid for uuid, _ in self.tasks]
        return uuids.index(self.selected_task) if self.selected_task in uuids else 0

    def move_selection(self, direction: int = 1) -> None:
        tasks = self.tasks
        if tasks:
            at = self.find_position() + direction
            self.selected_task = tasks[at if -len(tasks) <= at < len(tasks) else 0][0]

    def move_selection_up(self) -> None:
        self.move_selection(-1)

    def move_selection_down(self) -> None:
        self.move_selection(1)

    def handle_keypress(self) -> None:
        try:
            key = self.win.getkey()
        except curses.error:
            return  # none was pressed
        self.keymap.get(self.keyalias.get(key) or _ALIAS_NAMES.get(key) or key.upper(), lambda: None)()

    def readline(self, x: int, y: int) -> str:
        """What is typed at this place; nothing after escape."""
        typed = ""
        curses.echo()
        try:
            while True:
                key = self.win.getch(x, y + len(typed))
                if key in (_ENTER, curses.KEY_ENTER):
                    return typed
                if key == _ESCAPE:
                    return ""
                if key != -1:
                    typed += chr(key)
        finally:
            curses.noecho()

    def alert(self, callback: Any, title: str | None = None) -> Any:
        """Show what `callback(height, width, line)` writes, until a key is pressed."""
        self.win.erase()
        height, width = self.win.getmaxyx()
        line = 2
        if title:
            self.safe_add_str(line, 3, title, curses.A_BOLD | curses.A_UNDERLINE)
            line += 2
        callback(height, width, line)
        self.safe_add_str(height - 1, 0, "Press any key to continue...", curses.A_BOLD)
        self.win.refresh()
        while True:
            try:
                return self.win.getkey().upper()
            except curses.error:  # noqa: PERF203 - it waits anyway
                curses.napms(self.screen_delay)

    # --- what to do with the selected task

    def _selection(self) -> Any:
        """The selected task. Beeps when there is none."""
        task = self.state.tasks.get(self.selected_task) if self.selected_task else None
        if task is None:
            curses.beep()
        return task

    def revoke_selection(self) -> None:
        if self._selection() is not None:
            self.alert_remote_control_reply(self.app.control.revoke(self.selected_task, reply=True))

    def selection_rate_limit(self) -> Any:
        task = self._selection()
        if task is None or not task.name:
            return curses.beep()
        height, width = self.win.getmaxyx()
        question = "New rate limit: "
        self.safe_add_str(height - 2, 3, question.ljust(width - 4), curses.A_BOLD | curses.A_UNDERLINE)
        wanted = self.readline(height - 2, 3 + len(question)).strip()
        if wanted:
            self.alert_remote_control_reply(self.app.control.rate_limit(task.name, wanted, reply=True))
        return None

    def alert_remote_control_reply(self, reply: Any) -> Any:
        """Show what the workers replied."""

        def show(height: int, width: int, line: int) -> None:
            if not reply:
                self.safe_add_str(line, 3, "No replies received in 1s deadline.", curses.A_BOLD | curses.color_pair(2))
            for at, (host, response) in enumerate((pair for each in reply or () for pair in each.items()), line):
                color = curses.color_pair(2 if "error" in response else 3)
                self.safe_add_str(at, 3, f"{host}: ", curses.A_BOLD)
                self.safe_add_str(at, 5 + len(host), str(response.get("error") or response.get("ok") or ""), color)

        return self.alert(show, "Remote Control Command Replies")

    def selection_info(self) -> Any:
        task = self._selection()
        if task is None:
            return None

        def show(height: int, width: int, line: int) -> None:
            lines = count(line)
            for key, value in task.info(extra=["state"]).items():
                first, *rest = wrap(str(value), width - 8 - len(key)) or [""]
                at = next(lines)
                self.safe_add_str(at, 3, f"{key}: ", curses.A_BOLD)
                self.safe_add_str(at, 5 + len(key), first)
                for more in rest:
                    self.safe_add_str(next(lines), 7, more)

        return self.alert(show, f"Task details for {self.selected_task}")

    def selection_traceback(self) -> Any:
        task = self._selection()
        if task is None or task.state not in states.EXCEPTION_STATES:
            return curses.beep()
        return self._show_text(task.traceback or "", f"Task Exception Traceback for {self.selected_task}")

    def selection_result(self) -> Any:
        task = self._selection()
        if task is None:
            return None
        return self._show_text(str(task.result or task.exception or ""), f"Task Result for {self.selected_task}")

    def _show_text(self, text: str, title: str) -> Any:
        def show(height: int, width: int, line: int) -> None:
            rows = (row for written in text.split("\n") for row in wrap(written, width - 4) or [""])
            for at, row in enumerate(rows, line):
                self.safe_add_str(at, 3, row)

        return self.alert(show, title)

    # --- drawing

    def draw(self) -> None:
        """The whole screen, after the key that was pressed."""
        with self.lock:
            self.handle_keypress()
            height, _ = self.win.getmaxyx()
            x = LEFT_BORDER_OFFSET
            self.win.erase()
            self.win.bkgd(" ", curses.color_pair(1))
            self.win.border()
            self.safe_add_str(1, x, self.greet, curses.A_DIM | curses.color_pair(5))
            titles = self.format_row("UUID", "TASK", "WORKER", "TIME", "STATE")
            self.safe_add_str(3, x, titles, curses.A_BOLD | curses.A_UNDERLINE)
            for line, (_, task) in enumerate(self.tasks, 4):
                self.display_task_row(line, task)
            self._draw_footer(height, x)
            self.win.refresh()

    def display_task_row(self, lineno: int, task: Any) -> None:
        attr = curses.A_STANDOUT if task.uuid == self.selected_task else curses.A_NORMAL
        when = datetime.fromtimestamp(task.timestamp or time(), tz=timezone.utc).strftime("%H:%M:%S")
        hostname = task.worker.hostname if task.worker else "*NONE*"
        line = self.format_row(task.uuid, task.name, hostname, when, task.state)
        self.safe_add_str(lineno, LEFT_BORDER_OFFSET, line, attr)
        color = self.state_colors.get(task.state)
        if color:
            self.safe_add_str(lineno, len(line) - STATE_WIDTH + LEFT_BORDER_OFFSET, task.state, color | attr)

    def _draw_footer(self, height: int, x: int) -> None:
        self.safe_add_str(height - 6, x, "-" * (self.screen_width - 6))
        self._label(
            height - 5, x, self.selected_str if self.selected_task else "No task selected", self._selected_info()
        )
        names = ", ".join(sorted(self.workers))
        self._label(height - 4, x, self.online_str if names else "No workers discovered.", names)
        workers = self.state.workers
        alive = sum(1 for worker in workers.values() if worker.alive)
        status = STATUS_SCREEN.format(s=self.state, w_alive=alive, w_all=len(workers)).strip()
        self._label(height - 3, x, self.info_str, status)
        self._label(height - 2, x, self.help_title, self.help)

    def _selected_info(self) -> str:
        if not self.selected_task:
            return ""
        task = self.state.tasks.get(self.selected_task)
        if task is None:
            return "Missing extended info"
        info = task.info()
        if "runtime" in info:
            info["runtime"] = f"{info['runtime']:.2f}"
        if "result" in info:
            info["result"] = abbr(info["result"], 16)
        text = " ".join(f"{key}={value}" for key, value in info.items())
        return abbr(text, self.screen_width - len(self.selected_str) - 8, "... -> key i")

    def _label(self, y: int, x: int, label: str, text: str) -> None:
        self.safe_add_str(y, x, label, curses.A_BOLD)
        self.safe_add_str(y, x + len(label), text, curses.A_DIM)

    def safe_add_str(self, y: int, x: int, string: str, *args: Any, **kwargs: Any) -> None:
        """As much of it as the screen holds."""
        room = self.screen_width - x - 1
        if 0 <= y < self.screen_height and room > 0:
            self.win.addstr(y, x, string[:room], *args, **kwargs)

    def init_screen(self) -> None:
        with self.lock:
            self.win = curses.initscr()
            self.win.nodelay(True)
            self.win.keypad(True)
            curses.start_color()
            pairs = (
                (1, self.foreground, self.background),
                (2, curses.COLOR_RED, self.background),
                (3, curses.COLOR_GREEN, self.background),
                (4, curses.COLOR_MAGENTA, self.background),
                (5, curses.COLOR_BLUE, self.background),
                (6, curses.COLOR_YELLOW, self.foreground),
            )
            for number, front, back in pairs:
                curses.init_pair(number, front, back)
            self.state_colors = {
                states.SUCCESS: curses.color_pair(3),
                states.REVOKED: curses.color_pair(4),
                states.STARTED: curses.color_pair(6),
                **dict.fromkeys(states.EXCEPTION_STATES, curses.color_pair(2)),
            }
            curses.cbreak()

    def resetscreen(self) -> None:
        with self.lock:
            curses.nocbreak()
            self.win.keypad(False)
            curses.echo()
            curses.endwin()

    def nap(self) -> None:
        curses.napms(self.screen_delay)


_ALIAS_NAMES = {"KEY_DOWN": "J", "KEY_UP": "K", "KEY_ENTER": "I", "\n": "I"}


class DisplayThread(threading.Thread):
    """Draws the screen over and over."""

    def __init__(self, display: CursesMonitor) -> None:
        self.display = display
        self.shutdown = False
        super().__init__(daemon=True)

    def run(self) -> None:
        while not self.shutdown:
            self.display.draw()
            self.display.nap()


def capture_events(app: Any, state: Any, display: CursesMonitor) -> None:
    """Hear events until interrupted, over lost connections too."""
    print("-> evtop: starting capture...", file=sys.stderr)  # noqa: T201 - what Celery prints
    display.resetscreen()
    display.init_screen()
    app.events.Receiver(None, handlers={"*": state.event}).run()


def evtop(app: Any = None) -> None:
    """Show the screen until interrupted."""
    app = app_or_default(app)
    state = app.events.State()
    display = CursesMonitor(state, app)
    display.init_screen()
    refresher = DisplayThread(display)
    refresher.start()
    try:
        capture_events(app, state, display)
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        refresher.shutdown = True
        refresher.join()
        display.resetscreen()


if __name__ == "__main__":
    evtop()
