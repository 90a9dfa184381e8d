/** What the signals of the operating system ask for. */
export interface SignalOrders {
  /** The first SIGTERM or SIGINT. */
  stop(signal: NodeJS.Signals): void;
  /** Another one of them, while stopping. */
  stopNow(signal: NodeJS.Signals): void;
  /** SIGHUP. */
  reload(): void;
}

/** npm passes a Ctrl-C on that the terminal has sent to its children already: one key, two signals. */
const sameKeyMs = 200;

/**
 * Listens to the signals until the returned function is called.
 * @param source the process; anything that emits the signals' names
 */
export function onSignals(orders: SignalOrders, source: NodeJS.EventEmitter = process): () => void {
  let first: { readonly signal: NodeJS.Signals; readonly at: number } | undefined;
  const stop = (signal: NodeJS.Signals) => {
    const now = performance.now();
    if (first === undefined) {
      first = { signal, at: now };
      orders.stop(signal);
    } else if (!(signal === 'SIGINT' && first.signal === 'SIGINT' && now - first.at < sameKeyMs)) {
      orders.stopNow(signal);
    }
  };
  const reload = () => orders.reload();
  source.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload);
  return () => {
    source.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload);
  };
}
