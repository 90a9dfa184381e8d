import { readFileSync, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { readFailure } from './files.ts';

export interface WatchOptions {
  readonly file: string;
  /** Called once for each change, when the folder has been quiet for a moment. Must not throw. */
  readonly onChange: () => void;
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /**
   * The text that is in use, as `loadConfig` gave it. Without it, it is what the file says now, and a change between
   * loading and watching goes unseen.
   */
  readonly text?: string;
  /** Something that keeps changes from being seen soon, or at all; worth a log line. Must not throw. */
  readonly onProblem?: (message: string) => void;
  /** How long the folder must be quiet before the file is read, ms. */
  readonly quiet?: number;
  /** Pause between two looks that need no notice from the system, ms. */
  readonly lookEvery?: number;
}

/**
 * Notices that a configuration file says something else: edited in place, replaced by a rename (as editors and
 * deployment tools do), or reached through a symbolic link that now leads elsewhere (as Kubernetes changes a ConfigMap:
 * the link `..data` beside the file is swapped). A touch without a change is none, and a file that is gone for a while
 * is waited for.
 *
 * It watches the file's folder, because a watch on the file follows the old inode after a rename. The system's notices
 * do not come on every file system, nor from a link's far end, so the file is looked at every few seconds as well.
 */
export function watchConfig(options: WatchOptions): void {
  const { onChange, signal, quiet = 100, lookEvery = 5000 } = options;
  if (signal.aborted) return;
  const file = resolve(options.file);
  const tell = onceInARow((message) => options.onProblem?.(message));

  let known = options.text ?? textNow(file);
  const look = oneAtATime(async () => {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      if (!signal.aborted) tell(`${file} ${readFailure(error)}; the configuration in use stays`);
    });
    if (signal.aborted || text === undefined) return;
    tell(undefined);
    if (text === known) return;
    known = text;
    onChange();
  });

  let settled: NodeJS.Timeout | undefined;
  const stopNotices = watchFolder(
    dirname(file),
    () => {
      clearTimeout(settled);
      settled = setTimeout(look, quiet);
    },
    (error) => tell(`changes of ${file} are noticed late, as its folder cannot be watched: ${error.message}`),
  );
  const regularly = setInterval(look, lookEvery);
  const stop = () => {
    stopNotices();
    clearInterval(regularly);
    clearTimeout(settled);
  };
  signal.addEventListener('abort', stop, { once: true });
}

function textNow(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Not there yet: then its appearance is the change.
    return undefined;
  }
}

/** Any change in the folder is a hint: with links, what changed has another name than the file. */
function watchFolder(folder: string, onHint: () => void, onError: (error: Error) => void): () => void {
  try {
    const watcher = watch(folder, onHint).on('error', onError);
    return () => watcher.close();
  } catch (error) {
    onError(error instanceof Error ? error : new Error(String(error)));
    return () => {};
  }
}

/** A wish while it runs makes it run once more. A task that rejects is a defect, and ends in an unhandled rejection. */
function oneAtATime(task: () => Promise<void>): () => void {
  let running: Promise<void> | undefined;
  let again = false;
  const run = async () => {
    do {
      again = false;
      await task();
    } while (again);
    running = undefined;
  };
  return () => {
    again = true;
    running ??= run();
  };
}

/** Passes on a message unless it is the one before; `undefined` forgets it. */
function onceInARow(tell: (message: string) => void): (message: string | undefined) => void {
  let last: string | undefined;
  return (message) => {
    if (message !== undefined && message !== last) tell(message);
    last = message;
  };
}
