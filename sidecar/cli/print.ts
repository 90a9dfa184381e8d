/** Writes a result for people to stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Writes a result for programs to stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** What is not a result: remarks and failures go to stderr, so that results can be piped. */
export function remark(text: string): void {
  process.stderr.write(`${text}\n`);
}

/**
 * Text that came over the network, safe for a terminal: control characters could move the cursor or change what
 * stands on the screen already.
 */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- they are what this is about
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/**
 * Aligned columns, two spaces apart.
 * @param rows every row as long as `head`; undefined is an empty cell
 */
export function table(head: readonly string[], rows: readonly (readonly (string | number | undefined)[])[]): string {
  const lines = [head, ...rows].map((row) => row.map((cell) => printable(String(cell ?? '-'))));
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** `2026-11-23 09:28:57Z`, UTC. @param ms since the epoch */
export function moment(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}Z`;
}

/** The same to the millisecond. */
export function preciseMoment(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ');
}

/** `12 ms`, `3.4 s`, `5 min`, `2.5 h`, `3 d`. */
export function span(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  for (const [unit, length, next] of [
    ['s', 1000, 60_000],
    ['min', 60_000, 3_600_000],
    ['h', 3_600_000, 86_400_000],
  ] as const) {
    // Rounded before it is compared, so that 59.97 s becomes 1 min and not 60 s.
    const value = Math.round((ms / length) * 10) / 10;
    if (value * length < next) return `${value} ${unit}`;
  }
  return `${Math.round((ms / 86_400_000) * 10) / 10} d`;
}
