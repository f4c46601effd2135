//===- Trigonometry.cpp - functions of any angle, and angles --------------===//
//
// Owns sin, cos and atan of f32 as arithmetic without branches or tables in
// memory. Of sin and cos the argument is reduced to within pi/4 of 0 by
// multiples of pi/2: of smaller numbers by fused multiplications with pi/2 in
// three parts (Cody and Waite), of larger ones by the bits of 2/pi that matter
// to their exponent (Payne and Hanek). Errors are below 1.6 units in the last
// place, those of atan below 2.
//
//===----------------------------------------------------------------------===//

#include "Trigonometry.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace {
/// Builds arithmetic on numbers of one shape.
class Emitter {
public:
  Emitter(ImplicitLocOpBuilder &b, Type shaped) : b(b), shaped(shaped) {}

  Type of(Type element) const {
    auto vector = dyn_cast<VectorType>(shaped);
    return vector ? Type(vector.clone(element)) : element;
  }
  Type i32() const { return of(b.getI32Type()); }
  Type i64() const { return of(b.getI64Type()); }

  Value real(double value) const { return constant(b.getF32FloatAttr(value)); }
  Value word(uint32_t value) const {
    return constant(b.getI32IntegerAttr(int32_t(value)));
  }
  Value wide(uint64_t value) const {
    return constant(b.getI64IntegerAttr(int64_t(value)));
  }
  Value constant(TypedAttr scalar) const {
    Type type = of(scalar.getType());
    if (auto vector = dyn_cast<VectorType>(type))
      scalar = SplatElementsAttr::get(vector, Attribute(scalar));
    return arith::ConstantOp::create(b, scalar);
  }
  template <typename Op> Value make(Value x, Value y) const {
    return Op::create(b, x, y);
  }
  Value fma(Value x, Value y, Value z) const {
    return math::FmaOp::create(b, x, y, z);
  }
  Value isEqual(Value x, Value y) const {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y);
  }
  Value select(Value condition, Value x, Value y) const {
    return arith::SelectOp::create(b, condition, x, y);
  }
  /// The first coefficient is that of the highest power.
  Value polynomial(Value x, ArrayRef<double> coefficients) const {
    Value sum = real(coefficients.front());
    for (double next : coefficients.drop_front())
      sum = fma(sum, x, real(next));
    return sum;
  }

  ImplicitLocOpBuilder &b;

private:
  Type shaped;
};

/// The argument less quarters of a turn, and how many, modulo 4.
struct Reduced {
  Value rest, quarters;
};
} // namespace

static Reduced reduceSmall(const Emitter &e, Value x) {
  Value count = math::RoundEvenOp::create(
      e.b, e.make<arith::MulFOp>(x, e.real(0x1.45f306p-1)));
  // Of -0 none, and not -0, so that its products leave it its sign.
  count = e.make<arith::AddFOp>(count, e.real(0));
  Value rest = x;
  for (double part : {0x1.921fb0p+0, 0x1.5110b4p-22, 0x1.846988p-48})
    rest = e.fma(count, e.real(-part), rest);
  return {rest, arith::FPToSIOp::create(e.b, e.i32(), count)};
}

/// 96 bits of 2/pi, from the word before the one that bit `exponent` is in.
static std::array<Value, 3> bitsFrom(const Emitter &e, Value exponent) {
  constexpr uint32_t kWords[] = {0,          0x28be60db, 0x9391054a,
                                 0x7f09d5f4, 0x7d4d3770, 0x36d8a566,
                                 0x4f10e410, 0x7f9458ea};
  Value first = e.make<arith::ShRUIOp>(exponent, e.word(5)),
        shift = e.make<arith::AndIOp>(exponent, e.word(31));
  shift = arith::ExtUIOp::create(e.b, e.i64(), shift);
  SmallVector<Value> words;
  for (unsigned place = 0; place < 4; ++place) {
    // Exponents of finite numbers are at most 128.
    Value word = e.word(kWords[4 + place]);
    for (unsigned i = 4; i-- > 0;)
      word = e.select(e.isEqual(first, e.word(i)), e.word(kWords[i + place]),
                      word);
    words.push_back(arith::ExtUIOp::create(e.b, e.i64(), word));
  }
  std::array<Value, 3> bits;
  for (unsigned place = 0; place < 3; ++place) {
    Value pair = e.make<arith::OrIOp>(
        e.make<arith::ShLIOp>(words[place], e.wide(32)), words[place + 1]);
    pair = e.make<arith::ShLIOp>(pair, shift);
    bits[place] = e.make<arith::ShRUIOp>(pair, e.wide(32));
  }
  return bits;
}

