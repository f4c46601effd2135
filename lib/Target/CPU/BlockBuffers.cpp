//===- BlockBuffers.cpp - a task's scratch --------------------------------===//

#include "BlockBuffers.h"
#include "Scratch.h"

using namespace mlir;
using namespace mlir::megactx;
using namespace mlir::megactx::cpu;

BlockBuffers::BlockBuffers(ImplicitLocOpBuilder &b, const KernelShape &shape,
                           const BlockForm &form, Value given)
    : form(form), rows(form.rows()),
      vector(VectorType::get({shape.lanes}, b.getF32Type())), scratch(given) {
  Scratch fields;
  auto add = [&](Value &buffer, ArrayRef<int64_t> dims, Type type) {
    fields.add(buffer, dims, type);
  };
  Type f32 = b.getF32Type(), i32 = b.getI32Type(), index = b.getIndexType();
  add(queries, {shape.headDim, rows}, f32);
  add(acc, {shape.valueDim, rows}, f32);
  int64_t keys = form.keys();
  add(scores, {keys, rows}, f32);
  for (Value *each : {&top, &sum, &inverse, &total, &old})
    add(*each, {rows}, f32);
  for (Value *each : {&rowOf, &headOf})
    add(*each, {rows}, index);
  add(low, {rows}, i32);
  add(high, {rows}, i32);
  add(vectorLow, {form.vectors}, index);
  add(vectorHigh, {form.vectors}, index);
  add(turned, {shape.lanes, shape.valueDim}, f32);
  for (Value *each : {&keyRow, &keyAt, &valueAt})
    add(*each, {keys}, index);
  fields.add(own, form.ownBuffers(b.getContext()));
  if (form.keysAhead())
    for (Value *each : {&keyNext, &valueNext})
      add(*each, {keys}, index);
  // Kernels that differ in these share parts, so they come last.
  if (shape.hasTest())
    add(allowed, {keys, rows}, i32);
  if (shape.hasBiasPerRow())
    add(rowBiases, {keys, rows}, f32);
  if (shape.hasBiasPerKey())
    add(keyBiases, {keys}, f32);
  scratch = fields.cut(b, scratch);
}

void BlockBuffers::bindRows(ImplicitLocOpBuilder &b, Value key, Value value,
                            Value batch, Value head) {
  ValueRange strides;
  std::tie(keyData, strides) = flattenAt(b, key, {batch, head});
  keyStride = strides[2];
  std::tie(valueData, strides) = flattenAt(b, value, {batch, head});
  valueStride = strides[2];
}
