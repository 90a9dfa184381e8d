import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Reply } from './reply.ts';

const scripts = [
  'main',
  'api',
  'calls',
  'dialog',
  'element',
  'graph',
  'letters',
  'sidecar-view',
  'story',
  'topology',
  'words',
];
const styles = ['page', 'parts', 'picture'];

const files: ReadonlyMap<string, { readonly file: string; readonly type: string }> = new Map([
  ['/', { file: 'index.html', type: 'text/html; charset=utf-8' }],
  ['/page/icon.svg', { file: 'icon.svg', type: 'image/svg+xml; charset=utf-8' }],
  ...styles.map((name) => [`/page/${name}.css`, { file: `${name}.css`, type: 'text/css; charset=utf-8' }] as const),
  ...scripts.map(
    (name) => [`/page/${name}.js`, { file: `${name}.js`, type: 'text/javascript; charset=utf-8' }] as const,
  ),
]);

/** Nothing but its own files and the API of this listener, and nobody may frame it, as it has buttons. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'";

/** The files of the page hold nothing that is secret: what they show, they ask the API for. */
export function isPage(path: string): boolean {
  return files.has(path);
}

/** One of the page's files. @param path one for which {@link isPage} holds */
export async function pageFile(path: string): Promise<Reply> {
  const found = files.get(path)!;
  const body = await readFile(join(import.meta.dirname, 'page', found.file), 'utf8');
  return {
    status: 200,
    body,
    type: found.type,
    headers: { 'content-security-policy': policy, 'referrer-policy': 'no-referrer' },
  };
}