static Reduced reduceLarge(const Emitter &e, Value x) {
  Value bits = arith::BitcastOp::create(e.b, e.i32(), x);
  Value biased = e.make<arith::AndIOp>(e.make<arith::ShRUIOp>(bits, e.word(23)),
                                       e.word(255));
  // Of what is small the result is not used: its shifts are those of 1.
  Value exponent = e.make<arith::MaxSIOp>(
      e.make<arith::SubIOp>(biased, e.word(126)), e.word(0));
  Value mantissa = e.make<arith::OrIOp>(e.make<arith::ShLIOp>(bits, e.word(8)),
                                        e.word(0x80000000));
  mantissa = arith::ExtUIOp::create(e.b, e.i64(), mantissa);
  auto [high, middle, low] = bitsFrom(e, exponent);
  // The product in quarters, with 62 bits behind the point.
  auto times = [&](Value word) {
    return e.make<arith::MulIOp>(mantissa, word);
  };
  Value product = e.make<arith::ShRUIOp>(times(low), e.wide(32));
  product = e.make<arith::AddIOp>(times(middle), product);
  product = e.make<arith::AddIOp>(
      e.make<arith::ShLIOp>(times(high), e.wide(32)), product);
  // To the nearest quarter.
  Value rounded = e.make<arith::AddIOp>(product, e.wide(uint64_t(1) << 61));
  Value quarters = arith::TruncIOp::create(
      e.b, e.i32(), e.make<arith::ShRUIOp>(rounded, e.wide(62)));
  Value rest = e.make<arith::SubIOp>(
      product, e.make<arith::AndIOp>(rounded, e.wide(uint64_t(3) << 62)));
  Type f64 = e.of(e.b.getF64Type());
  Value exact = arith::SIToFPOp::create(e.b, f64, rest);
  exact = e.make<arith::MulFOp>(
      exact, e.constant(e.b.getF64FloatAttr(0x1.921fb54442d18p-62)));
  Value real = arith::TruncFOp::create(e.b, x.getType(), exact);
  // The sign is the argument's.
  Value isNegative =
      arith::CmpIOp::create(e.b, arith::CmpIPredicate::slt, bits, e.word(0));
  return {e.select(isNegative, arith::NegFOp::create(e.b, real), real),
          e.select(isNegative, e.make<arith::SubIOp>(e.word(0), quarters),
                   quarters)};
}

/// `first`: the quarter that the sine is shifted by.
static Value sineOf(ImplicitLocOpBuilder &b, Value x, unsigned first) {
  Emitter e(b, x.getType());
  constexpr double kLarge = 65536;
  // Infinity less itself is no number, and what is none is none less itself.
  Value none = e.make<arith::SubFOp>(x, x);
  Value isFinite =
      arith::CmpFOp::create(b, arith::CmpFPredicate::ORD, none, none);
  Value isSmall = arith::CmpFOp::create(
      b, arith::CmpFPredicate::OLT, math::AbsFOp::create(b, x), e.real(kLarge));
  Reduced near = reduceSmall(e, e.select(isSmall, x, e.real(0)));
  Reduced far = reduceLarge(e, x);
  Value rest = e.select(isSmall, near.rest, far.rest);
  Value quarters = e.select(isSmall, near.quarters, far.quarters);
  quarters = e.make<arith::AddIOp>(quarters, e.word(first));
  Value square = e.make<arith::MulFOp>(rest, rest);
  Value cosine =
      e.polynomial(square, {0x1.9a8000p-16, -0x1.6c0efap-10, 0x1.555550p-5,
                            -0x1.000000p-1, 0x1.000000p+0});
  Value sine = e.polynomial(
      square, {0x1.7d3bbcp-19, -0x1.a06bbap-13, 0x1.11119ap-7, -0x1.555556p-3});
  sine = e.fma(sine, e.fma(rest, square, e.real(0)), rest);
  auto hasBit = [&](unsigned bit) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne,
                                 e.make<arith::AndIOp>(quarters, e.word(bit)),
                                 e.word(0));
  };
  Value result = e.select(hasBit(1), cosine, sine);
  result = e.select(hasBit(2), arith::NegFOp::create(b, result), result);
  return e.select(isFinite, result, none);
}

/// Of what is beyond 1 a quarter of a turn less that of its inverse.
static Value arcTangentOf(ImplicitLocOpBuilder &b, Value x) {
  Emitter e(b, x.getType());
  Value size = math::AbsFOp::create(b, x);
  Value isLarge =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, size, e.real(1));
  Value inner = e.select(isLarge, e.make<arith::DivFOp>(e.real(1), size), size);
  Value square = e.make<arith::MulFOp>(inner, inner);
  Value angle = e.polynomial(
      square, {0x1.7ed1ccp-9, -0x1.0c2c08p-6, 0x1.61fdd0p-5, -0x1.3556b2p-4,
               0x1.b4e128p-4, -0x1.230ad2p-3, 0x1.9978ecp-3, -0x1.5554dcp-2});
  angle = e.fma(e.make<arith::MulFOp>(angle, square), inner, inner);
  Value quarter = e.fma(e.real(0x1.ddcb02p-1), e.real(0x1.aee9d6p+0),
                        arith::NegFOp::create(b, angle));
  return math::CopySignOp::create(b, e.select(isLarge, quarter, angle), x);
}

namespace {
struct ExpandArcTangent : OpRewritePattern<math::AtanOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::AtanOp op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "expected f32");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op, arcTangentOf(b, op.getOperand()));
    return success();
  }
};

template <typename Op, unsigned first>
struct ReduceArgument : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op,
                                PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "expected f32");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    rewriter.replaceOp(op, sineOf(b, op.getOperand(), first));
    return success();
  }
};
} // namespace

void mlir::megactx::populateTrigonometryPatterns(RewritePatternSet &patterns) {
  patterns.add<ReduceArgument<math::SinOp, 0>, ReduceArgument<math::CosOp, 1>,
               ExpandArcTangent>(patterns.getContext());
}
