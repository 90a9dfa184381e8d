import { statSync, watch } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSqliteBroker } from '../../../../sidecar/broker/sqlite/broker.ts';
import { DatabaseRefused } from '../../../../sidecar/broker/sqlite/failure.ts';
import { packAction } from '../../../../sidecar/broker/sqlite/packing.ts';
import { DatabaseThread, spawnThread, type News } from '../../../../sidecar/broker/sqlite/thread.ts';
import { BrokerUnavailable, type Broker } from '../../../../sidecar/broker/port.ts';
import { longRetention } from '../../../conformance/backend.ts';
import { anAction, anAnswer, anEvent, answered, givenUp } from '../../../conformance/events.ts';
import { expectSoon, Hands, publishAll, storeAll } from '../../../conformance/stage.ts';
import { createLatch } from '../../../support/latch.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

let folder: TempDir;
let file: string;
const brokers: Broker[] = [];
const problems: string[] = [];

beforeEach(async () => {
  folder = await createTempDir('embedded');
  file = folder.join('holdline.db');
});
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close(1_000);
  problems.length = 0;
  await folder.remove();
});

async function open(
  options: { maxBytes?: number; namespace?: string; retention?: Partial<typeof longRetention> } = {},
) {
  const { retention, namespace = 'holdline', ...rest } = options;
  const broker = await openSqliteBroker({
    config: { kind: 'sqlite', file, namespace, retention: { ...longRetention, ...retention }, ...rest },
    service: 'orders',
    instance: 'tester',
    report: (error) => problems.push(error.message),
  });
  brokers.push(broker);
  return broker;
}

/** What another program sees in the file. */
function look(sql: string): unknown[] {
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    return db
      .prepare(sql)
      .all()
      .map((row) => Object.values(row)[0]);
  } finally {
    db.close();
  }
}

test('a file that cannot be used is refused when the broker is opened', async () => {
  const other = new DatabaseSync(file);
  other.exec('CREATE TABLE theirs (x)');
  other.close();
  await expect(open()).rejects.toThrow(DatabaseRefused);
});

test('every commit that others may wait for rings the bell', async () => {
  const broker = await open();
  const log = broker.caller('orders');
  const hands = Hands.open(broker, 'payments');
  const id = log.newCallId('payments');
  let lease: Awaited<ReturnType<typeof hands.next>> | undefined;
  const steps: [what: string, step: () => Promise<unknown>][] = [
    ['store', () => log.store(anAction({ id }))],
    ['postpone', async () => (await hands.next()).postpone({ attempts: [] }, 0)],
    ['release', async () => (await hands.next()).release()],
    ['finish', async () => (lease = await hands.next()).finish(answered(lease.action, 'done'))],
  ];
  for (const [what, step] of steps) {
    const rung = createLatch();
    const watcher = watch(`${file}-bell`, () => rung.open());
    await step();
    await rung.wait(`the ring after ${what}`);
    watcher.close();
    expect(rung.isOpen, what).toBe(true);
  }
});

test('a file that another process writes to for long can be opened, and is written to when that one is done', async () => {
  const first = await open();
  await first.close(1_000);
  const other = new DatabaseSync(file);
  other.exec('BEGIN IMMEDIATE');
  const broker = await open();
  const log = broker.caller('orders');
  const stored = log.store(anAction({ id: log.newCallId('payments') }));
  other.exec('ROLLBACK');
  other.close();
  expect(await stored).toEqual({ kind: 'accepted' });
});

test('two namespaces in one file know nothing of each other', async () => {
  const [one, two] = [await open({ namespace: 'one' }), await open({ namespace: 'two' })];
  const action = anAction({ id: '018f0000-0000-8000-8000-000000000000', keyed: true });
  await storeAll(one.caller('orders'), [action]);
  await storeAll(two.caller('orders'), [action]);
  const hands = Hands.open(two, 'payments');
  await hands.answer(await hands.next(), 'two');
  expect(await one.caller('orders').find(action.id)).toMatchObject({ kind: 'open' });
  expect(await two.caller('orders').find(action.id)).toMatchObject({ kind: 'finished' });
  expect(await one.operator.calls({ limit: 10 })).toHaveLength(1);
});

