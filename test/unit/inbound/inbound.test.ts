import { afterEach, beforeEach, expect, test } from 'vitest';
import type { InboundConfig } from '../../../sidecar/config/config.ts';
import { createInbound, type Inbound } from '../../../sidecar/inbound/inbound.ts';
import type { Progress } from '../../../sidecar/model/call.ts';
import { attemptEnded, callFinished, deliveryChanged, trouble } from '../../../sidecar/telemetry/channels.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { createLatch } from '../../support/latch.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';
import { sampleAction } from '../policy/sample-action.ts';
import { MemoryCallee, type StoredCall } from './memory-callee.ts';
import { RawService } from './raw-service.ts';

let callee: MemoryCallee;
let rooms: Inbound[];
let troubles: Error[];
let moves: string[];
const onTrouble = ({ error }: { error: Error }) => void troubles.push(error);
const onMove = ({ state, why }: { state: string; why: string }) => void moves.push(`${state}: ${why}`);

beforeEach(() => {
  callee = new MemoryCallee();
  rooms = [];
  troubles = [];
  moves = [];
  trouble.subscribe(onTrouble);
  deliveryChanged.subscribe(onMove);
});

afterEach(async () => {
  for (const inbound of rooms) await inbound.drain(0);
  callee.close();
  trouble.unsubscribe(onTrouble);
  deliveryChanged.unsubscribe(onMove);
  if (callee.violations.length > 0) throw new Error(callee.violations.join('; '));
});

function configFor(url: string, changes: Partial<InboundConfig> = {}): InboundConfig {
  return { service: 'payments', url, concurrency: 64, timeout: 20_000, publishCalls: false, ...changes };
}

function room(url: string, changes?: Partial<InboundConfig>): Inbound {
  const inbound = createInbound({ config: configFor(url, changes), instance: '0000a', broker: callee.broker });
  rooms.push(inbound);
  inbound.start();
  return inbound;
}

function sample(changes: Parameters<typeof sampleAction>[0] = {}) {
  const retry = { attempts: 3, backoff: { min: 1, max: 5 }, on: [429, 502, 503, 504] };
  return sampleAction({ acceptedAt: Date.now(), deadline: Date.now() + 600_000, retry, ...changes });
}

const outcome = (call: StoredCall) => call.finished.wait('the end of the call');

async function kinds(call: StoredCall, expected: readonly string[]): Promise<void> {
  await eventually(() => expect(call.kinds).toEqual(expected), {
    what: `the call's steps to be ${expected.join(' ')}`,
  });
}

test('a call is carried out, and its answer is stored with its history', async () => {
  await using service = await startUpstream({ status: 201, reason: 'Made', headers: { 'X-A': '1' }, body: 'done' });
  room(service.url);
  const call = callee.store(sample());
  const response = await outcome(call);
  expect(response).toMatchObject({
    call: { id: call.action.id, service: 'payments' },
    outcome: 'answered',
    answer: { status: 201, reason: 'Made', headers: ['X-A', '1', 'Content-Length', '4'] },
    attempts: [{ attempt: 1, evidence: 'answered', status: 201, instance: '0000a' }],
  });
  expect(Buffer.from(response.answer!.body).toString()).toBe('done');
  expect(call.kinds).toEqual(['start', 'finish']);
  expect(service.requests[0]).toMatchObject({ method: 'POST', target: '/charges' });
  expect(service.requests[0]!.header('holdline-attempt')).toBe('1');
});

test('a status in retry.on is tried again, by calls that are not idempotent too, and the attempts are counted', async () => {
  await using service = await startUpstream({ status: 200 });
  service.next({ status: 503 }, { status: 429 });
  room(service.url);
  const call = callee.store(sample({ earlier: [{ attempt: 1, evidence: 'no-answer', instance: '0000b' }], round: 2 }));
  expect(await outcome(call)).toMatchObject({ outcome: 'answered', attempts: { length: 4 } });
  expect(call.kinds).toEqual(['start', 'postpone', 'start', 'postpone', 'start', 'finish']);
  expect(service.requests.map((request) => request.header('holdline-attempt'))).toEqual(['2', '3', '4']);
});

test('attempts come to an end: exhausted, with the last real answer', async () => {
  await using service = await startUpstream({ status: 503, body: 'busy' });
  service.next({ status: 502, body: 'bad' });
  room(service.url);
  const response = await outcome(callee.store(sample()));
  expect(response).toMatchObject({ outcome: 'exhausted', answer: { status: 503 }, attempts: { length: 3 } });
  expect(service.requests).toHaveLength(3);
});

