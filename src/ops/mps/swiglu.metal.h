/// Clamped SwiGLU where limit > 0, else SiLU times the linear part. Comparisons let NaN through, min and max would not.
inline float swiglu_value(float gate, float linear, float limit) {
  if (limit <= 0) return gate / (1.0f + exp(-gate)) * linear;
  gate = gate > limit ? limit : gate;
  linear = linear > limit ? limit : (linear < -limit ? -limit : linear);
  return gate / (1.0f + exp(-1.702f * gate)) * (linear + 1.0f);
}
