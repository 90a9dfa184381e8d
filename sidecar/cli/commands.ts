import type { Command } from 'commander';
import { register as asyncapi } from './asyncapi.ts';
import { register as calls } from './calls.ts';
import { register as check } from './check.ts';
import { register as demo } from './demo.ts';
import { register as deadLetters } from './dead-letters.ts';
import { register as explain } from './explain.ts';
import { register as permissions } from './permissions.ts';
import { register as run } from './run.ts';
import { register as subscriptions } from './subscriptions.ts';
import { register as topology } from './topology.ts';

/**
 * Every command, in the order of the help; one file each. A command's file is loaded at each start of `holdline`, so
 * it imports what is heavy only in its action.
 */
export const commands: readonly ((program: Command) => void)[] = [
  run,
  check,
  explain,
  asyncapi,
  calls,
  deadLetters,
  subscriptions,
  topology,
  permissions,
  demo,
];
