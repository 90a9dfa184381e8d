import * as z from 'zod';
import { httpUrl } from './addresses.ts';
import { tlsKeys } from './broker.ts';
import { key, mapping, name, oneOrMore, secretText, unfitSecret, wholeNumber, written, yesOrNo } from './key.ts';
import { callTarget, eventOrderKey, filter, localPath, statusRange, subscriptionStart } from './requests.ts';
import { attemptsKeys, matchKeys, statusList } from './routes.ts';
import { rate, wait } from './units.ts';
import { plainName, serviceName, topicPattern } from './words.ts';

const timeout = key(
  written(wait).prefault('30s'),
  'How long one attempt may take, until the whole answer is there.',
  'as long as callers are held by default',
);

const health = mapping({
  path: key(written(localPath), 'Path that answers 2xx when the service is well.'),
  interval: key(
    written(wait).prefault('2s'),
    'Pause between two checks.',
    'a restart is noticed before callers grow impatient, at a request every other second',
  ),
});

const inboundTls = mapping({
  ...tlsKeys,
  servername: key(
    name('a server name', /^[A-Za-z0-9.-]+$/, 'a host name').exactOptional(),
    'Name that the certificate must be for, where it is not the host of `url`.',
    'the host of `url`',
  ),
});

export const inboundSchema = mapping({
  service: key(serviceName.exactOptional(), 'The service whose calls are taken.', 'the top-level `service`'),
  url: key(
    written(httpUrl),
    'Where the service listens. Any http(s) URL, so a sidecar can stand for an outside API; a path in it comes before ' +
      'the path of each call.',
  ),
  tls: key(inboundTls.exactOptional(), 'Certificates for an https `url`.', 'what Node trusts'),
  concurrency: key(
    wholeNumber(1).default(64),
    'Calls that run at the service at once, per sidecar.',
    'keeps a service with a thread or a database connection per call on its feet, and two cores busy',
  ),
  rate: key(
    written(rate).exactOptional(),
    'Attempts per second, minute or hour, per sidecar.',
    'no limit, as only the service’s owner knows one',
  ),
  timeout,
  health: key(
    health.exactOptional(),
    'Check that must be green before calls are sent.',
    'a service that accepts connections is taken to be well',
  ),
  publishCalls: key(
    yesOrNo().default(false),
    '`true`: every finished call also becomes a broadcast event, for subscriptions with `call`.',
    'bodies are shown to others only where the service’s owner says so',
  ),
});

const subscribedCalls = mapping({
  service: key(serviceName, 'The service that the calls were made to.'),
  method: matchKeys.method,
  path: matchKeys.path,
  status: key(
    oneOrMore(
      z.union([written(statusRange), wholeNumber(100, 599).transform((status) => ({ from: status, to: status }))]),
      'status or list of statuses',
      'a status such as 201, a class such as 2xx, or a list of them',
    ).exactOptional(),
    'Status of the answer: one, a class such as `2xx`, or a list.',
    'calls with any answer',
  ),
});

const subscriptionRetry = mapping({
  ...attemptsKeys,
  on: key(
    statusList.exactOptional(),
    'Statuses that are tried again; any other but 2xx is a dead letter at once.',
    'every status but 2xx: an event has no caller who could look at an error',
  ),
});

/** Standard Webhooks writes secrets as `whsec_` and base64. */
function webhookSecret(text: string): string | undefined {
  if (!text.startsWith('whsec_') || /^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  return 'starts with whsec_ but goes on with something else than base64; expected whsec_ and base64';
}

export const subscriptionSchema = mapping({
  name: key(plainName, 'Unique name within the service; the broker remembers under it what was delivered.'),
  topic: key(
    topicPattern.exactOptional(),
    'The broadcast events it wants: a topic, or a pattern (`*` one word, `**` any number). Either this or `call`.',
  ),
  call: key(
    subscribedCalls.exactOptional(),
    'The finished calls of another service that it wants, where that service’s `inbound` says `publishCalls: true`. ' +
      'Either this or `topic`.',
  ),
  filter: key(
    written(filter).exactOptional(),
    'Which of these it wants: a [CEL expression](broadcasts.md#filters) of the event’s `topic`, `publisher`, `headers` and JSON ' +
      '`body`, with `call` also of `call`, `request` and `response`, such as `body.total > 100`. An event that it is not ' +
      'true for is settled without a delivery.',
    'all of them',
  ),
  orderBy: key(
    written(eventOrderKey).exactOptional(),
    'Deliveries with the same key are made one after another, in the order in which the events were stored, across all ' +
      'instances: `header:NAME` or `json:/POINTER` (a string, number, true or false in the body). An event without the value, or ' +
      'with an empty one, waits for nobody.',
    'deliveries run side by side',
  ),
  to: key(written(callTarget), 'Method and path at the local service that each event is replayed to.'),
  from: key(
    written(subscriptionStart).prefault('new'),
    'Where a new subscription starts: `new`, `first` (all that is kept), or how far back, such as `24h`.',
    'an old event should not surprise a new subscriber',
  ),
  url: key(written(httpUrl).exactOptional(), 'Where the local service listens.', 'the first `inbound` url'),
  retry: key(subscriptionRetry.prefault({}), 'How a delivery is repeated.'),
  timeout,
  rate: key(
    written(rate).exactOptional(),
    'Attempts per second, minute or hour, per sidecar.',
    'no limit, as only the subscriber knows one',
  ),
  secret: key(
    oneOrMore(
      secretText(webhookSecret),
      'secret or list of secrets',
      'a secret, or a list of them',
      unfitSecret,
    ).exactOptional(),
    'Secret for a Standard Webhooks signature on each delivery, best as `"${HOOK_SECRET}"`. With a list each one signs, so ' +
      'that a receiver can change from the old one to the new one at its own pace.',
    'no signature, as deliveries stay on the machine',
  ),
  allowPrivate: key(
    yesOrNo().default(false),
    'Whether an outside `url` may lead to an address that is not public. Outside is every `https://` url, and one with a ' +
      'host name that the public DNS could know.',
    'a name that others have given must not lead into one’s own network',
  ),
});
