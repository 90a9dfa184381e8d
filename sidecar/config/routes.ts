import * as z from 'zod';
import { hostName, hostPattern, httpUrl, listenAddress } from './addresses.ts';
import { choice, key, list, mapping, oneOrMore, wholeNumber, written, yesOrNo } from './key.ts';
import { NotationError } from './notation.ts';
import { callTarget, method, orderKey, pathPattern } from './requests.ts';
import { durationRange, duration, size, wait } from './units.ts';
import { plainName, serviceName, topicName } from './words.ts';

export const matchKeys = {
  host: key(
    written(hostPattern).exactOptional(),
    'The host name that the caller addressed, without regard to case: exact, or a pattern (`*` one label, `**` any ' +
      'number). Without a port it matches on any port.',
    'matches every host',
  ),
  method: key(
    oneOrMore(written(method), 'method or list of methods', 'a method, or a list of them').exactOptional(),
    'One method or a list of them.',
    'matches every method',
  ),
  path: key(
    written(pathPattern).exactOptional(),
    'The path without its query: exact, or a pattern (`*` one segment, `**` any number).',
    'matches every path',
  ),
};

export const attemptsKeys = {
  attempts: key(
    wholeNumber(1).default(8),
    'All tries of a call, the first one included. Waiting for a service that is down costs none.',
    'with the default backoff they spread over about half a minute: past a restart, before a person gives up',
  ),
  backoff: key(
    written(durationRange).prefault('200ms..60s'),
    'Shortest and longest pause between two attempts; it doubles from one to the other, with jitter.',
    'the first retry is quick enough not to be felt, the longest does not hammer a service in trouble',
  ),
};

export const statusList = list(wholeNumber(300, 599), 'statuses from 300 to 599');

const retry = mapping({
  ...attemptsKeys,
  on: key(
    statusList.default([429, 502, 503, 504]),
    'Statuses of the callee that count as “try again”; any other status is the answer.',
    'these say “not now”; a 500 may have done its work and is the application’s own answer',
  ),
});

export const routeModes = ['await', 'async', 'broadcast', 'observe', 'passthrough'] as const;

