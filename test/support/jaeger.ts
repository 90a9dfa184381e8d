import { mkdir, rename, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { go } from './go.ts';
import { request } from './http-client.ts';
import { ManagedProcess } from './managed-process.ts';
import { isExecutable, serverCache } from './server-binary.ts';
import { createTempDir, type TempDir } from './temp-dir.ts';

const module = 'github.com/jaegertracing/jaeger';
/**
 * The last release that the Go module proxy can have: Jaeger's own tags are v2.x since then, and the path of its module has no
 * `/v2`. This tag is that of Jaeger 2.13.0 as well, whose command is built here.
 */
const release = { tag: 'v1.76.0', version: '2.13.0' } as const;
const cached = join(serverCache, `jaeger-${release.version}`, 'jaeger');

/**
 * A Jaeger that is there: the one that JAEGER_BIN names, else one on the PATH, else one that was built earlier.
 * Undefined where there is none; `npm run test:jaeger` builds one.
 * @throws Error when JAEGER_BIN names something else
 */
export async function findJaeger(): Promise<string | undefined> {
  const exact = process.env['JAEGER_BIN'];
  if (exact) {
    if (await isExecutable(exact)) return exact;
    throw new Error(`JAEGER_BIN is ${exact}, which cannot be executed`);
  }
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
  for (const candidate of [...folders.map((folder) => join(folder, 'jaeger')), cached]) {
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

/**
 * Builds Jaeger from the Go module proxy into the cache, which takes minutes.
 * @throws Error when there is no Go, or it cannot be built
 */
export async function buildJaeger(): Promise<string> {
  if (await isExecutable(cached)) return cached;
  const purpose = 'Jaeger has to be built';
  const { Dir: cwd } = JSON.parse(await go(purpose, ['mod', 'download', '-json', `${module}@${release.tag}`])) as {
    Dir: string;
  };
  const part = `${cached}.${process.pid}`;
  const flags = `-s -w -X ${module}/internal/version.latestVersion=v${release.version}`;
  // In the module's own folder, where its replace directives and its sums hold; nothing is written there.
  const build = ['build', '-mod=readonly', '-buildvcs=false', '-trimpath', '-ldflags', flags, '-o', part];
  await go(purpose, [...build, './cmd/jaeger'], { cwd });
  // Built under another name first: a parallel run must never meet half a binary.
  await mkdir(join(cached, '..'), { recursive: true });
  await rename(part, cached);
  return cached;
}

/** A real Jaeger on loopback that keeps its traces in memory. */
export class Jaeger implements AsyncDisposable {
  /** Where OTLP/HTTP is taken, as `telemetry.otlp` wants it. */
  readonly otlp: string;
  /** Its page, and the API below it. */
  readonly url: string;
  readonly #process: ManagedProcess;
  readonly #folder: TempDir;

  private constructor(process: ManagedProcess, folder: TempDir, ports: { otlp: number; http: number }) {
    this.#process = process;
    this.#folder = folder;
    this.otlp = `http://127.0.0.1:${ports.otlp}`;
    this.url = `http://127.0.0.1:${ports.http}`;
  }

  /** Resolves when it takes spans. @throws Error with its log when it does not come up */
  static async start(bin: string): Promise<Jaeger> {
    const ports = { otlp: await freePort(), http: await freePort(), grpc: await freePort() };
    const folder = await createTempDir('jaeger');
    // JSON is YAML.
    await writeFile(folder.join('jaeger.yaml'), JSON.stringify(configuration(ports)));
    const process = await ManagedProcess.start({
      label: 'jaeger',
      command: bin,
      args: ['--config', folder.join('jaeger.yaml')],
      // Or it would send traces of its own to a collector that is not there.
      env: { OTEL_TRACES_SAMPLER: 'always_off' },
    });
    const jaeger = new Jaeger(process, folder, ports);
    try {
      await process.printed(/Everything is ready/);
      await eventually(() => jaeger.ask('/api/services'), { what: 'Jaeger to answer' });
      return jaeger;
    } catch (error) {
      await jaeger[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The `data` of an answer of its API. @param path with the query @throws Error when it says anything but 200 */
  async ask(path: string): Promise<unknown> {
    const { status, text } = await request(this.url + path);
    if (status !== 200) throw new Error(`Jaeger says ${status} to ${path}: ${text}`);
    return (JSON.parse(text) as { data: unknown }).data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill9();
    await this.#folder.remove();
  }
}

/** As the all-in-one configuration of Jaeger, on ports of its own, and without what is not asked here. */
function configuration(ports: { otlp: number; http: number; grpc: number }) {
  const on = (port: number) => ({ endpoint: `127.0.0.1:${port}` });
  return {
    service: {
      extensions: ['jaeger_storage', 'jaeger_query'],
      pipelines: { traces: { receivers: ['otlp'], exporters: ['jaeger_storage_exporter'] } },
      telemetry: { metrics: { level: 'none' } },
    },
    extensions: {
      jaeger_query: { storage: { traces: 'memory' }, http: on(ports.http), grpc: on(ports.grpc) },
      jaeger_storage: { backends: { memory: { memory: { max_traces: 10_000 } } } },
    },
    receivers: { otlp: { protocols: { http: on(ports.otlp) } } },
    exporters: { jaeger_storage_exporter: { trace_storage: 'memory' } },
  };
}
