#!/usr/bin/env node
import { holdline } from './cli/program.ts';

// Older versions than 22.18 cannot even read this file; this one sentence is for those that can.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`holdline: needs Node 22.19 or later; this is Node ${process.versions.node}\n`);
  process.exitCode = 1;
} else {
  process.exitCode = await holdline(process.argv.slice(2));
}
