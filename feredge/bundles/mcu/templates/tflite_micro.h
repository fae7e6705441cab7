/* @NAME@ for TensorFlow Lite Micro, instead of the C library: the model, and its operators.
   Include it in one C++ file. Its answers are those of the C library with `--arithmetic tflm`. */
#ifndef @UPPER@_TFLITE_H
#define @UPPER@_TFLITE_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using @SYMBOL@_resolver = tflite::MicroMutableOpResolver<@OPERATOR_COUNT@>;

inline void @SYMBOL@_add_operators(@SYMBOL@_resolver &resolver)
{
@OPERATOR_CALLS@
}

alignas(16) const unsigned char @SYMBOL@_tflite[@MODEL_BYTES@] = {
@MODEL_VALUES@
};

#endif
