#include <cstdio>

#include "xinslm/config/settings.h"
#include "xinslm/model/transformer.h"

int main() {
  for (const std::string& name : xinslm::preset_names()) {
    const auto counts = xinslm::count_parameters(xinslm::preset_model(name));
    std::printf("%s: %lld parameters, %lld active\n", name.c_str(), static_cast<long long>(counts.total),
                static_cast<long long>(counts.active));
  }
}
