// Puts a document and gets it back, by one of Node's HTTP clients: CLIENT URL. It has no thought of failures.
const body = { from: 'Node' };
const headers = { 'Content-Type': 'application/json' };
const text = JSON.stringify(body);

const clients = {
  async axios(url) {
    const axios = require('axios');
    await axios.put(url, body);
    const { headers: received, data } = await axios.get(url);
    return [received['holdline-call-id'], data];
  },
  async got(url) {
    const { default: got } = require('got');
    await got.put(url, { json: body, retry: { limit: 0 } });
    const answer = await got(url, { retry: { limit: 0 } });
    return [answer.headers['holdline-call-id'], JSON.parse(answer.body)];
  },
  async undici(url, options = {}) {
    const { request } = require('undici');
    const put = await request(url, { method: 'PUT', headers, body: text, ...options });
    await put.body.dump();
    const answer = await request(url, options);
    return [answer.headers['holdline-call-id'], await answer.body.json()];
  },
  async 'undici EnvHttpProxyAgent'(url) {
    const { EnvHttpProxyAgent } = require('undici');
    return clients.undici(url, { dispatcher: new EnvHttpProxyAgent() });
  },
  async fetch(url) {
    await (await fetch(url, { method: 'PUT', headers, body: text })).text();
    const answer = await fetch(url);
    return [answer.headers.get('holdline-call-id'), await answer.json()];
  },
  async 'http.request'(url) {
    const { request } = require('node:http');
    const { json } = require('node:stream/consumers');
    const call = (method, content) =>
      new Promise((resolve, reject) => {
        request(url, { method, headers }, (answer) => resolve(json(answer).then((data) => [answer, data])))
          .on('error', reject)
          .end(content);
      });
    await call('PUT', text);
    const [answer, data] = await call('GET');
    return [answer.headers['holdline-call-id'], data];
  },
};

async function main([client, url]) {
  const [callId, document] = await clients[client](url);
  console.log(JSON.stringify({ callId, document }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
