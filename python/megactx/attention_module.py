"""What attention as a function compiles: modules in MLIR of what a call's arrays are."""

import dataclasses
import struct


def _function(arguments, lines, names, types):
    body = "\n  ".join([*lines, f"return {', '.join(names)} : {', '.join(types)}"])
    return f"func.func @main({', '.join(arguments)}) -> ({', '.join(types)}) {{\n  {body}\n}}\n"


@dataclasses.dataclass(frozen=True)
class Operand:
    """An argument of the module: [B, heads, N, dim] of an element type, in memory perhaps [B, N, heads, dim]."""

    element: str
    heads: int
    dim: int
    heads_inside: bool = False

    @property
    def type(self):
        return f"tensor<?x{self.heads}x?x{self.dim}x{self.element}>"

    @property
    def stored(self):
        return f"tensor<?x?x{self.heads}x{self.dim}x{self.element}>" if self.heads_inside else self.type

    def argument(self, name, arguments, lines):
        """Adds an argument, and lines that make %name of it."""
        arguments.append(f"%{name}{'_stored' * self.heads_inside}: {self.stored}")
        if self.heads_inside:
            lines += self.transposed(name, f"{name}_stored", self.stored, self.type, self.type)

    def transposed(self, name, source, source_type, target, target_type):
        """Lines that make %name, of the target type, from %source."""
        sizes = (f"%{name}_b = tensor.dim %{source}, %c0 : {source_type}", f"%{name}_n = tensor.dim %{source}, %c{'1' if target == self.type else '2'} : {source_type}")
        return [*sizes, f"%{name}_e = tensor.empty(%{name}_b, %{name}_n) : {target_type}",
                f"%{name} = linalg.transpose ins(%{source} : {source_type}) outs(%{name}_e : {target_type}) permutation = [0, 2, 1, 3]"]


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a kernel is compiled for; everything but batch and lengths."""

    pattern: str
    query: Operand
    key: Operand
    value: Operand
    scale: float
    softcap: float
    biases: tuple  # of each (element, which dims are 1): four, or three of a bias by distance
    lengths: str  # their element type, or ""
    segments: str  # the same
    offset: str  # the same; of one for all, "scalar"
    lse: bool
    target: str

    @property
    def out(self):
        return Operand(self.query.element, self.query.heads, self.value.dim, self.query.heads_inside)

    def _source(self, arguments, lines):
        """Of the arguments and lines that it adds to, what an attention's operands end in, with their types: the source, and the offset apart."""
        lines += [f"%c{i} = arith.constant {i} : index" for i in (0, 1, 2)]
        for name in ("query", "key", "value"):
            getattr(self, name).argument(name, arguments, lines)
        source = f"!megactx.source<{self.key.type}, {self.value.type}>"
        given, types = "", [self.key.type, self.value.type]
        if self.biases:
            types += [self._bias(i, arguments, lines) for i in range(len(self.biases))]
            given = f" bias({', '.join(f'%bias{i}' for i in range(len(self.biases)))})"
        if self.lengths:
            arguments.append(f"%lengths_given: tensor<?x{self.lengths}>")
            lines.append(f"%lengths = arith.index_cast %lengths_given : tensor<?x{self.lengths}> to tensor<?xindex>")
            given, types = given + " lengths(%lengths)", [*types, "tensor<?xindex>"]
        if self.segments:
            arguments.append(f"%segments_given: tensor<?x?x{self.segments}>")
            lines.append(f"%segments = arith.index_cast %segments_given : tensor<?x?x{self.segments}> to tensor<?x?xindex>")
            given, types = given + " segments(%segments)", [*types, "tensor<?x?xindex>"]
        lines.append(f"%source = megactx.source %key, %value{given} pattern(#megactx.pattern<{self.pattern}>) : ({', '.join(types)}) -> {source}")
        offset, types = "", []
        if self.offset == "scalar":
            arguments.append("%offset_given: tensor<i64>")
            lines += ["%offset_number = tensor.extract %offset_given[] : tensor<i64>", "%offset = arith.index_cast %offset_number : i64 to index"]
            offset, types = " offset(%offset)", ["index"]
        elif self.offset:
            arguments.append(f"%offset_given: tensor<?x{self.offset}>")
            lines.append(f"%offset = arith.index_cast %offset_given : tensor<?x{self.offset}> to tensor<?xindex>")
            offset, types = " offset(%offset)", ["tensor<?xindex>"]
        return source, offset, types

    @property
    def _attributes(self):
        number = lambda value: f"0x{struct.pack('>f', value).hex()} : f32"
        softcap = f", softcap = {number(self.softcap)}" if self.softcap else ""
        return f"scale = {number(self.scale)}{softcap}"

    @property
    def _lse_type(self):
        return f"tensor<?x{self.query.heads}x?xf32>"

    def module(self):
        arguments, lines = [], []
        source, offset, types = self._source(arguments, lines)
        results = [(f"%{'attended' if self.out.heads_inside else 'out'}", self.out.type)]
        results += [("%lse", self._lse_type)] * self.lse
        names, made = zip(*results)
        lines.append(f"{', '.join(names)} = megactx.attention %query, %source{offset} {{{self._attributes}}} "
                     f": ({', '.join([self.query.type, source, *types])}) -> ({', '.join(made)})")
        if self.out.heads_inside:
            lines += self.out.transposed("out", "attended", self.out.type, self.out.stored, self.out.stored)
        return _function(arguments, lines, ("%out", *names[1:]), (self.out.stored, *made[1:]))

    def _bias_types(self, number):
        """Whether it is by distance, and its types as an argument and as the source's bias."""
        element, ones = self.biases[number]
        by_distance = len(ones) == 3
        dims = ["1" if one else "?" for one in ones[: 2 if by_distance else 4]]
        given, full = ([*dims, "?"], [*dims, "?", "?"]) if by_distance else (dims, dims)
        tensor = lambda sizes, element="f32": f"tensor<{'x'.join(sizes)}x{element}>"
        return by_distance, tensor(given, element), tensor(given), tensor(full)

    def _bias(self, number, arguments, lines):
        """The type of %bias<number>, of which an argument and lines are made."""
        by_distance, given, wide, full = self._bias_types(number)
        name = source = f"%bias{number}"
        if by_distance:
            source = f"{name}_table"
            lines += [f"{name}_rows = tensor.dim %query, %c2 : {self.query.type}", f"{name}_columns = tensor.dim %key, %c2 : {self.key.type}"]
        if given != wide:
            lines.append(f"{source} = arith.extf {source}_given : {given} to {wide}")
        if by_distance:
            lines.append(f"{name} = megactx.toeplitz_view {source} sizes({name}_rows, {name}_columns) : {wide} to {full}")
        arguments.append(f"{source}{'_given' * (given != wide)}: {given}")
        return full


