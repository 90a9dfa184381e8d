import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { runHoldline } from '../../support/command-line.ts';
import { createTempDir } from '../../support/temp-dir.ts';

const good = 'service: orders\nbroker: sqlite:./x.db\ninbound:\n  - url: http://127.0.0.1:3000\n';
const bad = 'service: Orders\nbroker: sqlite:./x.db\nshutdwn: {}\n';

async function folderWithFiles() {
  const folder = await createTempDir('commands');
  await writeFile(folder.join('good.yaml'), good);
  await writeFile(folder.join('bad.yaml'), bad);
  return folder;
}

describe('holdline check', () => {
  test('prints valid files to stdout and every mistake of the others to stderr', async () => {
    await using folder = await folderWithFiles();
    const result = await runHoldline(['check', 'good.yaml', 'bad.yaml', 'gone.yaml'], { cwd: folder.path });
    expect(result.stdout).toBe('good.yaml: ok\n');
    expect(
      result.stderr
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/;.*/, '')),
    ).toEqual([
      'bad.yaml:1:1: (file): this sidecar would have nothing to do',
      'bad.yaml:1:10: service: "Orders" is not a service name',
      'bad.yaml:3:1: shutdwn: is not a known key here',
      'gone.yaml:1:1: (file): does not exist',
    ]);
    expect(result.exitCode).toBe(2);
  });

  test('exits 0 when every file is valid', async () => {
    await using folder = await folderWithFiles();
    const result = await runHoldline(['check', 'good.yaml'], { cwd: folder.path });
    expect(result).toEqual({ exitCode: 0, stdout: 'good.yaml: ok\n', stderr: '' });
  });

  test('tells what is there without effect, and takes the file', async () => {
    await using folder = await folderWithFiles();
    const idle = 'outbound:\n  routes:\n    - match: { host: a }\n      topic: x.y\n      callback: POST /done\n';
    await writeFile(folder.join('idle.yaml'), good + idle);
    const result = await runHoldline(['check', 'idle.yaml'], { cwd: folder.path });
    expect(result).toEqual({
      exitCode: 0,
      stdout: 'idle.yaml: ok\n',
      stderr:
        'idle.yaml:8:7: outbound.routes[0].topic: means nothing with mode: await; expected only with mode: broadcast\n' +
        'idle.yaml:9:7: outbound.routes[0].callback: is never called with mode: await; expected only with mode: async\n',
    });
    const explained = await runHoldline(['explain', 'idle.yaml'], { cwd: folder.path });
    expect(explained.exitCode).toBe(0);
    expect(explained.stdout).not.toMatch(/topic|callback/);
  });

  test('--json prints everything to stdout', async () => {
    await using folder = await folderWithFiles();
    const result = await runHoldline(['check', '--json', 'good.yaml', 'bad.yaml'], { cwd: folder.path });
    expect(JSON.parse(result.stdout)).toEqual({
      files: [
        { file: 'good.yaml', ok: true, errors: [], remarks: [] },
        {
          file: 'bad.yaml',
          ok: false,
          errors: [
            expect.objectContaining({ file: 'bad.yaml', line: 1, column: 1, path: '(file)' }),
            expect.objectContaining({ line: 1, column: 10, path: 'service' }),
            expect.objectContaining({ line: 3, column: 1, path: 'shutdwn' }),
          ],
          remarks: [],
        },
      ],
    });
    expect(result.stderr).toBe('');
    expect(result.exitCode).toBe(2);
  });

  test('without a file is wrong usage', async () => {
    const result = await runHoldline(['check']);
    expect(result.stderr).toContain("missing required argument 'file'");
    expect(result.exitCode).toBe(2);
  });
});

describe('holdline explain', () => {
  test('prints the resolved configuration as YAML, or as JSON', async () => {
    await using folder = await folderWithFiles();
    const [yaml, json] = await Promise.all([
      runHoldline(['explain', 'good.yaml'], { cwd: folder.path }),
      runHoldline(['explain', '--json', 'good.yaml'], { cwd: folder.path }),
    ]);
    expect(yaml).toMatchObject({ exitCode: 0, stderr: '' });
    expect(parse(yaml.stdout)).toMatchObject({
      service: 'orders',
      broker: { url: `sqlite:${folder.join('x.db')}`, retention: { responses: '1h' } },
      inbound: [{ service: 'orders', timeout: '30s' }],
      shutdown: { drain: '25s' },
    });
    expect(JSON.parse(json.stdout)).toEqual(parse(yaml.stdout));
  });

  test('reports an invalid file as check does', async () => {
    await using folder = await folderWithFiles();
    const [explained, checked] = await Promise.all([
      runHoldline(['explain', 'bad.yaml'], { cwd: folder.path }),
      runHoldline(['check', 'bad.yaml'], { cwd: folder.path }),
    ]);
    expect(explained).toEqual(checked);
    expect(explained.exitCode).toBe(2);
  });
});
