"""What programs do with an app and its tasks, told as JSON: run by stock Celery and by celeriac, and compared.

`python scenes.py [celeriac]` prints one object, scene -> what was seen or which error was raised. Nothing here knows
which Celery it runs on.
"""

import json
import os
import pickle
import re
import sys
import types
import warnings
from datetime import datetime, timedelta, timezone

if sys.argv[1:] == ["celeriac"]:
    from celeriac.compat import alias

    alias.install()

import celery
import celery._state
from celery import Celery, shared_task
from celery.app.task import Context, Task
from celery.exceptions import MaxRetriesExceededError, Retry

SCENES = {}


def scene(function):
    SCENES[function.__name__] = function
    return function


def of(call, *args, **kwargs):
    """What the call gives, or its error."""
    try:
        return call(*args, **kwargs)
    except BaseException as problem:
        return {"error": type(problem).__name__, "text": without_addresses(str(problem))}


def without_addresses(text):
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def new(main="proj", **kwargs):
    kwargs.setdefault("broker", "memory://")
    kwargs.setdefault("set_as_current", False)
    return Celery(main, **kwargs)


class Point:
    """Picklable."""

    broker_url = "memory://point"
    task_default_queue = "from-object"


# --- names


def made_in(module, name="work"):
    def function():
        return 1

    function.__module__, function.__name__ = module, name
    return function


@scene
def names_of_tasks():
    app, unnamed = new(), new(None)
    seen = []
    for each in (app, unnamed):
        for module in ("__main__", "os.path", "no.such.module", "posixpath"):
            seen.append(each.task(made_in(module, f"a{len(seen)}")).name)
        seen.append(each.task(name="explicit")(made_in("__main__")).name)
    return seen


@scene
def names_of_classes():
    app = new()

    class Worker(app.Task):
        def run(self):
            return 1

    class Named(app.Task):
        name = "own.name"

        def run(self):
            return 1

    return [app.register_task(Worker()).name, app.register_task(Named).name]


@scene
def own_gen_task_name():
    class Own(Celery):
        def gen_task_name(self, name, module):
            return f"{module}::{name}"

    return Own("x", set_as_current=False).task(made_in("a.b.tasks")).name


@scene
def the_same_name_twice():
    app = new()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = app.task(name="same", shared=False)(made_in("m", "one"))
        second = app.task(name="same", shared=False)(made_in("m", "two"))
        app.finalize()
        third = app.task(name="same", shared=False)(made_in("m", "three"))
    own = [one.category.__name__ for one in caught if "Task" in one.category.__name__]
    return [first.__wrapped__.__name__, second.__wrapped__.__name__, third.__wrapped__.__name__, own]


@scene
def one_function_twice_is_no_collision():
    app = new()
    function = made_in("m")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        app.task(function)
        app.task(function)
        app.finalize()
    return len(caught)


# --- arguments


def _signatures(app):
    task = app.task

    @task
    def none():
        pass

    @task
    def two(x, y):
        pass

    @task
    def default(x, y=1):
        pass

    @task
    def star(x, *rest):
        pass

    @task
    def keywords(x, **rest):
        pass

    @task
    def keyword_only(x, *, k, m=2):
        pass

    @task
    def positional_only(x, /, y):
        pass

    @task(bind=True)
    def bound(self, x, y=2):
        pass

    @task(typing=False)
    def unchecked(x):
        pass

    return [none, two, default, star, keywords, keyword_only, positional_only, bound, unchecked]


CALLS = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3), {}),
    ((), {"x": 1}),
    ((1,), {"y": 2}),
    ((1,), {"x": 2}),
    ((1,), {"k": 2}),
    ((1,), {"z": 2}),
    ((), {"x": 1, "y": 2}),
]


@scene
def wrong_arguments():
    app = new()
    app.send_task = lambda *args, **kwargs: "sent"
    return {task.name: [of(task.apply_async, args, kwargs) for args, kwargs in CALLS] for task in _signatures(app)}


@scene
def wrong_arguments_unchecked_by_the_app():
    app = new(strict_typing=False)
    app.send_task = lambda *args, **kwargs: "sent"
    return [of(task.apply_async, (1, 2, 3, 4)) for task in _signatures(app)]


@scene
def limits_that_contradict():
    app = new()
    task = app.task(soft_time_limit=10, time_limit=5)(made_in("m"))
    return of(task.delay)


