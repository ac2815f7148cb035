"""`celery.task.schedules` of Celery 3."""

from ..schedules import crontab, crontab_parser, maybe_schedule, schedule

__all__ = ("crontab", "crontab_parser", "maybe_schedule", "schedule")