@dataclasses.dataclass(frozen=True)
class BackwardSignature(Signature):
    """What gradients are compiled for: of what `Signature` says, with its results and their gradients."""

    out_given: Operand = None
    dout: Operand = None
    dlse: bool = False
    bias_gradients: tuple = ()  # of each bias, whether it is wanted

    def module(self):
        arguments, lines = [], []
        source, offset, types = self._source(arguments, lines)
        self.out_given.argument("out", arguments, lines)
        arguments.append(f"%lse: {self._lse_type}")
        self.dout.argument("dout", arguments, lines)
        given, given_types = "out(%out) lse(%lse) dout(%dout)", [self.query.type, source, self.out.type, self._lse_type, self.out.type]
        if self.dlse:
            arguments.append(f"%dlse: {self._lse_type}")
            given, given_types = given + " dlse(%dlse)", [*given_types, self._lse_type]
        biases = range(len(self.bias_gradients))
        made = [self.query.type, self.key.type, self.value.type, *(self._bias_types(i)[3] for i in biases)]
        lines.append(f"%gradients:{len(made)} = megactx.attention_backward %query, %source {given}{offset} {{{self._attributes}{', bias_gradients' * bool(biases)}}} "
                     f": ({', '.join([*given_types, *types])}) -> ({', '.join(made)})")
        names = [f"%gradients#{i}" for i in range(len(made))]
        wanted = [0, 1, 2, *(3 + i for i in biases if self.bias_gradients[i])]
        for i in wanted[3:]:
            by_distance, _, wide, full = self._bias_types(i - 3)
            if by_distance:
                lines.append(f"%table{i} = megactx.diagonal_sums {names[i]} : {full} to {wide}")
                names[i], made[i] = f"%table{i}", wide
        return _function(arguments, lines, [names[i] for i in wanted], [made[i] for i in wanted])
