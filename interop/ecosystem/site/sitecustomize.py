"""`celery` is celeriac in every program that has this folder on its path."""

from celeriac.compat.alias import install

install()
