import { expect, test } from 'vitest';
import { check } from '../../chaos/checker.ts';
import { type Outcome, report, table } from '../../chaos/report.ts';

const counts = check([]).counts;
const outcomes: Outcome[] = [
  {
    engine: 'nats',
    seed: 7,
    verdict: 'held',
    seconds: 18,
    result: {
      counts: { ...counts, intents: 200, executed: 201, longestWait: 1_500, deadLetters: { exhausted: 2 } },
      violations: [],
    },
  },
  {
    engine: 'sqlite',
    seed: 7,
    verdict: 'broken',
    seconds: 20,
    result: {
      counts: { ...counts, intents: 100, executed: 99, lost: 1, longestWait: 900, deadLetters: { exhausted: 1 } },
      violations: [{ rule: 'lost', what: 'it is gone', call: 'c1' }],
    },
  },
  { engine: 'nats', seed: 8, verdict: 'failed', seconds: 3, failure: 'a port was taken' },
  { engine: 'sqlite', seed: 8, verdict: 'skipped', seconds: 0 },
];

test('the table has a line for each run, and their sum', () => {
  const rows = table(outcomes).split('\n');
  const cells = rows.map((row) => row.split(/ {2,}/));
  const column = (name: string) => cells.slice(1).map((row) => row[cells[0]!.indexOf(name)]);
  expect(column('run')).toEqual(['nats 7', 'sqlite 7', 'nats 8', 'sqlite 8', 'all']);
  expect(column('intents')).toEqual(['200', '100', '-', '-', '300']);
  expect(column('lost')).toEqual(['0', '1', '-', '-', '1']);
  expect(column('dead letters')).toEqual(['exhausted 2', 'exhausted 1', '-', '-', 'exhausted 3']);
  expect(column('longest wait')).toEqual(['1.5 s', '0.9 s', '-', '-', '1.5 s']);
  expect(rows.at(-1)).toContain('1 of 4 held');
});

test('the report tells programs which runs held', () => {
  const { runs } = JSON.parse(report(outcomes)) as { runs: Record<string, unknown>[] };
  expect(runs.map(({ broker, seed, verdict }) => [broker, seed, verdict])).toEqual([
    ['nats', 7, 'held'],
    ['sqlite', 7, 'broken'],
    ['nats', 8, 'failed'],
    ['sqlite', 8, 'skipped'],
  ]);
  expect(runs[1]).toMatchObject({ counts: { lost: 1 }, violations: [{ rule: 'lost', call: 'c1' }] });
  expect(runs[2]).toMatchObject({ failure: 'a port was taken' });
});
