import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RecentKeys } from '../../../../sidecar/broker/jetstream/recent.ts';

test('the last keys are remembered, and no more than twice as many', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.array(fc.integer({ min: 0, max: 60 })), (size, numbers) => {
      const recent = new RecentKeys(size);
      const added: string[] = [];
      for (const number of numbers) {
        recent.add(String(number));
        added.push(String(number));
        for (const key of added.slice(-size)) expect(recent.has(key)).toBe(true);
        const known = new Set(added.filter((key) => recent.has(key)));
        expect(known.size).toBeLessThanOrEqual(2 * size);
      }
      expect(recent.has('never')).toBe(false);
    }),
  );
});
