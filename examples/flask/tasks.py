"""An app for Flask and Celery: tasks run within Flask's application context, as its documentation has it."""

import os

from celery import Celery, Task, shared_task
from flask import Flask, current_app


def create_app():
    app = Flask(__name__)
    app.config.from_mapping(
        GREETING="Hello",
        CELERY={
            "broker_url": os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"),
            "result_backend": os.environ.get("RESULT_BACKEND", "redis://127.0.0.1:6379/1"),
        },
    )
    celery_init_app(app)
    return app


def celery_init_app(app):
    class FlaskTask(Task):
        def __call__(self, *args, **kwargs):
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


@shared_task
def greet(name):
    return f"{current_app.config['GREETING']}, {name}!"
