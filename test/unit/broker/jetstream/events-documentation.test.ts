import { MsgHdrsImpl } from '@nats-io/transport-node';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Connection } from '../../../../sidecar/broker/jetstream/connection.ts';
import {
  ACK_WAIT,
  CONSUMER,
  consumerConfig,
  subscriptionConfig,
} from '../../../../sidecar/broker/jetstream/consumer.ts';
import {
  actionHeaders,
  broadcastHeaders,
  header,
  responseHeaders,
} from '../../../../sidecar/broker/jetstream/envelope.ts';
import { Streams, type StreamSpec } from '../../../../sidecar/broker/jetstream/streams.ts';
import { orderToken, Subjects } from '../../../../sidecar/broker/jetstream/subjects.ts';
import type { BroadcastEvent } from '../../../../sidecar/model/broadcast.ts';
import {
  conclude,
  type ActionEvent,
  type Answer,
  type AttemptRecord,
  type BodyRef,
} from '../../../../sidecar/model/call.ts';
import { keyedCallId, readCallId, serviceHint } from '../../../../sidecar/model/call-id.ts';
import {
  decodeAction,
  decodeBroadcast,
  decodeDeadLetter,
  decodeProgress,
  decodeResponse,
  encodeAction,
  encodeBroadcast,
  encodeDeadLetter,
  encodeProgress,
  encodeResponse,
  EventFormatError,
  FORMAT_VERSION,
  formatVersionOf,
} from '../../../../sidecar/model/codec.ts';

const page = readFileSync(new URL('../../../../sidecar/docs/events.md', import.meta.url), 'utf8');

/** The text under a heading, up to the next one. */
function section(title: string): string {
  const found = page.split(/^#+ /m).find((part) => part.startsWith(`${title}\n`));
  if (found === undefined) throw new Error(`events.md has no section "${title}"`);
  return found;
}

/** The rows of the section's table: the code in the first cell, then the other cells as they are. */
function rows(title: string): string[][] {
  return section(title)
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    )
    .map(([first, ...rest]) => [first!.replaceAll('`', ''), ...rest]);
}

/** What the rows of the section's table are about. */
function names(title: string): string[] {
  return rows(title).map(([first]) => first!);
}

