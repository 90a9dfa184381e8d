import { describe, expect, test } from 'vitest';
import { classify, classifyPublication } from '../../chaos/exchange.ts';
import type { ClientResponse } from '../../support/http-client.ts';
import { type HeaderInput, toHeaderList, valueOf } from '../../support/header-list.ts';

function response(status: number, input: HeaderInput, text = ''): ClientResponse {
  const headers = toHeaderList(input);
  return {
    status,
    reason: 'Reason',
    headers,
    body: Buffer.from(text),
    text,
    trailers: [],
    header: (name) => valueOf(headers, name),
    json: () => JSON.parse(text) as unknown,
  };
}

const id = { 'Holdline-Call-Id': 'c1' };
const location = { Location: '/.holdline/calls/c1' };
const answer = '{"token":"t1","nonce":"n1"}';
const problem = (code: string, more = {}) => response(502, { 'Holdline-Error': code, ...more });

describe('what an answer tells a caller', () => {
  test.for([
    ['202', response(202, { ...id, ...location }), { kind: 'accepted', call: 'c1', status: 202 }],
    ['a look-up of an open call', response(202, id), { kind: 'accepted', call: 'c1', status: 202 }],
    ['hold-expired', problem('hold-expired', { ...id, ...location }), { kind: 'accepted', call: 'c1', status: 502 }],
    ['shutting-down with a Location', problem('shutting-down', location), { kind: 'accepted', call: 'c1' }],
    ['shutting-down without', problem('shutting-down'), { kind: 'refused', code: 'shutting-down' }],
    [
      'hold-expired before the broker has confirmed',
      response(
        504,
        { 'Holdline-Error': 'hold-expired', ...id, ...location },
        'The broker has not confirmed the call yet',
      ),
      { kind: 'unknown' },
    ],
    ['broker-unavailable', problem('broker-unavailable'), { kind: 'refused', code: 'broker-unavailable' }],
    ['key-reused', problem('key-reused', id), { kind: 'refused', code: 'key-reused' }],
    ['call-unknown', problem('call-unknown'), { kind: 'missing' }],
    ['an answer that names no call', response(200, {}, answer), { kind: 'refused', code: 'no-call-id' }],
    ['outcome-unknown', problem('outcome-unknown', id), { kind: 'answered', answer: { error: 'outcome-unknown' } }],
    [
      'a last answer',
      response(503, { ...id, 'Holdline-Outcome': 'exhausted' }, answer),
      { kind: 'answered', answer: { status: 503, outcome: 'exhausted', echo: { token: 't1', nonce: 'n1' } } },
    ],
    ['the answer', response(200, id, answer), { kind: 'answered', answer: { status: 200, echo: { nonce: 'n1' } } }],
  ] as const)('%s', ([, received, expected]) => {
    expect(classify(received)).toMatchObject(expected);
  });
});

describe('what an answer tells a publisher', () => {
  const unconfirmed = 'The broker has not confirmed the event yet; if it does, it is delivered.';
  test.for([
    [
      '202',
      response(202, { 'Holdline-Call-Id': 'b1' }, '{"id":"b1","topic":"order.paid"}'),
      { kind: 'published', event: 'b1', topic: 'order.paid' },
    ],
    ['broker-unavailable', problem('broker-unavailable'), { kind: 'refused', code: 'broker-unavailable' }],
    ['shutting-down before anything was stored', problem('shutting-down'), { kind: 'refused', code: 'shutting-down' }],
    ['shutting-down', response(503, { 'Holdline-Error': 'shutting-down' }, unconfirmed), { kind: 'unknown' }],
    ['hold-expired', response(504, { 'Holdline-Error': 'hold-expired' }, unconfirmed), { kind: 'unknown' }],
    ['an answer that is none', response(200, {}, answer), { kind: 'refused', code: '200' }],
  ] as const)('%s', ([, received, expected]) => {
    expect(classifyPublication(received)).toMatchObject(expected);
  });
});

describe('two answers are the same', () => {
  const digestOf = (headers: HeaderInput, text = answer) => {
    const result = classify(response(200, headers, text));
    return result.kind === 'answered' ? result.answer.digest : result;
  };

  test('whichever connection they came over, and whether they were replayed', () => {
    const replayed = { ...id, 'Idempotent-Replayed': 'true', Connection: 'close', 'Keep-Alive': 'timeout=5' };
    expect(digestOf({ 'X-A': '1', ...replayed })).toBe(digestOf({ 'X-A': '1', ...id }));
  });

  test.for<[string, HeaderInput, string]>([
    ['another body', { 'X-A': '1', ...id }, `${answer} `],
    ['another header', { 'X-A': '2', ...id }, answer],
    ['another case', { 'x-a': '1', ...id }, answer],
    ['a missing header', id, answer],
  ])('but not with %s', ([, headers, text]) => {
    expect(digestOf(headers, text)).not.toBe(digestOf({ 'X-A': '1', ...id }));
  });
});
