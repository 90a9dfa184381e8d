import { describe, expect, test } from 'vitest';
import type { Candidate } from '../backend.ts';
import { useStage } from '../stage.ts';

export function promising(candidate: Candidate): void {
  describe('the promise', () => {
    const stage = useStage(candidate);

    test('it names engine and version, and says in words what it is worth', async () => {
      const orders = await stage.open('orders');
      const promise = await orders.promise();
      expect(promise.engine).not.toBe('');
      expect(promise.version).toMatch(/^\d+\.\d+/);
      expect(promise.replicas).toBeGreaterThanOrEqual(1);
      expect(promise.survives.sidecarKill).toBe(true);
      expect(promise.notes.length).toBeGreaterThan(0);
    });

    test('an id that is made here is told apart from any other', async () => {
      const log = (await stage.open('orders')).caller('orders');
      const other = (await stage.open('orders', 'orders-2')).caller('orders');
      const ids = [log, other].flatMap((each) => Array.from({ length: 500 }, () => each.newCallId('payments')));
      expect(new Set(ids).size).toBe(1_000);
    });
  });
}