@scene
def decorator_misused():
    app = new()
    return [of(app.task, 1), of(app.task, 1, 2), of(app.task, 1, a=2, b=3)]


# --- what is sent


@scene
def options_of_a_call():
    app = new()
    sent = []

    def send_task(name, args=None, kwargs=None, **options):
        options.pop("result_cls")
        options["task_type"] = options["task_type"].name
        sent.append([name, args, kwargs, dict(sorted(options.items()))])

    app.send_task = send_task
    plain = app.task(made_in("m", "plain"))
    rich = app.task(
        priority=3, expires=60, serializer="pickle", compression="zlib", time_limit=20, soft_time_limit=10,
        ignore_result=True, shadow_name=lambda *args: "shade",
    )(made_in("m", "rich"))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rich.delay()
    plain.delay()
    plain.apply_async((), {}, countdown=3, queue="q", link=None, headers={"a": 1}, ignore_result=None)
    plain.apply_async(task_id="id", shadow="s", producer=None, priority=0)
    rich.apply_async(priority=None, serializer="json")
    return sent


@scene
def attributes_from_configuration():
    conf = {
        "task_serializer": "pickle",
        "task_default_rate_limit": "3/s",
        "task_default_priority": 4,
        "task_time_limit": 7,
        "task_soft_time_limit": 6,
        "task_track_started": True,
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": False,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_store_eager_result": True,
        "task_store_errors_even_if_ignored": True,
    }
    names = [name for name, _ in Task.from_config]

    def seen(app, **options):
        task = app.task(**options)(made_in("m", f"t{len(options)}"))
        return {name: getattr(task, name) for name in names} | {"typing": task.typing}

    app = new(**conf)
    own = seen(app, rate_limit="1/h", acks_late=False, serializer="json", acks_on_failure=True)
    return [seen(new()), seen(app), own, [list(pair) for pair in Task.from_config]]


@scene
def annotations():
    def around(run):
        def wrapped(self, *args, **kwargs):
            return ["around", run(self, *args, **kwargs)]

        return wrapped

    app = new(task_annotations={"*": {"rate_limit": "9/s"}, "m.work": {"max_retries": 8, "@shout": around}})

    class Shouting(app.Task):
        def shout(self, word):
            return word.upper()

    task = app.task(base=Shouting)(made_in("m"))
    other = app.task(made_in("m", "other"))
    return [task.rate_limit, task.max_retries, of(task.shout, "hi"), other.rate_limit, other.max_retries]


@scene
def attributes_of_a_task_class():
    skipped = {"MaxRetriesExceededError", "OperationalError", "app", "backend", "request_stack"}
    seen = {}
    for name in sorted(set(dir(Task)) - skipped):
        value = getattr(Task, name, None)
        if not name.startswith("_") and isinstance(value, (str, int, float, tuple, bool, type(None))):
            seen[name] = value
    return seen


# --- retry


class Sent(Exception):
    pass


def _retrying(app, request, **task_options):
    """A bound task in the middle of a run, and the list of what its retries would send."""
    sent = []

    @app.task(bind=True, name="retrying", shared=False, **task_options)
    def retrying(self, x=1, y=2):
        pass

    def send_task(name, args=None, kwargs=None, **options):
        for name_ in ("result_cls", "task_type", "producer"):
            options.pop(name_, None)
        sent.append([name, args, kwargs, {key: options[key] for key in sorted(options) if options[key] is not None}])
        return app.AsyncResult("x")

    app.send_task = send_task
    retrying.push_request(called_directly=False, id="the-id", root_id="the-root", **request)
    return retrying, sent


