import { expect, test } from 'vitest';
import { OrderIndex, type Queued } from '../../../../sidecar/broker/jetstream/order-index.ts';

const call = (seq: number, deadline = 1_000): Queued => ({ seq, caller: 'orders', id: `call-${seq}`, deadline });

test('the first of a key is the one that was added first, until it is dropped', () => {
  const index = new OrderIndex();
  expect(index.add('a', call(1))).toBe(false);
  expect(index.add('b', call(2))).toBe(false);
  expect(index.add('a', call(3))).toBe(true);
  expect(index.first('a')?.seq).toBe(1);
  index.drop('a', 1);
  expect(index.first('a')?.seq).toBe(3);
  expect(index.first('b')?.seq).toBe(2);
});

test('only the first is dropped, and a key without calls is forgotten', () => {
  const index = new OrderIndex();
  index.add('a', call(1));
  index.add('a', call(2));
  index.drop('a', 2);
  index.drop('b', 1);
  expect(index.first('a')?.seq).toBe(1);
  index.drop('a', 1);
  index.drop('a', 2);
  expect(index.first('a')).toBeUndefined();
  expect([...index.orders()]).toEqual([]);
});

test('those behind the first are counted', () => {
  const index = new OrderIndex();
  for (const seq of [1, 2, 3]) index.add('a', call(seq));
  index.add('b', call(4));
  expect(index.waiting).toBe(2);
  index.drop('a', 1);
  index.drop('b', 4);
  expect(index.waiting).toBe(1);
  index.clear(5);
  expect(index).toMatchObject({ waiting: 0, next: 5 });
  expect(index.first('a')).toBeUndefined();
});

test('overdue are those whose deadline has passed, but no first of a key', () => {
  const index = new OrderIndex();
  index.add('a', call(1, 10));
  index.add('a', call(2, 99));
  index.add('a', call(3, 50));
  index.add('b', call(4, 10));
  index.add('a', call(5, 40));
  const seqs = (now: number, limit: number) => index.overdue(now, limit).map((found) => found.call.seq);
  expect(seqs(50, 10)).toEqual([3, 5]);
  expect(seqs(50, 1)).toEqual([3]);
  expect(seqs(9, 10)).toEqual([]);
});

test('the keys may be read on while others come and go', () => {
  const index = new OrderIndex();
  for (const order of ['a', 'b', 'c']) index.add(order, call(1));
  const orders = index.orders();
  expect(orders.next().value).toBe('a');
  index.drop('b', 1);
  index.add('d', call(2));
  expect([...orders]).toEqual(['c', 'd']);
});
