"""Celery's pools by name, over worker/pools."""
