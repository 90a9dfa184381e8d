import { generate, type Load } from './load.ts';

// A lost channel means that the run is over, however it ended.
process.on('disconnect', () => process.exit(0));
process.on('message', (load: Load) => {
  generate(load).then(
    (measured) => process.send?.(measured),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    },
  );
});
