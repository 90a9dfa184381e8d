import type { Config } from '../../../sidecar/config/config.ts';
import { readConfig } from '../../../sidecar/config/load.ts';

/** A configuration as it is loaded from this text. @throws Error with its mistakes */
export function configOf(text: string): Config {
  const loaded = readConfig(text, 'holdline.yaml', {});
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors));
  return loaded.config;
}
