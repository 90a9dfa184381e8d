import { DatabaseSync } from 'node:sqlite';
import { createTempDir } from '../support/temp-dir.ts';
import { longRetention, type Candidate } from './backend.ts';
import { describeBrokerContract } from './suite.ts';

const embedded: Candidate = {
  name: 'SQLite',
  supports: {
    ownProcess: { reason: 'the broker runs inside of the sidecars, so there is nothing to kill but them' },
    answersWhileFull: true,
    shortRetentionOfKeys: true,
    orderKeys: true,
    orderOfDeliveries: true,
  },
  async freshBackend({ retention, maxBytes }) {
    const folder = await createTempDir('sqlite');
    let limit = maxBytes;
    return {
      get config() {
        return {
          kind: 'sqlite' as const,
          // In a folder that is not there yet.
          file: folder.join('data', 'holdline.db'),
          namespace: 'holdline',
          retention: { ...longRetention, ...retention },
          ...(limit !== undefined && { maxBytes: limit }),
        };
      },
      async bodyChunks() {
        using db = new DatabaseSync(folder.join('data', 'holdline.db'), { timeout: 5_000 });
        return db.prepare('SELECT count(*) AS chunks FROM chunks').get()!['chunks'] as number;
      },
      async damage({ id }, n, how) {
        using db = new DatabaseSync(folder.join('data', 'holdline.db'), { timeout: 5_000 });
        const which = 'WHERE n = ? AND body = (SELECT body FROM bodies WHERE id = ?)';
        const change = how === 'missing' ? 'DELETE FROM chunks' : 'UPDATE chunks SET bytes = zeroblob(length(bytes))';
        db.prepare(`${change} ${which}`).run(n, id);
      },
      async grow() {
        limit = undefined;
      },
      [Symbol.asyncDispose]: () => folder.remove(),
    };
  },
};

describeBrokerContract(embedded);
