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
      async grow() {
        limit = undefined;
      },
      [Symbol.asyncDispose]: () => folder.remove(),
    };
  },
};

describeBrokerContract(embedded);
