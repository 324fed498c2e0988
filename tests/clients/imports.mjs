// Imports every dependency of the package.json in the working directory, so that an incomplete installation fails when
// it is made. Read from standard input, so that names resolve in that directory:
//   node --input-type=module - <imports.mjs
// Exit code 0 only if every import succeeded; each one that failed is printed.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";

const { dependencies, devDependencies, optionalDependencies } = JSON.parse(await readFile("package.json", "utf8"));

let broken = 0;
for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
  try {
    await import(name);
  } catch (error) {
    broken += 1;
    console.error(`import ${name}: ${error.message}`);
  }
}
// One of them is installed, by the platform.
const optional = Object.keys(optionalDependencies ?? {});
if (optional.length > 0 && !optional.some((name) => existsSync(`node_modules/${name}`))) {
  broken += 1;
  console.error(`none of the optional dependencies was installed: ${optional.join(", ")}`);
}
process.exit(broken ? 1 : 0);
