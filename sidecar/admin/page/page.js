// The page of the admin listener. What is shown came from callers and callees: it is only ever set as text.

const every = 5000;
const lists = {
  calls: { key: 'calls', row: callRow, empty: 'No calls.', columns: 8, next: null },
  letters: { key: 'deadLetters', row: letterRow, empty: 'No dead letters.', columns: 7, next: null },
};

async function api(path, method = 'GET') {
  const headers = { 'content-type': 'application/json' };
  const token = sessionStorage.getItem('token');
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { method, headers });
  const body = await response.json();
  if (response.status === 401) find('#token').hidden = false;
  if (!response.ok && path !== '/ready') throw new Error(body.detail ?? body.error ?? response.statusText);
  return body;
}

function find(selector) {
  return document.querySelector(selector);
}

function element(name, content, className) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...(Array.isArray(content) ? content : [content ?? '–']));
  return made;
}

function row(cells) {
  return element(
    'tr',
    cells.map((cell) => (cell instanceof Node ? cell : element('td', cell === null ? undefined : String(cell)))),
  );
}

function span(ms) {
  if (ms === null || ms === undefined) return null;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 86_400_000 ? `${(ms / 3_600_000).toFixed(1)} h` : `${(ms / 86_400_000).toFixed(1)} d`;
}

function moment(text) {
  return text === null ? null : new Date(text).toLocaleString();
}

function link(call) {
  const made = element('a', `${call.method} ${call.path}`);
  made.href = `#/calls/${call.id}`;
  return element('td', [made], 'free');
}

function edgeRow(edge) {
  const rate = edge.perSecond >= 1 ? `${edge.perSecond.toFixed(1)}/s` : `${(edge.perSecond * 60).toFixed(1)}/min`;
  const errors = edge.finished === 0 ? null : `${((edge.errors / edge.finished) * 100).toFixed(1)} %`;
  const oldest = edge.oldestWaitingSince === null ? null : Date.now() - Date.parse(edge.oldestWaitingSince);
  return row([
    edge.from,
    edge.to,
    element('td', edge.routes.join(', '), 'free'),
    rate,
    span(edge.latencyMs?.p50),
    span(edge.latencyMs?.p99),
    element('td', errors ?? undefined, edge.errors > 0 ? 'bad' : ''),
    edge.waiting,
    element('td', span(oldest) ?? undefined, oldest > 60_000 ? 'slow' : ''),
    element('td', String(edge.deadLetters), edge.deadLetters > 0 ? 'bad' : ''),
  ]);
}

function callRow(call) {
  const took = call.finishedAt === null ? null : Date.parse(call.finishedAt) - Date.parse(call.acceptedAt);
  return row([
    moment(call.acceptedAt),
    element('td', call.state, call.state === 'dead' ? 'bad' : ''),
    call.status,
    link(call),
    call.caller,
    call.service,
    call.attempts,
    span(took),
  ]);
}

function letterRow(letter) {
  return row([
    moment(letter.diedAt),
    element('td', letter.reason, 'bad'),
    link(letter),
    letter.caller,
    letter.service,
    letter.history.length,
    element('td', [
      button('Replay', () => act(letter, 'replay')),
      ' ',
      button('Discard', () => act(letter, 'discard')),
    ]),
  ]);
}

function button(text, onClick) {
  const made = element('button', text);
  made.addEventListener('click', onClick);
  return made;
}

function act(letter, action) {
  const risk =
    action === 'replay' && letter.reason === 'outcome-unknown' ? ' It may have been carried out already.' : '';
  if (!confirm(`${action === 'replay' ? 'Replay' : 'Discard'} ${letter.method} ${letter.path}?${risk}`)) return;
  tell(async () => {
    await api(`/api/dead-letters/${letter.id}/${action}`, 'POST');
    await refresh();
  });
}

async function load(name, path, more) {
  const list = lists[name];
  const body = await api(path);
  const rows = body[list.key].map(list.row);
  const table = find(`#${name} tbody`);
  if (!more && rows.length === 0) {
    const cell = element('td', list.empty, 'none');
    cell.colSpan = list.columns;
    rows.push(element('tr', [cell]));
  }
  if (more) table.append(...rows);
  else table.replaceChildren(...rows);
  list.next = body.next;
  list.older = more || (list.older && body.next !== null);
  find(`[data-more=${name}]`).hidden = body.next === null;
}

