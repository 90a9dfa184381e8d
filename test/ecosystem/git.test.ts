import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runHoldline } from '../support/command-line.ts';
import { createTempDir, type TempDir } from '../support/temp-dir.ts';
import { apache } from './apache.ts';
import { proxyVariables, run, start, unavailable } from './programs.ts';
import { startStage, type Stage } from './stage.ts';

/** Where Git keeps the program that speaks its protocol; undefined where it has none. */
function gitExecPath(): string | undefined {
  try {
    return execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

const execPath = gitExecPath();
const reason = unavailable('debian') ?? (execPath === undefined ? 'there is no git' : undefined);

describe.skipIf(reason !== undefined)(`git${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  let folder: TempDir;
  let stage: Stage;
  const remote = 'http://callee/shop.git';
  /** More than is stored in one piece, and than Git sends in one piece. */
  const picture = randomBytes(3_000_000);

  const options = (cwd: string) => ({
    cwd,
    env: {
      ...proxyVariables(stage.proxy),
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_TERMINAL_PROMPT: '0',
      ...Object.fromEntries(
        ['AUTHOR', 'COMMITTER'].flatMap((who) => [
          [`GIT_${who}_NAME`, 'Alice'],
          [`GIT_${who}_EMAIL`, 'alice@example.org'],
        ]),
      ),
    },
  });
  const git = (cwd: string, ...args: readonly string[]) => run(['git', ...args], options(cwd));
  const work = () => folder.join('work');
  const commit = async (message: string) => {
    await git(work(), 'add', '.');
    await git(work(), 'commit', '--quiet', '-m', message);
  };

  beforeAll(async () => {
    folder = await createTempDir('git');
    stage = await startStage({
      ...(await apache(
        folder,
        folder.join('repositories'),
        ['alias', 'env', 'cgi'],
        [
          `SetEnv GIT_PROJECT_ROOT ${folder.join('repositories')}`,
          'SetEnv GIT_HTTP_EXPORT_ALL',
          // The repository may belong to another user than the one that Apache becomes.
          'SetEnv GIT_CONFIG_COUNT 1',
          'SetEnv GIT_CONFIG_KEY_0 safe.directory',
          'SetEnv GIT_CONFIG_VALUE_0 *',
          `ScriptAlias / ${execPath}/git-http-backend/`,
          `<Directory ${execPath}>`,
          'Options +ExecCGI',
          'Require all granted',
          '</Directory>',
        ],
      )),
      routes: [
        // The POST of a clone or fetch only reads; that of a push does not.
        { name: 'fetch', match: { host: 'callee', path: '/**/git-upload-pack' }, idempotent: true },
        { name: 'all', match: { host: 'callee' } },
      ],
    });
    const bare = folder.join('repositories/shop.git');
    await git(folder.path, 'init', '--quiet', '--bare', '--initial-branch=main', bare);
    await git(bare, 'config', 'http.receivepack', 'true');
    await run(['chmod', '-R', 'a+rwX', bare]);
    await mkdir(work());
    await git(work(), 'init', '--quiet', '--initial-branch=main');
  });

  afterAll(async () => {
    await stage?.[Symbol.asyncDispose]();
    await folder?.remove();
  });

  test('push, clone and fetch, with the server dead in the middle of each', async () => {
    await writeFile(folder.join('work/picture.png'), picture);
    await commit('One picture');
    await Promise.all([
      git(work(), 'push', '--quiet', remote, 'main'),
      stage.crash('answer', /^GET \/shop\.git\/info\/refs\?service=git-receive-pack/),
    ]);
    await Promise.all([
      git(folder.path, 'clone', '--quiet', remote, 'clone'),
      stage.crash('answer', /^POST \/shop\.git\/git-upload-pack/),
    ]);
    expect(readFileSync(folder.join('clone/picture.png')).equals(picture)).toBe(true);

    await writeFile(folder.join('work/price.txt'), '42');
    await commit('A price');
    await git(work(), 'push', '--quiet', remote, 'main');
    await Promise.all([
      git(folder.join('clone'), 'pull', '--quiet'),
      stage.crash('answer', /^POST \/shop\.git\/git-upload-pack/),
    ]);
    expect(readFileSync(folder.join('clone/price.txt'), 'utf8')).toBe('42');
    await git(folder.join('clone'), 'fsck', '--strict');
  });

  test('a push of which nobody knows whether it was carried out is not repeated; the next one finds out', async () => {
    await writeFile(folder.join('work/price.txt'), '43');
    await commit('Another price');
    const [push] = await Promise.all([
      start(['git', 'push', remote, 'main'], options(work())),
      stage.crash('request', /^POST \/shop\.git\/git-receive-pack/),
    ]);
    expect((await push.exited).code).not.toBe(0);
    expect(push.stderr).toContain('502');
    const listed = await runHoldline(['dead-letters', 'list', '--json', '--broker', stage.broker.url]);
    expect(JSON.parse(listed.stdout)).toMatchObject({
      deadLetters: [{ reason: 'outcome-unknown', method: 'POST', path: '/shop.git/git-receive-pack' }],
    });
    await git(work(), 'push', '--quiet', remote, 'main');
    await git(folder.join('clone'), 'pull', '--quiet');
    expect(readFileSync(folder.join('clone/price.txt'), 'utf8')).toBe('43');
  });
});
