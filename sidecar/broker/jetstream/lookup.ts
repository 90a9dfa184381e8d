import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { JetStreamApiCodes } from '@nats-io/jetstream';
import { BrokerUnavailable } from '../port.ts';
import type { Connection } from './connection.ts';
import { isApiError, type Streams } from './streams.ts';

/** One stored message. */
export interface Stored {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs | undefined;
}

const TIMEOUT = 2_000;

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
  /** Streams that were seen on this connection. A direct get from one that does not exist is never answered. */
  readonly #seen = new Set<string>();

  constructor(connection: Connection, streams: Streams, replicas: number) {
    this.#connection = connection;
    this.#streams = streams;
    this.#replicated = replicas > 1;
    connection.onUp(() => this.#seen.clear());
  }

  /** @throws {BrokerUnavailable} */
  async last(stream: string, subject: string, decisive = true): Promise<Stored | undefined> {
    if (decisive && this.#replicated) return await this.#fromLeader(stream, { last_by_subj: subject });
    if (!this.#seen.has(stream) && !(await this.#exists(stream))) return undefined;
    const nc = this.#connection.nc;
    if (nc === undefined) throw new BrokerUnavailable(this.#connection.status.detail ?? 'not connected');
    try {
      return read(await nc.request(`$JS.API.DIRECT.GET.${stream}.${subject}`, undefined, { timeout: TIMEOUT }));
    } catch (error) {
      return await this.#explain(stream, error);
    }
  }

  /** The message with this sequence, or with the next one at or after it when `orNext`. @throws {BrokerUnavailable} */
  async at(stream: string, seq: number, orNext = false): Promise<Stored | undefined> {
    if (!this.#seen.has(stream) && !(await this.#exists(stream))) return undefined;
    const nc = this.#connection.nc;
    if (nc === undefined) throw new BrokerUnavailable(this.#connection.status.detail ?? 'not connected');
    const query = JSON.stringify(orNext ? { seq, next_by_subj: '>' } : { seq });
    try {
      return read(await nc.request(`$JS.API.DIRECT.GET.${stream}`, query, { timeout: TIMEOUT }));
    } catch (error) {
      return await this.#explain(stream, error);
    }
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
    if (!this.#seen.has(stream) && !(await this.#exists(stream))) return undefined;
    const nc = this.#connection.nc;
    if (nc === undefined) throw new BrokerUnavailable(this.#connection.status.detail ?? 'not connected');
    try {
      return read(await nc.request(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify(query), { timeout: TIMEOUT }));
    } catch (error) {
      return await this.#explain(stream, error);
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
      throw new BrokerUnavailable(`looking into ${stream}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** @throws {BrokerUnavailable} */
  async #exists(stream: string): Promise<boolean> {
    try {
      const manager = await this.#streams.manager();
      await manager.streams.info(stream);
      this.#seen.add(stream);
      return true;
    } catch (error) {
      if (!isApiError(error, JetStreamApiCodes.StreamNotFound)) {
        throw new BrokerUnavailable(`looking into ${stream}: ${(error as Error).message}`, { cause: error });
      }
      this.#seen.delete(stream);
      return false;
    }
  }

  /** Nothing answered: the stream was deleted, which answers the question, or JetStream is away, which does not. */
  async #explain(stream: string, error: unknown): Promise<undefined> {
    if (this.#connection.connected && !(await this.#exists(stream))) return undefined;
    throw new BrokerUnavailable(`looking into ${stream}: ${(error as Error).message}`, { cause: error });
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

  /** Deletes whatever is stored under an exact subject. @throws {BrokerUnavailable} */
  async purge(stream: string, subject: string): Promise<number> {
    try {
      const manager = await this.#streams.manager();
      return (await manager.streams.purge(stream, { filter: subject })).purged;
    } catch (error) {
      if (isApiError(error, JetStreamApiCodes.StreamNotFound)) return 0;
      throw new BrokerUnavailable(`purging ${subject}: ${(error as Error).message}`, { cause: error });
    }
  }
}

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
  if (headers.code !== 0) throw new BrokerUnavailable(`direct get: ${headers.status}`);
  return { seq: Number(headers.get('Nats-Sequence')), subject: headers.get('Nats-Subject'), data: reply.data, headers };
}
