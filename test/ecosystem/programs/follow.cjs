// Follows a remote database by long polls, and prints the id of every document that comes: REMOTE LOCAL.
const PouchDB = require('pouchdb');

const [remote, folder] = process.argv.slice(2);

new PouchDB(folder).replicate
  .from(remote, { live: true, retry: true })
  .on('change', ({ docs }) => docs.forEach(({ _id }) => console.log(_id)))
  .on('paused', () => console.log('waiting'))
  .on('error', (error) => {
    console.error(error);
    process.exitCode = 1;
  });
