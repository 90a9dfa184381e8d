import { BrokerUnavailable, type BodyStore, type CallerLog } from '../broker/port.ts';
import { LinkedHashMap } from '../collections/linked-hash-map.ts';
import { contentCallId } from '../model/call-id.ts';
import type { ActionEvent } from '../model/call.ts';
import { trouble } from '../telemetry/channels.ts';
import type { Alarms } from './alarms.ts';
import type { BrokerPatience } from './broker-patience.ts';
import type { Held, Hold } from './hold.ts';
import { OpenCall, type OpenCallContext } from './open-call.ts';

/**
 * Requests whose content is their key (`idempotencyKey: content`): each stands for the open call with the same content, or
 * for one whose answer no caller has had; else it becomes a call of its own.
 *
 * ```
 * request ──a call with its content is open here──> waits for it
 * request ──> claims its content for a new id ──it stands for another──> looks: open, unknown or not delivered──> that call
 *                                             │                          └─delivered──> claims it anew
 *                                             └─claimed──> that new call
 * ```
 * The new id is claimed before the call is stored, so a sidecar that dies in between leaves an id of which nothing is
 * known, and the next request stores its call under that one.
 */
export class ContentKeys {
  readonly #log: CallerLog;
  readonly #patience: BrokerPatience;
  /** By content key. */
  readonly #open = new LinkedHashMap<string, OpenCall>();
  readonly #context: OpenCallContext;
  readonly #keys = new WeakMap<OpenCall, string>();

  constructor(log: CallerLog, bodies: BodyStore, alarms: Alarms, patience: BrokerPatience) {
    this.#log = log;
    this.#patience = patience;
    this.#context = { log, bodies, alarms, patience, closed: (call) => this.#closed(call) };
  }

  /**
   * Lets `hold` wait for the call that its request stands for.
   * @param action the call that the request becomes where it stands for no other, with an id of its own
   * @param instead a call that this content stood for and does not any more
   */
  begin(hold: Hold, action: ActionEvent, key: string, instead?: string): void {
    const open = this.#open.get(key);
    if (open !== undefined) {
      open.join(hold);
      if (instead === undefined) this.#dropBody(action);
      return;
    }
    const claiming = new Claiming();
    hold.begin(claiming);
    this.#claim(hold, claiming, action, key, instead).catch((error: unknown) => {
      if (claiming.left) return;
      if (error instanceof BrokerUnavailable) {
        hold.refuse(error);
        return;
      }
      trouble.publish({ where: 'outbound', error: error instanceof Error ? error : new Error(String(error)) });
      hold.exchange.res.destroy();
    });
  }

  async #claim(hold: Hold, claiming: Claiming, action: ActionEvent, key: string, instead?: string): Promise<void> {
    const { service } = action;
    const claim = { key, service, id: action.id, ...(instead !== undefined && { instead }) };
    const id = await this.#patience.insist(
      () => this.#log.claim(claim),
      () => !claiming.left,
    );
    const open = this.#open.get(key);
    // Nothing is stored of a call that nobody waits for any more.
    if (claiming.left || open?.id === id) {
      if (!claiming.left) open?.join(hold);
      if (instead === undefined) this.#dropBody(action);
      return;
    }
    const wantedAgain = (again: Hold, same: ActionEvent) =>
      this.begin(again, { ...same, id: contentCallId(service) }, key, id);
    const call = new OpenCall(this.#context, { ...action, id }, { isNew: id === action.id, wantedAgain });
    this.#keys.set(call, key);
    this.#open.set(key, call);
    call.join(hold);
    call.carry();
  }

  /** The body that was stored for a request which becomes no call. One that came with others may have gone into theirs. */
  #dropBody({ bodyRef }: ActionEvent): void {
    if (bodyRef === undefined) return;
    this.#context.bodies.forget(bodyRef).catch((error: unknown) => {
      trouble.publish({ where: 'outbound', error: error instanceof Error ? error : new Error(String(error)) });
    });
  }

  #closed(call: OpenCall): void {
    const key = this.#keys.get(call);
    if (key !== undefined && this.#open.get(key) === call) this.#open.delete(key);
  }
}

/** What is waited for until it is known which call it is. */
class Claiming implements Held {
  readonly id = undefined;
  readonly keyed = true;
  /** The caller has gone away, or is answered. */
  left = false;

  leave(): void {
    this.left = true;
  }

  delivered(): void {
    // Nothing is answered under a call that is not known.
  }
}
