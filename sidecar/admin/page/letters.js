// Dead letters: what was given up, to be replayed or discarded, one by one or several at once.
import { ask } from './api.js';
import { confirmed, doing, say } from './dialog.js';
import { button, element, hashOf, link, row, showRows, table } from './element.js';
import { count, evidence, moment, reasons } from './words.js';

const columns = ['Chosen', 'Died', 'Reason', 'Call', 'From', 'To', 'Last attempt', ''];
const pageSize = 50;

export function lettersView(query, again) {
  const letters = table(columns);
  const chosen = new Set();
  let shown = pageSize;
  let here = [];
  const all = element('input', [], { type: 'checkbox', 'aria-label': 'choose all that are shown' });
  const [replay, discard] = ['replay', 'discard'].map((action) =>
    button(action === 'replay' ? 'Replay chosen' : 'Discard chosen', () => doing(actOnChosen(action)), {
      disabled: true,
    }),
  );
  const bar = element('div', [element('label', [all, 'all shown']), replay, discard], { class: 'bar' });
  const more = button('Older dead letters', () => doing(older()), { hidden: true });

  function showChosen() {
    for (const id of chosen) if (!here.some((letter) => letter.id === id)) chosen.delete(id);
    for (const each of letters.body.querySelectorAll('input')) each.checked = chosen.has(each.value);
    all.checked = here.length > 0 && chosen.size === here.length;
    all.indeterminate = chosen.size > 0 && chosen.size < here.length;
    all.disabled = here.length === 0;
    for (const each of [replay, discard]) each.disabled = chosen.size === 0;
  }
  const choose = (id, isChosen) => {
    if (isChosen) chosen.add(id);
    else chosen.delete(id);
    showChosen();
  };
  all.addEventListener('change', () => {
    for (const { id } of here) if (all.checked) chosen.add(id);
    if (!all.checked) chosen.clear();
    showChosen();
  });

  async function actOnChosen(action) {
    await act(
      here.filter(({ id }) => chosen.has(id)),
      action,
      again,
    );
  }

  async function refresh() {
    const filters = Object.entries(pick(query)).filter(([, value]) => value);
    const path = `/api/dead-letters?${new URLSearchParams([...filters, ['limit', String(shown)]])}`;
    const { deadLetters, next } = await ask(path);
    here = deadLetters;
    const empty =
      filters.length === 0 ? 'No dead letters. Nothing was given up.' : 'No dead letters that fit the filter.';
    showRows(
      letters,
      deadLetters,
      ({ id }) => id,
      (letter) => letterRow(letter, choose, again),
      empty,
    );
    bar.hidden = deadLetters.length === 0;
    more.hidden = next === null || shown >= 500;
    showChosen();
    return deadLetters.flatMap(({ caller, service }) => [caller, service]);
  }

  async function older() {
    shown = Math.min(500, shown + pageSize);
    await refresh();
  }

  const intro =
    'Calls that Holdline gave up on, and deliveries to subscriptions. A replay carries one out after all, under the same call id.';
  const parts = [
    element('h1', 'Dead letters'),
    element('p', intro, { class: 'note' }),
    filter(query),
    bar,
    letters.element,
    more,
  ];
  return { title: 'Dead letters', root: element('section', parts), refresh };
}

function pick({ service, route, reason }) {
  return { service, route, reason };
}

function filter(query) {
  const options = Object.keys(reasons).map((reason) =>
    element('option', reason, { selected: reason === query.reason }),
  );
  const field = (name, others) =>
    element('input', [], { name, value: query[name], size: 16, spellcheck: 'false', ...others });
  const form = element(
    'form',
    [
      element('label', [
        'Reason',
        element('select', [element('option', 'any', { value: '' }), ...options], { name: 'reason' }),
      ]),
      element('label', ['To', field('service', { list: 'services', placeholder: 'any service' })]),
      element('label', ['Route', field('route', { placeholder: 'any route' })]),
    ],
    { class: 'filter' },
  );
  const apply = () => (location.hash = hashOf('/dead-letters', Object.fromEntries(new FormData(form))));
  form.addEventListener('change', apply);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    apply();
  });
  return form;
}

function letterRow(letter, choose, again) {
  const what = `${letter.method} ${letter.path}`;
  const box = element('input', [], { type: 'checkbox', value: letter.id, 'aria-label': `choose ${what}` });
  box.addEventListener('change', () => choose(letter.id, box.checked));
  const last = letter.history.at(-1);
  const to = letter.subscription === null ? letter.service : `${letter.service}/${letter.subscription}`;
  return row(columns, [
    element('td', box),
    element('td', moment(letter.diedAt)),
    element('td', element('span', letter.reason, { class: 'state dead', title: reasons[letter.reason] })),
    element('td', link(what, placeOf(letter)), { class: 'free' }),
    element('td', letter.caller, { class: 'name' }),
    element('td', to, { class: 'name' }),
    element('td', last === undefined ? null : lastOf(letter, last), { class: 'free' }),
    element('td', actions(letter, again), { class: 'actions' }),
  ]);
}

/** A call has a story; a delivery to a subscription has only its letter. */
function placeOf({ id, subscription }) {
  return subscription === null ? `/calls/${id}` : `/dead-letters/${id}`;
}

function lastOf({ history }, { attempt, status, evidence: proved }) {
  const number = Math.max(attempt, history.length);
  return `${number}: ${status ?? ''} ${evidence[proved] ?? proved}`.replace('  ', ' ');
}

/** The two buttons of one letter. @param again called when something was done */
export function actions(letter, again) {
  const what = `${letter.method} ${letter.path}`;
  return ['replay', 'discard'].map((action) =>
    button(action === 'replay' ? 'Replay' : 'Discard', () => doing(act([letter], action, again)), {
      'aria-label': `${action === 'replay' ? 'Replay' : 'Discard'} ${what}`,
    }),
  );
}

async function act(letters, action, again) {
  const verb = action === 'replay' ? 'Replay' : 'Discard';
  const [first] = letters;
  const what = letters.length === 1 ? `${first.method} ${first.path}` : count(letters.length, 'dead letter');
  const unknown = letters.filter(({ reason }) => reason === 'outcome-unknown').length;
  if (!(await confirmed(`${verb} ${what}?`, consequence(action, unknown, letters.length), verb))) return;
  let done = 0;
  try {
    for (const { id } of letters) {
      await ask(`/api/dead-letters/${id}/${action}`, 'POST');
      done++;
    }
    say(`${action === 'replay' ? 'Replayed' : 'Discarded'} ${what}.`);
  } catch (error) {
    say(`${verb} ${what}: ${error.message}${done === 0 ? '' : ` (${done} of ${letters.length} were done)`}`, true);
  }
  await again();
}

function consequence(action, unknown, all) {
  if (action === 'discard') return 'It is given up for good, and its key is free again.';
  if (unknown === 0) return 'It is sent to the service again, with a fresh round of attempts.';
  const which = all === 1 ? 'It' : `${unknown} of them`;
  return `${which} may have been carried out already: it was sent, and no answer came. A replay sends it again.`;
}
