// Makes a local database of COUNT orders, one of them changed twice, one with a large attachment: FOLDER COUNT FILE.
const { readFileSync } = require('node:fs');
const PouchDB = require('pouchdb');

const [folder, count, file] = process.argv.slice(2);

async function main() {
  const local = new PouchDB(folder);
  await local.bulkDocs(Array.from({ length: Number(count) }, (_, n) => ({ _id: `order-${n}`, n })));
  const { rev } = await local.put({ ...(await local.get('order-0')), paid: true });
  await local.put({ _id: 'order-0', _rev: rev, paid: true, sent: true });
  const { _rev } = await local.get('order-1');
  await local.putAttachment('order-1', 'invoice', _rev, readFileSync(file), 'application/pdf');
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
