import { chance } from './random.ts';
import { callbackPath, topics } from './subscriptions.ts';

/** What callers do, and how often. `ordered` is switched on where order is to be checked. */
export const mix = {
  /** A POST without a key: must never be executed twice. */
  guarded: 24,
  /** A POST with a key that the callee honours, sent again and again until there is an answer. */
  keyed: 20,
  /** The same, where the route does not say that it may be repeated. */
  'keyed-guarded': 10,
  /** A POST whose content is its key: an unchanged application that tries again. */
  content: 10,
  put: 12,
  get: 8,
  /** `Prefer: respond-async`, then polling. */
  async: 10,
  'async-guarded': 5,
  /** A hold so short that many are answered 504 with a Location, then polling. */
  brief: 7,
  /** A deadline so short that some calls are not started any more. */
  hasty: 5,
  /** Accepted, then cancelled, where that is still possible. */
  cancelled: 8,
  /** An async route whose answer is also replayed into the callers' own service. */
  told: 8,
  'told-guarded': 5,
  /** A broadcast event, sent once. */
  broadcast: 18,
  /** The same with a key, sent again and again until it is acknowledged, and sometimes after that. */
  'keyed-broadcast': 18,
  ordered: 0,
} as const;

export type Work = keyof typeof mix;

/** How long a hasty call may wait before it is not started any more, ms. */
export const hastyDeadline = 3_000;
/** Order keys per caller. */
const orderKeys = 3;

/** One intent of a caller. */
export interface Task {
  readonly token: string;
  readonly work: Work;
  readonly method: string;
  readonly path: string;
  readonly idempotent: boolean;
  readonly key?: string;
  /** The route takes the content for the key. */
  readonly content?: boolean;
  readonly deadline?: number;
  readonly order?: { readonly key: string; readonly position: number };
  readonly async: boolean;
  readonly callback?: boolean;
  /** Of a broadcast. */
  readonly topic?: string;
  /** Bytes of ballast in the body, and in the answer. */
  readonly ballast: number;
}

/** An intent that is to become a broadcast event. */
export type Broadcast = Task & { readonly topic: string };

export function isBroadcast(task: Task): task is Broadcast {
  return task.topic !== undefined;
}

/** Whether a request that is sent again attaches to the call that it began, so that a caller may do so. */
export function attaches({ key, content }: { readonly key?: string; readonly content?: boolean }): boolean {
  return key !== undefined || content === true;
}

/** The routes of the callers' sidecars: what {@link taskOf} relies on. */
export function routes(ordered: boolean): Record<string, unknown>[] {
  const to = (path: string) => ({ host: 'payments', path });
  const inOrder = { name: 'ordered', mode: 'async', orderBy: 'header:x-order', idempotent: true };
  const common = { hold: '5s', retry: { attempts: 6, backoff: '50ms..1s' } };
  const told = { mode: 'async', callback: `POST ${callbackPath}`, ...common };
  const broadcasts = topics.map((topic) => {
    return { name: topic.replaceAll('.', '-'), match: newsOf(topic), mode: 'broadcast', topic, hold: '5s' };
  });
  return [
    ...broadcasts,
    { name: 'told', match: to('/told/**'), ...told, idempotent: true },
    { name: 'told-guarded', match: to('/told-guarded/**'), ...told },
    { name: 'brief', match: to('/brief/**'), ...common, hold: '300ms' },
    { name: 'hasty', match: to('/hasty/**'), ...common, deadline: `${hastyDeadline}ms` },
    { name: 'content', match: to('/content/**'), ...common, idempotencyKey: 'content' },
    { name: 'honoured', match: to('/honoured/**'), ...common, idempotent: true },
    ...(ordered ? [{ ...inOrder, match: to('/ordered/**'), ...common }] : []),
    { name: 'plain', match: { host: 'payments' }, ...common },
  ];
}

function newsOf(topic: string): { host: string; path: string } {
  return { host: 'news', path: `/${topic}` };
}

/** The `index`-th intent of a caller: the same for the same seed, so that a caller that was killed can go on. */
export function taskOf(seed: string, caller: string, index: number, ordered: boolean): Task {
  const dice = chance(`${seed}/${caller}/${index}`);
  const work = dice.weighted({ ...mix, ordered: ordered ? 15 : 0 });
  const token = `${caller}-${index}`;
  const size = dice.next();
  const ballast = size < 0.02 ? 600_000 : size < 0.08 ? 70_000 : Math.floor(dice.between(0, 400));
  const post = { token, work, method: 'POST', idempotent: false, async: false, ballast };
  switch (work) {
    case 'guarded':
      return { ...post, path: '/plain/charges' };
    case 'keyed':
      return { ...post, path: '/honoured/charges', idempotent: true, key: `key-${token}` };
    case 'keyed-guarded':
      return { ...post, path: '/plain/orders', key: `key-${token}` };
    case 'content':
      return { ...post, path: '/content/charges', content: true };
    case 'put':
      return { ...post, method: 'PUT', path: `/plain/items/${token}`, idempotent: true };
    case 'get':
      return { ...post, method: 'GET', path: `/plain/items/${token}?page=1`, idempotent: true, ballast: 0 };
    case 'async':
      return { ...post, path: '/honoured/jobs', idempotent: true, async: true };
    case 'async-guarded':
      return { ...post, path: '/plain/jobs', async: true };
    case 'cancelled':
      return { ...post, path: '/plain/whims', async: true };
    case 'brief':
      return { ...post, path: '/brief/charges' };
    case 'hasty':
      return { ...post, path: '/hasty/charges', deadline: hastyDeadline };
    case 'told':
      return { ...post, path: '/told/jobs', idempotent: true, async: true, callback: true };
    case 'told-guarded':
      return { ...post, path: '/told-guarded/jobs', async: true, callback: true };
    case 'broadcast':
    case 'keyed-broadcast': {
      const topic = dice.pick(topics);
      const key = work === 'broadcast' ? {} : { key: `key-${token}` };
      return { ...post, path: newsOf(topic).path, topic, ...key };
    }
    case 'ordered': {
      const order = { key: `${caller}-${Math.floor(dice.between(0, orderKeys))}`, position: index };
      return { ...post, path: '/ordered/steps', idempotent: true, async: true, order };
    }
    default:
      return work satisfies never;
  }
}
