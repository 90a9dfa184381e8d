import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { eventually } from '../support/eventually.ts';
import { request, type RequestOptions } from '../support/http-client.ts';
import { jsonBody } from './load.ts';
import type { Subject } from './subjects.ts';

/**
 * Makes sure that a subject does what it is measured for: the body comes back as it was sent; a durable call has an id,
 * under which its answer is still there afterwards; any other has none; a key that comes again is served the same answer.
 *
 * @throws Error that says what it did instead
 */
export async function check(subject: Subject, port: number): Promise<void> {
  try {
    await answers(subject, `http://127.0.0.1:${port}`);
  } catch (cause) {
    throw new Error(`${subject.name} does not answer correctly: ${String(cause)}`, { cause });
  }
}

async function answers(subject: Subject, base: string): Promise<void> {
  const body = `${jsonBody(subject.bodyBytes)}\n${randomUUID()}`;
  const call: RequestOptions = {
    method: 'POST',
    headers: {
      Host: 'payments',
      'Content-Type': 'application/json',
      ...(subject.keyed && { 'Idempotency-Key': randomUUID() }),
    },
    body,
  };
  const first = await request(base + subject.path, call);
  assert.equal(first.status, subject.status, first.text);
  if (subject.status === 200) assert.equal(first.text, body, 'the body is another one');
  const { stored: by } = subject;
  const id = by && first.header(by.idHeader);
  if (by === undefined) assert.equal(first.header('Holdline-Call-Id'), undefined, 'it is a durable call');
  else {
    assert.ok(id, `there is no ${by.idHeader}`);
    const stored = await eventually(
      async () => {
        const answer = await request(base + by.answerAt.replace('{id}', id), { headers: { Host: 'payments' } });
        assert.equal(answer.status, 200, answer.text);
        return answer;
      },
      { what: 'the stored answer' },
    );
    assert.equal(stored.text, body, 'the stored body is another one');
  }
  if (subject.keyed) {
    const again = await request(base + subject.path, call);
    assert.equal(by && again.header(by.idHeader), id, 'the same key is another call');
  }
}
