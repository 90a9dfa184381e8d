import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { StoreArgs, TakenCall } from './protocol.ts';

/** A row of `calls`: a call that is not finished. */
export interface CallRow {
  readonly seq: number;
  readonly id: string;
  readonly round: number;
  readonly caller: string;
  readonly service: string;
  readonly fingerprint: string;
  readonly idempotent: number;
  readonly order_key: string | null;
  readonly blocked: number;
  readonly not_before: number;
  readonly owner: number | null;
  readonly running: number;
  readonly unaccounted: number;
  readonly started: string | null;
}

const columns =
  'seq, id, round, caller, service, fingerprint, idempotent, order_key, blocked, not_before, owner, running, unaccounted, started';

/** The open calls of one namespace, with their action events and their progress. All writing runs within a transaction. */
export class CallTable {
  readonly #db: DatabaseSync;
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, ns: number) {
    this.#db = db;
    this.#ns = ns;
    this.#sql = prepareAll(db, statements);
  }

  byId(id: string): CallRow | undefined {
    return this.#sql.byId.get(this.#ns, id) as unknown as CallRow | undefined;
  }

  /** Whether this delivery is open already. */
  isDelivering(id: string): boolean {
    return this.#sql.deliveryById.get(this.#ns, id) !== undefined;
  }

  bySeq(seq: number): CallRow | undefined {
    return this.#sql.bySeq.get(seq) as unknown as CallRow | undefined;
  }

  /**
   * False where the call waits for another one with its order key.
   * @param broadcast the event that is delivered, where this is a delivery that holds no event of its own
   */
  add(call: StoreArgs, broadcast?: number): boolean {
    const { id, round, caller, service, fingerprint, idempotent, acceptedAt, deadline, orderKey, body, event } = call;
    const blocked = orderKey !== null && this.#sql.firstInOrder.get(this.#ns, service, orderKey) !== undefined;
    const { lastInsertRowid } = this.#sql.add.run(
      this.#ns,
      id,
      round,
      caller,
      service,
      fingerprint,
      Number(idempotent),
      acceptedAt,
      deadline,
      orderKey,
      Number(blocked),
    );
    if (broadcast === undefined) this.#sql.addAction.run(lastInsertRowid, event, body);
    else this.#sql.addDelivery.run(lastInsertRowid, broadcast);
    return !blocked;
  }

  /** Takes a finished call off the log and lets the next one of its order key go. */
  remove(call: CallRow): void {
    this.#sql.remove.run(call.seq);
    this.#sql.removeAction.run(call.seq);
    this.#sql.removeProgress.run(call.seq);
    if (isQueueOfSubscription(call.service)) this.#sql.removeDelivery.run(call.seq);
    if (call.order_key === null) return;
    const next = this.#sql.firstInOrder.get(this.#ns, call.service, call.order_key);
    if (next !== undefined) this.#sql.unblock.run(next['seq']!);
  }

  action(seq: number): Uint8Array {
    const row = this.#sql.action.get(seq) ?? this.#sql.delivered.get(seq);
    if (row === undefined) throw new Error(`call ${seq} has no action event`);
    return row['event'] as Uint8Array;
  }

  progress(seq: number): Uint8Array | undefined {
    return this.#sql.progress.get(seq)?.['event'] as Uint8Array | undefined;
  }

  /** Whether `take` would give anything. */
  hasReady(service: string, now: number): boolean {
    return (
      this.#sql.anyReady.get(this.#ns, service) !== undefined ||
      this.#sql.anyDue.get(this.#ns, service, now) !== undefined
    );
  }

  /** When the next postponed call is due, ms since the epoch. */
  nextDue(service: string): number | undefined {
    return this.#sql.nextDue.get(this.#ns, service)?.['not_before'] as number | undefined;
  }

  /** Leases up to `limit` calls, in the order in which they were accepted. */
  take(service: string, owner: number, limit: number, now: number): TakenCall[] {
    this.#sql.ripen.run(this.#ns, service, now);
    const rows = this.#sql.ready.all(this.#ns, service, limit) as unknown as CallRow[];
    return rows.map(({ seq, started, unaccounted }) => {
      this.#sql.lease.run(owner, seq);
      const progress = this.progress(seq);
      return {
        seq,
        owner,
        event: this.action(seq),
        ...(progress !== undefined && { progress }),
        ...(started !== null && { started }),
        unaccounted: started === null ? unaccounted : 0,
      };
    });
  }

  /** False where the lease has ended. */
  start(seq: number, owner: number, mark: string | null): boolean {
    return this.#sql.start.run(mark, seq, owner).changes === 1;
  }

  /** False where the lease has ended. `progress`: null keeps nothing. */
  postpone(seq: number, owner: number, progress: Uint8Array | null, body: string | null, until: number): boolean {
    // 0 means ready, so a moment in the past is as good as any other that has passed.
    const held = this.#sql.postpone.run(Math.max(1, until), seq, owner).changes === 1;
    if (held && progress !== null) this.#sql.keepProgress.run(seq, progress, body);
    return held;
  }

  /** Back to the queue; only a start that this very lease recorded is taken back. */
  release(seq: number, owner: number): boolean {
    return this.#sql.release.run(seq, owner).changes === 1;
  }

  /** Ends all leases of an instance that is gone. What it had started of idempotent calls stays on account. */
  releaseAll(owner: number): number {
    return Number(this.#sql.releaseAll.run(owner).changes);
  }

  backlog(service: string): { waiting: number; oldest?: number } {
    const waiting = this.#sql.count.get(this.#ns, service)?.['waiting'] as number;
    const oldest = this.#sql.oldest.get(this.#ns, service)?.['accepted_at'] as number | undefined;
    return oldest === undefined ? { waiting } : { waiting, oldest };
  }

  /** The open calls by caller and callee; `first` and `last` are the `seq` of two of them. */
  edges(): { caller: string; service: string; count: number; oldest: number; first: number; last: number }[] {
    return this.#sql.edges.all(this.#ns) as unknown as ReturnType<CallTable['edges']>;
  }

  /** Calls that nobody holds and whose deadline has passed. */
  overdue(now: number, limit: number): CallRow[] {
    return this.#sql.overdue.all(this.#ns, now, limit) as unknown as CallRow[];
  }

  /** Newest first; state is filtered by `running`. */
  list(filter: { caller?: string; service?: string; running?: boolean; limit: number }): CallRow[] {
    const running = filter.running === undefined ? null : Number(filter.running);
    const statement = this.#db.prepare(
      `SELECT ${columns} FROM calls WHERE ns = :ns AND instr(service, '/') = 0 AND (:caller IS NULL OR caller = :caller) ` +
        'AND (:service IS NULL OR service = :service) AND (:running IS NULL OR running = :running) ' +
        'ORDER BY seq DESC LIMIT :limit',
    );
    const { caller = null, service = null, limit } = filter;
    return statement.all({ ns: this.#ns, caller, service, running, limit }) as unknown as CallRow[];
  }
}

/** The service under which the deliveries of a subscription are kept; no real service has a name with a slash. */
export function queueOf(service: string, subscription: string): string {
  return `${service}/${subscription}`;
}

function isQueueOfSubscription(service: string): boolean {
  return service.includes('/');
}

const statements = {
  // Deliveries are nobody's calls.
  byId: `SELECT ${columns} FROM calls WHERE ns = ? AND id = ? AND instr(service, '/') = 0`,
  deliveryById: 'SELECT 1 FROM calls WHERE ns = ? AND id = ?',
  addDelivery: 'INSERT INTO deliveries (seq, broadcast) VALUES (?, ?)',
  removeDelivery: 'DELETE FROM deliveries WHERE seq = ?',
  delivered: `SELECT broadcasts.event FROM deliveries JOIN broadcasts ON broadcasts.seq = deliveries.broadcast
    WHERE deliveries.seq = ?`,
  edges: `SELECT caller, service, count(*) AS count, min(accepted_at) AS oldest, min(seq) AS first, max(seq) AS last
    FROM calls WHERE ns = ? AND instr(service, '/') = 0 GROUP BY caller, service`,
  bySeq: `SELECT ${columns} FROM calls WHERE seq = ?`,
  add: `INSERT INTO calls (ns, id, round, caller, service, fingerprint, idempotent, accepted_at, deadline, order_key, blocked)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  addAction: 'INSERT INTO actions (seq, event, body) VALUES (?, ?, ?)',
  remove: 'DELETE FROM calls WHERE seq = ?',
  removeAction: 'DELETE FROM actions WHERE seq = ?',
  removeProgress: 'DELETE FROM progress WHERE seq = ?',
  firstInOrder: 'SELECT seq FROM calls WHERE ns = ? AND service = ? AND order_key = ? ORDER BY seq LIMIT 1',
  unblock: 'UPDATE calls SET blocked = 0 WHERE seq = ?',
  action: 'SELECT event FROM actions WHERE seq = ?',
  progress: 'SELECT event FROM progress WHERE seq = ?',
  anyReady:
    'SELECT 1 FROM calls WHERE ns = ? AND service = ? AND owner IS NULL AND blocked = 0 AND not_before = 0 LIMIT 1',
  anyDue: `SELECT 1 FROM calls INDEXED BY calls_postponed
    WHERE ns = ? AND service = ? AND owner IS NULL AND not_before > 0 AND not_before <= ? LIMIT 1`,
  nextDue: `SELECT not_before FROM calls INDEXED BY calls_postponed
    WHERE ns = ? AND service = ? AND owner IS NULL AND not_before > 0 ORDER BY not_before LIMIT 1`,
  ripen: `UPDATE calls INDEXED BY calls_postponed SET not_before = 0
    WHERE ns = ? AND service = ? AND owner IS NULL AND not_before > 0 AND not_before <= ?`,
  ready: `SELECT ${columns} FROM calls INDEXED BY calls_ready
    WHERE ns = ? AND service = ? AND owner IS NULL AND blocked = 0 AND not_before = 0 ORDER BY seq LIMIT ?`,
  lease: 'UPDATE calls SET owner = ?, running = 0 WHERE seq = ?',
  start: 'UPDATE calls SET running = 1, started = ? WHERE seq = ? AND owner = ?',
  postpone: `UPDATE calls SET owner = NULL, running = 0, started = NULL, unaccounted = 0, not_before = ?
    WHERE seq = ? AND owner = ?`,
  keepProgress:
    'INSERT INTO progress (seq, event, body) VALUES (?, ?, ?) ON CONFLICT (seq) DO UPDATE SET event = excluded.event, body = excluded.body',
  release: `UPDATE calls SET owner = NULL, started = CASE running WHEN 1 THEN NULL ELSE started END, running = 0
    WHERE seq = ? AND owner = ?`,
  releaseAll: `UPDATE calls SET owner = NULL, unaccounted = unaccounted + (running AND started IS NULL), running = 0
    WHERE owner = ?`,
  count: 'SELECT count(*) AS waiting FROM calls WHERE ns = ? AND service = ?',
  oldest: 'SELECT accepted_at FROM calls INDEXED BY calls_of_service WHERE ns = ? AND service = ? ORDER BY seq LIMIT 1',
  overdue: `SELECT ${columns} FROM calls INDEXED BY calls_waiting WHERE ns = ? AND owner IS NULL AND deadline <= ? LIMIT ?`,
};

/** Prepares a whole set of statements; a mistake in one shows when the file is opened and not when it is needed. */
export function prepareAll<K extends string>(db: DatabaseSync, texts: Record<K, string>): Record<K, StatementSync> {
  const prepared: Partial<Record<K, StatementSync>> = {};
  for (const [name, text] of Object.entries<string>(texts)) prepared[name as K] = db.prepare(text);
  return prepared as Record<K, StatementSync>;
}
