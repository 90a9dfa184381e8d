import type { ActionEvent, RawHeaders } from '../model/call.ts';
import { readFilter, type FilterVariable } from '../model/filter.ts';

/** `failed`: the filter has no value for this event, because it looks at what is not there or at something of another type. */
export type FilterVerdict = 'matches' | 'differs' | 'failed';

/** Values as a filter sees them. */
type Facts = Partial<Record<FilterVariable, unknown>>;

/**
 * Compiles the filter of a subscription to a test for its deliveries. The test never throws, and takes no longer than in proportion
 * to the size of the event.
 * @throws {FilterError} the text is no filter
 */
export function filterTest(text: string): (delivery: ActionEvent) => FilterVerdict {
  const { variables, evaluate } = readFilter(text);
  return (delivery) => {
    try {
      const value = evaluate(factsOf(delivery, variables));
      return value === true ? 'matches' : value === false ? 'differs' : 'failed';
    } catch {
      // Whatever it was: this event and this filter come to the same end each time.
      return 'failed';
    }
  };
}

function factsOf({ headers, body, caller, delivery }: ActionEvent, variables: ReadonlySet<FilterVariable>): Facts {
  const facts: Facts = { topic: delivery?.topic, publisher: caller };
  if (variables.has('headers')) facts.headers = fieldsOf(headers);
  const looksAtCall = variables.has('call') || variables.has('request') || variables.has('response');
  if (!looksAtCall && !variables.has('body')) return facts;
  const json = jsonOf(body);
  if (json === undefined) return facts;
  if (variables.has('body')) facts.body = json;
  if (looksAtCall && delivery?.call !== undefined) addCall(facts, json);
  return facts;
}

function fieldsOf(headers: RawHeaders): Map<string, string> {
  const fields = new Map<string, string>();
  for (let at = 0; at < headers.length; at += 2) addField(fields, headers[at]!, headers[at + 1]!);
  return fields;
}

/** Several fields of one name count as one list (RFC 9110 §5.3). */
function addField(fields: Map<string, string>, name: string, value: string): void {
  const lower = name.toLowerCase();
  const before = fields.get(lower);
  fields.set(lower, before === undefined ? value : `${before}, ${value}`);
}

/** The finished call that a feed's event tells of, out of its CloudEvents envelope. */
function addCall(facts: Facts, envelope: unknown): void {
  const data = mapOf(mapOf(envelope).get('data'));
  const response = mapOf(data.get('response'));
  facts.call = data.get('call');
  facts.request = messageOf(mapOf(data.get('request')));
  facts.response = messageOf(response).set('status', BigInt(Number(response.get('status'))));
}

function messageOf(told: ReadonlyMap<string, unknown>): Map<string, unknown> {
  const fields = new Map<string, string>();
  for (const [name, value] of mapOf(told.get('headers'))) addField(fields, name, String(value));
  const message = new Map<string, unknown>([['headers', fields]]);
  const body = told.get('body');
  const json = typeof body === 'string' ? parsed(body) : undefined;
  return json === undefined ? message : message.set('body', json);
}

function mapOf(value: unknown): ReadonlyMap<string, unknown> {
  return value instanceof Map ? (value as ReadonlyMap<string, unknown>) : new Map<string, unknown>();
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return parsed(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
}

/** The value of a JSON text, whatever its content type says; undefined where it is none. */
function parsed(text: string): unknown {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  return withMaps(json);
}

/**
 * The same value with maps in the place of objects: a member named `constructor` or `__proto__` is a member like any other then. Deep
 * nesting costs no stack.
 */
function withMaps(json: unknown): unknown {
  const open: [from: object, to: unknown[] | Map<string, unknown>][] = [];
  const counterpart = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    const to = Array.isArray(value) ? [] : new Map<string, unknown>();
    open.push([value, to]);
    return to;
  };
  const whole = counterpart(json);
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [from, to] = next;
    if (to instanceof Map) for (const [name, value] of Object.entries(from)) to.set(name, counterpart(value));
    else for (const value of from as unknown[]) to.push(counterpart(value));
  }
  return whole;
}
