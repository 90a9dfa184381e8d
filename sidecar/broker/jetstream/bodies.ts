import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { headers as newHeaders } from '@nats-io/transport-node';
import type { ActionEvent, BodyRef } from '../../model/call.ts';
import { decodeDeadLetter, decodeProgress, decodeResponse } from '../../model/codec.ts';
import { BodyTraffic, CHUNK_SIZE, readChunks, Removals, storeChunks } from '../chunks.ts';
import { BodyLost, BrokerUnavailable, type BodyPlace, type BodyStore } from '../port.ts';
import type { Context } from './context.ts';
import { header } from './envelope.ts';
import { findAction } from './order-queue.ts';
import { endsRound } from './precedence.ts';
import type { StreamSpec } from './streams.ts';

/** How long a caller's upload waits for a broker that went away in the middle of it, ms. */
const UPLOAD_PATIENCE = 10_000;
/** How long a reader waits for a broker that went away, ms: an answer on its way to a caller breaks off then. */
const READ_PATIENCE = 30_000;
const TRY_AGAIN = 250;
/** How often what is left of an upload is tried to be removed while the broker is there. */
const REMOVALS = 5;
/** A replica may not have a chunk yet that the leader has; looked for so often before it counts as gone. */
const LOOKS = 3;
/** What a chunk's message has beside the chunk, bytes. */
const CHUNK_HEAD_ROOM = 8 * 1024;

/** Where the chunks of one body are. */
interface Place {
  readonly stream: string;
  readonly callee?: string;
  readonly caller: string;
  readonly call: string;
}

/** Bodies in streams of their own, one message a chunk (`sidecar/docs/events.md`). No Object Store: research, jetstream.md §6. */
export class JetStreamBodies implements BodyStore {
  readonly #context: Omit<Context, 'bodies'>;
  readonly removals: Removals;
  readonly #traffic = new BodyTraffic();

  constructor(context: Omit<Context, 'bodies'>) {
    this.#context = context;
    this.removals = new Removals(context.report);
  }

