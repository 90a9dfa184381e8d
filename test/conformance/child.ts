import { writeSync } from 'node:fs';
import { openBroker } from '../../sidecar/broker/open.ts';
import type { Broker, Lease } from '../../sidecar/broker/port.ts';
import type { BrokerConfig } from '../../sidecar/config/config.ts';
import type { Errand, Operation } from './errand.ts';
import { aBody, placeOf } from './large-body.ts';
import { anAction, anAttempt, answered, givenUp } from './events.ts';

/** A sidecar as far as the broker is concerned, in a process that a test can kill. */
const { config, errand } = JSON.parse(process.argv[2] ?? '') as { config: BrokerConfig; errand: Errand };

/** Synchronously, so that what is told before a kill is told. */
function tell(verb: string, ...rest: (string | number)[]): void {
  writeSync(1, `${[verb, ...rest].join(' ')}\n`);
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal ends this process before the call above returns, or while this waits.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

function own(promise: Promise<unknown>): void {
  promise.catch((error: unknown) => {
    tell('failed', String(error));
    process.exitCode = 1;
  });
}

async function open(instance: string): Promise<Broker> {
  const broker = await openBroker({
    config,
    service: 'orders',
    instance,
    report: (error) => tell('problem', error.message),
  });
  await broker.start();
  return broker;
}

function takeOne(broker: Broker, publish = false): Promise<Lease> {
  const { promise, resolve } = Promise.withResolvers<Lease>();
  let free = 1;
  const taking = broker.callee('payments').take({
    free: () => free,
    deliver: (lease) => {
      free = 0;
      resolve(lease);
    },
    publishCalls: () => publish,
    report: (error) => tell('problem', error.message),
  });
  taking.resume();
  return promise;
}

async function storeWithoutEnd(broker: Broker): Promise<void> {
  const log = broker.caller('orders');
  const one = async () => {
    for (;;) {
      const id = log.newCallId('payments');
      await log.store(anAction({ id }));
      tell('accepted', id);
    }
  };
  await Promise.all(Array.from({ length: 8 }, one));
}

async function writeBody(broker: Broker, { id, size }: Extract<Errand, { kind: 'write-body' }>): Promise<void> {
  async function* told(): AsyncGenerator<Buffer, void, undefined> {
    let taken = 0;
    for await (const bytes of aBody(size)) {
      yield bytes;
      tell('wrote', (taken += bytes.length));
    }
  }
  const ref = await broker.bodies.write(placeOf(id), told(), new AbortController().signal);
  tell('whole', JSON.stringify(ref));
}

async function hold(broker: Broker, { start, text }: Extract<Errand, { kind: 'hold' }>): Promise<void> {
  const lease = await takeOne(broker);
  if (start) await lease.start(1);
  lease.lost.addEventListener('abort', () => {
    tell('lost', lease.action.id);
    own(
      lease.finish(answered(lease.action, text)).then(() => {
        tell('finished', lease.action.id);
      }),
    );
  });
  tell('holds', lease.action.id);
}

function holdDelivery(broker: Broker, held: Extract<Errand, { kind: 'hold-delivery' }>): void {
  const { service, name, topic, orderBy } = held;
  let free = 1;
  const taking = broker.subscriber(service).subscribe({
    name,
    topic,
    ...(orderBy !== undefined && { orderBy }),
    from: { kind: 'new' },
    target: () => ({ method: 'POST', path: '/', retry: { attempts: 8, backoff: { min: 1, max: 1 }, on: [] } }),
    free: () => free,
    deliver: (lease) => {
      free = 0;
      own(lease.start(1).then(() => tell('holds', lease.action.id)));
    },
    report: (error) => tell('problem', error.message),
  });
  taking.resume();
}

/** Numbers between 0 and 1, the same for the same seed (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function workWithoutEnd(broker: Broker, { instance, seed }: Extract<Errand, { kind: 'work-without-end' }>): void {
  const random = numbers(seed);
  let busy = 0;
  const taking = broker.callee('payments').take({
    free: () => 8 - busy,
    deliver: (lease) => {
      busy++;
      own(
        work(lease).finally(() => {
          busy--;
          taking.more();
        }),
      );
    },
    report: (error) => tell('problem', error.message),
  });
  taking.resume();

  async function work(lease: Lease): Promise<void> {
    const { action, progress } = lease;
    const { id } = action;
    const dice = random();
    if (progress.started !== undefined && !action.idempotent) {
      await lease.finish(givenUp(action, 'outcome-unknown', progress));
      tell('buried', id);
      return;
    }
    if (dice < 0.2) {
      await lease.release();
      return;
    }
    const attempt = progress.attempts.length + 1;
    if ((await lease.start(attempt)) === 'gone') return;
    if (dice < 0.3) {
      await lease.release();
      return;
    }
    tell('sent', id, attempt);
    if (dice < 0.5) {
      const tried = anAttempt(attempt, 'retry-status', { status: 503, instance });
      // Told before it is done: a call that is sent again must have been given back first.
      tell('giving-back', id);
      await lease.postpone({ attempts: [...progress.attempts, tried] }, Date.now());
      return;
    }
    const text = `${instance} ${id}`;
    await lease.finish(answered(action, text, progress));
    tell('finished', id, text);
  }
}

/** Begins an operation; the promise is its acknowledgement. */
async function prepare(broker: Broker, operation: Operation): Promise<() => Promise<unknown>> {
  const log = broker.caller('orders');
  switch (operation.name) {
    case 'store':
      return () => log.store({ ...operation.action, body: Buffer.from(operation.body) });
    case 'withdraw':
      return () => log.withdraw(operation.id, 'cancelled');
    case 'replay':
      return () => broker.operator.replay(operation.id);
    case 'discard':
      return () => broker.operator.discard(operation.id);
    case 'mark-delivered':
      // It has no acknowledgement of its own; a later write of the same process has been stored after it.
      return () => {
        log.markDelivered(operation.id, 1);
        return log.store(anAction({ id: log.newCallId('payments') }));
      };
    case 'claim':
      return () => log.claim(operation.claim);
    default:
      break;
  }
  const lease = await takeOne(broker, operation.publish);
  const { action, progress } = lease;
  switch (operation.name) {
    case 'start':
      return () => lease.start(1);
    case 'postpone':
      return () => lease.postpone({ attempts: [anAttempt(1, 'retry-status', { status: 503 })] }, Date.now());
    case 'start-release':
      await lease.start(1);
      return () => lease.release();
    case 'finish':
      return () => lease.finish(answered(action, 'from the dead', progress));
    case 'finish-dead':
      return () => lease.finish(givenUp(action, 'exhausted', progress));
    default:
      return operation satisfies never;
  }
}

async function run(): Promise<void> {
  switch (errand.kind) {
    case 'store-without-end':
      return await storeWithoutEnd(await open('stores'));
    case 'work-without-end':
      return workWithoutEnd(await open(errand.instance), errand);
    case 'hold':
      return await hold(await open('holder'), errand);
    case 'hold-delivery':
      return holdDelivery(await open('holder'), errand);
    case 'write-body':
      return await writeBody(await open('writer'), errand);
    case 'die-acknowledged': {
      const act = await prepare(await open('mortal'), errand.operation);
      await act();
      return die();
    }
    case 'die-underway': {
      const act = await prepare(await open('mortal'), errand.operation);
      own(act());
      for (let i = 0; i < errand.turns; i++) await new Promise((resolve) => setImmediate(resolve));
      return die();
    }
    default:
      return errand satisfies never;
  }
}

await run();