test('without any answer: an idempotent call is tried until exhausted, another is unknown at once', async () => {
  await using service = await startUpstream('reset');
  room(service.url);
  const unsafe = await outcome(callee.store(sample()));
  expect(unsafe).toMatchObject({ outcome: 'outcome-unknown', attempts: [{ evidence: 'no-answer' }] });
  const safe = await outcome(callee.store(sample({ idempotent: true })));
  expect(safe).toMatchObject({ outcome: 'exhausted', attempts: { length: 3 } });
  expect(safe).not.toHaveProperty('answer');
  expect(service.requests).toHaveLength(4);
});

test('an answer over what the caller takes is a dead letter', async () => {
  await using service = await startUpstream({ body: 'x'.repeat(101) });
  room(service.url);
  expect(await outcome(callee.store(sample({ maxBody: 101 })))).toMatchObject({ outcome: 'answered' });
  expect(await outcome(callee.store(sample({ maxBody: 100 })))).toMatchObject({ outcome: 'answer-too-large' });
  const response = await outcome(callee.store(sample({ maxBody: 99 })));
  expect(response).toMatchObject({
    outcome: 'answer-too-large',
    attempts: [{ evidence: 'answer-too-large', status: 200 }],
  });
});

test('a timeout is an attempt without an answer', async () => {
  const hold = createLatch();
  await using service = await startUpstream(async () => {
    await hold.wait();
    return {};
  });
  room(service.url, { timeout: 100 });
  const response = await outcome(callee.store(sample()));
  expect(response).toMatchObject({
    outcome: 'outcome-unknown',
    attempts: [{ detail: 'no whole answer within 100 ms' }],
  });
  hold.open();
});

test('after the deadline nothing is attempted, also when the service is down', async () => {
  room(`http://127.0.0.1:${await freePort()}`);
  const call = callee.store(sample({ deadline: Date.now() - 1 }));
  callee.force(call);
  expect(await outcome(call)).toMatchObject({ outcome: 'deadline-exceeded', attempts: [] });
  expect(call.kinds).toEqual(['finish']);
});

test('a start left by a sidecar that is gone is never repeated where that is not safe', async () => {
  await using service = await startUpstream();
  room(service.url);
  const started: Progress = { attempts: [], started: { attempt: 1, at: 5, instance: '0000b' } };
  expect(await outcome(callee.store(sample(), started))).toMatchObject({
    outcome: 'outcome-unknown',
    attempts: [{ attempt: 1, at: 5, evidence: 'sidecar-died', instance: '0000b' }],
  });
  expect(service.requests).toHaveLength(0);
  expect(await outcome(callee.store(sample({ idempotent: true }), started))).toMatchObject({
    outcome: 'answered',
    attempts: [{ evidence: 'sidecar-died' }, { attempt: 2, evidence: 'answered' }],
  });
});

test('a service that is down costs no attempt and no start; delivery pauses and resumes', async () => {
  await using service = await startUpstream();
  await service.down();
  const inbound = room(service.url);
  const call = callee.store(sample());
  await eventually(() => expect(inbound.state().why).toMatch(/ECONNREFUSED/), { what: 'the probe' });
  expect(inbound.state()).toMatchObject({ service: 'payments', delivering: false, running: 0 });
  callee.force(call);
  await kinds(call, ['release']);
  await service.up();
  expect(await outcome(call)).toMatchObject({ outcome: 'answered', attempts: { length: 1 } });
  expect(inbound.state()).toEqual({ service: 'payments', delivering: true, running: 0 });
  expect(moves).toEqual(['paused: connection refused (ECONNREFUSED)', 'resumed: the service answers']);
});

test('a service that goes away under load loses nothing and repeats nothing that may have happened', async () => {
  await using service = await startUpstream({ body: 'ok' });
  room(service.url, { concurrency: 8 });
  const calls = Array.from({ length: 300 }, (_, index) => callee.store(sample({ target: `/${index}` })));
  for (let round = 1; round <= 3; round++) {
    await service.received(round * 60);
    await service.down();
    await service.up();
  }
  const responses = await Promise.all(calls.map(outcome));
  const arrivals = new Map<string, number>();
  for (const { target } of service.requests) arrivals.set(target, (arrivals.get(target) ?? 0) + 1);
  expect(Math.max(...arrivals.values())).toBe(1);
  for (const response of responses) {
    const arrived = arrivals.has(response.call.target);
    expect(response.outcome).toBeOneOf(arrived ? ['answered', 'outcome-unknown'] : ['outcome-unknown']);
  }
  // Only what was under way when the service went can be unknown.
  expect(responses.filter((response) => response.outcome !== 'answered').length).toBeLessThanOrEqual(3 * 8);
  expect(troubles).toEqual([]);
});

