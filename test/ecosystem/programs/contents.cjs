// Says what is in a local database: FOLDER.
const { createHash } = require('node:crypto');
const PouchDB = require('pouchdb');

async function main() {
  const local = new PouchDB(process.argv[2]);
  const { rows } = await local.allDocs({ include_docs: true, attachments: true, binary: true });
  const first = rows.find(({ id }) => id === 'order-0').doc;
  const invoice = rows.find(({ id }) => id === 'order-1').doc._attachments.invoice.data;
  const sha256 = createHash('sha256').update(invoice).digest('hex');
  console.log(JSON.stringify({ count: rows.length, sent: first.sent, revision: first._rev, sha256 }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
