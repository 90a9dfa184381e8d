import { METHODS } from 'node:http';
import type { CallTarget, OrderKey, StatusRange, SubscriptionStart } from './config.ts';
import { FilterError, readFilter } from '../model/filter.ts';
import { malformed, NotationError, quote } from './notation.ts';
import type { Notation } from './notation.ts';
import { duration } from './units.ts';

/** A request method; case counts (RFC 9110 §9.1). */
export const method: Notation<string> = {
  what: 'a request method',
  allowed: 'one such as GET or POST',
  pattern: /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/,
  parse(text) {
    if (!method.pattern.test(text)) throw malformed(text, method);
    const known = text.toUpperCase();
    // `post` would be legal and would never match anything.
    if (text !== known && METHODS.includes(known)) {
      throw new NotationError(`${quote(text)} is not a method that callers use, case counts; did you mean ${known}?`);
    }
    return text;
  },
  format: (value) => value,
};

/** A path without its query, exact or a pattern. */
export const pathPattern: Notation<string> = {
  what: 'a path or pattern',
  allowed: 'a path such as /charges, or a pattern such as /charges/* (* one segment, ** any number)',
  pattern: /^(\/|\*\*)[^\s?#]*$/,
  parse(text) {
    if (/^\/.*[?#]/.test(text)) {
      throw new NotationError(`${quote(text)} has a query; expected the path alone, as queries are not compared`);
    }
    if (!pathPattern.pattern.test(text)) throw malformed(text, pathPattern);
    return text;
  },
  format: (value) => value,
};

/** An origin-form request target at the local service. */
export const localPath: Notation<string> = {
  what: 'a path',
  allowed: 'one such as /healthz',
  pattern: /^\/[^\s#]*$/,
  parse(text) {
    if (!localPath.pattern.test(text)) throw malformed(text, localPath);
    return text;
  },
  format: (value) => value,
};

/** What to call at the local service. */
export const callTarget: Notation<CallTarget> = {
  what: 'a call',
  allowed: 'a method and a path, such as POST /charge-done',
  pattern: /^\S+ +\/[^\s#]*$/,
  parse(text) {
    const [, verb, path] = /^(\S+) +(\S+)$/.exec(text) ?? [];
    if (verb === undefined || path === undefined || !localPath.pattern.test(path)) throw malformed(text, callTarget);
    return { method: method.parse(verb), path };
  },
  format: ({ method: verb, path }) => `${verb} ${path}`,
};

/** Where a request's ordering key is. */
export const orderKey: Notation<OrderKey> = {
  what: 'a place to find the ordering key',
  allowed: 'header:NAME, path:N (the Nth segment), query:NAME or json:/POINTER',
  pattern: /^(header:[^\s:]+|path:[1-9]\d*|query:\S+|json:\/.*)$/,
  parse(text) {
    const [, kind, rest] = /^(header|path|query|json):(.+)$/.exec(text) ?? [];
    if (rest === undefined || !orderKey.pattern.test(text)) throw malformed(text, orderKey);
    switch (kind) {
      case 'header':
        // Field names are compared without case (RFC 9110 §5.1).
        return { kind, name: method.pattern.test(rest) ? rest.toLowerCase() : fail(text) };
      case 'path':
        return { kind, segment: Number.isSafeInteger(Number(rest)) ? Number(rest) : fail(text) };
      case 'query':
        return { kind, name: rest };
      default:
        return { kind: 'json', pointer: /~(?![01])/.test(rest) ? fail(text) : rest };
    }
  },
  format(value) {
    switch (value.kind) {
      case 'path':
        return `path:${value.segment}`;
      case 'json':
        return `json:${value.pointer}`;
      default:
        return `${value.kind}:${value.name}`;
    }
  },
};

/** The same for events, which have been sent to nobody in particular. */
export const eventOrderKey: Notation<OrderKey> = {
  what: 'a place to find the ordering key of an event',
  allowed: 'header:NAME or json:/POINTER',
  pattern: /^(header:[^\s:]+|json:\/.*)$/,
  parse(text) {
    if (/^(path|query):/.test(text)) {
      const where = `${quote(text)} is in the target of a request, which events do not have`;
      throw new NotationError(`${where}; expected ${eventOrderKey.allowed}`);
    }
    if (!eventOrderKey.pattern.test(text)) throw malformed(text, eventOrderKey);
    return orderKey.parse(text);
  },
  format: (value) => orderKey.format(value),
};

function fail(text: string): never {
  throw malformed(text, orderKey);
}

/** How far back a new subscription begins. */
export const subscriptionStart: Notation<SubscriptionStart> = {
  what: 'a starting point',
  allowed: 'new, first, or how far back, such as 24h',
  pattern: /^(new|first|\d+ ?(ms|s|m|h|d))$/,
  parse(text) {
    if (text === 'new' || text === 'first') return { kind: text };
    if (!subscriptionStart.pattern.test(text)) throw malformed(text, subscriptionStart);
    return { kind: 'ago', ago: duration.parse(text) };
  },
  format: (value) => (value.kind === 'ago' ? duration.format(value.ago) : value.kind),
};

/** Which events a subscription wants, of those of its topic; see `model/filter.ts`. */
export const filter: Notation<string> = {
  what: 'a filter',
  allowed: 'a CEL expression that is true or false, such as body.total > 100 && headers["x-country"] == "NO"',
  pattern: /\S/,
  parse(text) {
    if (!filter.pattern.test(text)) throw malformed(text, filter);
    try {
      readFilter(text.trim());
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      throw new NotationError(error.message);
    }
    return text.trim();
  },
  format: (value) => value,
};

/** One status or a class of them. */
export const statusRange: Notation<StatusRange> = {
  what: 'a status',
  allowed: 'one such as 201, or a class such as 2xx',
  pattern: /^[1-5](\d\d|xx)$/,
  parse(text) {
    if (!statusRange.pattern.test(text)) throw malformed(text, statusRange);
    return text.endsWith('xx')
      ? { from: Number(text[0]) * 100, to: Number(text[0]) * 100 + 99 }
      : { from: Number(text), to: Number(text) };
  },
  format: ({ from, to }) => (from === to ? `${from}` : `${Math.trunc(from / 100)}xx`),
};
