import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { startTraced, wholeTree, type Traced } from './traced.ts';

const parentId = 'b7ad6b7169203331';

let all: Traced;
beforeAll(async () => {
  all = await startTraced({ status: 200 }, { route: { retry: { backoff: '20ms..50ms' } } });
});
afterAll(() => all[Symbol.asyncDispose]());

/** The caller's own context, another one for each test. */
let traceId: string;
let traceparent: string;
beforeEach(() => {
  all.upstream.requests.length = 0;
  all.upstream.always({ status: 200 });
  traceId = randomBytes(16).toString('hex');
  traceparent = `00-${traceId}-${parentId}-01`;
});

function lines(tree: string): string[] {
  return tree.split('\n').toSorted();
}

test("a call is one trace, from the caller's context through both sidecars into the callee", async () => {
  all.upstream.next({ status: 201, body: 'charged' });
  const headers = { traceparent, tracestate: 'vendor=1' };
  const answer = await request(`${all.url}/charges?token=secret`, { method: 'POST', body: 'charge', headers });
  expect(answer.status).toBe(201);

  const trace = await all.trace(traceId, wholeTree.length);
  expect(lines(trace.tree())).toEqual(wholeTree.toSorted());
  const server = trace.one('POST charge');
  expect(server.parentId).toBe(parentId);
  expect(server.traceState).toBe('vendor=1');
  const attempt = trace.one('POST');
  const [received] = all.upstream.requests;
  expect(received?.header('traceparent')).toBe(`00-${traceId}-${attempt.spanId}-01`);
  expect(received?.header('tracestate')).toBe('vendor=1');

  const id = answer.header('holdline-call-id');
  for (const span of trace.spans) {
    expect(span.end).toBeGreaterThanOrEqual(span.start);
    expect(span.failed).toBe(false);
    // A query may be a credential.
    expect(JSON.stringify(span)).not.toContain('secret');
  }
  expect(server.attributes).toMatchObject({
    'http.request.method': 'POST',
    'url.path': '/charges',
    'http.response.status_code': 201,
    'holdline.call.id': id,
    'holdline.call.route': 'charge',
    'holdline.outcome': 'answered',
  });
  expect(trace.one('publish payments').attributes).toMatchObject({
    'messaging.system': 'nats',
    'messaging.operation.type': 'send',
    'messaging.destination.name': 'payments',
    'messaging.message.id': id,
  });
  expect(trace.one('process payments').attributes).toMatchObject({
    'messaging.operation.type': 'process',
    'holdline.outcome': 'answered',
  });
  expect(attempt.attributes).toMatchObject({
    'http.request.method': 'POST',
    'url.full': `${all.upstream.url}/charges`,
    'http.response.status_code': 201,
    'holdline.attempt': 1,
    'holdline.evidence': 'answered',
  });
});

test('a call without a context begins a trace, and each retry is an attempt span that the callee is told', async () => {
  all.upstream.next({ status: 503 }, 'reset');
  const answer = await request(`${all.url}/charges/1`, { method: 'PUT', body: 'charge' });
  expect(answer.status).toBe(200);

  const told = all.upstream.requests.map((each) => each.header('traceparent') ?? '');
  const own = told[0]!.slice(3, 35);
  const trace = await all.trace(own, 13);
  expect(trace.one('PUT charge').parentId).toBeUndefined();
  const attempts = trace.all('PUT');
  expect(attempts.map((span) => `00-${own}-${span.spanId}-01`)).toEqual(told);
  expect(attempts.map(({ attributes, failed }) => [attributes['holdline.evidence'], failed])).toEqual([
    ['retry-status', true],
    ['no-answer', true],
    ['answered', false],
  ]);
  const deliveries = trace.all('process payments');
  expect(attempts.map((span) => span.parentId)).toEqual(deliveries.map((span) => span.spanId));
  const published = trace.one('publish payments');
  expect(new Set(deliveries.map((span) => span.parentId))).toEqual(new Set([published.spanId]));
  expect(trace.all('wait').map((span) => span.parentId)).toEqual(deliveries.map(() => published.spanId));
});

test('a replayed and an attached caller keep their own trace, with a link to that of the call', async () => {
  const through = createLatch();
  all.upstream.next(async () => {
    await through.wait('the attached caller');
    return { status: 201 };
  });
  const other = (n: number) => `00-${String(n).repeat(32)}-${String(n).repeat(16)}-01`;
  const send = (context: string) =>
    request(`${all.url}/charges`, {
      method: 'POST',
      body: 'charge',
      headers: { traceparent: context, 'Idempotency-Key': 'order-1' },
    });
  const first = send(traceparent);
  await all.upstream.received(1);
  const attached = send(other(2));
  await expect.poll(async () => (await request(`${all.orders.adminUrl}/metrics`)).text).toMatch(/^holdline_held 2$/m);
  through.open();
  expect([(await first).status, (await attached).status]).toEqual([201, 201]);
  expect((await send(other(3))).header('idempotent-replayed')).toBe('true');

  const older = await all.trace(traceId, wholeTree.length);
  const published = older.one('publish payments').spanId;
  const second = await all.trace('2'.repeat(32), 2);
  expect(second.one('POST charge').links).toEqual([{ traceId, spanId: published, why: 'attached' }]);
  expect(second.one('hold').parentId).toBe(second.one('POST charge').spanId);
  const third = await all.trace('3'.repeat(32), 1);
  expect(third.one('POST charge').links).toEqual([{ traceId, spanId: published, why: 'replayed' }]);
  expect(third.spans).toHaveLength(1);
});

