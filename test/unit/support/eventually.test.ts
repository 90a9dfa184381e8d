import { expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';

test('tries until the check holds and returns its result', async () => {
  let tries = 0;
  const result = await eventually(
    () => {
      if (++tries < 3) throw new Error('not yet');
      return tries;
    },
    { what: 'the third try', intervalMs: 1 },
  );
  expect(result).toBe(3);
});

test('says what was awaited and how the last try failed', async () => {
  const check = () => Promise.reject(new Error('still red'));
  await expect(eventually(check, { what: 'a green light', timeoutMs: 30 })).rejects.toThrow(
    /waited \d+ ms for a green light: \d+ tries, last failure: still red/,
  );
});

test('gives up on a try that never settles', async () => {
  const check = () => new Promise<never>(() => {});
  await expect(eventually(check, { what: 'an answer', timeoutMs: 30 })).rejects.toThrow(/an answer.*not settled/);
});

test('stops at once when waiting has become pointless', async () => {
  const check = () => Promise.reject(new Error('refused'));
  const pointless = () => 'the server has ended';
  await expect(eventually(check, { what: 'the server', pointless })).rejects.toThrow(
    'waited for the server, but the server has ended',
  );
});
