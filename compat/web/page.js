// The page: asks for what is known, shows it, and asks for what is to be done.
// Law: whatever comes from the cluster is text and becomes textContent; no markup is ever made of it.

const $ = id => document.getElementById(id);
const main = $('main');
const SVG = 'http://www.w3.org/2000/svg';
let known = {queues: [], workers: [], totals: {}, acts: {}};
let version = 0;
let shownPage = null;  // {path, render}: what is looked at
let drawn = 0;  // grows with each render: an answer to an older one is dropped

// --- making nodes

function put(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of [children].flat(9)) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}
const h = (tag, attributes, ...children) => put(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => put(document.createElementNS(SVG, tag), attributes, children);
const link = (path, ...children) => h('a', {href: '#' + path}, children);
const taskPath = id => '/task/' + encodeURIComponent(id);

// --- saying numbers and times

function age(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 0) seconds = 0;
  for (const [size, unit] of [[86400, 'd'], [3600, 'h'], [60, 'm']])
    if (seconds >= size) return (seconds / size).toFixed(1) + ' ' + unit;
  if (seconds >= 1) return seconds.toFixed(1) + ' s';
  return seconds >= 0.0095 ? (seconds * 1000).toFixed(0) + ' ms' : (seconds * 1000).toFixed(1) + ' ms';
}
const count = value => value === null || value === undefined ? '–' : Number(value).toLocaleString('en');
const clock = at => at ? new Date(at * 1000).toLocaleTimeString('en-GB') : '–';
const moment = at => at ? new Date(at * 1000).toISOString().replace('T', ' ').replace('Z', ' UTC') : '–';
const state = value => h('span', {class: 'state ' + (/^[A-Z]+$/.test(value) ? value : '')}, value);

// --- asking

let token = sessionStorage.getItem('token') || '';
function takeToken() {
  const match = /[#&]token=([^&]*)/.exec(location.hash);
  if (!match) return;
  token = decodeURIComponent(match[1]);
  sessionStorage.setItem('token', token);
  history.replaceState(null, '', location.pathname + '#/');  // nobody reads it over a shoulder, or out of the history
}

async function ask(path, options = {}) {
  const reply = await fetch(path, {
    ...options, credentials: 'omit', headers: {Authorization: 'Bearer ' + token, ...options.headers},
  });
  const said = await reply.json();
  if (reply.status === 401) {
    askToken();
    throw new Error('A token is needed.');
  }
  if (!reply.ok) throw new Error(said.error || reply.statusText);
  return said;
}

function askToken() {
  const dialog = $('enter');
  if (!dialog.open) dialog.showModal();
}
$('enter').querySelector('form').addEventListener('submit', event => {
  event.preventDefault();
  token = $('enter-token').value.trim();
  sessionStorage.setItem('token', token);
  $('enter').close();
  go();
});

// --- doing, behind a confirm

const ACTIONS = {
  revoke: ['Revoke', 'It will not be run. If it runs already, it goes on.'],
  terminate: ['Terminate', 'It will not be run. If it runs, the process that runs it is ended.',
    {signal: ['Signal', 'SIGTERM', ['SIGTERM', 'SIGKILL', 'SIGINT', 'SIGUSR1']]}],
  retry: ['Run again', 'It is sent once more, as a new task with the same arguments.'],
  rate_limit: ['Limit rate', 'Each worker runs no more tasks of this name than so many.',
    {rate: ['Rate, as in 10/s or 100/m; 0 is no limit', '100/m']}],
  time_limit: ['Limit time', 'Tasks of this name get other time limits, in seconds.',
    {soft: ['Soft limit', '', 'number'], hard: ['Hard limit', '', 'number']}],
  pool_grow: ['Grow pool', 'The worker gets more processes or threads.', {n: ['How many more', '1', 'number']}],
  pool_shrink: ['Shrink pool', 'The worker gets less processes or threads.', {n: ['How many less', '1', 'number']}],
  shutdown: ['Shut down', 'The worker finishes what it runs, and ends. Nobody here can start it again.'],
  add_consumer: ['Take from a queue', 'The worker takes tasks from this queue too.', {queue: ['Queue', '']}],
  cancel_consumer: ['Leave a queue', 'The worker takes no more tasks from this queue.', {queue: ['Queue', '']}],
  pause: ['Pause', 'The workers that take from this queue do so no more. What is sent waits there.'],
  resume: ['Resume', 'The workers that took from this queue take from it again.'],
};

function action(name, fields) {
  if (!(name in known.acts)) return null;
  return h('button', {
    type: 'button', class: known.acts[name] ? 'grave' : null, 'data-action': name,
    'aria-label': ACTIONS[name][0] + ' ' + (fields.queue || fields.worker || fields.name || fields.id),
    onclick: () => confirmed(name, fields),
  }, ACTIONS[name][0]);
}

function confirmed(name, fields) {
  const [title, what, asked = {}] = ACTIONS[name];
  const grave = known.acts[name];
  const inputs = {};
  $('confirm-title').textContent = title + '?';
  $('confirm-what').textContent = Object.values(fields).join(' ') + '. ' + what;
  $('confirm-said').textContent = '';
  $('confirm-fields').replaceChildren(...Object.entries(asked).map(([field, [label, value, kind]]) => {
    inputs[field] = Array.isArray(kind)
      ? h('select', {name: field}, kind.map(each => h('option', {}, each)))
      : h('input', {name: field, value, type: kind || 'text', min: kind ? 1 : null, autocomplete: 'off'});
    return h('label', {}, label, inputs[field]);
  }));
  const yes = $('confirm-yes');
  const fresh = h('button', {
    id: 'confirm-yes', type: 'button', class: 'yes' + (grave ? ' grave' : ''),
    onclick: async () => {
      const body = {action: name, ...fields};
      for (const [field, input] of Object.entries(inputs))
        body[field] = input.type === 'number' ? (input.value === '' ? null : Number(input.value)) : input.value.trim();
      fresh.disabled = true;
      try {
        const reply = await ask('api/act', {
          method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body),
        });
        $('confirm').close();
        say(title + ': ' + reply.said);
      } catch (problem) {
        $('confirm-said').textContent = problem.message;
      }
      fresh.disabled = false;
      refresh();
    },
  }, title);
  yes.replaceWith(fresh);
  $('confirm').showModal();
}

