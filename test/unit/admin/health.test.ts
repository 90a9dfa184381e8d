import { describe, expect, test } from 'vitest';
import { assess, type HealthFacts } from '../../../sidecar/admin/health.ts';

const well: HealthFacts = {
  service: 'orders',
  instance: 'a1b2c',
  version: '0.1.0',
  phase: 'running',
  broker: { connected: true },
  promise: {
    engine: 'JetStream',
    version: '2.12.0',
    replicas: 3,
    storage: 'file',
    survives: {
      sidecarKill: true,
      brokerKill: true,
      brokerNodeLoss: true,
      powerLossOfOneNode: true,
      powerLossOfAllNodes: false,
    },
    notes: ['three copies'],
  },
  outbound: { listeners: ['127.0.0.1:4000'], held: 3 },
  inbound: [{ service: 'payments', delivering: true, running: 1 }],
  configuration: { loadedAt: 0 },
};

test('a sidecar with broker and listeners is ready, and nothing is wrong', () => {
  const health = assess(well);
  expect(health).toMatchObject({
    ready: true,
    problems: [],
    service: 'orders',
    configuration: { loadedAt: '1970-01-01T00:00:00.000Z' },
  });
});

test('it tells what the broker really promises', () => {
  expect(assess(well).broker).toEqual({ connected: true, ...well.promise });
});

describe('it is not ready', () => {
  test.each<[string, Partial<HealthFacts>, RegExp]>([
    [
      'without its broker',
      { broker: { connected: false, detail: 'ECONNREFUSED' } },
      /broker is not connected: ECONNREFUSED/,
    ],
    ['while it starts', { phase: 'starting' }, /starting/],
    ['while it stops', { phase: 'stopping' }, /stopping/],
  ])('%s', (_, part, problem) => {
    const health = assess({ ...well, ...part });
    expect(health.ready).toBe(false);
    expect(health.problems).toEqual([expect.stringMatching(problem)]);
  });
});

describe('it shows, and stays ready', () => {
  test('when a service is down', () => {
    const inbound = [{ service: 'payments', delivering: false, why: 'connection refused', running: 0 }];
    const health = assess({ ...well, inbound });
    expect(health).toMatchObject({ ready: true, problems: ['calls to payments wait: connection refused'], inbound });
  });

  test('when a reload was refused', () => {
    const configuration = { loadedAt: 0, lastReloadError: { at: 1000, errors: ['x.yaml:1:1: service: is missing'] } };
    const health = assess({ ...well, configuration });
    expect(health.ready).toBe(true);
    expect(health.problems).toEqual([expect.stringContaining('x.yaml:1:1: service: is missing')]);
    expect(health.configuration.lastReloadError).toEqual({
      at: '1970-01-01T00:00:01.000Z',
      errors: ['x.yaml:1:1: service: is missing'],
    });
  });
});

test('a broker that is away is told once, not again for each service that waits for it', () => {
  const inbound = [{ service: 'payments', delivering: false, why: 'broker away', running: 0 }];
  expect(assess({ ...well, inbound, broker: { connected: false } }).problems).toEqual(['the broker is not connected']);
});

test('a subscription that the broker does not know yet would miss events: not ready; one whose service is down waits', () => {
  const unmade = { service: 'mail', subscription: 'paid', unmade: true, delivering: true, running: 0 } as const;
  expect(assess({ ...well, inbound: [unmade] })).toMatchObject({
    ready: false,
    problems: ['the broker does not know the subscription mail/paid yet'],
  });
  const down = { service: 'mail', subscription: 'paid', delivering: false, why: 'refused', running: 0 };
  expect(assess({ ...well, inbound: [down] })).toMatchObject({
    ready: true,
    problems: ['events for mail/paid wait: refused'],
  });
});
