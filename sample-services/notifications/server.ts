/** Would write mails about paid orders; here it remembers what it was told. */
import { readJson, router, sendJson, serve } from '../http-service.ts';

interface Received {
  at: string;
  headers: Record<string, string | string[] | undefined>;
  body: Record<string, unknown>;
}

const received: Received[] = [];

serve(
  'notifications',
  3003,
  router({
    'POST /hooks/order-paid': async (request, response) => {
      const body = await readJson(request);
      received.push({ at: new Date().toISOString(), headers: { ...request.headers }, body });
      response.writeHead(204).end();
    },
    'GET /received': (_request, response) => sendJson(response, 200, { received }),
    'GET /healthz': (_request, response) => sendJson(response, 200, { status: 'ok' }),
  }),
);
