// The list of calls, newest first.
import { ask } from './api.js';
import { doing } from './dialog.js';
import { button, element, hashOf, link, row, showRows, table } from './element.js';
import { moment, span } from './words.js';

const columns = ['Accepted', 'State', 'Status', 'Call', 'From', 'To', 'Route', 'Attempts', 'Took'];
const states = ['waiting', 'attempting', 'answered', 'dead', 'cancelled'];
const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const pageSize = 50;

export function callsView(query) {
  const calls = table(columns);
  const more = button('Older calls', () => doing(older()), { hidden: true });
  const form = filter(query);
  let shown = pageSize;

  async function refresh() {
    const filters = Object.entries(pick(query)).filter(([, value]) => value);
    const { calls: found, next } = await ask(
      `/api/calls?${new URLSearchParams([...filters, ['limit', String(shown)]])}`,
    );
    const empty = filters.length === 0 ? 'No calls yet.' : 'No calls that fit the filter.';
    showRows(calls, found, ({ id }) => id, callRow, empty);
    more.hidden = next === null || shown >= 500;
    return found.flatMap(({ caller, service }) => [caller, service]);
  }

  /** A longer list, not a further page: what is new comes in at the top meanwhile. */
  async function older() {
    shown = Math.min(500, shown + pageSize);
    await refresh();
  }

  return { title: 'Calls', root: element('section', [element('h1', 'Calls'), form, calls.element, more]), refresh };
}

function pick({ state, service, caller }) {
  return { state, service, caller };
}

/** Its answers are in the address, so that a filter can be kept, sent to somebody, and gone back from. */
function filter(query) {
  const options = states.map((state) => element('option', state, { selected: state === query.state }));
  const any = element('option', 'any', { value: '' });
  const form = element(
    'form',
    [
      element('label', ['State', element('select', [any, ...options], { name: 'state' })]),
      element('label', ['From', nameField('caller', query.caller)]),
      element('label', ['To', nameField('service', query.service)]),
      element('label', [
        'Call id',
        element('input', [], { name: 'id', size: 36, placeholder: 'shows this one call', spellcheck: 'false' }),
      ]),
    ],
    { class: 'filter' },
  );
  const apply = () => {
    const { id, ...given } = Object.fromEntries(new FormData(form));
    const wanted = id.trim().toLowerCase();
    if (isId.test(wanted)) location.hash = hashOf(`/calls/${wanted}`);
    else if (wanted === '') location.hash = hashOf('/calls', given);
  };
  form.addEventListener('change', apply);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    apply();
  });
  return form;
}

function nameField(name, value) {
  return element('input', [], {
    name,
    value,
    size: 16,
    list: 'services',
    placeholder: 'any service',
    spellcheck: 'false',
  });
}

function callRow(call) {
  const took = call.finishedAt === null ? null : Date.parse(call.finishedAt) - Date.parse(call.acceptedAt);
  return row(columns, [
    element('td', moment(call.acceptedAt)),
    element('td', stateOf(call.state)),
    element('td', call.status, { class: call.status >= 500 ? 'bad' : '' }),
    element('td', link(`${call.method} ${call.path}`, `/calls/${call.id}`), { class: 'free' }),
    element('td', call.caller, { class: 'name' }),
    element('td', call.service, { class: 'name' }),
    element('td', call.route, { class: 'name' }),
    element('td', call.attempts, { class: 'number' }),
    element('td', span(took), { class: 'number' }),
  ]);
}

/** A state with its colour. */
export function stateOf(state) {
  return element('span', state, { class: `state ${state}` });
}
