import { decodeAction } from '../../model/codec.ts';
import { TopologyMap, type Topology } from '../topology.ts';
import type { Context } from './context.ts';
import { ask } from './control.ts';
import type { Directory } from './directory.ts';

/** Responses looked at for each caller. */
const RESPONSES_READ = 500;

/**
 * Reads the topology off the streams: open calls and dead letters from their subjects alone, which name caller and callee;
 * rates and latencies from the newest responses; the sidecars of a service are asked.
 * @throws {BrokerUnavailable}
 */
export async function chart(context: Context, directory: Directory, windowMs: number): Promise<Topology> {
  const map = new TopologyMap(Date.now(), windowMs);
  const { subjects, connection } = context;
  const [callees, callers, keyed] = await Promise.all(
    (['actions', 'responses', 'keyed'] as const).map((kind) => directory.services(kind)),
  );
  await Promise.all([
    ...callees!.map(async (service) => {
      const replies = await ask(connection, subjects, service, { op: 'locate', ids: [] });
      map.service(service, replies.length);
      await addOpen(context, directory, map, service);
    }),
    ...[...new Set([...callers!, ...keyed!])].map(async (caller) => {
      const responses = await directory.responses(caller, RESPONSES_READ);
      map.service(caller);
      map.finished(responses, responses.length < RESPONSES_READ);
    }),
    addDeadLetters(context, directory, map),
  ]);
  return map.result();
}

async function addOpen(context: Context, directory: Directory, map: TopologyMap, service: string): Promise<void> {
  const { subjects } = context;
  // A call with an order key is in its queue, and among the actions as well once it is its turn.
  const places = new Map<string, Place>();
  for (const stream of [subjects.orderedStream(service), subjects.actionStream(service)]) {
    for (const subject of await directory.subjectsIn(stream, '>')) {
      const [caller = '', id = ''] = subject.split('.').slice(-2);
      places.set(id, { stream, subject, caller, id });
    }
  }
  for (const [caller, calls] of Map.groupBy(places.values(), (place) => place.caller)) {
    await addOpenOf(context, map, caller, service, calls);
  }
}

interface Place {
  readonly stream: string;
  readonly subject: string;
  readonly caller: string;
  readonly id: string;
}

async function addOpenOf(
  { lookup }: Context,
  map: TopologyMap,
  caller: string,
  service: string,
  calls: readonly Place[],
): Promise<void> {
  // Ids without a key begin with their time, so the least is the oldest; of keyed ones any is as good.
  const sorted = calls.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const looked = new Set([sorted[0]!, sorted.at(-1)!]);
  const found = await Promise.all([...looked].map(({ stream, subject }) => lookup.last(stream, subject, false)));
  const actions = found.flatMap((stored) => (stored === undefined ? [] : [decodeAction(stored.data)]));
  const oldest = actions.length === 0 ? undefined : Math.min(...actions.map(({ acceptedAt }) => acceptedAt));
  const routes = actions.map(({ route }) => route);
  map.waiting(caller, service, calls.length, oldest, routes);
}

async function addDeadLetters(context: Context, directory: Directory, map: TopologyMap): Promise<void> {
  const { subjects } = context;
  const dead = await directory.subjectsIn(subjects.deadStream(), '>');
  const prefix = `${subjects.ns}.dead.`.length;
  for (const subject of dead) {
    const [service = '', caller = ''] = subject.slice(prefix).split('.');
    map.deadLetters(caller, service, 1);
  }
}
