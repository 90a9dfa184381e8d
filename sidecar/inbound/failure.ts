/**
 * What an error of a connection or of an exchange proves, and in which words an operator reads it.
 *
 * The rule is the phase, not the code: before the request was handed to an established connection nothing was sent,
 * afterwards it may have been, whatever the error says. One kind of error is an exception: in TLS 1.3 a server
 * refuses the client's certificate after the client believes that the handshake is over (RFC 8446 §4.4.2.4), so the
 * alert arrives where an answer is expected, and the server has read nothing of the request.
 */
const REFUSED_HANDSHAKE =
  /^ERR_SSL_.*ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_(?:REVOKED|EXPIRED|UNKNOWN|REQUIRED|UNOBTAINABLE)|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE|PROTOCOL_VERSION|INSUFFICIENT_SECURITY|UNRECOGNIZED_NAME|NO_APPLICATION_PROTOCOL)$/;

/**
 * Whether an error of an exchange proves that the service got nothing of it. Unknown errors do not.
 *
 * @param fresh nothing had been exchanged on the connection before
 */
export function provesNotSent(error: Error, fresh: boolean): boolean {
  return fresh && REFUSED_HANDSHAKE.test(codeOf(error) ?? '');
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  ECONNABORTED: 'the connection was aborted',
  EPIPE: 'the connection was closed while the request was written',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  EADDRNOTAVAIL: 'no local port or address left',
  EMFILE: 'too many open files',
  ENOTFOUND: 'host name not found',
  EAI_AGAIN: 'name resolution failed for now',
  HPE_HEADER_OVERFLOW: "the answer's head is too large",
};

/** An error in words, with its code where it has one. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Where a name has several addresses (RFC 8305) each has failed in its own way.
  if (error instanceof AggregateError && error.errors.length > 0) {
    return [...new Set(error.errors.map((each) => describe(each)))].join('; ');
  }
  const code = codeOf(error);
  if (code === undefined) return error.message;
  if (code.startsWith('HPE_') && WORDS[code] === undefined)
    return `not a valid HTTP answer: ${error.message} (${code})`;
  return `${WORDS[code] ?? error.message} (${code})`;
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
