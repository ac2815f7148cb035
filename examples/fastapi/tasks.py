"""The app, and a task whose argument and result are models: Pydantic checks both."""

import os

from celery import Celery
from pydantic import BaseModel

app = Celery(
    "tasks",
    broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"),
    backend=os.environ.get("RESULT_BACKEND", "redis://127.0.0.1:6379/1"),
)


class Text(BaseModel):
    words: str


class Count(BaseModel):
    words: int
    letters: int


@app.task(pydantic=True)
def count(text: Text) -> Count:
    return Count(words=len(text.words.split()), letters=sum(map(str.isalpha, text.words)))
