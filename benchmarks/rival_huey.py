"""The tasks of the run as huey's: its worker loads this; as a program it sends."""

import os

import rival_sending
from huey import RedisHuey

huey = RedisHuey("bench", url=os.environ["BROKER"], results=False)


@huey.task()
def add(x, y):
    return x + y


@huey.task()
def mark(path, number):
    rival_sending.note(path, number)


if __name__ == "__main__":
    import rival_huey  # under the name by which the worker knows its tasks

    rival_sending.main(rival_huey.add, rival_huey.mark)
