// What blocks of MXFP4 are decoded by.

/// Values of FP4 (E2M1) by code: OCP Microscaling Formats v1.0, section 5.3.3.
constant float fp4_values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                 -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/// 2^(scale - 127). A scale of 0, which float has no normal number for, gives 0; 255 (NaN) is refused on loading.
inline float e8m0_value(uchar scale) {
  return as_type<float>(uint(scale) << 23);
}
