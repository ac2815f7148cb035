"""Signed messages, under Celery's names."""
