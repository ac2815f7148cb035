"""Tasks that are sent when the database transaction is committed."""

from __future__ import annotations

import functools
from typing import Any

from django.db import transaction  # type: ignore[import-not-found,import-untyped,unused-ignore] # an extra

from ...app.task import Task


class DjangoTask(Task):  # type: ignore[misc,type-arg,unused-ignore] # of whatever it takes and returns
    """The base class of tasks in Django projects."""

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """`delay`, once the transaction is committed; at once outside of one."""
        transaction.on_commit(functools.partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """`apply_async`, once the transaction is committed; at once outside of one."""
        transaction.on_commit(functools.partial(self.apply_async, *args, **kwargs))
