import { test } from 'vitest';
import { runHoldline } from '../../support/command-line.ts';
import { startNatsServer } from '../../support/nats-server.ts';

test.concurrent('the demo plays its whole story on the embedded broker, and every promise holds', async ({
  expect,
}) => {
  const { exitCode, stdout } = await runHoldline(['demo', '--no-wait']);
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringContaining('every subscriber was told') });
  const summary = stdout.slice(stdout.indexOf('== summary'));
  expect(summary.match(/^ {2}held /gm)).toHaveLength(5);
  expect(summary).toMatch(/page of orders' sidecar was at http:\/\/127\.0\.0\.1:\d+\//);
});

test.concurrent('the same story on a nats-server', async ({ expect }) => {
  await using server = await startNatsServer();
  const { exitCode, stdout } = await runHoldline(['demo', '--no-wait', '--broker', server.url]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringContaining('every subscriber was told') });
  expect(stdout).toContain(server.url);
});
