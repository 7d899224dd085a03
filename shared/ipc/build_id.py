"""Prints build_id.c: the project's version and a hash over the headers that both processes must agree on.

usage: build_id.py VERSION HEADER...
"""
import hashlib
import sys

digest = hashlib.sha256()
for name in sys.argv[2:]:
    with open(name, "rb") as header:
        digest.update(header.read())
print('#include "shared/ipc/build_id.h"\n')
print(f'const char hr_build_id[] = "{sys.argv[1]}+{digest.hexdigest()[:16]}";')
