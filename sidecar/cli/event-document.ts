import { Subjects } from '../broker/jetstream/subjects.ts';
import type { BrokerConfig, Config } from '../config/config.ts';
import { orderKey } from '../config/requests.ts';
import { callTopic, topicTest } from '../policy/topic.ts';

/** An AsyncAPI 3.0 document, as plain data. */
export interface EventDocument {
  readonly document: Readonly<Record<string, unknown>>;
  /** Subscriptions that wait for what nobody publishes, in words. */
  readonly remarks: readonly string[];
}

interface Channel {
  readonly id: string;
  readonly topic: string;
  readonly publishers: Set<string>;
  /** The finished calls of this service. */
  readonly calls?: string;
}

interface Operation {
  readonly id: string;
  readonly action: 'send' | 'receive';
  readonly channel: Channel;
  readonly service: string;
  readonly summary: string;
  readonly description?: string;
}

/** What these services publish and subscribe to, taken together. */
export function describeEvents(configs: readonly Config[]): EventDocument {
  const channels = new Map<string, Channel>();
  const operations: Operation[] = [];
  const remarks: string[] = [];
  const channelOf = (topic: string, calls?: string): Channel => {
    const id = calls === undefined ? topic : `calls.${calls}`;
    const channel = channels.get(topic) ?? { id, topic, publishers: new Set(), ...(calls !== undefined && { calls }) };
    channels.set(topic, channel);
    return channel;
  };

  for (const { service, outbound, inbound } of configs) {
    for (const { mode, topic, name } of outbound?.routes ?? []) {
      if (mode !== 'broadcast' || topic === undefined) continue;
      const channel = channelOf(topic);
      channel.publishers.add(service);
      const summary = `${service} publishes ${topic} (route ${name}).`;
      operations.push({ id: `${service}.send.${name}`, action: 'send', channel, service, summary });
    }
    for (const { service: callee, publishCalls } of inbound) {
      if (!publishCalls) continue;
      const channel = channelOf(callTopic(callee), callee);
      channel.publishers.add(callee);
      const summary = `Each finished call of ${callee} is published.`;
      operations.push({ id: `${callee}.send.calls`, action: 'send', channel, service: callee, summary });
    }
  }

  const published = [...channels.values()];
  for (const { service, subscribe } of configs) {
    for (const { name, topic, call, filter, orderBy, to } of subscribe) {
      const wanted = topic ?? callTopic(call.service);
      let heard = published.filter((channel) => topicTest(wanted)(channel.topic));
      if (heard.length === 0) {
        const what = topic === undefined ? `calls of ${call.service} (publishCalls)` : `"${topic}"`;
        remarks.push(`${service}: nobody in these files publishes ${what}, which the subscription ${name} wants`);
        if (wanted.includes('*')) continue;
        heard = [channelOf(wanted, call?.service)];
      }
      for (const channel of heard) {
        const id = `${service}.receive.${name}${heard.length > 1 ? `.${channel.id}` : ''}`;
        const summary = `${service} receives it as ${to.method} ${to.path} (subscription ${name}).`;
        const choice = [
          ...(filter === undefined ? [] : [`Only what this CEL expression is true for: ${filter}`]),
          ...(orderBy === undefined ? [] : [`In order for each value of ${orderKey.format(orderBy)}.`]),
        ];
        const description = choice.length === 0 ? {} : { description: choice.join('\n') };
        operations.push({ id, action: 'receive', channel, service, summary, ...description });
      }
    }
  }

  const services = [...new Set(configs.map(({ service }) => service))].toSorted();
  const brokers = [...new Map(configs.map(({ broker }) => [where(broker), broker])).values()];
  const namespace = brokers[0]?.namespace ?? 'holdline';
  const ordered = [...channels.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return { document: plain(documentOf({ services, brokers, namespace, channels: ordered, operations })), remarks };
}

/** Without objects that stand in two places, which YAML would write as references to each other. */
function plain(document: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(JSON.stringify(document)) as Record<string, unknown>;
}

interface Parts {
  readonly services: readonly string[];
  readonly brokers: readonly BrokerConfig[];
  readonly namespace: string;
  readonly channels: readonly Channel[];
  readonly operations: readonly Operation[];
}

function documentOf({ services, brokers, namespace, channels, operations }: Parts): Record<string, unknown> {
  const subjects = new Subjects(namespace);
  const has = (kind: 'broadcasts' | 'calls') =>
    channels.some(({ calls }) => (calls === undefined) === (kind === 'broadcasts'));
  return {
    asyncapi: '3.0.0',
    info: {
      title: `Events of ${services.join(', ')}`,
      version: '1.0.0',
      description:
        'Broadcast events between services, made from the configurations of their Holdline sidecars. An address is a NATS ' +
        'subject; a service with a sidecar sends and receives plain HTTP requests instead.',
    },
    ...serversOf(brokers),
    channels: Object.fromEntries(channels.map((channel) => [channel.id, channelObject(channel, subjects)])),
    operations: Object.fromEntries(
      operations.map(({ id, action, channel, service, summary, description }) => [
        id,
        {
          action,
          channel: { $ref: `#/channels/${channel.id}` },
          summary,
          ...(description !== undefined && { description }),
          tags: [{ name: service }],
          messages: [{ $ref: `#/channels/${channel.id}/messages/event` }],
        },
      ]),
    ),
    components: {
      messages: { ...(has('broadcasts') && { broadcast }), ...(has('calls') && { call: finishedCall }) },
    },
  };
}

function channelObject({ topic, publishers, calls }: Channel, subjects: Subjects): Record<string, unknown> {
  const known = [...publishers].toSorted();
  return {
    address: subjects.broadcast('{publisher}', topic, '{id}'),
    title: calls === undefined ? topic : `Finished calls of ${calls}`,
    messages: { event: { $ref: `#/components/messages/${calls === undefined ? 'broadcast' : 'call'}` } },
    parameters: {
      publisher: { description: 'The publishing service.', ...(known.length > 0 && { enum: known }) },
      id: { description: 'The id of the event, a UUID.' },
    },
  };
}

/** Without users and passwords. The embedded broker is no server. */
function serversOf(brokers: readonly BrokerConfig[]): { servers?: Record<string, unknown> } {
  const urls = brokers.flatMap((broker) => (broker.kind === 'nats' ? broker.servers : []));
  if (urls.length === 0) return {};
  const hosts = [...new Map(urls.map((url) => [new URL(url).host, new URL(url)])).values()];
  return {
    servers: Object.fromEntries(
      hosts.map(({ host, protocol }, index) => [`nats-${index + 1}`, { host, protocol: protocol.replace(':', '') }]),
    ),
  };
}

function where(broker: BrokerConfig): string {
  return broker.kind === 'nats' ? `${broker.servers.join()} ${broker.namespace}` : broker.file;
}

const text = { type: 'string' } as const;
const moment = { type: 'string', format: 'date-time' } as const;
const headers = { type: 'object', additionalProperties: text } as const;

const broadcast = {
  name: 'broadcast',
  title: 'A broadcast event',
  summary:
    'CloudEvents 1.0 in binary mode. On NATS the payload is framed, see events.md; over HTTP it is as it was sent.',
  headers: {
    type: 'object',
    required: ['ce-specversion', 'ce-id', 'ce-source', 'ce-type'],
    properties: {
      'ce-specversion': { const: '1.0' },
      'ce-id': text,
      'ce-source': { ...text, description: '`/services/{publisher}`' },
      'ce-type': { ...text, description: 'The topic.' },
      'ce-time': moment,
    },
  },
} as const;

const message = {
  headers: { ...headers, description: 'Names in lower case; credentials are redacted.' },
  body: { ...text, description: 'Where it is UTF-8.' },
  bodyBase64: { ...text, contentEncoding: 'base64', description: 'Where it is not.' },
  bodySize: { type: 'integer', description: 'Where the body did not fit into the event.' },
} as const;

const finishedCall = {
  name: 'call',
  title: 'A finished call',
  summary: 'CloudEvents 1.0 in structured mode.',
  contentType: 'application/cloudevents+json',
  payload: {
    type: 'object',
    required: ['specversion', 'id', 'source', 'type', 'time', 'data'],
    properties: {
      specversion: { const: '1.0' },
      id: text,
      source: { ...text, description: '`/services/{callee}`' },
      type: { const: 'holdline.call.v1' },
      subject: { ...text, description: 'The call id.' },
      time: moment,
      datacontenttype: { const: 'application/json' },
      data: {
        type: 'object',
        required: ['call', 'request', 'response', 'attempts', 'acceptedAt', 'answeredAt'],
        properties: {
          call: {
            type: 'object',
            required: ['id', 'caller', 'service', 'route', 'method', 'target', 'outcome'],
            properties: Object.fromEntries(
              ['id', 'caller', 'service', 'route', 'method', 'target', 'outcome'].map((name) => [name, text]),
            ),
          },
          request: { type: 'object', required: ['headers'], properties: message },
          response: {
            type: 'object',
            required: ['status', 'headers'],
            properties: { status: { type: 'integer' }, ...message },
          },
          attempts: { type: 'integer' },
          acceptedAt: moment,
          answeredAt: moment,
        },
      },
    },
  },
} as const;
