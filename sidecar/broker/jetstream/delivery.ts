/** What the acknowledgement subject of a delivered message says of it. */
export interface Delivery {
  readonly seq: number;
  /** How often the server remembers having delivered it, this time included. It may have forgotten some (research §0). */
  readonly deliveries: number;
  readonly pending: number;
}

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, or the newer form with a domain and
 * an account hash after `ACK` and possibly a token at the end (NATS ADR-15).
 * @throws {TypeError} for any other subject
 */
export function readDelivery(reply: string): Delivery {
  const tokens = reply.split('.');
  const first = tokens.length === 9 ? 4 : 6;
  const deliveries = Number(tokens[first]);
  const seq = Number(tokens[first + 1]);
  const pending = Number(tokens[first + 4]);
  if (tokens.length < 9 || tokens[1] !== 'ACK' || !Number.isInteger(deliveries) || !Number.isInteger(seq)) {
    throw new TypeError(`not an acknowledgement subject: ${reply}`);
  }
  return { seq, deliveries, pending };
}
