// Who calls whom: a picture, and the same as a table.
import { ask } from './api.js';
import { element, link, row, showRows, table } from './element.js';
import { graph } from './graph.js';
import { percent, rate, span } from './words.js';

const columns = ['From', 'To', 'Routes', 'Rate', 'Median', 'p99', 'Errors', 'Waiting', 'Oldest', 'Dead letters'];
const windows = { '1m': 'minute', '15m': '15 minutes', '1h': 'hour' };
/** A call that has been waiting for longer than this is worth a colour, ms. */
const long = 10_000;

const ofSubscription = ['Subscription', 'Topic', 'State', 'Waiting', 'Oldest', 'Dead letters'];

export function topologyView(query) {
  const window = Object.hasOwn(windows, query.window ?? '') ? query.window : '15m';
  const picture = element('div', [], { class: 'picture' });
  const edges = table(columns);
  const subscriptions = table(ofSubscription);
  const others = element('div', [element('h2', 'Subscriptions'), subscriptions.element], { hidden: true });
  const choice = Object.entries(windows).map(([value, text]) =>
    link(text, '/', { window: value === '15m' ? '' : value }, { 'aria-current': value === window && 'true' }),
  );
  const intro = element('p', ['Rates, times and errors are of calls that finished within the last '], {
    class: 'note',
  });
  intro.append(element('span', choice, { class: 'choice' }));
  let drawn;
  return {
    title: 'Topology',
    root: element('section', [element('h1', 'Who calls whom'), intro, picture, edges.element, others]),
    async refresh() {
      const [found, { subscriptions: listed }] = await Promise.all([
        ask(`/api/topology?window=${window}`),
        ask('/api/subscriptions'),
      ]);
      const timed = found.edges.map((edge) => ({ ...edge, oldest: ageOf(edge) }));
      const taken = listed.map((each) => ({ ...each, oldest: ageOf(each) }));
      others.hidden = taken.length === 0;
      showRows(subscriptions, taken, ({ service, name }) => `${service} ${name}`, subscriptionRow, '');
      const says = JSON.stringify(found);
      if (says !== drawn) picture.replaceChildren(...[graph(found, stateOf)].filter(Boolean));
      drawn = says;
      showRows(edges, timed, ({ from, to }) => `${from} ${to}`, edgeRow, whenEmpty());
      return found.services.map(({ name }) => name);
    },
  };
}

function whenEmpty() {
  return 'No calls yet. They appear here as soon as a sidecar on this broker has stored one.';
}

function ageOf({ oldestWaitingSince }) {
  return oldestWaitingSince === null ? null : Math.max(0, Date.now() - Date.parse(oldestWaitingSince));
}

/** Dead letters and errors want a person; what waits is what Holdline is for. */
function stateOf(edge) {
  if (edge.errors > 0 || edge.deadLetters > 0) return 'bad';
  return edge.waiting > 0 && ageOf(edge) > long ? 'slow' : '';
}

function edgeRow(edge) {
  const { from, to, waiting, deadLetters, oldest, latencyMs } = edge;
  return row(columns, [
    element('td', from, { class: 'name' }),
    element('td', link(to, '/calls', { caller: from, service: to }), { class: 'name' }),
    element('td', edge.routes.join(', '), { class: 'free' }),
    number(rate(edge.perSecond)),
    number(span(latencyMs?.p50)),
    number(span(latencyMs?.p99)),
    number(percent(edge.errors, edge.finished), edge.errors > 0 && 'bad'),
    linked(waiting, '/calls', { caller: from, service: to, state: 'waiting' }),
    number(span(oldest), oldest > long && 'slow'),
    linked(deadLetters, '/dead-letters', { service: to }, 'bad'),
  ]);
}

function subscriptionRow({ service, name, topic, state, waiting, oldest, deadLetters }) {
  const isEnded = state === 'ended';
  const how = isEnded ? 'ended: its subscriber answered 410; holdline subscriptions resume lets it go on' : state;
  return row(ofSubscription, [
    element('td', `${service}/${name}`, { class: 'name' }),
    element('td', topic, { class: 'name' }),
    element('td', how, { class: isEnded ? 'free bad' : 'free' }),
    number(waiting),
    number(span(oldest), oldest > long && 'slow'),
    linked(deadLetters, '/dead-letters', { service }, 'bad'),
  ]);
}

function linked(amount, path, query, className) {
  return element('td', amount === 0 ? '0' : link(String(amount), path, query, { class: className }), {
    class: 'number',
  });
}

function number(text, className) {
  return element('td', text, { class: ['number', className].filter(Boolean).join(' ') });
}