test('a service that closes resting connections without a word makes no outcome unknown', async () => {
  let open = 0;
  let allClosed = Promise.withResolvers<void>();
  await using service = await RawService.start((socket) => {
    socket.on('data', () => {
      open++;
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      const closed = (how: () => void) => () => {
        how();
        if (--open === 0) allClosed.resolve();
      };
      // In every way: at once, in the next turn, a little later.
      const way = service.received.length % 3;
      if (way === 0)
        setTimeout(
          closed(() => socket.end()),
          1,
        );
      else if (way === 1)
        setTimeout(
          closed(() => socket.end()),
          5,
        );
      else
        setTimeout(
          closed(() => socket.destroy()),
          20,
        );
    });
  });
  room(service.url, { concurrency: 4 });
  for (let wave = 0; wave < 25; wave++) {
    allClosed = Promise.withResolvers();
    const calls = [callee.store(sample()), callee.store(sample())];
    for (const response of await Promise.all(calls.map(outcome))) expect(response.outcome).toBe('answered');
    // Not a moment later, so that this side has not been told of it. A service that closes after the last look, while the request is on its way, is no other than one that broke: that is unknown.
    await allClosed.promise;
  }
});

test('a red health check stops delivery, a green one lets it go on', async () => {
  let status = 500;
  const red = createLatch();
  await using service = await startUpstream((request) => {
    if (request.target !== '/healthz') return { body: 'ok' };
    if (status === 503) red.open();
    return { status };
  });
  const inbound = room(service.url, { health: { path: '/healthz', interval: 20 } });
  const call = callee.store(sample({ target: '/first' }));
  await eventually(() => expect(inbound.state().why).toBe('the health check /healthz answered 500'), {
    what: 'the first probe',
  });
  expect(call.kinds).toEqual([]);
  status = 204;
  expect(await outcome(call)).toMatchObject({ outcome: 'answered' });
  status = 503;
  await red.wait('a red health check');
  await eventually(() => expect(callee.paused).toBe(true), { what: 'delivery to pause' });
  expect(moves.join()).toMatch(/^paused: .* answered 500,resumed: the service answers,paused: .* answered 503$/);
});

test('at most `concurrency` attempts run at once', async () => {
  let running = 0;
  let most = 0;
  const full = createLatch();
  await using service = await startUpstream(async () => {
    most = Math.max(most, ++running);
    if (running === 3) full.open();
    await full.wait('three attempts at once');
    running--;
    return {};
  });
  room(service.url, { concurrency: 3 });
  const calls = Array.from({ length: 20 }, () => callee.store(sample()));
  await Promise.all(calls.map(outcome));
  expect(most).toBe(3);
});

test('attempts follow the rate', async () => {
  await using service = await startUpstream();
  room(service.url, { rate: { count: 50, perMs: 1_000 } });
  const calls = Array.from({ length: 11 }, () => callee.store(sample()));
  await Promise.all(calls.map(outcome));
  // Not a limit of patience but the promise itself: ten pauses of 20 ms lie between eleven attempts.
  expect(service.requests.at(-1)!.at - service.requests[0]!.at).toBeGreaterThanOrEqual(190);
});

test('a call that is withdrawn, or that another instance may have, is not sent', async () => {
  await using service = await startUpstream();
  room(service.url);
  const withdrawn = callee.store(sample({ target: '/withdrawn' }));
  withdrawn.onStart = () => void (withdrawn.withdrawn = true);
  const lost = callee.store(sample({ target: '/lost' }));
  lost.onStart = () => {
    lost.onStart = undefined;
    lost.lease.abort();
  };
  expect(await outcome(lost)).toMatchObject({ outcome: 'answered' });
  expect(lost.kinds).toEqual(['start', 'release', 'start', 'finish']);
  expect(withdrawn.kinds).toEqual(['start']);
  expect(service.requests.map(({ target }) => target)).toEqual(['/lost']);
});

test('an answer that comes after the lease was lost is stored all the same', async () => {
  await using service = await startUpstream(() => {
    callee.calls[0]!.lease.abort();
    return { status: 200 };
  });
  room(service.url);
  expect(await outcome(callee.store(sample()))).toMatchObject({ outcome: 'answered' });
});

test('a start whose service went away meanwhile is taken back', async () => {
  await using service = await startUpstream();
  room(service.url);
  const call = callee.store(sample());
  let downs = 0;
  call.onStart = async () => {
    if (downs++ === 0) await service.down();
  };
  await kinds(call, ['start', 'release']);
  expect(callee.paused).toBe(true);
  await service.up();
  expect(await outcome(call)).toMatchObject({ outcome: 'answered', attempts: { length: 1 } });
  expect(service.requests).toHaveLength(1);
});

