"""What steps and other packages find on a running worker: every attribute that stock Celery's has there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What `dir` tells of both in a step of a running solo worker of Celery 5.7.0.
CONSUMER = """
    Blueprint Strategies add_task_queue amqheartbeat amqheartbeat_rate app apply_eta_task blueprint
    broker_connection_retry_attempt bucket_for_task call_soon call_soon_ack cancel_active_requests
    cancel_task_queue channel_errors connect connection connection_errors connection_for_read
    connection_for_write conninfo controller create_task_handler disable_rate_limits ensure_connected
    event_dispatcher first_connection_attempt gossip heart hostname hub init_callback initial_prefetch_count
    loop loop_args max_prefetch_count on_close on_connection_error_after_connected
    on_connection_error_before_connected on_decode_error on_invalid_task on_ready on_send_event_buffered
    on_task_message on_task_request on_unknown_message on_unknown_task perform_pending_operations pid pool
    prefetch_multiplier qos qos_global register_with_event_loop reset_rate_limits restart_count shutdown start
    steps stop strategies task_buckets task_consumer timer timer_entries_before_start timer_entries_registered
    update_strategies
"""
CONTROLLER = """
    Blueprint app autoscale autoscaler autoscaler_cls beat blueprint colored concurrency consumer consumer_cls
    disable_rate_limits emit_banner exitcode extra_info hostname hub include info install_platform_tweaks
    logfile loglevel macOS_proxy_detection_workaround max_concurrency max_memory_per_child max_tasks_per_child
    min_concurrency no_color on_after_init on_before_init on_close on_consumer_ready on_init_blueprint on_start
    on_stopped optimization options pidfile pidlock pool pool_cls pool_putlocks pool_restarts pool_start_method
    prefetch_multiplier prepare_args process_task purge purge_messages quiet ready_callback redirect_stdouts
    redirect_stdouts_level register_with_event_loop reload rusage schedule_filename scheduler semaphore
    set_process_status setup_defaults setup_includes setup_instance setup_logging setup_queues
    should_use_eventloop signal_consumer_close soft_time_limit start startup_info startup_time state statedb
    stats steps stop task_events tasklist terminate time_limit timer timer_cls timer_precision use_eventloop
    wait_for_soft_shutdown worker_lost_wait
"""

PROGRAM = """
import os, sys
import celeriac
celeriac.install()
from celery import Celery, bootsteps

app = Celery("seen", broker="memory://")
consumer, controller = sys.argv[1].split(), sys.argv[2].split()

class Look(bootsteps.StartStopStep):
    requires = {"celery.worker.consumer.tasks:Tasks", "celery.worker.consumer.heart:Heart"}

    def start(self, c):
        missing = [name for name in consumer if not hasattr(c, name)]
        missing += [name for name in controller if not hasattr(c.controller, name)]
        assert c.heart is not None
        print("missing:", missing, file=sys.__stdout__, flush=True)
        os._exit(0)

app.steps["consumer"].add(Look)
app.worker_main(["worker", "-P", "solo", "-l", "ERROR"])
"""


def test_what_stocks_worker_has_ours_has(tmp_path: Path) -> None:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("CELERY", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, CONSUMER, CONTROLLER],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "missing: []" in done.stdout, done.stdout + done.stderr
