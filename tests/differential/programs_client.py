"""The client of all programs: sends them, or tells what became of them. Always stock Celery.

`python programs_client.py send|tell` with programs, or ids, as JSON on its input; prints one JSON value.
"""

import json
import sys
import time

from programs_app import app, build, plain


def send(programs):
    sent = []
    for program in programs:
        try:
            build(program["send"]).apply_async()
            sent.append(None)
        except Exception as problem:  # noqa: BLE001 - both sides are told
            sent.append(repr(problem))
    return sent


def revoke(ids):
    return app.control.revoke(ids, reply=True, timeout=3, limit=1)


def tell(ids):
    """How each result looks to who asks for it."""
    told = {}
    for each in ids:
        result = app.AsyncResult(each)
        try:
            told[each] = [result.state, plain(result.result), str(plain(result.info))[:200]]
        except Exception as problem:  # noqa: BLE001 - what stock makes of it
            told[each] = ["broken", repr(problem)]
    return told


if __name__ == "__main__":
    print(json.dumps({"send": send, "revoke": revoke, "tell": tell}[sys.argv[1]](json.load(sys.stdin))))