let saying = 0;
function say(text) {
  $('said').textContent = text;
  clearTimeout(saying);
  saying = setTimeout(() => { $('said').textContent = ''; }, 10000);
}

// --- charts

function axis(width, height, points, most, label) {
  const nodes = [];
  for (const share of [0, .5, 1]) {
    const y = 8 + (height - 28) * (1 - share);
    nodes.push(s('line', {class: 'grid', x1: 46, x2: width, y1: y, y2: y}));
    nodes.push(s('text', {x: 40, y: y + 4, 'text-anchor': 'end'}, label(most * share)));
  }
  const first = points[0].at, last = points[points.length - 1].at;
  const long = last - first > 2 * 86400;
  for (const share of [0, .25, .5, .75, 1]) {
    const at = new Date((first + (last - first) * share) * 1000);
    const text = long ? at.toLocaleDateString('en-GB', {day: 'numeric', month: 'short'})
      : at.toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit'});
    const x = 46 + (width - 46) * share;
    nodes.push(s('text', {x, y: height - 4, 'text-anchor': share === 0 ? 'start' : share === 1 ? 'end' : 'middle'}, text));
  }
  return nodes;
}

function chart(title, description, width, height, nodes, key) {
  return h('section', {}, h('h2', {}, title),
    s('svg', {viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title + '. ' + description}, nodes),
    h('ul', {class: 'key'}, key.map(([kind, text]) => h('li', {class: 'k-' + kind}, text))));
}

