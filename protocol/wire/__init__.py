"""Bytes to values and back, byte for byte as Celery 5.7 and kombu 5.7 write them. Knows nothing of `rules`."""
