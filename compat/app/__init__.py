"""Celery's app: the class `Celery`, its configuration, tasks and what they need."""
