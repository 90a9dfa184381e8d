import { inject } from 'vitest';
import { startNatsServer } from '../support/nats-server.ts';
import { openOnlooker } from '../integration/broker/jetstream.ts';
import { createTempDir } from '../support/temp-dir.ts';
import { longRetention, type Candidate } from './backend.ts';
import { describeBrokerContract } from './suite.ts';

for (const { bin, version } of inject('natsServers')) {
  const jetstream: Candidate = {
    name: `JetStream on nats-server ${version}`,
    supports: {
      ownProcess: true,
      answersWhileFull: { reason: 'a limit of the server holds for answers as it does for calls' },
      shortRetentionOfKeys: { reason: 'the server remembers ids for longer than a test waits' },
      orderKeys: true,
      orderOfDeliveries: true,
    },
    async freshBackend({ retention, maxBytes }) {
      // A server for each test: some kill it, some fill it, and a start takes less than a tenth of a second.
      const folder = await createTempDir('streams');
      const options = { bin, storeDir: folder.join('store') };
      let server = await startNatsServer(
        maxBytes === undefined ? options : { ...options, jetstream: `max_file_store: ${maxBytes}` },
      );
      return {
        config: {
          kind: 'nats',
          servers: [server.url],
          namespace: 'holdline',
          replicas: 1,
          retention: { ...longRetention, ...retention },
        },
        kill: () => server.kill9(),
        restart: () => server.restart(),
        async bodyChunks() {
          await using onlooker = await openOnlooker(server.url);
          const infos = await onlooker.manager.streams.list().next();
          const chunked = infos.filter(({ config }) => /_(?:bodies|answers|keyed-answers)_/.test(config.name));
          return chunked.reduce((sum, { state }) => sum + state.messages, 0);
        },
        async damage({ id }, n, how) {
          await using onlooker = await openOnlooker(server.url);
          const stream = await onlooker.manager.streams.find(`${id}.${n}`);
          const stored = await onlooker.manager.streams.getMessage(stream, { last_by_subj: `${id}.${n}` });
          if (how === 'missing') await onlooker.manager.streams.deleteMessage(stream, stored!.seq);
          else await onlooker.nc.request(`${id}.${n}`, new Uint8Array(stored!.data.length), { timeout: 20_000 });
        },
        async grow() {
          const { port } = server;
          await server.stop();
          await server[Symbol.asyncDispose]();
          server = await startNatsServer({ ...options, port });
        },
        async [Symbol.asyncDispose]() {
          await server[Symbol.asyncDispose]();
          await folder.remove();
        },
      };
    },
  };

  describeBrokerContract(jetstream);
}
