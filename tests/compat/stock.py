"""Asks stock Celery: a program runs there with a JSON value as input, and what it prints comes back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


def ask(python: Path, program: str, question: Any = None) -> Any:
    """What `program` sets `answer` to, given `question`."""
    code = f"import json, sys\nquestion = json.load(sys.stdin)\n{program}\nprint(json.dumps(answer))"
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", code],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout.splitlines()[-1])
