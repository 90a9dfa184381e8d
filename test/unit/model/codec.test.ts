import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  decodeAction,
  decodeBroadcast,
  decodeDeadLetter,
  decodeProgress,
  decodeQueued,
  decodeResponse,
  encodeAction,
  encodeBroadcast,
  encodeDeadLetter,
  encodeProgress,
  encodeResponse,
  EventFormatError,
  FORMAT_VERSION,
} from '../../../sidecar/model/codec.ts';
import { actionEvent, broadcastEvent, deadLetter, progress, responseEvent } from './arbitraries.ts';

/** An event as a program without Holdline's code would write it. */
function frame(head: unknown, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = new TextEncoder().encode(typeof head === 'string' ? head : JSON.stringify(head));
  const bytes = new Uint8Array(4 + text.length + body.length);
  new DataView(bytes.buffer).setUint32(0, text.length);
  bytes.set(text, 4);
  bytes.set(body, 4 + text.length);
  return bytes;
}

function headOf(bytes: Uint8Array): Record<string, unknown> {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as Record<string, unknown>;
}

/** Bodies come back as views of another class; what counts is their bytes. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
}

function failureOf(action: () => unknown): unknown {
  try {
    action();
    return undefined;
  } catch (error) {
    return error;
  }
}

const decoders = {
  action: decodeAction,
  response: decodeResponse,
  progress: decodeProgress,
  'dead letter': decodeDeadLetter,
  broadcast: decodeBroadcast,
};
const everyKind = Object.entries(decoders);

const action = {
  v: 1,
  id: '01890a5d-ac96-774b-8cce-b302099a8057',
  caller: 'orders',
  service: 'payments',
  method: 'POST',
  target: '/charges',
  headers: ['Host', 'payments'],
  acceptedAt: 1,
  deadline: 2,
  idempotent: false,
  retry: { attempts: 1, backoff: { min: 1, max: 2 }, on: [503] },
};

describe('what is encoded comes back the same', () => {
  test('action events: any headers, trailers and body', () => {
    fc.assert(
      fc.property(actionEvent, (event) => {
        expect(plain(decodeAction(encodeAction(event)))).toEqual(plain(event));
      }),
    );
  });

  test('response events, with and without an answer', () => {
    fc.assert(
      fc.property(responseEvent, (event) => {
        expect(plain(decodeResponse(encodeResponse(event)))).toEqual(plain(event));
      }),
    );
  });

  test('progress', () => {
    fc.assert(
      fc.property(progress, fc.nat(), (event, accounted) => {
        const stored = { progress: event, accounted };
        expect(plain(decodeProgress(encodeProgress(stored)))).toEqual(plain(stored));
      }),
    );
  });

  test('dead letters', () => {
    fc.assert(
      fc.property(deadLetter, (letter) => {
        expect(plain(decodeDeadLetter(encodeDeadLetter(letter)))).toEqual(plain(letter));
      }),
    );
  });

  test('broadcasts, told apart from deliveries that wait in the same queue', () => {
    fc.assert(
      fc.property(broadcastEvent, actionEvent, (event, again) => {
        const bytes = encodeBroadcast(event);
        expect(plain(decodeBroadcast(bytes))).toEqual(plain(event));
        expect(plain(decodeQueued(bytes))).toEqual({ event: plain(event) });
        expect(plain(decodeQueued(encodeAction(again)))).toEqual({ action: plain(again) });
      }),
    );
  });

  test('an event is read from the middle of a larger buffer, as clients hand messages over', () => {
    fc.assert(
      fc.property(actionEvent, fc.nat({ max: 9 }), (event, offset) => {
        const bytes = encodeAction(event);
        const buffer = new Uint8Array(bytes.length + 2 * offset).fill(0xff);
        buffer.set(bytes, offset);
        expect(plain(decodeAction(buffer.subarray(offset, offset + bytes.length)))).toEqual(plain(event));
      }),
    );
  });

  test('an empty body stays apart from none', () => {
    const none = decodeAction(frame({ ...action, hasBody: false }));
    const empty = decodeAction(frame({ ...action, hasBody: true }));
    expect([none.hasBody, none.body.length, empty.hasBody, empty.body.length]).toEqual([false, 0, true, 0]);
  });
});

describe('the frame is what the documentation says', () => {
  test('length of the head, big endian, then the head as JSON, then the body as it is', () => {
    fc.assert(
      fc.property(actionEvent, (event) => {
        const bytes = encodeAction(event);
        const head = headOf(bytes);
        // A reader of version 1 would take a body that is stored apart for an empty one.
        expect(head['v']).toBe(event.bodyRef === undefined ? 1 : 2);
        expect(head['id']).toBe(event.id);
        expect(head).not.toHaveProperty('body');
        expect([...bytes.subarray(bytes.length - event.body.length)]).toEqual([...event.body]);
      }),
    );
  });

  test('fields that a hand-made action leaves out have their documented defaults', () => {
    const body = new Uint8Array([1, 2]);
    expect(plain(decodeAction(frame(action, body)))).toEqual(
      plain({
        ...Object.fromEntries(Object.entries(action).filter(([field]) => field !== 'v')),
        round: 1,
        route: '',
        trailers: [],
        earlier: [],
        keyed: false,
        hasBody: true,
        fingerprint: '',
        maxBody: Number.MAX_SAFE_INTEGER,
        body,
      }),
    );
  });

  test('so have those of a hand-made response', () => {
    const now = Date.now();
    const response = decodeResponse(frame({ v: 1, call: { id: 'x' }, outcome: 'answered', answer: { status: 204 } }));
    expect(response).toMatchObject({ attempts: [], fingerprint: '' });
    expect(response.answer).toMatchObject({ status: 204, reason: '', headers: [], trailers: [] });
    expect(response.finishedAt).toBeGreaterThanOrEqual(now);
  });

  test('unknown fields are no reason to refuse an event: a version may gain fields', () => {
    expect(decodeAction(frame({ ...action, colour: 'green' })).id).toBe(action.id);
  });
});

test.each([
  null,
  'x',
  { id: 1 },
  { id: 'x', chunks: 0, size: 1, sha256: 'f'.repeat(64) },
  { id: 'x', chunks: 1, size: -1, sha256: 'f'.repeat(64) },
  { id: 'x', chunks: 1, size: 1, sha256: 'F'.repeat(64) },
  { id: 'x', chunks: 1.5, size: 1, sha256: 'f'.repeat(64) },
])('%j is no reference to a body', (bodyRef) => {
  expect(() => decodeAction(frame({ ...action, v: 2, bodyRef }))).toThrow(EventFormatError);
  const answer = { status: 200, bodyRef };
  const response = { v: 2, call: { id: 'x' }, outcome: 'answered', answer };
  expect(() => decodeResponse(frame(response))).toThrow(EventFormatError);
});

describe.each(everyKind)('%s: what cannot be read is refused as such', (_, decode) => {
  test.each([
    ['nothing', new Uint8Array(0)],
    ['less than a length', new Uint8Array([0, 0, 1])],
    ['a length past the end', new Uint8Array([0, 0, 0, 9, 123, 125])],
    ['a huge length', new Uint8Array([255, 255, 255, 255, 123, 125])],
    ['no JSON', frame('{"v":1,')],
    ['JSON that is no object', frame('1')],
    ['null', frame('null')],
    ['no version', frame({})],
    ['a newer version', frame({ v: FORMAT_VERSION + 2 })],
    ['a version as text', frame({ v: String(FORMAT_VERSION) })],
    ['a head without its fields', frame({ v: FORMAT_VERSION })],
  ])('%s', (_what, bytes) => {
    expect(() => decode(bytes)).toThrow(EventFormatError);
  });

  test('any bytes: read, or refused as such, never anything else', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.jsonValue().map((head) => frame(head ?? null)),
    );
    fc.assert(
      fc.property(bytes, (each) => {
        expect(failureOf(() => decode(each))).toSatisfy(
          (failure) => failure === undefined || failure instanceof EventFormatError,
        );
      }),
    );
  });
});

describe('truncation', () => {
  test('an event cut anywhere in its head is refused', () => {
    fc.assert(
      fc.property(actionEvent, fc.double({ min: 0, max: 0.999, noNaN: true }), (event, at) => {
        const bytes = encodeAction(event);
        const headEnd = bytes.length - event.body.length;
        expect(() => decodeAction(bytes.subarray(0, Math.floor(headEnd * at)))).toThrow(EventFormatError);
      }),
    );
  });
});

describe('fields that are there but cannot be', () => {
  test.each([
    ['an action that lacks one', () => decodeAction(frame({ ...action, retry: undefined }))],
    [
      'a status that is none',
      () => decodeResponse(frame({ v: 1, call: {}, outcome: 'answered', answer: { status: 42 } })),
    ],
    ['an answer that is none', () => decodeResponse(frame({ v: 1, call: {}, outcome: 'answered', answer: null }))],
    ['an answer without a status', () => decodeProgress(frame({ v: 1, attempts: [], answer: {} }))],
    [
      'a dead letter whose action is none',
      () => decodeDeadLetter(frame({ v: 1, reason: 'exhausted', diedAt: 1, history: [] })),
    ],
    [
      'a dead letter whose action lacks a field',
      () => decodeDeadLetter(frame({ v: 1, reason: 'exhausted', diedAt: 1, history: [], action: { id: 'x' } })),
    ],
  ])('%s', (_what, decode) => {
    expect(decode).toThrow(EventFormatError);
  });
});
