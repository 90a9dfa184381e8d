import { name } from './key.ts';

/** The name of a service: it becomes one token of broker subjects, part of stream names, a metrics label. */
export const servicePattern = /^[a-z][a-z0-9-]{0,62}$/;

export const serviceName = name(
  'a service name',
  servicePattern,
  'a small letter, then up to 62 small letters, digits or -',
);

/** Names of routes and subscriptions: one token of a topic or of a durable name, so without dots. */
export const plainName = name(
  'a name',
  /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/,
  'a letter or digit, then up to 62 letters, digits, _ or -',
);

/** What a subscription wants: a topic, or a pattern of topics. */
export const topicPattern = name(
  'a topic or pattern',
  /^([A-Za-z0-9_-]+|\*{1,2})(\.([A-Za-z0-9_-]+|\*{1,2}))*$/,
  'words of letters, digits, _ or - with dots between; * stands for one word, ** for any number, such as order.*',
);

export const topicName = name(
  'a topic',
  /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/,
  'words of letters, digits, _ or - with dots between, such as order.paid',
);
