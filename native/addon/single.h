// Functions of the addon that need no engine.
#pragma once
#include <napi.h>  // Node-API

namespace merak {

void export_single(Napi::Env env, Napi::Object exports);

}  // namespace merak
