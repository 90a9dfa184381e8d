import { mkdir, open, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { watchConfig } from '../../../sidecar/config/watch.ts';
import type { WatchOptions } from '../../../sidecar/config/watch.ts';
import { eventually } from '../../support/eventually.ts';
import { createTempDir } from '../../support/temp-dir.ts';

/** Long enough never to happen within a test. */
const never = 3_600_000;

/** Edits in place with one write, so that no half-written file can be seen in between; both texts as long. */
async function overwrite(file: string, text: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.write(text, 0);
  } finally {
    await handle.close();
  }
}

async function expectChanges(watch: { readonly seen: { readonly changes: number } }, count: number): Promise<void> {
  await eventually(() => expect(watch.seen.changes).toBe(count), { what: `${count} changes to be told` });
}

/** Watches until disposed, and counts what it is told. */
function watching(file: string, options: Partial<WatchOptions> = {}) {
  const ending = new AbortController();
  const seen = { changes: 0, problems: [] as string[] };
  watchConfig({
    file,
    onChange: () => {
      seen.changes++;
    },
    onProblem: (message) => {
      seen.problems.push(message);
    },
    signal: ending.signal,
    quiet: 10,
    lookEvery: never,
    ...options,
  });
  return { seen, end: () => ending.abort(), [Symbol.dispose]: () => ending.abort() };
}

describe('by the system’s notices', () => {
  test('an edit in place is told once', async () => {
    await using folder = await createTempDir('watch');
    const file = folder.join('a.yaml');
    await writeFile(file, 'one');
    using watch = watching(file);
    await overwrite(file, 'two');
    await expectChanges(watch, 1);
    await overwrite(file, 'six');
    await expectChanges(watch, 2);
    expect(watch.seen.problems).toEqual([]);
  });

  test('a file renamed over it is told, every time', async () => {
    await using folder = await createTempDir('watch');
    const file = folder.join('a.yaml');
    await writeFile(file, 'one');
    using watch = watching(file);
    for (const [index, text] of ['two', 'three', 'four'].entries()) {
      await writeFile(folder.join('.a.yaml.tmp'), text);
      await rename(folder.join('.a.yaml.tmp'), file);
      await expectChanges(watch, index + 1);
    }
  });

  test('a Kubernetes ConfigMap that is swapped is told', async () => {
    await using folder = await createTempDir('watch');
    const version = async (name: string, text: string) => {
      await mkdir(folder.join(name));
      await writeFile(folder.join(name, 'a.yaml'), text);
    };
    // What kubelet makes: a.yaml → ..data/a.yaml, ..data → ..1; an update renames a new link over ..data.
    await version('..1', 'one');
    await symlink('..1', folder.join('..data'));
    await symlink('..data/a.yaml', folder.join('a.yaml'));
    using watch = watching(folder.join('a.yaml'));
    await version('..2', 'two');
    await symlink('..2', folder.join('..data_tmp'));
    await rename(folder.join('..data_tmp'), folder.join('..data'));
    await rm(folder.join('..1'), { recursive: true });
    await expectChanges(watch, 1);
  });

  test('neither a touch nor the same text nor a neighbour is a change', async () => {
    await using folder = await createTempDir('watch');
    const file = folder.join('a.yaml');
    await writeFile(file, 'one');
    using watch = watching(file, { quiet: 1 });
    await utimes(file, new Date(), new Date());
    await overwrite(file, 'one');
    await writeFile(folder.join('b.yaml'), 'two');
    // The change after them is the first that is told, so they were seen and were none.
    await overwrite(file, 'two');
    await expectChanges(watch, 1);
  });

  test('a file that is gone is a problem told once, and is waited for', async () => {
    await using folder = await createTempDir('watch');
    const file = folder.join('a.yaml');
    await writeFile(file, 'one');
    using watch = watching(file);
    await rm(file);
    await eventually(() => expect(watch.seen.problems).toHaveLength(1), { what: 'the problem to be told' });
    expect(watch.seen.problems[0]).toBe(`${file} does not exist; the configuration in use stays`);
    await writeFile(folder.join('b.yaml'), 'a hint that shows nothing new');
    await writeFile(folder.join('.a.yaml.tmp'), 'two');
    await rename(folder.join('.a.yaml.tmp'), file);
    await expectChanges(watch, 1);
    expect(watch.seen.problems).toHaveLength(1);
  });
});

describe('without the system’s notices', () => {
  test('a change at the far end of a link is found by looking', async () => {
    await using folder = await createTempDir('watch');
    await mkdir(folder.join('far'));
    await mkdir(folder.join('near'));
    await writeFile(folder.join('far/a.yaml'), 'one');
    await symlink('../far/a.yaml', folder.join('near/a.yaml'));
    using watch = watching(folder.join('near/a.yaml'), { lookEvery: 20 });
    await overwrite(folder.join('far/a.yaml'), 'two');
    await expectChanges(watch, 1);
  });

  test('a folder that cannot be watched yet is told, and looked into', async () => {
    await using folder = await createTempDir('watch');
    using watch = watching(folder.join('later/a.yaml'), { lookEvery: 20 });
    expect(watch.seen.problems).toEqual([expect.stringContaining('its folder cannot be watched')]);
    await mkdir(folder.join('soon'));
    await writeFile(folder.join('soon/a.yaml'), 'one');
    await rename(folder.join('soon'), folder.join('later'));
    await expectChanges(watch, 1);
  });
});

test('a change between loading and watching is told', async () => {
  await using folder = await createTempDir('watch');
  const file = folder.join('a.yaml');
  await writeFile(file, 'two');
  using watch = watching(file, { text: 'one', lookEvery: 20 });
  await expectChanges(watch, 1);
});

test('after its end nothing is told', async () => {
  await using folder = await createTempDir('watch');
  const file = folder.join('a.yaml');
  await writeFile(file, 'one');
  using ended = watching(file);
  using other = watching(file);
  ended.end();
  await overwrite(file, 'two');
  await expectChanges(other, 1);
  expect(ended.seen.changes).toBe(0);
});
