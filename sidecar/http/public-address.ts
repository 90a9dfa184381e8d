import { lookup, type LookupAddress } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/**
 * Which addresses are somewhere out there. A webhook goes to an endpoint that others may have named, so it must not be led
 * to what only this machine or its network can reach: a database, an admin port, a cloud's metadata service (SSRF).
 *
 * The tables are the IANA special-purpose registries (RFC 6890 and what was added since).
 */

/** IPv4: all but these. */
const special4: readonly [net: string, bits: number][] = [
  ['0.0.0.0', 8], // this network (RFC 791)
  ['10.0.0.0', 8], // private (RFC 1918)
  ['100.64.0.0', 10], // shared, carrier-grade NAT (RFC 6598); a metadata service of one cloud
  ['127.0.0.0', 8], // loopback
  ['168.63.129.16', 32], // public by registry, but a metadata service of one cloud
  ['169.254.0.0', 16], // link-local (RFC 3927); the metadata services of most clouds
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // protocol assignments (RFC 6890)
  ['192.0.2.0', 24], // documentation (RFC 5737)
  ['192.88.99.0', 24], // former 6to4 relays (RFC 7526)
  ['192.168.0.0', 16], // private
  ['198.18.0.0', 15], // benchmarks (RFC 2544)
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, and broadcast
];

/** IPv6: nothing but these … */
const global6: readonly [net: string, bits: number][] = [
  ['2000::', 3], // global unicast (RFC 4291)
  ['64:ff9b::', 96], // NAT64: an IPv4 address, as DNS64 makes it (RFC 6052)
  ['::ffff:0:0', 96], // IPv4-mapped
];

/** … and of them, all but these. */
const special6: readonly [net: string, bits: number][] = [
  ['2001::', 23], // protocol assignments, Teredo and benchmarks among them (RFC 2928)
  ['2001:db8::', 32], // documentation (RFC 3849)
  ['2002::', 16], // 6to4: an IPv4 address and a relay that nobody knows (RFC 7526)
  ['3fff::', 20], // documentation (RFC 9637)
];

const special = new BlockList();
const global = new BlockList();
for (const [net, bits] of special4) {
  special.addSubnet(net, bits, 'ipv4');
  // The server side of NAT64 reaches the embedded address from within its own network.
  special.addSubnet(`64:ff9b::${net}`, 96 + bits, 'ipv6');
  special.addSubnet(`::ffff:${net}`, 96 + bits, 'ipv6');
}
for (const [net, bits] of special6) special.addSubnet(net, bits, 'ipv6');
for (const [net, bits] of global6) global.addSubnet(net, bits, 'ipv6');

/** Whether an IP address, as text, is a public one. What is no address is none. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !special.check(address, 'ipv4');
    case 6:
      // An address with a zone belongs to an interface of this machine.
      return !address.includes('%') && global.check(address, 'ipv6') && !special.check(address, 'ipv6');
    default:
      return false;
  }
}

/** An endpoint that is allowed to be public only is not. */
export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
  constructor(host: string, addresses: readonly string[]) {
    const where = addresses.length === 1 && addresses[0] === host ? '' : ` leads to ${addresses.join(', ')}, which`;
    super(`${host}${where} is not a public address; \`allowPrivate: true\` in the subscription would allow it`);
  }
}

/**
 * Resolves names to their public addresses only; for `net.connect` and `tls.connect`, so that what was looked at is what is
 * connected to, and a name cannot lead elsewhere in between. They do not ask it about a host that is an address already.
 */
export const lookupPublic: LookupFunction = (hostname, options, callback) => {
  const { all } = options;
  lookup(hostname, { ...options, all: true }, (error, found: LookupAddress[]) => {
    const [first, ...others] = error === null ? found.filter(({ address }) => isPublicAddress(address)) : [];
    if (first === undefined) {
      callback(error ?? refusal(hostname, found), [], undefined);
    } else if (all === true) {
      callback(null, [first, ...others]);
    } else {
      callback(null, first.address, first.family);
    }
  });
};

function refusal(host: string, found: readonly LookupAddress[]): AddressRefused {
  return new AddressRefused(
    host,
    found.map(({ address }) => address),
  );
}
