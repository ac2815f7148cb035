"""Sending, receiving and remembering events, under Celery's names."""
