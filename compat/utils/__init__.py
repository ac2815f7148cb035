"""What packages import from `celery.utils`."""
