/**
 * Programs that know nothing but a NATS client and `sidecar/docs/events.md`: a service that answers a call without a
 * sidecar, one that makes a call, one that publishes a broadcast event, and one that subscribes. Nothing here imports Holdline.
 */
import { createHash, randomBytes } from 'node:crypto';
import { jetstream, jetstreamManager, type JsMsg, type StreamConfig } from '@nats-io/jetstream';
import { headers, type NatsConnection } from '@nats-io/transport-node';

type Head = Record<string, unknown>;

function frame(head: Head, body: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(4 + json.length + body.length);
  new DataView(bytes.buffer).setUint32(0, json.length);
  bytes.set(json, 4);
  bytes.set(body, 4 + json.length);
  return bytes;
}

function unframe(bytes: Uint8Array): { head: Head; body: Uint8Array } {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Head;
  return { head, body: bytes.subarray(4 + length) };
}

export interface AnswerByHand {
  readonly status: number;
  readonly reason: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

export interface ActionByHand {
  readonly head: Head;
  readonly body: Uint8Array;
  readonly headers: Record<string, string>;
}

/** Takes the next call for `service`, stores what `serve` answers, and settles the call. */
export async function answerNextCall(
  nc: NatsConnection,
  service: string,
  serve: (action: ActionByHand) => AnswerByHand,
): Promise<void> {
  const manager = await jetstreamManager(nc);
  const js = jetstream(nc);
  const stream = `holdline_actions_${service}`;
  await manager.consumers.add(stream, {
    durable_name: 'inbound',
    ack_policy: 'explicit',
    ack_wait: 5_000_000_000,
    max_ack_pending: 20_000,
    max_waiting: 512,
  });
  const consumer = await js.consumers.get(stream, 'inbound');
  const message = await consumer.next({ expires: 30_000 });
  if (message === null) throw new Error('no call came');
  await answer(nc, service, message, serve);
}

async function answer(
  nc: NatsConnection,
  service: string,
  message: JsMsg,
  serve: (action: ActionByHand) => AnswerByHand,
): Promise<void> {
  const js = jetstream(nc);
  const { head, body } = unframe(message.data);
  const id = String(head['id']);
  const round = Number(head['round']);

  const started = { attempt: 1, at: Date.now(), instance: 'by-hand' };
  await js.publish(
    `holdline.att.${service}.${id}.${round}`,
    frame({ v: 1, accounted: 0, attempts: [], started }, new Uint8Array(0)),
    { expect: { lastSubjectSequence: 0 } },
  );

  const around = Object.fromEntries(
    (message.headers?.keys() ?? []).map((key) => [key, message.headers?.get(key) ?? '']),
  );
  const { body: answerBody, ...answerHead } = serve({ head, body, headers: around });
  const { caller, route, method, target, acceptedAt, deadline, idempotent, keyed } = head;
  const call = { id, round, caller, service, route, method, target, acceptedAt, deadline, idempotent, keyed };
  const attempts = [
    { attempt: 1, at: started.at, evidence: 'answered', status: answerHead.status, instance: 'by-hand' },
  ];
  const extra = headers();
  extra.set('Holdline-Call-Id', id);
  extra.set('ce-specversion', '1.0');
  extra.set('ce-type', 'holdline.response.v1');
  extra.set('ce-source', `/services/${service}`);
  extra.set('ce-id', id);
  await js.publish(
    around['Holdline-Reply'] ?? '',
    frame(
      {
        v: 1,
        call,
        outcome: 'answered',
        answer: { ...answerHead, trailers: [] },
        fingerprint: head['fingerprint'],
        attempts,
        finishedAt: Date.now(),
      },
      answerBody,
    ),
    { headers: extra, expect: { lastSubjectSequence: 0 } },
  );
  message.ack();
}

/** A version 7 call id, with the callee's hint and an instance tag of its own. */
function callId(service: string, instance: string): string {
  const time = Date.now().toString(16).padStart(12, '0');
  const hint = createHash('sha256').update(`${service.length}:${service}`).digest('hex').slice(0, 3);
  const tail = (BigInt(`0x${instance}`) << 42n) | (BigInt(`0x${randomBytes(6).toString('hex')}`) & ((1n << 42n) - 1n));
  const hex = (tail | (0b10n << 62n)).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hint}-${hex.slice(0, 4)}-${hex.slice(4)}`;
}

export interface CallByHand {
  readonly id: string;
  readonly head: Head;
  readonly body: Uint8Array;
}

/** Calls `POST /charges` of `service` in the name of `caller`, and returns the response event when it is announced. */
export async function callByHand(
  nc: NatsConnection,
  caller: string,
  service: string,
  body: Uint8Array,
): Promise<CallByHand> {
  const instance = '0be4a';
  const id = callId(service, instance);
  const announcements = nc.subscribe(`holdline.rt.${caller}.${instance}.*`);
  const manager = await jetstreamManager(nc);
  await manager.streams.add({
    name: `holdline_actions_${service}`,
    subjects: [`holdline.act.${service}.>`],
    retention: 'workqueue',
    discard: 'new',
    storage: 'file',
    allow_direct: true,
    duplicate_window: 120_000_000_000,
  });
  const now = Date.now();
  const around = headers();
  around.set('Holdline-Call-Id', id);
  around.set('Holdline-Reply', `holdline.res.${caller}.${instance}.${id}`);
  around.set('ce-specversion', '1.0');
  around.set('ce-type', 'holdline.action.v1');
  around.set('ce-source', `/services/${caller}`);
  around.set('ce-id', id);
  const head = {
    v: 1,
    id,
    caller,
    service,
    method: 'POST',
    target: '/charges',
    headers: ['Host', service, 'Content-Type', 'text/plain'],
    acceptedAt: now,
    deadline: now + 60_000,
    idempotent: false,
    retry: { attempts: 3, backoff: { min: 200, max: 60_000 }, on: [503] },
  };
  await jetstream(nc).publish(`holdline.act.${service}.${caller}.${id}`, frame(head, body), {
    msgID: `${id}:1`,
    headers: around,
    expect: { lastSubjectSequence: 0 },
  });
  for await (const message of announcements) {
    if (message.subject.endsWith(id)) return { id, ...unframe(message.data) };
  }
  throw new Error('the connection ended before the answer came');
}

const broadcasts: Partial<StreamConfig> & { name: string } = {
  name: 'holdline_broadcasts',
  subjects: ['holdline.evt.>'],
  retention: 'limits',
  discard: 'new',
  storage: 'file',
  allow_direct: true,
  max_age: 604_800_000_000_000,
  duplicate_window: 120_000_000_000,
};

/** A version 7 UUID. */
function eventId(): string {
  const time = Date.now().toString(16).padStart(12, '0');
  const random = randomBytes(10).toString('hex');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`;
}

