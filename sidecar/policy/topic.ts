/**
 * Topics are words with dots between them. In the pattern of a subscription `*` stands for one word, `**` for any number of
 * words, none included.
 *
 * Topics whose first word begins with `$` are Holdline's own, and no wildcard stands for such a word: who wants all events
 * of the applications does not want the calls that they make, too.
 */

/** The topic of the call feed of a service. */
export function callTopic(service: string): string {
  return `$call.${service}`;
}

/** Compiles a pattern to a test for topics. */
export function topicTest(pattern: string): (topic: string) => boolean {
  if (!pattern.includes('*')) return (topic) => topic === pattern;
  const words = pattern.split('.');
  const isOwn = pattern.startsWith('$');
  return (topic) => topic.startsWith('$') === isOwn && matches(words, 0, topic.split('.'), 0);
}

function matches(pattern: readonly string[], at: number, topic: readonly string[], from: number): boolean {
  for (let p = at, t = from; ; p++, t++) {
    if (p === pattern.length) return t === topic.length;
    if (pattern[p] === '**') {
      if (p + 1 === pattern.length) return true;
      for (let rest = t; rest <= topic.length; rest++) if (matches(pattern, p + 1, topic, rest)) return true;
      return false;
    }
    if (t === topic.length || (pattern[p] !== '*' && pattern[p] !== topic[t])) return false;
  }
}
