import { Agent, request } from 'node:http';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

/** What is used of `@restatedev/restate-sdk`, which is no dependency, so that its own types are not here. */
interface Sdk {
  readonly serde: { readonly binary: unknown };
  readonly handlers: {
    handler(options: object, call: (context: unknown, body: Uint8Array) => Promise<Uint8Array>): object;
  };
  service(definition: { name: string; handlers: Readonly<Record<string, object>> }): object;
  endpoint(): { bind(service: object): { http2Handler(): Parameters<typeof createServer>[1] & object } };
}

const [, , folder = '', target = ''] = process.argv;
const entry = join(folder, 'node_modules/@restatedev/restate-sdk/dist/index.js');
// Otherwise it prints two lines for each call, which nobody who measures would leave on.
process.env['RESTATE_LOGGING'] = 'WARN';
const sdk = (await import(pathToFileURL(entry).href)) as Sdk;

const agent = new Agent({ keepAlive: true, maxFreeSockets: 1024 });

/**
 * Makes the call and returns its answer. Restate repeats a handler that fails, and keeps what it returned, so the call needs no
 * step of its own (`ctx.run`) to be what an idempotent call of Holdline is; one would be an entry more in the journal.
 */
async function call(_context: unknown, body: Uint8Array): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const outgoing = request(`${target}/plain`, {
    method: 'POST',
    agent,
    headers: { 'Content-Type': 'application/json', 'Content-Length': body.length },
  });
  outgoing.on('error', reject);
  outgoing.on('response', (answer) => {
    if (answer.statusCode === 200) buffer(answer).then(resolve, reject);
    else reject(new Error(`the callee answered ${answer.statusCode}`));
  });
  outgoing.end(body);
  return promise;
}

const options = { input: sdk.serde.binary, output: sdk.serde.binary, accept: '*/*' };
const bench = sdk.service({ name: 'bench', handlers: { call: sdk.handlers.handler(options, call) } });
const server = createServer(sdk.endpoint().bind(bench).http2Handler());
server.listen(0, '127.0.0.1', () => process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`));
