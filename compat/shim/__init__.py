"""A folder for PYTHONPATH: in it `celery` is celeriac. `celeriac run` puts it there."""
