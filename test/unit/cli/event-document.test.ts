import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { describeEvents } from '../../../sidecar/cli/event-document.ts';
import type { Config } from '../../../sidecar/config/config.ts';
import { readConfig } from '../../../sidecar/config/load.ts';

function configOf(yaml: string): Config {
  const result = readConfig(`broker: nats://user:hunter2@127.0.0.1:4222\n${yaml}`, join('/', 'x.yaml'), {});
  if (!result.ok) throw new Error(JSON.stringify(result.errors));
  return result.config;
}

const orders = configOf(`
service: orders
outbound:
  routes:
    - { name: paid, match: { host: events, path: /paid }, mode: broadcast, topic: order.paid }
    - { name: gone, match: { host: events, path: /gone }, mode: broadcast, topic: order.gone }
    - { name: charge, match: { host: payments } }
`);
const payments = configOf(`
service: payments
inbound: [{ url: http://127.0.0.1:3002, publishCalls: true }]
subscribe:
  - { name: paid, topic: order.paid, to: POST /paid, filter: body.total > 100, orderBy: json:/customer }
`);
const audit = configOf(`
service: audit
inbound: [{ url: http://127.0.0.1:3003 }]
subscribe:
  - { name: charges, call: { service: payments }, to: POST /charged }
  - { name: refunds, call: { service: refunds }, to: POST /refunded }
  - { name: lost, topic: order.lost, to: POST /lost }
`);

interface Document {
  readonly channels: Record<string, { address: string; parameters: { publisher: { enum?: string[] } } }>;
  readonly operations: Record<string, { action: string; channel: { $ref: string }; messages: { $ref: string }[] }>;
}

const { document, remarks } = describeEvents([orders, payments, audit]);
const { channels, operations } = document as unknown as Document;

/** What a reference points to. */
function resolve(ref: string): unknown {
  return ref
    .slice('#/'.length)
    .split('/')
    .reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], document);
}

function referencesIn(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const { $ref } = value as { $ref?: unknown };
  return [...(typeof $ref === 'string' ? [$ref] : []), ...Object.values(value).flatMap(referencesIn)];
}

describe('the AsyncAPI document', () => {
  test('says which events a subscription wants, and in what order', () => {
    expect(operations['payments.receive.paid']).toMatchObject({
      description:
        'Only what this CEL expression is true for: body.total > 100\nIn order for each value of json:/customer.',
    });
    expect(operations['audit.receive.lost']).not.toHaveProperty('description');
  });

  test('has a channel for each topic and each call feed, by its subject, with who publishes there', () => {
    const found = Object.entries(channels).map(([id, { address, parameters }]) => [
      id,
      address,
      parameters.publisher.enum,
    ]);
    expect(found).toEqual([
      ['calls.payments', 'holdline.evt.{publisher}.$call.payments.{id}', ['payments']],
      ['calls.refunds', 'holdline.evt.{publisher}.$call.refunds.{id}', undefined],
      ['order.gone', 'holdline.evt.{publisher}.order.gone.{id}', ['orders']],
      ['order.lost', 'holdline.evt.{publisher}.order.lost.{id}', undefined],
      ['order.paid', 'holdline.evt.{publisher}.order.paid.{id}', ['orders']],
    ]);
  });

  test('has an operation for each route that publishes and each subscription', () => {
    const found = Object.entries(operations).map(([id, { action, channel }]) => [id, action, channel.$ref]);
    expect(found).toEqual([
      ['orders.send.paid', 'send', '#/channels/order.paid'],
      ['orders.send.gone', 'send', '#/channels/order.gone'],
      ['payments.send.calls', 'send', '#/channels/calls.payments'],
      ['payments.receive.paid', 'receive', '#/channels/order.paid'],
      ['audit.receive.charges', 'receive', '#/channels/calls.payments'],
      ['audit.receive.refunds', 'receive', '#/channels/calls.refunds'],
      ['audit.receive.lost', 'receive', '#/channels/order.lost'],
    ]);
  });

  test('says what nobody publishes', () => {
    expect(remarks).toEqual([
      'audit: nobody in these files publishes calls of refunds (publishCalls), which the subscription refunds wants',
      'audit: nobody in these files publishes "order.lost", which the subscription lost wants',
    ]);
  });

  test('refers only to what is in it, and shows no secret', () => {
    const references = referencesIn(document);
    expect(references.length).toBeGreaterThan(10);
    expect(references.filter((ref) => resolve(ref) === undefined)).toEqual([]);
    expect(document).toMatchObject({ asyncapi: '3.0.0', servers: { 'nats-1': { host: '127.0.0.1:4222' } } });
    expect(JSON.stringify(document)).not.toContain('hunter2');
  });
});
