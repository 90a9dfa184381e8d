// What the page asks this sidecar.

/** An answer that is not what was asked for. `status` 0: there was none at all. */
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem('token'),
  set: (value) => sessionStorage.setItem('token', value),
  forget: () => sessionStorage.removeItem('token'),
};

/** The JSON of an answer. @throws {Failure} */
export async function ask(path, method = 'GET') {
  const response = await answerTo(path, method);
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failure(response.status, body.detail ?? body.error ?? response.statusText);
  return body;
}

/** What `/ready` says, whether it is well or not. @throws {Failure} */
export async function health() {
  const response = await answerTo('/ready', 'GET');
  const body = await response.json().catch(() => ({}));
  if (body.problems === undefined) throw new Failure(response.status, body.error ?? response.statusText);
  return body;
}

async function answerTo(path, method) {
  const headers = { 'content-type': 'application/json' };
  const known = token.get();
  if (known !== null) headers.authorization = `Bearer ${known}`;
  try {
    return await fetch(path, { method, headers });
  } catch (error) {
    throw new Failure(0, `this sidecar does not answer (${error.message})`);
  }
}
