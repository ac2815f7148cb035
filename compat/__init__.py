"""Celery's names and shapes; no policy. Imports worker and protocol."""
