#!/usr/bin/env node
import { boundHeapGrowth, restartTuned } from './cli/runtime.ts';

// Older versions than 22.18 cannot even read this file; this one sentence is for those that can.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`holdline: needs Node 22.19 or later; this is Node ${process.versions.node}\n`);
  process.exitCode = 1;
} else {
  const args = process.argv.slice(2);
  // Before anything else is loaded, since that would be loaded twice.
  if (args[0] === 'run') {
    restartTuned(import.meta.filename, args);
    boundHeapGrowth();
    // Until it is listened to for a reload it would end the process; whoever sends it so early wants a file that is read yet.
    process.on('SIGHUP', () => undefined);
  }
  const { holdline } = await import('./cli/program.ts');
  process.exitCode = await holdline(args);
}
