//===- Prove.cpp - proofs that pieces are a relation ----------------------===//

#include "megactx/Pattern/Prove.h"
#include "Symbolic.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir::megactx::pattern;

void Counterexample::at(llvm::function_ref<void(const Point &)> visit) const {
  auto symbol = [&](llvm::StringRef name) {
    auto found = symbols.find(std::string_view(name));
    return found == symbols.end() ? int64_t(0) : found->second;
  };
  Point point{p, k, h, b, symbol, nullptr};
  visit(point);
}

std::string Counterexample::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "p = " << p << ", k = " << k << ", h = " << h;
  if (b)
    os << ", b = " << b;
  for (const auto &[name, value] : symbols)
    os << ", " << name << " = " << value;
  os << ": the relation " << (holds ? "holds" : "does not hold") << ", but ";
  if (pieces == 0)
    os << "no piece does";
  else
    os << pieces << (pieces == 1 ? " piece does" : " pieces do");
  return text;
}

namespace {
class Prover {
public:
  Prover(const Formula &formula, llvm::ArrayRef<Piece> pieces)
      : formula(formula), pieces(pieces), symbolic(variables, residues) {}

  Proof run();

private:
  /// A branch of the search: what holds at all of its elements.
  struct Branch {
    Elements elements;
    std::optional<bool> related;
    std::vector<unsigned> undecided; ///< pieces
    unsigned holding = 0;            ///< pieces
  };

  void addResidues();
  void explore(Branch branch);
  void split(const Branch &branch);
  void examine(const Elements &elements);
  bool tryResidues(const Elements &elements, unsigned group);
  bool tryPoint(const Cell &cell);
  bool isEmpty(const Cell &cell);
  void giveUp(const llvm::Twine &reason);
  bool isDone() const { return proof.isRefuted() || exhausted; }

  const Formula &formula;
  llvm::ArrayRef<Piece> pieces;
  std::vector<std::optional<unsigned>> relations; ///< of pieces
  Variables variables;
  Residues residues;
  Symbolic symbolic;
  unsigned cells = 0;
  bool exhausted = false;
  Proof proof;
};
} // namespace

/// The first reason stands; a refutation overrules it.
void Prover::giveUp(const llvm::Twine &reason) {
  if (!proof.isProved())
    return;
  proof.verdict = Proof::Verdict::NotProvable;
  proof.reason = reason.str();
}

bool Prover::isEmpty(const Cell &cell) {
  if (++cells > kMaxProofCells) {
    exhausted = true;
    giveUp("more than " + llvm::Twine(kMaxProofCells) +
           " cases would have to be looked at");
    return true;
  }
  return cell.isEmpty(variables);
}

/// Residues of pieces, and the relations that they can have been made from. All
/// others are affine conditions.
void Prover::addResidues() {
  for (const Piece &piece : pieces) {
    relations.emplace_back();
    if (!piece.digits.isIdentity())
      relations.back() = residues.add(piece.digits);
  }
  for (const Atom &atom : formula.atoms())
    if (atom.kind == Atom::Kind::Digit &&
        llvm::any_of(pieces, [&](const Piece &piece) {
          return piece.digits.period % atom.value == 0;
        }))
      residues.add(atom.value, atom.expr);
}

Proof Prover::run() {
  if (llvm::any_of(pieces, [](const Piece &piece) {
        return piece.digits.period > kMaxPeriod;
      })) {
    giveUp("a piece has residues of a period above " + llvm::Twine(kMaxPeriod));
    return proof;
  }
  addResidues();
  if (!residues.tabulate()) {
    giveUp("the residues have too large a common period");
    return proof;
  }
  Branch all{{{}, residues.everything()}, {}, {}, 0};
  for (unsigned i = 0; i < pieces.size(); ++i)
    all.undecided.push_back(i);
  explore(std::move(all));
  if (symbolic.hasOverflow())
    giveUp("a number is too large");
  return proof;
}

