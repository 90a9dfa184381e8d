import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { parseAuthority } from '../http/authority.ts';
import { malformed, problem } from '../http/answer.ts';
import { refuse } from './refusal.ts';
import { unreachable, type Upstreams } from './upstreams.ts';

/**
 * Opens a tunnel for CONNECT (RFC 9110 §9.3.6): bytes both ways, unread. `hosts` says where a host really is.
 * @param target the request target, `host:port`
 * @param denies only hosts named in `hosts` may be reached
 */
export function openTunnel(target: string, socket: Duplex, head: Buffer, upstreams: Upstreams, denies: boolean): void {
  const authority = parseAuthority(target);
  if (authority?.port === undefined) {
    refuse(socket, malformed(`CONNECT takes host:port, not "${target}".`));
    return;
  }
  const { host, port } = authority;
  const configured = upstreams.configured(host, port);
  if (denies && configured === undefined) {
    const detail = `No tunnel to ${host}:${port}: outbound.unmatched is deny, and the host is not under outbound.hosts.`;
    refuse(socket, problem('not-routed', { detail }));
    return;
  }
  const upstream = configured ?? { protocol: 'http:', hostname: host, port, basePath: '' };
  const name = upstream.hostname.replace(/^\[(.*)\]$/, '$1');
  const peer = connect({ host: name, port: upstream.port, allowHalfOpen: true, noDelay: true });
  let isOpen = false;
  peer.once('connect', () => {
    isOpen = true;
    socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
    if (head.length > 0) peer.write(head);
    socket.pipe(peer);
    peer.pipe(socket);
  });
  peer.on('error', (error) => {
    if (isOpen) socket.destroy();
    else refuse(socket, problem('upstream-unreachable', unreachable(upstream, error)));
  });
  // What one side closed the other side cannot go on with.
  peer.once('close', () => isOpen && socket.end());
  socket.once('close', () => peer.destroy());
}
