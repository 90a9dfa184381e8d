import type { ConsumerConfig, StreamConfig } from '@nats-io/jetstream';
import type { BrokerConfig } from '../../config/config.ts';
import { serviceHint } from '../../model/call-id.ts';
import type { Answers, Calls, Dealings } from '../../policy/dealings.ts';
import { Connection, inboxPrefix } from './connection.ts';
import { CONSUMER, consumerConfig, orderedSubscriptionConfig, startOf, subscriptionConfig } from './consumer.ts';
import { Rights, type UserPermissions } from './rights.ts';
import { Streams, type StreamSpec } from './streams.ts';
import { Subjects } from './subjects.ts';

type NatsConfig = Extract<BrokerConfig, { kind: 'nats' }>;

/** A stream or consumer that the sidecars of the same configurations use, with the settings that they would give it. */
export interface Provisions {
  readonly streams: readonly StreamConfig[];
  readonly consumers: readonly { readonly stream: string; readonly config: Partial<ConsumerConfig> }[];
}

export interface PermissionOptions {
  /** The broker as the configurations describe it; only namespace, replicas and retention count. */
  readonly config: NatsConfig;
  /** Streams and consumers are there already, so that nobody needs the right to make them. */
  readonly provisioned: boolean;
}

/** The user of the command line. */
export const OPERATOR = 'operator';

/**
 * Derives for each service exactly what its sidecars do on the broker (see `sidecar/docs/events.md`), and for the command line
 * what its commands do. The rights are those of this adapter's own code: whoever adds a question to the broker there
 * adds the right to ask it here.
 */
export class Permissions {
  readonly #subjects: Subjects;
  readonly #streams: Streams;
  readonly #replicated: boolean;
  readonly #provisioned: boolean;

  constructor({ config, provisioned }: PermissionOptions) {
    this.#subjects = new Subjects(config.namespace);
    // Never started: only the settings of streams are asked for.
    this.#streams = new Streams(new Connection(config, 'permissions', () => undefined), config, this.#subjects);
    this.#replicated = config.replicas > 1;
    this.#provisioned = provisioned;
  }

  /** The user of one service's sidecars. */
  sidecar(dealings: Dealings, all: readonly Dealings[]): UserPermissions {
    const { service, outbound, calls, answers, publishes, subscribes } = dealings;
    const rights = this.#rights(service);
    if (outbound) this.#caller(rights, service, calls, all);
    for (const entry of answers) {
      this.#callee(rights, entry);
      // That a callback was taken is remembered with the call that it answers.
      if (entry.calledBack.length > 0) this.#caller(rights, entry.service, entry.calledBack, all);
    }
    for (const topic of publishes) this.#publisher(rights, service, topic);
    for (const { name, topic } of subscribes) this.#subscriber(rights, service, name, topic);
    return rights.of(service, answers.length > 0);
  }

