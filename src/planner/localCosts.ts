/** The costs that balance stages when nobody says what the machine is: cores of the reference CPU on one host. */
import { deviceByName } from './costs/devices.js';
import { linkByName } from './costs/links.js';
import { rooflineCosts } from './costs/operatorCosts.js';
import type { ClusterCosts } from './costs/planSimulation.js';

export function localCosts(): ClusterCosts {
  const device = deviceByName('cpu');
  const link = linkByName('shm');
  return {
    device,
    operators: rooflineCosts(device),
    pipelineLink: link,
    dataLink: link,
    tensorLink: link,
    tiedLink: link,
    transfers: 'receiver',
  };
}
