"""Everything Celery puts on the wire, and what must happen, as values.

Law of this room: no I/O, no clock, no randomness, no threads. Bytes come in as arguments and go out as values;
time, ids and random numbers are arguments too. `wire` says how it looks, `rules` says what must happen.
A parser raises nothing but `BadMessage`, on any bytes whatever.
"""
