"""Has Sphinx document tasks: `extensions = ["celery.contrib.sphinx"]`, then `autotask` and `:task:`."""

from __future__ import annotations

import warnings
from inspect import signature
from typing import Any

from docutils import nodes  # type: ignore[import-not-found,import-untyped,unused-ignore] # comes with Sphinx
from sphinx.domains.python import (  # type: ignore[import-not-found,unused-ignore] # whoever uses it has it
    PyFunction,
    PyXRefRole,
)
from sphinx.ext.autodoc import FunctionDocumenter  # type: ignore[import-not-found,unused-ignore] # as above

from ..app.task import Task

__all__ = ("TaskDirective", "TaskDocumenter", "autodoc_skip_member_handler", "setup")


def _is_task(obj: Any) -> bool:
    return isinstance(obj, Task) and getattr(obj, "__wrapped__", None) is not None


class TaskDocumenter(FunctionDocumenter):  # type: ignore[misc,unused-ignore] # Sphinx may be missing
    """Documents a task by its function."""

    objtype = "task"
    member_order = 11

    @classmethod
    def can_document_member(cls, member: Any, membername: str, isattr: bool, parent: Any) -> bool:
        return _is_task(member)

    def format_args(self, **kwargs: Any) -> str:
        """The parameters that callers give."""
        wrapped = getattr(self.object, "__wrapped__", None)
        if wrapped is None:
            return ""
        found = signature(wrapped)
        if {"self", "cls"} & set(found.parameters):
            found = found.replace(parameters=list(found.parameters.values())[1:])
        return str(found)

    def document_members(self, all_members: bool = False) -> None:
        """A task has none."""

    def check_module(self) -> bool:
        wrapped = getattr(self.object, "__wrapped__", None)
        if wrapped is not None and wrapped.__module__ == self.modname:
            return True
        return super().check_module()  # type: ignore[no-any-return,unused-ignore] # as above


class TaskDirective(PyFunction):  # type: ignore[misc,unused-ignore] # as above
    """Shows the prefix before the name."""

    def get_signature_prefix(self, sig: str) -> list[Any]:
        return [nodes.Text(self.env.config.celery_task_prefix)]


def autodoc_skip_member_handler(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Tasks are not skipped."""
    return False if skip and _is_task(obj) else None


def setup(app: Any) -> dict[str, Any]:
    """What Sphinx calls."""
    import sphinx  # type: ignore[import-not-found,unused-ignore] # as above

    app.setup_extension("sphinx.ext.autodoc")
    major = int(sphinx.__version__.partition(".")[0])
    if major >= 9 and not getattr(app.config, "autodoc_use_legacy_class_based", False):
        warnings.warn(
            "celery.contrib.sphinx needs autodoc_use_legacy_class_based = True in conf.py with Sphinx 9: set for you.",
            UserWarning,
            stacklevel=2,
        )
        app.config.autodoc_use_legacy_class_based = True
    app.add_autodocumenter(TaskDocumenter)
    app.add_directive_to_domain("py", "task", TaskDirective)
    app.add_role_to_domain("py", "task", PyXRefRole(fix_parens=True))
    app.add_config_value("celery_task_prefix", "(task)", True)
    app.connect("autodoc-skip-member", autodoc_skip_member_handler)
    return {"parallel_read_safe": True}
