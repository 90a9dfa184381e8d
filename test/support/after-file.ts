import { afterAll } from 'vitest';
import { releasePorts } from './free-port.ts';
import { expectNoLeaks } from './leaks.ts';

// Registered before any hook of the test file, this runs after all of them.
afterAll(() => {
  releasePorts();
  expectNoLeaks();
});
