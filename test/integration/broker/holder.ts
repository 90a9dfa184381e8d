/**
 * A sidecar's callee side as a process of its own, to be killed: takes one call for `payments`, starts an attempt where it is
 * told to, says so on stdout, and then holds the lease for as long as it lives.
 *
 * Arguments: broker URL, instance, `hold` or `start`.
 */
import { openJetStreamBroker } from '../../../sidecar/broker/jetstream/broker.ts';
import { natsConfig } from './jetstream.ts';

const [url = '', instance = '', what = 'hold'] = process.argv.slice(2);

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const broker = await openJetStreamBroker({
  config: natsConfig(url),
  service: 'payments',
  instance,
  report: (error) => say(`problem: ${error.message}`),
});
await broker.start();
let taken = false;
const taking = broker.callee('payments').take({
  free: () => (taken ? 0 : 1),
  deliver: (lease) => {
    taken = true;
    if (what === 'hold') {
      say(`holds ${lease.action.id}`);
      return;
    }
    lease.start(1).then(
      (result) => say(`${result} ${lease.action.id}`),
      (error: Error) => say(`failed ${error.message}`),
    );
  },
  report: (error) => say(`problem: ${error.message}`),
});
taking.resume();
say('takes');
