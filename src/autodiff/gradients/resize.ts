/** Bilinear resizing: tfjs's CPU backend labels the gradient's height as width, so the shape is set here. */
import { input } from './access.js';
import { reshapeTo } from './broadcast.js';
import type { GradientRule, GradientRules, InputGradients } from './rule.js';

export function resizeGradients(fallback: (kernel: string) => GradientRule | undefined): GradientRules {
  const relabelled =
    (kernel: string): GradientRule =>
    (dys, call): InputGradients => {
      const gradient = fallback(kernel)?.(dys, call).images;
      if (gradient === undefined) return {};
      return { images: () => reshapeTo(gradient(), input(call, 'images').shape) };
    };
  return { ResizeBilinear: relabelled('ResizeBilinear') };
}