function filter() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(find('#filter'))) if (value !== '') query.set(name, value);
  return `/api/calls?${query}`;
}

async function showStatus() {
  const health = await api('/ready');
  const status = find('#status');
  if (health.error) throw new Error(health.error);
  const { engine = 'broker', version = '' } = health.broker;
  const well = `${health.service}: ready; ${engine} ${version}; ${health.outbound.held} held`;
  status.textContent = health.problems.length === 0 ? well : `${health.service}: ${health.problems.join('; ')}`;
  status.className = health.ready ? (health.problems.length === 0 ? '' : 'slow') : 'bad';
}

async function showTopology() {
  const { edges } = await api('/api/topology');
  const none = element('td', 'No calls.', 'none');
  none.colSpan = 10;
  find('#topology tbody').replaceChildren(...(edges.length === 0 ? [element('tr', [none])] : edges.map(edgeRow)));
}

function happened(story) {
  const events = [{ at: story.acceptedAt, text: `accepted from ${story.caller} for ${story.service}` }];
  for (const { at, attempt, evidence, status, detail, instance, ms } of story.history) {
    const what = [evidence, status, detail, ms === null ? null : span(ms)].filter((part) => part !== null);
    events.push({ at, text: `attempt ${attempt} by sidecar ${instance}: ${what.join(', ')}` });
  }
  for (const { at, how, instance } of story.attached)
    events.push({ at, text: `a caller attached at ${instance}: ${how}` });
  if (story.finishedAt !== null) {
    events.push({ at: story.finishedAt, text: [story.outcome ?? story.state, story.status].filter(Boolean).join(' ') });
  } else {
    events.push({
      at: new Date().toISOString(),
      text: `now ${story.state}; waits for ${story.waitingFor ?? 'nothing known'}`,
    });
  }
  return events.toSorted((a, b) => ((a.at ?? '') < (b.at ?? '') ? -1 : 1));
}

function entryOf({ at, text }) {
  return element('li', [element('time', at === null ? '' : new Date(at).toLocaleTimeString()), text]);
}

async function showStory() {
  const id = /^#\/calls\/([0-9a-f-]{36})$/.exec(location.hash)?.[1];
  find('#story').hidden = id === undefined;
  if (id === undefined) return;
  const story = await api(`/api/calls/${id}`);
  const facts = {
    Call: `${story.method} ${story.target}`,
    Id: story.id,
    Route: story.route,
    State: story.state,
    Deadline: moment(story.deadline),
    Trace: story.traceId,
  };
  find('#story dl').replaceChildren(
    ...Object.entries(facts).flatMap(([name, value]) => [element('dt', name), element('dd', value ?? undefined)]),
  );
  find('#story ol').replaceChildren(...happened(story).map(entryOf));
}

async function refresh() {
  await showStatus();
  await Promise.all([
    showTopology(),
    showStory(),
    // Who has paged further reads; the list must not jump back.
    lists.letters.older ? undefined : load('letters', '/api/dead-letters', false),
    lists.calls.older ? undefined : load('calls', filter(), false),
  ]);
}

/** Does it, and shows what goes wrong where the state of the sidecar stands. */
function tell(work) {
  work().catch((error) => {
    find('#status').textContent = error.message;
    find('#status').className = 'bad';
  });
}

for (const more of document.querySelectorAll('[data-more]')) {
  const { more: name } = more.dataset;
  more.addEventListener('click', () => tell(() => load(name, lists[name].next, true)));
}
find('[data-action=close]').addEventListener('click', () => (location.hash = ''));
find('#filter').addEventListener('input', () => {
  lists.calls.older = false;
  tell(() => load('calls', filter(), false));
});
find('#filter').addEventListener('submit', (event) => event.preventDefault());
find('#token').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem('token', find('#token input').value);
  find('#token').hidden = true;
  tell(refresh);
});
addEventListener('hashchange', () => tell(showStory));
setInterval(() => {
  if (!document.hidden) tell(refresh);
}, every);
tell(refresh);
