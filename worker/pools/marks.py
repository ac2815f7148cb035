"""What a parent and its children tell each other without a system call: one record of shared memory per child.

Law: each field has one writer, and is eight bytes at a multiple of eight, so that it is read whole. What must be told
in an order that both sides agree on is told through the socket; a mark is a hint that is never late by more than the
time a processor takes to write it (`prefork` says how it lives with that).
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

_RECORD = 128
_NUMBER = struct.Struct("=q")

# Which word of a record is what. The child writes: which job it runs (0: none), since when, how many it has done.
_RUNNING, _SINCE, _DONE = 0, 1, 2
# The parent writes: the last batch whose held jobs may start, the last that it took back, the job that is overdue,
# the job that is to end, the last batch that it is about to acknowledge.
_RELEASED, _RECALLED, _OVERDUE, _CONDEMNED, _PROMISED = 3, 4, 5, 6, 7
# The child's again: it has begun its life.
_UP = 8
# The parent writes, for all, before the first record, at these bytes: whether it is telling the broker something, how
# many bytes, how many bytes the connection had taken before, and the bytes. So what is told is one word, and is written
# last.
_TELLING, _LENGTH, _POSITION, _BYTES = 0, 8, 16, 24
# Room for the acknowledgements of as many messages as a broker gives at most (65,535, of some 70 bytes each); what is
# not used of it is no memory.
_FRONT = 1 << 23
# After them, for each job that went from one child to another, in the place of its number: number and how many times.
_MOVES = 1 << 13
_HOPS = 8
_RECORDS = _FRONT + _MOVES * _NUMBER.size
_JOURNAL = 1 << 17


class Marks:
    """The shared memory of all places of one pool. Made before the first fork; who is not forked has it by `shared`
    and its `descriptor`, and is `given` that."""

    def __init__(self, places: int, *, shared: bool = False, given: int = -1) -> None:
        self.places = max(places, 1)
        self._memory, self.descriptor = _memory(_RECORDS + self.places * _RECORD, shared=shared, given=given)

    def at(self, place: int) -> Mark:
        return Mark(self._memory, _RECORDS + place * _RECORD)

    def move(self, number: int, times: int) -> None:
        """From now on who had this job has it no more, and who was given it has it: all in one word."""
        _NUMBER.pack_into(self._memory, _move_of(number), number << _HOPS | min(times, (1 << _HOPS) - 1))

    def tell(self, data: bytes, position: int) -> None:
        """From now on these bytes may have gone to the broker, at this place of all that went there (-1: unknown)."""
        length = len(data)
        if length > _FRONT - _BYTES:
            length = 0  # nobody can complete it: what was begun counts as done
        else:
            self._memory[_BYTES : _BYTES + length] = data
        _NUMBER.pack_into(self._memory, _LENGTH, length)
        _NUMBER.pack_into(self._memory, _POSITION, position)
        _NUMBER.pack_into(self._memory, _TELLING, 1)

    def told(self) -> None:
        """They have, and what followed from that is marked."""
        _NUMBER.pack_into(self._memory, _TELLING, 0)

    def untold(self) -> tuple[bytes, int]:
        """What was being told when the parent died, and its place."""
        if not _NUMBER.unpack_from(self._memory, _TELLING)[0]:
            return b"", -1
        length, position = (_NUMBER.unpack_from(self._memory, field)[0] for field in (_LENGTH, _POSITION))
        return self._memory[_BYTES : _BYTES + length], position

    def withdraw(self) -> None:
        """Nobody new is given it."""
        descriptor, self.descriptor = self.descriptor, -1
        _closed(descriptor)

    def close(self) -> None:
        self._memory.close()
        self.withdraw()


def _move_of(number: int) -> int:
    return _FRONT + number % _MOVES * _NUMBER.size


class Mark:
    """One child's record."""

    __slots__ = ("_memory", "_times", "_words")

    def __init__(self, memory: mmap.mmap, at: int) -> None:
        self._memory = memory
        record = memoryview(memory)[at : at + _RECORD]
        # A word is read and written whole, and by no call of a function.
        self._words = record.cast("q")
        self._times = record.cast("d")

    def clear(self) -> None:
        for field in range(_RECORD // _NUMBER.size):
            self._words[field] = 0

    # --- the child's

    def rise(self) -> None:
        self._words[_UP] = 1

    def begin(self, number: int, at: float) -> None:
        """The time first: who sees the number sees its time."""
        self._times[_SINCE] = at
        self._words[_RUNNING] = number

    def finish(self, done: int) -> None:
        self._words[_DONE] = done
        self._words[_RUNNING] = 0

    @property
    def released(self) -> int:
        return self._words[_RELEASED]

    @property
    def acknowledged(self) -> int:
        """For who has outlived the parent: the last batch whose messages have left the broker, or are about to."""
        if _NUMBER.unpack_from(self._memory, _TELLING)[0]:
            return max(self._words[_RELEASED], self._words[_PROMISED])
        return self._words[_RELEASED]

    def moved(self, number: int, times: int) -> bool:
        """Whether this job has gone to another so many times. To be asked soon: the place is another job's one day."""
        found: int = _NUMBER.unpack_from(self._memory, _move_of(number))[0]
        return found >> _HOPS == number and found & ((1 << _HOPS) - 1) >= times

    @property
    def recalled(self) -> int:
        return self._words[_RECALLED]

    @property
    def overdue(self) -> int:
        return self._words[_OVERDUE]

    @property
    def condemned(self) -> int:
        return self._words[_CONDEMNED]

    # --- the parent's

    @property
    def up(self) -> bool:
        return bool(self._words[_UP])

    @property
    def running(self) -> int:
        return self._words[_RUNNING]

    @property
    def since(self) -> float:
        return self._times[_SINCE]

    @property
    def done(self) -> int:
        return self._words[_DONE]

    def release(self, batch: int) -> None:
        self._words[_RELEASED] = batch

    def promise(self, batch: int) -> None:
        self._words[_PROMISED] = batch

    def recall(self, batch: int) -> None:
        self._words[_RECALLED] = batch

    def overrun(self, number: int) -> None:
        self._words[_OVERDUE] = number

    def condemn(self, number: int) -> None:
        self._words[_CONDEMNED] = number


class Journal:
    """What a child has done and not yet told, where it can be read when the child is dead: entries one after another.

    Its first eight bytes say how much of it counts, and are written last.
    """

    __slots__ = ("_memory", "_used", "descriptor")

    def __init__(self, *, shared: bool = False, given: int = -1) -> None:
        self._memory, self.descriptor = _memory(_JOURNAL, shared=shared, given=given)
        self._used = _NUMBER.size

    def add(self, entry: bytes) -> bool:
        """False: there is no room for it."""
        end = self._used + len(entry)
        if end > len(self._memory):
            return False
        self._memory[self._used : end] = entry
        self._used = end
        _NUMBER.pack_into(self._memory, 0, end)
        return True

    def clear(self) -> None:
        self._used = _NUMBER.size
        _NUMBER.pack_into(self._memory, 0, self._used)

    def read(self) -> bytes:
        """Everything that counts; for the one who outlived the writer."""
        return self._memory[_NUMBER.size : max(_NUMBER.unpack_from(self._memory, 0)[0], _NUMBER.size)]

    def close(self) -> None:
        self._memory.close()
        _closed(self.descriptor)


def _memory(size: int, *, shared: bool, given: int) -> tuple[mmap.mmap, int]:
    """Memory that forked children have too; its descriptor if others can have it by that (else -1)."""
    if given >= 0:
        memory = mmap.mmap(given, size)
        os.close(given)
        return memory, -1
    if not shared:
        return mmap.mmap(-1, size), -1
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("celeriac")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return mmap.mmap(descriptor, size), descriptor


def _closed(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
