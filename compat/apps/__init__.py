"""Celery's programs: worker, beat and multi as objects."""