/** Publishes an event in the name of `publisher`; twice, as one that missed the acknowledgement would. */
export async function publishByHand(
  nc: NatsConnection,
  publisher: string,
  topic: string,
  body: Uint8Array,
): Promise<string> {
  const manager = await jetstreamManager(nc);
  await manager.streams.add(broadcasts);
  const id = eventId();
  const at = Date.now();
  const around = headers();
  around.set('ce-specversion', '1.0');
  around.set('ce-type', topic);
  around.set('ce-source', `/services/${publisher}`);
  around.set('ce-id', id);
  around.set('ce-time', new Date(at).toISOString());
  const head = { v: 1, id, topic, publisher, headers: ['Content-Type', 'text/plain'], at };
  for (let time = 0; time < 2; time++) {
    await jetstream(nc).publish(`holdline.evt.${publisher}.${topic}.${id}`, frame(head, body), {
      msgID: id,
      headers: around,
      expect: { lastSubjectSequence: 0 },
    });
  }
  return id;
}

/** Makes a subscription to `order.**`; the returned function takes its next event. */
export async function subscribeByHand(nc: NatsConnection): Promise<() => Promise<ActionByHand>> {
  const manager = await jetstreamManager(nc);
  await manager.streams.add(broadcasts);
  await manager.consumers.add(broadcasts.name, {
    durable_name: 'ledger_orders',
    ack_policy: 'explicit',
    deliver_policy: 'new',
    filter_subject: 'holdline.evt.*.order.>',
  });
  const consumer = await jetstream(nc).consumers.get(broadcasts.name, 'ledger_orders');
  return async () => {
    const message = await consumer.next({ expires: 30_000 });
    if (message === null) throw new Error('no event came');
    const around = Object.fromEntries(
      (message.headers?.keys() ?? []).map((key) => [key, message.headers?.get(key) ?? '']),
    );
    message.ack();
    return { ...unframe(message.data), headers: around };
  };
}
