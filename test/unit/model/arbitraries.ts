import * as fc from 'fast-check';
import type { BroadcastEvent } from '../../../sidecar/model/broadcast.ts';
import type {
  ActionEvent,
  Answer,
  AttemptRecord,
  BodyRef,
  Outcome,
  Progress,
  ResponseEvent,
} from '../../../sidecar/model/call.ts';
import { deadLetterReasons, factsOf } from '../../../sidecar/model/call.ts';
import type { StoredDeadLetter } from '../../../sidecar/model/codec.ts';

/** A service name as the contract allows it: `[a-z][a-z0-9-]{0,62}`. */
export const serviceName = fc.stringMatching(/^[a-z][a-z0-9-]{0,62}$/);

/** Everything that can stand in a field value: node:http hands bytes over as latin-1 characters. */
const latin1 = fc.string({
  unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCodePoint(code)),
  maxLength: 40,
});

const fieldName = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}$/);

const rawHeaders = fc
  .array(fc.tuple(fieldName, latin1), { maxLength: 8 })
  .map((fields) => fields.flatMap(([name, value]) => [name, value]));

const body = fc.uint8Array({ maxLength: 400 });
const time = fc.integer({ min: 0, max: 4_102_444_800_000 });

const attemptRecord: fc.Arbitrary<AttemptRecord> = fc.record(
  {
    attempt: fc.integer({ min: 1, max: 100 }),
    at: time,
    ms: fc.nat(),
    evidence: fc.constantFrom('answered', 'retry-status', 'no-answer', 'sidecar-died', 'answer-too-large'),
    status: fc.integer({ min: 100, max: 599 }),
    detail: fc.string(),
    instance: fc.string(),
  },
  { requiredKeys: ['attempt', 'evidence', 'instance'] },
);

const history = fc.array(attemptRecord, { maxLength: 4 });

const trace = fc.record(
  { traceparent: fc.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/), tracestate: fc.string() },
  { requiredKeys: ['traceparent'] },
);

const bodyRef: fc.Arbitrary<BodyRef> = fc.record({
  id: fc.string(),
  chunks: fc.integer({ min: 1 }),
  size: fc.integer({ min: 1 }),
  sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
});

export const actionEvent: fc.Arbitrary<ActionEvent> = fc.record(
  {
    id: fc.uuid(),
    round: fc.integer({ min: 1, max: 50 }),
    caller: serviceName,
    service: serviceName,
    route: fc.string(),
    method: fc.constantFrom('GET', 'POST', 'PROPFIND'),
    target: fc.webPath(),
    headers: rawHeaders,
    trailers: rawHeaders,
    body,
    bodyRef,
    hasBody: fc.boolean(),
    acceptedAt: time,
    deadline: time,
    idempotent: fc.boolean(),
    retry: fc.record({
      attempts: fc.integer({ min: 1, max: 50 }),
      backoff: fc.record({ min: fc.nat(), max: fc.nat() }),
      on: fc.array(fc.integer({ min: 400, max: 599 })),
    }),
    callback: fc.record({ method: fc.constant('POST'), target: fc.webPath() }),
    answerTo: fc.record({ id: fc.uuid(), status: fc.integer({ min: 200, max: 599 }) }),
    keyed: fc.boolean(),
    idempotencyKey: latin1,
    fingerprint: fc.string(),
    maxBody: fc.nat(),
    orderKey: fc.string(),
    earlier: history,
    trace,
    delivery: fc.record({ subscription: fc.string(), event: fc.uuid(), topic: fc.string() }),
  },
  {
    requiredKeys: [
      'id',
      'round',
      'caller',
      'service',
      'route',
      'method',
      'target',
      'headers',
      'trailers',
      'body',
      'hasBody',
      'acceptedAt',
      'deadline',
      'idempotent',
      'retry',
      'keyed',
      'fingerprint',
      'maxBody',
      'earlier',
    ],
  },
);

const answer: fc.Arbitrary<Answer> = fc.record(
  {
    status: fc.integer({ min: 200, max: 599 }),
    reason: latin1,
    headers: rawHeaders,
    trailers: rawHeaders,
    body,
    bodyRef,
  },
  { requiredKeys: ['status', 'reason', 'headers', 'trailers', 'body'] },
);

const outcome: fc.Arbitrary<Outcome> = fc.constantFrom('answered', 'cancelled', ...deadLetterReasons, 'discarded');

export const responseEvent: fc.Arbitrary<ResponseEvent> = fc.record(
  {
    call: actionEvent.map(factsOf),
    outcome,
    answer,
    fingerprint: fc.string(),
    attempts: history,
    finishedAt: time,
    trace,
  },
  { requiredKeys: ['call', 'outcome', 'fingerprint', 'attempts', 'finishedAt'] },
);

export const progress: fc.Arbitrary<Progress> = fc.record(
  {
    attempts: history,
    started: fc.record({ attempt: fc.integer({ min: 1 }), at: time, instance: fc.string() }),
    answer,
    notBefore: time,
  },
  { requiredKeys: ['attempts'] },
);

export const deadLetter: fc.Arbitrary<StoredDeadLetter> = fc.record(
  {
    action: actionEvent,
    reason: fc.constantFrom(...deadLetterReasons),
    diedAt: time,
    status: fc.integer({ min: 100, max: 599 }),
    history,
    trace,
  },
  { requiredKeys: ['action', 'reason', 'diedAt', 'history'] },
);

export const broadcastEvent: fc.Arbitrary<BroadcastEvent> = fc.record(
  {
    id: fc.uuid(),
    topic: fc.stringMatching(/^[a-z]{1,5}(\.[a-z]{1,5}){0,3}$/),
    publisher: serviceName,
    route: fc.string(),
    headers: rawHeaders,
    body,
    hasBody: fc.boolean(),
    at: time,
    fingerprint: fc.string(),
    trace,
  },
  { requiredKeys: ['id', 'topic', 'publisher', 'route', 'headers', 'body', 'hasBody', 'at', 'fingerprint'] },
);
