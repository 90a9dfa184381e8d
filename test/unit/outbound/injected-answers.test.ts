import { expect, test } from 'vitest';
import type { Answer } from '../../../sidecar/model/call.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { header, openRoom, problemOf, requestBytes, send } from './room.ts';

const fine = { headers: ['Content-Length', '2'], body: Buffer.from('ok') };
const injected: [what: string, answer: Partial<Answer>][] = [
  ['a line break in a value', { headers: ['X', 'a\r\nInjected: 1'] }],
  ['a bare line feed in a value', { headers: ['X', 'a\nInjected: 1'] }],
  ['a NUL in a value', { headers: ['X', 'a\0Injected'] }],
  ['a character that would become a line break as a byte', { headers: ['X', 'a\u010d\u010aInjected: 1'] }],
  ['a line break in a name', { headers: ['X: 1\r\nInjected', '1'] }],
  ['a name with a space', { headers: ['X Injected', '1'] }],
  ['a line break in the reason', { reason: 'OK\r\nInjected: 1' }],
  ['a line break in a trailer', { headers: ['X', '1'], trailers: ['X', 'a\r\nInjected: 1'] }],
  ['a line break in a trailer’s name', { headers: ['X', '1'], trailers: ['X\r\nInjected', '1'] }],
  ['a value that is none', { headers: ['Injected', undefined as unknown as string] }],
  ['a name that is none', { headers: [7 as unknown as string, 'Injected'] }],
  ['a status that ends nothing', { status: 101, reason: 'Injected' }],
];

/** In a head; the detail of a problem may quote it. */
const smuggled = /^[^{]*Injected/m;

test.for(injected)('a stored answer with %s is not written, and the sidecar goes on', async ([, answer]) => {
  await using room = await openRoom();
  using connection = await connectRaw(room.port);
  connection.send(requestBytes('GET /a HTTP/1.1\nHost: payments'));
  const action = await room.caller.action();
  room.caller.finish(action, 'answered', { ...fine, ...answer });
  connection.send(requestBytes('GET /.holdline/calls/none HTTP/1.1\nHost: payments\nConnection: close'));
  const bytes = (await connection.readToEnd()).toString('latin1');
  expect(bytes).not.toMatch(smuggled);
  const asked = await askedFor(room.port, action.id);
  expect(asked).not.toMatch(smuggled);
  const unknown = await send(room.port, 'GET /.holdline/calls/none HTTP/1.1\nHost: payments');
  expect(problemOf(unknown)).toMatchObject({ status: 404 });
});

/** Whatever comes until the connection ends. */
async function askedFor(port: number, id: string): Promise<string> {
  using connection = await connectRaw(port);
  connection.send(requestBytes(`GET /.holdline/calls/${id} HTTP/1.1\nHost: payments\nConnection: close`));
  return (await connection.readToEnd()).toString('latin1');
}

test('who waits for it is told', async () => {
  await using room = await openRoom();
  const response = send(room.port, 'GET /a HTTP/1.1\nHost: payments');
  const action = await room.caller.action();
  room.caller.finish(action, 'answered', { ...fine, headers: ['X', 'a\r\nInjected: 1'] });
  expect(problemOf(await response)).toMatchObject({
    status: 502,
    code: 'outcome-unknown',
    document: { detail: expect.stringContaining('cannot be written'), callId: action.id },
  });
});

test('a stored answer with two lengths has none', async () => {
  await using room = await openRoom();
  using connection = await connectRaw(room.port);
  connection.send(requestBytes('GET /a HTTP/1.1\nHost: payments'));
  const action = await room.caller.action();
  const headers = ['Content-Length', '2', 'content-length', '0'];
  room.caller.finish(action, 'answered', { ...fine, headers });
  const response = await connection.readResponse();
  expect(header(response, 'content-length')).toBeUndefined();
  expect(response.body.toString()).toBe('ok');
});
