import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { environmentOf, programFolder } from './programs.ts';
import type { TempDir } from '../support/temp-dir.ts';
import type { ServerProgramOptions } from './server-program.ts';

/** Who Apache becomes where root starts it: it refuses to serve as root. */
const NOBODY = 65_534;

/**
 * Apache's httpd, from Debian, as one process, so that killing it leaves no others behind.
 * @param folder becomes readable for everyone; the configuration is written there
 * @param writable a folder in it that Apache may write to
 * @param modules such as `dav`
 * @param lines of the configuration
 */
export async function apache(
  folder: TempDir,
  writable: string,
  modules: readonly string[],
  lines: readonly string[],
): Promise<ServerProgramOptions> {
  await mkdir(writable, { recursive: true });
  await chmod(folder.path, 0o755);
  if (process.getuid?.() === 0) await chown(writable, NOBODY, NOBODY);
  const root = programFolder('debian');
  const load = ['mpm_prefork', 'authz_core', ...modules].map(
    (name) => `LoadModule ${name}_module ${join(root, `usr/lib/apache2/modules/mod_${name}.so`)}`,
  );
  const common = [
    'ServerName callee',
    `ServerRoot ${folder.path}`,
    `PidFile ${folder.join('httpd.pid')}`,
    `ErrorLog ${folder.join('error.log')}`,
    `User #${NOBODY}`,
    `Group #${NOBODY}`,
  ];
  await writeFile(folder.join('httpd.conf'), [...load, ...common, ...lines, ''].join('\n'));
  return {
    label: 'apache2',
    command: (port) => [
      join(root, 'usr/sbin/apache2'),
      '-X',
      '-f',
      folder.join('httpd.conf'),
      '-c',
      `Listen 127.0.0.1:${port}`,
    ],
    env: environmentOf('debian'),
  };
}
