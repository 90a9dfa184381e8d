import { join } from 'node:path';
import { eventually } from '../../support/eventually.ts';
import { ManagedProcess } from '../../support/managed-process.ts';

/** A sample service in a process of its own. */
export interface SampleService extends AsyncDisposable {
  /** Where it listens, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  readonly process: ManagedProcess;
}

/**
 * Starts a sample service as its README says, on a free port; resolves when it takes requests.
 * @throws Error with what it printed when it does not come up.
 */
export async function startSample(
  name: 'orders' | 'payments' | 'notifications' | 'misbehaving',
  env: Readonly<Record<string, string>> = {},
): Promise<SampleService> {
  const child = await ManagedProcess.start({
    label: name,
    command: process.execPath,
    args: [join(import.meta.dirname, '../../../sample-services', name, 'server.ts')],
    env: { PORT: '0', ...env },
  });
  try {
    const url = await eventually(
      () => {
        const address = /listening on (http:\/\/\S+)/.exec(child.stdout)?.[1];
        if (address === undefined) throw new Error(`it has printed: ${child.logs}`);
        return address;
      },
      { what: `${name} to listen`, timeoutMs: 30_000, pointless: () => child.obituary },
    );
    return { url, port: Number(new URL(url).port), process: child, [Symbol.asyncDispose]: () => child.kill9() };
  } catch (error) {
    await child.kill9();
    throw error;
  }
}
