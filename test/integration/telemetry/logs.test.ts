import { expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

test('each line of a call names it and its trace; what is secret is on none', async () => {
  await using folder = await createTempDir('logs');
  await using upstream = await startUpstream({
    status: 201,
    headers: [['Set-Cookie', 'session=geheim']],
    body: 'answer: geheim',
  });
  const broker = `sqlite:${folder.join('holdline.db')}`;
  const env = { HOLDLINE_LOG_LEVEL: 'trace' };
  const retry = { attempts: 2, backoff: '1ms..5ms' };
  const routes = [{ name: 'charge', match: { host: 'payments', path: '/charges' }, idempotent: true, retry }];
  const hosts = { payments: upstream.url };
  await using orders = await startSidecar({ service: 'orders', broker, outbound: { routes, hosts } }, { env });
  await using payments = await startSidecar(
    { service: 'payments', broker, inbound: [{ url: upstream.url }], admin: { token: 'geheim' } },
    { env },
  );
  const proxy = orders.outboundUrl;
  const headers = {
    Authorization: 'Bearer geheim',
    Cookie: 'session=geheim',
    'X-Api-Key': 'geheim',
    'Idempotency-Key': 'geheim',
  };
  const post = (path: string) =>
    request(`http://payments${path}?token=geheim`, { method: 'POST', body: 'body: geheim', headers, proxy });
  const answers = [await post('/charges'), await post('/charges'), await post('/passed')];
  // Refused, and given up.
  upstream.next({ status: 503, body: 'geheim' }, 'reset');
  answers.push(
    await request('http://payments/charges?token=geheim', {
      method: 'POST',
      body: 'geheim',
      headers: { ...headers, 'Idempotency-Key': 'geheim-2' },
      proxy,
    }),
    await request('http://payments/charges?token=geheim', { method: 'POST', body: 'other', headers, proxy }),
  );
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 503, 422]);
  await orders.terminate();
  await payments.terminate();

  const lines = [orders, payments].flatMap(({ stdout }) =>
    stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  );
  const ofCalls = lines.filter(({ msg }) =>
    /^(?:call accepted|caller answered|attempt ended|call finished|dead letter)$/.test(String(msg)),
  );
  expect(new Set(ofCalls.map(({ msg }) => msg)).size).toBe(5);
  for (const line of ofCalls) {
    expect(line, JSON.stringify(line)).toMatchObject({
      callId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
  }
  for (const sidecar of [orders, payments]) expect(sidecar.logs).not.toContain('geheim');
});
