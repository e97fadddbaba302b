// Compiles pch.h once for all layers.
