// Bundles each page into one file, dist/<page>.html, and writes the policy that admits exactly its script
// and its style to dist/<page>.csp.txt (one line, no line end). The policy of the page at / is dist/csp.txt.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const LICENSE = "/*! contains @microsoft/fetch-event-source, MIT License, Copyright (c) Microsoft Corporation */";

/** The pages at /playground/<name>, whose main part is <name>.html. */
const PAGES = ["feed", "progress", "room", "metrics"];

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
  if (text.split(tag).length !== 2) throw new Error(`a page needs exactly one ${tag}`);
  return text.replace(tag, () => replacement);
};

const source = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const [frame, nav, style] = await Promise.all([
  readFile("page.html", "utf8"),
  readFile("nav.html", "utf8"),
  bundle("style.css"),
]);

const write = async (template, entry, path, file, policyFile) => {
  const script = await bundle(entry);
  const here = replaceOnce(nav, `href="${path}"`, `href="${path}" aria-current="page"`);
  let page = replaceOnce(template, "<!-- nav -->", here.trim());
  page = replaceOnce(page, '<link rel="stylesheet" href="style.css">', `<style>${style}</style>`);
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
  await writeFile(`dist/${file}`, page);
  await writeFile(`dist/${policyFile}`, policy);
  console.log(`dist/${file} ${Buffer.byteLength(page)} bytes\n${policy}`);
};

await mkdir("dist", { recursive: true });
await write(await readFile("index.html", "utf8"), "main.ts", "/", "index.html", "csp.txt");
for (const name of PAGES) {
  const main = await readFile(`${name}.html`, "utf8");
  const page = replaceOnce(frame.replaceAll("<!-- title -->", name), "<!-- main -->", main.trimEnd());
  await write(page, `${name}.ts`, `/playground/${name}`, `${name}.html`, `${name}.csp.txt`);
}
