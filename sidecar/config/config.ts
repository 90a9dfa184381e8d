/**
 * The resolved configuration: what every other room works with.
 *
 * Every default is filled in, every duration is in milliseconds, every size in bytes, every path absolute,
 * every host name lower-cased. The YAML it comes from is described by `schema.ts`.
 */

export interface Config {
  /** The service next to this sidecar; `[a-z][a-z0-9-]{0,62}`. */
  readonly service: string;
  readonly broker: BrokerConfig;
  /** Absent: this sidecar takes no calls from its service. */
  readonly outbound?: OutboundConfig;
  readonly inbound: readonly InboundConfig[];
  readonly subscribe: readonly SubscriptionConfig[];
  readonly admin: AdminConfig;
  readonly telemetry: TelemetryConfig;
  readonly shutdown: ShutdownConfig;
}

export type BrokerConfig = NatsBrokerConfig | SqliteBrokerConfig;

export interface NatsBrokerConfig {
  readonly kind: 'nats';
  /** `nats://` or `tls://` URLs, with user and password (or a token as the user) where the file had them. */
  readonly servers: readonly string[];
  /** Absolute path of a NATS credentials file. */
  readonly credentials?: string;
  readonly tls?: TlsFiles;
  /** First token of every subject and stream name, so that several installations share one NATS account. */
  readonly namespace: string;
  /** Copies of each stream. */
  readonly replicas: number;
  readonly retention: RetentionConfig;
}

export interface SqliteBrokerConfig {
  readonly kind: 'sqlite';
  /** Absolute path of the database file. */
  readonly file: string;
  readonly namespace: string;
  readonly retention: RetentionConfig;
}

/** Absolute paths of PEM files. `cert` and `key` come together. */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** How long finished things are kept, in ms. */
export interface RetentionConfig {
  /** Response events of calls without a key. */
  readonly responses: number;
  /** Response events of calls with a key. */
  readonly keyed: number;
  readonly broadcasts: number;
  readonly deadLetters: number;
}

/** Port 0 asks the system for a free port. `host` is without brackets: `::1`. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface OutboundConfig {
  /** Absent when the file names only `ports`. */
  readonly listen?: ListenAddress;
  readonly ports: readonly OutboundPort[];
  readonly unmatched: 'passthrough' | 'deny';
  readonly limits: {
    /** Calls whose connection is kept open at once. */
    readonly held: number;
    /** Bytes of their requests and answers in memory. */
    readonly heldBytes: number;
  };
  /** The first match wins. */
  readonly routes: readonly RouteConfig[];
  /** Host name, lower-cased, with `:port` where the file names one → http(s) URL. */
  readonly hosts: Readonly<Record<string, string>>;
}

/** A listener of its own for one host name. */
export interface OutboundPort {
  readonly listen: ListenAddress;
  /** The host name that requests here are for, lower-cased, with `:port` where the file names one. */
  readonly host: string;
}

export type RouteMode = 'await' | 'async' | 'broadcast' | 'observe' | 'passthrough';

export interface RouteConfig {
  /** Unique. From the file, else derived from what the route matches. */
  readonly name: string;
  readonly match: RouteMatch;
  /**
   * The peer. Absent when the file names none and the host is a pattern (or not given): then it is the host name
   * of each request.
   */
  readonly service?: string;
  readonly mode: RouteMode;
  /** Broadcast routes only, and there always. */
  readonly topic?: string;
  /** ms */
  readonly hold: number;
  readonly onHoldExpired: 504 | 202;
  /** ms from acceptance */
  readonly deadline: number;
  /** Absent: by method (RFC 9110 §9.2.2). */
  readonly idempotent?: boolean;
  readonly idempotencyKey: 'header' | 'content' | 'none';
  readonly retry: RetryConfig;
  readonly orderBy?: OrderKey;
  /** Async routes only. */
  readonly callback?: CallTarget;
  /** bytes */
  readonly maxBody: number;
  readonly onBrokerDown: 'fail' | 'passthrough';
}

