// Bundles the playground into one file, dist/index.html, and writes the policy that admits
// exactly that script and that style to dist/csp.txt (one line, no line end).
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const LICENSE = "/*! contains @microsoft/fetch-event-source, MIT License, Copyright (c) Microsoft Corporation */";

const bundle = async (entry) => {
  const result = await build({
    banner: { js: LICENSE },
    entryPoints: [entry],
    bundle: true,
    charset: "utf8",
    format: "esm",
    legalComments: "none",
    minify: true,
    write: false,
  });
  return result.outputFiles[0].text.trim();
};

const replaceOnce = (text, tag, replacement) => {
  if (text.split(tag).length !== 2) throw new Error(`index.html needs exactly one ${tag}`);
  return text.replace(tag, () => replacement);
};

const source = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const [template, script, style] = await Promise.all([
  readFile("index.html", "utf8"),
  bundle("main.ts"),
  bundle("style.css"),
]);

let page = replaceOnce(template, '<link rel="stylesheet" href="style.css">', `<style>${style}</style>`);
page = replaceOnce(page, '<script type="module" src="main.ts"></script>', `<script type="module">${script}</script>`);

const policy = [
  "default-src 'none'",
  `script-src ${source(script)}`,
  `style-src ${source(style)}`,
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

await mkdir("dist", { recursive: true });
await writeFile("dist/index.html", page);
await writeFile("dist/csp.txt", policy);
console.log(`dist/index.html ${Buffer.byteLength(page)} bytes\n${policy}`);
