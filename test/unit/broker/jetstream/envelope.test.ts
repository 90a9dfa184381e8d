import { MsgHdrsImpl } from '@nats-io/transport-node';
import { describe, expect, test } from 'vitest';
import {
  actionHeaders,
  header,
  recordHeaders,
  responseHeaders,
} from '../../../../sidecar/broker/jetstream/envelope.ts';
import { Subjects } from '../../../../sidecar/broker/jetstream/subjects.ts';
import { conclude, noProgress, type ActionEvent } from '../../../../sidecar/model/call.ts';

const id = '01890a5d-ac96-774b-8cce-b302099a8057';
const subjects = new Subjects('holdline');
const action: ActionEvent = {
  id,
  round: 3,
  caller: 'orders',
  service: 'payments',
  route: 'charge',
  method: 'POST',
  target: '/charges',
  headers: [],
  trailers: [],
  body: new Uint8Array(0),
  hasBody: false,
  acceptedAt: 1,
  deadline: 2,
  idempotent: false,
  retry: { attempts: 8, backoff: { min: 1, max: 2 }, on: [503] },
  keyed: false,
  fingerprint: '',
  maxBody: 1,
  earlier: [],
  trace: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' },
};

/** As the server, and after it whoever gets the event, reads them. */
function fields(written: MsgHdrsImpl): Record<string, string> {
  const headers = MsgHdrsImpl.decode(written.encode());
  return Object.fromEntries(headers.keys().map((name) => [name, headers.values(name).join('|')]));
}

describe('the headers around an event', () => {
  test('of an action: a message id per round, where the answer goes, CloudEvents attributes, trace context', () => {
    expect(fields(actionHeaders(action, subjects))).toEqual({
      'Nats-Msg-Id': `${id}:3`,
      'Nats-Expected-Last-Subject-Sequence': '0',
      'Holdline-Call-Id': id,
      'Holdline-Reply': `holdline.res.orders.333ac.${id}`,
      'ce-specversion': '1.0',
      'ce-type': 'holdline.action.v1',
      'ce-source': '/services/orders',
      'ce-id': id,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'a=b',
    });
  });

  test('of an action that is sent again: the mark, and everything else as before', () => {
    const first = fields(actionHeaders(action, subjects));
    expect(fields(actionHeaders(action, subjects, true))).toEqual({ ...first, 'Holdline-Resent': '1' });
  });

  test('of a response: no message id, since the expected sequence alone decides who is first', () => {
    expect(fields(responseHeaders(conclude(action, noProgress, 'cancelled', 5), 7))).toEqual({
      'Nats-Expected-Last-Subject-Sequence': '7',
      'Holdline-Call-Id': id,
      'ce-specversion': '1.0',
      'ce-type': 'holdline.response.v1',
      'ce-source': '/services/payments',
      'ce-id': id,
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'a=b',
    });
  });

  test('of a record', () => {
    expect(fields(recordHeaders(12))).toEqual({ 'Nats-Expected-Last-Subject-Sequence': '12' });
  });

  test('without a trace there are no trace headers', () => {
    const { trace: _, ...untraced } = action;
    const names = actionHeaders(untraced, subjects).keys();
    expect(names.filter((name) => name.startsWith('trace'))).toEqual([]);
  });

  test('their names are exactly these', () => {
    expect(header).toEqual({
      messageId: 'Nats-Msg-Id',
      expectedLastSequence: 'Nats-Expected-Last-Subject-Sequence',
      callId: 'Holdline-Call-Id',
      reply: 'Holdline-Reply',
      resent: 'Holdline-Resent',
      position: 'Holdline-Position',
    });
  });
});
