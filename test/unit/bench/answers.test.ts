import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerReader } from '../../bench/answers.ts';

const sized = 'HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello';
const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n';
const empty = 'HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n';

describe('the answers of one connection', () => {
  it('end where they end, however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(sized, chunked, empty), { minLength: 1, maxLength: 4 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (wire, cuts) => {
          const reader = new AnswerReader();
          const statuses = wire.map((text) => {
            let rest = Buffer.from(text);
            for (let turn = 0; ; turn++) {
              const cut = cuts[turn % cuts.length] ?? 1;
              const answer = reader.read(rest.subarray(0, cut));
              rest = rest.subarray(cut);
              if (rest.length === 0) return answer?.status;
              expect(answer).toBeUndefined();
            }
          });
          expect(statuses).toEqual(wire.map((text) => Number(text.slice(9, 12))));
        },
      ),
    );
  });

  it('say whether the connection is closed', () => {
    expect(new AnswerReader().read(Buffer.from(empty))?.closes).toBe(true);
    expect(new AnswerReader().read(Buffer.from(sized))?.closes).toBe(false);
  });

  it('are refused where they cannot be told apart', () => {
    expect(() => new AnswerReader().read(Buffer.from(`${sized}more`))).toThrow('4 bytes after an answer');
    expect(() => new AnswerReader().read(Buffer.from('HTTP/1.1 200 OK\r\n\r\n'))).toThrow('without framing');
  });
});
