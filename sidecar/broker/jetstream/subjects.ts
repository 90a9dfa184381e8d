import { createHash } from 'node:crypto';
import type { SubscriptionName } from '../../model/broadcast.ts';
import { isCallId, readCallId } from '../../model/call-id.ts';
import type { BodyPlace } from '../port.ts';

/**
 * Names of streams and subjects. `sidecar/docs/events.md` is their public description.
 *
 * Every subject of a call can be computed from what its reader knows, so that lookups are by exact subject: a wildcard
 * lookup walks the whole stream (research: jetstream.md §1.3).
 *
 * | stream | subjects | holds |
 * |---|---|---|
 * | `<ns>_actions_<callee>` | `<ns>.act.<callee>.<caller>.<id>` | open calls |
 * | `<ns>_ordered_<callee>` | `<ns>.ord.<callee>.<order>.<caller>.<id>` | open calls with an order key, in their order |
 * | `<ns>_responses_<caller>` | `<ns>.res.<caller>.<instance>.<id>` | answers of calls without a key |
 * | `<ns>_keyed_<caller>` | `<ns>.key.<caller>.res.<id>`, `….had.<id>.<round>`, `….who.<id>.<instance>.<how>`, `….now.<key>` | answers of keyed calls; which were delivered; who attached; calls that contents stand for |
 * | `<ns>_attempts_<callee>` | `<ns>.att.<callee>.<id>.<round>` | progress of calls that must outlive a process |
 * | `<ns>_dead` | `<ns>.dead.<callee>.<caller>.<id>` | dead letters |
 * | `<ns>_broadcasts` | `<ns>.evt.<publisher>.<topic>.<id>` | broadcast events; the topic has one token or more |
 * | `<ns>_deliveries` | `<ns>.dlv.<service>.<subscription>.<id>.<round>` | progress of deliveries that must outlive a process |
 * | `<ns>_redeliveries` | `<ns>.again.<service>.<subscription>.<id>` | dead letters of subscriptions that are replayed |
 * | `<ns>_turns` | `<ns>.turn.<service>.<subscription>.<order>.<publisher>.<id>:<round>` | open deliveries with an order key, in their order |
 * | `<ns>_bodies_<callee>` | `<ns>.body.<callee>.<caller>.<id>.<name>.<n>` | chunks of large requests |
 * | `<ns>_answers_<caller>` | `<ns>.ans.<caller>.<id>.<name>.<n>` | chunks of large answers to calls without a key |
 * | `<ns>_keyed-answers_<caller>` | `<ns>.kans.<caller>.<id>.<name>.<n>` | the same for keyed calls |
 *
 * Not stored: `<ns>.rt.…` and `<ns>.rtk.…` carry each response once it is stored (RePublish), `<ns>.rto.…` the headers of each
 * ordered call, `<ns>.rtt.…` those of each ordered delivery; `<ns>.ctl.<callee>` asks the callee's sidecars what they hold.
 */
export class Subjects {
  readonly ns: string;

  constructor(namespace: string) {
    this.ns = namespace;
  }

  actionStream(callee: string): string {
    return `${this.ns}_actions_${callee}`;
  }
  orderedStream(callee: string): string {
    return `${this.ns}_ordered_${callee}`;
  }
  responseStream(caller: string): string {
    return `${this.ns}_responses_${caller}`;
  }
  keyedStream(caller: string): string {
    return `${this.ns}_keyed_${caller}`;
  }
  attemptStream(callee: string): string {
    return `${this.ns}_attempts_${callee}`;
  }
  deadStream(): string {
    return `${this.ns}_dead`;
  }

  /** The service in the name of a per-service stream, and what the stream holds; undefined for foreign streams. */
  readStream(name: string): { kind: StreamKind; service: string } | undefined {
    const match = /^(actions|ordered|responses|keyed|attempts)_([a-z][a-z0-9-]*)$/.exec(
      name.startsWith(`${this.ns}_`) ? name.slice(this.ns.length + 1) : '',
    );
    if (match === null) return undefined;
    return { kind: match[1] as StreamKind, service: match[2]! };
  }

  action(callee: string, caller: string, id: string): string {
    return `${this.ns}.act.${callee}.${caller}.${id}`;
  }

  /** Where a call with an order key waits for its turn. */
  ordered(callee: string, orderKey: string, caller: string, id: string): string {
    return this.orderedAt(callee, orderToken(orderKey), caller, id);
  }

