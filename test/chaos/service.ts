import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { type Attempted, record } from './history.ts';
import { type Incoming, receiptOf } from './receipt.ts';

/**
 * A service, as callee and as subscriber: writes every request that it has in whole to a file before it answers, so that what it did survives its
 * own kill -9. How it behaves stands in another file, read at every request, and so survives, too.
 *
 *     node service.ts PORT NAME EXECUTIONS BEHAVIOUR
 */

/** How a service misbehaves; `share` of the requests meet it, the others are served well. */
export interface Behaviour {
  readonly kind: BehaviourKind;
  readonly share: number;
}

export const behaviours = ['well', 'slow', 'hang', 'reset', 'reset-before', 'unavailable', 'retry-after'] as const;
export type BehaviourKind = (typeof behaviours)[number];

/** Longer than an attempt may take by the configuration of the harness, ms. */
const hanging = 5_000;

function behaviour(file: string): BehaviourKind {
  let wanted: Behaviour;
  try {
    wanted = JSON.parse(readFileSync(file, 'utf8')) as Behaviour;
  } catch {
    // Read while it was being written.
    return 'well';
  }
  return Math.random() < wanted.share ? wanted.kind : 'well';
}

async function serve(request: IncomingMessage, response: ServerResponse, names: Names): Promise<void> {
  if (request.url === '/healthz') {
    response.end('ok');
    return;
  }
  const body = await buffer(request);
  const kind = behaviour(names.behaviour);
  if (kind === 'reset-before') {
    request.socket.resetAndDestroy();
    return;
  }
  const header = (name: string) => String(request.headers[name] ?? '');
  const declined = kind === 'unavailable' || kind === 'retry-after';
  const incoming: Incoming = { path: request.url ?? '', header, body, service: names.service, behaviour: kind };
  const receipt = receiptOf(incoming, !declined);
  if (receipt !== undefined) {
    record(names.executions, receipt);
    if (!(await dawdle(kind, request))) return;
    response.writeHead(receipt.taken ? 204 : 503, kind === 'retry-after' ? ['Retry-After', '1'] : []).end();
    return;
  }
  const execution: Attempted = {
    type: 'attempted',
    at: Date.now(),
    token: header('x-token'),
    service: names.service,
    call: header('holdline-call-id'),
    attempt: Number(header('holdline-attempt')),
    nonce: randomUUID(),
    executed: !declined,
    behaviour: kind,
  };
  record(names.executions, execution);
  if (!(await dawdle(kind, request))) return;
  const { token, nonce, attempt } = execution;
  const answer = JSON.stringify({ token, nonce, attempt, ballast: 'x'.repeat(Math.max(0, body.byteLength - 200)) });
  const headers = ['Content-Type', 'application/json', 'X-Nonce', nonce, 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'];
  headers.push('Content-Length', String(Buffer.byteLength(answer)));
  if (kind === 'retry-after') headers.push('Retry-After', '1');
  response.writeHead(declined ? 503 : 200, headers);
  response.end(answer);
}

/** What goes wrong between the work and its answer. @returns whether it is to be answered at all */
async function dawdle(kind: BehaviourKind, request: IncomingMessage): Promise<boolean> {
  if (kind === 'slow') await pause(200 + Math.random() * 1_200);
  if (kind === 'hang') await pause(hanging);
  if (kind === 'reset') request.socket.resetAndDestroy();
  return kind !== 'reset';
}

interface Names {
  readonly service: string;
  readonly executions: string;
  readonly behaviour: string;
}

if (import.meta.main) {
  const [port = '', service = '', executions = '', file = ''] = process.argv.slice(2);
  const server = createServer((request, response) => {
    serve(request, response, { service, executions, behaviour: file }).catch((error: unknown) => {
      // A sidecar that went away in the middle of a request is part of the exercise.
      process.stderr.write(`${new Date().toISOString()} ${String(error)}\n`);
      response.destroy();
    });
  });
  server.listen(Number(port), '127.0.0.1');
}
