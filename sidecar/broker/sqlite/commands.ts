import { chart } from './chart.ts';
import type { Ledger } from './ledger.ts';
import { letterOf, listCalls, listSubscriptions, tellCall } from './listing.ts';
import type { Membership } from './membership.ts';
import type { Request } from './protocol.ts';
import type { SizeLimit } from './size-limit.ts';

/**
 * Does a writing request, within a transaction; gives its result.
 * @throws {BrokerUnavailable} there is no room for it, and nothing was written
 */
export function write(ledger: Ledger, size: SizeLimit | undefined, request: Request, now: number): unknown {
  switch (request.op) {
    case 'store':
      size?.expectRoom(request.args.event.byteLength);
      return ledger.store(request.args, now);
    case 'publish':
      size?.expectRoom(request.args.event.byteLength);
      return ledger.publish(request.args, now);
    case 'subscribe':
      return ledger.subscriptions.subscribe(request.args, now);
    case 'end':
      return ledger.subscriptions.end(request.args, now);
    case 'resume':
      return ledger.subscriptions.resume(request.args);
    case 'removeSubscription':
      return ledger.subscriptions.remove(request.args);
    case 'settle':
      return ledger.settle(request.args, now);
    case 'withdraw':
      return ledger.withdraw(request.args, now);
    case 'start':
      return ledger.start(request.args, request.args.guarded ? request.args.mark : null);
    case 'postpone': {
      const { seq, owner, progress, body, until } = request.args;
      return void ledger.calls.postpone(seq, owner, progress, body, until);
    }
    case 'release':
      return void ledger.calls.release(request.args.seq, request.args.owner);
    case 'finish':
      return ledger.finish(request.args, now);
    case 'putChunk': {
      const { id, n, bytes, kept } = request.args;
      if (!kept) size?.expectRoom(bytes.byteLength);
      return ledger.bodies.put(id, n, bytes, now);
    }
    case 'forgetBody':
      return ledger.bodies.forget(request.args.id);
    case 'delivered':
      return ledger.responses.markDelivered(request.args.id, request.args.round, request.args.caller);
    case 'attached':
      return ledger.attachments.note(request.args.id, request.args.attachment);
    case 'claim':
      return ledger.claim(request.args, now);
    case 'replay':
      return ledger.replay(request.args.id, now);
    case 'discard':
      return ledger.discard(request.args.id, now);
    default:
      throw new TypeError(`${request.op} does not write`);
  }
}

/** Does a reading request; gives its result. */
export function read(ledger: Ledger, members: Membership, request: Request, now: number): unknown {
  switch (request.op) {
    case 'find':
      return ledger.find(request.args.id, request.args.caller, now);
    case 'chunk':
      return ledger.bodies.chunk(request.args.id, request.args.n);
    case 'backlog':
      return ledger.backlog(request.args.service);
    case 'subscriptions':
      return listSubscriptions(ledger, request.args.service, now);
    case 'calls':
      return listCalls(ledger, request.args, now);
    case 'call':
      return tellCall(ledger, request.args.id, now);
    case 'deadLetters':
      return ledger.letters.list(request.args, now).map(letterOf);
    case 'deadLetter': {
      const letter = ledger.letters.byId(request.args.id, now);
      return letter === undefined ? undefined : letterOf(letter);
    }
    case 'topology':
      return chart(ledger, members.living(), request.args.windowMs, now);
    case 'engine':
      return { version: process.versions['sqlite'] ?? 'unknown' };
    default:
      throw new TypeError(`${request.op} does not read`);
  }
}
