import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const leases = join(tmpdir(), 'holdline-test-ports');
const own = new Set<number>();

/**
 * A loopback port that stays the caller's own until `releasePorts`, also while nothing listens on it.
 *
 * Port 0 will not do for a server that is stopped and started again on its port. The system hands out such a port from
 * its ephemeral range, so, while the server is down, it may give the same one to any outgoing connection; a client
 * that keeps on reconnecting to it can even be connected to itself (TCP simultaneous open). Therefore:
 * - ports come from below the ephemeral range (32768 on Linux, 49152 elsewhere), where no outgoing connection starts;
 * - a lease, a file that is created exclusively and holds the owner's pid, keeps parallel workers and runs apart;
 * - a trial bind finds the ports that anything else listens on;
 * - the choice is random, so a lease whose owner was killed is hardly ever met; if it is, it is taken over.
 */
export async function freePort(): Promise<number> {
  mkdirSync(leases, { recursive: true });
  for (let tries = 0; tries < 1000; tries++) {
    const port = 10_000 + Math.floor(Math.random() * (lowestEphemeralPort() - 10_000));
    if (lease(port) && (await canListen(port))) return port;
  }
  throw new Error('no free port found in 1000 tries');
}

/** Gives back every port that this process has been handed; called after every test file. */
export function releasePorts(): void {
  for (const port of own) rmSync(join(leases, String(port)), { force: true });
  own.clear();
}

let lowest: number | undefined;

function lowestEphemeralPort(): number {
  if (lowest !== undefined) return lowest;
  const range = process.platform === 'linux' ? readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8') : '49152';
  const first = Number.parseInt(range, 10);
  // Where the range was widened nearly to the bottom there is no room below it: the leases alone must do.
  lowest = first > 12_000 ? first : 32_768;
  return lowest;
}

function lease(port: number): boolean {
  const file = join(leases, String(port));
  try {
    const handle = openSync(file, 'wx');
    writeSync(handle, String(process.pid));
    closeSync(handle);
    own.add(port);
    return true;
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
    // The port is skipped this time in any case, so that two processes never both believe that they took it over.
    if (isAbandoned(file)) rmSync(file, { force: true });
    return false;
  }
}

function isAbandoned(file: string): boolean {
  try {
    if (Date.now() - statSync(file).mtimeMs < 60_000) return false;
    process.kill(Number(readFileSync(file, 'utf8')), 0);
    return false;
  } catch (error) {
    return isCode(error, 'ESRCH');
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  server.once('error', (error) => (isCode(error, 'EADDRINUSE') ? resolve(false) : reject(error)));
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  return promise;
}
