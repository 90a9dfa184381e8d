// The topology as a picture: services in columns, callers left of those they call, an arrow for each edge.
import { hashOf, printable } from './element.js';
import { count, percent, rate, span } from './words.js';

/** Sizes in pixels. A lane is where one arrow comes in, with its words. */
const box = { width: 184, least: 46, lane: 44, between: 270, below: 26, edge: 16 };
/** The last part of an arrow is straight, and has its words. */
const straight = 176;
/** More than this is no picture any more; the table has it. */
const most = { services: 40, edges: 60 };
/** Names that are longer are cut; the whole name is shown when the box is pointed at. */
const longest = 20;

/** Undefined where there is nothing to draw, or too much. @param state what is wrong with an edge: `bad`, `slow` or '' */
export function graph({ services, edges }, state) {
  const calling = edges.filter(({ from, to }) => from !== to);
  const names = services
    .map(({ name }) => name)
    .filter((name) => edges.some(({ from, to }) => name === from || name === to));
  if (names.length === 0 || names.length > most.services || edges.length > most.edges) return undefined;
  const places = placed(columnsOf(names, calling), calling);
  const width = Math.max(...[...places.values()].map(({ x }) => x)) + box.width + box.edge;
  const below = edges.some(({ from, to }) => places.get(from).column >= places.get(to).column) ? 48 : 0;
  const height = Math.max(...[...places.values()].map((place) => place.y + place.height)) + box.edge + below;
  const made = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'group' });
  made.setAttribute(
    'aria-label',
    `${count(names.length, 'service')}, ${count(edges.length, 'edge')}; the table below says the same`,
  );
  made.append(heads());
  for (const edge of edges) made.append(arrow(edge, places, state(edge)));
  for (const name of names) made.append(service(name, places.get(name), services, edges));
  return made;
}

/** How far each service is from those that nobody calls. A call back to a caller does not count. */
function columnsOf(names, edges) {
  const columns = new Map();
  const visit = (name, path) => {
    if (columns.has(name)) return columns.get(name);
    if (path.has(name)) return undefined;
    const callers = edges.filter(({ to }) => to === name).map(({ from }) => visit(from, new Set(path).add(name)));
    const column = Math.max(-1, ...callers.filter((each) => each !== undefined)) + 1;
    columns.set(name, column);
    return column;
  };
  for (const name of names) visit(name, new Set());
  return columns;
}

/** Within a column by the height of who calls them, so that arrows cross less; a box is as high as its lanes. */
function placed(columns, edges) {
  const places = new Map();
  const last = Math.max(...columns.values());
  for (let column = 0; column <= last; column++) {
    const here = [...columns].filter(([, of]) => of === column).map(([name]) => ({ name, callers: callersOf(name) }));
    let y = box.edge;
    for (const { name, callers } of here.toSorted((a, b) => middleOf(a.callers) - middleOf(b.callers))) {
      const height = Math.max(box.least, callers.length * box.lane);
      places.set(name, { x: box.edge + column * (box.width + box.between), y, column, height, callers });
      y += height + box.below;
    }
  }
  return places;

  function callersOf(name) {
    const callers = edges.filter(({ from, to }) => to === name && columns.get(from) < columns.get(name));
    return callers.map(({ from }) => from).toSorted((a, b) => places.get(a).y - places.get(b).y);
  }
  function middleOf(callers) {
    return callers.reduce((sum, name) => sum + places.get(name).y, 0) / Math.max(1, callers.length);
  }
}

function service(name, { x, y, height }, services, edges) {
  const instances = services.find((each) => each.name === name)?.instances ?? 0;
  const waiting = edges.some((edge) => edge.to === name && edge.waiting > 0);
  const made = svg('g', { class: 'service' });
  made.append(titled(name), svg('rect', { x, y, width: box.width, height, rx: 8 }));
  const says = instances > 0 ? count(instances, 'sidecar') : waiting ? 'no sidecar takes its calls' : '';
  const middle = y + height / 2;
  made.append(text(x + 12, middle + (says === '' ? 5 : -3), cut(name), 'name'));
  if (says !== '') made.append(text(x + 12, middle + 13, says, instances > 0 ? 'note' : 'slow'));
  return made;
}

function arrow(edge, places, state) {
  const made = svg('a', { href: hashOf('/calls', { caller: edge.from, service: edge.to }), class: `edge ${state}` });
  const { d, at } = wayOf(edge, places);
  const line = svg('path', { d, 'marker-end': `url(#head${state === '' ? '' : `-${state}`})` });
  line.setAttribute('stroke-width', String(1.5 + Math.min(4, Math.log10(1 + edge.perSecond * 60))));
  const troubles = troublesOf(edge);
  made.append(titled(`${edge.from} calls ${edge.to}: ${[speed(edge), ...troubles].join(', ')}`), line);
  made.append(text(at.x, at.y - 8, speed(edge), 'label'));
  if (troubles.length > 0) made.append(text(at.x, at.y + 17, troubles.join(' · '), 'label trouble'));
  return made;
}

/** The line of an arrow, and where its words are. */
function wayOf({ from, to }, places) {
  const [a, b] = [places.get(from), places.get(to)];
  if (a.column < b.column) {
    const lane = b.callers.indexOf(from);
    const start = { x: a.x + box.width, y: a.y + a.height / 2 };
    const end = { x: b.x - 4, y: b.y + ((lane + 0.5) * b.height) / b.callers.length };
    const turn = b.x - straight;
    const bend = (turn - start.x) / 2;
    const curve = `C${start.x + bend},${start.y} ${turn - bend},${end.y} ${turn},${end.y}`;
    return { d: `M${start.x},${start.y} ${curve} L${end.x},${end.y}`, at: { x: b.x - straight / 2, y: end.y } };
  }
  // Back to a service that is as far left or further, itself included: below both.
  const start = { x: a.x + box.width / 2, y: a.y + a.height };
  const end = { x: b.x + box.width / 2 + 24, y: b.y + b.height };
  const low = Math.max(start.y, end.y) + 44;
  const d = `M${start.x},${start.y} C${start.x},${low} ${end.x},${low} ${end.x},${end.y + 4}`;
  return { d, at: { x: (start.x + end.x) / 2, y: (start.y + end.y) / 8 + (low * 3) / 4 } };
}

function speed({ perSecond, latencyMs }) {
  return latencyMs === null ? rate(perSecond) : `${rate(perSecond)} · p99 ${span(latencyMs.p99)}`;
}

function troublesOf({ errors, finished, waiting, deadLetters }) {
  const troubles = [];
  if (errors > 0) troubles.push(`${percent(errors, finished)} errors`);
  if (waiting > 0) troubles.push(`${waiting} waiting`);
  if (deadLetters > 0) troubles.push(`${deadLetters} dead`);
  return troubles;
}

function heads() {
  const made = svg('defs');
  for (const state of ['', '-bad', '-slow']) {
    const size = { markerWidth: 9, markerHeight: 9, refX: 7, refY: 4, orient: 'auto', markerUnits: 'userSpaceOnUse' };
    const head = svg('marker', { id: `head${state}`, class: `head${state}`, ...size });
    head.append(svg('path', { d: 'M0,0 L8,4 L0,8 z' }));
    made.append(head);
  }
  return made;
}

function cut(name) {
  return name.length <= longest ? name : `${name.slice(0, longest - 1)}…`;
}

function text(x, y, says, className) {
  const made = svg('text', { x, y, class: className });
  made.textContent = printable(says);
  return made;
}

function titled(says) {
  const made = svg('title');
  made.textContent = printable(says);
  return made;
}

function svg(name, attributes = {}) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
