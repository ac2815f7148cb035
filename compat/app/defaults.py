"""Every setting: its name, type, default, old names, what it does, and whether celeriac does it.

Law: this table is the one place that knows a setting. The configuration, its validation, the documentation and
`celeriac doctor` read it; to add a setting is to add a row. Nothing heavy is imported here: each app reads it first.
"""

from __future__ import annotations

from collections import deque, namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

from ...protocol.hints import Any
from ...protocol.moments import timedelta

__all__ = ("NAMESPACES", "Option", "find", "flatten")

DEFAULT_POOL = "prefork"
DEFAULT_ACCEPT_CONTENT = ("json",)
DEFAULT_PROCESS_LOG_FMT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
DEFAULT_TASK_LOG_FMT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"
DEFAULT_SECURITY_DIGEST = "sha256"

OLD_NS = {"celery_{0}"}
OLD_NS_BEAT = {"celerybeat_{0}"}
OLD_NS_WORKER = {"celeryd_{0}"}

HONOURED, IGNORED, UNSUPPORTED = "honoured", "ignored", "unsupported"


def Namespace(__old__: Iterable[str] | None = None, **options: Any) -> dict[str, Any]:
    """The settings that share a prefix; `__old__` are patterns of their names before Celery 4."""
    for key, option in options.items() if __old__ is not None else ():
        if not option.old:
            option.old = {pattern.format(key) for pattern in __old__ or ()}
    return options


def old_ns(ns: str) -> set[str]:
    return {f"{ns}_{{0}}"}


def _boolean(value: Any) -> Any:
    from ..utils.serialization import strtobool

    return strtobool(value)


def _as_it_is(value: Any) -> Any:
    return value


class Option:
    """One setting.

    `ignored` says why celeriac has no use for it, `unsupported` what to do instead of it; with neither it is honoured.
    `own` is a setting that Celery does not have, `choices` are the values that it may have, `also` are types of
    values beside those that `type` names.
    """

    alt: str | None = None
    deprecate_by: str | None = None
    remove_by: str | None = None
    old: set[str] = set()
    typemap: Mapping[Any, Callable[[Any], Any]] = {
        "string": str,
        "int": int,
        "float": float,
        "any": _as_it_is,
        "bool": _boolean,
        "dict": dict,
        "tuple": tuple,
        "list": list,
        "str": str,
        "bytes": _as_it_is,
        int: int,
    }
    help: str = ""
    ignored: str | None = None
    unsupported: str | None = None
    own: bool = False
    choices: tuple[Any, ...] | None = None
    also: tuple[type, ...] = ()
    signed: bool = False

    def __init__(self, default: Any = None, *args: Any, **kwargs: Any) -> None:
        self.default = default
        self.type: Any = kwargs.get("type") or "string"
        self.__dict__.update(kwargs)

    def to_python(self, value: Any) -> Any:
        return self.typemap[self.type](value)

    @property
    def support(self) -> str:
        return UNSUPPORTED if self.unsupported else IGNORED if self.ignored else HONOURED

    @property
    def advice(self) -> str:
        """Why it has no effect, and what to do."""
        return self.unsupported or self.ignored or ""

    def __repr__(self) -> str:
        return f"<Option: type->{self.type} default->{self.default!r}>"


def _typed(type: str) -> Callable[..., Option]:
    def option(default: Any, help: str, **kwargs: Any) -> Option:
        made = Option.__new__(Option)  # there are hundreds of them
        made.default, made.type, made.help = default, type, help
        if kwargs:
            made.__dict__.update(kwargs)
        return made

    return option


_any, _bool, _dict, _list, _tuple = _typed("any"), _typed("bool"), _typed("dict"), _typed("list"), _typed("tuple")
_int, _float, _text = _typed("int"), _typed("float"), _typed("string")

_AZURE = "Azure's own library tries again by a policy of its own; Celery reads it nowhere either"
_STRAIGHT = "a result goes straight to the queue of who asked, whatever it says, in Celery too"

