import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LinkedHashMap } from '../../../sidecar/collections/linked-hash-map.ts';

type Step = { readonly do: 'set' | 'delete' | 'get'; readonly key: string };

const key = fc.oneof(
  fc.nat(40).map((n) => n.toString(36)),
  // Alike in all that makes the hash.
  fc.nat(5).map((n) => `${n}-0123456789ab`),
  fc.string(),
);
const step: fc.Arbitrary<Step> = fc.record({ do: fc.constantFrom('set', 'set', 'delete', 'get'), key });

test('it does what a Map does', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const map = new LinkedHashMap<string, number>();
      const model = new Map<string, number>();
      for (const [n, { do: what, key: of }] of steps.entries()) {
        if (what === 'set') {
          map.set(of, n);
          model.set(of, n);
        } else if (what === 'delete') expect(map.delete(of)).toBe(model.delete(of));
        else expect([map.get(of), map.has(of)]).toEqual([model.get(of), model.has(of)]);
        expect(map.size).toBe(model.size);
      }
      expect(map.entries()).toEqual([...model]);
      expect(map.values()).toEqual([...model.values()]);
      map.clear();
      expect([map.size, map.entries()]).toEqual([0, []]);
    }),
  );
});

test('numbers are keys, too, also more of them than there were buckets', () => {
  const map = new LinkedHashMap<number, string>();
  for (let n = 0; n < 1000; n++) map.set(n, String(n));
  expect(Array.from({ length: 1000 }, (_, n) => map.get(n))).toEqual(Array.from({ length: 1000 }, (_, n) => String(n)));
  expect(map.get(1000)).toBeUndefined();
});

test('entries are a snapshot: what is taken off meanwhile is still in it', () => {
  const map = new LinkedHashMap<string, number>();
  for (const [n, of] of ['a', 'b', 'c'].entries()) map.set(of, n);
  const seen: string[] = [];
  for (const [of] of map.entries()) {
    seen.push(of);
    map.delete('b');
    map.set('d', 3);
  }
  expect(seen).toEqual(['a', 'b', 'c']);
  expect(map.entries()).toEqual([
    ['a', 0],
    ['c', 2],
    ['d', 3],
  ]);
});
