#pragma once
#include <string>
#include <vector>

namespace xinslm {

/// Insertions, deletions, substitutions and swaps of neighbours that turn a into b (Damerau 1964, restricted).
size_t edit_distance(const std::string& a, const std::string& b);

/// The candidate a person most likely meant, or "" when none is near (more than a third of the letters differ).
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

/// " (did you mean X?)" or "".
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

/// "a, b or c".
std::string enumerate(const std::vector<std::string>& words, const std::string& last = " or ");

}  // namespace xinslm
