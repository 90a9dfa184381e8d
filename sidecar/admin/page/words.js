// How numbers and times are said; as the command line says them.

/** A length of time in ms: `12 ms`, `3.4 s`, `5 min`; null for nothing. */
export function span(ms) {
  if (ms === null || ms === undefined) return null;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 86_400_000 ? `${(ms / 3_600_000).toFixed(1)} h` : `${(ms / 86_400_000).toFixed(1)} d`;
}

/** `12.3/s`, `4/min`, `0.5/h`. */
export function rate(perSecond) {
  if (perSecond === 0) return '0/s';
  const [value, unit] =
    perSecond >= 1 ? [perSecond, 's'] : perSecond * 60 >= 1 ? [perSecond * 60, 'min'] : [perSecond * 3600, 'h'];
  return `${Math.round(value * 10) / 10}/${unit}`;
}

export function percent(part, whole) {
  return whole === 0 ? null : `${Math.round((part / whole) * 1000) / 10} %`;
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

/** A `time` element in the time zone of who reads, which says UTC when it is pointed at. @param text RFC 3339 */
export function moment(text, { precise = false } = {}) {
  const made = document.createElement('time');
  if (text === null || text === undefined) {
    made.textContent = '–';
    return made;
  }
  const at = new Date(text);
  made.dateTime = text;
  made.title = `${text.replace('T', ' ').replace('Z', '')} UTC`;
  const fraction = precise ? `.${String(at.getMilliseconds()).padStart(3, '0')}` : '';
  const isToday = day.format(at) === day.format(new Date());
  made.textContent = `${isToday ? '' : `${day.format(at)} `}${clock.format(at)}${fraction}`;
  return made;
}

/** What an attempt proved, in words. */
export const evidence = {
  answered: 'answered',
  'retry-status': 'answered with a status that is tried again',
  'not-sent': 'nothing was sent',
  'no-answer': 'sent, no whole answer came back',
  'sidecar-died': 'the sidecar ended before it could tell what happened',
  'answer-too-large': 'answered with a body over maxBody',
};

/** Why a call was given up, in words. */
export const reasons = {
  exhausted: 'all attempts of the round were used up',
  'deadline-exceeded': 'its deadline passed before the next attempt',
  'outcome-unknown': 'it was sent, no answer came, and it must not be sent twice',
  'answer-too-large': 'the answer was over maxBody',
};
