/** What the process ends with (contract section 2). */
export const exitCodes = { done: 0, failed: 1, usage: 2 } as const;

/** The command was understood and could not be carried out; the message is for people. Exit code 1. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
}

/** The command line makes no sense, in a way that only the command itself can see. Exit code 2. */
export class WrongUsage extends Error {
  override readonly name = 'WrongUsage';
}

/** The configuration file is invalid; `errors` are complete lines for people, every error at once. Exit code 2. */
export class InvalidConfiguration extends Error {
  override readonly name = 'InvalidConfiguration';
  readonly errors: readonly string[];
  constructor(errors: readonly string[]) {
    super(errors.join('\n'));
    this.errors = errors;
  }
}
