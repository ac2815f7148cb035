"""The consumer's bootsteps under Celery's names."""
