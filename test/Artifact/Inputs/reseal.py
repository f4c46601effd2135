"""Sets a field of a manifest and seals it again: reseal.py FILE KEY... VALUE (JSON)."""

import json
import sys

path, *keys, value = sys.argv[1:]
manifest = json.load(open(path))
place = manifest
for key in keys[:-1]:
    place = place[key]
place[keys[-1]] = json.loads(value)
manifest["checksum"] = "0" * 16
text = json.dumps(manifest, indent=2) + "\n"
data, total = text.encode(), 0xCBF29CE484222325
whole = len(data) // 8 * 8
words = [int.from_bytes(data[i:i + 8], "little") for i in range(0, whole, 8)] + list(data[whole:])
for word in words:
    total = (total ^ word) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
with open(path, "w") as file:
    file.write(text.replace("0" * 16, f"{total:016x}"))
