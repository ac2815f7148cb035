"""The tasks of the programs that watch tasks: one that is done, one that fails, one that is done at its second try."""

from base import app


@app.task
def add(x, y):
    return x + y


@app.task
def fail():
    raise ValueError("oh")


@app.task(bind=True)
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0.5)
    return "ok"
