import { factsOf, type ActionEvent, type ResponseEvent } from '../../model/call.ts';
import { readCallId, serviceHint } from '../../model/call-id.ts';
import {
  decodeAction,
  decodeDeadLetter,
  decodeProgress,
  decodeResponse,
  type StoredDeadLetter,
} from '../../model/codec.ts';
import { BrokerUnavailable, type Attachment } from '../port.ts';
import { isDenied } from './connection.ts';
import type { Context } from './context.ts';
import type { Stored } from './lookup.ts';

/** Look-ups under way at once. */
const AT_ONCE = 32;

/** Finds calls without knowing where they are: for lists and stories, never on the way of a call. Methods throw {@link BrokerUnavailable}. */
export class Directory {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  /** The services that have a stream of this kind. */
  async services(kind: 'actions' | 'ordered' | 'responses' | 'keyed'): Promise<string[]> {
    const { streams, subjects } = this.#context;
    const manager = await streams.manager();
    const found: string[] = [];
    try {
      for await (const name of manager.streams.names(`${subjects.ns}.>`)) {
        const read = subjects.readStream(name);
        if (read?.kind === kind) found.push(read.service);
      }
    } catch (error) {
      throw new BrokerUnavailable(`listing streams: ${(error as Error).message}`, {
        cause: error,
        denied: isDenied(error),
      });
    }
    return found;
  }

  /** Open calls of one callee, newest first, `limit` at most; keyed ids tell no time, so those are all read. */
  async openCalls(service: string, limit: number): Promise<ActionEvent[]> {
    const { subjects } = this.#context;
    return [
      ...(await this.#openIn(subjects.actionStream(service), limit)),
      // Those whose turn it is are there, too.
      ...(await this.#openIn(subjects.orderedStream(service), limit)),
    ];
  }

  async #openIn(stream: string, limit: number): Promise<ActionEvent[]> {
    const all = await this.subjectsIn(stream, '>');
    const keyed = all.filter((subject) => readCallId(idOf(subject)).keyed);
    const timed = all
      .filter((subject) => !readCallId(idOf(subject)).keyed)
      .toSorted((a, b) => (idOf(a) < idOf(b) ? 1 : -1));
    const found = await this.#each([...timed.slice(0, limit), ...keyed], (subject) =>
      this.#context.lookup.last(stream, subject, false),
    );
    return this.#decode(found, (stored) => decodeAction(stored.data));
  }

