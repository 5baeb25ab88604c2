/** Models built with Merak start from weights that the engine draws, where it is built. */
import { setNormalSource } from '../graph/initialize.js';
import { nativeNormals } from '../runtime/native/normals.js';

setNormalSource(nativeNormals);