test('what the caller decided not to sample is not sampled, and is told on', async () => {
  const unsampled = `00-${'4'.repeat(32)}-${parentId}-00`;
  await request(`${all.url}/charges`, { method: 'POST', headers: { traceparent: unsampled } });
  // Sent later, so that what came of the first would be there.
  await request(`${all.url}/charges`, { method: 'POST', headers: { traceparent } });
  await all.trace(traceId, wholeTree.length);
  expect(all.collector.spans.filter((span) => span.traceId === '4'.repeat(32))).toEqual([]);
  expect(all.upstream.requests[0]?.header('traceparent')).toMatch(/^00-4{32}-[0-9a-f]{16}-00$/);
});

test('OTEL_TRACES_SAMPLER decides where the caller does not; metrics come by OTLP as well', async () => {
  const env = { OTEL_TRACES_SAMPLER: 'parentbased_always_off' };
  await using sampling = await startTraced({ status: 200 }, { env });
  await request(`${sampling.url}/charges`, { method: 'POST' });
  await request(`${sampling.url}/charges`, { method: 'POST', headers: { traceparent } });
  await sampling.trace(traceId, wholeTree.length);
  expect(sampling.collector.spans.filter((span) => span.traceId !== traceId)).toEqual([]);
  expect(sampling.upstream.requests[0]?.header('traceparent')).toMatch(/-00$/);

  const latest = (name: string) => sampling.collector.points.findLast((point) => point.name === name);
  const labels = { route: 'charge', service: 'payments', outcome: 'answered' };
  await expect
    .poll(() => latest('holdline_calls_total'))
    .toMatchObject({ service: 'orders', attributes: labels, value: 2 });
  await expect.poll(() => latest('holdline_hold_seconds')).toMatchObject({ count: 2 });
  const { buckets = [], sum } = latest('holdline_hold_seconds')!;
  expect(buckets.reduce((total, each) => total + each, 0)).toBe(2);
  expect(sum).toBeGreaterThan(0);
  await expect.poll(() => latest('holdline_attempts_total')).toMatchObject({ service: 'payments', value: 2 });
});

test('a sampler that has to be asked decides once for each half of a trace', async () => {
  const env = { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '1' };
  await using sampling = await startTraced({ status: 200 }, { env });
  await request(`${sampling.url}/charges`, { method: 'POST', headers: { traceparent } });
  const trace = await sampling.trace(traceId, wholeTree.length);
  expect(lines(trace.tree())).toEqual(wholeTree.toSorted());
});

test('with a limit of OpenTelemetry the spans are those of the SDK, and the trace is the same', async () => {
  await using limited = await startTraced({ status: 200 }, { env: { OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT: '6' } });
  await request(`${limited.url}/charges`, { method: 'POST', headers: { traceparent, tracestate: 'vendor=1' } });
  const trace = await limited.trace(traceId, wholeTree.length);
  expect(lines(trace.tree())).toEqual(wholeTree.toSorted());
  expect(trace.one('POST charge').attributes['url.path']).toBe('/charg');
  const [received] = limited.upstream.requests;
  expect(received?.header('traceparent')).toBe(`00-${traceId}-${trace.one('POST').spanId}-01`);
  expect(received?.header('tracestate')).toBe('vendor=1');
});

test('a caller that goes away ends its span, and its call goes on in the same trace', async () => {
  const through = createLatch();
  all.upstream.next(async () => {
    await through.wait('the caller to be gone');
    return { status: 200 };
  });
  const going = new AbortController();
  const sent = request(`${all.url}/charges`, { method: 'POST', headers: { traceparent }, signal: going.signal });
  await all.upstream.received(1);
  going.abort();
  await expect(sent).rejects.toThrow(/abort/i);
  const before = await all.trace(traceId, 4);
  expect(before.one('POST charge').attributes).toMatchObject({ 'error.type': 'caller-gone' });
  through.open();
  expect(lines((await all.trace(traceId, wholeTree.length)).tree())).toEqual(wholeTree.toSorted());
});

test('a sidecar that dies in an attempt: the trace goes on, and what the callee did stays joined to it', async () => {
  const never = createLatch();
  all.upstream.next(async () => {
    await never.wait('the end of the test');
    return { status: 200 };
  });
  const answered = request(`${all.url}/charges/1`, { method: 'PUT', body: 'charge', headers: { traceparent } });
  await all.upstream.received(1);
  await all.payments.kill9();
  await all.payments.restart();
  expect((await answered).status).toBe(200);
  never.open();

  const trace = await all.trace(traceId, 8);
  const attempts = trace.all('PUT');
  expect(attempts.map(({ attributes }) => attributes['holdline.evidence'])).toEqual(['sidecar-died', 'answered']);
  // The span of the dead sidecar was never sent; another one stands in its place, under the id that the callee was told.
  const told = all.upstream.requests.map((each) => each.header('traceparent'));
  expect(told).toEqual(attempts.map((span) => `00-${traceId}-${span.spanId}-01`));
  const process = trace.one('process payments');
  expect(attempts.map((span) => span.parentId)).toEqual([process.spanId, process.spanId]);
});
