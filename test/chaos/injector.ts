import { setTimeout as pause } from 'node:timers/promises';
import { type FaultMark, record } from './history.ts';
import type { Fault } from './schedule.ts';
import type { System } from './system.ts';

/** Ends a fault. */
type Remedy = () => void | Promise<void>;

/**
 * Plays a schedule: each fault begins at its time and ends after its length. Resolves when the last one has ended, so
 * that the system is whole again.
 * @throws AggregateError when a fault could not be begun or ended: what was to be proved is then not
 */
export async function inject(system: System, plan: readonly Fault[], begin: number): Promise<void> {
  const results = await Promise.allSettled(plan.map((fault) => play(system, fault, begin)));
  const failures = results.filter((result) => result.status === 'rejected').map(({ reason }) => reason as unknown);
  if (failures.length > 0) throw new AggregateError(failures, 'faults could not be played as planned');
}

async function play(system: System, { name, target, at, lasts }: Fault, begin: number): Promise<void> {
  const mark = (phase: FaultMark['phase']) =>
    record(system.file, { type: 'fault', at: Date.now(), name, target, phase });
  await pause(Math.max(0, begin + at - Date.now()));
  mark('begin');
  try {
    const remedy = await strike(system, name, target);
    await pause(lasts);
    await remedy();
  } finally {
    mark('end');
  }
}

async function strike(system: System, name: Fault['name'], target: string): Promise<Remedy> {
  switch (name) {
    case 'kill': {
      const victim = system.victim(target);
      await victim.kill();
      return () => victim.start();
    }
    case 'pause': {
      const victim = system.victim(target);
      await victim.pause();
      return () => victim.resume();
    }
    case 'down': {
      const victim = system.victim(target);
      await victim.stop();
      return () => victim.start();
    }
    case 'slow':
    case 'hang':
    case 'reset':
    case 'reset-before':
    case 'unavailable':
    case 'retry-after':
      system.behave(target, { kind: name, share: 0.7 });
      return () => system.behave(target, { kind: 'well', share: 0 });
    case 'cut':
      await system.link(target).cut();
      return () => system.link(target).heal();
    case 'stall':
      system.link(target).stall('both');
      return () => system.link(target).heal();
    case 'deaf':
      system.link(target).stall('to-client');
      return () => system.link(target).heal();
    case 'lock':
      return system.broker.lock?.() ?? nothing;
    case 'full':
      return (await system.broker.fill?.()) ?? nothing;
    case 'rolling':
      for (const { part } of system.sidecars.values()) {
        await part.stop();
        await part.start();
        await part.well();
      }
      return nothing;
    case 'reload': {
      const sidecar = system.sidecars.get(target);
      sidecar?.reload('other');
      return () => sidecar?.reload('ordinary');
    }
    default:
      return name satisfies never;
  }
}

function nothing(): void {
  // The fault has ended by itself.
}
