import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { DatabaseRefused } from './failure.ts';
import { Keeper } from './keeper.ts';
import type { FromThread, ThreadOptions, ToThread } from './protocol.ts';

/** The database's own thread: `node:sqlite` is synchronous, and an fsync may take as long as it likes. */
const port = parentPort;
if (port === null) throw new Error('this file is the database thread of a broker and runs as a worker');

let queued: ToThread[] = [];

function receive(): ToThread | undefined {
  if (queued.length === 0) {
    const received = receiveMessageOnPort(port!);
    if (received === undefined) return undefined;
    queued = received.message as ToThread[];
  }
  return queued.shift();
}

function send(messages: readonly FromThread[], transfer: readonly ArrayBuffer[]): void {
  port!.postMessage(messages, transfer);
}

try {
  const keeper = new Keeper(workerData as ThreadOptions, { send, receive });
  let turn: NodeJS.Immediate | undefined;
  const take = () => {
    turn = undefined;
    const next = receive();
    if (next !== undefined) keeper.handle(next);
    if (keeper.closed) port.close();
    else if (queued.length > 0) turn = setImmediate(take);
  };
  // One turn of the event loop each: in a handler of messages that is never without one, clocks would stand still, and with them
  // the signs of life.
  port.on('message', (messages: ToThread[]) => {
    queued.push(...messages);
    turn ??= setImmediate(take);
  });
} catch (error) {
  if (!(error instanceof DatabaseRefused)) throw error;
  send([{ kind: 'refused', message: error.message }], []);
}