  /** The same place, for the token of an order key. */
  orderedAt(callee: string, order: string, caller: string, id: string): string {
    return `${this.ns}.ord.${callee}.${order}.${caller}.${id}`;
  }

  /** The same place, where the order key is not known; a pattern. */
  orderedAnywhere(callee: string, caller: string, id: string): string {
    return `${this.ns}.ord.${callee}.*.${caller}.${id}`;
  }

  /** All calls with one order key; a pattern. */
  queue(callee: string, order: string): string {
    return `${this.ns}.ord.${callee}.${order}.*.*`;
  }

  /** Where ordered calls are announced once they are stored; a pattern. */
  queued(callee: string): string {
    return `${this.ns}.rto.${callee}.*.*.*`;
  }

  /** Where the response event of a call is stored. */
  response(caller: string, id: string): string {
    const { keyed, instance } = readCallId(id);
    return keyed ? `${this.ns}.key.${caller}.res.${id}` : `${this.ns}.res.${caller}.${instance}.${id}`;
  }

  responseStreamOf(caller: string, id: string): string {
    return readCallId(id).keyed ? this.keyedStream(caller) : this.responseStream(caller);
  }

  /** Where the stored response is announced. */
  announced(caller: string, id: string): string {
    const { keyed, instance } = readCallId(id);
    return keyed ? `${this.ns}.rtk.${caller}.res.${id}` : `${this.ns}.rt.${caller}.${instance}.${id}`;
  }

  /** All announcements for the calls that one instance made without a key. */
  announcedTo(caller: string, instance: string): string {
    return `${this.ns}.rt.${caller}.${instance}.*`;
  }

  delivered(caller: string, id: string, round: number): string {
    return `${this.ns}.key.${caller}.had.${id}.${round}`;
  }

  /** Where a sidecar notes that it led another caller to a call; each way once. */
  attached(caller: string, id: string, instance: string, how: string): string {
    return `${this.ns}.key.${caller}.who.${id}.${instance}.${how}`;
  }

  /** Where it is stored which call a content key stands for. */
  content(caller: string, key: string): string {
    return `${this.ns}.key.${caller}.now.${key}`;
  }

  progress(callee: string, id: string, round: number): string {
    return `${this.ns}.att.${callee}.${id}.${round}`;
  }

  dead(callee: string, caller: string, id: string): string {
    return `${this.ns}.dead.${callee}.${caller}.${id}`;
  }

  broadcastStream(): string {
    return `${this.ns}_broadcasts`;
  }
  deliveryStream(): string {
    return `${this.ns}_deliveries`;
  }
  redeliveryStream(): string {
    return `${this.ns}_redeliveries`;
  }

  /** The durable consumer of a subscription; a service has no `_` in its name. */
  subscriptionConsumer({ service, subscription }: SubscriptionName): string {
    return `${service}_${subscription}`;
  }

  /** The subscription whose consumer has this name; undefined for foreign consumers. */
  readSubscriptionConsumer(name: string): SubscriptionName | undefined {
    const [, service, subscription] = /^([a-z][a-z0-9-]*)_([A-Za-z0-9_-]+)$/.exec(name) ?? [];
    return service === undefined || subscription === undefined ? undefined : { service, subscription };
  }

  /** The id makes each subject its own, so that an event is stored once for as long as it is kept. */
  broadcast(publisher: string, topic: string, id: string): string {
    return `${this.ns}.evt.${publisher}.${topic}.${id}`;
  }

  /**
   * The narrowest filter that has all subjects of a topic pattern. What stands after a `**` cannot be told to the server;
   * the id at the end makes that `order.**`, which includes `order`, is one filter.
   */
  broadcasts(pattern: string): string {
    const words = pattern.split('.');
    const any = words.indexOf('**');
    if (any === 0) return `${this.ns}.evt.>`;
    return `${this.ns}.evt.*.${any < 0 ? `${pattern}.*` : `${words.slice(0, any).join('.')}.>`}`;
  }

  delivery({ service, subscription }: SubscriptionName, id: string, round: number): string {
    return `${this.ns}.dlv.${service}.${subscription}.${id}.${round}`;
  }

  /** Everything that is kept of a subscription's deliveries. */
  deliveries({ service, subscription }: SubscriptionName): string {
    return `${this.ns}.dlv.${service}.${subscription}.>`;
  }

