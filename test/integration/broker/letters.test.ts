import { expect, test } from 'vitest';
import { conclude } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startTcpRelay } from '../../support/tcp-relay.ts';
import { openBroker, sampleAction } from './jetstream.ts';

const COUNT = 20;

test('a replayed call that dies at once is a dead letter again, however late its replay takes the former one off', async () => {
  await using server = await startNatsServer();
  await using relay = await startTcpRelay(server.port);
  await using orders = await openBroker(`nats://127.0.0.1:${relay.port}`);
  await using payments = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
  const taking = payments.broker.callee('payments').take({
    free: () => 16,
    deliver(lease) {
      const { action, progress } = lease;
      const attempt = action.earlier.length + 1;
      const died = { attempt, at: Date.now(), ms: 1, evidence: 'no-answer' as const, instance: '00001' };
      const ended = conclude(action, { ...progress, attempts: [died] }, 'outcome-unknown', Date.now());
      // What the replay has still to say waits until the call has died again.
      if (action.round > 1) relay.stall('to-server');
      lease
        .start(attempt)
        .then(() => lease.finish(ended))
        .then(() => relay.heal())
        .catch((error: Error) => payments.problems.push(error));
    },
    report: (problem) => payments.problems.push(problem),
  });
  taking.resume();
  const log = orders.broker.caller('orders');
  const ids = Array.from({ length: COUNT }, () => log.newCallId('payments'));
  await Promise.all(ids.map((id) => log.store(sampleAction(id))));
  const letters = async () => {
    const found = await payments.broker.operator.deadLetters({ limit: 1000 });
    return found.map(({ call, history }) => `${call.id} ${history.length}`).toSorted();
  };
  const become = (attempts: number) =>
    eventually(async () => expect(await letters()).toEqual(ids.map((id) => `${id} ${attempts}`).toSorted()), {
      what: `all to be dead letters of ${attempts} attempts`,
      timeoutMs: 20_000,
    });
  await become(1);
  for (const id of ids) expect(await orders.broker.operator.replay(id)).toBe('replayed');
  await become(2);
  expect(payments.problems).toEqual([]);
  await taking.stop();
}, 120_000);