REQUESTS = [
    {"retries": 0, "args": [1], "kwargs": {"y": 5}},
    {"retries": 2, "args": [1, 2], "kwargs": {}, "delivery_info": {"exchange": "", "routing_key": "q", "priority": 3}},
    {"retries": 3, "args": [], "kwargs": {"x": 1, "y": 2}, "delivery_info": {"exchange": "e", "routing_key": "k"}},
    {"retries": 9, "args": [3], "kwargs": {}, "timelimit": [9, 8], "expires": "2030-01-01T00:00:00+00:00"},
    {
        "retries": 1, "args": [], "kwargs": {}, "callbacks": [{"task": "cb", "args": [], "kwargs": {}, "options": {},
        "subtask_type": None, "immutable": False}], "group": "g", "group_index": 4, "shadow": "sh", "chain": None,
        "headers": {"mine": 1, "x-death": [1]}, "reply_to": "me", "ignore_result": True, "replaced_task_nesting": 2,
    },
    {"retries": 0, "args": [], "kwargs": {}, "stamped_headers": ["s"], "stamps": {"s": [1]}},
]  # fmt: skip
WAYS = [
    {},
    {"countdown": 5},
    {"countdown": 0},
    {"eta": datetime(2030, 1, 1, tzinfo=timezone.utc)},
    {"max_retries": 0},
    {"max_retries": 10},
    {"exc": KeyError("why")},
    {"exc": KeyError("why"), "max_retries": 0},
    {"args": (7,)},
    {"kwargs": {"x": 8}},
    {"kwargs": {"y": 8}},
    {"args": (7,), "kwargs": {"y": 9}},
    {"throw": False},
    {"queue": "elsewhere", "priority": 9, "time_limit": 3},
]


def _retried(task, way):
    try:
        again = task.retry(**way)
        return ["returned", type(again).__name__, repr(again.when), again.humanize()]
    except Retry as again:
        return ["raised", without_addresses(str(again)), repr(again.when), repr(again.exc), again.is_eager]
    except MaxRetriesExceededError as problem:
        return ["exceeded", str(problem), list(problem.task_args), problem.task_kwargs]
    except Exception as problem:
        return ["error", type(problem).__name__, str(problem), repr(problem.__cause__)]


@scene
def retries():
    seen = []
    for options in ({}, {"max_retries": None, "default_retry_delay": 30}, {"max_retries": 0}):
        for request in REQUESTS:
            for way in WAYS:
                task, sent = _retrying(new(), dict(request), **options)
                seen.append([_retried(task, way), sent])
    return seen


@scene
def retry_by_hand():
    app = new()

    @app.task(bind=True)
    def work(self):
        raise self.retry(exc=ValueError("mine"))

    @app.task(bind=True)
    def bare(self):
        raise self.retry()

    @app.task(bind=True)
    def handling(self):
        try:
            {}["first"]
        except KeyError as problem:
            raise self.retry(exc=problem) from problem

    return [of(work), of(bare), of(handling)]


@scene
def a_retry_that_the_broker_refuses():
    task, _ = _retrying(new(), {"retries": 0, "args": [], "kwargs": {}})

    def refuse(*args, **kwargs):
        raise OSError("no broker")

    task.app.send_task = refuse
    return of(task.retry)


@scene
def eager_runs():
    app = new(backend="disabled")
    runs = []

    @app.task(bind=True, max_retries=3, default_retry_delay=0)
    def flaky(self, fail):
        runs.append(self.request.retries)
        if self.request.retries < fail:
            raise self.retry(exc=KeyError("flaky"))
        return [self.request.is_eager, self.request.called_directly, self.name]

    @app.task
    def add(x, y):
        return x + y

    @app.task
    def fails():
        raise LookupError("no")

    good, bad = flaky.apply((2,)), fails.apply()
    return [
        [good.get(), good.state, runs[:]],
        [of(flaky.apply, (9,)).state, len(runs)],
        [bad.state, repr(bad.result), of(bad.get), of(fails.apply, throw=True)],
        [add.apply((1, 2)).get(), add.apply(args=(1,), kwargs={"y": 5}).get(), add(3, 4), add.run(5, 6)],
    ]


@scene
def always_eager():
    app = new(task_always_eager=True)

    @app.task
    def same(x):
        return x

    @app.task
    def fails():
        raise LookupError("no")

    app2 = new(task_always_eager=True, task_eager_propagates=True)
    loud = app2.task(made_in("m", "loud"))
    return [
        same.delay((1, 2)).get(),
        same.delay({1: 2}).get(),
        of(same.delay, object),
        fails.delay().state,
        loud.delay().get(),
        same.apply_async(("x",), task_id="mine").id,
        same.s(2).delay().get(),
    ]


