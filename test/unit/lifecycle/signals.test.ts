import { EventEmitter } from 'node:events';
import { expect, test, vi } from 'vitest';
import { onSignals } from '../../../sidecar/lifecycle/signals.ts';

function listen() {
  const source = new EventEmitter();
  const orders = { stop: vi.fn(), stopNow: vi.fn(), reload: vi.fn() };
  const forget = onSignals(orders, source);
  return { source, orders, forget };
}

test.each(['SIGTERM', 'SIGINT'])('the first %s stops, a SIGTERM after it stops at once', (signal) => {
  const { source, orders } = listen();
  source.emit(signal, signal);
  expect(orders.stop).toHaveBeenCalledExactlyOnceWith(signal);
  expect(orders.stopNow).not.toHaveBeenCalled();
  source.emit('SIGTERM', 'SIGTERM');
  expect(orders.stop).toHaveBeenCalledOnce();
  expect(orders.stopNow).toHaveBeenCalledOnce();
});

test('the copy of a Ctrl-C that npm passes on is no second signal; a later Ctrl-C is', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  try {
    const { source, orders } = listen();
    source.emit('SIGINT', 'SIGINT');
    vi.advanceTimersByTime(20);
    source.emit('SIGINT', 'SIGINT');
    expect(orders.stopNow).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1000);
    source.emit('SIGINT', 'SIGINT');
    expect(orders.stopNow).toHaveBeenCalledOnce();
  } finally {
    vi.useRealTimers();
  }
});

test('SIGHUP reloads, however often', () => {
  const { source, orders } = listen();
  source.emit('SIGHUP', 'SIGHUP');
  source.emit('SIGHUP', 'SIGHUP');
  expect(orders.reload).toHaveBeenCalledTimes(2);
  expect(orders.stop).not.toHaveBeenCalled();
});

test('afterwards no listener stays', () => {
  const { source, forget } = listen();
  forget();
  expect(source.eventNames()).toEqual([]);
});
