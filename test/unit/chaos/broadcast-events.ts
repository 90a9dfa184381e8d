import type {
  Delivered,
  Publish,
  Published,
  Reported,
  Subscribed,
  Told,
  Undelivered,
} from '../../chaos/broadcast-history.ts';
import type { HistoryEvent } from '../../chaos/history.ts';
import { everySubscription } from '../../chaos/subscriptions.ts';

/* As events.ts: what a test does not say is the ordinary life of the first event, which only `shared` and `archive` want. */

export const publish = (at: number, more: Partial<Publish> = {}): Publish => ({
  type: 'publish',
  at,
  token: 't1',
  exchange: `e${at}`,
  via: 'orders-1',
  topic: 'order.sent',
  digest: 'd1',
  ...more,
});
export const published = (at: number, more: Partial<Published> = {}): Published => ({
  type: 'published',
  at,
  token: 't1',
  exchange: `e${at - 1}`,
  event: 'b1',
  topic: 'order.sent',
  ...more,
});
export const delivered = (at: number, subscription: string, more: Partial<Delivered> = {}): Delivered => ({
  type: 'delivered',
  at,
  service: 'archive',
  subscription,
  token: 't1',
  event: 'b1',
  delivery: `b1-${subscription}`,
  attempt: 1,
  taken: true,
  behaviour: 'well',
  topic: 'order.sent',
  source: '/services/orders',
  time: '1970-01-01T00:00:00.002Z',
  digest: 'd1',
  ...more,
});
/** To every subscription that wants it. */
export const everywhere = (at: number, more: Partial<Delivered> = {}): Delivered[] =>
  ['shared', 'archive'].map((name) => delivered(at, name, more));
export const undelivered = (at: number, to: string, more: Partial<Undelivered> = {}): Undelivered => ({
  type: 'undelivered',
  at,
  delivery: `b1-${to.split('/').at(-1)}`,
  to,
  event: 'b1',
  reason: 'exhausted',
  died: at - 1,
  ...more,
});
export const redelivered = (at: number, delivery: string): HistoryEvent => ({ type: 'redelivered', at, delivery });
/** The list of subscriptions at the end; all that is not said has nothing waiting. */
export const subscribed = (more: Record<string, Partial<Subscribed>> = {}): Subscribed[] =>
  everySubscription().map((subscription): Subscribed => {
    return { type: 'subscribed', at: 99_999, subscription, state: 'active', waiting: 0, ...more[subscription] };
  });
export const reported = (at: number, more: Partial<Reported> = {}): Reported => ({
  type: 'reported',
  at,
  service: 'archive',
  delivery: 'f1-calls',
  attempt: 1,
  taken: true,
  behaviour: 'well',
  event: 'f1',
  call: 'c1',
  outcome: 'answered',
  status: 200,
  nonce: 'n1',
  ...more,
});
export const told = (at: number, more: Partial<Told> = {}): Told => ({
  type: 'told',
  at,
  service: 'desk',
  delivery: 'k1',
  attempt: 1,
  taken: true,
  behaviour: 'well',
  call: 'c1',
  status: 200,
  nonce: 'n1',
  ...more,
});