NAMESPACES: dict[str, Any] = Namespace(
    accept_content=_list(
        DEFAULT_ACCEPT_CONTENT, "Content types and serializers that are read; all others are refused.", old=OLD_NS
    ),
    result_accept_content=_list(None, "The same for results, where they differ from `accept_content`."),
    enable_utc=_bool(True, "Dates in messages are in UTC; otherwise in `timezone`."),
    imports=_tuple((), "Modules that the worker imports when it starts.", old=OLD_NS),
    include=_tuple((), "The same, as `Celery(include=...)` sets it.", old=OLD_NS),
    timezone=_text(None, "Name of the zone that times are shown and scheduled in; UTC if unset.", old=OLD_NS),
    beat=Namespace(
        __old__=OLD_NS_BEAT,
        enable_remote_control=_bool(False, "Beat answers remote control commands."),
        remote_control_max_tick_age=_float(None, "Seconds without a tick after which beat does not answer any more."),
        max_loop_interval=_float(0, "The longest that beat sleeps, in seconds; 0: what the scheduler likes."),
        schedule=_dict({}, "What is sent when: a name to a task, its schedule, arguments and options."),
        scheduler=_text("celery.beat:PersistentScheduler", "Class of the scheduler."),
        schedule_filename=_text("celerybeat-schedule", "Where the scheduler keeps when it last sent what."),
        sync_every=_int(0, "After so many sent tasks the schedule is saved; 0: by time."),
        cron_starting_deadline=_int(None, "A crontab missed by more seconds than this is not made up for.", type=int),
    ),
    broker=Namespace(
        url=_text(
            None,
            "Where the broker is. Several, in a list or apart by semicolons, are tried in turn.",
            also=(list, tuple),
        ),
        read_url=_text(None, "The same for consuming, where it differs.", also=(list, tuple)),
        write_url=_text(None, "The same for sending, where it differs.", also=(list, tuple)),
        transport=_text(None, "Name of the transport, for a broker that is given without a URL."),
        transport_options=_dict({}, "Options of this transport alone."),
        connection_timeout=_float(4, "Seconds until an attempt to connect is given up."),
        connection_retry=_bool(True, "A worker that lost its broker connects anew."),
        connection_retry_on_startup=_bool(None, "The same at start; as `broker_connection_retry` if unset."),
        connection_max_retries=_int(100, "Attempts to connect anew; None or 0: for ever."),
        channel_error_retry=_bool(
            False,
            "An error of a channel counts as one of the connection.",
            ignored="a worker always connects anew after an error of a channel",
        ),
        failover_strategy=_text(
            None, "In which order several URLs are tried: round-robin, shuffle, or a function.", also=(object,)
        ),
        heartbeat=_int(120, "Seconds within which a broker must show life; 0: no heartbeat."),
        heartbeat_checkrate=_int(
            3.0,
            "How many looks at the heartbeat there are in one interval.",
            ignored="each connection looks as often as its protocol asks for",
        ),
        login_method=_text(None, "The SASL mechanism of AMQP."),
        native_delayed_delivery_queue_type=_text("quorum", "Type of the queues that RabbitMQ delays messages with."),
        pool_limit=_int(10, "Connections that senders hold open at most; None: each send its own."),
        pool_acquire_timeout=_float(None, "Seconds that a sender waits for one of them; None: without end."),
        use_ssl=_any(False, "TLS: True, or its options.", type="bool", also=(dict,)),
        host=_text(None, "Host of the broker, where there is no URL."),
        port=_int(None, "Its port."),
        user=_text(None, "Name to log in with."),
        password=_text(None, "Password to log in with."),
        vhost=_text(None, "Its virtual host or database."),
    ),
    cache=Namespace(
        __old__=old_ns("celery_cache"),
        backend=_text(None, "URL of the cache that results are kept in."),
        backend_options=_dict({}, "Options of the memcached client."),
    ),
    cassandra=Namespace(
        entry_ttl=_float(None, "Seconds that Cassandra keeps a result."),
        keyspace=_text(None, "The keyspace of results."),
        port=_text(None, "Port of the servers."),
        read_consistency=_text(None, "Consistency level of reads."),
        servers=_list(None, "Hosts of the cluster."),
        bundle_path=_text(None, "The secure connect bundle of a cluster in the cloud."),
        table=_text(None, "The table of results."),
        write_consistency=_text(None, "Consistency level of writes."),
        auth_provider=_text(None, "Class in cassandra.auth that logs in."),
        auth_kwargs=_text(None, "Arguments of that class.", also=(dict,)),
        options=_dict({}, "Options of the cluster."),
    ),
    s3=Namespace(
        access_key_id=_text(None, "Access key of the bucket of results."),
        secret_access_key=_text(None, "Its secret."),
        bucket=_text(None, "Name of the bucket."),
        base_path=_text(None, "What its keys begin with."),
        endpoint_url=_text(None, "Where the service is, if not at AWS."),
        region=_text(None, "Region of the bucket."),
    ),
    azureblockblob=Namespace(
        container_name=_text("celery", "The container of results."),
        retry_initial_backoff_sec=_int(2, "First wait before a request is repeated.", ignored=_AZURE),
        retry_increment_base=_int(2, "By what the wait grows.", ignored=_AZURE),
        retry_max_attempts=_int(3, "How often a request is repeated.", ignored=_AZURE),
        base_path=_text("", "What the names of blobs begin with."),
        connection_timeout=_int(20, "Seconds for connecting."),
        read_timeout=_int(120, "Seconds for an answer."),
    ),
    gcs=Namespace(
        bucket=_text(None, "Name of the bucket of results."),
        project=_text(None, "Project of the bucket."),
        base_path=_text("", "What its names begin with."),
        ttl=_float(0, "Seconds that a result is kept; 0: for ever."),
    ),
    control=Namespace(
        queue_ttl=_float(300.0, "Seconds that a remote control command waits for a worker."),
        queue_expires=_float(10.0, "Seconds that an unused queue of remote control is kept."),
        queue_exclusive=_bool(True, "Only the worker itself consumes from its queue of remote control."),
        queue_durable=_bool(False, "That queue outlives the broker's restart."),
        exchange=_text("celery", "What the exchanges of remote control are named after."),
    ),
    couchbase=Namespace(
        __old__=old_ns("celery_couchbase"), backend_settings=_dict(None, "Host, bucket and login of Couchbase.")
    ),
    arangodb=Namespace(
        __old__=old_ns("celery_arangodb"), backend_settings=_dict(None, "Host, database and login of ArangoDB.")
    ),
    mongodb=Namespace(
        __old__=old_ns("celery_mongodb"), backend_settings=_dict(None, "Database, collections and options of MongoDB.")
    ),
    cosmosdbsql=Namespace(
        database_name=_text("celerydb", "The database of results."),
        collection_name=_text("celerycol", "The collection of results."),
        consistency_level=_text("Session", "Consistency level of requests."),
        max_retry_attempts=_int(9, "How often a request is repeated."),
        max_retry_wait_time=_int(30, "Seconds that repeating may take."),
    ),
    event=Namespace(
        __old__=old_ns("celery_event"),
        queue_expires=_float(60.0, "Seconds that a monitor's queue is kept when the monitor is gone."),
        queue_ttl=_float(5.0, "Seconds that an event waits for a monitor."),
        queue_prefix=_text("celeryev", "What the queues of monitors are named after."),
        queue_exclusive=_bool(True, "Only the monitor itself consumes from its queue."),
        queue_durable=_bool(False, "That queue outlives the broker's restart."),
        serializer=_text("json", "Serializer of events."),
        exchange=_text("celeryev", "The exchange of events."),
    ),
    redis=Namespace(
        __old__=old_ns("celery_redis"),
        backend_use_ssl=_dict(None, "TLS options of the result store."),
        db=_int(None, "Database of the result store, where its URL names none."),
        host=_text(None, "Its host."),
        max_connections=_int(None, "Connections to it at most."),
        username=_text(None, "Name to log in with."),
        password=_text(None, "Password to log in with."),
        port=_int(None, "Its port."),
        socket_timeout=_float(120.0, "Seconds for an answer."),
        socket_connect_timeout=_float(None, "Seconds for connecting."),
        retry_on_timeout=_bool(
            False,
            "What timed out is tried again.",
            ignored="it always is, by the retry_policy in result_backend_transport_options, if that does it once",
        ),
        socket_keepalive=_bool(False, "TCP looks whether the other side is alive."),
    ),
    result=Namespace(
        __old__=old_ns("celery_result"),
        backend=_text(None, "Where results are kept; none are if unset."),
        cache_max=_int(
            -1, "Results that a client remembers; -1: none, 0: all.", old={"celery_max_cached_results"}, signed=True
        ),
        compression=_text(None, "Compression of results.", type="str"),
        exchange=_text("celeryresults", "The exchange of results, for stores that send.", ignored=_STRAIGHT),
        exchange_type=_text("direct", "Type of that exchange.", ignored=_STRAIGHT),
        expires=_float(
            timedelta(days=1),
            "How long a result is kept: a time span or seconds; 0 or None: for ever.",
            old={"celery_task_result_expires"},
        ),
        chord_expires=_float(None, "The same for what a chord counts with."),
        failure_expires=_float(None, "The same for failures."),
        persistent=_bool(None, "Result messages outlive the broker's restart."),
        extended=_bool(False, "A result tells its task's name, arguments, worker, retries and queue too."),
        serializer=_text("json", "Serializer of results."),
        backend_transport_options=_dict({}, "Options of this kind of result store alone."),
        chord_retry_interval=_float(1.0, "Seconds between two looks at a chord, on stores that cannot count."),
        chord_join_timeout=_float(3.0, "Seconds for fetching the results that a chord's body is given."),
        backend_max_sleep_between_retries_ms=_int(10000, "The longest wait before a store is asked again."),
        backend_max_retries=_float(float("inf"), "How often it is asked again."),
        backend_base_sleep_between_retries_ms=_int(10, "The first wait before it is asked again."),
        backend_always_retry=_bool(False, "A store that fails is asked again."),
    ),
    elasticsearch=Namespace(
        __old__=old_ns("celery_elasticsearch"),
        retry_on_timeout=_bool(None, "What timed out is tried again."),
        max_retries=_int(None, "How often."),
        timeout=_float(None, "Seconds for an answer."),
        save_meta_as_text=_bool(True, "A result is one text, not a document with fields."),
    ),
    security=Namespace(
        __old__=old_ns("celery_security"),
        certificate=_text(None, "The certificate that messages are signed with."),
        cert_store=_text(None, "Pattern of the files of trusted certificates."),
        key=_text(None, "File of the private key."),
        key_password=_text(None, "Password of that file.", type="bytes"),
        digest=_text(DEFAULT_SECURITY_DIGEST, "The digest that is signed."),
    ),
    database=Namespace(
        url=_text(None, "URL of the database of results.", old={"celery_result_dburi"}),
        engine_options=_dict(
            {"pool_pre_ping": True, "pool_recycle": 3600},
            "Options of SQLAlchemy's engine.",
            old={"celery_result_engine_options"},
        ),
        engine_callback=_any(None, "Is called with the new engine."),
        short_lived_sessions=_bool(
            False, "Each query has a session of its own.", old={"celery_result_db_short_lived_sessions"}
        ),
        table_schemas=_dict(None, "Schemas of the tables of results and of groups."),
        table_names=_dict(None, "Names of these tables.", old={"celery_result_db_tablenames"}),
        create_tables_at_setup=_bool(
            True, "The tables are created at start.", ignored="they are created when the store is first used"
        ),
    ),
    task=Namespace(
        __old__=OLD_NS,
        acks_late=_bool(False, "A message is settled when its task has ended, not when it begins."),
        acks_on_failure_or_timeout=_bool(
            True,
            "With late acks, a task that failed or ran out of time is settled too.",
            deprecate_by="6.0",
            remove_by="7.0",
            alt="task_acks_on_failure and task_acks_on_timeout",
        ),
        acks_on_failure=_bool(None, "With late acks, a task that failed is settled too."),
        acks_on_timeout=_bool(None, "With late acks, a task that ran out of time is settled too."),
        always_eager=_bool(False, "Tasks run at once, where they are called."),
        annotations=_any(None, "Attributes of tasks that the configuration sets, by name of the task."),
        compression=_text(None, "Compression of task messages.", old={"celery_message_compression"}),
        create_missing_queues=_bool(True, "A queue that is not in `task_queues` is declared when it is used."),
        create_missing_queue_type=_text("classic", "Its type."),
        create_missing_queue_exchange_type=_text(None, "Type of its exchange."),
        inherit_parent_priority=_bool(False, "A task sent by another has that one's priority."),
        default_delivery_mode=_text(2, "Messages outlive the broker's restart: persistent, or transient."),
        default_queue=_text("celery", "The queue of tasks that are routed nowhere."),
        default_queue_type=_text("classic", "Its type."),
        default_exchange=_text(None, "Its exchange; named as the queue if unset."),
        default_exchange_type=_text("direct", "Type of its exchange."),
        default_routing_key=_text(None, "Its routing key; named as the queue if unset."),
        default_rate_limit=_text(None, "Rate limit of tasks that have none."),
        default_priority=_text(None, "Priority of tasks that have none."),
        eager_propagates=_bool(
            False, "An eager task raises what it failed with.", old={"celery_eager_propagates_exceptions"}
        ),
        ignore_result=_bool(False, "Results are not kept."),
        store_eager_result=_bool(False, "Results of eager tasks are kept too."),
        protocol=_int(2, "Version of task messages: 1 or 2.", old={"celery_task_protocol"}, choices=(1, 2)),
        publish_retry=_bool(True, "A send that failed is tried again.", old={"celery_task_publish_retry"}),
        publish_retry_policy=_dict(
            {"max_retries": 3, "interval_start": 0, "interval_max": 1, "interval_step": 0.2},
            "How often, and after which waits.",
            old={"celery_task_publish_retry_policy"},
        ),
        queues=_any(
            None,
            "The queues that workers consume from: names, kombu queues, or a table.",
            type="dict",
            also=(list, tuple, set),
        ),
        queue_max_priority=_int(None, "The highest priority of queues that name none."),
        reject_on_worker_lost=_bool(None, "With late acks, a task whose process died goes back to its queue."),
        retry_on_worker_lost=_bool(False, "A task whose process died is retried, as often as it may be."),
        remote_tracebacks=_bool(False, "What a result raises shows where it was raised."),
        repr_maxlevels=_int(3, "How deep arguments are shown in messages and logs."),
        routes=_any(None, "Which task goes to which queue."),
        send_sent_event=_bool(False, "Who sends a task tells monitors.", old={"celery_send_task_sent_event"}),
        serializer=_text("json", "Serializer of task messages.", old={"celery_task_serializer"}),
        soft_time_limit=_float(
            None, "Seconds after which SoftTimeLimitExceeded is raised.", old={"celeryd_task_soft_time_limit"}
        ),
        time_limit=_float(None, "Seconds after which a task is ended.", old={"celeryd_task_time_limit"}),
        store_errors_even_if_ignored=_bool(False, "Failures are kept even where results are not."),
        track_started=_bool(False, "A task that has begun is STARTED."),
        allow_error_cb_on_chord_header=_bool(False, "An errback of a chord is linked to its header too."),
    ),
    worker=Namespace(
        __old__=OLD_NS_WORKER,
        agent=_text(
            None, "An actor of the cell library in the worker.", unsupported="cell is not maintained; take it out"
        ),
        autoscaler=_text("celery.worker.autoscale:Autoscaler", "Class that decides how many processes there are."),
        cancel_long_running_tasks_on_connection_loss=_bool(
            False, "Late tasks that run when the connection is lost are cancelled."
        ),
        soft_shutdown_timeout=_float(0.0, "Seconds that running tasks have between a warm and a cold shutdown."),
        enable_soft_shutdown_on_idle=_bool(False, "That time is waited for even when nothing runs."),
        concurrency=_any(None, "How many tasks run at once; as many as there are CPUs if unset or 'auto'."),
        consumer=_text(
            "celery.worker.consumer:Consumer",
            "Class of the consumer.",
            unsupported="add steps with app.steps['consumer'].add(...)",
        ),
        direct=_bool(False, "Each worker consumes from a queue of its own too.", old={"celery_worker_direct"}),
        disable_rate_limits=_bool(False, "Rate limits are not kept.", old={"celery_disable_rate_limits"}),
        deduplicate_successful_tasks=_bool(
            False, "A late task that is delivered again is not run again if it has succeeded."
        ),
        enable_remote_control=_bool(
            True, "The worker obeys remote control commands.", old={"celery_enable_remote_control"}
        ),
        hijack_root_logger=_bool(True, "The worker replaces the handlers of the root logger."),
        log_color=_bool(None, "Log lines are coloured; if unset, on a terminal."),
        log_datefmt=_text(None, "Format of dates in the log."),
        log_format=_text(DEFAULT_PROCESS_LOG_FMT, "Format of lines of the log."),
        lost_wait=_float(
            10.0,
            "Seconds that the result of a process that died is waited for.",
            old={"celeryd_worker_lost_wait"},
            ignored="what a process had done before it died is in memory that it shares: nothing is waited for",
        ),
        max_memory_per_child=_int(None, "Kilobytes after which a process is replaced by a new one."),
        max_tasks_per_child=_int(None, "Tasks after which a process is replaced by a new one."),
        pool=_text(DEFAULT_POOL, "Where tasks run: prefork, threads, solo, asyncio, gevent, eventlet, or a class."),
        pool_putlocks=_bool(
            True,
            "Tasks wait for a free process before they are handed out.",
            ignored="a worker never takes more than it has free places and prefetch for",
        ),
        pool_restarts=_bool(False, "The remote control command pool_restart is allowed."),
        pool_start_method=_text(
            "fork",
            "How processes of the prefork pool begin; unset, 'spawn' on macOS.",
            choices=("fork", "spawn"),
        ),
        proc_alive_timeout=_float(4.0, "Seconds that a new process has until it shows life."),
        prefetch_multiplier=_int(4, "Messages taken in advance for each place in the pool; 0: without limit."),
        eta_task_limit=_int(None, "Messages of tasks for later that a worker holds at most."),
        enable_prefetch_count_reduction=_bool(
            True,
            "After the connection was lost, less is prefetched until what ran has ended.",
            ignored="what still runs always counts against the prefetch",
        ),
        disable_prefetch=_bool(False, "A message is taken only when there is a free place in the pool."),
        redirect_stdouts=_bool(True, "What tasks print goes to the log.", old={"celery_redirect_stdouts"}),
        redirect_stdouts_level=_text("WARNING", "At which level.", old={"celery_redirect_stdouts_level"}),
        send_task_events=_bool(False, "The worker tells monitors what its tasks do.", old={"celery_send_events"}),
        state_db=_text(None, "File that revoked tasks and the clock are kept in."),
        task_log_datefmt=_text(None, "Format of dates in the log of tasks."),
        task_log_format=_text(DEFAULT_TASK_LOG_FMT, "Format of lines in the log of tasks."),
        timer=_text(None, "Class of the worker's timer.", unsupported="the worker has one timer; take it out"),
        timer_precision=_float(
            1.0, "The longest sleep of the worker's timer.", ignored="the worker wakes when something is due"
        ),
        detect_quorum_queues=_bool(
            True,
            "Quorum queues are consumed from without a global prefetch.",
            ignored="they always are, and each queue's type is looked at",
        ),
    ),
)