/** Names in `code` in running text. */
function named(title: string): Set<string> {
  return new Set([...section(title).matchAll(/`([^`]+)`/g)].map(([, code]) => code!));
}

const id = '01890a5d-ac96-774b-8cce-b302099a8057';
const keyedId = keyedCallId({ caller: 'orders', service: 'payments', method: 'POST', path: '/', key: 'k' });
const trace = { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' };
const attempt: Required<AttemptRecord> = {
  attempt: 1,
  at: 1,
  ms: 2,
  evidence: 'retry-status',
  status: 503,
  detail: 'x',
  instance: 'i',
};
const bodyRef: BodyRef = { id: 'x', chunks: 1, size: 2, sha256: 'f'.repeat(64) };
const answer: Required<Answer> = {
  status: 200,
  reason: 'OK',
  headers: ['a', 'b'],
  trailers: [],
  body: Buffer.alloc(0),
  bodyRef,
};
/** Every field that there is: the type demands it, so a new one cannot be forgotten here. */
const action: Required<ActionEvent> = {
  id,
  round: 1,
  caller: 'orders',
  service: 'payments',
  route: 'charge',
  method: 'POST',
  target: '/charges',
  headers: ['Host', 'payments'],
  trailers: [],
  body: Buffer.alloc(0),
  bodyRef,
  hasBody: true,
  acceptedAt: 1,
  deadline: 2,
  idempotent: false,
  retry: { attempts: 8, backoff: { min: 1, max: 2 }, on: [503], untilSuccess: true },
  keyed: false,
  idempotencyKey: 'k',
  fingerprint: 'f',
  maxBody: 1,
  orderKey: 'o',
  earlier: [attempt],
  callback: { method: 'POST', target: '/done' },
  answerTo: { id, status: 200 },
  trace,
  delivery: { subscription: 's', event: id, topic: 't' },
};
const progress = { attempts: [attempt], started: { attempt: 2, at: 3, instance: 'i' }, answer, notBefore: 4 };
const response = conclude(action, progress, 'answered', 5);
const letter = { action, reason: 'exhausted', diedAt: 6, status: 503, history: [attempt], trace } as const;

const broadcast: Required<BroadcastEvent> = {
  id,
  topic: 'order.paid',
  publisher: 'orders',
  route: 'order-paid',
  headers: ['a', 'b'],
  body: Buffer.from('x'),
  hasBody: true,
  at: 1,
  fingerprint: 'f',
  call: { method: 'POST', target: '/charges', status: 201 },
  trace,
};

const events = [
  { title: 'Broadcast head', bytes: encodeBroadcast(broadcast), decode: decodeBroadcast },
  { title: 'Action head', bytes: encodeAction(action), decode: decodeAction },
  { title: 'Response head', bytes: encodeResponse(response), decode: decodeResponse },
  { title: 'Progress head', bytes: encodeProgress({ progress, accounted: 1, feed: true }), decode: decodeProgress },
  { title: 'Dead letter head', bytes: encodeDeadLetter(letter), decode: decodeDeadLetter },
];

function headOf(bytes: Uint8Array): Record<string, unknown> {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Record<string, unknown>;
}

function frame(head: object): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(4 + text.length);
  new DataView(bytes.buffer).setUint32(0, text.length);
  bytes.set(text, 4);
  return bytes;
}

describe.each(events)('$title', ({ title, bytes, decode }) => {
  const head = headOf(bytes);
  const documented = rows(title).map(([field, needed]) => ({ field: field!, needed: needed === 'yes' }));

  test('every field is documented, and every documented field is one', () => {
    expect(documented.map(({ field }) => field).toSorted()).toEqual(Object.keys(head).toSorted());
  });

  test.each(documented)('$field is needed: $needed', ({ field, needed }) => {
    const { [field]: _, ...rest } = head;
    if (needed) {
      expect(() => decode(frame(rest))).toThrow(EventFormatError);
    } else {
      expect(() => decode(frame(rest))).not.toThrow();
    }
  });
});

describe('what is inside the heads', () => {
  const retry = { ...action.retry, ...action.retry.backoff };
  const { body: _, ...answerHead } = answer;

  test.each([
    ['Call', response.call],
    ['Answer', answerHead],
    ['Large bodies', bodyRef],
    ['Attempt', attempt],
    ['Retry', retry],
    ['Trace', trace],
    ['Callbacks', { ...action.callback, ...action.answerTo }],
    ['Call feeds', broadcast.call],
    ['Progress head', progress.started],
  ])('%s', (title, fields) => {
    const documented = named(title);
    expect(Object.keys(fields).filter((field) => !documented.has(field))).toEqual([]);
  });

  test('the outcomes and the reasons are all there', () => {
    const outcomes = ['answered', 'cancelled', 'exhausted', 'deadline-exceeded', 'outcome-unknown', 'answer-too-large'];
    for (const outcome of [...outcomes, 'discarded']) expect(section('Response head')).toContain(`\`${outcome}\``);
    for (const reason of outcomes.slice(2)) expect(section('Dead letter head')).toContain(`\`${reason}\``);
    for (const evidence of ['answered', 'retry-status', 'no-answer', 'sidecar-died', 'answer-too-large', 'not-sent']) {
      expect(section('Attempt')).toContain(`\`${evidence}\``);
    }
  });

  test('the version is this one', () => {
    expect(section('Payload')).toContain(`\`v\` is the version of the format: \`${FORMAT_VERSION}\``);
    expect(section('Headers')).toContain(`\`holdline.action.v${FORMAT_VERSION}\``);
    const apart = formatVersionOf({ bodyRef });
    expect(section('Payload')).toContain(`\`${apart}\` in an event that refers to a body`);
    expect(section('Headers')).toContain(`\`v${apart}\` with a body stored apart`);
  });
});

test('every header is documented, and every documented header is one', () => {
  const subjects = new Subjects('holdline');
  const set = new Set([
    ...MsgHdrsImpl.decode(actionHeaders(action, subjects).encode()).keys(),
    ...MsgHdrsImpl.decode(responseHeaders(response, 0).encode()).keys(),
    ...MsgHdrsImpl.decode(broadcastHeaders(broadcast).encode()).keys(),
    ...Object.values(header),
  ]);
  expect(names('Headers').toSorted()).toEqual([...set].toSorted());
});

