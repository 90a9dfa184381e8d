import { describe, expect, test } from 'vitest';
import { atLeast, durabilityPromise } from '../../../../sidecar/broker/jetstream/promise.ts';

describe('versions', () => {
  test.each([
    ['2.9.10', '2.9.10', true],
    ['2.9.9', '2.9.10', false],
    ['2.10.0', '2.9.10', true],
    ['2.11.0', '2.11.0', true],
    ['2.11.0-RC.1', '2.11.0', true],
    ['2.12.0-preview.2', '2.11.9', true],
    ['2.10.29', '2.11.0', false],
    ['3.0.0', '2.99.99', true],
    ['2', '2.0.0', true],
    ['2', '2.0.1', false],
    ['unknown', '2.9.0', false],
  ])('%s is at least %s: %s', (version, floor, expected) => {
    expect(atLeast(version, floor)).toBe(expected);
  });
});

const one = { brokerNodeLoss: false, powerLossOfOneNode: false, powerLossOfAllNodes: false };
const three = { brokerNodeLoss: true, powerLossOfOneNode: true, powerLossOfAllNodes: false };

describe('what survives', () => {
  test.each([
    ['2.9.10', 1, 'file', { brokerKill: true, ...one }],
    ['2.9.10', 3, 'file', { brokerKill: true, ...one }],
    ['2.10.29', 3, 'file', { brokerKill: true, ...one }],
    ['2.11.0', 3, 'file', { brokerKill: true, ...three }],
    ['2.12.3', 5, 'file', { brokerKill: true, ...three }],
    ['2.12.3', 2, 'file', { brokerKill: true, ...one }],
    ['2.12.3', 1, 'file', { brokerKill: true, ...one }],
    ['2.12.3', 1, 'memory', { brokerKill: false, ...one }],
    ['2.12.3', 3, 'memory', { brokerKill: true, ...three }],
    ['unknown', 3, 'file', { brokerKill: true, ...one }],
  ])('nats-server %s, %d replicas, %s storage', (version, replicas, storage, survives) => {
    expect(durabilityPromise(version, replicas, storage)).toMatchObject({
      engine: 'JetStream',
      version,
      replicas,
      storage,
      survives: { sidecarKill: true, ...survives },
    });
  });
});

describe('the footnotes', () => {
  test.each([
    ['2.9.10', 1, 'file', /up to a minute/],
    ['2.10.0', 1, 'file', /two minutes by default/],
    ['2.12.3', 1, 'memory', /restart of the broker loses every call/],
    ['2.10.29', 3, 'file', /older than 2\.11/],
    ['2.11.0', 3, 'file', /before nats-server 2\.12\.3/],
    ['2.12.3', 3, 'file', /Power failure of all nodes/],
    ['2.12.3', 2, 'file', /Two replicas stop when either server is down/],
  ])('nats-server %s, %d replicas, %s storage: %s', (version, replicas, storage, note) => {
    expect(durabilityPromise(version, replicas, storage).notes.join('\n')).toMatch(note);
  });

  test('a repaired server is not accused', () => {
    expect(durabilityPromise('2.12.3', 3, 'file').notes.join('\n')).not.toMatch(/2\.12\.3/);
  });
});
