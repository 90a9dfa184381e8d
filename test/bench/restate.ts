import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { request } from '../support/http-client.ts';
import { ManagedProcess } from '../support/managed-process.ts';
import { isExecutable, serverCache } from '../support/server-binary.ts';
import { createTempDir } from '../support/temp-dir.ts';
import type { Installed } from './installations.ts';

const run = promisify(execFile);

/** What is compared with. Exact, so that figures of two runs are about the same programs. */
const packages = { '@restatedev/restate-server': '1.7.12', '@restatedev/restate-sdk': '1.17.2' } as const;
/** npm and 60 MB of download may take this long, ms. */
const patience = 5 * 60_000;

/** The server's program in a folder with the packages. */
function serverIn(folder: string): string {
  const name = `restate-server-${platform()}-${arch()}`;
  return join(folder, 'node_modules/@restatedev', name, 'bin/restate-server');
}

/**
 * Installs Restate's server and SDK with npm, once: the folder is kept in the cache of `node_modules`, which `npm ci` empties.
 * It is no dependency, and its scripts are not run.
 *
 * @param cache where to keep it
 * @returns the folder, or why there is none: no registry within reach, no binary for this machine
 */
export async function installRestate(
  cache: string = serverCache,
): Promise<{ readonly folder: string } | { readonly problem: string }> {
  const folder = join(cache, `restate-${Object.values(packages).join('-')}`);
  if (await isExecutable(serverIn(folder))) return { folder };
  await mkdir(cache, { recursive: true });
  // Under another name until it is complete: two runs may do this at once, and either may be interrupted.
  const unfinished = await mkdtemp(join(cache, 'restate-unfinished-'));
  try {
    await writeFile(join(unfinished, 'package.json'), JSON.stringify({ private: true, dependencies: packages }));
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
    await run('npm', args, { cwd: unfinished, timeout: patience });
    if (!(await isExecutable(serverIn(unfinished)))) {
      return { problem: `there is no restate-server for ${platform()} on ${arch()}` };
    }
    await rm(folder, { recursive: true, force: true });
    await rename(unfinished, folder);
    return { folder };
  } catch (error) {
    if (await isExecutable(serverIn(folder))) return { folder };
    return { problem: `npm could not install Restate: ${firstLine(error)}` };
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

function firstLine(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string };
  return (stderr?.trim() || message || String(error)).split('\n')[0] ?? '';
}

/**
 * Starts Restate's server with its defaults, on loopback and with a folder of its own, and makes the handler known to it.
 * @param handler where the handler listens
 */
export async function startRestate(
  stack: AsyncDisposableStack,
  folder: string,
  handler: Installed,
): Promise<Installed> {
  const data = stack.use(await createTempDir('bench-restate'));
  const [ingress, admin, node] = [await freePort(), await freePort(), await freePort()];
  const server = stack.use(
    await ManagedProcess.start({
      label: 'restate-server',
      command: serverIn(folder),
      args: ['--no-logo', '--listen-mode', 'tcp', '--node-name', 'bench', '--base-dir', data.path],
      env: {
        RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
        RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
        RESTATE_BIND_ADDRESS: `127.0.0.1:${node}`,
        RESTATE_DISABLE_TELEMETRY: 'true',
      },
      cwd: data.path,
    }),
  );
  await eventually(
    async () => {
      const { status, text } = await request(`http://127.0.0.1:${admin}/deployments`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ uri: `http://127.0.0.1:${handler.port}` }),
      });
      if (status >= 300) throw new Error(`${status} ${text}`);
    },
    { what: 'restate-server to know the handler', timeoutMs: 60_000, pointless: () => server.obituary },
  );
  return { port: ingress, parts: [{ name: 'restate-server', pid: server.pid }, ...handler.parts] };
}
