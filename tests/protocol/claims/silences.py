"""The captures of nothing: what a stock worker was seen not to store and not to send."""

from __future__ import annotations

from celeriac.protocol.wire import states
from celeriac.protocol.wire.stores import Keys
from tests.protocol.vectors import Tally, Vector, claim


@claim("result/redis/ignore", "result/redis/ignore-result")
def nothing_is_stored(vector: Vector, tally: Tally) -> None:
    """Under the key that we would look at."""
    assert vector.capture["published"] == []
    assert states.IGNORED in states.NEVER_STORED
    for task_id, meta in vector.capture["metas"].items():
        assert (meta["key"], meta["value"]) == (Keys().task(task_id), None)
        tally.saw("silence")


@claim("event/redis/enable-events-quiet")
def nothing_is_sent(vector: Vector, tally: Tally) -> None:
    """The reply that goes with it is in control/control-enable_events: no dispatcher, no event."""
    assert vector.capture == {"published": [], "producer_output": ""}
    tally.saw("silence")
