import { expect, test } from 'vitest';
import { oneAtATime } from '../../../sidecar/lifecycle/one-at-a-time.ts';
import { createLatch } from '../../support/latch.ts';

test('requests while it runs make it run once more, afterwards', async () => {
  const gates = [createLatch(), createLatch()];
  let started = 0;
  let running = 0;
  let most = 0;
  const task = oneAtATime(async () => {
    most = Math.max(most, ++running);
    await gates[started++]?.wait();
    running--;
  });
  task.request();
  task.request();
  task.request();
  expect(started).toBe(1);
  gates[0]!.open();
  gates[1]!.open();
  await task.idle();
  expect({ started, most }).toEqual({ started: 2, most: 1 });
});

test('a request after it has ended runs again', async () => {
  let runs = 0;
  const task = oneAtATime(async () => {
    runs++;
  });
  await task.idle();
  task.request();
  await task.idle();
  task.request();
  await task.idle();
  expect(runs).toBe(2);
});
