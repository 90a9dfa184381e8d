import { expect, test } from 'vitest';
import { parsePrefer, type Preferences } from '../../../sidecar/policy/prefer.ts';

test.for<[values: string[], expected: Preferences]>([
  [[], { respondAsync: false }],
  [['respond-async'], { respondAsync: true }],
  [['Respond-Async'], { respondAsync: true }],
  [['respond-async, wait=10'], { respondAsync: true, wait: 10_000 }],
  [['wait=10', 'respond-async'], { respondAsync: true, wait: 10_000 }],
  [['WAIT = 3'], { respondAsync: false, wait: 3000 }],
  [['wait="4"'], { respondAsync: false, wait: 4000 }],
  [['wait=1, wait=2'], { respondAsync: false, wait: 1000 }],
  [['wait=1', 'wait=2'], { respondAsync: false, wait: 1000 }],
  [['wait=0'], { respondAsync: false, wait: 0 }],
  [['wait=-1'], { respondAsync: false }],
  [['wait=1.5'], { respondAsync: false }],
  [['wait=soon'], { respondAsync: false }],
  [['wait'], { respondAsync: false }],
  [['wait=99999999999999999999'], { respondAsync: false }],
  [['return=minimal; foo="a, respond-async"'], { respondAsync: false }],
  [['handling="x\\", respond-async"'], { respondAsync: false }],
  [['handling="x\\", y", respond-async'], { respondAsync: true }],
  [['respond-async; foo=bar, wait=5;x'], { respondAsync: true, wait: 5000 }],
  [['respond-asynchronously'], { respondAsync: false }],
  [[', ,respond-async,'], { respondAsync: true }],
  [['"respond-async'], { respondAsync: false }],
])('%j', ([values, expected]) => {
  expect(parsePrefer(values)).toEqual(expected);
});