  /** The user of `holdline calls`, `dead-letters`, `subscriptions` and `topology`. It works on whatever is on the broker. */
  operator(all: readonly Dealings[]): UserPermissions {
    const { ns } = this.#subjects;
    const rights = this.#rights(OPERATOR);
    rights.api('STREAM.NAMES', 'STREAM.INFO.*', `CONSUMER.INFO.*.${CONSUMER}`, 'DIRECT.GET.*', `DIRECT.GET.*.${ns}.>`);
    if (this.#replicated) rights.api('STREAM.MSG.GET.*');
    rights.api(`STREAM.PURGE.${this.#subjects.deadStream()}`);
    for (const spec of this.#specs(all)) {
      rights.make(spec);
      // Calls that are taken back or given back leave these.
      const kind = this.#subjects.readStream(spec.name)?.kind;
      if (kind === 'actions' || kind === 'ordered') rights.api(`STREAM.MSG.DELETE.${spec.name}`);
      // And these are the bodies of calls that are given up.
      if (/_(bodies|answers|keyed-answers)_/.test(spec.name)) rights.api(`STREAM.PURGE.${spec.name}`);
    }
    const [broadcasts, deliveries, redeliveries] = [
      this.#subjects.broadcastStream(),
      this.#subjects.deliveryStream(),
      this.#subjects.redeliveryStream(),
    ];
    rights.api(`CONSUMER.LIST.${broadcasts}`);
    for (const stream of [broadcasts, redeliveries]) {
      rights.api(`CONSUMER.INFO.${stream}.*`, `CONSUMER.DELETE.${stream}.*`);
    }
    rights.api(
      `STREAM.PURGE.${deliveries}`,
      `STREAM.PURGE.${redeliveries}`,
      `STREAM.PURGE.${this.#subjects.turnStream()}`,
    );
    rights.publish(
      `${ns}.act.*.*.*`,
      `${ns}.ord.*.*.*.*`,
      `${ns}.res.*.*.*`,
      `${ns}.key.*.res.*`,
      `${ns}.dead.*.*.*`,
      `${ns}.att.*.*.*`,
      `${ns}.again.*.*.*`,
      `${ns}.turn.*.*.*.*.*`,
      `${ns}.evt.*.$call.*.*`,
      `${ns}.ctl.*`,
    );
    return rights.of(OPERATOR, false);
  }

  /** Everything that these sidecars expect to be there when they may not make it. */
  provisions(all: readonly Dealings[]): Provisions {
    const subscriptions = all.flatMap(({ service, subscribes }) =>
      subscribes.map(({ name, ...rest }) => ({ name: { service, subscription: name }, ...rest })),
    );
    return {
      streams: this.#specs(all).map((spec) => this.#streams.configure(spec)),
      consumers: [
        ...unique(all.flatMap(({ answers }) => answers.map(({ service }) => service))).map((service) => ({
          stream: this.#subjects.actionStream(service),
          config: consumerConfig,
        })),
        ...subscriptions.flatMap(({ name, topic, from, ordered }) => [
          {
            stream: this.#subjects.broadcastStream(),
            config: this.#subscriptionConsumer(name, topic, this.#subjects.broadcasts(topic), {
              ...(ordered && orderedSubscriptionConfig),
              ...startOf(from),
            }),
          },
          {
            stream: this.#subjects.redeliveryStream(),
            config: this.#subscriptionConsumer(name, topic, this.#subjects.redelivery(name, '*'), {
              deliver_policy: 'all',
            }),
          },
        ]),
      ],
    };
  }

  #subscriptionConsumer(
    name: { service: string; subscription: string },
    topic: string,
    filter: string,
    start: Partial<ConsumerConfig>,
  ): Partial<ConsumerConfig> {
    const durable = this.#subjects.subscriptionConsumer(name);
    return { ...subscriptionConfig, durable_name: durable, description: topic, filter_subject: filter, ...start };
  }

  #specs(all: readonly Dealings[]): StreamSpec[] {
    const streams = this.#streams;
    const callers = unique([
      ...all.flatMap(({ service, outbound }) => (outbound ? [service] : [])),
      ...all.flatMap(({ answers }) => answers.flatMap((entry) => entry.callers.map(({ caller }) => caller))),
      ...all.flatMap(({ answers }) => answers.flatMap((entry) => (entry.calledBack.length > 0 ? [entry.service] : []))),
    ]);
    const callees = calleesOf(all);
    const ordered = unique(
      all.flatMap(({ calls }) => calls.filter((call) => call.ordered).map(({ callee }) => callee)),
    );
    const broadcasts = all.some(
      ({ publishes, subscribes, answers }) =>
        publishes.length + subscribes.length > 0 || answers.some(({ publishesCalls }) => publishesCalls),
    );
    const subscribes = all.some((dealings) => dealings.subscribes.length > 0);
    return [
      ...callees.flatMap((callee) => [streams.actions(callee), streams.attempts(callee), streams.bodies(callee)]),
      ...ordered.map((callee) => streams.ordered(callee)),
      ...callers.flatMap((caller) => [
        streams.responses(caller),
        streams.keyed(caller),
        streams.answers(caller),
        streams.keyedAnswers(caller),
      ]),
      streams.dead(),
      ...(broadcasts ? [streams.broadcasts()] : []),
      ...(subscribes ? [streams.deliveries(), streams.redeliveries(), streams.turns()] : []),
    ];
  }

  #caller(rights: Rights, caller: string, calls: readonly Calls[], all: readonly Dealings[]): void {
    const { ns } = this.#subjects;
    rights.api('STREAM.NAMES');
    const answers = [this.#streams.answers(caller), this.#streams.keyedAnswers(caller)] as const;
    for (const spec of [this.#streams.responses(caller), this.#streams.keyed(caller), ...answers]) {
      rights.make(spec);
      if (!this.#provisioned) rights.api(`STREAM.UPDATE.${spec.name}`);
    }
    rights.read(this.#subjects.responseStream(caller), `${ns}.res.${caller}.*.*`);
    rights.read(this.#subjects.keyedStream(caller), `${ns}.key.${caller}.>`);
    rights.read(answers[0].name, `${ns}.ans.${caller}.*.*.*`);
    rights.read(answers[1].name, `${ns}.kans.${caller}.*.*.*`);
    for (const { name } of answers) rights.api(`STREAM.PURGE.${name}`);
    // The outcome of a call that is taken back is stored by who takes it back.
    rights.publish(`${ns}.res.${caller}.*.*`, `${ns}.key.${caller}.>`);
    rights.subscribe(`${ns}.rt.${caller}.*.*`, `${ns}.rtk.${caller}.res.*`);
    this.#letters(rights, `${ns}.dead.*.${caller}.*`);
    for (const call of calls) this.#calls(rights, caller, call);
    // An id names its callee by a hint only, which others may have, too; the caller looks at all of those places.
    const hints = new Set(calls.map(({ callee }) => serviceHint(callee)));
    for (const callee of calleesOf(all)) {
      if (!hints.has(serviceHint(callee))) continue;
      rights.read(this.#subjects.actionStream(callee), `${ns}.act.${callee}.${caller}.*`);
      rights.read(this.#subjects.orderedStream(callee), `${ns}.ord.${callee}.*.${caller}.*`);
    }
  }

  #calls(rights: Rights, caller: string, { callee, ordered, callbacks, published }: Calls): void {
    const { ns } = this.#subjects;
    const actions = this.#streams.actions(callee);
    rights.make(actions);
    rights.read(actions.name, `${ns}.act.${callee}.${caller}.*`);
    rights.publish(`${ns}.act.${callee}.${caller}.*`, `${ns}.dead.${callee}.${caller}.*`, `${ns}.ctl.${callee}`);
    rights.api(`STREAM.MSG.DELETE.${actions.name}`, `CONSUMER.INFO.${actions.name}.${CONSUMER}`);
    const queue = this.#streams.ordered(callee);
    rights.read(queue.name, `${ns}.ord.${callee}.*.${caller}.*`);
    if (ordered) {
      rights.make(queue);
      rights.publish(`${ns}.ord.${callee}.*.${caller}.*`);
      rights.api(`STREAM.MSG.DELETE.${queue.name}`);
    }
    // Who takes a call back makes sure that nobody starts it.
    const attempts = this.#streams.attempts(callee);
    rights.make(attempts);
    rights.read(attempts.name, `${ns}.att.${callee}.*.*`);
    rights.publish(`${ns}.att.${callee}.*.*`);
    const bodies = this.#streams.bodies(callee);
    rights.make(bodies);
    rights.read(bodies.name, `${ns}.body.${callee}.${caller}.*.*.*`);
    rights.publish(`${ns}.body.${callee}.${caller}.*.*.*`);
    rights.api(`STREAM.PURGE.${bodies.name}`);
    if (callbacks) this.#callback(rights, callee, caller);
    if (published) this.#feed(rights, callee);
  }

  #callee(rights: Rights, { service, callers, publishesCalls }: Answers): void {
    const { ns } = this.#subjects;
    const actions = this.#streams.actions(service);
    const attempts = this.#streams.attempts(service);
    const queue = this.#subjects.orderedStream(service);
    const bodies = this.#streams.bodies(service);
    for (const spec of [actions, attempts, bodies]) rights.make(spec);
    for (const name of [actions.name, queue]) {
      rights.read(name, `${ns}.*.${service}.>`);
      // In the order in which they were stored.
      rights.api(`DIRECT.GET.${name}`);
    }
    rights.read(attempts.name, `${ns}.att.${service}.*.*`);
    rights.read(bodies.name, `${ns}.body.${service}.*.*.*.*`);
    rights.api(`STREAM.PURGE.${bodies.name}`);
    for (const name of [actions.name, attempts.name, queue]) rights.api(`STREAM.MSG.DELETE.${name}`);
    rights.take(actions.name, CONSUMER);
    if (!this.#provisioned) {
      rights.api(`CONSUMER.CREATE.${actions.name}.${CONSUMER}`, `CONSUMER.DELETE.${actions.name}.${CONSUMER}`);
    }
    rights.publish(`${ns}.act.${service}.*.*`, `${ns}.att.${service}.*.*`, `${ns}.ctl.${service}`);
    rights.subscribe(`${ns}.ctl.${service}`, `${ns}.rto.${service}.*.*.*`);
    this.#letters(rights, `${ns}.dead.${service}.*.*`);
    for (const { caller, callbacks, onlyKeyed } of callers) {
      rights.publish(`${ns}.dead.${service}.${caller}.*`, `${ns}.body.${service}.${caller}.*.*.*`);
      const places = [
        [this.#streams.keyed(caller), `${ns}.key.${caller}.res.*`],
        [this.#streams.keyedAnswers(caller), `${ns}.kans.${caller}.*.*.*`],
        ...(onlyKeyed
          ? []
          : ([
              [this.#streams.responses(caller), `${ns}.res.${caller}.*.*`],
              [this.#streams.answers(caller), `${ns}.ans.${caller}.*.*.*`],
            ] as const)),
      ] as const;
      for (const [spec, subject] of places) {
        rights.make(spec);
        rights.read(spec.name, subject);
        rights.publish(subject);
      }
      rights.api(`STREAM.PURGE.${this.#subjects.keyedAnswerStream(caller)}`);
      if (!onlyKeyed) rights.api(`STREAM.PURGE.${this.#subjects.answerStream(caller)}`);
      if (callbacks) this.#callback(rights, service, caller);
    }
    if (publishesCalls) this.#feed(rights, service);
  }

  /** Whoever ends a call that wants a callback stores the callback. */
  #callback(rights: Rights, callee: string, caller: string): void {
    const { ns } = this.#subjects;
    rights.make(this.#streams.actions(caller));
    rights.publish(`${ns}.act.${caller}.${callee}.*`);
    rights.read(this.#subjects.keyedStream(callee), `${ns}.key.${callee}.res.*`);
  }

  /** Whoever ends a call to a service that publishes its calls does that, too. */
  #feed(rights: Rights, callee: string): void {
    const { ns } = this.#subjects;
    rights.make(this.#streams.broadcasts());
    rights.publish(`${ns}.evt.${callee}.$call.${callee}.*`);
  }

  #publisher(rights: Rights, service: string, topic: string): void {
    const stream = this.#streams.broadcasts();
    const subject = this.#subjects.broadcast(service, topic, '*');
    rights.make(stream);
    rights.publish(subject);
    rights.read(stream.name, subject);
  }

  #subscriber(rights: Rights, service: string, subscription: string, topic: string): void {
    const { ns } = this.#subjects;
    const name = { service, subscription };
    const progress = this.#subjects.deliveries(name);
    const consumer = this.#subjects.subscriptionConsumer(name);
    const deliveries = this.#streams.deliveries();
    rights.make(deliveries);
    rights.read(deliveries.name, progress);
    rights.api(`STREAM.MSG.DELETE.${deliveries.name}`);
    for (const [{ name: stream }, filter] of [
      [rights.make(this.#streams.broadcasts()), this.#subjects.broadcasts(topic)],
      [rights.make(this.#streams.redeliveries()), this.#subjects.redelivery(name, '*')],
    ] as const) {
      rights.take(stream, consumer);
      if (!this.#provisioned) {
        rights.api(`CONSUMER.CREATE.${stream}.${consumer}.${filter}`, `CONSUMER.DELETE.${stream}.${consumer}`);
      }
    }
    // What waits for its turn, also from a time when an order was asked for.
    const turns = rights.make(this.#streams.turns()).name;
    rights.read(turns, this.#subjects.turns(name));
    rights.api(`DIRECT.GET.${turns}`, `STREAM.MSG.DELETE.${turns}`);
    rights.read(this.#streams.redeliveries().name, this.#subjects.redelivery(name, '*'));
    rights.publish(this.#subjects.turns(name), this.#subjects.redelivery(name, '*'));
    rights.subscribe(this.#subjects.turnsAnnounced(name));
    // How old the oldest event is that has not been delivered.
    rights.api(`DIRECT.GET.${this.#subjects.broadcastStream()}`);
    rights.publish(progress, `${ns}.dead.${service}.*.*`);
    this.#letters(rights);
  }

  /** A dead letter is taken off the list by its subject, which a purge says where no permission can see it. */
  #letters(rights: Rights, readable?: string): void {
    const spec = this.#streams.dead();
    rights.make(spec);
    if (readable !== undefined) rights.read(spec.name, readable);
    rights.api(`STREAM.PURGE.${spec.name}`);
  }

  #rights(owner: string): Rights {
    return new Rights(inboxPrefix(this.#subjects.ns, owner), this.#provisioned, this.#replicated);
  }
}

function calleesOf(all: readonly Dealings[]): string[] {
  return unique([
    ...all.flatMap(({ calls }) => calls.map(({ callee }) => callee)),
    ...all.flatMap(({ answers }) => answers.map(({ service }) => service)),
  ]);
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)].toSorted();
}
