// The state of this one sidecar, as `/ready` tells it.
import { element, facts, row, showRows, table } from './element.js';
import { count, moment } from './words.js';

const columns = ['Delivers to', 'State', 'Attempts under way'];
const failures = {
  sidecarKill: 'a sidecar that is killed',
  brokerKill: 'a broker process that is killed',
  brokerNodeLoss: 'the loss of one broker node',
  powerLossOfOneNode: 'a power failure of one node',
  powerLossOfAllNodes: 'a power failure of all nodes',
};

export function sidecarView() {
  const about = element('div', []);
  const inbound = table(columns);
  const broker = element('div', []);
  const configuration = element('div', []);
  const root = element('section', [
    element('h1', 'This sidecar'),
    about,
    element('h2', 'Deliveries'),
    inbound.element,
    element('h2', 'What an acknowledged call survives'),
    broker,
    element('h2', 'Configuration'),
    configuration,
  ]);
  return {
    title: 'This sidecar',
    root,
    async refresh(health) {
      show(about, aboutParts(health), health);
      const empty = 'None: this sidecar has no inbound service and no subscription.';
      showRows(inbound, health.inbound, nameOf, inboundRow, empty);
      show(broker, brokerParts(health.broker), health.broker);
      show(configuration, configurationParts(health.configuration), health.configuration);
      return [health.service];
    },
  };
}

/** Replaces what is shown where it says something else now. */
function show(place, parts, told) {
  const says = JSON.stringify(told);
  if (place.says !== says) place.replaceChildren(...parts);
  place.says = says;
}

function aboutParts({ service, instance, version, outbound, broker }) {
  const { listeners, held } = outbound;
  return [
    facts({
      Service: service,
      Instance: element('code', instance),
      Version: version,
      'Takes calls at': listeners.length === 0 ? 'nowhere: it has no outbound section' : listeners.join(', '),
      'Callers kept waiting': held,
      Broker: `${broker.engine ?? 'not known yet'} ${broker.version ?? ''}${broker.connected ? '' : ', not connected'}`,
    }),
  ];
}

function nameOf({ service, subscription }) {
  return subscription === undefined ? service : `${service}/${subscription}`;
}

function inboundRow(entry) {
  const { delivering, why, running } = entry;
  const state = delivering ? 'delivering' : `waiting: ${why ?? 'not known why'}`;
  return row(columns, [
    element('td', nameOf(entry), { class: 'name' }),
    element('td', state, { class: delivering ? 'free' : 'free slow' }),
    element('td', running, { class: 'number' }),
  ]);
}

function brokerParts({ survives, notes = [], replicas, storage }) {
  if (survives === undefined) return [element('p', 'Not known: the broker has not told yet.', { class: 'note' })];
  const entries = Object.entries(survives).map(([name, holds]) =>
    element('li', [
      element('span', holds ? 'yes' : 'no', { class: `state ${holds ? 'answered' : 'waiting'}` }),
      ` ${failures[name] ?? name}`,
    ]),
  );
  const told = notes.map((note) => element('p', note, { class: 'note' }));
  return [
    element('p', `${count(replicas, 'copy', 'copies')}, in ${storage}`),
    element('ul', entries, { class: 'plain' }),
    ...told,
  ];
}

function configurationParts({ loadedAt, lastReloadError }) {
  const loaded = element('p', ['In force since ', moment(loadedAt), '.']);
  if (lastReloadError === undefined) return [loaded];
  const errors = lastReloadError.errors.map((error) => element('li', element('code', error)));
  return [
    loaded,
    element('p', ['A change was refused at ', moment(lastReloadError.at), '; the old configuration goes on:'], {
      class: 'bad',
    }),
    element('ul', errors, { class: 'plain' }),
  ];
}
