import type { CallStory, DeadLetter } from '../broker/port.ts';
import type { AttemptRecord, CallFacts, DeadLetterReason, DeliveryFacts, Outcome } from '../model/call.ts';
import { traceIdOf, traceUrl } from '../admin/listing.ts';
import { preciseMoment, printable, span } from './print.ts';

/**
 * The whole story of one call in words, oldest first. Times are UTC.
 * @param now ms since the epoch
 * @param traceLink where traces are looked at, with `{traceId}` in it
 */
export function tellCall(story: CallStory, now: number, traceLink?: string): string {
  const { call } = story;
  const traceId = traceIdOf(story);
  const traced = traceId === undefined ? [] : [`  trace ${printable(traceUrl(traceId, traceLink) ?? traceId)}`];
  const lines = [...opening(call), ...traced, '', ...happened(story)];
  if (story.finishedAt === undefined) lines.push(entry(now, tellPresent(story, now)));
  if (story.delivered === true)
    lines.push(entry(undefined, 'a caller has had this answer; the same key gets it again'));
  if (story.delivered === false) lines.push(entry(undefined, 'no caller has had this answer yet'));
  return lines.join('\n');
}

interface Told {
  readonly at: number;
  readonly line: string;
}

/** The beginning of the last round, attempts, who attached, and the end, by their time. */
function happened(story: CallStory): string[] {
  const { call, history, attached = [], finishedAt } = story;
  const told = course(call, history);
  if (finishedAt !== undefined) {
    const since = call.round > 1 ? 'it was started again' : 'it was accepted';
    const line = entry(finishedAt, `${tellEnd(story)}, ${span(finishedAt - call.acceptedAt)} after ${since}`);
    told.push({ at: Math.max(finishedAt, told.at(-1)?.at ?? 0), line });
  }
  for (const { how, at, instance } of attached) {
    const what = how === 'waited' ? 'waits for the same answer' : 'is served the stored answer';
    told.push({
      at,
      line: entry(at, `another caller with the key attaches at sidecar ${printable(instance)} and ${what}`),
    });
  }
  return told.toSorted((a, b) => a.at - b.at).map(({ line }) => line);
}

/**
 * How the call began, and its attempts, in order. A call that was started again begins behind the attempts of the rounds before. An
 * attempt without a time stays behind the one before it.
 */
function course(call: CallFacts, history: readonly AttemptRecord[]): Told[] {
  let last = 0;
  const attempts = history.map((record) => ({ at: (last = record.at ?? last), line: tellAttempt(record) }));
  const begin = { at: call.acceptedAt, line: beginning(call) };
  const before = call.round > 1 ? attempts.filter(({ at }) => at < call.acceptedAt).length : 0;
  // Clocks of two machines differ: what began the round comes first all the same.
  const since = attempts.slice(before).map(({ at, line }) => ({ at: Math.max(at, call.acceptedAt), line }));
  return [...attempts.slice(0, before), begin, ...since];
}

/** A dead letter in words: why it died, what was tried, and what can be done. */
export function tellDeadLetter({ call, reason, status, diedAt, history }: DeadLetter): string {
  return [
    ...opening(call),
    '',
    ...course(call, history).map(({ line }) => line),
    entry(diedAt, `became a dead letter: ${reasons[reason]}${status === undefined ? '' : `; last answer ${status}`}`),
    '',
    `  holdline dead-letters replay ${call.id}    carries it out after all`,
    `  holdline dead-letters discard ${call.id}   gives it up for good${call.keyed ? ' and frees its key' : ''}`,
  ].join('\n');
}

function opening(call: CallFacts): string[] {
  if (call.delivery !== undefined) return deliveryOpening(call, call.delivery);
  const about = [
    call.idempotent ? 'idempotent' : 'not idempotent: never sent again without an answer',
    ...(call.keyed ? ['named by its key'] : []),
    ...(call.round > 1 ? [`round ${call.round}`] : []),
  ];
  return [
    `call ${call.id}`,
    `  ${printable(`${call.method} ${call.target}`)}`,
    `  from ${printable(call.caller)} to ${printable(call.service)} by route ${printable(call.route)}`,
    `  ${about.join('; ')}`,
  ];
}

