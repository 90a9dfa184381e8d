/** What a caller prefers (RFC 7240), as far as Holdline knows it. */
export interface Preferences {
  readonly respondAsync: boolean;
  /** How long the caller wants to wait, ms. */
  readonly wait?: number;
}

const none: Preferences = Object.freeze({ respondAsync: false });

/**
 * Reads the values of all `Prefer` header fields. Names are compared without case; of a preference given twice the
 * first one counts (RFC 7240 §2); what is unknown or malformed is ignored, as a preference is never an order.
 */
export function parsePrefer(values: readonly string[]): Preferences {
  if (values.length === 0) return none;
  let respondAsync = false;
  let wait: number | undefined;
  for (const preference of values.flatMap((value) => split(value, ','))) {
    const [first = ''] = split(preference, ';');
    const equals = first.indexOf('=');
    const name = (equals < 0 ? first : first.slice(0, equals)).trim().toLowerCase();
    const value = equals < 0 ? '' : unquote(first.slice(equals + 1).trim());
    if (name === 'respond-async') respondAsync = true;
    // Delta-seconds; more digits than these are longer than any hold.
    if (name === 'wait' && /^\d{1,9}$/.test(value)) wait ??= Number(value) * 1000;
  }
  return wait === undefined ? { respondAsync } : { respondAsync, wait };
}

/** Splits at a mark that does not stand inside a quoted string. */
function split(text: string, mark: ',' | ';'): string[] {
  if (!text.includes('"')) return text.split(mark);
  const parts: string[] = [];
  let part = '';
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quoted && char === '\\') {
      part += char + (text[++at] ?? '');
      continue;
    }
    if (char === '"') quoted = !quoted;
    if (char === mark && !quoted) {
      parts.push(part);
      part = '';
    } else {
      part += char;
    }
  }
  return [...parts, part];
}

function unquote(text: string): string {
  const inner = /^"(.*)"$/s.exec(text)?.[1];
  return inner === undefined ? text : inner.replaceAll(/\\(.)/gs, '$1');
}