_PROFILES = ("compatible", "safe")

# What Celery does not have. It is in no old namespace: there never was an old name of it.
_OWN: dict[str, dict[str, Option]] = {
    "celeriac": Namespace(
        profile=_text(
            "compatible",
            "'safe' sets other defaults: late acks, redelivery when a worker is lost, lasting revokes, common limits.",
            choices=_PROFILES,
        ),
        strict_settings=_bool(False, "A setting that is unknown or wrong stops the start, instead of being logged."),
    ),
    "beat": Namespace(
        lease_url=_text(
            None, "Redis or database (db+postgresql://...) where leased beats agree who leads; the broker if a Redis."
        ),
        lease_name=_text("celeriac-beat", "Beats with this name are one leader and its spares."),
        lease_ttl=_float(10.0, "Seconds until a spare takes over from a leader that is gone."),
        missed=_text(
            "once",
            "Ticks for which there was no leader: 'once' makes up for all by one, 'each' sends all of them.",
            choices=("once", "each"),
        ),
        missed_deadline=_float(None, "Missed ticks that are older, in seconds, are left out; None: none are."),
    ),
    "broker": Namespace(
        confirm=_bool(True, "A send to RabbitMQ returns when the broker has the message."),
        management_url=_text(
            None,
            "URL of RabbitMQ's management plugin, for what shows queues; None: its usual port; '': it is not asked.",
        ),
    ),
    "result": Namespace(
        queue_per_task=_bool(
            False, "rpc:// answers who names no queue in one of the task's own, where gocelery and Node's clients look."
        ),
    ),
    "task": Namespace(
        send_timestamp=_bool(
            False, "A message says when it was sent, in AMQP's property `timestamp`: so the age of what waits is known."
        ),
        queue_protocols=_dict({}, "Queues with the version of messages that their readers know: {'go': 1}."),
    ),
    "worker": Namespace(
        json_logs=_bool(False, "Each log line is one JSON object, with the ids of the task and of its root."),
        health=_text(None, "Where /livez, /readyz and /metrics are served: 'host:port' or 'unix:/path'."),
        dead_queue=_text(
            ".dead", "Where messages go that cannot be run: a suffix that begins with a dot, or a queue; '': nowhere."
        ),
        max_deliveries=_int(
            10, "A message that was lost with its worker so often goes to the dead queue; None: never."
        ),
        unknown_task=_text(
            "fail", "What becomes of a task that the worker does not know.", choices=("fail", "requeue")
        ),
        unknown_task_delay=_float(10.0, "Seconds until a task that nobody knew is looked at again."),
        unknown_task_retries=_int(6, "How often it is looked at again before it goes to the dead queue."),
        eta_horizon=_float(60.0, "Tasks for later than so many seconds wait in the broker; None: all in the worker."),
        lasting_revokes=_bool(False, "Revokes are kept in the broker's Redis, and outlive all workers."),
        common_rate_limits=_bool(False, "A rate limit counts for all workers together."),
    ),
}
for _name, _options in _OWN.items():
    for _option in _options.values():
        _option.own = True
    NAMESPACES.setdefault(_name, {}).update(_options)

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "compatible": {},
    "safe": {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_lasting_revokes": True,
        "worker_common_rate_limits": True,
    },
}
"""Defaults that a profile sets instead of those in the table."""


