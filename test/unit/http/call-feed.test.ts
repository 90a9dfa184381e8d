import { describe, expect, test } from 'vitest';
import { callFeedOf } from '../../../sidecar/http/call-feed.ts';
import {
  conclude,
  type ActionEvent,
  type Answer,
  type AttemptRecord,
  type Outcome,
} from '../../../sidecar/model/call.ts';
import { sampleAction } from '../policy/sample-action.ts';

const record: AttemptRecord = { attempt: 1, evidence: 'answered', status: 201, instance: 'i' };
const answer: Answer = {
  status: 201,
  reason: 'Created',
  headers: ['X-A', '1', 'x-a', '2', 'Set-Cookie', 'session=1', 'Content-Type', 'text/plain'],
  trailers: [],
  body: Buffer.from('gr\u00fc\u00dfe'),
};
const call = sampleAction({
  headers: ['Host', 'payments', 'AUTHORIZATION', 'Bearer secret', 'X-Api-Key', 'secret', '__proto__', 'x'],
  body: Buffer.from([0, 255]),
  hasBody: true,
  target: '/charges?x=1',
  trace: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
});

function told(
  outcome: Outcome,
  options: { answer?: Answer; action?: ActionEvent; attempts?: AttemptRecord[]; max?: number } = {},
) {
  const { action = call, attempts = [record], max = 1_000_000 } = options;
  const progress = options.answer === undefined ? { attempts } : { attempts, answer: options.answer };
  const event = callFeedOf(action, conclude(action, progress, outcome, 1_700_000_000_000), max);
  const body = event === undefined ? undefined : (JSON.parse(Buffer.from(event.body).toString()) as unknown);
  return { event, body };
}

describe('the event of a finished call', () => {
  test('is one CloudEvent, with credentials redacted and bodies as text or base64', () => {
    const { event, body } = told('answered', { answer });
    expect(event).toMatchObject({
      topic: '$call.payments',
      publisher: 'payments',
      route: 'charge',
      headers: ['Content-Type', 'application/cloudevents+json; charset=utf-8'],
      call: { method: 'POST', target: '/charges?x=1', status: 201 },
    });
    expect(body).toEqual({
      specversion: '1.0',
      id: event!.id,
      source: '/services/payments',
      type: 'holdline.call.v1',
      subject: call.id,
      time: '2023-11-14T22:13:20.000Z',
      datacontenttype: 'application/json',
      traceparent: call.trace!.traceparent,
      data: {
        call: {
          id: call.id,
          caller: 'orders',
          service: 'payments',
          route: 'charge',
          method: 'POST',
          target: '/charges?x=1',
          outcome: 'answered',
        },
        request: {
          headers: JSON.parse(
            '{"host":"payments","authorization":"[redacted]","x-api-key":"[redacted]","__proto__":"x"}',
          ) as object,
          bodyBase64: 'AP8=',
        },
        response: {
          status: 201,
          headers: {
            'x-a': '1, 2',
            'set-cookie': '[redacted]',
            'content-type': 'text/plain',
            'holdline-call-id': call.id,
          },
          body: 'gr\u00fc\u00dfe',
        },
        attempts: 1,
        acceptedAt: new Date(call.acceptedAt).toISOString(),
        answeredAt: '2023-11-14T22:13:20.000Z',
      },
    });
  });

  test('leaves out bodies that do not fit, the answer’s first', () => {
    const whole = told('answered', { answer }).event!.body.length;
    const long = { ...answer, body: Buffer.from('x'.repeat(1_000)) };
    const without = told('answered', { answer: long, max: whole });
    expect(without.body).toMatchObject({
      data: { request: { bodyBase64: 'AP8=' }, response: { status: 201, bodySize: 1_000 } },
    });
    expect(without.event!.body.length).toBeLessThanOrEqual(whole);
    const bare = told('answered', { answer, max: 0 });
    expect(bare.body).toMatchObject({ data: { request: { bodySize: 2 }, response: { bodySize: 7 } } });
    expect(JSON.stringify(bare.body)).not.toMatch(/"body(Base64)?":/);
  });

  test('of one that got no answer has the problem that GET gives', () => {
    const lost = { ...record, evidence: 'no-answer' } as const;
    const { event, body } = told('outcome-unknown', { attempts: [lost] });
    expect(event?.call?.status).toBe(502);
    expect(body).toMatchObject({
      data: { response: { status: 502, headers: { 'holdline-error': 'outcome-unknown' } } },
    });
  });

  test('is none where the service never saw the call', () => {
    expect(told('cancelled', { attempts: [] }).event).toBeUndefined();
    expect(told('deadline-exceeded', { attempts: [] }).event).toBeUndefined();
    expect(told('discarded').event).toBeUndefined();
  });

  test('is the same for everybody who ends the round so, and another for another end', () => {
    const ids = [
      told('answered', { answer }),
      told('answered', { answer }),
      told('exhausted', { answer }),
      told('answered', { answer, action: { ...call, round: 2 } }),
    ].map(({ event }) => event!.id);
    expect(ids[0]).toBe(ids[1]);
    expect(new Set(ids).size).toBe(3);
  });
});
