// One call's whole story, or one dead letter's: what happened, when, and what can be done.
import { ask } from './api.js';
import { confirmed, doing, say } from './dialog.js';
import { button, element, facts } from './element.js';
import { stateOf } from './calls.js';
import { actions } from './letters.js';
import { count, evidence, moment, reasons, span } from './words.js';

export function storyView(id, again) {
  const root = element('section', []);
  const gone =
    'The broker knows no such call. What has finished is kept for its retention only, and a discarded call is forgotten.';
  return {
    title: 'One call',
    root,
    refresh: () => show(root, `/api/calls/${id}`, gone, (story) => callParts(story, again)),
  };
}

/** Deliveries to subscriptions are no calls; their dead letters are all there is to tell. */
export function letterView(id, again) {
  const root = element('section', []);
  const gone = 'There is no such dead letter; it may have been replayed or discarded.';
  return {
    title: 'One dead letter',
    root,
    refresh: () => show(root, `/api/dead-letters/${id}`, gone, (letter) => letterParts(letter, again)),
  };
}

async function show(root, path, gone, partsOf) {
  const found = await ask(path).catch((error) => {
    if (error.status === 404) return undefined;
    throw error;
  });
  // While it waits, the time since when it does is part of what is shown.
  const says = JSON.stringify([found, found?.finishedAt === null ? Date.now() : 0]);
  if (says === root.says) return;
  root.says = says;
  const focused = root.contains(document.activeElement) ? document.activeElement.textContent : undefined;
  root.replaceChildren(
    ...(found === undefined ? [element('h1', 'Not found'), element('p', gone, { class: 'note' })] : partsOf(found)),
  );
  if (focused !== undefined)
    [...root.querySelectorAll('a, button')].find((each) => each.textContent === focused)?.focus();
}

function callParts(story, again) {
  const round = story.round > 1 ? `, round ${story.round}` : '';
  const letter = { ...story, reason: story.outcome };
  const possible = [];
  if (story.state === 'dead') possible.push(...actions(letter, () => afterwards(story.id, again)));
  if (story.state === 'waiting' && story.history.every(({ evidence: proved }) => proved === 'not-sent')) {
    possible.push(button('Cancel call', () => doing(cancel(story, again))));
  }
  return [
    heading(story, stateOf(story.state), possible),
    facts({
      'Call id': element('code', story.id),
      'From → to': `${story.caller} → ${story.service}${round}`,
      Route: story.route,
      Status: story.status,
      Repeats: story.idempotent
        ? 'idempotent: sent again when no answer came'
        : 'not idempotent: never sent again without an answer',
      Key: story.keyed ? 'named by its Idempotency-Key' : 'none of its own',
      Deadline: moment(story.deadline),
      Answer:
        story.delivered === null
          ? null
          : story.delivered
            ? 'a caller has had it; the same key gets it again'
            : 'no caller has had it yet',
      Trace: traceOf(story),
    }),
    element('h2', 'What happened'),
    timeline(story.acceptedAt, [...callEvents(story), ...present(story)]),
  ];
}

function letterParts(letter, again) {
  const reason = element('span', letter.reason, { class: 'state dead' });
  return [
    heading(
      letter,
      reason,
      actions(letter, () => afterwards(letter.id, again)),
    ),
    facts({
      'Delivery id': element('code', letter.id),
      Event: element('code', letter.event),
      Topic: letter.topic,
      'From → to': `${letter.caller} → ${letter.service}/${letter.subscription}`,
      Status: letter.status,
    }),
    element('h2', 'What happened'),
    timeline(letter.acceptedAt, [
      { at: letter.acceptedAt, kind: 'begin', text: `published by ${letter.caller}` },
      ...letter.history.map(attemptEvent),
      { at: letter.diedAt, kind: 'dead', text: `became a dead letter: ${reasons[letter.reason] ?? letter.reason}` },
    ]),
  ];
}

function heading({ method, target }, state, possible) {
  const title = element('h1', [
    element('span', method, { class: 'method' }),
    ' ',
    element('span', target, { class: 'target' }),
  ]);
  return element('div', [element('div', [title, state]), element('div', possible, { class: 'actions' })], {
    class: 'heading',
  });
}

/** A link where the configuration says where traces are looked at. */
function traceOf({ traceId, traceUrl }) {
  if (traceId === null) return 'none: this call was not traced';
  const id = element('code', traceId);
  if (!/^https?:/.test(traceUrl ?? ''))
    return [id, element('span', ' telemetry.traceLink makes a link of it', { class: 'note' })];
  return [element('a', ['Open the trace'], { href: traceUrl, target: '_blank', rel: 'noreferrer' }), ' ', id];
}

