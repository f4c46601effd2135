//===- KernelEmitter.h - the skeleton of attention kernels ------*- C++ -*-===//
//
// Owns the order of a kernel's work. There are two: all threads of a block copy
// tiles and compute with them (Kernel.cpp), or a warp copies and others
// compute, one unit of work after the other (KernelRoles.cpp). What is done
// with a piece and its tiles is the same.
//
//===----------------------------------------------------------------------===//

#ifndef MEGACTX_LIB_TARGET_NVGPU_KERNELEMITTER_H
#define MEGACTX_LIB_TARGET_NVGPU_KERNELEMITTER_H

#include "BiasSums.h"
#include "Fragments.h"
#include "GradientTile.h"
#include "RingLoader.h"
#include "ScoreElements.h"
#include "TileWalk.h"

namespace mlir::megactx::nvgpu {

/// What a warp needs to know of a piece: the tiles that the block's rows read,
/// and of them those that the rows of the warps that compute together do;
/// bounds of the lane's rows, what scores depend on, and of biases' gradients
/// where those of scores go.
struct PieceView {
  PieceTiles block, own;
  LaneBounds lane;
  ScoreElements &elements;
  BiasSums &biasSums;
};

/// Emits one kernel; members are values of the function being built.
class KernelEmitter {
public:
  KernelEmitter(gpu::GPUModuleOp module, StringRef name,
                const AttentionShape &shape, nvx::ScheduleAttr schedule);

  gpu::GPUFuncOp run();

private:
  void readArguments();
  void reserve();
  void enter(const BlockPlace &place);

  // Where all threads do the same.
  void block();
  void copyQueries();
  void beginPiece(const PieceTiles &here, const TurnTiles &first);
  std::unique_ptr<TileLoader> loaderOf(unsigned index);
  void copyFirst(const PieceTiles &here, const TurnTiles &first);

  // Where some threads only load.
  void roles(nvx::ScheduleAttr schedule);
  void load();
  void loadUnit(Value turn);
  void loadPiece(const PieceTiles &here);
  void compute();
  void units(function_ref<void(Value turn)> body);
  State ownTiles(const PieceView &here, State state);
  void leaveTurn();
  void skip(Value count);
  void skipToEnd(const PieceView &here, Value count);

  void copyKeys(const PieceTiles &here, Value from, Value stage);
  void copyValues(const PieceTiles &here, Value from, Value stage);
  void copyTile(const PieceTiles &here, Value from, Value stage, Value source,
                Value map, Value shared, const TileLayout &layout, int64_t dim);

  void rowsOfBlock();
  void beginAnew(ArrayRef<Value *> known);
  PieceTiles sameInWarp(PieceTiles tiles);
  Value sameInWarp(Value index);
  State piece(unsigned index, State state);
  State tiles(const PieceView &here, TileWalk &walk, State state, Value isLast);
  State turn(const PieceView &here, const TurnTiles &tiles, Value number,
             State state, bool isFirst);
  SmallVector<Value> scores(const PieceView &here, const TilePlace &place,
                            Value tested, Value isAllowed, ValueRange products);
  void clearLast(const PieceTiles &of, Value last, Value row);
  TilePlace placeOf(const PieceTiles &of, Value from);
  Value rowOfHalf(int64_t half);
  Value ofLaneRows(Value memory);
  SumRow sumRow(int64_t half);
  PieceBounds bounds() {
    return {b, shape, tiling, *views, *rows, arguments, lane};
  }

  const AttentionShape &shape;
  Tiling tiling;
  gpu::GPUModuleOp module;
  ImplicitLocOpBuilder b;
  Arith a;
  gpu::GPUFuncOp function;
  KernelArguments arguments;
  PartArguments parts;
  Value queryMap, keyMap, valueMap; ///< null where nothing is a box
  std::unique_ptr<KeyViews> views;
  std::unique_ptr<BlockRows> rows;
  std::unique_ptr<Fragments> fragments;
  std::unique_ptr<TileLoader> queryLoader, loader; ///< loader: of the piece
  std::unique_ptr<RingWriter> ringWriter;
  std::unique_ptr<RingReader> ringReader;
  /// One of those above, null where the threads do not do that.
  TileWriter *writer = nullptr;
  TileReader *reader = nullptr;
  StageNumbers numbers;
  Value next; ///< in a ring, the number of the next group, i32; null without
  Value thread, lane, warp, lastHere;
  Value queryTile, keyTile, valueTile, barriers, ballots;
  Value doutTile; ///< null without gradients
  SmallVector<KeyViews::Places> places;
};

} // namespace mlir::megactx::nvgpu

#endif
