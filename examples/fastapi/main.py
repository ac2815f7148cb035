"""The pages. Sending and looking up wait for the broker, so they are plain functions: FastAPI runs them in threads."""

from celery.result import AsyncResult
from fastapi import FastAPI
from tasks import Count, Text, app, count

api = FastAPI()


@api.post("/counts", status_code=202)
def start(text: Text) -> dict[str, str]:
    return {"id": count.delay(text.model_dump()).id}


@api.get("/counts/{id}")
def look(id: str) -> dict[str, str | Count | None]:  # noqa: A002 - it is the URL's
    result = AsyncResult(id, app=app)
    return {"state": result.state, "count": result.result if result.successful() else None}
