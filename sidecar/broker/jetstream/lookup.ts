import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { JetStreamApiCodes } from '@nats-io/jetstream';
import { BrokerUnavailable } from '../port.ts';
import { isDenied, type Connection } from './connection.ts';
import { Questions } from './questions.ts';
import { isApiError, type Streams } from './streams.ts';

/** One stored message. */
export interface Stored {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs | undefined;
}

/**
 * Reads single messages out of streams by exact subject or by sequence.
 *
 * Direct get is answered by any replica, so on a replicated stream "not found" may only mean "not here yet". Where a decision
 * rests on it, `decisive` asks the stream's leader instead (research: jetstream.md §1.3).
 */
export class Lookup {
  readonly #connection: Connection;
  readonly #streams: Streams;
  readonly #replicated: boolean;
  readonly #questions: Questions;
  /** Streams that were seen on this connection. A direct get from one that does not exist is never answered. */
  readonly #seen = new Set<string>();

  constructor(connection: Connection, streams: Streams, replicas: number) {
    this.#connection = connection;
    this.#streams = streams;
    this.#replicated = replicas > 1;
    this.#questions = new Questions(connection);
    connection.onUp(() => this.#seen.clear());
  }

  /** @throws {BrokerUnavailable} */
  async last(stream: string, subject: string, decisive = true): Promise<Stored | undefined> {
    if (decisive && this.#replicated) return await this.#fromLeader(stream, { last_by_subj: subject });
    return await this.#direct(stream, `$JS.API.DIRECT.GET.${stream}.${subject}`, '');
  }

  /** The message with this sequence, or with the next one at or after it when `orNext`. @throws {BrokerUnavailable} */
  async at(stream: string, seq: number, orNext = false): Promise<Stored | undefined> {
    const query = JSON.stringify(orNext ? { seq, next_by_subj: '>' } : { seq });
    return await this.#direct(stream, `$JS.API.DIRECT.GET.${stream}`, query);
  }

  /**
   * The first message at or after `seq` whose subject fits a pattern, for a decision to rest on. The server reads on until it finds
   * one, so `seq` should not be far from it.
   * @throws {BrokerUnavailable}
   */
  async next(stream: string, seq: number, pattern: string): Promise<Stored | undefined> {
    return await this.#query(stream, { seq: Math.max(1, seq), next_by_subj: pattern });
  }

  /**
   * The last message whose subject fits a pattern. The server walks the whole stream.
   * @throws {BrokerUnavailable}
   */
  async lastLike(stream: string, pattern: string): Promise<Stored | undefined> {
    // The server takes a pattern in the place of a subject; there, and not in a payload, permissions can limit it.
    return await this.last(stream, pattern);
  }

  async #query(stream: string, query: { seq: number; next_by_subj: string }): Promise<Stored | undefined> {
    if (this.#replicated) return await this.#fromLeader(stream, query);
    return await this.#direct(stream, `$JS.API.DIRECT.GET.${stream}`, JSON.stringify(query));
  }

  /** @throws {BrokerUnavailable} */
  async #direct(stream: string, subject: string, query: string): Promise<Stored | undefined> {
    if (!this.#seen.has(stream) && !(await this.#exists(stream))) return undefined;
    try {
      return read(await this.#questions.ask(subject, query));
    } catch (error) {
      return await this.#explain(stream, error as Error);
    }
  }

  async #fromLeader(
    stream: string,
    query: { seq: number; next_by_subj: string } | { last_by_subj: string },
  ): Promise<Stored | undefined> {
    try {
      const manager = await this.#streams.manager();
      const found = await manager.streams.getMessage(stream, query);
      if (found === null) return undefined;
      return { seq: found.seq, subject: found.subject, data: found.data, headers: found.header };
    } catch (error) {
      if (isApiError(error, JetStreamApiCodes.StreamNotFound)) return undefined;
      throw new BrokerUnavailable(`looking into ${stream}: ${(error as Error).message}`, {
        cause: error,
        denied: isDenied(error),
      });
    }
  }

  /** @throws {BrokerUnavailable} */
  async #exists(stream: string): Promise<boolean> {
    const reply = await this.#inform(stream);
    if (reply.error === undefined) {
      this.#seen.add(stream);
      return true;
    }
    const { err_code: code, description = 'refused' } = reply.error;
    if (code !== JetStreamApiCodes.StreamNotFound)
      throw new BrokerUnavailable(`looking into ${stream}: ${description}`);
    this.#seen.delete(stream);
    return false;
  }

  /** Each call with a key asks this of a stream that is not there, so not by the library, which makes an error of that. */
  async #inform(stream: string): Promise<InfoReply> {
    try {
      const reply = await this.#questions.ask(`$JS.API.STREAM.INFO.${stream}`, '');
      if (reply.headers?.code === NO_RESPONDERS) throw new Error('JetStream does not answer');
      return reply.json<InfoReply>();
    } catch (error) {
      throw new BrokerUnavailable(`looking into ${stream}: ${(error as Error).message}`, {
        cause: error,
        denied: isDenied(error),
      });
    }
  }

