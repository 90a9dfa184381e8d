// The page of the admin listener: which view is shown, what it is asked again, and how the sidecar is doing.
import { health, token } from './api.js';
import { callsView } from './calls.js';
import { doing } from './dialog.js';
import { element } from './element.js';
import { lettersView } from './letters.js';
import { sidecarView } from './sidecar-view.js';
import { letterView, storyView } from './story.js';
import { topologyView } from './topology.js';

/** How often what is shown is asked again, ms. */
const every = 5000;
const find = (selector) => document.querySelector(selector);
const again = () => refresh();

const views = [
  { path: /^\/calls\/([0-9a-f-]{36})$/, tab: 'calls', open: ([, id]) => storyView(id, again) },
  { path: /^\/calls$/, tab: 'calls', open: (_, query) => callsView(query) },
  { path: /^\/dead-letters\/([0-9a-f-]{36})$/, tab: 'dead-letters', open: ([, id]) => letterView(id, again) },
  { path: /^\/dead-letters$/, tab: 'dead-letters', open: (_, query) => lettersView(query, again) },
  { path: /^\/sidecar$/, tab: 'sidecar', open: () => sidecarView() },
  { path: /^/, tab: 'topology', open: (_, query) => topologyView(query) },
];

let view;
let timer;
let service = '';

/** The view that the address names takes its place as soon as it has something to show, so that nothing jumps. */
function open() {
  const [path = '', query = ''] = location.hash.slice(1).split('?');
  const { tab, open: opened, path: pattern } = views.find((each) => each.path.test(path));
  view = {
    ...opened(pattern.exec(path), Object.fromEntries(new URLSearchParams(query))),
    path,
    isShown: false,
    isRefused: false,
  };
  for (const each of document.querySelectorAll('[data-view]')) {
    if (each.dataset.view === tab) each.setAttribute('aria-current', 'page');
    else each.removeAttribute('aria-current');
  }
  return refresh();
}

function show(shown) {
  if (shown.isShown) return;
  shown.isShown = true;
  const place = find('#view');
  const focused = place.contains(document.activeElement) ? document.activeElement.name : undefined;
  place.replaceChildren(shown.root);
  document.title = `${shown.title} · ${service} · Holdline`;
  // A filter makes a new view of the same kind; who types in it goes on typing.
  const field = focused ? shown.root.querySelector(`[name="${CSS.escape(focused)}"]`) : null;
  if (field !== null) field.focus();
  else if (place.dataset.path !== undefined && place.dataset.path !== shown.path) {
    find('#main').focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  place.dataset.path = shown.path;
}

async function refresh() {
  clearTimeout(timer);
  const current = view;
  try {
    const state = await health();
    if (state.service !== undefined) service = state.service;
    showStatus(state);
    const names = current.isRefused ? [] : await current.refresh(state);
    if (current !== view) return;
    remember(names ?? []);
    showFailure(undefined);
    show(current);
  } catch (error) {
    if (current !== view) return;
    if (error.status === 403) current.isRefused = true;
    showFailure(error);
    if (error.status !== 401) show(current);
  }
  clearTimeout(timer);
  timer = setTimeout(() => (document.hidden ? undefined : doing(refresh())), every);
}

function showStatus({ ready, problems, broker, outbound }) {
  const [word, state] = ready
    ? problems.length === 0
      ? ['Ready', 'good']
      : ['Ready, with problems', 'slow']
    : ['Not ready', 'bad'];
  const says = `${service} · ${broker.engine ?? 'broker'} ${broker.version ?? ''} · ${outbound.held} held`;
  const pill = find('#status');
  if (pill.textContent !== `${word}${says}`) {
    pill.replaceChildren(element('span', word, { class: `pill ${state}` }), element('span', says, { class: 'note' }));
  }
  setProblems(problems.map((problem, index) => [problem, !ready && index === 0 ? 'bad' : 'slow']));
}

let failure;

/** What is shown stays, and is marked as old. */
function showFailure(error) {
  failure = error;
  const isLocked = error?.status === 401;
  find('#token').hidden = !isLocked;
  find('#view').hidden = isLocked;
  find('#problems').hidden = isLocked;
  find('#view').classList.toggle('old', error !== undefined && error.status !== 404);
  if (isLocked) {
    find('#token [role=alert]').textContent = token.get() === null ? '' : 'That is not the token.';
    if (!find('#token').contains(document.activeElement)) find('#token [type=password]').focus();
  }
  if (error?.status === 0)
    find('#status').replaceChildren(
      element('span', 'No answer', { class: 'pill bad' }),
      element('span', service, { class: 'note' }),
    );
  if (error?.status === 0) setProblems([]);
  showProblems();
}

let problems = [];

function setProblems(told) {
  problems = told;
  showProblems();
}

function showProblems() {
  const all = failure === undefined || failure.status === 401 ? problems : [[failure.message, 'bad'], ...problems];
  const says = JSON.stringify(all);
  const place = find('#problems');
  if (place.dataset.says === says) return;
  place.dataset.says = says;
  place.replaceChildren(
    ...all.map(([text, state]) =>
      element('p', sentence(text), { class: `banner ${state}`, role: state === 'bad' ? 'alert' : 'status' }),
    ),
  );
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

const known = new Set();

/** Names of services, for the fields of filters. */
function remember(names) {
  const before = known.size;
  for (const name of names) known.add(name);
  if (known.size === before) return;
  let list = find('#services');
  if (list === null) {
    list = element('datalist', [], { id: 'services' });
    document.body.append(list);
  }
  list.replaceChildren(
    ...[...known].toSorted((a, b) => (a < b ? -1 : 1)).map((name) => element('option', [], { value: name })),
  );
}

find('#token').addEventListener('submit', (event) => {
  event.preventDefault();
  token.set(find('#token [type=password]').value);
  find('#token [type=password]').value = '';
  doing(refresh());
});
addEventListener('hashchange', () => doing(open()));
document.addEventListener('visibilitychange', () => (document.hidden ? undefined : doing(refresh())));
doing(open());