  /** The newest responses of one caller, `limit` at most of each kind. */
  async responses(caller: string, limit: number): Promise<ResponseEvent[]> {
    const { subjects } = this.#context;
    const found = [
      ...(await this.#newest(subjects.responseStream(caller), limit, () => true)),
      ...(await this.#newest(subjects.keyedStream(caller), limit, (stored) => stored.subject.includes('.res.'))),
    ];
    return this.#decode(found, (stored) => decodeResponse(stored.data));
  }

  async deadLetters(limit: number, service?: string): Promise<StoredDeadLetter[]> {
    const { subjects } = this.#context;
    const wanted = service === undefined ? undefined : `${subjects.ns}.dead.${service}.`;
    const found = await this.#newest(
      subjects.deadStream(),
      limit,
      (stored) => wanted === undefined || stored.subject.startsWith(wanted),
    );
    return this.#decode(found, (stored) => decodeDeadLetter(stored.data));
  }

  async deadLetter(id: string): Promise<StoredDeadLetter | undefined> {
    const { subjects, lookup } = this.#context;
    const [subject] = await this.subjectsIn(subjects.deadStream(), `${subjects.ns}.dead.*.*.${id}`);
    if (subject === undefined) return undefined;
    const stored = await lookup.last(subjects.deadStream(), subject);
    return stored === undefined ? undefined : decodeDeadLetter(stored.data);
  }

  async openCall(id: string): Promise<ActionEvent | undefined> {
    const { subjects } = this.#context;
    const { hint } = readCallId(id);
    let found: ActionEvent | undefined;
    for (const service of new Set([...(await this.services('actions')), ...(await this.services('ordered'))])) {
      if (serviceHint(service) !== hint) continue;
      for (const [stream, filter] of [
        [subjects.actionStream(service), `${subjects.ns}.act.${service}.*.${id}`],
        [subjects.orderedStream(service), subjects.orderedAnywhere(service, '*', id)],
      ] as const) {
        for (const subject of await this.subjectsIn(stream, filter)) {
          const stored = await this.#context.lookup.last(stream, subject);
          const action = stored === undefined ? undefined : decodeAction(stored.data);
          if (action !== undefined && action.round > (found?.round ?? 0)) found = action;
        }
      }
    }
    return found;
  }

  /** Whether it is not its turn yet. */
  async isQueued({ service, caller, id, orderKey }: ActionEvent): Promise<boolean> {
    const { subjects, lookup } = this.#context;
    if (orderKey === undefined) return false;
    return (await lookup.last(subjects.actionStream(service), subjects.action(service, caller, id))) === undefined;
  }

  async response(id: string): Promise<{ response: ResponseEvent; seq: number } | undefined> {
    const { subjects, lookup } = this.#context;
    const callers = await this.services(readCallId(id).keyed ? 'keyed' : 'responses');
    const found = await this.#each(callers, (caller) =>
      lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id)),
    );
    const [stored] = found;
    return stored === undefined ? undefined : { response: decodeResponse(stored.data), seq: stored.seq };
  }

  async progress(action: ActionEvent): Promise<ReturnType<typeof decodeProgress> | undefined> {
    const { subjects, lookup } = this.#context;
    const { service, id, round } = factsOf(action);
    const stored = await lookup.last(subjects.attemptStream(service), subjects.progress(service, id, round));
    return stored === undefined ? undefined : decodeProgress(stored.data);
  }

  /** Who was led to a keyed call, oldest first. */
  async attachments(caller: string, id: string): Promise<Attachment[]> {
    const { subjects, lookup } = this.#context;
    const stream = subjects.keyedStream(caller);
    const marks = await this.subjectsIn(stream, subjects.attached(caller, id, '*', '*'));
    const found = await this.#each(marks, (subject) => lookup.last(stream, subject, false));
    const attached = this.#decode(found, ({ subject, data }) => {
      const [instance = '', how = ''] = subject.split('.').slice(-2);
      const { at } = JSON.parse(Buffer.from(data).toString()) as { at: number };
      return { how: how as Attachment['how'], at, instance };
    });
    return attached.toSorted((a, b) => a.at - b.at);
  }

  async subjectsIn(stream: string, filter: string): Promise<string[]> {
    const { streams } = this.#context;
    try {
      const manager = await streams.manager();
      const info = await manager.streams.info(stream, { subjects_filter: filter });
      return Object.keys(info.state.subjects ?? {});
    } catch (error) {
      if (/stream not found/i.test((error as Error).message)) return [];
      throw new BrokerUnavailable(`reading ${stream}: ${(error as Error).message}`, {
        cause: error,
        denied: isDenied(error),
      });
    }
  }

  /** The last messages of a stream, backwards from its end. */
  async #newest(stream: string, limit: number, wanted: (stored: Stored) => boolean): Promise<Stored[]> {
    const { streams, lookup } = this.#context;
    let state;
    try {
      const manager = await streams.manager();
      ({ state } = await manager.streams.info(stream));
    } catch (error) {
      if (/stream not found/i.test((error as Error).message)) return [];
      throw new BrokerUnavailable(`reading ${stream}: ${(error as Error).message}`, {
        cause: error,
        denied: isDenied(error),
      });
    }
    const found: Stored[] = [];
    let left = state.messages;
    for (let seq = state.last_seq; seq >= state.first_seq && seq > 0 && left > 0 && found.length < limit;) {
      const batch: number[] = [];
      while (batch.length < AT_ONCE && seq >= state.first_seq && seq > 0) batch.push(seq--);
      const messages = await this.#each(batch, (each) => lookup.at(stream, each));
      left -= messages.length;
      found.push(...messages.filter(wanted));
    }
    return found.slice(0, limit);
  }

  async #each<T>(items: readonly T[], look: (item: T) => Promise<Stored | undefined>): Promise<Stored[]> {
    const found: Stored[] = [];
    for (let from = 0; from < items.length; from += AT_ONCE) {
      const batch = await Promise.all(items.slice(from, from + AT_ONCE).map(look));
      for (const stored of batch) if (stored !== undefined) found.push(stored);
    }
    return found;
  }

  /** What cannot be read is reported and left out: one bad event must not hide all others from an operator. */
  #decode<T>(found: readonly Stored[], decode: (stored: Stored) => T): T[] {
    return found.flatMap((stored) => {
      try {
        return [decode(stored)];
      } catch (error) {
        this.#context.report(
          new Error(`${stored.subject} cannot be read: ${(error as Error).message}`, { cause: error }),
        );
        return [];
      }
    });
  }
}

/** The call id at the end of a subject. */
function idOf(subject: string): string {
  return subject.slice(subject.lastIndexOf('.') + 1);
}
