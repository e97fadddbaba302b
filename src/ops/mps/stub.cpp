// The back end of systems without Metal: nothing is fast, so nothing is launched.
#include "ops/mps/launch.h"
#include "xinslm/core/error.h"

namespace xinslm::mps {

bool is_fast(const at::Tensor&) {
  return false;
}

Launch::Launch(std::string_view library, const std::string& kernel) : name_(cat(library, "/", kernel)) {
  runtime_failure("Metal kernel ", name_, ": this program was built without Metal");
}

Launch& Launch::tensor(const at::Tensor&) {
  return *this;
}

Launch& Launch::integer(int64_t) {
  return *this;
}

Launch& Launch::real(double) {
  return *this;
}

void Launch::run(Size3, Size3) {}

}  // namespace xinslm::mps
