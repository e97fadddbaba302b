#pragma once
// For the layers that call LibTorch's operators. What stands here costs every file a little even where it is not used
// (its templates are instantiated anew each time), so rarer headers stay out. Files still include what they use.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "pch_types.h"
