import type { Command } from 'commander';
import { register as run } from './run.ts';

/**
 * Every command, in the order of the help; one file each. A command's file is loaded for each start of `holdline`, so
 * it imports what is heavy only in its action.
 */
export const commands: readonly ((program: Command) => void)[] = [run];
