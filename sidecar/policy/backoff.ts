/** After these any pause is at its upper bound, and more of them would leave the numbers behind. */
const DOUBLINGS = 40;

/**
 * The pause before the next attempt, ms: exponential with equal jitter.
 *
 * After the first attempt it lies between `min` and `2 × min`, after the second between `2 × min` and `4 × min`, and
 * so on, and once `max` is reached between half of it and all of it. So it always stays within the bounds that the
 * route states, grows on average, and is spread by a factor of two, which keeps calls that failed together from coming
 * back together.
 *
 * @param bounds ms, `0 ≤ min ≤ max`
 * @param made attempts made in this round, 1 or more
 * @param random as `Math.random`
 */
export function backoff(
  bounds: { readonly min: number; readonly max: number },
  made: number,
  random: () => number,
): number {
  const { min, max } = bounds;
  const lower = Math.max(min, Math.min(max / 2, min * 2 ** Math.min(made - 1, DOUBLINGS)));
  const upper = Math.max(lower, Math.min(max, lower * 2));
  return Math.round(lower + random() * (upper - lower));
}

const DELAY_SECONDS = /^[0-9]+$/;
const IMF_FIXDATE = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/;
const RFC850_DATE = /^[A-Z][a-z]{5,8}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/;
const ASCTIME_DATE = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$/;

/**
 * The moment (ms since the epoch) that a `Retry-After` field names: delta-seconds or any of the three forms of an
 * HTTP-date (RFC 9110 §10.2.3, §5.6.7). Undefined where the value is neither, and where the moment is not in the
 * future: such an answer says nothing about when to come back.
 *
 * @param now ms since the epoch
 */
export function retryAfter(value: string, now: number): number | undefined {
  const text = value.trim();
  const moment = DELAY_SECONDS.test(text) ? now + Number(text) * 1000 : dateOf(text);
  return moment !== undefined && moment > now ? moment : undefined;
}

function dateOf(text: string): number | undefined {
  // Date.parse takes nearly anything for a date, and asctime, which names no zone, for a local time.
  if (IMF_FIXDATE.test(text) || RFC850_DATE.test(text)) return numberOf(Date.parse(text));
  if (ASCTIME_DATE.test(text)) return numberOf(Date.parse(`${text} GMT`));
  return undefined;
}

function numberOf(moment: number): number | undefined {
  return Number.isNaN(moment) ? undefined : moment;
}
