"""Writes an attention whose number of keys is chosen a hundred times, each time between what the two choices before gave."""

ARRAY = "tensor<1x2x?x8xf32>"

lines, sizes = [], ["%n", "%n"]
for i in range(100):
    lines += [f"%s{i} = arith.addi {sizes[-1]}, {sizes[-2]} : index", f"%x{i} = arith.select %c, {sizes[-2]}, %s{i} : index"]
    sizes.append(f"%x{i}")
print(f"func.func @chosen(%q: {ARRAY}, %n: index, %c: i1) -> {ARRAY} {{", *lines, sep="\n")
print(f"""%k = tensor.empty({sizes[-1]}) : {ARRAY}
%v = tensor.empty({sizes[-1]}) : {ARRAY}
%s = megactx.source %k, %v pattern(#megactx.pattern<dense>) : ({ARRAY}, {ARRAY}) -> !megactx.source<{ARRAY}, {ARRAY}>
%o = megactx.attention %q, %s {{scale = 1.0 : f32}} : ({ARRAY}, !megactx.source<{ARRAY}, {ARRAY}>) -> {ARRAY}
return %o : {ARRAY}
}}""")
