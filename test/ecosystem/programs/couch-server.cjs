// A CouchDB-compatible server as the documentation of express-pouchdb has it: PORT FOLDER.
const express = require('express');
const PouchDB = require('pouchdb');
const pouchdb = require('express-pouchdb');

const [port, folder] = process.argv.slice(2);
const databases = PouchDB.defaults({ prefix: `${folder}/` });
const files = { logPath: `${folder}/log.txt`, configPath: `${folder}/config.json` };

express().use('/', pouchdb(databases, files)).listen(Number(port), '127.0.0.1');
