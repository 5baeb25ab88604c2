/** The detector: trunk, proposals, attention head and relevance graph as one loss over a batch, and detection. */
import * as tf from '@tensorflow/tfjs';
import { type Batch, type FunctionalModel, nn } from '../../index.js';
import { anchorsOf } from '../vision/anchors.js';
import { decodeOffsets, encodeOffsets, overlaps, pick, settled, smoothL1, unsuppressed } from '../vision/boxes.js';
import { roiAlign } from '../vision/roiAlign.js';
import type { FsodConfig } from './config.js';
import { proposalLosses, proposalNetwork, propose, type TrueBoxes } from './proposals.js';
import { type Architecture, gcnWeights, graphConvolution, relevance, relevanceLoss } from './relevance.js';
import { linear, norm, openWeights, STRIDE, trunk } from './trunk.js';

/** A RoI is an object from this overlap on (Fast R-CNN, section 2.3). */
const FOREGROUND = 0.5;
const FINAL_SUPPRESSION = 0.4;
const DETECTED_ROIS = 24;

export interface DetectorOptions extends FsodConfig {
  readonly numClasses: number;
  readonly imageWidth: number;
  readonly imageHeight: number;
  readonly architecture: Architecture | 'none';
  readonly seed: number;
}

export interface Detector extends FunctionalModel {
  readonly variables: readonly tf.Variable[];
  /** Prototypes [n, d] of support images [n, s, s, 3]. */
  prototypes(supports: tf.Tensor): tf.Tensor;
  /** Of images [b, h, w, 3] with one prototype per class [c, d]: boxes [b, c, r, 4], scores [b, c, r], 0 where suppressed. */
  detect(images: tf.Tensor, prototypes: tf.Tensor): { boxes: tf.Tensor; scores: tf.Tensor };
}

/**
 * Fields of a batch: `image` [b, h, w, 3]; `boxes` [b, m, 4], `labels` [b, m] int32, `present` and `ignored` [b, m]; the
 * step's supports, spread over its samples: `supports` [b, s, size, size, 3], `supportLabels` [b, s] int32. Prototypes and
 * the relevance graph are of the whole batch, whatever replica holds which part of it.
 */
