"""The task that says that a worker is there."""

from ...app import shared_task


@shared_task(name="celery.ping")
def ping() -> str:
    """Answers."""
    return "pong"
