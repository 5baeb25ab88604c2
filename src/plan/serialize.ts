/** Plans to bytes and back without loss, in the form of proto/merak.proto. */
import type protobuf from 'protobufjs';
import { MerakError } from '../errors.js';
import { loadSchema } from '../schema.js';
import type { Plan, RankPlan } from './plan.js';
import {
  planFromWire,
  planToWire,
  rankPlanFromWire,
  rankPlanToWire,
  type WirePlan,
  type WireRankPlan,
} from './wirePlan.js';

const ROOT = loadSchema('merak');
const PLAN = ROOT.lookupType('merak.plan.Plan');
const RANK_PLAN = ROOT.lookupType('merak.plan.RankPlan');

export function encodePlan(plan: Plan): Uint8Array {
  return encode(PLAN, planToWire(plan));
}

/** @throws MerakError 'plan/invalid' when the bytes are not a plan. */
export function decodePlan(bytes: Uint8Array): Plan {
  return planFromWire(decode<WirePlan>(PLAN, bytes));
}

export function encodeRankPlan(plan: RankPlan): Uint8Array {
  return encode(RANK_PLAN, rankPlanToWire(plan));
}

/** @throws MerakError 'plan/invalid' when the bytes are not a rank's plan. */
export function decodeRankPlan(bytes: Uint8Array): RankPlan {
  return rankPlanFromWire(decode<WireRankPlan>(RANK_PLAN, bytes));
}

function encode(type: protobuf.Type, message: object): Uint8Array {
  return type.encode(type.fromObject(message)).finish();
}

/** Absent scalars and lists come back as their defaults, absent messages as null, members of a oneof not at all. */
function decode<Wire>(type: protobuf.Type, bytes: Uint8Array): Wire {
  try {
    return type.toObject(type.decode(bytes), { longs: Number, defaults: true, arrays: true }) as Wire;
  } catch (cause) {
    throw new MerakError('plan/invalid', 'these bytes are not a plan', {
      received: `${bytes.length} bytes`,
      cause,
    });
  }
}
