import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { readFailure } from './files.ts';

export interface WatchOptions {
  readonly file: string;
  /** The text that is in use. The file is "changed" when it says something else. */
  readonly text: string;
  /** Gets the new text, once for each change, when the file has been quiet for a moment. Must not throw. */
  onChange(text: string): void;
  /** Something that keeps changes from being seen at once, or at all; worth a log line. Must not throw. */
  onProblem(message: string): void;
  /** Ends the watch. */
  readonly signal: AbortSignal;
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
  const { onChange, onProblem, signal, quiet = 100, lookEvery = 5000 } = options;
  if (signal.aborted) return;
  const file = resolve(options.file);
  let known = options.text;
  let problem: string | undefined;
  let settled: NodeJS.Timeout | undefined;
  let reading = false;
  let again = false;

  const tell = (message: string | undefined) => {
    // Once for each problem, not at every look.
    if (message !== undefined && message !== problem) onProblem(message);
    problem = message;
  };

  const look = async (): Promise<void> => {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    do {
      again = false;
      const text = await readFile(file, 'utf8').catch((error: unknown) => {
        if (!signal.aborted) tell(`${file} ${readFailure(error)}; the configuration in use stays`);
        return undefined;
      });
      if (signal.aborted) return;
      if (text === undefined) continue;
      tell(undefined);
      if (text === known) continue;
      known = text;
      onChange(text);
    } while (again);
    reading = false;
  };

  const soon = () => {
    clearTimeout(settled);
    settled = setTimeout(() => void look(), quiet);
  };

  const notices = watchFolder(file, soon, onProblem);
  const regularly = setInterval(() => void look(), lookEvery);
  signal.addEventListener(
    'abort',
    () => {
      notices?.close();
      clearInterval(regularly);
      clearTimeout(settled);
    },
    { once: true },
  );
}

/** Any change in the folder is taken as a hint: with links it has another name than the file's. */
function watchFolder(file: string, onHint: () => void, onProblem: (message: string) => void) {
  const slower = (error: unknown) =>
    onProblem(
      `changes of ${basename(file)} are noticed a few seconds late, as its folder cannot be watched: ` +
        (error instanceof Error ? error.message : String(error)),
    );
  try {
    return watch(dirname(file), onHint).on('error', slower);
  } catch (error) {
    slower(error);
    return undefined;
  }
}
