/** A whole number of an option. @throws {RangeError} text that is none, or is below `from` or over ten million */
export function whole(name: string, text: string, from = 1): number {
  const value = Number(text);
  if (!/^(0|[1-9]\d{0,7})$/.test(text) || value < from || value > 10_000_000) {
    throw new RangeError(`--${name} takes whole numbers from ${from} to 10000000, not ${text}`);
  }
  return value;
}

/** Whole numbers with commas between them. @throws {RangeError} as `whole` */
export function list(name: string, text: string, from = 1): readonly number[] {
  return text.split(',').map((each) => whole(name, each, from));
}

/** A time. @throws {RangeError} text that is none */
export function seconds(name: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new RangeError(`--${name} is more than 0 and at most 3600, not ${text}`);
  return value;
}
