import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { freePort } from '../support/free-port.ts';
import { ManagedProcess } from '../support/managed-process.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { type SidecarProcess, startSidecar } from '../support/sidecar-process.ts';
import { createTempDir } from '../support/temp-dir.ts';
import { request } from '../support/http-client.ts';
import { eventually } from '../support/eventually.ts';
import { installRestate, startRestate } from './restate.ts';
import type { Part } from './meter.ts';
import { type Installation, routes } from './subjects.ts';

/** Something that runs and takes calls for the callee. */
export interface Installed {
  /** Where calls go in, on loopback. */
  readonly port: number;
  /** Its processes, in the order in which a call passes them; the callee is in none. */
  readonly parts: readonly Part[];
}

/** How to start. */
export interface InstallOptions {
  /** The callee. */
  readonly url: string;
  /** Where the sidecars leave CPU profiles when they stop; undefined for none. */
  readonly profiles: string | undefined;
}

/** Starts a process that prints `port N` once it listens. */
export async function startListening(
  stack: AsyncDisposableStack,
  label: string,
  file: string,
  ...args: string[]
): Promise<Installed> {
  const child = stack.use(
    await ManagedProcess.start({
      label,
      command: process.execPath,
      args: [join(import.meta.dirname, file), ...args],
    }),
  );
  await child.printed(/^port \d+$/m);
  return { port: Number(/^port (\d+)$/m.exec(child.stdout)?.[1]), parts: [{ name: label, pid: child.pid }] };
}

/**
 * Starts everything that an installation consists of, in the session of this process; `stack` ends it.
 * @returns the reason where a program that it needs cannot be had on this machine
 */
export async function install(
  what: Installation,
  stack: AsyncDisposableStack,
  options: InstallOptions,
): Promise<Installed | string> {
  switch (what) {
    case 'direct':
      return { port: Number(new URL(options.url).port), parts: [] };
    case 'proxy-1':
      return startListening(stack, 'proxy', 'proxy-process.ts', options.url);
    case 'proxy-2': {
      const near = await startListening(stack, 'proxy of the callee', 'proxy-process.ts', options.url);
      const far = await startListening(
        stack,
        'proxy of the caller',
        'proxy-process.ts',
        `http://127.0.0.1:${near.port}`,
      );
      return { port: far.port, parts: [...far.parts, ...near.parts] };
    }
    case 'nginx-2':
      return nginx(stack, options);
    case 'jetstream': {
      const server = stack.use(await startNatsServer());
      const { port, parts } = await sidecars(stack, server.url, options);
      return { port, parts: [...parts, { name: 'nats-server', pid: server.pid }] };
    }
    case 'jetstream-traced': {
      const server = stack.use(await startNatsServer());
      const sink = await startListening(stack, 'collector', 'sink-process.ts');
      const telemetry = { otlp: `http://127.0.0.1:${sink.port}` };
      const { port, parts } = await sidecars(stack, server.url, options, { telemetry });
      return { port, parts: [...parts, { name: 'nats-server', pid: server.pid }, ...sink.parts] };
    }
    case 'sqlite': {
      const folder = stack.use(await createTempDir('bench-sqlite'));
      return sidecars(stack, `sqlite:${folder.join('holdline.db')}`, options);
    }
    case 'restate': {
      const packages = await installRestate();
      if ('problem' in packages) return packages.problem;
      const handler = await startListening(stack, 'handler', 'restate-process.ts', packages.folder, options.url);
      return startRestate(stack, packages.folder, handler);
    }
  }
}

/**
 * A sidecar of the caller and one of the callee, on a broker that runs.
 * @param more configuration of both
 * @param outbound the routes of the caller
 */
export async function sidecars(
  stack: AsyncDisposableStack,
  broker: string,
  options: InstallOptions,
  more: object = {},
  outbound: readonly object[] = routes,
): Promise<Installed> {
  const env = options.profiles && { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${options.profiles}` };
  const start = async (config: Parameters<typeof startSidecar>[0]): Promise<SidecarProcess> => {
    const sidecar = stack.use(await startSidecar({ broker, ...more, ...config }, env ? { env } : {}));
    // A profile is written at an end in good order only.
    if (options.profiles !== undefined) stack.defer(async () => void (await sidecar.terminate()));
    return sidecar;
  };
  const payments = await start({ service: 'payments', inbound: [{ url: options.url }] });
  const port = await freePort();
  const ports = { [`127.0.0.1:${port}`]: 'payments' };
  const hosts = { payments: options.url };
  const orders = await start({ service: 'orders', outbound: { ports, hosts, routes: outbound } });
  return {
    port,
    parts: [
      { name: 'sidecar of the caller', pid: orders.pid },
      { name: 'sidecar of the callee', pid: payments.pid },
    ],
  };
}

async function nginx(stack: AsyncDisposableStack, options: InstallOptions): Promise<Installed | string> {
  const places = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const command = places.map((place) => join(place, 'nginx')).find((file) => existsSync(file));
  if (command === undefined) return 'nginx is not installed';
  const hop = async (name: string, target: string): Promise<Installed> => {
    const folder = stack.use(await createTempDir('bench-nginx'));
    const port = await freePort();
    await mkdir(folder.join('logs'));
    await writeFile(
      folder.join('nginx.conf'),
      `daemon off; master_process off; pid ${folder.join('pid')}; error_log stderr;
events { worker_connections 4096; }
http {
  access_log off;
  client_max_body_size 64m;
  client_body_buffer_size 1m;
  client_body_temp_path ${folder.join('body')};
  proxy_temp_path ${folder.join('proxy')};
  fastcgi_temp_path ${folder.join('fastcgi')};
  uwsgi_temp_path ${folder.join('uwsgi')};
  scgi_temp_path ${folder.join('scgi')};
  keepalive_requests 1000000000;
  upstream next { server ${new URL(target).host}; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://next;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }
  }
}
`,
    );
    const child = stack.use(
      await ManagedProcess.start({
        label: name,
        command,
        args: ['-p', folder.path, '-c', folder.join('nginx.conf')],
      }),
    );
    await eventually(() => request(`http://127.0.0.1:${port}/served`), {
      what: `${name} to answer`,
      pointless: () => child.obituary,
    });
    return { port, parts: [{ name, pid: child.pid }] };
  };
  const near = await hop('nginx of the callee', options.url);
  const far = await hop('nginx of the caller', `http://127.0.0.1:${near.port}`);
  return { port: far.port, parts: [...far.parts, ...near.parts] };
}
