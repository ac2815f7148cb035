"""The pages: one sends a task, one tells what became of it. `celery_app` is what a worker serves."""

from celery.result import AsyncResult
from flask import request
from tasks import create_app, greet

app = create_app()
celery_app = app.extensions["celery"]


@app.post("/greetings")
def start():
    return {"id": greet.delay(request.form["name"]).id}, 202


@app.get("/greetings/<id>")
def look(id):  # noqa: A002 - it is the URL's
    result = AsyncResult(id)
    return {"state": result.state, "greeting": result.result if result.successful() else None}
