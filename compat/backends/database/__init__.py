"""Celery's database backend, its models and session."""
