import type { StreamSpec } from './streams.ts';

/** What one NATS user may do; subjects as in the server's configuration. */
export interface UserPermissions {
  readonly user: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** Whether it answers questions, whose reply subjects cannot be known in advance. */
  readonly answersQuestions: boolean;
}

/** Collects the subjects of one user. */
export class Rights {
  readonly #publish = new Set<string>();
  readonly #subscribe = new Set<string>();
  readonly #provisioned: boolean;
  readonly #replicated: boolean;

  constructor(inbox: string, provisioned: boolean, replicated: boolean) {
    this.#provisioned = provisioned;
    this.#replicated = replicated;
    this.#subscribe.add(`${inbox}.>`);
  }

  publish(...subjects: readonly string[]): void {
    for (const subject of subjects) this.#publish.add(subject);
  }

  subscribe(...subjects: readonly string[]): void {
    for (const subject of subjects) this.#subscribe.add(subject);
  }

  api(...questions: readonly string[]): void {
    for (const question of questions) this.#publish.add(`$JS.API.${question}`);
  }

  /** As `Streams.ensure`. */
  make(spec: StreamSpec): StreamSpec {
    this.api(`STREAM.INFO.${spec.name}`);
    if (!this.#provisioned) this.api(`STREAM.CREATE.${spec.name}`);
    return spec;
  }

  /** As `Lookup.last`: the leader of a replicated stream is asked in a way that no permission can limit to some subjects. */
  read(stream: string, subject: string): void {
    this.api(`STREAM.INFO.${stream}`, `DIRECT.GET.${stream}.${subject}`);
    if (this.#replicated) this.api(`STREAM.MSG.GET.${stream}`);
  }

  /** As `Pull`, with both forms of acknowledgement (NATS ADR-15). */
  take(stream: string, consumer: string): void {
    this.api(`CONSUMER.INFO.${stream}.${consumer}`, `CONSUMER.MSG.NEXT.${stream}.${consumer}`);
    this.publish(`$JS.ACK.${stream}.${consumer}.>`, `$JS.ACK.*.*.${stream}.${consumer}.>`);
  }

  of(user: string, answersQuestions: boolean): UserPermissions {
    return {
      user,
      publish: narrowed(this.#publish),
      subscribe: narrowed(this.#subscribe),
      answersQuestions,
    };
  }
}

/** Sorted, and without what a wider one has. */
function narrowed(subjects: ReadonlySet<string>): string[] {
  const all = [...subjects];
  return all.filter((one) => !all.some((other) => other !== one && covers(other, one))).toSorted();
}

function covers(pattern: string, subject: string): boolean {
  const [wide, narrow] = [pattern.split('.'), subject.split('.')];
  for (const [at, token] of wide.entries()) {
    const other = narrow[at];
    if (other === undefined) return false;
    if (token === '>') return true;
    if (token !== other && (token !== '*' || other === '>')) return false;
  }
  return wide.length === narrow.length;
}