@cache
def _searchresult() -> Any:
    """The shape in which Celery finds settings. To make such a class takes 0.1 ms."""
    return namedtuple("searchresult", ("namespace", "key", "type"))  # noqa: PYI024  # it is what Celery returns


def __getattr__(name: str) -> Any:
    if name == "searchresult":
        return _searchresult()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _flatten_keys(ns: str, key: str, opt: Option) -> list[tuple[str, Option]]:
    return [(ns + key, opt)]


def flatten(
    d: Mapping[str, Any], root: str = "", keyfilter: Callable[[str, str, Option], Iterable[Any]] = _flatten_keys
) -> Iterator[Any]:
    """The full names of settings with their options, those without a namespace first."""
    todo = deque([(root, d)])
    while todo:
        ns, options = todo.popleft()
        for key, option in options.items():
            if isinstance(option, dict):
                todo.append((ns + key + "_", option))
            else:
                yield from keyfilter(ns, key, option)


# As `flatten` has them, which takes three times as long.
_OPTIONS: dict[str, Option] = {key: option for key, option in NAMESPACES.items() if type(option) is Option}
for _name, _options in NAMESPACES.items():
    if type(_options) is dict:
        _OPTIONS.update((f"{_name}_{_key}", _option) for _key, _option in _options.items())
