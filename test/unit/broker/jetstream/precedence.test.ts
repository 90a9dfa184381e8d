import { describe, expect, test } from 'vitest';
import { endsRound, replaces } from '../../../../sidecar/broker/jetstream/precedence.ts';
import type { Outcome } from '../../../../sidecar/model/call.ts';

const claim = (outcome: Outcome, round: number) => ({ outcome, call: { round } });

describe('a stored response is replaced', () => {
  test.each<[Outcome, number, Outcome, number, boolean]>([
    ['answered', 1, 'answered', 1, false],
    ['answered', 1, 'answered', 2, false],
    ['cancelled', 1, 'answered', 1, false],
    ['cancelled', 1, 'exhausted', 2, false],
    ['exhausted', 1, 'answered', 1, true],
    ['outcome-unknown', 1, 'answered', 1, true],
    ['exhausted', 1, 'deadline-exceeded', 1, false],
    ['exhausted', 1, 'cancelled', 1, false],
    ['exhausted', 1, 'deadline-exceeded', 2, true],
    ['exhausted', 2, 'answered', 1, false],
    ['discarded', 1, 'answered', 1, false],
    ['discarded', 1, 'answered', 2, true],
  ])('%s of round %d by %s of round %d: %s', (stored, storedRound, incoming, round, expected) => {
    expect(replaces(claim(incoming, round), claim(stored, storedRound))).toBe(expected);
  });
});

describe('a stored response ends a round', () => {
  test.each<[Outcome, number, number, boolean]>([
    ['answered', 1, 1, true],
    ['answered', 1, 2, true],
    ['cancelled', 1, 2, true],
    ['exhausted', 1, 1, true],
    ['exhausted', 1, 2, false],
    ['exhausted', 3, 2, true],
    ['discarded', 1, 1, true],
    ['discarded', 1, 2, false],
  ])('%s of round %d ends round %d: %s', (stored, storedRound, round, expected) => {
    expect(endsRound(claim(stored, storedRound), round)).toBe(expected);
  });
});