  async write(place: BodyPlace, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<BodyRef> {
    const { connection, subjects } = this.#context;
    // The time tells the sweeper of what nobody came to refer to.
    const name = `${Date.now().toString(36)}-${randomBytes(12).toString('hex')}`;
    const id = subjects.body(place.kind, place.call, name);
    const spec = this.#specOf(place);
    // What is given up may still be stored, as soon as the broker is back.
    const uploads = new Set<Promise<void>>();
    const put = (n: number, payload: Uint8Array) =>
      place.kind === 'request'
        ? this.#upload(spec, `${id}.${n}`, payload, uploads)
        : this.#keep(spec, `${id}.${n}`, payload);
    const abandoned = (settled: Promise<unknown>) => {
      const removed = settled.then(() => Promise.allSettled(uploads)).then(() => this.#removeOnceBack(spec.name, id));
      this.removals.add(removed);
    };
    // Never used twice: what is sent a second time may still lie in the connection's buffer when the first is acknowledged.
    const room = () => Buffer.allocUnsafeSlow(Math.min(CHUNK_SIZE, connection.maxPayload - CHUNK_HEAD_ROOM));
    return { id, ...(await storeChunks(source, { room, put, signal, traffic: this.#traffic, abandoned })) };
  }

  #specOf({ kind, call: { caller, service, keyed } }: BodyPlace): StreamSpec {
    const { streams } = this.#context;
    if (kind !== 'answer') return streams.bodies(service);
    return keyed ? streams.keyedAnswers(caller) : streams.answers(caller);
  }

  async #upload(spec: StreamSpec, subject: string, payload: Uint8Array, underWay: Set<Promise<void>>): Promise<void> {
    const stored = this.#persist(spec, subject, payload, UPLOAD_PATIENCE);
    underWay.add(stored);
    const over = () => underWay.delete(stored);
    stored.then(over, over);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(new BrokerUnavailable('the broker went away in the middle of the body'));
    }, UPLOAD_PATIENCE);
    try {
      await Promise.race([stored, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tries again what was refused for want of a connection. */
  async #persist(spec: StreamSpec, subject: string, payload: Uint8Array, patience: number): Promise<void> {
    const { connection, closing } = this.#context;
    const end = performance.now() + patience;
    for (;;) {
      try {
        return await this.#publish(spec, subject, payload, 'now');
      } catch (error) {
        if (!(error instanceof BrokerUnavailable) || connection.connected || performance.now() > end) throw error;
        await pause(TRY_AGAIN, undefined, { signal: closing });
      }
    }
  }

  #keep(spec: StreamSpec, subject: string, payload: Uint8Array): Promise<void> {
    return this.#publish(spec, subject, payload, 'keep');
  }

  async #publish(spec: StreamSpec, subject: string, payload: Uint8Array, patience: 'now' | 'keep'): Promise<void> {
    const { publisher, streams } = this.#context;
    const headers = newHeaders();
    headers.append(header.messageId, subject);
    await publisher.publish({
      subject,
      payload,
      headers,
      patience,
      ensureStream: async () => void (await streams.ensure(spec)),
    });
  }

  async *read(ref: BodyRef): AsyncGenerator<Uint8Array, void, undefined> {
    const place = this.#placeOf(ref.id);
    if (place === undefined) throw new BodyLost(`${ref.id} is not a place where bodies are`);
    yield* readChunks(ref, (n) => this.#chunk(place.stream, `${ref.id}.${n}`), this.#traffic);
  }

  async #chunk(stream: string, subject: string): Promise<Uint8Array> {
    const { lookup, closing } = this.#context;
    let looks = 0;
    const end = performance.now() + READ_PATIENCE;
    for (;;) {
      try {
        const stored = await lookup.last(stream, subject, looks > 0);
        if (stored !== undefined) return stored.data;
        if (++looks >= LOOKS) throw new BodyLost(`${subject} is not stored any more`);
      } catch (error) {
        if (!(error instanceof BrokerUnavailable) || performance.now() > end) throw error;
      }
      await pause(TRY_AGAIN, undefined, { signal: closing });
    }
  }

  /** Whether a body was written for this call. */
  isOf(ref: BodyRef, { id }: Pick<ActionEvent, 'id'>): boolean {
    return this.#context.subjects.readBody(ref.id)?.call === id;
  }

  /**
   * The same body once more, as that of the request of another call.
   * @throws {BrokerUnavailable}
   */
  async copy(ref: BodyRef, { id, caller, service, keyed }: ActionEvent): Promise<BodyRef> {
    try {
      return await this.write(
        { kind: 'request', call: { id, caller, service, keyed } },
        this.read(ref),
        this.#context.closing,
      );
    } catch (error) {
      if (error instanceof BrokerUnavailable) throw error;
      throw new BrokerUnavailable((error as Error).message, { cause: error });
    }
  }

  async forget(ref: BodyRef): Promise<void> {
    try {
      await this.forgetAt(ref.id);
    } catch (error) {
      if (!this.#context.closing.aborted && this.#context.connection.connected) this.#context.report(error as Error);
    }
  }

  /**
   * Removes the body at `id` unless an event refers to it.
   * @throws {BrokerUnavailable}
   */
  async forgetAt(id: string): Promise<void> {
    const place = this.#placeOf(id);
    if (place === undefined || (await this.#isReferred(id, place))) return;
    await this.#remove(place.stream, id);
  }

  #placeOf(id: string): Place | undefined {
    const { subjects } = this.#context;
    const read = subjects.readBody(id);
    if (read === undefined) return undefined;
    const { kind, service, caller, call } = read;
    if (kind === 'body') return { stream: subjects.bodyStream(service), callee: service, caller, call };
    const stream = kind === 'ans' ? subjects.answerStream(caller) : subjects.keyedAnswerStream(caller);
    return { stream, caller, call };
  }

  async #isReferred(id: string, { callee, caller, call }: Place): Promise<boolean> {
    const { lookup, subjects } = this.#context;
    const answer = await lookup.last(subjects.responseStreamOf(caller, call), subjects.response(caller, call));
    const response = answer === undefined ? undefined : decodeResponse(answer.data);
    if (response?.answer?.bodyRef?.id === id) return true;
    if (callee === undefined) return false;
    const action = (await findAction(this.#context, { callee, caller, id: call }))?.action;
    // An action that is answered may lie there a moment longer, until its acknowledgement has arrived.
    if (action !== undefined && !(response !== undefined && endsRound(response, action.round))) {
      if (action.bodyRef?.id === id) return true;
      const record = await lookup.last(subjects.attemptStream(callee), subjects.progress(callee, call, action.round));
      if (record !== undefined && decodeProgress(record.data).progress.answer?.bodyRef?.id === id) return true;
    }
    const letter = await lookup.last(subjects.deadStream(), subjects.dead(callee, caller, call));
    return letter !== undefined && decodeDeadLetter(letter.data).action.bodyRef?.id === id;
  }

  /** A broker that went away in the middle is what most uploads are given up for. What it refuses is left to the sweeper. */
  async #removeOnceBack(stream: string, id: string): Promise<void> {
    const { connection, closing } = this.#context;
    for (let refused = 0; ;) {
      try {
        return await this.#remove(stream, id);
      } catch (error) {
        if (closing.aborted || (connection.connected && ++refused >= REMOVALS)) throw error;
        // A sidecar that stops leaves it, too: `#remove` does nothing then.
        await pause(TRY_AGAIN, undefined, { signal: closing }).catch(() => undefined);
      }
    }
  }

  async #remove(stream: string, id: string): Promise<void> {
    const { lookup, closing } = this.#context;
    if (closing.aborted) return;
    await lookup.purge(stream, `${id}.>`);
  }
}