@scene
def handlers_of_a_run():
    app = new()
    seen = []

    class Told(app.Task):
        def before_start(self, task_id, args, kwargs):
            seen.append(["before_start", list(args), kwargs])

        def on_success(self, retval, task_id, args, kwargs):
            seen.append(["on_success", retval])

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            seen.append(["on_failure", repr(exc), type(einfo).__name__])

        def on_retry(self, exc, task_id, args, kwargs, einfo):
            seen.append(["on_retry", repr(exc), type(einfo).__name__])

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            seen.append(["after_return", status])

        def __call__(self, *args, **kwargs):
            seen.append(["call"])
            return super().__call__(*args, **kwargs)

    @app.task(base=Told, bind=True)
    def work(self, way):
        if way == "fail":
            raise ValueError("no")
        if way == "retry" and not self.request.retries:
            raise self.retry(exc=KeyError("again"))
        return way

    for way in ("good", "fail", "retry"):
        work.apply((way,))
    return seen


# --- pickling


@scene
def pickled_apps():
    seen = []
    app = new("pickled", backend="rpc://", task_default_queue="q", namespace="CELERY", include=["os"])
    for configured in (False, True):
        if configured:
            app.conf.update(task_always_eager=True)
            _ = app.conf.task_default_queue
        again = pickle.loads(pickle.dumps(app))
        seen.append([
            again.main, again.namespace, again.conf.task_default_queue, again.conf.include, again.conf.broker_url,
            again.conf.result_backend, again.conf.task_always_eager, again.set_as_current, type(again).__name__,
        ])  # fmt: skip
    keys = {key: value for key, value in app.__reduce_keys__().items() if key != "fixups"}
    return [seen, sorted(keys), list(app.__reduce_args__())[:1]]


class OldStyle(Celery):
    def __reduce_args__(self):
        return super().__reduce_args__()


@scene
def pickled_apps_of_the_old_form():
    app = OldStyle("old", broker="memory://", set_as_current=False)
    _ = app.conf.task_default_queue
    app.conf.task_default_queue = "changed"
    again = pickle.loads(pickle.dumps(app))
    return [again.main, type(again).__name__, again.conf.task_default_queue, len(app.__reduce__()[1])]


@scene
def pickled_tasks():
    app = new(set_as_current=True)

    @app.task(name="pickled.task")
    def work():
        return 1

    form = work.__reduce__()
    return [
        form[0].__name__, form[0].__module__, list(form[1]), form[2], pickle.loads(pickle.dumps(work)) == work,
        of(pickle.loads, pickle.dumps(work).replace(b"pickled.task", b"pickled.tusk")),
    ]  # fmt: skip


@scene
def pickled_classes_of_an_app():
    app = new(set_as_current=True)
    result = pickle.loads(pickle.dumps(app.AsyncResult("id")))
    return [result.id, type(result).__name__, result.app is app or result.app == app]


# --- life of an app


@scene
def signals_of_an_app():
    seen = []
    app = new(config_source=Point, set_as_current=False)
    for name in ("on_configure", "on_after_configure", "on_after_finalize", "on_after_fork"):

        def told(sender=None, name=name, **kwargs):
            seen.append([name, sender is app, sorted(set(kwargs) - {"signal"})])

        getattr(app, name).connect(told, weak=False)
    app.task(made_in("m"))
    seen.append("made")
    _ = app.conf.task_default_queue
    seen.append("configured")
    _ = app.tasks
    _ = app.tasks
    return seen


@scene
def configuration_methods():
    app = new("conf", broker=None)
    app.conf.update(task_default_queue="early")
    app.add_defaults({"own_default": 1})
    app.add_defaults(lambda: {"lazy_default": 2})
    app.config_from_object(Point)
    seen = [app.configured, app.conf.task_default_queue, app.conf.broker_url, app.configured]
    seen += [app.conf.own_default, app.conf.lazy_default, of(getattr, app.conf, "no_such_setting")]
    os.environ["SCENE_CONFIG"] = "no_such_module_at_all"
    other = new()
    seen.append(of(other.config_from_envvar, "NO_SUCH_VARIABLE", silent=True))
    seen.append(of(other.config_from_envvar, "NO_SUCH_VARIABLE")["error"])
    seen.append(of(other.config_from_envvar, "SCENE_CONFIG", force=True)["error"])
    seen.append(of(other.config_from_envvar, "SCENE_CONFIG", force=True, silent=True))
    late = new()
    late.config_from_object("no_such_module_at_all")
    seen.append(of(lambda: late.conf.task_default_queue)["error"])
    return seen


