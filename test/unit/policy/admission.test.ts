import { expect, test } from 'vitest';
import { refusingLimit } from '../../../sidecar/policy/admission.ts';

const limits = { held: 2, heldBytes: 100 };

test.for<[held: number, heldBytes: number, calls: 0 | 1, bytes: number, refusing: string | undefined]>([
  [0, 0, 1, 0, undefined],
  [1, 0, 1, 100, undefined],
  [2, 0, 1, 0, 'held'],
  [2, 0, 0, 10, undefined],
  [1, 90, 1, 10, undefined],
  [1, 90, 1, 11, 'heldBytes'],
  [1, 90, 0, 11, 'heldBytes'],
  // A call without a body adds nothing to what is full.
  [1, 100, 1, 0, undefined],
  // Limits that a reload made smaller do not cut off what is held.
  [3, 10, 0, 10, undefined],
  [3, 10, 1, 0, 'held'],
])('%i held with %i bytes, %i more with %i: %s', ([held, heldBytes, calls, bytes, refusing]) => {
  expect(refusingLimit({ held, heldBytes }, limits, { calls, bytes })).toBe(refusing);
});
