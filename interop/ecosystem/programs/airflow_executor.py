"""apache-airflow-providers-celery: its app, its worker and its task, and how its executor asks for states.

Without Airflow's scheduler and API there is no workload that can run: what is sent is one that the task refuses.
"""

import json
import os
from pathlib import Path

os.environ.update(
    AIRFLOW_HOME=str(Path("home").absolute()),
    AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CELERY__BROKER_URL=f"{os.environ['REDIS_URL']}/0",
    AIRFLOW__CELERY__RESULT_BACKEND=f"{os.environ['REDIS_URL']}/1",
)

import base
from airflow.providers.celery.executors import celery_executor_utils
from base import fails, worker

base.app = app = celery_executor_utils.app

if __name__ == "__main__":
    with worker("-Q", "default"):
        arguments = [json.dumps({"type": "NoSuchWorkload"})]
        sent = [app.send_task("execute_workload", arguments, queue="default") for _ in range(3)]
        assert all(fails(result, Exception) for result in sent)
        states = celery_executor_utils.BulkStateFetcher(2).get_many(sent)
        assert [states[result.task_id][0] for result in sent] == ["FAILURE"] * 3, states
        assert celery_executor_utils.fetch_celery_task_state(sent[0])[:2] == (sent[0].task_id, "FAILURE")
        assert "NoSuchWorkload" in sent[0].traceback
    print("fine")
