"""tenant-schemas-celery: a task runs in the schema of the tenant for whom it was sent (django-tenants)."""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.conf import settings

place = urlsplit(os.environ["POSTGRES_URL"])
settings.configure(
    INSTALLED_APPS=["django_tenants", "django.contrib.contenttypes", "customers"],
    SHARED_APPS=["django_tenants", "django.contrib.contenttypes", "customers"],
    TENANT_APPS=["django.contrib.contenttypes"],
    TENANT_MODEL="customers.Client",
    TENANT_DOMAIN_MODEL="customers.Domain",
    DATABASE_ROUTERS=["django_tenants.routers.TenantSyncRouter"],
    DATABASES={
        "default": {
            "ENGINE": "django_tenants.postgresql_backend",
            "NAME": place.path[1:],
            "USER": place.username,
            "HOST": place.hostname,
            "PORT": place.port,
        }
    },
    USE_TZ=True,
    SECRET_KEY="x",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
MODELS = """
from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    name = models.CharField(max_length=100)


class Domain(DomainMixin):
    pass
"""
Path("customers").mkdir(exist_ok=True)
Path("customers", "__init__.py").touch()
Path("customers", "models.py").write_text(MODELS, encoding="utf-8")
sys.path.insert(0, ".")
django.setup()

import base  # noqa: E402 - Django comes first
from base import URL, WORKS, until, worker, write, written  # noqa: E402 - the same
from django.core.management import call_command  # noqa: E402 - the same
from django.db import connection  # noqa: E402 - the same
from django_tenants.utils import schema_context  # noqa: E402 - the same
from tenant_schemas_celery.app import CeleryApp  # noqa: E402 - the same

base.app = app = CeleryApp("proj", broker=f"{URL}/0", backend=f"{URL}/1")


@app.task
def where(word):
    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        write([word, connection.schema_name, cursor.fetchone()[0].split(",")[0].strip('"')])
    if word == "outer":
        where.delay("inner")
    return connection.schema_name


if __name__ == "__main__":
    if not WORKS:
        call_command("makemigrations", "customers", verbosity=0)
        call_command("migrate_schemas", "--shared", verbosity=0)
        from customers.models import Client

        for name in ("one", "two"):
            Client(schema_name=name, name=name).save(verbosity=0)
    with worker():
        with schema_context("one"):
            assert where.delay("outer").get(timeout=20) == "one"
        with schema_context("two"):
            assert where.delay("other").get(timeout=20) == "two"
        assert where.delay("none").get(timeout=20) == "public"
        until(lambda: len(written()) == 4)
    expected = [["inner", "one", "one"], ["none", "public", "public"], ["other", "two", "two"], ["outer", "one", "one"]]
    assert sorted(written()) == expected, written()
    print("fine")