const WIDTH = 640, HEIGHT = 200;
function throughput(data) {
  const points = data.points;
  const total = point => point.succeeded + point.failed + point.retried;
  const most = Math.max(1, ...points.map(total));
  const step = (WIDTH - 46) / points.length;
  const nodes = axis(WIDTH, HEIGHT, points, most / data.width, value => value >= 10 ? value.toFixed(0) : value.toFixed(1));
  points.forEach((point, index) => {
    let y = HEIGHT - 20;
    for (const name of ['succeeded', 'failed', 'retried']) {
      const tall = point[name] / most * (HEIGHT - 28);
      if (!tall) continue;
      y -= tall;
      nodes.push(s('rect', {class: 'bar-' + name, x: 46 + index * step, y, width: Math.max(step - .4, .8), height: tall}));
    }
  });
  const sum = name => points.reduce((all, point) => all + point[name], 0);
  const told = `${sum('succeeded')} succeeded, ${sum('failed')} failed, ${sum('retried')} retried`;
  return chart('Throughput, tasks per second', told, WIDTH, HEIGHT, nodes,
    [['good', count(sum('succeeded')) + ' succeeded'], ['bad', count(sum('failed')) + ' failed'],
      ['warn', count(sum('retried')) + ' retried']]);
}

function latency(data, what, title) {
  const points = data.points;
  const values = name => points.map(point => point[what + name]);
  const high = Math.max(1e-3, ...values(95).filter(value => value !== null));
  const step = (WIDTH - 46) / points.length;
  const nodes = axis(WIDTH, HEIGHT, points, high, age);
  for (const [name, kind] of [['50', 'a'], ['95', 'b']]) {
    let path = '', before = -2;
    values(name).forEach((value, index) => {
      if (value === null) return;
      const x = 46 + (index + .5) * step, y = HEIGHT - 20 - value / high * (HEIGHT - 28);
      path += before === index - 1 ? `L${x.toFixed(1)} ${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}h1`;
      before = index;
    });
    if (path) nodes.push(s('path', {class: 'line line-' + kind, d: path}));
  }
  const last = [...points].reverse().find(point => point[what + '50'] !== null);
  const told = last ? `last: median ${age(last[what + '50'])}, 95 of 100 below ${age(last[what + '95'])}` : 'nothing yet';
  return chart(title, told, WIDTH, HEIGHT, nodes, [['info', 'median'], ['warn', '95th percentile'], ['soft', told]]);
}

// --- pages

function table(caption, heads, rows, empty) {
  if (!rows.length) return h('div', {}, h('h2', {}, caption), h('p', {class: 'empty'}, empty));
  return h('div', {class: 'wide'}, h('table', {},
    h('caption', {}, caption),
    h('thead', {}, h('tr', {}, heads.map(([text, kind]) => h('th', {scope: 'col', class: kind}, text)))),
    h('tbody', {}, rows)));
}

const unknown = column => h('td', {class: 'n', title: known.unknown[column] || 'not known'}, '?');
function oldest(row) {
  if (row.oldest_is === 'unknown') return unknown('oldest');
  const least = row.oldest_is === 'at least';
  return h('td', {class: 'n', title: least ? 'at least: so long it has been seen waiting' : null}, (least ? '>' : '') + age(row.oldest));
}
const number = (row, column) => row[column] === null && known.unknown[column] ? unknown(column) : h('td', {class: 'n'}, count(row[column]));

function queueRows() {
  return known.queues.map(row => h('tr', {'data-queue': row.queue},
    h('td', {}, link('/tasks?q=' + encodeURIComponent('queue:"' + row.queue + '"'), row.queue)),
    h('td', {class: 'n'}, count(row.ready)), oldest(row),
    h('td', {class: 'n'}, count(row.consumers)), number(row, 'unacked'), number(row, 'parked'),
    h('td', {}, row.paused ? h('span', {class: 'warn'}, 'paused') : row.dead ? 'dead letters' : row.ready && !row.consumers
      ? h('span', {class: 'warn'}, row.unacked ? 'who takes from it does not answer' : 'nobody takes from it') : null),
    h('td', {}, row.paused ? action('resume', {queue: row.queue}) : row.consumers ? action('pause', {queue: row.queue}) : null)));
}
const QUEUE_HEADS = [['Queue'], ['Waiting', 'n'], ['Oldest', 'n'], ['Consumers', 'n'], ['Unacked', 'n'], ['Parked', 'n'], [''], ['']];

