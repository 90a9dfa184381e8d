import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { eventually } from '../../support/eventually.ts';
import { ManagedProcess } from '../../support/managed-process.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

const root = join(import.meta.dirname, '../../..');
const script = join(root, 'config/intercept.sh');
/** Who the application runs as; the sidecar runs as root. */
const APPLICATION = '12345';
/** An address of the network namespace that is not loopback's. */
const ELSEWHERE = '10.77.0.2';

/** Why it cannot be tried here; undefined where it can. */
function obstacle(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  try {
    execFileSync('/usr/bin/unshare', ['-n', 'sh', '-c', 'ip link set lo up && HOLDLINE_UID=0 sh "$0"', script], {
      stdio: 'pipe',
    });
    execFileSync('/usr/bin/setpriv', ['--reuid', APPLICATION, 'curl', '--version'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `needs network namespaces, iptables, setpriv and curl: ${(error as Error).message.split('\n')[0]}`;
  }
}

const skipped = obstacle();

test.skipIf(skipped !== undefined)(
  `calls of a program that knows nothing are durable, and all others go where they were going${skipped === undefined ? '' : ` (skipped: ${skipped})`}`,
  async () => {
    await using folder = await createTempDir('transparent');
    // The broker is a file, so that the callee can stay outside.
    const broker = `sqlite:${folder.join('holdline.db')}`;
    await using till = await startUpstream({ status: 201, body: 'paid' });
    await using payments = await startSidecar({ service: 'payments', broker, inbound: [{ url: till.url }] });

    await using space = await ManagedProcess.start({
      label: 'network namespace',
      command: '/usr/bin/unshare',
      args: ['-n', 'sleep', '300'],
    });
    const inside = (command: string[]) => ['-t', String(space.pid), '-n', ...command];
    const within = (label: string, command: string[], env: Record<string, string> = {}) =>
      ManagedProcess.start({ label, command: '/usr/bin/nsenter', args: inside(command), env });
    const run = async (label: string, command: string[], env: Record<string, string> = {}) => {
      const started = await within(label, command, env);
      const { code } = await started.exited;
      return { code, stdout: started.stdout, stderr: started.stderr };
    };
    // Until it has left, commands would run, and rules be made, in the namespace of the tests.
    const here = readlinkSync('/proc/self/ns/net');
    await eventually(() => expect(readlinkSync(`/proc/${space.pid}/ns/net`)).not.toBe(here), {
      what: 'a network namespace',
      pointless: () => space.obituary,
    });
    const network = await run('ip', ['sh', '-c', `ip link set lo up && ip addr add ${ELSEWHERE}/32 dev lo`]);
    expect(network).toMatchObject({ code: 0 });
    const redirected = await run('intercept.sh', ['sh', script], { HOLDLINE_UID: '0', HOLDLINE_PORTS: '80,8080' });
    expect(redirected).toMatchObject({ code: 0 });
    expect(await run('intercept.sh', ['sh', script], { HOLDLINE_UID: '0', HOLDLINE_PORTS: '80,8080' })).toMatchObject({
      code: 0,
    });

    const config = folder.join('orders.yaml');
    const routes = [
      { name: 'charge', match: { host: 'payments' } },
      { name: 'by-address', match: { host: ELSEWHERE, path: '/charges' }, service: 'payments' },
    ];
    await writeFile(config, stringify({ service: 'orders', broker, outbound: { listen: '127.0.0.1:4000', routes } }));
    await using orders = await within('orders', [
      process.execPath,
      join(root, 'sidecar/main.ts'),
      'run',
      '--config',
      config,
    ]);
    const application = (...command: string[]) => run('application', ['setpriv', '--reuid', APPLICATION, ...command]);
    await eventually(
      async () => expect((await application('curl', '-sf', 'http://127.0.0.1:4900/ready')).code).toBe(0),
      { what: 'the sidecar in the namespace', pointless: () => orders.obituary },
    );

    // Nobody listens at this address: who answers is the callee, through the broker.
    const charge = await application(
      'curl',
      '-si',
      '--resolve',
      `payments:80:${ELSEWHERE}`,
      'http://payments/charges',
      '-d',
      '5',
    );
    expect(charge.stdout).toMatch(/^HTTP\/1.1 201 .*paid$/s);
    expect(charge.stdout).toContain('Holdline-Call-Id: ');
    expect(till.requests.at(-1)).toMatchObject({ method: 'POST', target: '/charges' });

    // Another service of the same network, reached through the sidecar, which may go there itself.
    await chmod(folder.path, 0o755);
    await writeFile(folder.join('elsewhere.txt'), 'as it was');
    await using other = await within('elsewhere', [
      'python3',
      '-m',
      'http.server',
      '8080',
      '--bind',
      ELSEWHERE,
      '--directory',
      folder.path,
    ]);
    await eventually(
      async () => {
        const answer = await application('curl', '-si', `http://${ELSEWHERE}:8080/elsewhere.txt`);
        expect(answer.stdout).toMatch(/^HTTP\/1.\d 200 .*as it was$/s);
        expect(answer.stdout).not.toContain('Holdline-');
      },
      { what: 'the other service', pointless: () => other.obituary },
    );
    // It came from the sidecar: Holdline says who could not be reached where nobody listens.
    const nobody = await application('curl', '-si', `http://${ELSEWHERE}:80/`);
    expect(nobody.stdout).toContain('Holdline-Error: upstream-unreachable');
    expect(payments.logs).not.toContain('defect');
  },
);
