#pragma once
#include <string>

namespace xinslm {

/// The grammar of the built-in stories in the notation of grammar.h.
std::string builtin_grammar();

}  // namespace xinslm
