import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { findJaeger, Jaeger } from '../../support/jaeger.ts';
import { runHoldline } from '../../support/command-line.ts';
import type { ReceivedSpan } from '../../support/otlp-receiver.ts';
import { startTracedPair, Trace, wholeTree, type TracedPair } from './traced.ts';

// What an operator sees of calls in a real Jaeger, by the API that its page asks.
const bin = await findJaeger();
if (bin === undefined) {
  console.warn('LEFT OUT: what is seen in a real Jaeger. There is none here; npm run test:jaeger builds one with Go.');
}

describe.skipIf(bin === undefined)('in a real Jaeger', () => {
  let jaeger: Jaeger;
  let pair: TracedPair;
  beforeAll(async () => {
    jaeger = await Jaeger.start(bin!);
    pair = await startTracedPair(jaeger.otlp, { status: 201 }, { route: { retry: { backoff: '20ms..50ms' } } });
  });
  afterAll(async () => {
    await pair?.[Symbol.asyncDispose]();
    await jaeger?.[Symbol.asyncDispose]();
  });

  /** The trace, when it has `count` spans. */
  async function seen(traceId: string, count: number): Promise<Trace> {
    return await eventually(
      async () => {
        const [found] = (await jaeger.ask(`/api/traces/${traceId}`)) as JaegerTrace[];
        const trace = new Trace(spansOf(found!));
        if (trace.spans.length < count) throw new Error(`${trace.spans.length} spans:\n${trace.tree()}`);
        return trace;
      },
      { what: `${count} spans of trace ${traceId} in Jaeger` },
    );
  }

  /** The ids of the traces in which a span of the service has this tag, when there is one. */
  async function searched(service: string, tags: Record<string, string>): Promise<string[]> {
    const query = new URLSearchParams({ service, tags: JSON.stringify(tags), lookback: '1h', limit: '100' });
    return await eventually(
      async () => {
        const found = (await jaeger.ask(`/api/traces?${query.toString()}`)) as JaegerTrace[];
        if (found.length === 0) throw new Error('there is none');
        return found.map(({ traceID }) => traceID);
      },
      { what: `Jaeger to find ${JSON.stringify(tags)}` },
    );
  }

  function aContext() {
    const traceId = randomBytes(16).toString('hex');
    const parentId = randomBytes(8).toString('hex');
    return { traceId, parentId, traceparent: `00-${traceId}-${parentId}-01` };
  }

  /** What the callee was told of the trace since the last time that this was asked. */
  function told(): string[] {
    return pair.upstream.requests.splice(0).map((each) => each.header('traceparent') ?? '');
  }

  test('one call is one trace of both services, found by its call id, and the callee is told its attempt span', async () => {
    const { traceId, parentId, traceparent } = aContext();
    const answer = await request(`${pair.url}/charges?token=secret`, { method: 'POST', headers: { traceparent } });
    expect(answer.status).toBe(201);

    const trace = await seen(traceId, wholeTree.length);
    expect(trace.tree().split('\n').toSorted()).toEqual(wholeTree.toSorted());
    expect(trace.one('POST charge').parentId).toBe(parentId);
    expect(told()).toEqual([`00-${traceId}-${trace.one('POST').spanId}-01`]);
    expect(trace.spans.filter(({ failed }) => failed)).toEqual([]);
    expect(JSON.stringify(trace.spans)).not.toContain('secret');

    expect(await searched('orders', { 'holdline.call.id': answer.header('holdline-call-id')! })).toEqual([traceId]);
    expect(await jaeger.ask('/api/services')).toEqual(expect.arrayContaining(['orders', 'payments']));
    const graph = await jaeger.ask(`/api/dependencies?endTs=${Date.now()}&lookback=3600000`);
    expect(graph).toEqual(expect.arrayContaining([expect.objectContaining({ parent: 'orders', child: 'payments' })]));
  });

  test('a call that is tried again has a span for each attempt, those that failed marked', async () => {
    const { traceId, traceparent } = aContext();
    pair.upstream.next({ status: 503 }, 'reset');
    const answer = await request(`${pair.url}/charges/1`, { method: 'PUT', headers: { traceparent } });
    expect(answer.status).toBe(201);

    const trace = await seen(traceId, 13);
    const attempts = trace.all('PUT');
    expect(attempts.map(({ failed, attributes }) => [attributes['holdline.evidence'], failed])).toEqual([
      ['retry-status', true],
      ['no-answer', true],
      ['answered', false],
    ]);
    expect(attempts.map(({ spanId }) => `00-${traceId}-${spanId}-01`)).toEqual(told());
  });

  test('an answer from the store is a trace of its own that refers to the older one', async () => {
    const [older, newer] = [aContext(), aContext()];
    for (const { traceparent } of [older, newer]) {
      const headers = { traceparent, 'Idempotency-Key': 'order-7' };
      await request(`${pair.url}/charges`, { method: 'POST', headers });
    }
    expect(told()).toHaveLength(1);
    const published = (await seen(older.traceId, wholeTree.length)).one('publish payments');
    const { links, attributes } = (await seen(newer.traceId, 1)).one('POST charge');
    expect(links).toEqual([{ traceId: older.traceId, spanId: published.spanId }]);
    expect(attributes).toMatchObject({ 'holdline.replayed': true });
  });

  test('a dead letter is found by its error, and goes on in its trace when it is replayed', async () => {
    const { traceId, traceparent } = aContext();
    pair.upstream.next('reset');
    const answer = await request(`${pair.url}/charges`, { method: 'POST', headers: { traceparent } });
    expect(answer.header('holdline-error')).toBe('outcome-unknown');
    const id = answer.header('holdline-call-id')!;

    const before = await seen(traceId, wholeTree.length);
    expect(before.one('process payments')).toMatchObject({
      failed: true,
      attributes: { 'error.type': 'outcome-unknown' },
    });
    expect(before.one('POST charge')).toMatchObject({
      failed: true,
      attributes: { 'holdline.problem': 'outcome-unknown' },
    });
    expect(await searched('payments', { 'error.type': 'outcome-unknown' })).toEqual([traceId]);

    const replay = await runHoldline(['dead-letters', 'replay', id, '--broker', pair.server.url]);
    expect(replay.exitCode).toBe(0);
    const after = await seen(traceId, wholeTree.length + 4);
    const attempts = after.all('POST');
    expect(attempts.map(({ attributes }) => attributes['holdline.evidence'])).toEqual(['no-answer', 'answered']);
    expect(attempts.map(({ spanId }) => `00-${traceId}-${spanId}-01`)).toEqual(told());
  });
});

