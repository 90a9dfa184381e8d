import type { CallListing, CallStory, DeadLetter } from '../../../sidecar/broker/port.ts';
import type { AttemptRecord, CallFacts } from '../../../sidecar/model/call.ts';

/** 2026-11-23T09:00:00Z */
export const nine = Date.UTC(2026, 10, 23, 9);

export const facts: CallFacts = {
  id: '01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10',
  round: 1,
  caller: 'orders',
  service: 'payments',
  route: 'charge',
  method: 'POST',
  target: '/charges?token=abc',
  acceptedAt: nine,
  deadline: nine + 86_400_000,
  idempotent: false,
  keyed: true,
};

export const refusedOnce: AttemptRecord = {
  attempt: 1,
  at: nine + 5,
  ms: 12.4,
  evidence: 'retry-status',
  status: 503,
  instance: 'a1b2c',
};

const brokenOff: AttemptRecord = {
  attempt: 2,
  at: nine + 1000,
  ms: 1200,
  evidence: 'no-answer',
  detail: 'socket hang up',
  instance: 'a1b2c',
};

export const waiting: CallListing = { call: facts, state: 'waiting', attempts: 0 };

export const answered: CallStory = {
  call: facts,
  state: 'answered',
  status: 201,
  attempts: 2,
  finishedAt: nine + 3400,
  outcome: 'answered',
  history: [
    refusedOnce,
    { attempt: 2, at: nine + 3000, ms: 400, evidence: 'answered', status: 201, instance: 'd3e4f' },
  ],
};

export const dead: DeadLetter = {
  call: facts,
  reason: 'outcome-unknown',
  diedAt: nine + 2200,
  history: [refusedOnce, brokenOff],
};
