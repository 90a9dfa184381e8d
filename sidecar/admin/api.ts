import { BrokerUnavailable, type CallState, type OperatorLog } from '../broker/port.ts';
import { NotationError } from '../config/notation.ts';
import { duration } from '../config/units.ts';
import { isCallId } from '../model/call-id.ts';
import { deadLetterReasons } from '../model/call.ts';
import { operatorActed } from '../telemetry/channels.ts';
import { callJson, deadLetterJson, storyJson, subscriptionJson, topologyJson } from './listing.ts';
import { refusal, type Reply } from './reply.ts';

/** Entries of a list where nobody says how many, and at most. */
const pageSize = { usual: 50, most: 500 };
/** How far a list can be paged through; filters lead further. */
const furthest = 10_000;
/** What rates and latencies of the topology are taken from where nobody says, ms. */
const usualWindow = 15 * 60_000;

const states = ['waiting', 'attempting', 'answered', 'dead', 'cancelled'] as const satisfies readonly CallState[];

export interface ApiRequest {
  readonly method: string;
  /** Below `/api/`. */
  readonly path: string;
  readonly query: URLSearchParams;
}

/** A request that cannot be understood. */
class BadQuery extends Error {}

/** What is below `/api/`: the same as the command line tells and does, as JSON for the page and for scripts. */
export class Api {
  readonly #operator: () => OperatorLog | undefined;
  readonly #traceLink: () => string | undefined;

  /**
   * @param operator undefined while there is no broker yet
   * @param traceLink see {@link storyJson}
   */
  constructor(operator: () => OperatorLog | undefined, traceLink: () => string | undefined) {
    this.#operator = operator;
    this.#traceLink = traceLink;
  }

  /** Answers any request; never rejects. */
  async answer(request: ApiRequest): Promise<Reply> {
    const operator = this.#operator();
    if (operator === undefined) return unavailable('the broker is not opened yet', 1000);
    try {
      return await this.#route(operator, request);
    } catch (error) {
      if (error instanceof BadQuery) return refusal(400, error.message, 'bad-request');
      if (error instanceof BrokerUnavailable) {
        return error.denied ? denied(error) : unavailable(error.message, error.retryAfter);
      }
      return refusal(500, `a defect of Holdline: ${String(error)}`);
    }
  }

