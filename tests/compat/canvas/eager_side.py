"""Runs canvases eagerly and prints what they say. Run by stock Celery's python and by ours, never imported."""

import json
import os
import sys
import warnings

if os.environ.get("CELERIAC"):
    from celeriac.compat import alias

    alias.install()
warnings.simplefilter("ignore")

from celery import Celery, chain, chord, group  # noqa: E402, F401 - after the alias; for the expressions
from celery.exceptions import Ignore, Reject  # noqa: E402 - as above

app = Celery("eager", broker="memory://", backend="cache+memory://")
told = []


@app.task(name="wire.add")
def add(*numbers):
    return sum(numbers)


@app.task(name="wire.tsum")
def tsum(numbers, more=0):
    return sum(numbers) + more


@app.task(name="wire.bad")
def bad(*args):
    raise ValueError("bad")


@app.task(name="wire.ignored")
def ignored(*args):
    raise Ignore


@app.task(name="wire.rejected")
def rejected(*args):
    raise Reject("no")


@app.task(name="wire.tell")
def tell(*args):
    told.append(args)
    return args


EXPRESSIONS = """
add.s(1, 2)
add.s(1) | add.s(2) | add.s(3)
chain(add.s(1))
chain()
group(add.s(1), add.s(2))
group([])
group(add.s(n) for n in range(3))
group(add.s(1), group(add.s(2), chain(add.s(3), add.s(4))))
group(add.s(1), chain())
add.s(1) | group(add.s(2), add.s(3))
add.s(1) | group([]) | add.s(2)
group([]) | add.s(2)
chain(group([]), group([]))
chord([add.s(1), add.s(2)], tsum.s())
chord(group(add.s(1), add.s(2)), tsum.s())
chord([add.s(1), add.s(2)], tsum.s() | add.s(10))
chord([add.s(1), add.s(2)], tsum.s()) | add.s(5)
group(add.s(1), add.s(2)) | tsum.s() | group(add.s(1), add.s(2)) | tsum.s()
chord([chord([add.s(1)], tsum.s()), add.s(3)], tsum.s())
chord([], tsum.s())
add.map([1, 2])
add.starmap([(1, 2), (3, 4)])
add.chunks([(1, 2), (3, 4), (5, 6)], 2).group()
bad.s(1)
add.s(1) | bad.s() | add.s(2)
add.s(1) | ignored.s() | add.s(2)
add.s(1) | rejected.s() | add.s(2)
group(add.s(1), bad.s())
chord([add.s(1), bad.s()], tsum.s())
add.si(1) | add.si(2)
chain(add.s(1), add.s(2), link=tell.s())
chord([add.s(1), add.s(2)], tsum.s()).set(link=tell.s())
chain(add.s(1), chord([add.s(2)], tsum.s())).set(link=tell.s(1))
chain(add.s(1), bad.s()).on_error(tell.si("error"))
"""


def shape(result):
    if result is None or not hasattr(result, "id"):
        return repr(result)
    parent = shape(result.parent) if getattr(result, "parent", None) is not None else None
    if hasattr(result, "results"):
        return ["group", [shape(member) for member in result.results], parent]
    return [result.state, repr(result.result), parent]


def outcome(call):
    told.clear()
    try:
        return [shape(call()), list(told)]
    except BaseException as error:
        return [type(error).__name__, str(error), list(told)]


def main():
    found = []
    for always in (False, True):
        app.conf.task_always_eager = always
        for text in filter(None, EXPRESSIONS.splitlines()):
            for call in ("sig.apply_async", "sig.delay" if "chord" in text else "sig") if always else ("sig.apply",):
                names = dict(globals())
                names["sig"] = eval(text, names)
                found.append([text, call, always, outcome(lambda: eval(f"{call}()", names))])  # noqa: B023
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
