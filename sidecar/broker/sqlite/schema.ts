/**
 * The tables, as a list of forward migrations: entry n brings a file from version n to n + 1. Entries are never edited
 * once released, only added. The version of a file is its `user_version`.
 *
 * An `event` column holds the bytes that `model/codec.ts` makes. What a row means:
 * - `calls`: a call that is stored and not finished. Its row goes when the response event is stored.
 *   `blocked`: an earlier call with the same order key is open. `not_before`: 0 is now; a call that is due gets 0.
 *   `owner`: the instance that holds the lease. `running`: that instance has started an attempt.
 *   `unaccounted`: started attempts of idempotent calls that died with their instance. `started`: the start mark of a
 *   guarded call.
 * - `actions`: the stored request. Apart from `calls`, because SQLite writes a whole row at each update, body included.
 * - `progress`: what postponing remembered.
 * - `responses`: the one response event of a call, with the moment up to which it is kept.
 * - `dead_letters`: the letter, with the action event for its replay.
 * - `broadcasts`: an event for any number of subscribers, kept until `expires_at`, and while a delivery of it is open.
 * - `subscriptions`: `position` is the last event of which the subscription has, or needs, no delivery. `ended_at`: since then
 *   its subscriber wants no more. `order_by`: JSON of where an event has its order key.
 * - `deliveries`: a call that is the delivery of an event to a subscription has its event here instead of in `actions`. Its
 *   row in `calls` has `<service>/<subscription>` as its service, so that everything about leases is the same.
 * - `content_keys`: the call that a content stands for, stored or not. Its row goes when it is past the retention of keyed
 *   responses and nothing is left of the call.
 * - `bodies`: a body that is too large for its event. `free_at`: from then on it is deleted unless an event refers to it;
 *   null: one does, as far as is known. The `body` columns are those references.
 * - `chunks`: the parts of a body.
 * - `attachments`: a sidecar led another caller to this keyed call; each way once.
 * - `instances`: who takes leases; `token` names the lock file that tells whether the instance lives, `beat` counts its
 *   signs of life.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE namespaces (ns INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

  CREATE TABLE instances (
    owner INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    instance TEXT NOT NULL,
    beat INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  CREATE TABLE calls (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    round INTEGER NOT NULL,
    caller TEXT NOT NULL,
    service TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    idempotent INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    order_key TEXT,
    blocked INTEGER NOT NULL DEFAULT 0,
    not_before INTEGER NOT NULL DEFAULT 0,
    owner INTEGER,
    running INTEGER NOT NULL DEFAULT 0,
    unaccounted INTEGER NOT NULL DEFAULT 0,
    started TEXT,
    UNIQUE (ns, id)
  ) STRICT;
  -- Every index ends in seq, the accepted order, because that is the row id.
  CREATE INDEX calls_of_service ON calls (ns, service);
  CREATE INDEX calls_ready ON calls (ns, service) WHERE owner IS NULL AND blocked = 0 AND not_before = 0;
  CREATE INDEX calls_postponed ON calls (ns, service, not_before) WHERE owner IS NULL AND not_before > 0;
  CREATE INDEX calls_held ON calls (owner) WHERE owner IS NOT NULL;
  CREATE INDEX calls_waiting ON calls (ns, deadline) WHERE owner IS NULL;
  CREATE INDEX calls_ordered ON calls (ns, service, order_key) WHERE order_key IS NOT NULL;

  CREATE TABLE actions (seq INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT;
  CREATE TABLE progress (seq INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT;

  CREATE TABLE responses (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    round INTEGER NOT NULL,
    caller TEXT NOT NULL,
    service TEXT NOT NULL,
    outcome TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    event BLOB NOT NULL,
    UNIQUE (ns, id)
  ) STRICT;
  CREATE INDEX responses_of_caller ON responses (ns, caller);
  CREATE INDEX responses_expiry ON responses (expires_at);

  CREATE TABLE dead_letters (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    service TEXT NOT NULL,
    route TEXT NOT NULL,
    reason TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    event BLOB NOT NULL,
    UNIQUE (ns, id)
  ) STRICT;
  CREATE INDEX dead_letters_expiry ON dead_letters (expires_at);
  `,
  `
  CREATE TABLE broadcasts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    topic TEXT NOT NULL,
    publisher TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    event BLOB NOT NULL,
    UNIQUE (ns, id)
  ) STRICT;
  CREATE INDEX broadcasts_in_order ON broadcasts (ns);
  CREATE INDEX broadcasts_expiry ON broadcasts (expires_at);

  CREATE TABLE subscriptions (
    sub INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    service TEXT NOT NULL,
    name TEXT NOT NULL,
    topic TEXT NOT NULL,
    position INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    UNIQUE (ns, service, name)
  ) STRICT;

  CREATE TABLE deliveries (seq INTEGER PRIMARY KEY, broadcast INTEGER NOT NULL) STRICT;
  CREATE INDEX deliveries_of_broadcast ON deliveries (broadcast);
  `,
  `
  CREATE TABLE content_keys (
    ns INTEGER NOT NULL,
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    PRIMARY KEY (ns, caller, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX content_keys_age ON content_keys (claimed_at);
  `,
  `
  CREATE TABLE bodies (
    body INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    free_at INTEGER,
    UNIQUE (ns, id)
  ) STRICT;
  CREATE INDEX bodies_free ON bodies (free_at) WHERE free_at IS NOT NULL;
  CREATE TABLE chunks (body INTEGER NOT NULL, n INTEGER NOT NULL, bytes BLOB NOT NULL, UNIQUE (body, n)) STRICT;

  ${['actions', 'progress', 'responses', 'dead_letters'].map(bodyColumn).join('\n')}
  CREATE TRIGGER progress_body_changed AFTER UPDATE OF body ON progress WHEN OLD.body IS NOT NEW.body BEGIN
    UPDATE bodies SET free_at = 0 WHERE id = OLD.body;
    UPDATE bodies SET free_at = NULL WHERE id = NEW.body;
  END;
  `,
  `
  CREATE TABLE attachments (
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    instance TEXT NOT NULL,
    how TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (ns, id, instance, how)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX attachments_age ON attachments (at);
  `,
  `
  ALTER TABLE subscriptions ADD COLUMN ended_at INTEGER;
  `,
  `
  ALTER TABLE subscriptions ADD COLUMN order_by TEXT;
  `,
];

function bodyColumn(table: string): string {
  return `
  ALTER TABLE ${table} ADD COLUMN body TEXT;
  CREATE INDEX ${table}_body ON ${table} (body) WHERE body IS NOT NULL;
  CREATE TRIGGER ${table}_body_used AFTER INSERT ON ${table} WHEN NEW.body IS NOT NULL BEGIN
    UPDATE bodies SET free_at = NULL WHERE id = NEW.body;
  END;
  CREATE TRIGGER ${table}_body_freed AFTER DELETE ON ${table} WHEN OLD.body IS NOT NULL BEGIN
    UPDATE bodies SET free_at = 0 WHERE id = OLD.body;
  END;`;
}

/** Written into the file's header, so that another program's database is never taken for a log: "HLDN". */
export const applicationId = 0x48_4c_44_4e;
