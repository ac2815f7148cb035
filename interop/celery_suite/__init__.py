"""Celery's own integration suite, downloaded and run on stock Celery and on celeriac side by side."""