test('of a finished call nothing stays but its response, and in the end not that', async () => {
  const broker = await open({ retention: { responses: 500, deadLetters: 500 } });
  const log = broker.caller('orders');
  const hands = Hands.open(broker, 'payments');
  for (const dies of [false, true]) {
    const action = anAction({ id: log.newCallId('payments') });
    await storeAll(log, [action]);
    const first = await hands.next();
    await first.start(1);
    await hands.postpone(first, { attempts: [], answer: anAnswer('busy') }, 0);
    const lease = await hands.next();
    await lease.start(2);
    await hands.finish(lease, dies ? givenUp(action, 'exhausted') : answered(action, 'done'));
  }
  for (const table of ['calls', 'actions', 'progress']) expect(look(`SELECT count(*) FROM ${table}`)).toEqual([0]);
  for (const table of ['responses', 'dead_letters']) {
    await expectSoon(() => look(`SELECT count(*) FROM ${table}`)).toEqual([0]);
  }
});

test('more than one portion of what is old is deleted without waiting for the next round', async () => {
  const broker = await open({ retention: { responses: 1 } });
  const log = broker.caller('orders');
  const ids = Array.from({ length: 1_000 }, () => log.newCallId('payments'));
  await Promise.all(ids.map((id) => log.store(anAction({ id }))));
  await Promise.all(ids.map((id) => log.withdraw(id, 'cancelled')));
  await expectSoon(() => look('SELECT count(*) FROM responses')).toEqual([0]);
});

test('the write-ahead log stays small, however much is written', async () => {
  const broker = await open();
  const log = broker.caller('orders');
  const hands = Hands.open(broker, 'payments', 1_000);
  const body = Buffer.alloc(50_000, 'log ');
  for (let round = 0; round < 20; round++) {
    const actions = Array.from({ length: 20 }, () => anAction({ id: log.newCallId('payments'), body }));
    await Promise.all(actions.map((action) => log.store(action)));
    for (const _ of actions) await hands.answer(await hands.next(), 'done');
  }
  // 20 MB went through it.
  expect(statSync(`${file}-wal`).size).toBeLessThan(10_000_000);
});

test('an answer for which there is no room waits until there is, and the status says why', async () => {
  const broker = await open({ maxBytes: 2 * 1024 * 1024 });
  const log = broker.caller('orders');
  const hands = Hands.open(broker, 'payments');
  const [large, small] = [log.newCallId('payments'), log.newCallId('payments')];
  await storeAll(log, [anAction({ id: large }), anAction({ id: small, body: Buffer.alloc(1_500_000) })]);
  const first = await hands.next();
  const second = await hands.next();
  const finished = hands.finish(first, {
    ...answered(first.action, ''),
    answer: anAnswer('', { body: Buffer.alloc(1_000_000) }),
  });
  await expectSoon(() => broker.status.detail).toContain('full');
  expect(broker.status.connected).toBe(true);
  await expect(log.store(anAction({ id: log.newCallId('payments'), body: Buffer.alloc(500_000) }))).rejects.toThrow(
    BrokerUnavailable,
  );
  expect(problems.filter((problem) => problem.includes('full'))).toHaveLength(1);
  await hands.answer(second, 'this makes room');
  await finished;
  await expectSoon(() => broker.status).toEqual({ connected: true });
  expect(await log.find(large)).toMatchObject({ kind: 'finished' });
});

test('when a newer Holdline has taken the file over, nothing is written any more, and the status says so', async () => {
  const broker = await open();
  const heard: boolean[] = [];
  broker.onStatus((status) => heard.push(status.connected));
  const log = broker.caller('orders');
  await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
  const other = new DatabaseSync(file);
  other.exec('PRAGMA user_version = 99');
  other.close();
  await expect(log.store(anAction({ id: log.newCallId('payments') }))).rejects.toThrow(/newer Holdline/);
  await expectSoon(() => heard).toEqual([false]);
  expect(broker.status.detail).toContain('newer Holdline');
  expect(look('SELECT count(*) FROM calls')).toEqual([1]);
});

