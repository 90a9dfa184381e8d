/** What has to run for a subject. */
export type Installation = 'direct' | 'proxy-1' | 'proxy-2' | 'nginx-2' | 'jetstream' | 'jetstream-traced' | 'sqlite';

/** One way for a call to reach the callee. */
export interface Subject {
  readonly name: string;
  readonly is: string;
  readonly on: Installation;
  readonly path: string;
  readonly bodyBytes: number;
  readonly keyed: boolean;
  readonly status: 200 | 202;
  /** Whether the call has to be stored on its way, which its answer shows. */
  readonly durable: boolean;
  /** The subject that its ratios are taken against: two proxy hops with bodies of the same size, if it is not named. */
  readonly against: string;
}

const small = 200;
const large = 64 * 1024;

function subject(name: string, is: string, on: Installation, more: Partial<Subject> = {}): Subject {
  const against = more.bodyBytes === large ? 'proxy-2-64k' : 'proxy-2';
  const durable = on === 'jetstream' || on === 'jetstream-traced' || on === 'sqlite';
  return { name, is, on, path: '/plain', bodyBytes: small, keyed: false, status: 200, durable, against, ...more };
}

/** All of them, in the order in which they are measured and shown. */
export const subjects: readonly Subject[] = [
  subject('direct', 'caller to callee', 'direct'),
  subject('proxy-1', 'one http-proxy-3 hop', 'proxy-1'),
  subject('proxy-2', 'two http-proxy-3 hops', 'proxy-2'),
  subject('proxy-2-64k', 'two http-proxy-3 hops, 64 KB bodies', 'proxy-2', { bodyBytes: large }),
  subject('nginx-2', 'two nginx hops', 'nginx-2'),
  subject('passthrough', 'Holdline, passed through', 'jetstream', { path: '/passthrough', durable: false }),
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
  subject('traced', 'Holdline, JetStream, idempotent POST, every call traced', 'jetstream-traced', {
    path: '/idempotent',
    against: 'idempotent',
  }),
  subject('sqlite', 'Holdline, SQLite, idempotent POST', 'sqlite', { path: '/idempotent' }),
];

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
