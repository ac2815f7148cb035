"""The tasks of the run as dramatiq's: its worker loads this; as a program it sends."""

import os

import dramatiq
import rival_sending
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BROKER"]))


@dramatiq.actor
def add(x, y):
    return x + y


@dramatiq.actor
def mark(path, number):
    rival_sending.note(path, number)


if __name__ == "__main__":
    rival_sending.main(add.send, mark.send)
