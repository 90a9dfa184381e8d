import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { AnswerReader } from './answers.ts';
import { percentile } from './statistics.ts';

/** What one measurement sends. */
export interface Load {
  readonly port: number;
  readonly path: string;
  readonly bodyBytes: number;
  /** Whether every request has a fresh `Idempotency-Key`. */
  readonly keyed: boolean;
  /** The status that counts as success. */
  readonly status: number;
  /** Connections that are kept open, each with one request outstanding. */
  readonly connections: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** No more requests than this, even where there is time left. Default: as many as the time allows. */
  readonly calls?: number;
}

/** What came of it. */
export interface Measured {
  /** Calls answered within the measured time. */
  readonly calls: number;
  /** All calls answered, warm-up included: what the CPU time of the whole run is divided by. */
  readonly total: number;
  readonly perSecond: number;
  /** Latencies of the calls in the measured time, in ms. */
  readonly p50: number;
  readonly p99: number;
  readonly failed: number;
  /** The first failure, as text. */
  readonly failure?: string;
}

const keyBytes = 12;
const keyName = 'Idempotency-Key: ';

/** Bytes of a JSON document of exactly this size. */
export function jsonBody(bytes: number): string {
  const empty = JSON.stringify({ order: 'o-1', amount: 1250, note: '' });
  return JSON.stringify({ order: 'o-1', amount: 1250, note: 'x'.repeat(Math.max(bytes - empty.length, 0)) });
}

/** One request, ready to be written; where it is keyed, `keyAt` is where the key goes. */
function prepare(load: Load): { bytes: Buffer; keyAt: number } {
  const body = jsonBody(load.bodyBytes);
  const head = [
    `POST ${load.path} HTTP/1.1`,
    'Host: payments',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(load.keyed ? [keyName + '0'.repeat(keyBytes * 2)] : []),
    '\r\n',
  ].join('\r\n');
  return { bytes: Buffer.from(head + body), keyAt: load.keyed ? head.indexOf(keyName) + keyName.length : -1 };
}

/** Sends what `load` says over its connections, each the next request as soon as it has the answer. */
export async function generate(load: Load): Promise<Measured> {
  const latencies: number[] = [];
  const begin = performance.now();
  const from = begin + load.warmUpMs;
  const until = from + load.measureMs;
  const most = load.calls ?? Number.POSITIVE_INFINITY;
  let total = 0;
  let started = 0;
  let failed = 0;
  let failure: string | undefined;
  const fail = (what: string) => {
    failed++;
    failure ??= what;
  };
  const converse = async (): Promise<void> => {
    const { bytes, keyAt } = prepare(load);
    const reader = new AnswerReader();
    const { promise, resolve } = Promise.withResolvers<void>();
    let sent = 0;
    let done = false;
    const finish = (socket: Socket) => {
      done = true;
      socket.destroy();
      resolve();
    };
    const send = (socket: Socket) => {
      // The answer to the request before is there, so its bytes are out of the buffer.
      if (keyAt >= 0) bytes.write(randomBytes(keyBytes).toString('hex'), keyAt, 'latin1');
      started++;
      sent = performance.now();
      socket.write(bytes);
    };
    const socket = connect(load.port, '127.0.0.1', () => send(socket));
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      const answer = reader.read(chunk);
      if (answer === undefined) return;
      const now = performance.now();
      total++;
      if (answer.status !== load.status) fail(answer.head);
      else if (now >= from && now < until) latencies.push(now - sent);
      if (answer.closes) fail(`the connection is closed after:\n${answer.head}`);
      if (now >= until || started >= most || answer.closes) finish(socket);
      else send(socket);
    });
    socket.on('error', (error) => fail(String(error)));
    socket.on('close', () => {
      if (!done) fail('the connection was closed without an answer');
      resolve();
    });
    return promise;
  };
  await Promise.all(Array.from({ length: Math.min(load.connections, most) }, converse));
  const measuredMs = Math.min(performance.now() - from, load.measureMs);
  latencies.sort((a, b) => a - b);
  return {
    calls: latencies.length,
    total,
    perSecond: (latencies.length * 1000) / measuredMs,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    failed,
    ...(failure !== undefined && { failure }),
  };
}
