// Writes openapi/tokenrill.d.ts out of openapi/openapi.json; with --check it compares instead.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const document = new URL("../../openapi/openapi.json", import.meta.url);
const types = new URL("../../openapi/tokenrill.d.ts", import.meta.url);

const { components } = JSON.parse(await readFile(document, "utf8"));
const events = components.schemas.GenerationEvent.oneOf.map(({ properties: { event, data } }) => {
  const schema = data.contentSchema.$ref.split("/").at(-1);
  return `  ${event.const}: components["schemas"]["${schema}"];`;
});

const text = `// Generated from openapi.json by \`make openapi\`. Do not edit.

${astToString(await openapiTS(document, { emptyObjectsUnknown: true }))}
/** What each event of the native wire holds in its \`data\`. New names may come: ignore what you do not know. */
export interface GenerationEvents {
${events.join("\n")}
}

/** What a generation is asked for. */
export type NewGeneration = components["schemas"]["NewGeneration"];

/** The same with a provider's own fields, such as \`top_k\`. A typo in one of ours compiles too: prefer \`NewGeneration\`. */
export type NewGenerationWithProviderFields = NewGeneration & Record<string, unknown>;

/** What a chat completion is asked for. */
export type NewChatCompletion = components["schemas"]["NewChatCompletion"];

/** A failure (RFC 9457). */
export type Problem = components["schemas"]["Problem"];
`;

if (process.argv[2] === "--check") {
  const committed = await readFile(types, "utf8");
  if (committed !== text) throw new Error("openapi/tokenrill.d.ts is not what openapi.json says: run `make openapi`");
  console.log("ok   openapi/tokenrill.d.ts is what openapi.json says");
} else {
  await writeFile(types, text);
}
