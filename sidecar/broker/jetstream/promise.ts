import type { DurabilityPromise } from '../port.ts';

function numbersOf(version: string): number[] {
  return version
    .split(/[.-]/)
    .slice(0, 3)
    .map((part) => Number.parseInt(part, 10) || 0);
}

/** Compares dotted versions by their first three numbers. */
export function atLeast(version: string, floor: string): boolean {
  const [a, b] = [numbersOf(version), numbersOf(floor)];
  for (let i = 0; i < 3; i++) {
    const [left, right] = [a[i] ?? 0, b[i] ?? 0];
    if (left !== right) return left > right;
  }
  return true;
}

/**
 * What JetStream really promises, from the server's version, the replicas and the storage of the streams (research: jetstream.md §4).
 * Whether the server syncs always is not visible to a client, so nothing here counts on it.
 */
export function durabilityPromise(version: string, replicas: number, storage: string): DurabilityPromise {
  const file = storage === 'file';
  const clustered = replicas >= 3;
  const soundCluster = clustered && atLeast(version, '2.11.0');
  const notes: string[] = [];
  if (!file) {
    notes.push('The streams are kept in memory: a restart of the broker loses every call that is not finished.');
  } else if (!clustered) {
    notes.push(
      'One copy on one server: every acknowledged call survives kill -9 of any sidecar and of the broker. ' +
        'A power failure or a crash of the operating system can lose what was acknowledged since the last sync: ' +
        (atLeast(version, '2.10.0')
          ? 'two minutes by default, nothing with `sync_interval: always`.'
          : 'up to a minute.'),
    );
    notes.push('The loss of the server’s disk loses every call that is not finished. Three replicas survive it.');
  } else if (soundCluster) {
    notes.push(
      `${replicas} copies: no single failure loses an acknowledged call. ` +
        'Power failure of all nodes at once can lose the last two minutes unless `sync_interval: always` is set.',
    );
    if (!atLeast(version, '2.12.3')) {
      notes.push('Changing the members of the cluster while it is under load can lose data before nats-server 2.12.3.');
    }
  } else {
    notes.push(
      `${replicas} copies, but nats-server ${version} is older than 2.11: a change of leader can leave calls undelivered until ` +
        'the broker is restarted. Use 2.11 or later for a cluster.',
    );
  }
  if (replicas === 2) notes.push('Two replicas stop when either server is down; use one or three.');
  return {
    engine: 'JetStream',
    version,
    replicas,
    storage,
    survives: {
      sidecarKill: true,
      brokerKill: file || soundCluster,
      brokerNodeLoss: soundCluster,
      powerLossOfOneNode: soundCluster,
      powerLossOfAllNodes: false,
    },
    notes,
  };
}
