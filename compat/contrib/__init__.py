"""Celery's contributed modules."""
