"""The client of all programs: sends them, or tells what became of them. Always stock Celery.

`python programs_client.py send|tell` with programs, or ids, as JSON on its input; prints one JSON value.
"""

import json
import sys

from programs_app import app, build, plain


def send(programs):
    return [send_one(program["send"]) for program in programs]


def send_one(form):
    try:
        build(form).apply_async()
    except Exception as problem:  # both sides are told
        return repr(problem)
    return None


def revoke(ids):
    return app.control.revoke(ids, reply=True, timeout=20, limit=1)


def tell(ids):
    """How each result looks to who asks for it."""
    told = {}
    for each in ids:
        result = app.AsyncResult(each)
        try:
            told[each] = [result.state, plain(result.result), str(plain(result.info))[:200]]
        except Exception as problem:
            told[each] = ["broken", repr(problem)]
    return told


if __name__ == "__main__":
    print(json.dumps({"send": send, "revoke": revoke, "tell": tell}[sys.argv[1]](json.load(sys.stdin))))
