/** The command line from the sources, for tests that start it as a process. */
import { main } from '../../src/launcher/main.js';

process.exit(await main(process.argv));
