import { execFile } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { isExecutable } from './server-binary.ts';

const run = promisify(execFile);
const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
/** How long the installation of the package may take before the tests of the page are left out, ms. */
const installLimit = 300_000;

/**
 * A Chromium that is there: the one that CHROMIUM_BIN names, else one on the PATH. Undefined where there is none.
 * @throws Error when CHROMIUM_BIN names something else
 */
export async function findChromium(): Promise<string | undefined> {
  const exact = process.env['CHROMIUM_BIN'];
  if (exact) {
    if (await isExecutable(exact)) return exact;
    throw new Error(`CHROMIUM_BIN is ${exact}, which cannot be executed`);
  }
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
  for (const candidate of folders.flatMap((folder) => names.map((name) => join(folder, name)))) {
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

/**
 * The same; where there is none, root on Debian gets the distribution's package, which needs others and so is installed.
 * Undefined where that is not possible, or takes too long: tests of the page are then left out, and say so.
 */
export async function provideChromium(tell: (line: string) => void): Promise<string | undefined> {
  const found = await findChromium();
  if (found !== undefined || process.getuid?.() !== 0) return found;
  tell('installing Chromium with apt, for the tests of the page');
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, timeout: installLimit };
  const install = ['install', '--yes', '--no-install-recommends', 'chromium'];
  try {
    await run('apt-get', install, options).catch(async () => {
      // A bare machine has no package lists.
      await run('apt-get', ['update'], options);
      await run('apt-get', install, options);
    });
  } catch (error) {
    tell(`Chromium could not be installed: ${String(error).split('\n', 1)[0]}`);
  }
  return await findChromium();
}

/** A headless browser, to be closed by who asked for it. */
export async function openChromium(executablePath: string): Promise<Browser> {
  // Loaded only where there is a browser for it.
  const { chromium } = await import('playwright-core');
  // The sandbox of Chromium does not work for root; /dev/shm is small in containers.
  return await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}
