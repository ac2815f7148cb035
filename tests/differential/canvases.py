"""Random canvases as the text of calls, the same for the same seed: what both Celerys are asked to send."""

from __future__ import annotations

import random

NAMES = ("add", "mul", "tsum", "echo", "noop")
ON_TASKS = ("queue='q'", "countdown=3", "priority=5", "headers=dict(h=1)", "expires=30", "routing_key='k'")
ON_CANVASES = ("queue='q'", "countdown=4", "priority=5", "headers=dict(x=2)", "immutable=True")
ON_CALLS = (
    *("countdown=5", "expires=60", "queue='qq'", "priority=3", "task_id='tid'", "headers=dict(z=1)", "retries=1"),
    *("link=T.noop.s()", "link_error=T.errback_old.s()", "root_id='r'", "parent_id='p'", "group_id='g'"),
    *("group_index=4", "chord=T.tsum.s(1)", "chain=[T.mul.s(5)]", "shadow='sh'", "time_limit=3", "ignore_result=True"),
)
BEFORE = (
    *("s.link(T.noop.s(1))", "s.link_error(T.errback_old.s())", "s.stamp(a='1', b=[2])", "s.freeze()"),
    *("s = s.clone()", "s.stamp(V())", "s.stamp(V(), append_stamps=True, c=3)"),
)
# No lists: stock extends the same list object in place with every task it comes to, so they grow as they go.
VISITOR = """
from celery.canvas import StampingVisitor
class V(StampingVisitor):
    def on_signature(self, sig, **h): return {"sig": 1}
    def on_group_start(self, sig, **h): return {"gr": 1}
    def on_chain_start(self, sig, **h): return {"ch": "x", "stamped_headers": ["ch"]}
    def on_chord_body(self, sig, **h): return {"of_body": True}
    def on_callback(self, sig, **h): return {"cb": "c"}
    def on_errback(self, sig, **h): return {"eb": "e"}
"""


class Canvases:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def call(self, depth: int = 3) -> str:
        pick = self.random
        lines = [f"s = {self.canvas(depth)}"]
        if pick.random() < 0.35:
            lines.append(pick.choice(BEFORE))
        kind = pick.random()
        if kind < 0.55:
            lines.append("s.apply_async()")
        elif kind < 0.7:
            lines.append("s.apply_async((7,))")
        elif kind < 0.9:
            lines.append(f"s.apply_async({', '.join(pick.sample(ON_CALLS, 2))})")
        else:
            lines.append("s.delay(3)")
        return (VISITOR if "V()" in lines[1] else "") + "\n".join(lines)

    def canvas(self, depth: int) -> str:
        pick = self.random
        kind = pick.random()
        if depth <= 0 or kind < 0.15:
            return self.task()
        if kind < 0.32:
            text = f"chain({self.several(depth, 1, 4)})"
        elif kind < 0.36:
            text = f"chain([{self.several(depth, 1, 3)}])"
        elif kind < 0.53:
            text = f"group({self.several(depth, 1, 3)})"
        elif kind < 0.57:
            text = f"group([{self.several(depth, 0, 2)}])"
        elif kind < 0.72:
            text = f"chord([{self.several(depth, 1, 3)}], {self.canvas(depth - 1)})"
        elif kind < 0.74:
            text = f"chord({self.canvas(depth - 1)}, {self.canvas(depth - 1)})"
        else:
            return "(" + " | ".join(self.canvas(depth - 1) for _ in range(pick.randint(2, 4))) + ")"
        extra = pick.random()
        if extra < 0.06:
            return f"{text}.on_error(T.errback_new.s(1))"
        if extra < 0.1:
            return f"{text}.set({pick.choice(ON_CANVASES)})"
        if extra < 0.13 and text.startswith(("group(", "chord(")):
            return text[:-1] + ", queue='gq')"
        return text

    def several(self, depth: int, least: int, most: int) -> str:
        return ", ".join(self.canvas(depth - 1) for _ in range(self.random.randint(least, most)))

    def task(self) -> str:
        pick = self.random
        numbers = ", ".join(str(pick.randrange(9)) for _ in range(pick.randrange(3)))
        text = f"T.{pick.choice(NAMES)}.{pick.choice(('s', 's', 's', 'si'))}({numbers})"
        extra = pick.random()
        if extra < 0.08:
            return f"{text}.set({pick.choice(ON_TASKS)})"
        if extra < 0.12:
            return f"T.add.signature((1,), options=dict(link=T.{pick.choice(NAMES)}.s(2)))"
        if extra < 0.16:
            return f"{text}.on_error(T.errback_old.s())"
        if extra < 0.19:
            return pick.choice(("T.add.map([1, 2])", "T.add.starmap([(1, 2)])", "T.add.chunks([(1, 2), (3, 4)], 1)"))
        return text
