import { setTimeout as pause } from 'node:timers/promises';
import { App } from '../../sidecar/app.ts';
import { readConfig } from '../../sidecar/config/load.ts';
import { version } from '../../sidecar/lifecycle/version.ts';

// Services that are there and have nothing to do, each as its broker sees it: with streams, consumers and connections of its own.
// In one process, since fifty sidecars would take the memory of the machine and are not what is measured.
const [, , broker = '', count = '0', target = ''] = process.argv;
for (let number = 1; number <= Number(count); number++) {
  const text = JSON.stringify({
    service: `other-${number}`,
    broker,
    inbound: [{ url: target }],
    admin: { listen: '127.0.0.1:0' },
  });
  const loaded = readConfig(text, 'crowd.yaml', process.env);
  if (!loaded.ok) throw new Error(loaded.errors.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  const app = new App(loaded.config, version);
  await app.start();
  while (!(await app.health()).ready) await pause(20);
}
process.stdout.write('all are ready\n');
