/** What the drl-fsod recipe can be told. */
import { z } from 'zod';
import { NUM_COLOURS, SHAPES, WORLD_CLASSES } from './world.js';

const count = z.int().min(1);
/** One of every shape is new, so that each novel class looks like base classes in shape and in colour. */
const NOVEL = WORLD_CLASSES.filter((_, i) => (i % SHAPES.length) % NUM_COLOURS === Math.floor(i / SHAPES.length));

export const config = z.strictObject({
  format: z.enum(['voc', 'coco', 'packed']).default('voc').meta({
    description: 'of the data folder: VOC XML, COCO JSON, or raw pixels with boxes in JSON (bccd)',
    paper: 'voc and coco',
  }),
  train: z.string().default('train').meta({ description: 'split that is trained on', paper: 'trainval 2007 + 2012' }),
  test: z.string().default('test').meta({ description: 'split that is measured', paper: 'test 2007' }),
  baseClasses: z
    .array(z.string())
    .min(1)
    .default(WORLD_CLASSES.filter((name) => !NOVEL.includes(name)))
    .meta({ description: 'classes with all their boxes', paper: '15 of VOC' }),
  novelClasses: z.array(z.string()).default(NOVEL).meta({ description: 'classes with few boxes', paper: '5 of VOC' }),
  shots: count
    .default(5)
    .meta({ description: 'boxes of every class in fine-tuning', unit: 'boxes', paper: '1, 2, 3, 5, 10' }),
  arms: z
    .array(z.enum(['none', 'normal', 'residual']))
    .min(1)
    .default(['none', 'residual'])
    .meta({ description: 'the relevance graph: left out, or which way its output joins its input; compared in pairs' }),
  numSeeds: count.default(5).meta({ description: 'runs of each arm, alike but for the arm', paper: 'about 10' }),
  gcnLayers: count.default(2).meta({ description: 'layers of the relevance graph', paper: '2 (VOC), 5 (COCO)' }),
  gcnWeight: z.number().min(0).default(1).meta({ description: 'of its loss, divided by the batch size', paper: '1' }),
  temperature: z.number().positive().default(1).meta({
    description: 'of the class scores of RoIs that enter the graph',
    paper: '52 (VOC), 1 and 5 (COCO)',
  }),
  width: count
    .default(12)
    .meta({ description: 'channels of the first stage; 2, 4, 8 times so many after', paper: '64 and up (ResNet-101)' }),
  blocks: count.default(1).meta({ description: 'residual blocks of a stage (2 is ResNet-18)', paper: 'ResNet-101' }),
  headWidth: count.default(64).meta({ description: 'width of fc(r a) and fc(r - a)', paper: '1024' }),
  anchorSizes: z
    .array(z.number().positive())
    .min(1)
    .default([12, 20, 30])
    .meta({ description: 'sides of anchors', unit: 'pixels', paper: '128, 256, 512' }),
  roisPerImage: z
    .int()
    .min(8)
    .default(16)
    .meta({ description: 'RoIs of a training image; a quarter may be objects', paper: '128' }),
  bins: count.default(4).meta({ description: 'bins of RoIAlign along a side', paper: '7' }),
  supportSize: z
    .int()
    .multipleOf(8)
    .min(16)
    .default(32)
    .meta({ description: 'side of a support image', unit: 'pixels', paper: '224' }),
  batchSize: count.default(8).meta({ description: 'images of a step', unit: 'images', paper: '4' }),
  baseSteps: count.default(250).meta({ description: 'steps on the base classes', paper: '21 epochs' }),
  fineTuneSteps: count.default(100).meta({ description: 'steps on all classes, few boxes each', paper: '9 epochs' }),
  learningRate: z.number().positive().default(2e-3).meta({
    description: 'of Adam; falls linearly to a twentieth in each phase',
    paper: '1e-3, SGD, x0.1 every 4 + 1 epochs',
  }),
  fineTuneRate: z.number().positive().default(1e-3).meta({ description: 'of the second phase', paper: '1e-3' }),
  trainImages: count.default(400).meta({ description: 'generated images to train on (--sample)', unit: 'images' }),
  testImages: count.default(120).meta({ description: 'generated images to test on (--sample)', unit: 'images' }),
});

export type FsodConfig = z.output<typeof config>;
