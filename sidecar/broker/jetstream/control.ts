import type { Connection } from './connection.ts';
import type { Subjects } from './subjects.ts';

/**
 * Questions to the live sidecars of a callee, over plain NATS messages. Nothing durable rests on an answer; a sidecar that does not
 * answer in time counts as not there.
 *
 * - `locate`: which of these calls are in your hands, and which of them have been sent to the service?
 * - `withdraw`: the same, and let go of those of which nothing was sent. A sidecar that does not hold a call remembers for a
 *   while that it must look twice before it starts it.
 */
export interface ControlRequest {
  readonly op: 'locate' | 'withdraw';
  readonly ids: readonly string[];
}

export interface ControlReply {
  readonly instance: string;
  /** In hand, and nothing sent in this delivery. */
  readonly held: readonly string[];
  /** An attempt is running. */
  readonly sending: readonly string[];
}

/** How long answers are collected, ms. */
const PATIENCE = 250;

/** Asks all sidecars of `callee`; resolves with the answers that came in time, at once when there is nobody. */
export function ask(
  connection: Connection,
  subjects: Subjects,
  callee: string,
  request: ControlRequest,
): Promise<ControlReply[]> {
  return new Promise((resolve) => {
    const nc = connection.nc;
    if (nc === undefined) {
      resolve([]);
      return;
    }
    const replies: ControlReply[] = [];
    const inbox = connection.createInbox();
    const stop = connection.subscribe(inbox, (msg) => {
      if (msg.headers?.code === 503) {
        done();
        return;
      }
      replies.push(msg.json());
    });
    const timer = setTimeout(() => done(), PATIENCE);
    function done(): void {
      clearTimeout(timer);
      stop();
      resolve(replies);
    }
    nc.publish(subjects.control(callee), JSON.stringify(request), { reply: inbox });
  });
}

/** Answers such questions for one sidecar, until the returned function is called. */
export function answerControl(
  connection: Connection,
  subjects: Subjects,
  callee: string,
  reply: (request: ControlRequest) => ControlReply,
): () => void {
  return connection.subscribe(subjects.control(callee), (msg) => {
    msg.respond(JSON.stringify(reply(msg.json())));
  });
}
