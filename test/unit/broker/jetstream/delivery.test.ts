import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readDelivery } from '../../../../sidecar/broker/jetstream/delivery.ts';

const token = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/);
const count = fc.nat();
const delivery = fc.record({ deliveries: count, seq: count, pending: count });
const around = fc.record({ stream: token, consumer: token, consumerSeq: count, time: count });

describe('an acknowledgement subject tells sequence, deliveries and what is pending', () => {
  test('in the form of nine tokens', () => {
    fc.assert(
      fc.property(around, delivery, ({ stream, consumer, consumerSeq, time }, { deliveries, seq, pending }) => {
        const subject = `$JS.ACK.${stream}.${consumer}.${deliveries}.${seq}.${consumerSeq}.${time}.${pending}`;
        expect(readDelivery(subject)).toEqual({ deliveries, seq, pending });
      }),
    );
  });

  test('in the form with domain and account, with and without a random token at the end', () => {
    fc.assert(
      fc.property(
        around,
        delivery,
        fc.constantFrom('', '.x7Gz'),
        token,
        (parts, { deliveries, seq, pending }, end, domain) => {
          const { stream, consumer, consumerSeq, time } = parts;
          const numbers = `${deliveries}.${seq}.${consumerSeq}.${time}.${pending}`;
          expect(readDelivery(`$JS.ACK.${domain}.ACCHASH.${stream}.${consumer}.${numbers}${end}`)).toEqual({
            deliveries,
            seq,
            pending,
          });
        },
      ),
    );
  });
});

test.each([
  '',
  '_INBOX.x',
  '$JS.ACK.s.c.1.2.3.4',
  '$JS.ACK.s.c.one.2.3.4.5',
  '$JS.NAK.s.c.1.2.3.4.5',
  '$JS.API.CONSUMER.MSG.NEXT.s.c.1.2.3',
])('%j is none', (subject) => {
  expect(() => readDelivery(subject)).toThrow(TypeError);
});
