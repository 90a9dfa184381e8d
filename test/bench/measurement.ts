import { setTimeout as pause } from 'node:timers/promises';
import { request } from '../support/http-client.ts';
import type { Generator } from './generator.ts';
import type { Installed } from './installations.ts';
import type { Measured } from './load.ts';
import { type Part, type Usage, usageOf } from './meter.ts';
import type { Subject } from './subjects.ts';

/** What one process took for one measurement. */
export interface PartUsage {
  readonly name: string;
  /** CPU time for 1000 calls, in s; NaN where it cannot be read. */
  readonly cpuPer1000: number;
  /** Resident memory at the end, in MB (2^20 bytes); NaN where it cannot be read. */
  readonly memoryMB: number;
}

/** One subject in one round at one number of connections. */
export interface Measurement extends Measured {
  readonly round: number;
  readonly subject: string;
  readonly connections: number;
  /** How long what was accepted took to be carried out afterwards, in s: not 0 where callers do not wait for that. */
  readonly drainSeconds: number;
  readonly parts: readonly PartUsage[];
}

/** What is there for a measurement. */
export interface Bench {
  readonly generator: Generator;
  readonly callee: Installed;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** Measures once. The processes' CPU time counts until the last accepted call has been carried out. */
export async function measure(
  bench: Bench,
  subject: Subject,
  installed: Installed,
  connections: number,
  round: number,
): Promise<Measurement> {
  const parts: readonly Part[] = [
    { name: 'load generator', pid: bench.generator.pid },
    ...installed.parts,
    ...bench.callee.parts,
  ];
  const servedBefore = await served(bench.callee);
  const before = parts.map(({ pid }) => usageOf(pid));
  const measured = await bench.generator.run({
    port: installed.port,
    path: subject.path,
    bodyBytes: subject.bodyBytes,
    keyed: subject.keyed,
    status: subject.status,
    connections,
    warmUpMs: bench.warmUpMs,
    measureMs: bench.measureMs,
  });
  const ended = performance.now();
  while ((await served(bench.callee)) - servedBefore < measured.total - measured.failed) {
    if (performance.now() - ended > 120_000) throw new Error(`${subject.name}: accepted calls were not carried out`);
    await pause(20);
  }
  const drainSeconds = subject.status === 202 ? (performance.now() - ended) / 1000 : 0;
  return {
    ...measured,
    round,
    subject: subject.name,
    connections,
    drainSeconds,
    parts: parts.map((part, index) => used(part, before[index], measured.total)),
  };
}

function used({ name, pid }: Part, before: Usage | undefined, calls: number): PartUsage {
  const after = usageOf(pid);
  return {
    name,
    cpuPer1000: after && before ? ((after.cpuSeconds - before.cpuSeconds) * 1000) / calls : Number.NaN,
    memoryMB: after ? after.memory / 2 ** 20 : Number.NaN,
  };
}

async function served(callee: Installed): Promise<number> {
  return Number((await request(`http://127.0.0.1:${callee.port}/served`)).text);
}