export function detector(options: DetectorOptions): Detector {
  const { numClasses, width, blocks, headWidth, bins, roisPerImage, architecture, seed } = options;
  const size = { width: options.imageWidth, height: options.imageHeight };
  const weights = openWeights('detector', seed);
  const { features, embed } = trunk(weights, width, blocks);
  const regionsOf = proposalNetwork(weights, 4 * width, options.anchorSizes.length);
  const depth = 8 * width;
  const head = (name: string) => {
    const project = linear(weights, name, depth, headWidth);
    const normalise = norm(weights, `${name}/norm`, headWidth);
    return (x: tf.Tensor): tf.Tensor => tf.relu(normalise(project(x)));
  };
  const [product, difference] = [head('product'), head('difference')];
  const classify = linear(weights, 'classes', 2 * headWidth + depth, numClasses + 1, 0.02);
  const move = linear(weights, 'boxes', 2 * headWidth + depth, 4, 0.01);
  const graph = architecture === 'none' ? [] : gcnWeights(weights, options.gcnLayers, numClasses + 1);
  const anchorsHere = (height: number, across: number): tf.Tensor =>
    tf.tensor2d(anchorsOf(height, across, STRIDE, options.anchorSizes));

  const prototypes = (supports: tf.Tensor): tf.Tensor => embed(features(supports));

  /** [b, r, d] of boxes [b, r, 4]. */
  function embedRois(map: tf.Tensor, boxes: tf.Tensor): tf.Tensor {
    const [batch, count] = boxes.shape as [number, number];
    const pooled = roiAlign(map as tf.Tensor4D, boxes, { stride: STRIDE, bins });
    const rows = tf.reshape(pooled, [batch * count, bins, bins, 4 * width]);
    return tf.reshape(embed(rows), [batch, count, depth]);
  }

  /** Every RoI [b, r, d] under every attention [b, p, d]: logits [b, r, p, classes + 1], offsets [b, r, p, 4]. */
  function attend(rois: tf.Tensor, attention: tf.Tensor): { logits: tf.Tensor; offsets: tf.Tensor } {
    const [batch, count] = rois.shape as [number, number];
    const passes = attention.shape[1]!;
    const roi = tf.tile(tf.expandDims(rois, 2), [1, 1, passes, 1]);
    const by = tf.expandDims(attention, 1);
    const flat = (x: tf.Tensor): tf.Tensor => tf.reshape(x, [batch * count * passes, depth]);
    const seen = tf.concat([product(flat(tf.mul(roi, by))), difference(flat(tf.sub(roi, by))), flat(roi)], 1);
    return {
      logits: tf.reshape(classify(seen), [batch, count, passes, numClasses + 1]),
      offsets: tf.reshape(move(seen), [batch, count, passes, 4]),
    };
  }

  function loss(batch: Batch): { loss: tf.Tensor } & Record<string, tf.Tensor> {
    const { image, boxes, labels, present, ignored, supports, supportLabels } = batch as Record<string, tf.Tensor>;
    const truth: TrueBoxes = { boxes: boxes!, present: present!, ignored: ignored! };
    const [numImages, numTrue] = labels!.shape as [number, number];
    const map = features(image!);
    const regions = regionsOf(map);
    const anchors = anchorsHere(map.shape[1]!, map.shape[2]!);
    const rpn = proposalLosses(regions, anchors, truth);

    // RoIs: those that overlap a true box most, itself among them, then the proposals most like objects that are none.
    const proposed = tf.concat([propose(regions, anchors, size, 2 * roisPerImage), settled(boxes!)], 1);
    const found = overlaps(proposed, boxes!);
    const shared = tf.mul(found, tf.expandDims(present!, 1));
    const best = tf.max(shared, 2);
    const numObjects = Math.max(1, roisPerImage >> 2);
    const left = tf.max(tf.mul(found, tf.expandDims(ignored!, 1)), 2);
    const calm = tf.cast(tf.logicalAnd(tf.less(best, FOREGROUND), tf.less(left, 0.3)), 'float32');
    const count = proposed.shape[1]!;
    const hasArea = tf.cast(tf.greater(tf.max(overlaps(proposed, proposed), 2), 0.5), 'float32');
    const order = tf.sub(tf.mul(tf.mul(calm, hasArea), count), tf.range(0, count));
    const places = tf.concat([tf.topk(best, numObjects).indices, tf.topk(order, roisPerImage - numObjects).indices], 1);
    const rois = settled(pick(proposed, places));
    const overlap = tf.mul(overlaps(rois, boxes!), tf.expandDims(present!, 1));
    const isObject = tf.cast(tf.greaterEqual(tf.max(overlap, 2), FOREGROUND), 'float32');
    const isCalm = tf.reshape(pick(tf.expandDims(tf.mul(calm, hasArea), 2), places), isObject.shape);
    const counted = tf.maximum(isObject, isCalm);
    const nearest = tf.argMax(overlap, 2);
    const oneHotLabels = tf.oneHot(labels! as tf.Tensor1D, numClasses + 1, 1, 0, 'float32');
    const background = tf.oneHot(
      tf.scalar(numClasses, 'int32') as unknown as tf.Tensor1D,
      numClasses + 1,
      1,
      0,
      'float32',
    );
    const objectRows = tf.expandDims(isObject, 2);
    const target = tf.add(tf.mul(pick(oneHotLabels, nearest), objectRows), tf.mul(background, tf.sub(1, objectRows)));

    // Prototypes of the whole batch's supports, by class.
    const [, perImage, side] = supports!.shape as [number, number, number];
    const own = tf.reshape(prototypes(tf.reshape(supports!, [numImages * perImage, side, side, 3])), [
      numImages,
      perImage,
      depth,
    ]);
    const gathered = nn.gatherBatch(own);
    const all = tf.reshape(gathered, [-1, depth]);
    const shown = tf.oneHot(
      tf.reshape(nn.gatherBatch(supportLabels!), [-1]) as tf.Tensor1D,
      numClasses + 1,
      1,
      0,
      'float32',
    );
    const perClass = tf.maximum(tf.sum(shown, 0), 1);
    const byClass = tf.div(tf.matMul(shown, all, true), tf.expandDims(perClass, 1));

    // A pass for every class that the image has; a class counts once.
    const earlier = tf.tensor2d(
      Array.from({ length: numTrue }, (_, i) => Array.from({ length: numTrue }, (_, j) => Number(j < i))),
    );
    const there = tf.mul(oneHotLabels, tf.expandDims(present!, 2));
    const repeated = tf.sum(tf.mul(tf.matMul(there, there, false, true), earlier), 2);
    const passWeight = tf.mul(present!, tf.cast(tf.less(repeated, 0.5), 'float32'));
    const attention = tf.reshape(
      tf.matMul(tf.reshape(oneHotLabels, [numImages * numTrue, numClasses + 1]), tf.sigmoid(byClass)),
      [numImages, numTrue, depth],
    );
    const embedded = embedRois(map, rois);
    const { logits, offsets } = attend(embedded, attention);
    const entropy = tf.neg(tf.sum(tf.mul(tf.logSoftmax(logits), tf.expandDims(target, 2)), 3));
    const weight = tf.mul(tf.expandDims(counted, 2), tf.expandDims(passWeight, 1));
    const classLoss = tf.div(tf.sum(tf.mul(entropy, weight)), numImages * roisPerImage);
    const wanted = tf.expandDims(encodeOffsets(rois, pick(boxes!, nearest)), 2);
    const objectWeight = tf.mul(objectRows, tf.expandDims(passWeight, 1));
    const boxLoss = tf.div(tf.sum(tf.mul(smoothL1(tf.sub(offsets, wanted)), objectWeight)), numImages * roisPerImage);
    const parts = {
      objectness: tf.mean(rpn.objectness),
      anchorBoxes: tf.mean(rpn.box),
      classes: classLoss,
      boxes: boxLoss,
    };
    const detection = tf.addN([parts.objectness, parts.anchorBoxes, parts.classes, parts.boxes]);
    if (architecture === 'none') return { loss: detection, ...parts };

    // Nodes: the supports, then object RoIs, then as many of the others.
    const numPasses = tf.maximum(tf.sum(passWeight, 1, true), 1);
    const mean = tf.div(
      tf.sum(tf.mul(logits, tf.reshape(passWeight, [numImages, 1, numTrue, 1])), 2),
      tf.expandDims(numPasses, 2),
    );
    const scores = tf.softmax(tf.div(mean, options.temperature));
    const asMany = tf.cast(
      tf.lessEqual(tf.cumsum(tf.mul(tf.sub(1, isObject), counted), 1), tf.sum(isObject, 1, true)),
      'float32',
    );
    const nodeWeight = tf.maximum(isObject, tf.mul(counted, asMany));
    const whole = (x: tf.Tensor, last: number): tf.Tensor => tf.reshape(nn.gatherBatch(x), [-1, last]);
    const nodes = tf.concat([all, whole(embedded, depth)], 0);
    const used = tf.concat([tf.onesLike(tf.slice(all, [0, 0], [-1, 1])), whole(tf.expandDims(nodeWeight, 2), 1)], 0);
    const input = tf.concat([shown, whole(scores, numClasses + 1)], 0);
    const targets = tf.concat([shown, whole(target, numClasses + 1)], 0);
    const edges = tf.mul(relevance(nodes), tf.transpose(used));
    const values = graphConvolution(input, edges, graph, architecture);
    const gcn = relevanceLoss(values, targets, tf.reshape(used, [-1]));
    return { loss: tf.add(detection, tf.mul(gcn, options.gcnWeight / options.batchSize)), ...parts, gcn };
  }

  function detect(images: tf.Tensor, classPrototypes: tf.Tensor): { boxes: tf.Tensor; scores: tf.Tensor } {
    const numImages = images.shape[0]!;
    const map = features(images);
    const proposed = propose(regionsOf(map), anchorsHere(map.shape[1]!, map.shape[2]!), size, DETECTED_ROIS);
    const count = proposed.shape[1]!;
    const attention = tf.tile(tf.expandDims(tf.sigmoid(classPrototypes), 0), [numImages, 1, 1]);
    const { logits, offsets } = attend(embedRois(map, proposed), attention);
    const own = tf.reshape(tf.eye(numClasses, numClasses + 1), [1, 1, numClasses, numClasses + 1]);
    const scores = tf.sum(tf.mul(tf.softmax(logits), own), 3);
    const from = tf.tile(tf.expandDims(proposed, 2), [1, 1, numClasses, 1]);
    const boxes = decodeOffsets(from, offsets, size.width, size.height);
    // Suppression class by class, best first.
    const perClass = tf.reshape(tf.transpose(scores, [0, 2, 1]), [numImages * numClasses, count]);
    const rows = tf.reshape(tf.transpose(boxes, [0, 2, 1, 3]), [numImages * numClasses, count, 4]);
    const { values, indices } = tf.topk(perClass, count);
    const sorted = pick(rows, indices);
    const kept = tf.mul(values, unsuppressed(sorted, FINAL_SUPPRESSION));
    return {
      boxes: tf.reshape(sorted, [numImages, numClasses, count, 4]),
      scores: tf.reshape(kept, [numImages, numClasses, count]),
    };
  }

  return { variables: weights.variables, loss, prototypes, detect };
}
