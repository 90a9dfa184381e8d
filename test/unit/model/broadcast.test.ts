import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { deliveryOf, eventHeaders, redirected } from '../../../sidecar/model/broadcast.ts';
import { isCallId, readCallId, serviceHint } from '../../../sidecar/model/call-id.ts';
import { nextRound, noDeadline } from '../../../sidecar/model/call.ts';
import { broadcastEvent } from './arbitraries.ts';

const target = { method: 'PUT', path: '/hook?x=1', retry: { attempts: 3, backoff: { min: 1, max: 2 }, on: [500] } };
const mail = { service: 'mail', subscription: 'on-paid' };

test('what speaks of the exchange with the publisher’s sidecar stays there, above all credentials', () => {
  const ofTheEvent = [
    'Content-Type: application/json',
    'Content-Encoding: gzip',
    'X-Tenant: a',
    'x-tenant: b',
    'ce-subject: order 1',
  ];
  const ofTheExchange = [
    'Host: events',
    'content-length: 2',
    'AUTHORIZATION: Bearer x',
    'Cookie: a=b',
    'Accept: */*',
    'Accept-Encoding: gzip',
    'User-Agent: curl',
    'Idempotency-Key: k',
    'traceparent: 00-…',
    'Prefer: wait=3',
    'ce-id: spoofed',
    'CE-Source: spoofed',
  ];
  const raw = (lines: readonly string[]) => lines.flatMap((line) => line.split(': '));
  expect(eventHeaders(raw([...ofTheExchange, ...ofTheEvent, ...ofTheExchange]))).toEqual(raw(ofTheEvent));
});

test('a delivery has the same id each time, and no other event, service or subscription has it', () => {
  fc.assert(
    fc.property(broadcastEvent, broadcastEvent, (event, other) => {
      fc.pre(event.id !== other.id);
      const { id } = deliveryOf(event, mail, target);
      expect(deliveryOf({ ...event, body: other.body }, mail, { ...target, path: '/' }).id).toBe(id);
      expect(isCallId(id)).toBe(true);
      expect(readCallId(id).hint).toBe(serviceHint('mail'));
      const others = [
        deliveryOf(other, mail, target),
        deliveryOf(event, { ...mail, service: 'mai' }, target),
        deliveryOf(event, { ...mail, subscription: 'on-sent' }, target),
      ];
      expect(others.map((each) => each.id)).not.toContain(id);
    }),
  );
});

test('a replay is as the event was, where the subscription points by then, and can still be dated', () => {
  fc.assert(
    fc.property(broadcastEvent, (event) => {
      const delivery = deliveryOf(event, mail, target);
      const again = redirected(nextRound(delivery, [], Date.now()), { ...target, method: 'POST', path: '/mended' });
      expect(again).toMatchObject({ id: delivery.id, round: 2, method: 'POST', target: '/mended', body: event.body });
      expect(again.deadline).toBeLessThanOrEqual(noDeadline);
      expect(new Date(again.deadline).getTime()).toBe(again.deadline);
    }),
  );
});
