"""Celery's result backends: its names over the stores of worker/backends."""