function callEvents(story) {
  const events = [
    {
      at: story.acceptedAt,
      kind: 'begin',
      text: story.round > 1 ? `started again: round ${story.round}` : `accepted from ${story.caller}`,
      more: `stored for ${story.service}`,
    },
  ];
  let last = story.acceptedAt;
  // An attempt without a time stays behind the one before it.
  for (const record of story.history) events.push({ ...attemptEvent(record), order: (last = record.at ?? last) });
  for (const { at, how, instance } of story.attached) {
    const what = how === 'waited' ? 'waits for the same answer' : 'is served the stored answer';
    events.push({
      at,
      kind: 'attached',
      text: 'another caller with the key attaches',
      more: `${what}, at sidecar ${instance}`,
    });
  }
  if (story.finishedAt !== null)
    events.push({ at: story.finishedAt, order: story.finishedAt > last ? story.finishedAt : last, ...end(story) });
  return events.toSorted(byTime);
}

function byTime(a, b) {
  const [first, second] = [a.order ?? a.at, b.order ?? b.at];
  return first < second ? -1 : first > second ? 1 : 0;
}

function end({ outcome, state, status, caller, acceptedAt, finishedAt }) {
  const more = `${span(Math.max(0, Date.parse(finishedAt) - Date.parse(acceptedAt)))} after it was accepted`;
  if (outcome === 'answered')
    return { kind: status >= 500 ? 'bad' : 'good', text: `${caller} is answered ${status ?? ''}`, more };
  if (outcome === 'cancelled') return { kind: 'attached', text: 'cancelled; it is not carried out', more };
  const answer = status === null ? '' : `; last answer ${status}`;
  return { kind: 'dead', text: `became a dead letter: ${reasons[outcome] ?? outcome ?? state}${answer}`, more };
}

function attemptEvent({ attempt, at, ms, evidence: proved, status, detail, instance }) {
  const kind = proved === 'answered' ? (status >= 500 ? 'bad' : 'good') : proved === 'not-sent' ? 'slow' : 'bad';
  const took = ms === null ? '' : ` after ${span(ms)}`;
  const said = `${evidence[proved] ?? proved}${status === null ? '' : ` (${status})`}${took}`;
  return {
    at,
    kind,
    text: `attempt ${attempt}: ${said}`,
    more: [detail, instance === 'unknown' ? 'by a sidecar that is gone' : `by sidecar ${instance}`]
      .filter(Boolean)
      .join(', '),
  };
}

/** What an open call is waiting for, now. */
function present({ state, service, waitingFor, notBefore, deadline, finishedAt }) {
  if (finishedAt !== null || state === 'dead') return [];
  const now = Date.now();
  if (state === 'attempting') return [{ at: null, kind: 'now', text: 'now: an attempt is under way' }];
  const more = [];
  if (notBefore !== null && Date.parse(notBefore) > now)
    more.push(`next attempt in ${span(Date.parse(notBefore) - now)}`);
  if (deadline !== null && Date.parse(deadline) > now) more.push(`deadline in ${span(Date.parse(deadline) - now)}`);
  return [
    { at: null, kind: 'now', text: `now: waits for ${waitingFor ?? `a sidecar of ${service}`}`, more: more.join('; ') },
  ];
}

function timeline(since, events) {
  const entries = events.map(({ at, kind, text, more }) => {
    const offset = at === null || at === since ? '' : `+${span(Math.max(0, Date.parse(at) - Date.parse(since)))}`;
    const when = element(
      'div',
      [at === null ? '' : moment(at, { precise: true }), element('span', offset, { class: 'note' })],
      { class: 'when' },
    );
    const what = element(
      'div',
      [element('span', text), ...(more ? [element('span', more, { class: 'note free' })] : [])],
      { class: 'what' },
    );
    return element('li', [when, what], { class: kind });
  });
  return element('ol', entries, { class: 'timeline', 'aria-label': count(entries.length, 'event') });
}

async function cancel({ id, method, path }, again) {
  const detail = 'Nothing of it has been sent. Its caller is answered 410.';
  if (!(await confirmed(`Cancel ${method} ${path}?`, detail, 'Cancel call'))) return;
  try {
    await ask(`/api/calls/${id}/cancel`, 'POST');
    say('Cancelled.');
  } catch (error) {
    say(error.message, true);
  }
  await again();
}

/** What was discarded has no story any more. */
async function afterwards(id, again) {
  const isThere = await ask(`/api/calls/${id}`).then(
    () => true,
    () => false,
  );
  if (isThere) await again();
  else location.hash = '/dead-letters';
}