  /** Where it is marked that its subscriber has ended a subscription. */
  ended({ service, subscription }: SubscriptionName): string {
    return `${this.ns}.dlv.${service}.${subscription}.ended`;
  }

  redelivery({ service, subscription }: SubscriptionName, id: string): string {
    return `${this.ns}.again.${service}.${subscription}.${id}`;
  }

  turnStream(): string {
    return `${this.ns}_turns`;
  }

  /** Where a delivery with an order key waits for its turn. @param id of the delivery, with its round */
  turn(name: SubscriptionName, order: string, publisher: string, id: string): string {
    return `${this.ns}.turn.${name.service}.${name.subscription}.${order}.${publisher}.${id}`;
  }

  /** All that wait in a subscription, or those with one order key; a pattern. */
  turns(name: SubscriptionName, order = '*'): string {
    return this.turn(name, order, '*', '*');
  }

  /** Where these are announced once they are stored; a pattern. */
  turnsAnnounced({ service, subscription }: SubscriptionName): string {
    return `${this.ns}.rtt.${service}.${subscription}.*.*.*`;
  }

  /** Where it is noted which event of an order key was delivered last. */
  lastTurn({ service, subscription }: SubscriptionName, order: string): string {
    return `${this.ns}.dlv.${service}.${subscription}.last.${order}`;
  }

  control(callee: string): string {
    return `${this.ns}.ctl.${callee}`;
  }

  bodyStream(callee: string): string {
    return `${this.ns}_bodies_${callee}`;
  }
  answerStream(caller: string): string {
    return `${this.ns}_answers_${caller}`;
  }
  keyedAnswerStream(caller: string): string {
    return `${this.ns}_keyed-answers_${caller}`;
  }

  /** What the subjects of a body's chunks begin with; `.0` and so on follow. It is the `id` of references to it. */
  body(kind: BodyPlace['kind'], call: BodyPlace['call'], name: string): string {
    const { id, caller, service, keyed } = call;
    if (kind !== 'answer') return `${this.ns}.body.${service}.${caller}.${id}.${name}`;
    return `${this.ns}.${keyed ? 'kans' : 'ans'}.${caller}.${id}.${name}`;
  }

  /** The first chunk of every body that belongs to the calls of one service. */
  firstChunks(callee: string): string {
    return `${this.ns}.body.${callee}.*.*.*.0`;
  }

  /**
   * What {@link Subjects.body} says; undefined for anything else. Events may come from anybody, so a reference must not
   * lead to where other things are.
   */
  readBody(id: string): BodySubject | undefined {
    const tokens = id.startsWith(`${this.ns}.`) ? id.slice(this.ns.length + 1).split('.') : [];
    const kind = tokens[0];
    if (kind !== 'body' && kind !== 'ans' && kind !== 'kans') return undefined;
    const [service = '', caller = '', call = '', name = ''] =
      kind === 'body' ? tokens.slice(1) : ['', ...tokens.slice(1)];
    if (tokens.length !== (kind === 'body' ? 5 : 4) || !isCallId(call) || !/^[0-9A-Za-z_-]+$/.test(name)) {
      return undefined;
    }
    const time = Number.parseInt(name, 36);
    return { kind, service, caller, call, ...(/^[0-9a-z]{8,9}-/.test(name) && { writtenAt: time }) };
  }
}

export interface BodySubject {
  readonly kind: 'body' | 'ans' | 'kans';
  /** The callee, for `body` only. */
  readonly service: string;
  readonly caller: string;
  readonly call: string;
  /** When its writing began, ms since the epoch, where its name says so. */
  readonly writtenAt?: number;
}

type StreamKind = 'actions' | 'ordered' | 'responses' | 'keyed' | 'attempts';

/**
 * An order key as a token of a subject. A key is whatever a caller sends, so it is its digest that stands there: two keys with one
 * digest would share a queue, which harms nobody.
 */
export function orderToken(orderKey: string): string {
  return createHash('sha256').update(orderKey).digest('hex').slice(0, 24);
}

/** What the subject of an ordered call, or of its announcement, says. */
export function readOrdered(subject: string): { order: string; caller: string; id: string } {
  const [order = '', caller = '', id = ''] = subject.split('.').slice(-3);
  return { order, caller, id };
}
