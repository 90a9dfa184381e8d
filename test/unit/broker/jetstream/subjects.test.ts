import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { orderToken, readOrdered, Subjects } from '../../../../sidecar/broker/jetstream/subjects.ts';
import { CallIds, contentKey, keyedCallId } from '../../../../sidecar/model/call-id.ts';
import { topicTest } from '../../../../sidecar/policy/topic.ts';
import { serviceName } from '../../model/arbitraries.ts';

/** As the configuration allows it. */
const namespace = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,31}$/);
const round = fc.integer({ min: 1, max: 10_000 });
const newId = fc.tuple(serviceName, fc.nat()).map(([service, now]) => new CallIds('abcde').next(service, now));
const keyedId = fc
  .tuple(serviceName, fc.string())
  .map(([service, key]) => keyedCallId({ caller: 'c', service, method: 'POST', path: '/', key }));
const callId = fc.oneof(newId, keyedId);

const contentKeys = fc
  .string()
  .map((text) =>
    contentKey({ caller: 'c', service: 's', host: 'h', method: 'POST', fingerprint: text, credentials: [] }),
  );

const place = fc.record({
  ns: namespace,
  callee: serviceName,
  caller: serviceName,
  id: callId,
  round,
  key: contentKeys,
});

/** A token that is literal: no wildcard, no space, not empty (NATS: subject-based messaging). */
const TOKEN = /^[A-Za-z0-9_-]+$/;

/** Whether a stream that listens on `filter` takes `subject`. */
function takes(filter: string, subject: string): boolean {
  const [wanted, given] = [filter.split('.'), subject.split('.')];
  for (const [i, token] of wanted.entries()) {
    if (token === '>') return given.length > i;
    if (given[i] === undefined || (token !== '*' && token !== given[i])) return false;
  }
  return wanted.length === given.length;
}

describe('for all service names, namespaces and ids', () => {
  test('subjects are literal and streams may be called so', () => {
    fc.assert(
      fc.property(place, fc.string(), ({ ns, callee, caller, id, round: n, key }, orderKey) => {
        const subjects = new Subjects(ns);
        for (const subject of [
          subjects.action(callee, caller, id),
          subjects.ordered(callee, orderKey, caller, id),
          subjects.response(caller, id),
          subjects.announced(caller, id),
          subjects.delivered(caller, id, n),
          subjects.content(caller, key),
          subjects.progress(callee, id, n),
          subjects.dead(callee, caller, id),
          subjects.control(callee),
        ]) {
          expect(subject.split('.').filter((token) => !TOKEN.test(token))).toEqual([]);
        }
        for (const stream of [
          subjects.actionStream(callee),
          subjects.orderedStream(callee),
          subjects.responseStreamOf(caller, id),
          subjects.attemptStream(callee),
          subjects.deadStream(),
        ]) {
          expect(stream).toMatch(TOKEN);
        }
      }),
    );
  });

  test('the name of a stream tells its service, and only in its own namespace', () => {
    fc.assert(
      fc.property(namespace, namespace, serviceName, (ns, other, service) => {
        fc.pre(ns !== other);
        const subjects = new Subjects(ns);
        const names = {
          actions: subjects.actionStream(service),
          ordered: subjects.orderedStream(service),
          responses: subjects.responseStream(service),
          keyed: subjects.keyedStream(service),
          attempts: subjects.attemptStream(service),
        };
        for (const [kind, name] of Object.entries(names)) {
          expect(subjects.readStream(name)).toEqual({ kind, service });
          expect(new Subjects(other).readStream(name)).toBeUndefined();
        }
        expect(subjects.readStream(subjects.deadStream())).toBeUndefined();
      }),
    );
  });

  test('each subject of a call is its own: another call, caller or callee has another', () => {
    fc.assert(
      fc.property(place, place, (a, b) => {
        fc.pre(JSON.stringify({ ...a, round: 0, key: '' }) !== JSON.stringify({ ...b, round: 0, key: '' }));
        const subjectsOf = ({ ns, callee, caller, id }: typeof a) => {
          const subjects = new Subjects(ns);
          return [subjects.action(callee, caller, id), subjects.dead(callee, caller, id)];
        };
        const [first, second] = [subjectsOf(a), subjectsOf(b)];
        expect(first.filter((subject) => second.includes(subject))).toEqual([]);
      }),
    );
  });

  test('an instance hears the announcements of its own new calls, and of no others', () => {
    fc.assert(
      fc.property(namespace, serviceName, serviceName, newId, keyedId, (ns, caller, other, own, keyed) => {
        fc.pre(caller !== other);
        const subjects = new Subjects(ns);
        const mine = subjects.announcedTo(caller, 'abcde');
        expect(takes(mine, subjects.announced(caller, own))).toBe(true);
        expect(takes(mine, subjects.announced(caller, keyed))).toBe(false);
        expect(takes(mine, subjects.announced(other, own))).toBe(false);
        expect(takes(subjects.announcedTo(caller, 'abcdf'), subjects.announced(caller, own))).toBe(false);
      }),
    );
  });
});

