/** What has to run for a subject. */
export type Installation =
  | 'direct'
  | 'proxy-1'
  | 'proxy-2'
  | 'nginx-2'
  | 'jetstream'
  | 'jetstream-traced'
  | 'sqlite'
  | 'restate';

/** How to see that a call was stored on its way. */
export interface Stored {
  /** The header of the answer that names the call. */
  readonly idHeader: string;
  /** Where its answer can be had again; the call's id goes in the place of `{id}`. */
  readonly answerAt: string;
}

/** One way for a call to reach the callee. */
export interface Subject {
  readonly name: string;
  readonly is: string;
  readonly on: Installation;
  readonly path: string;
  readonly bodyBytes: number;
  readonly keyed: boolean;
  readonly status: 200 | 202;
  /** Where the call has to be stored on its way; undefined where nothing stores it. */
  readonly stored: Stored | undefined;
  /** At more connections than this it is not measured. */
  readonly mostConnections: number;
  /** The subject that its ratios are taken against: two proxy hops with bodies of the same size, if it is not named. */
  readonly against: string;
}

const small = 200;
const large = 64 * 1024;
const huge = 8 * 1024 * 1024;
/** So many bodies of 8 MB each way at once are enough to keep two cores busy. */
const mostHuge = 4;

const inHoldline: Stored = { idHeader: 'Holdline-Call-Id', answerAt: '/.holdline/calls/{id}' };
const inRestate: Stored = { idHeader: 'x-restate-id', answerAt: '/restate/invocation/{id}/output' };
const storedBy: Partial<Record<Installation, Stored>> = {
  jetstream: inHoldline,
  'jetstream-traced': inHoldline,
  sqlite: inHoldline,
  restate: inRestate,
};
/** What a call is compared with, by the size of its body. */
const proxied: Readonly<Record<number, string>> = { [small]: 'proxy-2', [large]: 'proxy-2-64k', [huge]: 'proxy-2-8m' };

function subject(name: string, is: string, on: Installation, more: Partial<Subject> = {}): Subject {
  const bodyBytes = more.bodyBytes ?? small;
  return {
    name,
    is,
    on,
    path: '/plain',
    bodyBytes,
    keyed: false,
    status: 200,
    stored: storedBy[on],
    mostConnections: bodyBytes === huge ? mostHuge : Number.POSITIVE_INFINITY,
    against: proxied[bodyBytes] ?? 'proxy-2',
    ...more,
  };
}

/** All of them, in the order in which they are measured and shown. */
export const subjects: readonly Subject[] = [
  subject('direct', 'caller to callee', 'direct'),
  subject('proxy-1', 'one http-proxy-3 hop', 'proxy-1'),
  subject('proxy-2', 'two http-proxy-3 hops', 'proxy-2'),
  subject('proxy-2-64k', 'two http-proxy-3 hops, 64 KB bodies', 'proxy-2', { bodyBytes: large }),
  subject('proxy-2-8m', 'two http-proxy-3 hops, 8 MB bodies', 'proxy-2', { bodyBytes: huge }),
  subject('nginx-2', 'two nginx hops', 'nginx-2'),
  subject('passthrough', 'Holdline, passed through', 'jetstream', { path: '/passthrough', stored: undefined }),
  subject('idempotent', 'Holdline, JetStream, idempotent POST', 'jetstream', { path: '/idempotent' }),
  subject('guarded', 'Holdline, JetStream, POST that is made at most once', 'jetstream', { path: '/guarded' }),
  subject('keyed', 'Holdline, JetStream, a fresh Idempotency-Key each', 'jetstream', {
    path: '/idempotent',
    keyed: true,
  }),
  subject('async', 'Holdline, JetStream, answered 202', 'jetstream', { path: '/async', status: 202 }),
  subject('body-64k', 'Holdline, JetStream, idempotent POST, 64 KB bodies', 'jetstream', {
    path: '/idempotent',
    bodyBytes: large,
  }),
  subject('body-8m', 'Holdline, JetStream, idempotent POST, 8 MB bodies', 'jetstream', {
    path: '/idempotent',
    bodyBytes: huge,
  }),
  subject('traced', 'Holdline, JetStream, idempotent POST, every call traced', 'jetstream-traced', {
    path: '/idempotent',
    against: 'idempotent',
  }),
  subject('sqlite', 'Holdline, SQLite, idempotent POST', 'sqlite', { path: '/idempotent' }),
  subject('restate', 'Restate, a handler that makes the call, a fresh Idempotency-Key each', 'restate', {
    path: '/bench/call',
    keyed: true,
  }),
];

/** The subjects that are also shown against Restate: its kind of call, and the same without a key. */
export const restateRivals = ['keyed', 'idempotent'] as const;

/**
 * At how many connections a subject is measured: what was asked for, but no more than it can take.
 * @param connections not sorted, may repeat
 */
export function connectionsOf({ mostConnections }: Subject, connections: readonly number[]): readonly number[] {
  return [...new Set(connections.map((count) => Math.min(count, mostConnections)))].toSorted((a, b) => a - b);
}

/** The routes of the calling sidecar that the paths stand for; everything else is the shipped default. */
export const routes = [
  { name: 'passthrough', match: { path: '/passthrough' }, mode: 'passthrough' },
  { name: 'guarded', match: { path: '/guarded' }, service: 'payments', idempotent: false },
  { name: 'async', match: { path: '/async' }, service: 'payments', mode: 'async', idempotent: true },
  { name: 'idempotent', match: { path: '/idempotent' }, service: 'payments', idempotent: true },
] as const;

/**
 * The named subjects and those that they are compared with, in the order of {@link subjects}.
 * @throws {RangeError} a name that is none
 */
export function choose(names: readonly string[]): readonly Subject[] {
  for (const name of names) {
    if (!subjects.some((each) => each.name === name)) {
      throw new RangeError(`no subject ${name}; there are ${subjects.map((each) => each.name).join(', ')}`);
    }
  }
  if (names.length === 0) return subjects;
  const chosen = subjects.filter(({ name }) => names.includes(name));
  const wanted = new Set(chosen.flatMap(({ name, against }) => [name, against]));
  return subjects.filter(({ name }) => wanted.has(name));
}