  async #route(operator: OperatorLog, { method, path, query }: ApiRequest): Promise<Reply> {
    const [kind = '', id, action, ...more] = path.split('/');
    const place = `${kind}${id === undefined ? '' : '/ID'}${action === undefined ? '' : `/${action}`}`;
    const route = more.length === 0 && Object.hasOwn(routes, place) ? routes[place] : undefined;
    if (route === undefined) return refusal(404, `there is no /api/${path} here`);
    const reads = method === 'GET' || method === 'HEAD';
    if (reads !== (route.method === 'GET') || (!reads && method !== 'POST')) {
      const allow = route.method === 'GET' ? 'GET, HEAD' : 'POST';
      return { ...refusal(405, `/api/${place} takes ${allow}`), headers: { allow } };
    }
    for (const name of query.keys()) {
      if (!route.takes.includes(name)) {
        const takes = route.takes.length === 0 ? 'nothing' : route.takes.join(', ');
        throw new BadQuery(`/api/${place} takes ${takes} in its query, not ${name}`);
      }
    }
    if (id !== undefined && !isCallId(id)) return refusal(404, `${id} is no call id`, 'call-unknown');
    return await route.answer({ operator, query, id: id ?? '', traceLink: this.#traceLink() });
  }
}

interface Route {
  readonly method: 'GET' | 'POST';
  /** Names of query parameters. */
  readonly takes: readonly string[];
  answer(asked: Asked): Promise<Reply>;
}

interface Asked {
  readonly operator: OperatorLog;
  readonly query: URLSearchParams;
  /** A call id; empty where the path has none. */
  readonly id: string;
  readonly traceLink: string | undefined;
}

const routes: Readonly<Record<string, Route>> = {
  calls: {
    method: 'GET',
    takes: ['limit', 'offset', 'service', 'caller', 'state'],
    async answer({ operator, query }) {
      const { limit, offset } = pageOf(query);
      const filter = { ...named(query, 'service', 'caller'), ...oneOf(query, 'state', states) };
      const found = await operator.calls({ limit: offset + limit + 1, ...filter });
      const calls = found.slice(offset, offset + limit).map(callJson);
      return { status: 200, body: { calls, next: nextOf('calls', query, found.length, { limit, offset }) } };
    },
  },
  'calls/ID': {
    method: 'GET',
    takes: [],
    async answer({ operator, id, traceLink }) {
      const story = await operator.call(id);
      return story === undefined ? unknownCall(id) : { status: 200, body: storyJson(story, traceLink) };
    },
  },
  'calls/ID/cancel': {
    method: 'POST',
    takes: [],
    async answer({ operator, id }) {
      switch (await operator.cancel(id)) {
        case 'withdrawn':
          operatorActed.publish({ action: 'cancelled', id });
          return { status: 200, body: { id, state: 'cancelled' } };
        case 'started':
          return refusal(409, `${id} has been sent to the callee, which may be carrying it out`, 'call-started', id);
        case 'finished':
          return refusal(409, `${id} has finished`, 'call-started', id);
        case 'unknown':
          return unknownCall(id);
      }
    },
  },
  'dead-letters': {
    method: 'GET',
    takes: ['limit', 'offset', 'service', 'route', 'reason'],
    async answer({ operator, query }) {
      const { limit, offset } = pageOf(query);
      const filter = { ...named(query, 'service', 'route'), ...oneOf(query, 'reason', deadLetterReasons) };
      const found = await operator.deadLetters({ limit: offset + limit + 1, ...filter });
      const deadLetters = found.slice(offset, offset + limit).map(deadLetterJson);
      return {
        status: 200,
        body: { deadLetters, next: nextOf('dead-letters', query, found.length, { limit, offset }) },
      };
    },
  },
  'dead-letters/ID': {
    method: 'GET',
    takes: [],
    async answer({ operator, id }) {
      const letter = await operator.deadLetter(id);
      return letter === undefined ? unknownLetter(id) : { status: 200, body: deadLetterJson(letter) };
    },
  },
  'dead-letters/ID/replay': {
    method: 'POST',
    takes: [],
    async answer({ operator, id }) {
      if ((await operator.replay(id)) === 'unknown') return unknownLetter(id);
      operatorActed.publish({ action: 'replayed', id });
      return { status: 200, body: { replayed: [id] } };
    },
  },
  'dead-letters/ID/discard': {
    method: 'POST',
    takes: [],
    async answer({ operator, id }) {
      if ((await operator.discard(id)) === 'unknown') return unknownLetter(id);
      operatorActed.publish({ action: 'discarded', id });
      return { status: 200, body: { discarded: [id] } };
    },
  },
  subscriptions: {
    method: 'GET',
    takes: ['service'],
    async answer({ operator, query }) {
      const found = await operator.subscriptions.list(query.get('service') ?? undefined);
      return { status: 200, body: { subscriptions: found.map(subscriptionJson) } };
    },
  },
  topology: {
    method: 'GET',
    takes: ['window'],
    async answer({ operator, query }) {
      return { status: 200, body: topologyJson(await operator.topology(windowOf(query))) };
    },
  },
};

function windowOf(query: URLSearchParams): number {
  const text = query.get('window');
  if (text === null) return usualWindow;
  try {
    return duration.parse(text);
  } catch (error) {
    if (error instanceof NotationError) throw new BadQuery(`window: ${error.message}`, { cause: error });
    throw error;
  }
}

interface Page {
  readonly limit: number;
  readonly offset: number;
}

function pageOf(query: URLSearchParams): Page {
  return {
    limit: count(query, 'limit', pageSize.usual, 1, pageSize.most),
    offset: count(query, 'offset', 0, 0, furthest),
  };
}

function count(query: URLSearchParams, name: string, usual: number, least: number, most: number): number {
  const text = query.get(name);
  if (text === null) return usual;
  const value = Number(text);
  if (!/^\d{1,6}$/.test(text) || value < least || value > most) {
    throw new BadQuery(`${name}: expected a whole number from ${least} to ${most}, not "${text}"`);
  }
  return value;
}

function named<N extends string>(query: URLSearchParams, ...names: readonly N[]): Partial<Record<N, string>> {
  const found: Partial<Record<N, string>> = {};
  for (const name of names) {
    const value = query.get(name);
    if (value !== null) found[name] = value;
  }
  return found;
}

function oneOf<N extends string, V extends string>(
  query: URLSearchParams,
  name: N,
  values: readonly V[],
): Partial<Record<N, V>> {
  const text = query.get(name);
  if (text === null) return {};
  const value = values.find((each) => each === text);
  if (value === undefined) throw new BadQuery(`${name}: expected one of ${values.join(', ')}, not "${text}"`);
  return { [name]: value } as Partial<Record<N, V>>;
}

/** Where the next page is; null on the last one. */
function nextOf(list: string, query: URLSearchParams, found: number, { limit, offset }: Page): string | null {
  if (found <= offset + limit || offset + limit > furthest) return null;
  const next = new URLSearchParams(query);
  next.set('offset', String(offset + limit));
  return `/api/${list}?${next.toString()}`;
}

function unknownCall(id: string): Reply {
  return refusal(404, `the broker knows no call ${id}`, 'call-unknown', id);
}

function unknownLetter(id: string): Reply {
  return refusal(404, `there is no dead letter ${id}`, 'call-unknown', id);
}

/** Not a matter of time, as 503 would say. */
function denied({ message }: BrokerUnavailable): Reply {
  const detail =
    "the broker does not let this sidecar's user look at everybody's calls. Ask as the user `operator` that `holdline " +
    'permissions` makes: with the command line, or with the page of a sidecar of its own whose `broker` has that user and ' +
    `which has nothing but \`admin\`. (${message})`;
  return refusal(403, detail);
}

function unavailable(detail: string, retryAfter: number): Reply {
  const headers = { 'retry-after': String(Math.max(1, Math.ceil(retryAfter / 1000))) };
  return { ...refusal(503, `the broker cannot tell now: ${detail}`, 'broker-unavailable'), headers };
}