interface JaegerTag {
  readonly key: string;
  readonly value: unknown;
}

/** A trace as Jaeger's page gets it; times are microseconds. */
interface JaegerTrace {
  readonly traceID: string;
  readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
  readonly spans: readonly {
    readonly traceID: string;
    readonly spanID: string;
    readonly operationName: string;
    readonly references: readonly {
      readonly refType: 'CHILD_OF' | 'FOLLOWS_FROM';
      readonly traceID: string;
      readonly spanID: string;
    }[];
    readonly startTime: number;
    readonly duration: number;
    readonly tags: readonly JaegerTag[];
    readonly logs: readonly { readonly fields: readonly JaegerTag[] }[];
    readonly processID: string;
  }[];
}

function spansOf(trace: JaegerTrace): ReceivedSpan[] {
  return trace.spans.map((span) => {
    const attributes = Object.fromEntries(span.tags.map(({ key, value }) => [key, value]));
    const parent = span.references.find(({ refType }) => refType === 'CHILD_OF');
    const links = span.references.filter(({ refType }) => refType === 'FOLLOWS_FROM');
    return {
      service: trace.processes[span.processID]!.serviceName,
      traceId: span.traceID,
      spanId: span.spanID,
      parentId: parent?.spanID,
      // Nobody asks for it here.
      traceState: '',
      name: span.operationName,
      kind: (attributes['span.kind'] ?? 'internal') as ReceivedSpan['kind'],
      start: span.startTime / 1000,
      end: (span.startTime + span.duration) / 1000,
      attributes,
      events: span.logs.map(({ fields }) => String(fields.find(({ key }) => key === 'event')?.value)),
      // Jaeger's page gets no attributes of links.
      links: links.map(({ traceID, spanID }) => ({ traceId: traceID, spanId: spanID, why: undefined })),
      failed: attributes['error'] === true,
    };
  });
}
