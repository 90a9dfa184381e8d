import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CallIds,
  contentCallId,
  contentKey,
  type ContentScope,
  fingerprint,
  isCallId,
  keyedCallId,
  type KeyScope,
  newInstanceTag,
  readCallId,
  serviceHint,
} from '../../../sidecar/model/call-id.ts';
import { serviceName } from './arbitraries.ts';

const instanceTag = fc.integer({ min: 0, max: 2 ** 20 - 1 }).map((bits) => bits.toString(16).padStart(5, '0'));
const moment = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const text = fc.string({ maxLength: 12 });
const keyScope: fc.Arbitrary<KeyScope> = fc.record({
  caller: text,
  service: text,
  method: text,
  path: text,
  key: text,
});

/** RFC 9562, section 4: version in octet 6, variant `10` in octet 8. */
function versionAndVariant(id: string): { version: number; variant: number } {
  const bytes = Buffer.from(id.replaceAll('-', ''), 'hex');
  return { version: bytes[6]! >> 4, variant: bytes[8]! >> 6 };
}

describe('the id of a new call', () => {
  test('is a UUID of version 7 that carries its time in ms in the first 48 bits (RFC 9562, section 5.7)', () => {
    fc.assert(
      fc.property(instanceTag, serviceName, moment, (tag, service, now) => {
        const id = new CallIds(tag).next(service, now);
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
        expect(versionAndVariant(id)).toEqual({ version: 7, variant: 0b10 });
        expect(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(now);
        expect(isCallId(id)).toBe(true);
      }),
    );
  });

  test('tells its instance and hints at its callee', () => {
    fc.assert(
      fc.property(instanceTag, serviceName, moment, (tag, service, now) => {
        const id = new CallIds(tag).next(service, now);
        expect(readCallId(id)).toEqual({ keyed: false, hint: serviceHint(service), instance: tag });
      }),
    );
  });

  test('is never made twice, however many a millisecond brings', () => {
    const ids = new CallIds(newInstanceTag());
    const many = 100_000;
    const made = new Set<string>();
    for (let i = 0; i < many; i++) made.add(ids.next('payments', 1_700_000_000_000));
    expect(made.size).toBe(many);
  });

  test('is not made by two instances either', () => {
    const [one, other] = [new CallIds('00000'), new CallIds('00001')];
    const made = new Set<string>();
    for (let i = 0; i < 20_000; i++) made.add(one.next('payments', 1)).add(other.next('payments', 1));
    expect(made.size).toBe(40_000);
  });

  test('sorts by time', () => {
    fc.assert(
      fc.property(instanceTag, serviceName, moment, moment, (tag, service, a, b) => {
        fc.pre(a < b);
        const ids = new CallIds(tag);
        const later = ids.next(service, b);
        expect(ids.next(service, a) < later).toBe(true);
      }),
    );
  });
});

test('an instance tag is five hex digits', () => {
  for (let i = 0; i < 1_000; i++) expect(newInstanceTag()).toMatch(/^[0-9a-f]{5}$/);
});

describe('the id of a keyed call', () => {
  test('is a UUID of version 8 that belongs to no instance and hints at its callee (RFC 9562, section 5.8)', () => {
    fc.assert(
      fc.property(keyScope, (scope) => {
        const id = keyedCallId(scope);
        expect(versionAndVariant(id)).toEqual({ version: 8, variant: 0b10 });
        expect(isCallId(id)).toBe(true);
        expect(readCallId(id)).toEqual({ keyed: true, hint: serviceHint(scope.service) });
      }),
    );
  });

  test('is the same for the same scope and key, whoever computes it', () => {
    fc.assert(
      fc.property(keyScope, (scope) => {
        expect(keyedCallId({ ...scope })).toBe(keyedCallId(scope));
      }),
    );
    // A stored id must still be found by the next release.
    const scope = { caller: 'orders', service: 'payments', method: 'POST', path: '/charges', key: 'k-1' };
    expect(keyedCallId(scope)).toBe('8afe0f2a-761b-8729-8ec5-38792dae88c2');
  });

  test('is another where any part differs', () => {
    fc.assert(
      fc.property(keyScope, keyScope, (a, b) => {
        fc.pre(JSON.stringify(a) !== JSON.stringify(b));
        expect(keyedCallId(a)).not.toBe(keyedCallId(b));
      }),
    );
  });

  test('keeps parts apart, wherever their border is', () => {
    fc.assert(
      fc.property(keyScope, fc.nat({ max: 12 }), (scope, at) => {
        const joined = scope.path + scope.key;
        const [path, key] = [joined.slice(0, at), joined.slice(at)];
        fc.pre(path !== scope.path);
        expect(keyedCallId({ ...scope, path, key })).not.toBe(keyedCallId(scope));
      }),
    );
  });
});

describe('a fingerprint', () => {
  const request = fc.tuple(text, text, fc.uint8Array({ maxLength: 20 }));

  test('is the same for the same target, content type and body', () => {
    fc.assert(
      fc.property(request, ([target, type, body]) => {
        expect(fingerprint(target, type, Uint8Array.from(body))).toBe(fingerprint(target, type, body));
      }),
    );
  });

  test('is another where any of them differs', () => {
    fc.assert(
      fc.property(request, request, (a, b) => {
        fc.pre(JSON.stringify(a) !== JSON.stringify(b));
        expect(fingerprint(...a)).not.toBe(fingerprint(...b));
      }),
    );
  });

  test('keeps target, content type and body apart, wherever their borders are', () => {
    fc.assert(
      fc.property(text, fc.nat({ max: 12 }), fc.nat({ max: 12 }), (all, i, j) => {
        const cut = (at: number) => fingerprint(all.slice(0, at), all.slice(at), new Uint8Array(0));
        fc.pre(all.slice(0, i) !== all.slice(0, j));
        expect(cut(i)).not.toBe(cut(j));
        const bodyCut = (at: number) => fingerprint('', all.slice(0, at), Buffer.from(all.slice(at)));
        expect(bodyCut(i)).not.toBe(bodyCut(j));
      }),
    );
  });
});

test.each([
  '',
  'x',
  '01890a5d-ac96-474b-8cce-b302099a8057',
  '01890a5d-ac96-774b-0cce-b302099a8057',
  '01890A5D-AC96-774B-8CCE-B302099A8057',
  '01890a5dac96774b8cceb302099a8057',
  ' 01890a5d-ac96-774b-8cce-b302099a8057',
  '01890a5d-ac96-774b-8cce-b302099a8057\n',
  '01890a5d-ac96-774b-8cce-b302099a805*',
])('%j is no call id: it would end up in a subject', (candidate) => {
  expect(isCallId(candidate)).toBe(false);
});

describe('the key that a content makes', () => {
  const scope: fc.Arbitrary<ContentScope> = fc.record({
    caller: text,
    service: text,
    host: fc.stringMatching(/^[a-z0-9.-]{0,12}$/),
    method: text,
    fingerprint: text,
    credentials: fc.tuple(text, text),
  });

  test('is one for one request and another for another one, whatever the difference', () => {
    fc.assert(
      fc.property(scope, scope, (a, b) => {
        expect(contentKey(a) === contentKey(b)).toBe(JSON.stringify(a) === JSON.stringify(b));
      }),
    );
  });

  test.for<[part: string, different: Partial<ContentScope>]>([
    ['caller', { caller: 'shop' }],
    ['callee', { service: 'refunds' }],
    ['host', { host: 'other.example' }],
    ['method', { method: 'PUT' }],
    ['content', { fingerprint: 'other' }],
    ['user', { credentials: ['Bearer b', ''] }],
    ['session', { credentials: ['Bearer a', 'id=1'] }],
  ])('another %s is another request', ([, different]) => {
    const charge: ContentScope = {
      caller: 'orders',
      service: 'payments',
      host: 'payments',
      method: 'POST',
      fingerprint: 'f',
      credentials: ['Bearer a', ''],
    };
    expect(contentKey(charge)).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(contentKey({ ...charge, ...different })).not.toBe(contentKey(charge));
    expect(contentKey({ ...charge, host: 'PAYMENTS' })).toBe(contentKey(charge));
  });

  test('its calls have ids of version 8 that hint at their callee, and never the same one', () => {
    fc.assert(
      fc.property(serviceName, (service) => {
        const id = contentCallId(service);
        expect(isCallId(id)).toBe(true);
        expect(readCallId(id)).toEqual({ keyed: true, hint: serviceHint(service) });
        expect(contentCallId(service)).not.toBe(id);
      }),
    );
  });
});
