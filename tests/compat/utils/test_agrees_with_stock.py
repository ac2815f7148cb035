"""The small tools answer what stock Celery's answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.compat.stock import ask

IMPORTS = """
def full(a, b=1, *c, d, e=2, **g): ...
def bare(a, *, d, e=2): ...
def bound(self, a): ...
class Called:
    def __call__(self, x): ...

from datetime import datetime, timedelta, timezone as tz
from zoneinfo import ZoneInfo
from {root}.utils import text, time, functional as f, collections as c, nodenames as n, saferepr as r
from {root}.utils import serialization as s, graph as g, objects as o, term, debug, imports as i, iso8601, sysinfo
import {root}.utils as u
NOW = datetime(2026, 11, 21, 9, 20, 30, 5, tz.utc)
BERLIN = ZoneInfo("Europe/Berlin")
def limited():
    found = c.LimitedSet(maxlen=3, expires=10)
    for number in range(6):
        found.add(number, now=float(number))
    return found
def buffers():
    made = c.BufferMap(5, {{"a": range(3)}}, bufmaxsize=2)
    for number in range(9):
        made.put(number % 3, number)
    return made
def view(**kw):
    return c.ConfigurationView({{"CELERY_A": 1, "b": 2}}, [{{"b": 3, "c": 4}}, {{"d": None}}], **kw)
