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

async function play(system: System, fault: Fault, begin: number): Promise<void> {
  const { name, target, at, lasts, by } = fault;
  const mark = (phase: FaultMark['phase']) =>
    record(system.file, { type: 'fault', at: Date.now(), name, target, phase, ...(by !== undefined && { by }) });
  await pause(Math.max(0, begin + at - Date.now()));
  mark('begin');
  try {
    const remedy = await strike(system, fault);
    await pause(lasts);
    await remedy();
  } finally {
    mark('end');
  }
}

async function strike(system: System, { name, target, by = 0 }: Fault): Promise<Remedy> {
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
    case 'down':
    case 'away': {
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
      await Promise.all(system.links(target).map((link) => link.cut()));
      return () => heal(system, target);
    case 'stall':
      for (const link of system.links(target)) link.stall('both');
      return () => heal(system, target);
    case 'deaf':
      for (const link of system.links(target)) link.stall('to-client');
      return () => heal(system, target);
    case 'leader': {
      const node = await system.broker.leading?.();
      await node?.kill();
      return async () => node?.start();
    }
    case 'lost':
      await system.broker.lose?.();
      return nothing;
    case 'lock':
      return system.broker.lock?.() ?? nothing;
    case 'full':
      return (await system.broker.fill?.()) ?? nothing;
    case 'clock':
      system.setClock(target, by);
      return () => system.setClock(target, 0);
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

async function heal(system: System, target: string): Promise<void> {
  await Promise.all(system.links(target).map((link) => link.heal()));
}

function nothing(): void {
  // The fault has ended by itself.
}