function workerRows() {
  return known.workers.map(row => h('tr', {},
    h('td', {}, link('/worker/' + encodeURIComponent(row.name), row.name)),
    h('td', {}, h('span', {class: 'state ' + (row.alive ? 'online' : 'offline')}, row.alive ? 'online' : 'offline')),
    h('td', {class: 'n'}, count(row.active) + (row.pool_size ? ' of ' + row.pool_size : '')),
    h('td', {class: 'n'}, count(row.processed)),
    h('td', {class: 'n'}, row.load.map(value => value.toFixed(2)).join(' ')),
    h('td', {class: 'cut'}, row.queues.join(', ')),
    h('td', {}, row.software)));
}
const WORKER_HEADS = [['Worker'], ['State'], ['Running', 'n'], ['Done', 'n'], ['Load', 'n'], ['Queues'], ['Software']];

let span = 'hour';
async function overview() {
  const data = await ask('api/charts?span=' + span);
  const alive = known.workers.filter(row => row.alive).length;
  const sum = name => known.queues.reduce((all, row) => all + (row[name] || 0), 0);
  const running = known.workers.filter(row => row.alive).reduce((all, row) => all + row.active, 0);
  const figure = (path, value, text) => link(path, h('b', {}, value), h('span', {}, text));
  const failed = known.totals.FAILURE || 0;
  return [
    h('section', {class: 'figures', 'aria-label': 'In short'},
      figure('/workers', `${alive} of ${known.workers.length}`, 'workers online'),
      figure('/tasks?q=state:STARTED', count(running), 'tasks running'),
      figure('/', count(sum('ready')), 'waiting in queues'),
      figure('/tasks?q=state:FAILURE', count(failed), 'failed, of those remembered'),
      figure('/tasks', count(Object.values(known.totals).reduce((all, each) => all + each, 0)), 'tasks remembered')),
    h('section', {}, table('Queues', QUEUE_HEADS, queueRows(), 'No queues are known yet.')),
    h('p', {class: 'buttons left', role: 'group', 'aria-label': 'Time shown in the charts'},
      ['hour', 'week'].map(each => h('button', {
        type: 'button', 'aria-pressed': String(each === span), class: each === span ? 'yes' : null,
        onclick: () => { span = each; refresh(); },
      }, 'Last ' + each))),
    h('div', {class: 'two'}, throughput(data), latency(data, 'run', 'Runtime'), latency(data, 'wait', 'Time from sending to start')),
    h('section', {}, table('Workers', WORKER_HEADS, workerRows(), 'No worker has been heard of yet. Workers tell of tasks when they run with -E.')),
  ];
}

const workers = async () => [h('section', {}, table('Workers', WORKER_HEADS, workerRows(), 'No worker has been heard of yet.'))];

async function worker(name) {
  const row = known.workers.find(each => each.name === name);
  if (!row) return [h('section', {}, h('h2', {}, name), h('p', {class: 'empty'}, 'Nothing is known of this worker.'))];
  const found = await ask('api/tasks?q=' + encodeURIComponent('worker:"' + name + '"'));
  return [
    h('section', {}, h('h2', {}, name),
      facts([['State', h('span', {class: 'state ' + (row.alive ? 'online' : 'offline')}, row.alive ? 'online' : 'offline')],
        ['Last heard', moment(row.heard)], ['Process', row.pid || '–'], ['Software', row.software],
        ['Pool', [row.pool_kind, row.pool_size ? `of ${row.pool_size}` : ''].join(' ')], ['Queues', row.queues.join(', ') || '–'],
        ['Running', count(row.active)], ['Done since it started', count(row.processed)]]),
      h('p', {class: 'buttons left'}, ['pool_grow', 'pool_shrink', 'add_consumer', 'cancel_consumer', 'shutdown']
        .map(each => action(each, {worker: name})))),
    h('section', {}, table('Its tasks', TASK_HEADS, found.tasks.map(taskRow), 'None are remembered.')),
  ];
}