"""

ASKED = """
text.abbr('abcdefghij', 5)
text.abbr('abcdefghij', 5, False)
text.abbr(None, 3)
text.abbrtask('proj.app.tasks.add', 12)
text.abbrtask('add', 12)
text.dedent('    a\\n    b\\nc')
text.ensure_newlines('a\\n')
text.ensure_sep('-', 'a-', 3)
text.fill_paragraphs('one two three four five', 9)
text.indent('a\\nb', 2)
text.join(['a', '', 'b'])
text.pluralize(1, 'task'), text.pluralize(2, 'task'), text.pluralize(0, 'box', 'es')
text.pretty({'a': 1, 'b': [1, 2]}), text.pretty((1, 2)), text.pretty('x')
text.simple_format('%h %% %n', {'h': 'host', 'n': lambda: 'name'})
text.simple_format('', {})
text.simple_format('%q', {})
text.str_to_list('a,b'), text.str_to_list([1])
text.truncate('one two three', 8), text.truncate('short', 0), text.truncate('abcdefgh', 4)
text.remove_repeating_from_task('tasks.add', 'tasks.add(2, 2), tasks.mul(3), webtasks.div(4), x.tasks.y')
text.remove_repeating_from_task('add', 'add(2)')
text.match_case('Ab', 'X'), text.match_case('Ab', 'x')
time.humanize_seconds(0), time.humanize_seconds(0.4, microseconds=True), time.humanize_seconds(59.999)
time.humanize_seconds(1), time.humanize_seconds(7200), time.humanize_seconds(100000, 'in', ' ')
time.rate('100/m'), time.rate('2/h'), time.rate('0.5/s'), time.rate(None), time.rate(3), time.rate('7')
time.rate('7/x')
time.weekday('Sunday'), time.weekday('mon'), time.yearmonth('january')
time.weekday('noday')
time.maybe_timedelta(3), time.maybe_timedelta(timedelta(1)), time.maybe_timedelta(None)
time.delta_resolution(NOW, timedelta(days=2)), time.delta_resolution(NOW, timedelta(hours=2))
time.delta_resolution(NOW, timedelta(minutes=2)), time.delta_resolution(NOW, timedelta(seconds=2))
time.remaining(NOW, timedelta(hours=1), NOW + timedelta(minutes=10))
time.remaining(NOW, timedelta(hours=1), NOW, relative=True)
time.remaining(NOW, timedelta(days=1), NOW, relative=True)
time.remaining(NOW, time.ffwd(hour=12, minute=0), NOW)
time.maybe_iso8601(None), time.maybe_iso8601(NOW), time.maybe_iso8601('2026-11-21T09:20:30+02:00').isoformat()
time.maybe_iso8601('2026-11-21T09:20:30').tzinfo
time.is_naive(NOW), time.is_naive(datetime(2026, 1, 1))
time.make_aware(datetime(2026, 10, 25, 2, 30), BERLIN).isoformat()
time.make_aware(datetime(2026, 10, 25, 2, 30, fold=1), BERLIN).isoformat()
time.make_aware(datetime(2026, 7, 1), BERLIN).isoformat()
time.localize(NOW, BERLIN).isoformat(), time.localize(datetime(2026, 7, 1, tzinfo=BERLIN), tz.utc).isoformat()
time.to_utc(datetime(2026, 7, 1)).isoformat()
time.maybe_make_aware(datetime(2026, 7, 1), BERLIN).isoformat()
time.maybe_make_aware(datetime(2026, 7, 1), BERLIN, naive_as_utc=False).isoformat()
time.maybe_make_aware(datetime(2026, 7, 1), 'Europe/Berlin').isoformat(), time.maybe_make_aware(NOW) == NOW
time.add_seconds_to_datetime(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), 3600).isoformat()
time.subtract_datetimes(NOW, datetime(2026, 11, 20))
time.ffwd(weeks=1, weekday=2, hour=3), datetime(2026, 1, 31) + time.ffwd(month=2), NOW + time.ffwd(weekday=0)
time.adjust_timestamp(1000.0, 3, lambda: 1)
[time.get_exponential_backoff_interval(2, n, 60) for n in range(8)], time.get_exponential_backoff_interval(-1, 2, 60)
time.timezone.to_local(NOW, BERLIN).isoformat(), time.timezone.get_timezone('UTC'), time.timezone.utc
list(f.chunks(iter(range(7)), 3))
f.first(None, [None, 0]), f.first(lambda v: v > 2, [1, 3]), f.first(None, [])
f.firstmethod('upper')([3, 'a', 'b']), f.firstmethod('split', on_call=lambda m, *a: m(*a))([1, 'a b'])
f.padlist(['a'], 3, 'x'), f.padlist('abcd', 2)
f.mattrgetter('real', 'nope')(3)
list(f.uniq([1, 2, 1, 3])), list(f.lookahead(iter([1, 2])))
f.is_list([1]), f.is_list('a'), f.is_list({}), f.is_list(iter([])), f.maybe_list(3), f.maybe_list(None), f.maybe_list([1])
f.dictfilter({'a': None, 'b': 1}, c=None, e=2), f.dictfilter(a=None)
f.lazy(lambda x: x + 1, 2)(), f.mlazy(lambda: 3).evaluate(), f.maybe_evaluate(f.lazy(lambda: 5)), str(f.lazy(lambda: 7))
list(f.regen(iter([1, 2]))), f.regen([1]), f.regen(x for x in range(3))[1], len(f.regen(iter('abc')))
repr(f.regen(x for x in range(3))), bool(f.regen(iter([]))), f.regen(iter([1, 2])) == [1, 2], f.regen(iter('ab'))[-1]
(lambda r: [next(iter(r)), repr(r)])(f.regen(x for x in range(4)))
f.maybe(int, '3'), f.maybe(int, None)
f.seq_concat_item((1,), 2), f.seq_concat_item([1], 2), f.seq_concat_seq([1], (2, 3)), f.seq_concat_seq((1, 2), [3])
f.is_numeric_value(3), f.is_numeric_value(True), f.is_numeric_value('3')
f.head_from_fun(full)._source, f.head_from_fun(Called())._source
f.head_from_fun(bare)._source, f.head_from_fun(bare)(1, d=2)
f.head_from_fun(bound, bound=True)(3)
f.head_from_fun(bare)()
f.fun_takes_argument('x', lambda x: 0), f.fun_takes_argument('y', lambda x: 0), f.arity_greater(lambda a, b: 0, 1)
f.fun_accepts_kwargs(lambda **k: 0), f.fun_accepts_kwargs(lambda k: 0)
(lambda l: (l.update(a=1, b=2, c=3), l['b'], l.update(d=4), list(l.items())))(f.LRUCache(limit=2))
(lambda l: (l.__setitem__('a', 1), l.incr('a'), l['a']))(f.LRUCache())
(lambda m: (m(1), m(1), m.hits, m.misses, m.clear(), m.hits))(f.memoize(10)(lambda x: x))
c.force_mapping({'a': 1}), c.force_mapping(NOW)['year'], dict(c.lpmerge({'a': 1}, {'a': None, 'b': 2}))
c.AttributeDict(a=1).a
c.AttributeDict(a=1).b
(lambda m: (list(m), dict(m.items()), m.get('z', 9), 'b' in m, len(m), bool(m), repr(m)))(c.ChainMap({'a': 1}, {'b': 2, 'a': 3}))
c.ChainMap({'a': 1}, {'b': 2}).pop('b')
c.ChainMap({'a': 1}, {'b': 2})['z']
(lambda m: (m.update([('x', 1)], y=2), m.add_defaults({'q': 1}), m.setdefault('a', 5), dict(m)))(c.ChainMap({'a': 1}, {'b': 2}))
view().b, view().d, 'c' in view(), view(prefix='CELERY_').a, view().first('d', 'c'), sorted(view())
view(prefix='CELERY')['zz']
view().zz
list(limited()), repr(limited()), limited().as_dict(), (lambda l: (l.purge(now=14.5), list(l)))(limited()), limited().pop()
c.LimitedSet(maxlen=1, minlen=2)
c.LimitedSet(data={'a': 1})
(lambda m: (m.put(1), m.put(2), m.put(3), len(m), m.take(), repr(m), list(m), m.take(None)))(c.Messagebuffer(2))
c.Messagebuffer(2).take()
(lambda m: (m.total, repr(m), {k: list(b.data) for k, b in m.items()}, m.take(2), m.take('none', 7)))(buffers())
n.nodename('w', 'h'), n.nodesplit('w@h@x'), n.nodesplit('h'), n.default_nodename('w@h'), n.default_nodename('h')
n.host_format('%h %n %d %%', 'w.example.com'), n.node_format('%n-%p', 'w@h.com'), n.host_format('%i%I', 'h')
str(n.worker_direct('w@h')), n.worker_direct(n.worker_direct('x')).name
r.saferepr({'a': [1, (2,), {3}]}), r.saferepr('x' * 50, 20), r.saferepr([[[[1]]]], maxlevels=2), r.saferepr(b'x')
s.strtobool('yes'), s.strtobool('OFF'), s.strtobool(3), s.b64encode('abc'), s.b64decode('YWJj')
s.strtobool('maybe')
s.jsonify({'a': (1, NOW), 'b': timedelta(1), 'c': None}), s.jsonify(NOW.date()), s.jsonify(NOW.time())
s.jsonify(object)
s.get_pickleable_exception(KeyError('x')), s.get_pickleable_etype(KeyError)
s.UnpickleableExceptionWrapper('m', 'C', ['a', 3], 'text').restore(), str(s.UnpickleableExceptionWrapper('m', 'C', [], 't'))
(lambda x: (x.topsort(), repr(x), x.valency_of('a'), list(x.edges())))(g.DependencyGraph([('a', ['b', 'c']), ('b', ['c']), ('c', [])]))
g.DependencyGraph([('a', ['b']), ('b', ['a']), ('c', ['a'])]).topsort()
(lambda f, w: (f.to_dot(w), w.getvalue()))(g.DependencyGraph([('a', ['b']), ('b', [])]), text.StringIO())
o.Bunch(a=1).a, o.mro_lookup(bool, 'real').__name__, o.mro_lookup(bool, 'nope'), o.mro_lookup(bool, 'real', stop={int})
str(term.colored().red('x', term.colored().bold('y'))), term.colored().red('x').no_color(), str(term.colored('x', enabled=False).red('y'))
repr(term.colored().blue('a')), term.colored().green('a').embed(), term.colored().reset('a') + 'b'
debug.humanbytes(0), debug.humanbytes(2000), debug.humanbytes(2 ** 33), debug.hfloat(2.5), list(debug.sample(range(20), 5))
i.qualname(dict), i.qualname(3), i.symbol_by_name('json:dumps').__name__, i.symbol_by_name('json.nope', default=3), i.symbol_by_name(int)
i.symbol_by_name('no.such.module')
i.gen_task_name(o.Bunch(main='proj'), 'add', '__main__'), i.gen_task_name(o.Bunch(main=None), 'add', 'm.n')
i.find_module('json.decoder').__name__
i.find_module('json.decoder.x')
iso8601.parse_iso8601('2026-11-21T09:20:30-02:30').isoformat()
iso8601.parse_iso8601('nope')
sysinfo.is_auto_concurrency(' AUTO '), sysinfo.is_auto_concurrency(4)
u.get_full_cls_name(KeyError), u.get_cls_by_name('json:loads').__name__
""".strip().splitlines()

RUN = """
answer = []
for source in question:
    try:
        answer.append(repr(eval(source)))
    except Exception as error:
        answer.append(f"{type(error).__name__}")
"""


@pytest.fixture(scope="module")
def theirs(stock_python: Path) -> Any:
    answers = ask(stock_python, IMPORTS.format(root="celery") + RUN, ASKED)
    return dict(zip(ASKED, answers, strict=True))


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(IMPORTS.format(root="celeriac.compat"), names)
    return names


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("source", ASKED)
def test_the_answer_is_the_same(source: str, ours: dict[str, Any], theirs: dict[str, str]) -> None:
    try:
        answer = repr(eval(source, ours))
    except Exception as error:
        answer = type(error).__name__
    assert answer == theirs[source]