const route = mapping({
  name: key(
    plainName.exactOptional(),
    'Unique name, in metrics, lists and default topics.',
    'made of service, method and path, such as `payments-post-charges`; name a route whose metrics you keep',
  ),
  match: key(mapping(matchKeys).prefault({}), 'What a request must be like; all that is given must match.'),
  service: key(
    serviceName.exactOptional(),
    'The peer that carries the call out.',
    'the matched host name, which is what callers already call it',
  ),
  mode: key(
    choice(routeModes).default('await'),
    '`await`: stored, and the caller is held until the answer is there. `async`: stored and answered 202. ' +
      '`broadcast`: stored as an event for any number of subscribers. `observe`: passed through and reported. ' +
      '`passthrough`: passed through.',
    'the caller sees what it saw before, and the call is durable',
  ),
  topic: key(
    topicName.exactOptional(),
    'Topic of the broadcast event. With `mode: broadcast` only.',
    '`{service}.{route name}`, with the publishing service',
  ),
  hold: key(
    written(wait).prefault('30s'),
    'How long the caller’s connection is kept open for the answer. Keep it below the caller’s own time limit.',
    'common HTTP clients give up at 30 s or later',
  ),
  onHoldExpired: key(
    choice([504, 202]).default(504),
    'What the caller gets when `hold` is over: `504` (a problem) or `202`; both with a `Location` to ask at. The call ' +
      'goes on.',
    'an unchanged caller takes any 2xx for success, and this is none yet',
  ),
  deadline: key(
    written(duration).prefault('24h'),
    'From then on a call that has not started any more is not started.',
    'a night’s outage is survived; an order of last week is not carried out by surprise',
  ),
  idempotent: key(
    yesOrNo().exactOptional(),
    'Whether a call may be repeated when it was sent and no answer came. `true` when the callee honours ' +
      '`Idempotency-Key`.',
    'by method: GET, HEAD, OPTIONS, TRACE, PUT and DELETE are (RFC 9110 §9.2.2), and so are PROPFIND, REPORT, SEARCH and ' +
      'QUERY, which only read; POST, PATCH and all others are not',
  ),
  idempotencyKey: key(
    choice(['header', 'content', 'none']).default('header'),
    'What makes two requests the same call: `header`: the `Idempotency-Key` that the caller sends. `content`: that, or ' +
      'where it sends none the request itself, until its answer has been delivered. `none`: every request is a call ' +
      'of its own.',
    'the caller says so itself, nothing is guessed',
  ),
  retry: key(retry.prefault({}), 'How a call is repeated.'),
  orderBy: key(
    written(orderKey).exactOptional(),
    'Calls to one service with the same key run one after another, in the order in which they were accepted, across all ' +
      'callers, routes and instances: `header:NAME`, `path:N` (the Nth segment), `query:NAME` or `json:/POINTER` (a ' +
      'string, number, true or false in the body). A call without the value, or with an empty one, waits for nobody. ' +
      'A body that the value is read from must fit into one event, as with `mode: broadcast`. With `mode: await` or `async` only.',
    'calls run side by side',
  ),
  callback: key(
    written(callTarget).exactOptional(),
    'Method and path at the caller’s own service that the answer is replayed to, until that answers 2xx. Needs an ' +
      '`inbound` entry for this service. With `mode: async` only.',
    'the caller asks for the answer with GET',
  ),
  maxBody: key(
    written(size).prefault('32MB'),
    'Largest body of request and answer; a larger request is refused with 413, a larger answer is a dead letter. Bodies ' +
      'over 512 KB (SQLite: 1 MB) are stored in chunks while they arrive, so their size costs disk and no memory.',
    'enough for documents, too little for videos; each call under way takes that much of the broker’s disk twice',
  ),
  onBrokerDown: key(
    choice(['fail', 'passthrough']).default('fail'),
    'What happens to a new call while the broker cannot store it: `fail`: 503. `passthrough`: sent on without any ' +
      'promise.',
    'a promise is kept or not given',
  ),
});

/** Keys of a mapping cannot be transformed, so they are only checked here. */
function keyWritten(notation: { parse(text: string): unknown }) {
  return z.string().superRefine((text, context) => {
    try {
      notation.parse(text);
    } catch (error) {
      if (!(error instanceof NotationError)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
    }
  });
}

const limits = mapping({
  held: key(
    wholeNumber(1).default(10_000),
    'Calls whose connection is kept open at once; the next one gets 503.',
    'a guard against running out of sockets and memory, not a target',
  ),
  heldBytes: key(
    written(size).prefault('512MB'),
    'Bytes of requests and answers in memory at once; past it new calls get 503.',
    'sixteen bodies of the largest size',
  ),
});

export const outboundSchema = mapping({
  listen: key(
    written(listenAddress).exactOptional(),
    'One port that understands forward-proxy requests (`HTTP_PROXY`, CONNECT) and requests addressed by `Host`.',
    '`127.0.0.1:4000`, reached by programs of the same machine or pod only; none where `ports` is given',
  ),
  ports: key(
    z.record(keyWritten(listenAddress), written(hostName)).prefault({}),
    'Ports of their own for one host name each, `"127.0.0.1:4101": payments`: for callers that take a base URL.',
  ),
  unmatched: key(
    choice(['passthrough', 'deny']).default('passthrough'),
    'What happens to a request that no route matches: passed through, or refused with 403.',
    'a sidecar changes nothing that it was not told to change',
  ),
  limits: key(limits.prefault({}), 'Past these, new calls are refused with 503 `overloaded`.'),
  routes: key(list(route, 'routes').prefault([]), 'What becomes durable, and how; the first match wins.'),
  hosts: key(
    z.record(keyWritten(hostName), written(httpUrl)).prefault({}),
    'Where pass-through traffic for a host name really goes.',
    'names are looked up in the DNS',
  ),
});