const TASK_HEADS = [['State'], ['Task'], ['Id'], ['Arguments'], ['Worker'], ['Took', 'n'], ['Last heard', 'n'], ['']];
function taskRow(row) {
  const kwargs = row.kwargs && row.kwargs !== '{}' ? ' ' + row.kwargs : '';
  return h('tr', {},
    h('td', {}, state(row.state)), h('td', {}, row.name || '?'),
    h('td', {class: 'id'}, link(taskPath(row.id), row.id)),
    h('td', {class: 'cut', title: row.args + kwargs}, row.args + kwargs), h('td', {}, row.worker),
    h('td', {class: 'n'}, row.runtime === null ? '–' : age(row.runtime)), h('td', {class: 'n'}, clock(row.updated)),
    h('td', {class: 'cut'}, row.exception || row.result));
}

let pages = 1;  // of the list that are shown
async function tasks(query) {
  const typed = new URLSearchParams(query).get('q') || '';
  let found = {tasks: [], more: ''}, before = '';
  for (let page = 0; page < pages; page++) {
    const next = await ask('api/tasks?q=' + encodeURIComponent(typed) + '&before=' + encodeURIComponent(before));
    found = {tasks: found.tasks.concat(next.tasks), more: next.more};
    before = next.more;
    if (!before) break;
  }
  const input = h('input', {id: 'search', type: 'search', name: 'q', value: typed, placeholder: 'name, id, argument, worker, error…', 'aria-label': 'Search tasks', 'aria-describedby': 'search-hint', autocomplete: 'off'});
  const form = h('form', {
    class: 'search', role: 'search',
    onsubmit: event => { event.preventDefault(); pages = 1; main.focus(); location.hash = '/tasks?q=' + encodeURIComponent(input.value); },
  }, input, h('button', {type: 'submit', class: 'yes'}, 'Search'));
  return [
    h('section', {}, form, h('p', {class: 'hint', id: 'search-hint'},
      'Every word must be found. Or say where: name:add state:FAILURE worker:w1 queue:mail id:4f3 arg:42')),
    h('section', {}, table(typed ? 'Tasks found' : 'Tasks', TASK_HEADS, found.tasks.map(taskRow), typed ? 'No task is like that.' : 'No task has been heard of yet.'),
      found.more ? h('p', {class: 'buttons left'}, h('button', {type: 'button', onclick: () => { pages += 1; refresh(); }}, 'Older')) : null),
  ];
}

const facts = rows => h('dl', {}, rows.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));

async function task(id) {
  const found = await ask('api/task?id=' + encodeURIComponent(id));
  const each = found.task;
  const over = ['SUCCESS', 'FAILURE', 'REVOKED', 'REJECTED'].includes(each.state);
  const related = (name, uuid) => uuid && uuid !== each.id ? [[name, h('span', {class: 'id'}, link(taskPath(uuid), uuid))]] : [];
  return [
    h('section', {}, h('h2', {}, each.name || '?', ' ', state(each.state)),
      facts([['Id', h('span', {class: 'id'}, each.id)], ['Worker', each.worker ? link('/worker/' + encodeURIComponent(each.worker), each.worker) : '–'],
        ...(each.queue ? [['Queue', each.queue]] : []),
        ['Arguments', h('code', {}, each.args || '–')], ['Keyword arguments', h('code', {}, each.kwargs || '–')],
        ['Result', h('code', {}, each.result || '–')], ['Took', each.runtime === null ? '–' : age(each.runtime)],
        ['Retries', each.retries], ...(each.eta ? [['Not before', each.eta]] : []), ...(each.expires ? [['Expires', each.expires]] : []),
        ...related('Called by', each.parent_id), ...related('Began with', each.root_id)]),
      h('p', {class: 'buttons left'},
        over ? null : [action('revoke', {id: each.id}), action('terminate', {id: each.id})],
        action('retry', {id: each.id}), each.name ? [action('rate_limit', {name: each.name}), action('time_limit', {name: each.name})] : null)),
    each.exception || each.traceback ? h('section', {}, h('h2', {}, 'Error'), h('p', {}, h('code', {}, each.exception)), h('pre', {tabindex: 0}, each.traceback || 'No traceback was told.')) : null,
    h('section', {}, h('h2', {}, 'Life'), h('ol', {class: 'steps'}, each.steps.map(step => h('li', {},
      h('time', {datetime: new Date(step.at * 1000).toISOString()}, moment(step.at)), h('b', {}, step.kind),
      step.worker ? ' on ' + step.worker : '', step.told ? ': ' + step.told : '')))),
    found.family.boxes.length > 1 ? h('section', {}, h('h2', {}, 'Family'), tree(found.family, each.id)) : null,
  ];
}

