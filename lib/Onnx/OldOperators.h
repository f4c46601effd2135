//===- OldOperators.h - operators of older opsets ---------------*- C++ -*-===//
//
// Owns what operators meant in older opsets where ONNX's version converter does
// not say it in terms of newer ones.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_ONNX_OLDOPERATORS_H
#define MEGACTX_LIB_ONNX_OLDOPERATORS_H

#include "Known.h"
#include <onnx/onnx_pb.h>

namespace mlir::onnx {

/// Before opset 9, Scan had a batch, which the converter takes from the
/// model's own inputs.
void refuseOldScans(::ONNX_NAMESPACE::ModelProto &model);

/// Before opset 11, Resize and Upsample had no attributes for coordinates; the
/// converter leaves those of today to their defaults, which are others. The
/// nearest element is the one before, along dims that shrink the one after:
/// what onnxruntime calls simple.
void placeOldResizes(::ONNX_NAMESPACE::GraphProto &graph);

/// Before opset 21, GroupNormalization had a scale and a bias for each group,
/// not for each channel; the library takes that form for no operator at all.
void renameOldGroupNormalizations(::ONNX_NAMESPACE::ModelProto &model);

/// Before opset 7, a list of slopes was one for each channel, whatever the last
/// dim; the converter leaves it. `known` has the ranks.
void placeOldSlopes(::ONNX_NAMESPACE::GraphProto &graph,
                    const KnownValues &known);

/// Before opset 13, Hardmax took all dims from the axis on together; the
/// converter knows that of Softmax only.
void flattenOldHardmax(::ONNX_NAMESPACE::GraphProto &graph);

} // namespace mlir::onnx

#endif
