"""Imports every module that scripts import, so that an incomplete environment fails when it is installed.

    python imports.py SCRIPT...

Exit code 0 only if every import succeeded; each one that failed is printed.
"""

import ast
import importlib
import pathlib
import sys

scripts = [pathlib.Path(argument) for argument in sys.argv[1:]]
names = set()
for node in (node for script in scripts for node in ast.walk(ast.parse(script.read_text("utf-8")))):
    if isinstance(node, ast.Import):
        names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        names.add(node.module)

broken = []
# The scripts' own modules start a test when they are imported.
for name in sorted(names - {script.stem for script in scripts}):
    try:
        importlib.import_module(name)
    except Exception as error:
        broken.append(f"import {name}: {type(error).__name__}: {error}")
sys.exit("\n".join(broken) or 0)
