//===- ChannelsLast.cpp - tensors whose channels are last in memory -------===//
//
// Owns the way between the graph's order of dims and the one of convolutions,
// which lowerings keep from one to the next where the order is nothing to them.
//
//===----------------------------------------------------------------------===//

#include "Lowering.h"

using namespace mlir;
using namespace mlir::megactx;

Tensor Graph::wrapChannelsLast(Value value, ArrayRef<IndexExpr> shape) const {
  Tensor tensor = wrap(value, shape);
  tensor.channelsLast = std::exchange(tensor.value, Value());
  return tensor;
}

/// Whether elements stand elsewhere in the other order.
static bool moves(ArrayRef<IndexExpr> shape) {
  auto isOne = [](const IndexExpr &size) { return size.is(1); };
  return !shape[1].is(1) && !llvm::all_of(shape.drop_front(2), isOne);
}

Value Graph::channelsLast(Location loc, Tensor &tensor) {
  if (tensor.channelsLast)
    return tensor.channelsLast;
  ArrayRef<IndexExpr> shape(tensor.shape);
  Tensor last;
  if (moves(shape))
    last = transpose(loc, tensor,
                     inLastOrder<int64_t>(
                         llvm::to_vector(llvm::seq<int64_t>(shape.size()))));
  else
    last = reshape(loc, tensor, inLastOrder(shape));
  return tensor.channelsLast = materialize(loc, last);
}

/// The value of a tensor that has its channels last.
Value Graph::fromChannelsLast(Location loc, const Tensor &tensor) {
  ArrayRef<IndexExpr> shape(tensor.shape);
  if (!moves(shape)) {
    Tensor last = wrap(tensor.channelsLast, inLastOrder(shape));
    Tensor first = reshape(loc, last, shape);
    return materialize(loc, first);
  }
  SmallVector<int64_t> places;
  for (int64_t dim = 0; dim < tensor.rank(); ++dim)
    places.push_back(placeInLast(dim, tensor.rank()));
  return permuted(loc, tensor.channelsLast, shape, places);
}

/// The tensor with its channels last to be read along `shape`; null where not
/// all of its elements stand so already.
Value Graph::readableLast(Location loc, Tensor &tensor,
                          ArrayRef<IndexExpr> shape) {
  int64_t skip = shape.size() - tensor.rank();
  for (int64_t i = 0; i < tensor.rank(); ++i)
    if (!tensor.shape[i].is(1) && tensor.shape[i] != shape[skip + i])
      return {};
  if (skip == 0 && tensor.channelsLast)
    return tensor.channelsLast;
  Shape full(skip, IndexExpr(1));
  full.append(tensor.shape);
  if (moves(full))
    return {};
  Tensor wide = reshape(loc, tensor, full);
  return channelsLast(loc, wide);
}