DEFAULTS: dict[str, Any] = {key: option.default for key, option in _OPTIONS.items()}
_TO_NEW_KEY: dict[str, str] = {
    (old.format(key) if "{" in old else old).upper(): key
    for key, option in _OPTIONS.items()
    for old in option.old or (key,)
}
_TO_OLD_KEY: dict[str, str] = {new: old for old, new in _TO_NEW_KEY.items()}
_OLD_DEFAULTS: dict[str, Any] = {old: DEFAULTS[new] for old, new in _TO_NEW_KEY.items()}

SETTING_KEYS = set(DEFAULTS)
_OLD_SETTING_KEYS = set(_TO_NEW_KEY)

_DEPRECATED = {name: option for name, option in _OPTIONS.items() if option.deprecate_by or option.remove_by}


def find_deprecated_settings(source: Any) -> Any:
    """The source of a configuration as it is, with a warning for each setting in it that will be gone."""
    for name, option in _DEPRECATED.items():
        if getattr(source, name, None) is not None:
            from ..utils import deprecated

            deprecated.warn(
                description=f"The {name!r} setting",
                deprecation=option.deprecate_by,
                removal=option.remove_by,
                alternative=f"Use the {option.alt} instead",
            )
    return source


@cache
def find(name: str, namespace: str = "celery") -> Any:
    """Where a setting is: its namespace, its name in there, and its option, or a namespace's options.

    The namespace that is given is looked into first, then all others, then the name is taken for a full one.
    """
    name, namespace = name.lower(), namespace.lower()
    if isinstance(NAMESPACES.get(namespace), dict) and name in NAMESPACES[namespace]:
        return _searchresult()(namespace, name, NAMESPACES[namespace][name])
    for ns, options in NAMESPACES.items():
        if ns == name:
            return _searchresult()(None, ns, options)
        if isinstance(options, dict) and name in options:
            return _searchresult()(ns, name, options[name])
    return _searchresult()(None, name, _OPTIONS[name])