function deliveryOpening(call: CallFacts, { subscription, event, topic }: DeliveryFacts): string[] {
  return [
    `delivery ${call.id}`,
    `  event ${event} on ${printable(topic)}`,
    `  from ${printable(call.caller)} to the subscription ${printable(subscription)} of ${printable(call.service)}`,
    `  ${printable(`${call.method} ${call.target}`)}`,
    ...(call.round > 1 ? [`  round ${call.round}`] : []),
  ];
}

function beginning(call: CallFacts): string {
  const deadline = `to be started before ${preciseMoment(call.deadline)}`;
  if (call.round > 1) return entry(call.acceptedAt, `started again by its key or an operator, ${deadline}`);
  if (call.delivery !== undefined) return entry(call.acceptedAt, `published by ${printable(call.caller)}`);
  return entry(call.acceptedAt, `accepted from ${printable(call.caller)}, ${deadline}`);
}

function entry(at: number | undefined, text: string): string {
  const blank = ' '.repeat(24);
  return `  ${at === undefined ? blank : preciseMoment(at)}  ${text}`;
}

const reasons: Readonly<Record<DeadLetterReason, string>> = {
  exhausted: 'exhausted, all attempts of the round were used up',
  'deadline-exceeded': 'deadline-exceeded, its deadline passed before the next attempt',
  'outcome-unknown': 'outcome-unknown, it was sent, no answer came, and it must not be sent twice',
  'answer-too-large': 'answer-too-large, the answer was over maxBody',
};

function tellAttempt(record: AttemptRecord): string {
  const { attempt, at, ms, detail, instance } = record;
  const why = detail === undefined ? '' : ` (${printable(detail)})`;
  const took = ms === undefined ? '' : ` after ${span(ms)}`;
  // Of an idempotent attempt nobody stored who began it.
  const by = instance === 'unknown' ? 'a sidecar that is gone' : `sidecar ${printable(instance)}`;
  return entry(at, `attempt ${attempt} by ${by}: ${tellEvidence(record)}${took}${why}`);
}

function tellEvidence({ evidence, status }: AttemptRecord): string {
  switch (evidence) {
    case 'answered':
      return `answered ${status ?? ''}`.trimEnd();
    case 'retry-status':
      return `answered ${status ?? ''}, which the route tries again,`;
    case 'not-sent':
      return 'nothing was sent';
    case 'no-answer':
      return 'sent, no whole answer came back';
    case 'sidecar-died':
      return 'the sidecar ended before it could tell what happened';
    case 'answer-too-large':
      return `answered ${status ?? ''} with a body over maxBody`;
    default:
      return evidence satisfies never;
  }
}

function tellEnd({ outcome, state, status, call }: CallStory): string {
  const end: Outcome | undefined = outcome;
  switch (end) {
    case 'answered':
      return `finished: ${call.caller} is answered ${status ?? ''}`.trimEnd();
    case 'cancelled':
      return 'cancelled; it is not carried out';
    case 'discarded':
      return 'the dead letter was discarded by an operator';
    case undefined:
      return `finished: ${state}${status === undefined ? '' : ` ${status}`}`;
    default:
      return `became a dead letter: ${reasons[end]}${status === undefined ? '' : `; last answer ${status}`}`;
  }
}

function tellPresent({ state, waitingFor, notBefore, call }: CallStory, now: number): string {
  if (state === 'attempting') return 'now: an attempt is under way';
  const parts = [`now: waits for ${printable(waitingFor ?? `a sidecar of ${call.service}`)}`];
  if (notBefore !== undefined && notBefore > now) parts.push(`next attempt in ${span(notBefore - now)}`);
  if (call.deadline > now) parts.push(`deadline in ${span(call.deadline - now)}`);
  return parts.join('; ');
}
