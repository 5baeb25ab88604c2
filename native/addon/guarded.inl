// C++ exceptions as JavaScript errors with a Merak code. Included by convert.h.
#include "comm/communicator.h"  // CommError
#include "engine/error.h"       // EngineError

namespace merak {

template <class Body>
auto guarded(Napi::Env env, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error& error) {
    // One of ours has a code; what Node-API itself raises about a value of the wrong type has none.
    if (error.Value().Has("code")) throw;
    throw to_error(env, "plan/invalid", error.Message());
  } catch (const Unsupported& error) {
    throw to_error(env, "engine/unsupported", error.what());
  } catch (const EngineError& error) {
    throw to_error(env, error.code, error.what());
  } catch (const CommError& error) {
    throw to_error(env, error.code, error.what());
  } catch (const std::exception& error) {
    throw to_error(env, "engine/kernel", error.what());
  }
}

}  // namespace merak
