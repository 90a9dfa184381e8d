import type { Topology, TopologyEdge } from '../broker/topology.ts';
import { printable, span, table } from './print.ts';

/** The topology as a table. @param now ms since the epoch */
export function topologyTable({ services, edges, windowMs }: Topology, now: number): string {
  const rows = edges.map((edge) => [
    edge.from,
    edge.to,
    edge.routes.join(' '),
    rate(edge.perSecond),
    edge.latency === undefined ? undefined : span(edge.latency.p50),
    edge.latency === undefined ? undefined : span(edge.latency.p99),
    edge.finished === 0 ? undefined : `${Math.round((edge.failed / edge.finished) * 1000) / 10} %`,
    edge.waiting,
    edge.oldest === undefined ? undefined : span(now - edge.oldest),
    edge.deadLetters,
  ]);
  const head = ['FROM', 'TO', 'ROUTES', 'RATE', 'MEDIAN', 'P99', 'ERRORS', 'WAITING', 'OLDEST', 'DEAD LETTERS'];
  const known = services.map(({ name, instances }) => [name, instances === 0 ? undefined : instances]);
  return [
    table(head, rows),
    '',
    `Rate, median, p99 and errors are of calls that finished within the last ${span(windowMs)}.`,
    '',
    table(['SERVICE', 'SIDECARS THAT TAKE ITS CALLS'], known),
  ].join('\n');
}

/** The topology as a Mermaid flowchart. @param now ms since the epoch */
export function topologyMermaid({ services, edges }: Topology, now: number): string {
  // Names could be words of the notation, such as "end".
  const ids = new Map(services.map(({ name }, index) => [name, `s${index}`]));
  return [
    'flowchart LR',
    ...services.map(({ name }) => `  ${ids.get(name)}["${quoted(name)}"]`),
    ...edges.map((edge) => `  ${ids.get(edge.from)} -->|"${edgeLabel(edge, now)}"| ${ids.get(edge.to)}`),
  ].join('\n');
}

function edgeLabel(edge: TopologyEdge, now: number): string {
  const { perSecond, latency, failed, finished, waiting, oldest, deadLetters } = edge;
  const parts = [rate(perSecond)];
  if (latency !== undefined) parts.push(`p99 ${span(latency.p99)}`);
  if (failed > 0) parts.push(`${failed} of ${finished} failed`);
  if (waiting > 0) parts.push(`${waiting} waiting${oldest === undefined ? '' : `, oldest ${span(now - oldest)}`}`);
  if (deadLetters > 0) parts.push(`${deadLetters} dead`);
  return parts.join('<br/>');
}

/** `12.3/s`, `4/min`, `0.5/h`. */
function rate(perSecond: number): string {
  if (perSecond === 0) return '0/s';
  const [value, unit] =
    perSecond >= 1 ? [perSecond, 's'] : perSecond * 60 >= 1 ? [perSecond * 60, 'min'] : [perSecond * 3600, 'h'];
  return `${Math.round(value * 10) / 10}/${unit}`;
}

function quoted(text: string): string {
  return printable(text).replaceAll('"', '#quot;');
}
