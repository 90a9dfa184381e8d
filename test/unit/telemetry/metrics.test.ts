import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CallFacts } from '../../../sidecar/model/call.ts';
import {
  attemptEnded,
  callAccepted,
  callAnswered,
  callerGone,
  callFinished,
  passedThrough,
  trouble,
} from '../../../sidecar/telemetry/channels.ts';
import type { Watched } from '../../../sidecar/telemetry/gauges.ts';
import { Metrics } from '../../../sidecar/telemetry/metrics.ts';

const root = join(import.meta.dirname, '../../..');
const now = Date.now();
const call: CallFacts = {
  id: '01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10',
  round: 1,
  caller: 'orders',
  service: 'payments',
  route: 'charge',
  method: 'POST',
  target: '/charges?token=geheim',
  acceptedAt: now,
  deadline: now + 1000,
  idempotent: false,
  keyed: false,
};
const answered = {
  id: call.id,
  route: 'charge',
  service: 'payments',
  method: 'POST',
  target: call.target,
  status: 201,
  replayed: false,
  outcome: 'answered',
  heldMs: 20,
} as const;

const calm: Watched = {
  service: 'orders',
  instance: 'a1b2c',
  version: '0.1.0',
  held: () => 3,
  brokerUp: () => true,
  reloadRefused: () => false,
  inbound: () => [{ service: 'orders', delivering: false, running: 2 }],
  backlogs: async () => [{ service: 'orders', waiting: 4, oldest: Date.now() - 60_000 }],
};

let metrics: Metrics;
beforeEach(() => {
  metrics = new Metrics(calm);
});
afterEach(() => metrics.close());

/** The lines of `/metrics` that start like this. */
async function lines(start: string, of = metrics): Promise<string[]> {
  const { text } = await of.exposition();
  return text.split('\n').filter((line) => line.startsWith(start));
}

test('calls are counted by what their callers got', async () => {
  callAnswered.publish(answered);
  callAnswered.publish({ ...answered, replayed: true });
  callAnswered.publish({ ...answered, status: 503, outcome: 'exhausted' });
  callAnswered.publish({ ...answered, status: 503, problem: 'overloaded' });
  const { outcome: _, ...accepted } = answered;
  callAnswered.publish({ ...accepted, status: 202 });
  callerGone.publish({ route: 'charge', service: 'payments', heldMs: 5 });
  // Of nobody's call.
  callAnswered.publish({ method: 'GET', target: '/', status: 403, problem: 'not-routed', replayed: false, heldMs: 0 });
  const label = (outcome: string) => `holdline_calls_total{route="charge",service="payments",outcome="${outcome}"} 1`;
  expect(await lines('holdline_calls_total')).toEqual(
    ['answered', 'replayed', 'exhausted', 'overloaded', 'accepted', 'caller-gone'].map(label),
  );
  expect(await lines('holdline_hold_seconds_count')).toEqual(['holdline_hold_seconds_count 6']);
  expect(await lines('holdline_problems_total')).toEqual([
    'holdline_problems_total{code="overloaded"} 1',
    'holdline_problems_total{code="not-routed"} 1',
  ]);
});

test('attempts, dead letters and what storing takes are counted', async () => {
  callAccepted.publish({ call, mode: 'await', storingMs: 2 });
  attemptEnded.publish({ call, attempt: { attempt: 1, evidence: 'no-answer', ms: 30, instance: 'a' } });
  attemptEnded.publish({ call, attempt: { attempt: 1, evidence: 'not-sent', instance: 'a' } });
  callFinished.publish({ call, outcome: 'outcome-unknown', attempts: 1, storingMs: 3 });
  callFinished.publish({ call, outcome: 'answered', attempts: 1, storingMs: 3 });
  passedThrough.publish({ host: 'payments', method: 'GET', target: '/', status: 404, ms: 1 });
  passedThrough.publish({ host: 'payments', method: 'GET', target: '/', status: 200, ms: 1, route: 'reads' });
  trouble.publish({ where: 'broker', error: new Error('stuck') });
  expect(await lines('holdline_attempts_total')).toEqual([
    'holdline_attempts_total{service="payments",evidence="no-answer"} 1',
    'holdline_attempts_total{service="payments",evidence="not-sent"} 1',
  ]);
  expect(await lines('holdline_attempt_seconds_count')).toEqual([
    'holdline_attempt_seconds_count{service="payments"} 1',
  ]);
  expect(await lines('holdline_call_seconds_count')).toEqual(['holdline_call_seconds_count{service="payments"} 2']);
  expect(await lines('holdline_dead_letters_total')).toEqual([
    'holdline_dead_letters_total{service="payments",reason="outcome-unknown"} 1',
  ]);
  expect(await lines('holdline_store_seconds_count')).toEqual([
    'holdline_store_seconds_count{event="action"} 1',
    'holdline_store_seconds_count{event="response"} 2',
  ]);
  expect(await lines('holdline_passed_through_total')).toEqual([
    'holdline_passed_through_total{status="4xx"} 1',
    'holdline_passed_through_total{status="2xx"} 1',
  ]);
  // Only what a route reports is told by its name.
  expect(await lines('holdline_passed_through_seconds_count')).toEqual([
    'holdline_passed_through_seconds_count{route="reads",status="2xx"} 1',
  ]);
  expect(await lines('holdline_troubles_total')).toEqual(['holdline_troubles_total 1']);
});

