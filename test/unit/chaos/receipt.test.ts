import { describe, expect, test } from 'vitest';
import { digestOf } from '../../chaos/broadcast-history.ts';
import { receiptOf } from '../../chaos/receipt.ts';
import { declines } from '../../chaos/subscriptions.ts';

const receive = (path: string, headers: Record<string, string>, text = '', willing = true) =>
  receiptOf(
    {
      path,
      header: (name) => headers[name] ?? '',
      body: Buffer.from(text),
      service: 'archive',
      behaviour: 'well',
    },
    willing,
  );

const event = {
  'x-token': 't1',
  'content-type': 'text/plain',
  'ce-id': 'b1',
  'ce-type': 'order.paid',
  'ce-source': '/services/orders',
  'ce-time': '2026-01-01T00:00:00.000Z',
  'holdline-call-id': 'd1',
  'holdline-attempt': '1',
};

test('a request that is no delivery has none', () => {
  expect(receive('/plain/charges', event)).toBeUndefined();
});

test('of an event everything is written down that must be as it was sent', () => {
  expect(receive('/events/archive', event, 'text')).toMatchObject({
    type: 'delivered',
    subscription: 'archive',
    token: 't1',
    event: 'b1',
    delivery: 'd1',
    attempt: 1,
    topic: 'order.paid',
    source: '/services/orders',
    time: '2026-01-01T00:00:00.000Z',
    digest: digestOf('text/plain', 'text'),
    taken: true,
  });
  expect(receive('/events/archive', event, 'text', false)).toMatchObject({ taken: false });
});

test('the fussy one declines as many attempts of an event as that event has, and all of a round for some', () => {
  const tokens = Array.from({ length: 200 }, (_, n) => `caller-1-${n}`);
  const seen = new Set<number>();
  for (const token of tokens) {
    const declined = declines(token);
    seen.add(declined);
    for (let attempt = 1; attempt <= 8; attempt++) {
      const headers = { ...event, 'x-token': token, 'holdline-attempt': String(attempt) };
      expect(receive('/events/fussy', headers)?.taken).toBe(attempt > declined);
    }
  }
  expect([...seen].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 6]);
});

describe('finished calls', () => {
  const call = { 'holdline-call-id': 'c1', 'idempotency-key': 'k1', 'holdline-attempt': '2' };

  test('a callback with the answer', () => {
    const headers = { ...call, 'holdline-status': '200', 'x-nonce': 'n1', 'content-type': 'application/json' };
    const receipt = receive('/outcomes', headers, '{}');
    expect(receipt).toMatchObject({ type: 'told', call: 'c1', delivery: 'k1', status: 200, nonce: 'n1', attempt: 2 });
    expect(receipt).not.toHaveProperty('error');
  });

  test('a callback with a problem', () => {
    const headers = { ...call, 'holdline-status': '502', 'content-type': 'application/problem+json' };
    const receipt = receive('/outcomes', headers, '{"type":"urn:holdline:problem:exhausted"}');
    expect(receipt).toMatchObject({ type: 'told', call: 'c1', status: 502, error: 'exhausted' });
    expect(receipt).not.toHaveProperty('nonce');
  });

  test('the call feed', () => {
    const data = {
      call: { id: 'c1', outcome: 'answered' },
      response: { status: 200, headers: { 'x-nonce': 'n1' } },
    };
    expect(receive('/events/calls', event, JSON.stringify({ id: 'f1', data }))).toMatchObject({
      type: 'reported',
      event: 'f1',
      delivery: 'd1',
      call: 'c1',
      outcome: 'answered',
      status: 200,
      nonce: 'n1',
    });
  });
});
