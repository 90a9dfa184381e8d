import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { AddressRefused, isPublicAddress, lookupPublic } from '../../../sidecar/http/public-address.ts';

describe('a public address', () => {
  test.for([
    ['8.8.8.8', true],
    ['1.1.1.1', true],
    ['172.15.255.255', true],
    ['172.32.0.0', true],
    ['100.63.255.255', true],
    ['100.128.0.0', true],
    ['11.0.0.0', true],
    ['192.167.255.255', true],
    ['223.255.255.255', true],
    ['2606:4700::1111', true],
    ['2001:4860:4860::8888', true],
    ['64:ff9b::8.8.8.8', true],
    ['::ffff:8.8.8.8', true],

    ['0.0.0.0', false],
    ['10.1.2.3', false],
    ['100.64.0.1', false],
    ['100.100.100.200', false],
    ['127.0.0.1', false],
    ['127.255.255.254', false],
    ['168.63.129.16', false],
    ['169.254.169.254', false],
    ['172.16.0.1', false],
    ['172.31.255.255', false],
    ['192.0.0.192', false],
    ['192.168.1.1', false],
    ['198.19.0.1', false],
    ['224.0.0.1', false],
    ['255.255.255.255', false],
    ['::', false],
    ['::1', false],
    ['::127.0.0.1', false],
    ['::ffff:127.0.0.1', false],
    ['::ffff:7f00:1', false],
    ['::FFFF:A00:1', false],
    ['::ffff:0:127.0.0.1', false],
    ['0:0:0:0:0:ffff:a9fe:a9fe', false],
    ['64:ff9b::a9fe:a9fe', false],
    ['64:ff9b::10.0.0.1', false],
    ['64:ff9b:1::8.8.8.8', false],
    ['2001:0:4136:e378:8000:63bf:3fff:fdd2', false],
    ['2002:7f00:1::', false],
    ['2001:db8::1', false],
    ['fc00::1', false],
    ['fd00:ec2::254', false],
    ['fe80::1', false],
    ['fe80::1%lo', false],
    ['2606:4700::1111%lo', false],
    ['fec0::1', false],
    ['ff02::1', false],

    ['localhost', false],
    ['0x7f.1', false],
    ['2130706433', false],
    ['', false],
  ] as const)('%s: %s', ([address, expected]) => {
    expect(isPublicAddress(address)).toBe(expected);
  });
});

describe('a name that leads to this machine', () => {
  test.for([true, false])('cannot be connected to (all addresses at once: %s)', async (autoSelectFamily) => {
    const socket = connect({ host: 'localhost', port: 9, lookup: lookupPublic, autoSelectFamily });
    const { promise, resolve } = Promise.withResolvers<Error>();
    socket.once('error', resolve);
    const error = await promise;
    expect(error).toBeInstanceOf(AddressRefused);
    expect(error.message).toMatch(/^localhost leads to .*127\.0\.0\.1.*, which is not a public address; /);
  });

  test('and one that does not exist is not found', async () => {
    const socket = connect({ host: 'nowhere.invalid', port: 9, lookup: lookupPublic });
    const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException>();
    socket.once('error', resolve);
    expect((await promise).code).toMatch(/ENOTFOUND|EAI_AGAIN/);
  });
});
