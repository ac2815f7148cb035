"""The worker under Celery's names, for bootsteps and packages."""
