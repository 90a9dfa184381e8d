/** A peer that does what peers do on bad days, chosen by the path of the request. */
import { Refusal, sendJson, serve } from '../http-service.ts';
import { behaviours } from './behaviours.ts';
import { keyOf, Ledger } from './ledger.ts';

const ledger = new Ledger();

const server = serve('misbehaving', 3004, (request, response) => {
  // Not parsed as a URL: a target that is none must misbehave as well.
  const [path = '', search] = (request.url ?? '/').split('?', 2);
  const [, name = '', argument] = path.split('/');
  if (name === 'healthz') {
    sendJson(response, 200, { status: 'ok' });
    return;
  }
  if (name === 'executions') {
    if (request.method === 'DELETE') ledger.clear();
    sendJson(response, 200, ledger.all());
    return;
  }
  const behaviour = Object.hasOwn(behaviours, name) ? behaviours[name] : undefined;
  if (behaviour === undefined) {
    sendJson(response, 404, { error: `no behaviour "${name}"`, behaviours: Object.keys(behaviours) });
    return;
  }
  const entry = ledger.of(keyOf(request));
  entry.received++;
  Promise.resolve()
    .then(() => behaviour({ request, response, argument, query: new URLSearchParams(search), entry }))
    .catch((error: unknown) => {
      if (error instanceof Refusal && !response.headersSent) sendJson(response, error.status, { error: error.message });
      else response.destroy();
      // A client that leaves in the middle is everyday life here.
      if (!(error instanceof Refusal) && !request.destroyed) console.error(error);
    });
});

// Those that hang would otherwise keep it from stopping.
const stop = (): void => server.closeAllConnections();
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
