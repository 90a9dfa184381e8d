import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder of its own that goes away with its owner. */
export interface TempDir extends AsyncDisposable {
  /** The absolute path. */
  readonly path: string;
  /** The absolute path of something in it. */
  join(...segments: string[]): string;
  /** Deletes the folder with all that is in it; a second time does nothing. */
  remove(): Promise<void>;
}

/** Makes an empty folder under the system's temporary folder; `label` shows in its name. */
export async function createTempDir(label = 'test'): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), `holdline-${label}-`));
  // A process that was killed may still be writing when its folder is deleted: rm tries again on ENOTEMPTY.
  const remove = () => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  return {
    path,
    join: (...segments) => join(path, ...segments),
    remove,
    [Symbol.asyncDispose]: remove,
  };
}