test('the filter of a topic pattern lets through all that the pattern wants, and no more where it can be said', () => {
  const word = fc.constantFrom('a', 'b', 'order');
  const patterns = fc.array(fc.oneof(word, fc.constantFrom('*', '**')), { minLength: 1, maxLength: 4 });
  const topics = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join('.'));
  fc.assert(
    fc.property(patterns, topics, newId, (words, topic, id) => {
      const subjects = new Subjects('holdline');
      const pattern = words.join('.');
      const passes = takes(subjects.broadcasts(pattern), subjects.broadcast('orders', topic, id));
      const wanted = topicTest(pattern)(topic);
      const exact = !words.slice(0, -1).includes('**');
      if (exact) expect(passes).toBe(wanted);
      else if (wanted) expect(passes).toBe(true);
    }),
  );
});

test('an ordered call is found by its order key, by its id alone, and by what its announcement says', () => {
  fc.assert(
    fc.property(place, fc.string(), fc.string(), ({ ns, callee, caller, id }, orderKey, other) => {
      fc.pre(orderKey !== other);
      const subjects = new Subjects(ns);
      const subject = subjects.ordered(callee, orderKey, caller, id);
      const order = orderToken(orderKey);
      expect(readOrdered(subject)).toEqual({ order, caller, id });
      expect(subjects.orderedAt(callee, order, caller, id)).toBe(subject);
      expect(takes(subjects.queue(callee, order), subject)).toBe(true);
      expect(takes(subjects.queue(callee, orderToken(other)), subject)).toBe(false);
      expect(takes(subjects.orderedAnywhere(callee, caller, id), subject)).toBe(true);
    }),
  );
});

test('exactly these: another release, and programs without Holdline, count on them', () => {
  const subjects = new Subjects('holdline');
  const id = '01890a5d-ac96-774b-8cce-b302099a8057';
  const keyed = '01890a5d-ac96-874b-8cce-b302099a8057';
  const mail = { service: 'mail', subscription: 'on-paid' };
  expect({
    actions: [subjects.actionStream('payments'), subjects.action('payments', 'orders', id)],
    ordered: [subjects.orderedStream('payments'), subjects.ordered('payments', 'customer 42', 'orders', id)],
    queued: subjects.queued('payments'),
    responses: [subjects.responseStreamOf('orders', id), subjects.response('orders', id)],
    keyed: [subjects.responseStreamOf('orders', keyed), subjects.response('orders', keyed)],
    delivered: subjects.delivered('orders', keyed, 2),
    content: subjects.content('orders', 'Uo-_9'),
    announced: [subjects.announced('orders', id), subjects.announced('orders', keyed)],
    announcedTo: subjects.announcedTo('orders', '333ac'),
    attempts: [subjects.attemptStream('payments'), subjects.progress('payments', id, 2)],
    dead: [subjects.deadStream(), subjects.dead('payments', 'orders', id)],
    control: subjects.control('payments'),
    broadcasts: [subjects.broadcastStream(), subjects.broadcast('orders', 'order.paid', id)],
    deliveries: [subjects.deliveryStream(), subjects.delivery(mail, keyed, 2)],
    redeliveries: [subjects.redeliveryStream(), subjects.redelivery(mail, keyed)],
    consumer: subjects.subscriptionConsumer(mail),
  }).toEqual({
    actions: ['holdline_actions_payments', `holdline.act.payments.orders.${id}`],
    ordered: ['holdline_ordered_payments', `holdline.ord.payments.44dda82580e671c1379226f9.orders.${id}`],
    queued: 'holdline.rto.payments.*.*.*',
    responses: ['holdline_responses_orders', `holdline.res.orders.333ac.${id}`],
    keyed: ['holdline_keyed_orders', `holdline.key.orders.res.${keyed}`],
    delivered: `holdline.key.orders.had.${keyed}.2`,
    content: 'holdline.key.orders.now.Uo-_9',
    announced: [`holdline.rt.orders.333ac.${id}`, `holdline.rtk.orders.res.${keyed}`],
    announcedTo: 'holdline.rt.orders.333ac.*',
    attempts: ['holdline_attempts_payments', `holdline.att.payments.${id}.2`],
    dead: ['holdline_dead', `holdline.dead.payments.orders.${id}`],
    control: 'holdline.ctl.payments',
    broadcasts: ['holdline_broadcasts', `holdline.evt.orders.order.paid.${id}`],
    deliveries: ['holdline_deliveries', `holdline.dlv.mail.on-paid.${keyed}.2`],
    redeliveries: ['holdline_redeliveries', `holdline.again.mail.on-paid.${keyed}`],
    consumer: 'mail_on-paid',
  });
});

test.each(['', 'actions_payments', 'holdline_actions_', 'holdline_actions_Payments', 'holdline_actions_a_b', 'KV_x'])(
  'a stream called %j is a stranger',
  (name) => {
    expect(new Subjects('holdline').readStream(name)).toBeUndefined();
  },
);