@scene
def contract_of_finalizing():
    app = new(autofinalize=False)
    task = app.task(made_in("m"))
    seen = [of(lambda: app.tasks), of(lambda: task.name)]
    app.finalize()
    return [*seen, task.name, app.finalized]


@scene
def shared_tasks():
    @shared_task(name="shared.one")
    def one():
        return 1

    first, second = new("one", set_as_current=True), new("two", set_as_current=True)
    seen = ["shared.one" in first.tasks, "shared.one" in second.tasks, one.app is second, one()]
    first.set_current()
    seen.append(one.app is first)

    @shared_task
    def late():
        return 2

    seen += ["__main__.late" in str(sorted(first.tasks)) or "one.late" in first.tasks, of(shared_task, late)["error"]]
    return seen


@scene
def periodic_tasks():
    app = new()

    @app.task
    def work(x):
        return x

    @app.on_after_configure.connect
    def plan(sender, **kwargs):
        sender.add_periodic_task(10.0, work.s(1), name="ten")
        sender.add_periodic_task(timedelta(minutes=1), work.s(2), expires=5, queue="q")
        sender.add_periodic_task(3.0, work, args=(4,), kwargs={"k": 1})

    app.add_periodic_task(5, work.s("early"), name="early")
    entries = app.conf.beat_schedule
    return {
        key: [repr(entry["schedule"]), entry["task"], list(entry["args"]), entry["kwargs"], entry["options"]]
        for key, entry in entries.items()
    }


@scene
def classes_with_an_app():
    app = new()

    class Plain:
        """Documented."""

        app = None

        def __reduce_args__(self):
            return (1,)

    made = app.subclass_with_self(Plain, name="Other", extra=3)
    kept = app.subclass_with_self(Plain, attribute="owner", keep_reduce=True)
    task = app.create_task_cls()
    return [
        [made.__name__, made.__doc__, made.app is app, made.extra, "__reduce__" in made.__dict__],
        [kept.__name__, kept.owner is app, "__reduce__" in kept.__dict__],
        [task.__name__, task.abstract, task._app is app, app.Task is app.Task],
        [made().__reduce__()[1][0], app.AsyncResult.__name__, app.GroupResult.__name__, app.ResultSet.__name__],
    ]


@scene
def time_of_an_app():
    utc, berlin, local = new(), new(timezone="Europe/Berlin"), new(enable_utc=False)
    return [
        [utc.uses_utc_timezone(), berlin.uses_utc_timezone(), local.uses_utc_timezone()],
        [str(utc.timezone), str(berlin.timezone), utc.now().utcoffset().total_seconds()],
        [of(getattr, new(timezone="No/Where"), "timezone")["error"]],
    ]


@scene
def odds_and_ends():
    app = new("ends")

    @app.task(bind=True, name="ends.work", custom=5)
    def work(self, x: int) -> int:
        """Doc."""
        return x

    with app as same:
        entered = same is app
    seen = [
        without_addresses(repr(app)), without_addresses(repr(work)), work.__name__, work.__doc__, work.custom,
        type(work).__name__, entered, app.either("task_default_queue", None, "given"),
        app.either("task_default_queue", None), work.app is app, work.request.called_directly, work.request.id,
        work.max_retries, without_addresses(repr(work.request)), sorted(app.user_options), sorted(app.steps),
    ]  # fmt: skip
    seen.append(sorted(name for name in app.tasks if name.startswith("celery.")))
    seen.append([of(app.worker_main, ["x"])["error"], len(app.oid), app.oid == app.oid, len(app.thread_oid)])
    seen.append(sorted(vars(Context(id=1, timelimit=[2, 3], mine=4, lang="py"))))
    return seen


@scene
def discovery():
    app = new()
    package = types.ModuleType("scene_package")
    package.__path__ = []
    sys.modules["scene_package"] = package
    tasks = types.ModuleType("scene_package.tasks")
    sys.modules["scene_package.tasks"] = package.tasks = tasks
    seen = []
    app.autodiscover_tasks(lambda: seen.append("asked") or ["scene_package"])
    before = list(seen)
    app.loader.import_default_modules()
    return [before, seen, of(app.autodiscover_tasks, ["scene_package"], force=True) is not None]


