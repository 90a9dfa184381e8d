import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Browser } from 'playwright-core';
import { openBroker } from '../../../sidecar/broker/open.ts';
import { longRetention } from '../../conformance/backend.ts';
import { anAction } from '../../conformance/events.ts';
import { storeAll } from '../../conformance/stage.ts';
import { findChromium, openChromium } from '../../support/chromium.ts';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { startSidecar, type SidecarConfig, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir, type TempDir } from '../../support/temp-dir.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';
import { Visitor } from './visitor.ts';

// The web page of real sidecars, in a real browser.
const bin = await findChromium();
if (bin === undefined) {
  console.warn('LEFT OUT: the web page in a browser. There is no Chromium here; CHROMIUM_BIN can name one.');
}

const traceId = '0af7651916cd43dd8448eb211c80319c';

describe.skipIf(bin === undefined)('the page', () => {
  let browser: Browser;
  let folder: TempDir;
  let upstream: Upstream;
  let orders: SidecarProcess;
  let payments: SidecarProcess;
  let ofOrders: SidecarConfig;

  beforeAll(async () => {
    browser = await openChromium(bin!);
    folder = await createTempDir('page');
    const common = { broker: `sqlite:${folder.join('holdline.db')}` };
    upstream = await startUpstream({ status: 201 });
    const retry = { attempts: 2, backoff: '10ms..20ms' };
    const nowhere = { hold: '50ms', onHoldExpired: 202 };
    ofOrders = {
      ...common,
      service: 'orders',
      outbound: {
        routes: [
          { name: 'charge', match: { host: 'payments' }, retry },
          { name: 'ship', match: { host: 'shipping' }, ...nowhere },
        ],
      },
      telemetry: { traceLink: 'http://jaeger.example/trace/{traceId}' },
    };
    [orders, payments] = await Promise.all([
      startSidecar(ofOrders),
      startSidecar({ ...common, service: 'payments', inbound: [{ url: upstream.url }] }),
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await Promise.all([orders, payments, upstream].map((each) => each?.[Symbol.asyncDispose]()));
    await folder?.remove();
  });

  let path: string;
  let count = 0;
  beforeEach(() => {
    path = `/charges/of-test-${++count}`;
    upstream.requests.length = 0;
  });

  /** One call to a service, to the path of this test; resolves with its id. */
  async function call(service = 'payments', headers: Record<string, string> = {}, target = path): Promise<string> {
    const url = `http://${service}${target}`;
    const answer = await request(url, { method: 'POST', proxy: orders.outboundUrl, body: 'a secret', headers });
    return answer.header('holdline-call-id')!;
  }

  /** A call that was sent and never answered. */
  async function deadCall(target = path): Promise<string> {
    upstream.next('reset');
    return await call('payments', {}, target);
  }

  async function stateOf(id: string): Promise<unknown> {
    const answer = await request(`${orders.adminUrl}/api/calls/${id}`);
    return answer.status === 404 ? 'unknown' : (answer.json() as { state: unknown }).state;
  }

  async function readySays(sidecar: SidecarProcess, text: string): Promise<void> {
    const says = async () => expect((await request(`${sidecar.adminUrl}/ready`)).text).toContain(text);
    await eventually(says, { what: `/ready to say ${text}` });
  }

  test('tells who calls whom, as a picture and as a table, with what waits and what failed', async () => {
    await call();
    await call('shipping');
    await deadCall();
    await using visitor = await Visitor.of(browser, orders.adminUrl);
    await visitor.visit('/');
    const edge = visitor.page.locator('svg a', { hasText: 'orders calls payments' });
    await edge.waitFor();
    expect(await edge.textContent()).toMatch(/\/min · p99|\/h · p99/);
    expect(await edge.textContent()).toMatch(/\d+ dead/);
    expect(await visitor.row('shipping').innerText()).toMatch(/ship\s/);
    expect(await visitor.page.locator('svg').textContent()).toContain('no sidecar takes its calls');
    await visitor.row('shipping').getByRole('link', { name: '1', exact: true }).click();
    await visitor.sees(`POST ${path}`);
    expect(visitor.page.url()).toMatch(/#\/calls\?caller=orders&service=shipping&state=waiting$/);
  });

  test('lists calls, narrowed by a filter that is part of the address', async () => {
    await call();
    await call('shipping', {}, `${path}/waits`);
    await using visitor = await Visitor.of(browser, orders.adminUrl);
    await visitor.visit('/calls');
    await visitor.sees(`POST ${path}/waits`);
    expect(await visitor.row(`POST ${path}/waits`).innerText()).toContain('waiting');
    await visitor.page.getByLabel('State').selectOption('answered');
    await visitor.row('waiting').first().waitFor({ state: 'detached' });
    await visitor.sees(`POST ${path}`);
    expect(visitor.page.url()).toMatch(/#\/calls\?state=answered$/);
    await visitor.page.goBack();
    await visitor.sees(`POST ${path}/waits`);
  });

  test("tells one call's story, with a link to its trace", async () => {
    upstream.next({ status: 503 });
    const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01`, 'Idempotency-Key': path };
    const id = await call('payments', headers);
    await call('payments', headers);
    await using visitor = await Visitor.of(browser, orders.adminUrl);
    await visitor.visit('/calls');
    await visitor.page.getByRole('link', { name: `POST ${path}` }).click();
    await visitor.sees('attempt 1: answered with a status that is tried again (503)');
    const events = await visitor.page.locator('.timeline li .what > span:first-child').allInnerTexts();
    expect(events.map((event) => event.replace(/ after .*/, ''))).toEqual([
      'accepted from orders',
      'attempt 1: answered with a status that is tried again (503)',
      'attempt 2: answered (201)',
      'orders is answered 201',
      'another caller with the key attaches',
    ]);
    const trace = visitor.page.getByRole('link', { name: 'Open the trace' });
    expect(await trace.getAttribute('href')).toBe(`http://jaeger.example/trace/${traceId}`);
    expect(await visitor.page.locator('body').innerText()).not.toContain('a secret');
    await visitor.visit('/calls');
    await visitor.page.getByLabel('Call id').fill(id);
    await visitor.page.getByLabel('Call id').press('Enter');
    await visitor.sees('another caller with the key attaches');
  });

  test('a dead letter is replayed by a click, after a warning', async () => {
    const id = await deadCall();
    await using visitor = await Visitor.of(browser, orders.adminUrl);
    await visitor.visit('/dead-letters');
    const button = visitor.row(path).getByRole('button', { name: `Replay POST ${path}` });
    await button.click();
    await visitor.answer('Cancel', /may have been carried out already/);
    expect(upstream.requests).toHaveLength(1);
    await button.click();
    await visitor.answer('Replay', /may have been carried out already/);
    await visitor.sees(`Replayed POST ${path}.`);
    await upstream.received(2);
    await visitor.row(path).waitFor({ state: 'detached' });
    await eventually(async () => expect(await stateOf(id)).toBe('answered'), { what: 'the answer' });
  });

  test('dead letters are discarded, one by one and those that are chosen', async () => {
    const ids = [await deadCall(`${path}/a`), await deadCall(`${path}/b`), await deadCall(`${path}/c`)];
    await using visitor = await Visitor.of(browser, orders.adminUrl);
    await visitor.visit('/dead-letters?service=payments&reason=outcome-unknown');
    await visitor.row(`${path}/a`).getByRole('button', { name: 'Discard' }).click();
    await visitor.answer('Discard', /Discard POST .*\/a\?\s+It is given up for good/);
    await visitor.row(`${path}/a`).waitFor({ state: 'detached' });
    expect(await stateOf(ids[0]!)).toBe('unknown');
    for (const which of ['b', 'c']) await visitor.row(`${path}/${which}`).getByRole('checkbox').check();
    // What comes in meanwhile is not chosen, and takes away no choice.
    const fourth = await deadCall(`${path}/d`);
    await visitor.lookAgain();
    await visitor.row(`${path}/d`).waitFor();
    await visitor.click('Discard chosen');
    await visitor.answer('Discard', /Discard 2 dead letters\?/);
    await visitor.sees('Discarded 2 dead letters.');
    expect(await Promise.all([...ids, fourth].map(stateOf))).toEqual(['unknown', 'unknown', 'unknown', 'dead']);
  });

  test('a call that waits is cancelled, with nothing but the keyboard', async () => {
    const id = await call('shipping');
    await using visitor = await Visitor.of(browser, orders.adminUrl);
    await visitor.visit(`/calls/${id}`);
    await visitor.sees('now: waits for');
    const { page } = visitor;
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to content');
    for (let presses = 0; presses < 20; presses++) {
      await page.keyboard.press('Tab');
      if ((await page.evaluate('document.activeElement.textContent')) === 'Cancel call') break;
    }
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    expect(await stateOf(id)).toBe('waiting');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Cancel call');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await visitor.sees('cancelled; it is not carried out');
    expect(await stateOf(id)).toBe('cancelled');
  });

  test('shows a refused reload, a sidecar that is gone, and that it is back', async () => {
    await using visitor = await Visitor.of(browser, orders.adminUrl);
    await visitor.visit('/sidecar');
    await visitor.sees('a sidecar that is killed');
    await orders.configure({ ...ofOrders, outbuond: {} });
    await readySays(orders, 'lastReloadError');
    await visitor.lookAgain();
    await visitor.sees('A changed configuration was refused');
    await visitor.sees('Ready, with problems');
    await orders.configure(ofOrders);
    await orders.kill9();
    await visitor.lookAgain();
    await visitor.sees(/This sidecar does not answer/);
    await visitor.sees('No answer');
    await orders.restart();
    await visitor.lookAgain();
    await visitor.page.getByText('Ready', { exact: true }).waitFor();
    await visitor.page.locator('.banner').first().waitFor({ state: 'detached' });
    expect(await visitor.page.locator('#status').innerText()).toMatch(/^Ready\s+orders · SQLite/);
  });

  test('a service that is down is shown by the sidecar next to it', async () => {
    await using visitor = await Visitor.of(browser, payments.adminUrl, { viewport: { width: 390, height: 800 } });
    await upstream.down();
    const id = await call('payments', { Prefer: 'respond-async' });
    await readySays(payments, 'calls to payments wait');
    await visitor.visit(`/sidecar`);
    await visitor.sees(/Calls to payments wait: .*ECONNREFUSED/);
    // On a narrow screen nothing is wider than it.
    expect(await visitor.page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    await upstream.up();
    await eventually(async () => expect(await stateOf(id)).toBe('answered'), { what: 'the answer' });
    await visitor.lookAgain();
    await visitor.page.locator('.banner').first().waitFor({ state: 'detached' });
  });

  test('what is hostile in a stored call is shown as text, and does nothing', async () => {
    const report = () => {};
    const config = {
      kind: 'sqlite',
      file: folder.join('holdline.db'),
      namespace: 'holdline',
      retention: longRetention,
    } as const;
    const broker = await openBroker({ config, service: 'orders', instance: 'a1b2c', report });
    try {
      await broker.start();
      const log = broker.caller('orders');
      const id = log.newCallId('evil');
      const markup = '<img src=x onerror=alert(1)>';
      // The character in the end would let what follows run backwards.
      const target = `/"><script>alert(1)</script>/javascript:alert(1)/\u202Egpj`;
      await storeAll(log, [anAction({ id, service: 'evil', method: markup, route: markup, target })]);
      await using visitor = await Visitor.of(browser, orders.adminUrl);
      const shown = target.replace('\u202E', '\\u202e');
      for (const view of ['/', '/calls?service=evil', `/calls/${id}`]) {
        await visitor.visit(view);
        await visitor.page.getByText(markup).first().waitFor();
        expect(await visitor.page.locator('#view img, #view script').count()).toBe(0);
      }
      const title = visitor.page.locator('#view h1', { hasText: markup });
      expect(await title.innerText()).toBe(`${markup} ${shown}`);
      for (const elsewhere of [
        '/<img src=x onerror=alert(1)>',
        '/calls/<script>',
        '/calls?state="><img src=x onerror=alert(1)>',
      ]) {
        await visitor.visit(elsewhere);
        await visitor.page.locator('#view h1').waitFor();
      }
    } finally {
      await broker.close(1000);
    }
  });

  test('asks for the token, and for another one when it is wrong', async () => {
    const id = await call();
    const admin = { token: 'a-token-of-this-test' };
    await using guarded = await startSidecar({ ...ofOrders, outbound: { ports: {}, listen: '127.0.0.1:0' }, admin });
    await using visitor = await Visitor.of(browser, guarded.adminUrl);
    await visitor.visit(`/calls/${id}`);
    await visitor.page.getByLabel('Token').fill('another');
    await visitor.click('Show');
    await visitor.sees('That is not the token.');
    expect(await visitor.page.locator('body').innerText()).not.toContain(path);
    await visitor.page.getByLabel('Token').fill(admin.token);
    await visitor.page.getByLabel('Token').press('Enter');
    await visitor.sees('orders is answered 201');
    await visitor.page.reload();
    await visitor.sees('orders is answered 201');
  });
});
