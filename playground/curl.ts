import type { GenerationRequest } from "./generation";

/** The same request for a POSIX shell. */
export function asCurl(request: GenerationRequest): string {
  const url = new URL("/v1/generations", location.href).href;
  return `curl -N ${quoted(url)} -H 'content-type: application/json' -d ${quoted(JSON.stringify(request))}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