test('a database thread that ends is replaced, and what it had not answered is asked again', async () => {
  const workers: Worker[] = [];
  const news: News[] = [];
  let replaced = 0;
  const thread = await DatabaseThread.open(
    { file, namespace: 'holdline', service: 'orders', instance: 'tester', retention: longRetention },
    (each) => news.push(each),
    () => replaced++,
    (options) => {
      const worker = spawnThread(options);
      workers.push(worker);
      return worker;
    },
  );
  const ask = (id: string) => thread.ask('store', packAction(anAction({ id })));
  expect(await ask('one')).toEqual({ kind: 'accepted' });
  // Whether the thread had stored it or not: it is stored once, and the answer says so.
  const underWay = Promise.all(['two', 'three'].map(ask));
  await new Promise((resolve) => setImmediate(resolve));
  await workers[0]!.terminate();
  const meanwhile = ask('four');
  expect(await underWay).toEqual([{ kind: 'accepted' }, { kind: 'accepted' }]);
  expect(await meanwhile).toEqual({ kind: 'accepted' });
  expect(replaced).toBe(1);
  expect(look('SELECT id FROM calls ORDER BY id')).toEqual(['four', 'one', 'three', 'two']);
  expect(news.flatMap((each) => (each.kind === 'health' ? [each.connected] : []))).toEqual([false, true]);
  await thread.close(1_000);
  await expect(ask('five')).rejects.toThrow(BrokerUnavailable);
});

test('an instance whose leases are all short gives signs of life like any other: the others must not take it for dead', async () => {
  const broker = await open();
  const log = broker.caller('orders');
  const hands = Hands.open(broker, 'payments');
  // Between two of them none is held, which must not begin the wait for the next sign anew.
  await expectSoon(async () => {
    await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
    await hands.answer(await hands.next(), 'done');
    return look('SELECT beat FROM instances').at(0);
  }).toBeGreaterThan(0);
});

test('an event that is being delivered is kept beyond its retention, until the delivery has ended', async () => {
  const broker = await open({ retention: { broadcasts: 200 } });
  const log = broker.publisher('orders');
  const interest = { name: 'all', topic: '**', from: { kind: 'first' } } as const;
  const hands = Hands.subscribe(broker, 'mail', interest, 1);
  await publishAll(log, [anEvent({ id: log.newEventId() }), anEvent({ id: log.newEventId(), topic: 'never.had' })]);
  const lease = await hands.next();
  await expectSoon(() => look('SELECT topic FROM broadcasts')).toEqual(['order.paid']);
  await hands.release(lease);
  const again = await hands.next();
  expect(again.action.id).toBe(lease.action.id);
  await hands.answer(again, 'thanks');
  await expectSoon(() => look('SELECT topic FROM broadcasts')).toEqual([]);
  expect(look('SELECT seq FROM deliveries')).toEqual([]);
});

test('a database thread that is never without work gives its signs of life all the same', async () => {
  const broker = await open();
  const log = broker.caller('orders');
  const hands = Hands.open(broker, 'payments');
  await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
  const lease = await hands.next();
  await lease.start(1);
  const beats = () => Number(look('SELECT beat FROM instances')[0]);
  // Counting so many takes the thread longer than asking for the next count takes us.
  const db = new DatabaseSync(file, { timeout: 10_000 });
  db.exec(`INSERT INTO calls (ns, id, round, caller, service, fingerprint, idempotent, accepted_at, deadline)
    WITH RECURSIVE crowd (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM crowd LIMIT 200000)
    SELECT 1, n, 1, 'orders', 'crowd', '', 0, 0, ${Date.now() + 3_600_000} FROM crowd`);
  db.close();
  const { taking } = new Hands(broker, 'crowd');
  let asked = 0;
  const asking = setInterval(() => {
    if (asked >= 64) return;
    asked++;
    taking.backlog().then(
      () => asked--,
      (error: Error) => problems.push(error.message),
    );
  }, 1);
  await expectSoon(() => asked).toBeGreaterThan(32);
  const before = beats();
  await expectSoon(beats).toBeGreaterThan(before + 1);
  clearInterval(asking);
  await expectSoon(() => asked).toBe(0);
  expect(lease.lost.aborted).toBe(false);
  expect(problems).toEqual([]);
});
