import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTempDir, type TempDir } from '../support/temp-dir.ts';
import { apache } from './apache.ts';
import { environmentOf, programFolder, run, unavailable } from './programs.ts';
import { startStage, type Stage } from './stage.ts';

const reason = unavailable('debian');

describe.skipIf(reason !== undefined)(`WebDAV${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  let folder: TempDir;
  let stage: Stage;
  const stored = (...path: string[]) => folder.join('dav/files', ...path);
  const catalogue = randomBytes(1_500_000);

  beforeAll(async () => {
    folder = await createTempDir('webdav');
    const options = await apache(
      folder,
      folder.join('dav'),
      ['dav', 'dav_fs'],
      [
        `DavLockDB ${folder.join('dav/locks')}`,
        `DocumentRoot ${folder.join('dav/files')}`,
        `<Directory ${folder.join('dav/files')}>`,
        'Dav On',
        'Require all granted',
        '</Directory>',
      ],
    );
    await mkdir(stored(), { mode: 0o777 });
    await run(['chmod', '777', stored()]);
    stage = await startStage(options);
    await writeFile(folder.join('catalogue.pdf'), catalogue);
  });

  afterAll(async () => {
    await stage?.[Symbol.asyncDispose]();
    await folder?.remove();
  });

  /** Runs cadaver with this script; a command that fails ends neither the script nor cadaver in failure, but says so. */
  const cadaver = async (...script: readonly string[]): Promise<string> => {
    await writeFile(folder.join('script'), `${script.join('\n')}\nquit\n`);
    const proxy = new URL(stage.proxy);
    const client = join(programFolder('debian'), 'usr/bin/cadaver');
    return run(
      ['sh', '-c', '"$0" --proxy="$1" http://callee/ < "$2"', client, proxy.host, folder.join('script')],
      // No ~/.cadaverrc is read from here.
      { cwd: folder.path, env: { ...environmentOf('debian'), HOME: folder.path } },
    );
  };

  test.for(['basic', 'copymove', 'props', 'locks', 'http'])('the suite litmus finds no fault: %s', async (part) => {
    const program = join(programFolder('debian'), 'usr/libexec/litmus', part);
    const out = await run([program, '--htdocs', join(programFolder('debian'), 'usr/share/litmus/htdocs'), stage.url], {
      cwd: folder.path,
      env: environmentOf('debian'),
    });
    expect(out).toMatch(/of \d+ tests run: \d+ passed, 0 failed/);
  });

  test('cadaver, through the proxy: every method of WebDAV, and the server dies while a file is on its way', async () => {
    const [out] = await Promise.all([
      cadaver(
        'mkcol sales',
        'cd sales',
        'put catalogue.pdf',
        'lock catalogue.pdf',
        'discover catalogue.pdf',
        'unlock catalogue.pdf',
        'copy catalogue.pdf second.pdf',
        'move second.pdf third.pdf',
        'propset third.pdf colour green',
        'propget third.pdf colour',
        'get third.pdf fetched.pdf',
        'delete catalogue.pdf',
        'ls',
      ),
      stage.crash('answer', /^PUT \/sales\/catalogue\.pdf/),
    ]);
    expect(out).not.toMatch(/failed|error/i);
    expect(out).toMatch(/Value of colour is: green/);
    expect(readFileSync(stored('sales/third.pdf')).equals(catalogue)).toBe(true);
    expect(readFileSync(folder.join('fetched.pdf')).equals(catalogue)).toBe(true);
    expect(existsSync(stored('sales/catalogue.pdf'))).toBe(false);
  });

  test('cadaver lists a folder although the server dies with the PROPFIND', async () => {
    const [out] = await Promise.all([cadaver('mkcol empty', 'ls'), stage.crash('request', /^PROPFIND /)]);
    expect(out).toMatch(/Coll:\s+empty/);
  });
});