/** What is absent matches everything. `*` is one segment (of a path, of a host name), `**` any number of them. */
export interface RouteMatch {
  /** Lower-cased; with `:port` only where the file names one. */
  readonly host?: string;
  /** As written: methods are case-sensitive (RFC 9110 §9.1). Never empty. */
  readonly method?: readonly string[];
  readonly path?: string;
}

export interface RetryConfig extends AttemptsConfig {
  /** Statuses that are tried again. */
  readonly on: readonly number[];
}

export interface AttemptsConfig {
  /** All tries of a round, the first included. */
  readonly attempts: number;
  /** ms */
  readonly backoff: { readonly min: number; readonly max: number };
}

/** Where the ordering key of a request is found. `segment` counts from 1; `pointer` is a JSON Pointer (RFC 6901). */
export type OrderKey =
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'path'; readonly segment: number }
  | { readonly kind: 'query'; readonly name: string }
  | { readonly kind: 'json'; readonly pointer: string };

/** `POST /somewhere` at the local service. */
export interface CallTarget {
  readonly method: string;
  readonly path: string;
}

export interface InboundConfig {
  readonly service: string;
  /** http(s) URL without a trailing slash; a path in it comes before the path of each call. */
  readonly url: string;
  /** For an https url. */
  readonly tls?: TlsFiles & { readonly servername?: string };
  readonly concurrency: number;
  readonly rate?: { readonly count: number; readonly perMs: number };
  /** ms, one attempt */
  readonly timeout: number;
  readonly health?: {
    readonly path: string;
    /** ms */
    readonly interval: number;
  };
  readonly publishCalls: boolean;
}

/** Has a `topic` or a `call`, never both. */
export type SubscriptionConfig = SubscriptionDelivery &
  ({ readonly topic: string; readonly call?: never } | { readonly call: SubscribedCalls; readonly topic?: never });

export interface SubscriptionDelivery {
  /** Unique within the service; it is the durable name on the broker. */
  readonly name: string;
  /** A CEL expression, see `model/filter.ts`. Absent: every event of the topic is wanted. */
  readonly filter?: string;
  /** `header` or `json`. */
  readonly orderBy?: OrderKey;
  readonly to: CallTarget;
  /** Where a new subscription starts; `ago` in ms before it was first made. */
  readonly from: SubscriptionStart;
  /** From the file, else the first inbound url. */
  readonly url: string;
  /** Without `on`: every answer that is not 2xx is tried again. */
  readonly retry: AttemptsConfig & { readonly on?: readonly number[] };
  /** ms, one attempt */
  readonly timeout: number;
  readonly rate?: { readonly count: number; readonly perMs: number };
  /** Standard Webhooks signing secrets, as written (with or without `whsec_`); each of them signs. */
  readonly secret?: readonly string[];
  readonly allowPrivate: boolean;
  /** The url is an endpoint somewhere else, and not the local service: it may be anybody's, and is treated with care. */
  readonly outside: boolean;
}

export type SubscriptionStart =
  | { readonly kind: 'new' }
  | { readonly kind: 'first' }
  | { readonly kind: 'ago'; readonly ago: number };

/** Which of another service's finished calls a subscription wants. What is absent matches everything. */
export interface SubscribedCalls {
  readonly service: string;
  readonly method?: readonly string[];
  /** Exact, or a pattern as in `RouteMatch`. */
  readonly path?: string;
  /** Inclusive ranges: `2xx` is 200 to 299, `409` is 409 to 409. */
  readonly status?: readonly StatusRange[];
}

export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

export interface AdminConfig {
  readonly listen: ListenAddress;
  /** Bearer token; always there when `listen` is not loopback. */
  readonly token?: string;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface TelemetryConfig {
  /** Base URL of an OTLP/HTTP receiver. */
  readonly otlp?: string;
  /** Where a trace is looked at, with `{traceId}` in the place of its id. From the file, else a guess from `otlp`. */
  readonly traceLink?: string;
  readonly log: { readonly level: LogLevel };
}

export interface ShutdownConfig {
  /** ms */
  readonly drain: number;
}
