import { expect, test } from 'vitest';
import { LinkedList } from '../../../sidecar/collections/linked-list.ts';

test('values are in the order in which they were added, wherever others were taken off', () => {
  const list = new LinkedList<string>();
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((value) => list.add(value));
  expect(list.values()).toEqual(['a', 'b', 'c', 'd']);
  expect(b!.remove()).toBe(true);
  expect(list.values()).toEqual(['a', 'c', 'd']);
  expect(a!.remove()).toBe(true);
  expect(d!.remove()).toBe(true);
  list.add('e');
  expect([list.size, list.values()]).toEqual([2, ['c', 'e']]);
  expect(c!.value).toBe('c');
});

test('the same place is taken off once', () => {
  const list = new LinkedList<number>();
  const one = list.add(1);
  list.add(1);
  expect([one.remove(), one.remove(), list.size]).toEqual([true, false, 1]);
});

test('shift takes off the eldest, also while others are added and taken off', () => {
  const list = new LinkedList<number>();
  list.add(1);
  const two = list.add(2);
  expect(list.shift()).toBe(1);
  list.add(3);
  two.remove();
  expect([list.shift(), list.shift(), list.size]).toEqual([3, undefined, 0]);
});

test('what is off keeps nothing that is on', () => {
  const list = new LinkedList<number>();
  const [one] = [list.add(1), list.add(2)];
  one.remove();
  expect([one.before, one.after]).toEqual([undefined, undefined]);
});
