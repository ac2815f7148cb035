"""A pytest plugin: writes each report down as it comes, one JSON line each, so that a run that dies has told its part.

Law: it stands alone on the path of either side's interpreter, and imports neither Celery nor celeriac.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--record", type=Path, help="the file to write to")
    parser.addoption("--at-most", type=float, help="seconds that a test may take, whatever its own mark says")
    parser.addoption("--once", action="store_true", help="do not run again what failed")
    parser.addoption("--once-for", action="append", default=[], help="nor these, whose failure is expected: a pattern")


def pytest_collection_modifyitems(config, items):
    seconds, once, expected = (config.getoption(name) for name in ("at_most", "once", "once_for"))
    for item in items:
        name = item.nodeid.replace("[", "(")
        known = any(fnmatchcase(name, "*/" + pattern.replace("[", "(")) for pattern in expected)
        if once or known:
            for node in item.listchain() if once else [item]:
                node.own_markers = [mark for mark in node.own_markers if mark.name != "flaky"]
        if seconds:
            # Of the function alone: a clock around the whole is not wound up again when a test is run again.
            item.add_marker(pytest.mark.timeout(seconds, func_only=True), append=False)


class Record:
    def __init__(self, file):
        self.file = file.open("a")

    def pytest_runtest_logreport(self, report):
        why = ""
        crash = getattr(report.longrepr, "reprcrash", None)
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            why = report.longrepr[2]
        elif report.outcome != "passed":
            why = (crash.message if crash else str(report.longrepr)).strip()
        line = {"test": report.nodeid, "when": report.when, "outcome": report.outcome, "why": why[:2000]}
        self.file.write(json.dumps({**line, "seconds": round(report.duration, 2)}) + "\n")
        self.file.flush()

    def pytest_collectreport(self, report):
        if report.failed:
            line = {"test": report.nodeid, "when": "collect", "outcome": "failed", "why": str(report.longrepr)[-2000:]}
            self.file.write(json.dumps({**line, "seconds": 0}) + "\n")
            self.file.flush()


def pytest_configure(config):
    if config.getoption("record"):
        config.pluginmanager.register(Record(config.getoption("record")))
