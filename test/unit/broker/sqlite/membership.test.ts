import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../../../../sidecar/broker/sqlite/database.ts';
import { Instances } from '../../../../sidecar/broker/sqlite/instances.ts';
import { Ledger } from '../../../../sidecar/broker/sqlite/ledger.ts';
import { Membership } from '../../../../sidecar/broker/sqlite/membership.ts';
import { packAction } from '../../../../sidecar/broker/sqlite/packing.ts';
import { longRetention } from '../../../conformance/backend.ts';
import { anAction } from '../../../conformance/events.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

const second = 1_000;
/** How often an instance looks that has nothing else to do. */
const often = 250;

let folder: TempDir;
let db: DatabaseSync;
let ledger: Ledger;
const members: Membership[] = [];

beforeEach(async () => {
  folder = await createTempDir('membership');
  db = openDatabase({ file: folder.join('holdline.db') });
  ledger = new Ledger(db, 1, longRetention);
});
afterEach(async () => {
  for (const member of members.splice(0)) member.leave();
  db.close();
  await folder.remove();
});

function aMember(service: string): Membership {
  const instances = new Instances(db, folder.join('holdline.db'));
  const member = new Membership(instances, ledger.calls, { service, instance: service });
  members.push(member);
  return member;
}

/** One that holds a lease. */
function aHolder(): Membership {
  const holder = aMember('payments');
  holder.prepare();
  const owner = holder.join();
  ledger.store(packAction(anAction({ id: '018f0000-0000-7000-8000-000000000000' })), Date.now());
  expect(ledger.calls.take('payments', owner, 1, Date.now())).toHaveLength(1);
  holder.joined(owner);
  return holder;
}

test.for([often, 2_500, 5_000])(
  'one that looks every %i ms because it has much to do is not taken for dead',
  (every) => {
    const holder = aHolder();
    const other = aMember('orders');
    for (let now = 0; now < 60 * second; now += often) {
      if (now % every === 0) {
        holder.alive();
        if (holder.look(now).sign) expect(holder.giveSign()).toBe(true);
      }
      expect(other.look(now).gone, `after ${now} ms`).toEqual([]);
    }
  },
);

test('no more than one sign in a second is stored', () => {
  const holder = aHolder();
  let signs = 0;
  for (let now = 0; now < 10 * second; now += 10) {
    holder.alive();
    if (!holder.look(now).sign) continue;
    holder.giveSign();
    signs++;
  }
  expect(signs).toBeGreaterThan(8);
  expect(signs).toBeLessThan(13);
});

test('one whose adapter says nothing any more gives no sign, and is taken for dead', () => {
  const holder = aHolder();
  const other = aMember('orders');
  holder.alive();
  let goneAt: number | undefined;
  for (let now = 0; now < 60 * second && goneAt === undefined; now += often) {
    if (holder.look(now).sign) holder.giveSign();
    if (other.look(now).gone.length > 0) goneAt = now;
  }
  expect(goneAt).toBeGreaterThan(5 * second);
  expect(goneAt).toBeLessThan(8 * second);
});
