"""A folder for PYTHONPATH: in it `celery` is celeriac. `celeriac run` puts it there; the wheel `celery` is built of it.

Each file here is a top-level module for the programs that `celeriac run` starts: names must not be anybody else's.
"""