describe('names', () => {
  const subjects = new Subjects('<ns>');
  const [caller, callee] = ['<caller>', '<callee>'];
  const subscription = { service: '<service>', subscription: '<subscription>' };
  const call = { id, caller, service: callee, keyed: false };
  const { instance } = readCallId(id);
  /** A subject with the parts of the example taken out again. */
  const pattern = (subject: string) =>
    subject
      .replace(id, '<id>')
      .replace(keyedId, '<id>')
      .replace(`.${instance}.`, '.<instance>.')
      .replace(/\.7$/, '.<round>')
      .replace(orderToken('o'), '<order>')
      .replace('.*.*.*', '.<order>.<caller>.<id>');

  test('of subjects are all documented, and no others', () => {
    expect(names('Subjects').toSorted()).toEqual(
      [
        subjects.action(callee, caller, id),
        subjects.ordered(callee, 'o', caller, id),
        subjects.queued(callee),
        subjects.response(caller, id),
        subjects.response(caller, keyedId),
        subjects.delivered(caller, keyedId, 7),
        subjects.attached(caller, keyedId, '<instance>', '<how>'),
        subjects.content(caller, '<key>'),
        subjects.announced(caller, id),
        subjects.announced(caller, keyedId),
        subjects.progress(callee, id, 7),
        subjects.dead(callee, caller, id),
        subjects.control(callee),
        subjects.ended({ service: '<service>', subscription: '<subscription>' }),
        subjects.broadcast('<publisher>', '<topic>', id),
        subjects.delivery(subscription, id, 7),
        subjects.redelivery(subscription, id),
        subjects.turn(subscription, orderToken('o'), '<publisher>', `${id}:<round>`),
        subjects.turnsAnnounced(subscription).replace('.*.*.*', '.<order>.<publisher>.<id>'),
        subjects.lastTurn(subscription, orderToken('o')),
        ...(['request', 'answer'] as const).map((kind) => `${subjects.body(kind, call, '<name>')}.<n>`),
        `${subjects.body('answer', { ...call, keyed: true }, '<name>')}.<n>`,
      ]
        .map(pattern)
        .toSorted(),
    );
  });

  test('of streams are all documented, with subjects, retention and announcements, and no others', () => {
    const retention = { responses: 1, keyed: 2, broadcasts: 3, deadLetters: 4 };
    const config = { kind: 'nats', servers: [], namespace: '<ns>', replicas: 1, retention } as const;
    const streams = new Streams(new Connection(config, 'x', () => undefined), config, subjects);
    const specs: StreamSpec[] = [
      streams.actions(callee),
      streams.ordered(callee),
      streams.responses(caller),
      streams.keyed(caller),
      streams.attempts(callee),
      streams.dead(),
      streams.broadcasts(),
      streams.deliveries(),
      streams.redeliveries(),
      streams.turns(),
      streams.bodies(callee),
      streams.answers(caller),
      streams.keyedAnswers(caller),
    ];
    const ages = [
      'none',
      '`retention.responses`',
      '`retention.keyed`',
      '`retention.broadcasts`',
      '`retention.deadLetters`',
    ];
    // As long again as responses are kept, where that is less than a quarter of an hour.
    const margin = new Map([
      [streams.answers(caller).name, 1],
      [streams.keyedAnswers(caller).name, 2],
    ]);
    const documented = rows('Streams');
    expect(documented).toHaveLength(specs.length);
    for (const spec of specs) {
      const row = documented.find(([name]) => name === spec.name) ?? [];
      expect(row.slice(0, 3)).toEqual([spec.name, `\`${spec.subjects.join(' ')}\``, spec.retention]);
      expect(row[3]).toContain(ages[(spec.max_age ?? 0) / 1_000_000 - (margin.get(spec.name) ?? 0)]);
      expect(row[4]!.includes('one message per subject')).toBe(spec.max_msgs_per_subject === 1);
      expect(row[4]).toContain(spec.republish === undefined ? '' : `republished to \`${spec.republish.dest}\``);
      expect(row[4]!.includes('`discard: new`')).toBe(spec.discard === 'new');
    }
  });

  test('of the consumer and its limits', () => {
    const text = section('Streams').replaceAll(/\s+/g, ' ');
    expect(text).toContain(`one durable consumer, \`${CONSUMER}\``);
    expect(text).toContain(`\`deliver_policy: ${consumerConfig.deliver_policy}\``);
    expect(text).toContain(`\`ack_wait\` ${ACK_WAIT / 1000} s`);
    expect(text).toContain(`\`max_ack_pending\` ${consumerConfig.max_ack_pending}`);
    expect(text).toContain(`\`max_waiting\` ${consumerConfig.max_waiting}`);
    expect(consumerConfig).toMatchObject({ ack_policy: 'explicit', max_deliver: -1 });
    const { durable_name: _, deliver_policy: __, ...same } = consumerConfig;
    expect(subscriptionConfig).toEqual(same);
    const name = { service: '<service>', subscription: '<subscription>' };
    expect(text).toContain(`\`${subjects.subscriptionConsumer(name)}\``);
    for (const topic of ['order.paid', 'order.*', 'order.**']) {
      expect(section('Broadcast events')).toContain(`\`${topic}\` is \`${subjects.broadcasts(topic)}\``);
    }
  });
});

test('the example of a call id says what the page says of it', () => {
  const [, example, tag] = /in `([0-9a-f-]{36})` it is `([0-9a-f]{5})`/.exec(section('Call ids')) ?? [];
  expect(readCallId(example!)).toMatchObject({ keyed: false, instance: tag });
  expect(serviceHint('payments')).toMatch(/^[0-9a-f]{3}$/);
  expect(section('Call ids')).toContain('`8:payments`');
});