test('a connection that broke while the start was recorded is replaced, and the start stands', async () => {
  await using service = await startUpstream();
  room(service.url);
  const call = callee.store(sample());
  let downs = 0;
  call.onStart = async () => {
    if (downs++ > 0) return;
    await service.down();
    await service.up();
  };
  expect(await outcome(call)).toMatchObject({ outcome: 'answered', attempts: { length: 1 } });
  expect(call.kinds).toEqual(['start', 'finish']);
});

test('an action that cannot be written rests and is reported, and the others go on', async () => {
  await using service = await startUpstream();
  room(service.url);
  const broken = callee.store(sample({ headers: ['X', 'a\r\nb'] }));
  const fine = callee.store(sample());
  expect(await outcome(fine)).toMatchObject({ outcome: 'answered' });
  await kinds(broken, ['start', 'postpone']);
  expect(troubles.map(String)).toEqual([expect.stringMatching(/Invalid character/)]);
  expect(broken.notBefore).toBeGreaterThan(Date.now());
});

test('reconfiguring moves the next attempts to the new url; a broken one changes nothing', async () => {
  const hold = createLatch();
  await using former = await startUpstream(async () => {
    await hold.wait();
    return { body: 'former' };
  });
  await using next = await startUpstream({ body: 'next' });
  const inbound = room(former.url);
  const first = callee.store(sample());
  await former.received(1);
  expect(() => inbound.reconfigure(configFor('https://127.0.0.1', { tls: { ca: '/nowhere.pem' } }))).toThrow(
    '/nowhere.pem',
  );
  expect(() => inbound.reconfigure(configFor(next.url, { service: 'orders' }))).toThrow('orders');
  inbound.reconfigure(configFor(next.url, { concurrency: 1 }));
  hold.open();
  const second = callee.store(sample());
  const bodies = [await outcome(first), await outcome(second)].map(({ answer }) =>
    Buffer.from(answer!.body).toString(),
  );
  expect(bodies).toEqual(['former', 'next']);
});

test('drain lets what runs end and gives back the rest', async () => {
  const hold = createLatch();
  await using service = await startUpstream(async () => {
    await hold.wait();
    return { body: 'late' };
  });
  const inbound = room(service.url, { rate: { count: 1, perMs: 60_000 } });
  const running = callee.store(sample());
  await service.received(1);
  const waiting = callee.store(sample());
  expect(waiting.leased).toBe(true);
  const drained = inbound.drain(20_000);
  await kinds(waiting, ['release']);
  expect(callee.stopped).toBe(true);
  expect(inbound.state()).toMatchObject({ delivering: false, why: 'the sidecar is stopping', running: 1 });
  hold.open();
  await drained;
  expect(await outcome(running)).toMatchObject({ outcome: 'answered' });
});

test('drain breaks off what is left: idempotent calls go on elsewhere, the others are unknown', async () => {
  const hold = createLatch();
  await using service = await startUpstream(async () => {
    await hold.wait();
    return {};
  });
  const inbound = room(service.url);
  const safe = callee.store(sample({ idempotent: true }));
  const unsafe = callee.store(sample());
  await service.received(2);
  await inbound.drain(0);
  expect(safe.kinds).toEqual(['start', 'postpone']);
  expect(safe.progress.attempts).toMatchObject([
    { evidence: 'no-answer', detail: expect.stringContaining('sidecar stopped') },
  ]);
  expect(await outcome(unsafe)).toMatchObject({ outcome: 'outcome-unknown' });
  hold.open();
});

test('attempts and ends are told', async () => {
  const told: string[] = [];
  const onAttempt = ({ attempt }: { attempt: { attempt: number; evidence: string } }) =>
    void told.push(`${attempt.attempt} ${attempt.evidence}`);
  const onEnd = (end: { outcome: string; status?: number; attempts: number }) =>
    void told.push(`${end.outcome} ${end.status} ${end.attempts}`);
  attemptEnded.subscribe(onAttempt);
  callFinished.subscribe(onEnd);
  try {
    await using service: Upstream = await startUpstream({ status: 404 });
    service.next({ status: 503 });
    room(service.url);
    callee.store(sample());
    await eventually(() => expect(told).toEqual(['1 retry-status', '2 answered', 'answered 404 2']), {
      what: 'the story',
    });
  } finally {
    attemptEnded.unsubscribe(onAttempt);
    callFinished.unsubscribe(onEnd);
  }
});