/// Decides all conditions, one after another.
void Prover::explore(Branch branch) {
  symbolic.lookAt(branch.elements);
  if (!branch.related)
    branch.related = symbolic.holds(formula);
  if (!branch.related)
    return split(branch);
  while (!branch.undecided.empty() && branch.holding < 2) {
    unsigned index = branch.undecided.back();
    auto holds = symbolic.holds(pieces[index], relations[index]);
    if (!holds)
      return split(branch);
    branch.holding += *holds;
    branch.undecided.pop_back();
  }
  if (branch.holding != unsigned(*branch.related))
    examine(branch.elements);
}

void Prover::split(const Branch &branch) {
  const Symbolic::Decision decision = symbolic.undecided();
  for (bool side : {true, false}) {
    if (isDone())
      return;
    Branch part = branch;
    if (decision.relation) {
      part.elements.residues =
          residues.assume(*decision.relation, side, part.elements.residues);
    } else {
      part.elements.cell.keep(decision.form, side);
      if (isEmpty(part.elements.cell))
        continue;
    }
    explore(std::move(part));
  }
}

/// Looks for an element of a cell whose number of pieces is wrong.
void Prover::examine(const Elements &elements) {
  if (!tryPoint(elements.cell))
    tryResidues(elements, 0);
}

/// Whether the definitions confirm the fault at a point of the cell.
bool Prover::tryPoint(const Cell &cell) {
  std::optional<Values> values = cell.sample(variables);
  if (!values)
    return false;
  Counterexample found;
  for (auto [variable, value] : llvm::zip(variables.all(), *values)) {
    if (!variable.value)
      continue;
    switch (variable.value.kind()) {
    case Expr::Kind::Position:
      found.p = value;
      break;
    case Expr::Kind::Key:
      found.k = value;
      break;
    case Expr::Kind::Head:
      found.h = value;
      break;
    case Expr::Kind::Batch:
      found.b = value;
      break;
    case Expr::Kind::Symbol:
      found.symbols[variable.value.name().str()] = value;
      break;
    default:
      break;
    }
  }
  found.at([&](const Point &point) {
    found.holds = formula.holds(point);
    for (const Piece &piece : pieces)
      found.pieces += piece.holds(point);
  });
  if (found.pieces == unsigned(found.holds))
    return false;
  proof = {Proof::Verdict::Refuted, std::move(found), ""};
  return true;
}

/// Goes through the residues that the elements can have, group by group, until
/// there is an element. Where no pair of residues meets the cell, there is none
/// and no fault.
bool Prover::tryResidues(const Elements &elements, unsigned index) {
  if (index == residues.groups().size()) {
    if (tryPoint(elements.cell))
      return true;
    if (const Expr &value = symbolic.freeValue())
      giveUp("the pattern holds a test over " + value.str().substr(0, 60));
    else
      giveUp("an element does not fit into 64 bits");
    return true;
  }
  const Residues::Group &group = residues.groups()[index];
  if (elements.residues[index].size() == group.classes.size())
    return tryResidues(elements, index + 1);
  for (unsigned c : elements.residues[index]) {
    for (auto [query, key] : group.classes[c].pairs) {
      Elements part = elements;
      part.cell.keepResidue(Variables::kQuery, group.period, query);
      part.cell.keepResidue(Variables::kKey, group.period, key);
      if (!isEmpty(part.cell) && tryResidues(part, index + 1))
        return true;
      if (isDone())
        return true;
    }
    if (!group.classes[c].hasAllPairs)
      giveUp("bounds and residues depend on each other");
  }
  return false;
}

Proof mlir::megactx::pattern::prove(const Formula &formula,
                                    llvm::ArrayRef<Piece> pieces) {
  return Prover(formula, pieces).run();
}

Proof mlir::megactx::pattern::proveExactlyOnce(const Pattern &pattern) {
  std::vector<Piece> sources;
  for (int64_t step : pattern.keySteps()) {
    Expr row = Expr::key().floorDiv(step) * step + (step - 1);
    Piece source;
    source.test =
        pattern.formula(step).asExpr().substitute([&](const Expr &expr) {
          return expr.kind() == Expr::Kind::Key ? row : Expr();
        });
    sources.push_back(std::move(source));
  }
  return prove(Formula::keysBetween(Expr::constant(0), Expr::position() + 1),
               sources);
}
