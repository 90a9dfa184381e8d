import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Refusal, sendJson } from '../http-service.ts';
import type { Entry } from './ledger.ts';

/** One request to misbehave on. */
export interface Visit {
  request: IncomingMessage;
  response: ServerResponse;
  /** The last segment of a path such as `/status/503`. */
  argument: string | undefined;
  query: URLSearchParams;
  entry: Entry;
}

/** What the body was. */
interface Body {
  bytes: number;
  sha256: string;
}

/** By the first segment of the path. */
export const behaviours: Record<string, (visit: Visit) => void | Promise<void>> = {
  echo,
  slow,
  status,
  flaky,
  'reset-before': resetBefore,
  'reset-after': resetAfter,
  hang,
  drip,
  huge,
  half,
  early,
  odd,
  garbage,
};

async function echo({ request, response, entry }: Visit): Promise<void> {
  const body = await execute(request, entry);
  sendJson(response, 200, {
    method: request.method,
    target: request.url,
    httpVersion: request.httpVersion,
    rawHeaders: request.rawHeaders,
    rawTrailers: request.rawTrailers,
    bodyLength: body.bytes,
    bodySha256: body.sha256,
  });
}

async function slow({ request, response, query, entry }: Visit): Promise<void> {
  await execute(request, entry);
  const ms = number(query, 'ms', 1_000);
  await delay(ms);
  sendJson(response, 200, { waited: ms });
}

async function status({ request, response, argument, query, entry }: Visit): Promise<void> {
  await execute(request, entry);
  const code = Number(argument);
  if (!Number.isInteger(code) || code < 200 || code > 599) throw new Refusal(400, 'try /status/503');
  const retryAfter = query.get('retry-after');
  if (retryAfter !== null) response.setHeader('Retry-After', retryAfter);
  if (code === 204 || code === 304) response.writeHead(code).end();
  else sendJson(response, code, { status: code });
}

async function flaky({ request, response, query, entry }: Visit): Promise<void> {
  await execute(request, entry);
  if (entry.executed > number(query, 'times', 2)) {
    sendJson(response, 200, { executions: entry.executed });
    return;
  }
  const retryAfter = query.get('retry-after');
  if (retryAfter !== null) response.setHeader('Retry-After', retryAfter);
  sendJson(response, number(query, 'status', 503), { executions: entry.executed });
}

function resetBefore({ request }: Visit): void {
  reset(request.socket);
}

async function resetAfter({ request, entry }: Visit): Promise<void> {
  await execute(request, entry);
  reset(request.socket);
}

async function hang({ request, entry }: Visit): Promise<void> {
  await execute(request, entry);
}

async function drip({ request, response, query, entry }: Visit): Promise<void> {
  await execute(request, entry);
  const bytes = number(query, 'bytes', 10);
  const ms = number(query, 'ms', 100);
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': bytes });
  for (let sent = 0; sent < bytes && !response.destroyed; sent++) {
    response.write('.');
    await delay(ms);
  }
  response.end();
}

async function huge({ request, response, query, entry }: Visit): Promise<void> {
  await execute(request, entry);
  const bytes = number(query, 'bytes', 64 * 1024 * 1024);
  response.setHeader('Content-Type', 'application/octet-stream');
  if (!query.has('chunked')) response.setHeader('Content-Length', bytes);
  const block = Buffer.alloc(64 * 1024, 'x');
  for (let sent = 0; sent < bytes && !response.destroyed; sent += block.length) {
    const room = response.write(block.subarray(0, Math.min(block.length, bytes - sent)));
    if (!room && !response.destroyed) await Promise.race([once(response, 'drain'), once(response, 'close')]);
  }
  response.end();
}

async function half({ request, response, query, entry }: Visit): Promise<void> {
  await execute(request, entry);
  const bytes = number(query, 'bytes', 1_000);
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': bytes });
  response.write('x'.repeat(Math.floor(bytes / 2)), () => reset(request.socket));
}

/** Answers from the head alone and closes, as a server does that refuses an upload. */
function early({ response, query }: Visit): void {
  response.setHeader('Connection', 'close');
  sendJson(response, number(query, 'status', 413), { early: true });
}

/** Everything about an answer that a careless proxy loses. */
async function odd({ request, response, entry }: Visit): Promise<void> {
  await execute(request, entry);
  response.writeHead(299, 'Odd But Fine', [
    ['Content-Type', 'text/plain; charset=utf-8'],
    ['X-MiXeD-CaSe', 'kept'],
    ['Set-Cookie', 'a=1'],
    ['X-Between', 'cookies'],
    ['Set-Cookie', 'b=2'],
    ['X-Empty', ''],
    ['Trailer', 'X-Checksum'],
  ]);
  response.write('odd ');
  response.addTrailers([['X-Checksum', 'odd-but-fine']]);
  response.end('but fine');
}

async function garbage({ request, entry }: Visit): Promise<void> {
  await execute(request, entry);
  request.socket.end('this is not HTTP\r\n\r\n');
}

async function execute(request: IncomingMessage, entry: Entry): Promise<Body> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  entry.executed++;
  return { bytes, sha256: hash.digest('hex') };
}

/** A TCP RST where the socket is still the kernel's to reset, so that the peer sees ECONNRESET and not an orderly end. */
function reset(socket: Socket): void {
  socket.resetAndDestroy();
}

function number(query: URLSearchParams, name: string, otherwise: number): number {
  const value = Number(query.get(name) ?? otherwise);
  if (!Number.isInteger(value) || value < 0) throw new Refusal(400, `${name}: a whole number is needed`);
  return value;
}
