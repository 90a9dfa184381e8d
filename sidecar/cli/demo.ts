import type { Command } from 'commander';
import { exitCodes } from './failure.ts';
import { print } from './print.ts';

/** `holdline demo`: the product's story, played on this machine with real processes. */
export function register(program: Command): void {
  program
    .command('demo')
    .description(
      'play a told story on this machine: sample services, their sidecars, kills, and what became of the calls',
    )
    .option('--broker <url>', 'use this broker instead of an embedded one, such as nats://127.0.0.1:4222')
    .option('--no-wait', 'end after the story: exit code 0 when every step held, 1 otherwise')
    .addHelpText(
      'after',
      `
Examples:
  $ holdline demo
  $ holdline demo --no-wait --broker nats://127.0.0.1:4222`,
    )
    .action(async (options: { broker?: string; wait: boolean }) => {
      const { playDemo } = await import('../demo/story.ts');
      const held = await playDemo({ ...options, write: print });
      process.exitCode = held ? exitCodes.done : exitCodes.failed;
    });
}
