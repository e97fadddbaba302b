#pragma once

namespace xinslm {

/// Bytes a second that all threads together read from memory, measured in about a second: the best of several passes
/// over a buffer larger than the caches (512 MiB). What generation is bound by.
double measure_read_bandwidth();

}  // namespace xinslm
