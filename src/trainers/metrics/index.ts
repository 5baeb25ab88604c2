/** `merak.metrics`: what recipes are measured by. */
export { accuracy, auc, type F1, f1, macroF1, setF1 } from './classification.js';
export { spearman } from './correlation.js';
export { meanRougeL, type RougeUnit, rougeL } from './rouge.js';
