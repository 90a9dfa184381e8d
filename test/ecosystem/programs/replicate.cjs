// Replicates a local database, once: push|pull REMOTE LOCAL. It has no thought of failures.
const PouchDB = require('pouchdb');

const [direction, remote, folder] = process.argv.slice(2);

async function main() {
  const local = new PouchDB(folder);
  const { ok, docs_written, doc_write_failures } =
    direction === 'push' ? await local.replicate.to(remote) : await local.replicate.from(remote);
  console.log(JSON.stringify({ ok, docs_written, doc_write_failures }));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