const BOX = {w: 190, h: 40, dx: 240, dy: 56};
function tree(family, self) {
  const place = new Map(family.boxes.map(box => [box.id, {x: 16 + box.column * BOX.dx, y: 26 + box.row * BOX.dy, box}]));
  const nodes = [];
  const around = [...place.values()];
  for (const [group, members] of Object.entries(family.groups)) {
    const found = members.map(each => place.get(each)).filter(Boolean);
    if (found.length < 2) continue;
    const x = Math.min(...found.map(each => each.x)) - 8, y = Math.min(...found.map(each => each.y)) - 8;
    const right = Math.max(...found.map(each => each.x)) + BOX.w + 8, low = Math.max(...found.map(each => each.y)) + BOX.h + 8;
    const chord = family.lines.some(([from, , kind]) => kind === 'chord' && members.includes(from));
    nodes.push(s('g', {}, s('title', {}, group), s('rect', {class: 'group', x, y, width: right - x, height: low - y, rx: 8}),
      s('text', {x: x + 6, y: y - 4}, `${chord ? 'chord: ' : ''}group of ${members.length}`)));
  }
  for (const [from, to, kind] of family.lines) {
    const a = place.get(from), b = place.get(to);
    const x1 = a.x + BOX.w, y1 = a.y + BOX.h / 2, x2 = b.x, y2 = b.y + BOX.h / 2, bend = Math.max(24, (x2 - x1) / 2);
    nodes.push(s('path', {class: 'edge edge-' + kind, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`}));
  }
  const short = text => text.length > 26 ? '…' + text.slice(-25) : text;
  for (const {x, y, box} of around) {
    const known = /^[A-Z]+$/.test(box.state) ? box.state : '';
    nodes.push(s('a', {href: '#' + taskPath(box.id), 'aria-label': `${box.name} ${box.state}`},
      s('g', {class: `box ${known}${box.id === self ? ' self' : ''}`},
        s('title', {}, box.id), s('rect', {x, y, width: BOX.w, height: BOX.h, rx: 6}),
        s('text', {x: x + 8, y: y + 16}, short(box.name || '?')),
        s('text', {class: 'small', x: x + 8, y: y + 32}, box.state + (box.runtime === null ? '' : ' · ' + age(box.runtime))))));
  }
  const width = Math.max(...around.map(each => each.x)) + BOX.w + 16, height = Math.max(...around.map(each => each.y)) + BOX.h + 16;
  return [h('div', {class: 'tree', tabindex: 0, role: 'group', 'aria-label': 'Who called whom'}, s('svg', {viewBox: `0 0 ${width} ${height}`, width, height}, nodes)),
    h('ul', {class: 'key'}, h('li', {}, 'line: follows, as in a chain'), h('li', {}, 'dots: called while it ran'), h('li', {class: 'k-info'}, 'blue: a group, and what waits for all of it (chord)')),
    family.hidden ? h('p', {class: 'hint'}, `${family.hidden} more are not drawn.`) : null];
}

// --- moving about

const PAGES = [
  [/^\/$/, overview], [/^\/workers$/, workers], [/^\/worker\/(.+)$/, match => worker(decodeURIComponent(match[1]))],
  [/^\/tasks(?:\?(.*))?$/, match => tasks(match[1] || '')], [/^\/task\/(.+)$/, match => task(decodeURIComponent(match[1]))],
];

async function render(anew) {
  const path = location.hash.slice(1) || '/';
  const turn = ++drawn;
  const [pattern, page] = PAGES.find(([each]) => each.test(path)) || PAGES[0];
  let nodes;
  try {
    nodes = await page(pattern.exec(path));
  } catch (problem) {
    if (!anew) { problemIs(problem.message); return; }
    nodes = [h('section', {}, h('p', {}, problem.message))];
  }
  if (turn !== drawn) return;
  for (const each of document.querySelectorAll('nav a')) {
    const here = each.getAttribute('href').slice(1);
    if (here === '/' ? path === '/' : path.startsWith(here.replace(/s$/, ''))) each.setAttribute('aria-current', 'page');
    else each.removeAttribute('aria-current');
  }
  // Who reads, types or stands on a button is not disturbed: what has the focus has it afterwards.
  const typing = document.activeElement;
  const typed = typing && typing.id === 'search' ? [typing.value, typing.selectionStart, typing.selectionEnd] : null;
  const inside = main.contains(typing);
  const place = inside ? [...main.querySelectorAll('a, button, input, [tabindex]')].indexOf(typing) : -1;
  const scrolled = [...main.querySelectorAll('.wide, .tree, pre')].map(each => [each.scrollLeft, each.scrollTop]);
  main.replaceChildren(...nodes.filter(Boolean));
  // Nor is who has come back to the search before the answer to the last one is here.
  const further = typed && $('search');
  if (anew && !further) { main.focus(); window.scrollTo(0, 0); }
  else {
    [...main.querySelectorAll('.wide, .tree, pre')].forEach((each, index) => {
      if (scrolled[index]) [each.scrollLeft, each.scrollTop] = scrolled[index];
    });
    if (further) { $('search').value = typed[0]; $('search').focus(); $('search').setSelectionRange(typed[1], typed[2]); }
    else if (inside) (main.querySelectorAll('a, button, input, [tabindex]')[place] || main).focus({preventScroll: true});
  }
  shownPage = path;
}

function problemIs(text) {
  $('problem').textContent = text;
  $('problem').hidden = !text;
}

async function refresh(anew = false) {
  try {
    known = await ask('api/overview');
  } catch (problem) {
    problemIs('What is shown may be old: ' + problem.message);
    $('live').textContent = 'not connected';
    return false;
  }
  version = known.version;
  $('title').textContent = known.title;
  document.title = known.title + ' – celeriac';
  problemIs(known.problem);
  $('live').textContent = 'live' + (Object.keys(known.acts).length ? '' : ' · for looking only');
  await render(anew || shownPage === null);
  return true;
}

let following = false;
async function follow() {
  if (following) return;
  following = true;
  while (true) {
    let pause = 400;  // of many changes at once, one look
    if (document.hidden) await new Promise(done => document.addEventListener('visibilitychange', done, {once: true}));
    try {
      const news = await ask('api/changes?since=' + version);
      if (news.version !== version && !$('confirm').open) await refresh();
    } catch (problem) {
      $('live').textContent = 'not connected';
      problemIs('What is shown may be old: ' + problem.message);
      pause = 3000;
      if ($('enter').open) break;
    }
    await new Promise(done => setTimeout(done, pause));
  }
  following = false;
}

async function go() {
  if (await refresh(true)) follow();
  else if (!$('enter').open) setTimeout(go, 3000);
}

addEventListener('hashchange', () => {
  if (location.hash.includes('token=')) { takeToken(); go(); return; }
  pages = shownPage && shownPage.split('?')[0] === location.hash.slice(1).split('?')[0] ? pages : 1;
  if (location.hash !== '#main') render(true);
});
document.querySelector('.skip').addEventListener('click', event => { event.preventDefault(); main.focus(); });
addEventListener('keydown', event => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
  if (event.key === '/' && !typing && !document.querySelector('dialog[open]')) {
    event.preventDefault();
    if ($('search')) $('search').focus();
    else { location.hash = '/tasks'; setTimeout(() => $('search') && $('search').focus(), 300); }
  }
});
$('theme').addEventListener('click', () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  localStorage.setItem('theme', root.dataset.theme);
});
if (['dark', 'light'].includes(localStorage.getItem('theme'))) document.documentElement.dataset.theme = localStorage.getItem('theme');

takeToken();
go();