@scene
def builtin_tasks():
    app = new()
    return [
        app.tasks["celery.accumulate"].apply((1, 2, 3)).get(),
        app.tasks["celery.accumulate"].apply((1, 2, 3), {"index": 1}).get(),
        of(app.tasks["celery.chain"]),
        app.tasks["celery.chord_unlock"].max_retries,
        app.tasks["celery.chord_unlock"].ignore_result,
        app.tasks["celery.chord_unlock"].default_retry_delay,
    ]


@scene
def mapping_tasks():
    app = new(task_always_eager=True)

    @app.task(name="add")
    def add(x, y=10):
        return x + y

    return [
        add.map([1, 2]).delay().get(),
        add.starmap([(1, 2), (3, 4)]).delay().get(),
        add.chunks([(1, 2), (3, 4), (5, 6)], 2).apply_async().get(),
    ]


@scene
def replacing():
    app = new(task_always_eager=True)

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(bind=True, name="replaced")
    def replaced(self, x):
        return self.replace(add.s(x, 100))

    @app.task(bind=True, name="wrong")
    def wrong(self):
        return self.replace(celery.chain())

    return [replaced.apply((1,)).get(), of(wrong.apply().get), of(add.add_to_chord, add.s(1, 1))]


@scene
def backends_by_name():
    from celery.app.backends import by_name, by_url

    app = new()
    seen = []
    for name in ("redis", "rpc", "disabled", "cache", "file", None):
        found = by_name(name, app.loader)
        seen.append([found.__module__.rpartition(".backends.")[2], found.__name__])
    seen.append(
        [part if isinstance(part, (str, type(None))) else part.__name__ for part in by_url("redis://h/1", app.loader)]
    )
    seen.append(by_url("cache+memory://", app.loader)[1])
    refused = [of(by_name, wrong, app.loader)["error"] for wrong in ("nothing", "os.path", "no.such:Thing")]
    seen += ["ModuleNotFoundError" if each == "UnknownBackend" else each for each in refused]  # ours is a kind of it
    return seen


@scene
def flattened_replies():
    from celery.app.control import flatten_reply

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = flatten_reply([{"a": 1}, {"b": 2}, {"a": 3}])
    return [seen, [one.category.__name__ for one in caught]]


@scene
def commands_of_control():
    app = new()
    told = []

    def broadcast(command, arguments=None, **options):
        told.append([command, arguments, {key: options[key] for key in sorted(options)}])
        return [{"n1": {"ok": 1}}, {"n2": {"ok": 2}}] if options.get("reply") else None

    control = app.control
    control.broadcast = broadcast
    control.revoke("id"), control.revoke(["a", "b"], terminate=True, signal="SIGKILL", destination=["x"])
    control.revoke_by_stamped_headers({"k": "v"}), control.terminate("id")
    control.ping(), control.rate_limit("t", "1/m"), control.add_consumer("q", options={"o": 1})
    control.cancel_consumer("q"), control.time_limit("t", 1, 2), control.enable_events(), control.disable_events()
    control.pool_grow(), control.pool_shrink(2), control.autoscale(5, 1), control.shutdown()
    control.pool_restart(), control.heartbeat(), control.election("i", "t", {"a": 1})
    for inspect in (control.inspect(), control.inspect(["n1"]), control.inspect("n1"), control.inspect(pattern="*1")):
        told += [
            inspect.report(), inspect.clock(), inspect.active(), inspect.active(safe=True), inspect.scheduled(),
            inspect.reserved(), inspect.stats(), inspect.revoked(), inspect.registered("a", "b"), inspect.ping(),
            inspect.active_queues(), inspect.query_task("a"), inspect.query_task(["a", "b"]), inspect.conf(True),
            inspect.hello("me", {}), inspect.memsample(), inspect.memdump(), inspect.objgraph(n=3),
        ]  # fmt: skip
    return told


def alone(function):
    """What is seen, without the tasks that other scenes' apps share."""
    finalizers = celery._state._on_app_finalizers
    builtin = finalizers.copy()
    try:
        return of(function)
    finally:
        finalizers.clear()
        finalizers.update(builtin)


if __name__ == "__main__":
    only = os.environ.get("SCENE")
    warnings.simplefilter("ignore")
    seen = {name: alone(function) for name, function in SCENES.items() if not only or name == only}
    print(json.dumps(seen, default=lambda value: without_addresses(repr(value))))
