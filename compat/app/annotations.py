"""The `task_annotations` setting: attributes of tasks that the configuration sets.

An annotation is a mapping from names of tasks (`"*"`: all) to attributes, or an object with `annotate(task)` and
`annotate_any()`, or the path of a class of such objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...protocol.hints import Any

__all__ = ("MapAnnotation", "prepare", "resolve_all")


class MapAnnotation(dict[str, Any]):
    """An annotation written as a mapping."""

    def annotate_any(self) -> dict[str, Any] | None:
        return dict(self["*"]) if "*" in self else None

    def annotate(self, task: Any) -> dict[str, Any] | None:
        return dict(self[task.name]) if task.name in self else None


def prepare(annotations: Any) -> Sequence[Any]:
    """The setting as a sequence of annotations. A class named by a path is loaded when it is first needed."""
    if annotations is None:
        return ()
    if not isinstance(annotations, (list, tuple)):
        annotations = (annotations,)
    return [_expanded(annotation) for annotation in annotations]


def _expanded(annotation: Any) -> Any:
    if isinstance(annotation, Mapping):
        return MapAnnotation(annotation)
    if isinstance(annotation, str):
        from ..utils.functional import mlazy
        from ..utils.imports import instantiate

        return mlazy(instantiate, annotation)
    return annotation


def resolve_all(anno: Sequence[Any], task: Any) -> Iterator[dict[str, Any]]:
    """What applies to this task: the first annotation that knows it, and the first that is for all."""
    from ..utils.functional import firstmethod

    found = (firstmethod("annotate")(anno, task), firstmethod("annotate_any")(anno))
    return (attributes for attributes in found if attributes)