  /** Nothing answered: the stream was deleted, which answers the question, or JetStream is away, which does not. */
  async #explain(stream: string, error: Error): Promise<undefined> {
    if (this.#connection.connected && !(await this.#exists(stream))) return undefined;
    throw new BrokerUnavailable(`looking into ${stream}: ${error.message}`, { cause: error, denied: isDenied(error) });
  }

  /** Deletes one message by sequence; true when it was there. @throws {BrokerUnavailable} */
  async remove(stream: string, seq: number): Promise<boolean> {
    try {
      const manager = await this.#streams.manager();
      return await manager.streams.deleteMessage(stream, seq, false);
    } catch (error) {
      if (isGone(error)) return false;
      throw new BrokerUnavailable(`deleting from ${stream}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Leaves nothing that waits. */
  close(): void {
    this.#questions.close();
  }

  /**
   * Deletes whatever is stored under a subject, and tells how much that was.
   * @param upTo what is stored behind this sequence stays
   * @throws {BrokerUnavailable}
   */
  async purge(stream: string, subject: string, upTo?: number): Promise<number> {
    try {
      const manager = await this.#streams.manager();
      const options = { filter: subject, ...(upTo !== undefined && { seq: upTo + 1 }) };
      return (await manager.streams.purge(stream, options)).purged;
    } catch (error) {
      if (isApiError(error, JetStreamApiCodes.StreamNotFound)) return 0;
      throw new BrokerUnavailable(`purging ${subject}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** What is of interest in an answer about a stream. */
interface InfoReply {
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

const NO_RESPONDERS = 503;
const NO_MESSAGE = 10037;
const SEQUENCE_GONE = 10043;
/** Any failure of a deletion, told apart by its text only: "no message found", "deleted message", "stream store EOF". */
const DELETE_FAILED = 10057;

/** Whether a deletion failed because there is nothing to delete. */
function isGone(error: unknown): boolean {
  if (isApiError(error, DELETE_FAILED)) return /no message found|deleted message|EOF/i.test((error as Error).message);
  return [JetStreamApiCodes.StreamNotFound, NO_MESSAGE, SEQUENCE_GONE].some((code) => isApiError(error, code));
}

function read(reply: Msg): Stored | undefined {
  const { headers } = reply;
  if (headers === undefined || headers.code === 404) return undefined;
  if (headers.code === NO_RESPONDERS) throw new BrokerUnavailable('nobody answers');
  if (headers.code !== 0) throw new BrokerUnavailable(`direct get: ${headers.status}`);
  return { seq: Number(headers.get('Nats-Sequence')), subject: headers.get('Nats-Subject'), data: reply.data, headers };
}