test('what is looked at when somebody asks', async () => {
  expect(await lines('holdline_held')).toEqual(['holdline_held 3']);
  expect(await lines('holdline_broker_up')).toEqual(['holdline_broker_up 1']);
  expect(await lines('holdline_backlog')).toEqual(['holdline_backlog{service="orders"} 4']);
  const [oldest = ''] = await lines('holdline_oldest_waiting_seconds');
  expect(Number(oldest.split(' ')[1])).toBeGreaterThanOrEqual(60);
  expect(await lines('holdline_delivery_paused')).toEqual(['holdline_delivery_paused{service="orders"} 1']);
  expect(await lines('holdline_attempts_running')).toEqual(['holdline_attempts_running{service="orders"} 2']);
});

test('a backlog that the broker does not tell is absent, and not the one of before', async () => {
  let known = true;
  const backlogs = async () => (known ? [{ service: 'orders', waiting: 4 }] : []);
  const changing = new Metrics({ ...calm, backlogs });
  try {
    expect(await lines('holdline_backlog', changing)).toHaveLength(1);
    known = false;
    expect(await lines('holdline_backlog', changing)).toEqual([]);
  } finally {
    changing.close();
  }
});

test('services that callers invent do not make the metrics grow without end', async () => {
  for (let n = 0; n < 1000; n++) callAnswered.publish({ ...answered, service: `service-${n}` });
  const counted = await lines('holdline_calls_total');
  expect(counted).toHaveLength(201);
  expect(counted.at(-1)).toBe('holdline_calls_total{route="charge",service="other",outcome="answered"} 800');
});

test('afterwards nothing is counted', async () => {
  metrics.close();
  callAnswered.publish(answered);
  expect(await lines('holdline_calls_total')).toEqual([]);
});

describe('what is written about them', () => {
  test('the table in the docs has every metric with its type and labels, and no other', async () => {
    const families = metrics.registry.getMetricsAsArray();
    const inCode = families.map(({ name }) => {
      const metric = metrics.registry.getSingleMetric(name) as unknown as { type: string; labelNames: string[] };
      return `${name} ${metric.type} ${metric.labelNames.join(' ')}`.trim();
    });
    const text = await readFile(join(root, 'sidecar/docs/telemetry.md'), 'utf8');
    const section = text.slice(text.indexOf('## Metrics'), text.indexOf('## By OTLP'));
    const inDocs = [...section.matchAll(/^\| `(\w+)`\s+\| (\w+)\s+\| ([^|]*)\|/gm)].map(([, name, type, labels = '']) =>
      `${name} ${type} ${labels.replaceAll('`', '').trim()}`.trim(),
    );
    expect(inDocs.toSorted()).toEqual(inCode.toSorted());
  });

  test.for(['config/telemetry/grafana-dashboard.json', 'sidecar/docs/telemetry.md'])(
    '%s asks for metrics and labels that there are',
    async (file) => {
      const text = await readFile(join(root, file), 'utf8');
      const queries = file.endsWith('.json')
        ? (JSON.parse(text) as { panels: { targets: { expr: string }[] }[] }).panels.flatMap(({ targets }) =>
            targets.map(({ expr }) => expr),
          )
        : [...text.matchAll(/^ {4}(.*holdline_.*?)(?: +#.*)?$/gm)].map(([, query = '']) => query);
      expect(queries.length).toBeGreaterThan(2);
      for (const query of queries) {
        const names = query.match(/\b(?:holdline|process|nodejs)_\w+/g) ?? [];
        expect(names, query).not.toEqual([]);
        const labels = names.flatMap((name) => {
          const metric = metrics.registry.getSingleMetric(name.replace(/_bucket$/, '')) as unknown as
            | { labelNames: string[] }
            | undefined;
          expect(metric, `${name} in ${query}`).toBeDefined();
          return metric!.labelNames;
        });
        const used = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/, */));
        // `le` is that of histograms, `instance` that of Prometheus.
        expect(
          used.filter((label) => ![...labels, 'le', 'instance'].includes(label)),
          query,
        ).toEqual([]);
      }
    },
  );
});
